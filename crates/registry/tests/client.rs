//! The client against the embedded server: what goes right.
#![allow(clippy::unwrap_used)]

mod common;

use std::io::Read;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use anyarch_oci::{
    BlobPush, Descriptor, Digest, ImageDestination, ImageIndex, ImageManifest, NoMemory, Platform,
    PushedBlob, TagCondition, TagOutcome, canonical_json, media_type,
};
use anyarch_registry::{
    Anonymous, Failure, RegistryClient, RegistryDestination, RegistrySettings, Repository,
};
use anyarch_testkit::{
    Fault, TestImage, TestIndex, TestRegistry, image_differences, open_at, random_bytes,
};
use common::{amd64, blob, chain, client, http, push, push_from, tag};

#[test]
fn image_comes_back_as_it_was_pushed() {
    let registry = TestRegistry::start();
    let client = client();
    client.ping(&registry.host()).unwrap();
    let image = TestImage::random(1, 3, &amd64());
    let repository = registry.repository("acme/tools/app");
    let digest = image.push(&client, &repository, Some(&tag("v1"))).unwrap();

    let reference = registry.reference("acme/tools/app:v1");
    let (descriptor, bytes) = client.manifest(&reference).unwrap();
    assert_eq!((&descriptor.digest, &bytes), (&digest, &image.bytes));
    assert_eq!(descriptor.media_type, media_type::MANIFEST);
    assert_eq!(client.resolve(&reference).unwrap().unwrap(), descriptor);
    assert_eq!(client.resolve(&registry.reference("acme/tools/app:v2")).unwrap(), None);
    assert_eq!(client.resolve(&registry.reference("acme/none:v1")).unwrap(), None);
    for (descriptor, content) in &image.blobs {
        assert!(client.blob_exists(&repository, &descriptor.digest).unwrap());
        let mut got = Vec::new();
        client.fetch_blob(&repository, descriptor, &mut got, &|_| {}).unwrap();
        assert_eq!(&got, content);
    }
    let by_digest = reference.with_digest(digest);
    assert!(image_differences((&client, &reference), (&client, &by_digest)).is_empty());
}

#[test]
fn comparison_sees_another_image() {
    let registry = TestRegistry::start();
    let client = client();
    let repository = registry.repository("app");
    TestImage::random(1, 2, &amd64()).push(&client, &repository, Some(&tag("a"))).unwrap();
    TestImage::random(2, 2, &amd64()).push(&client, &repository, Some(&tag("b"))).unwrap();
    let (a, b) = (registry.reference("app:a"), registry.reference("app:b"));
    let differences = image_differences((&client, &a), (&client, &b));
    assert!(differences.iter().any(|line| line.starts_with("config: rootfs")), "{differences:?}");
    assert!(
        differences.iter().any(|line| line.starts_with("layer 1: layer1/file0")),
        "{differences:?}"
    );
}

#[test]
fn second_push_uploads_nothing() {
    let registry = TestRegistry::start();
    let client = client();
    let bytes = random_bytes(7, 300_000);
    let repository = registry.repository("app");
    let sent = AtomicU64::new(0);
    let blob = blob(&bytes);
    let push = BlobPush {
        repository: &repository.name,
        blob: &blob,
        mount_from: &[],
        open: &|offset| open_at(&bytes, offset),
        progress: &|count| sent.store(count, Ordering::Relaxed),
        memory: &NoMemory,
    };
    let push = || client.push_blob(&repository.registry, &push).unwrap();
    assert_eq!(push(), PushedBlob::Uploaded(300_000));
    assert_eq!(sent.load(Ordering::Relaxed), 300_000);
    registry.take_log();
    assert_eq!(push(), PushedBlob::Existed);
    assert_eq!((registry.count("POST", ""), registry.count("PUT", "")), (0, 0));
}

#[test]
fn empty_blob_is_a_blob() {
    let registry = TestRegistry::start();
    let (client, repository) = (client(), registry.repository("app"));
    let empty = blob(b"");
    let pushed = push(&client, &repository, b"").unwrap();
    assert_eq!(pushed, PushedBlob::Uploaded(0));
    let mut got = Vec::new();
    client.fetch_blob(&repository, &empty, &mut got, &|_| {}).unwrap();
    assert!(got.is_empty());
}

#[test]
fn mount_sends_nothing_and_a_refused_mount_uses_its_session() {
    let registry = TestRegistry::start();
    let client = client();
    let bytes = random_bytes(8, 10_000);
    let (from, to) = (registry.repository("from"), registry.repository("to"));
    push(&client, &from, &bytes).unwrap();
    // One store backs all repositories, so the blob is there at once; hide it to see the mount.
    client.delete_blob(&to, &blob(&bytes).digest).unwrap();
    let push = || push_from(&client, &to, &bytes, &[&from]).unwrap();
    assert_eq!(push(), PushedBlob::Mounted);

    client.delete_blob(&to, &blob(&bytes).digest).unwrap();
    registry.fault(Fault::ignore_mount("/to/blobs/uploads"));
    registry.take_log();
    assert_eq!(push(), PushedBlob::Uploaded(10_000));
    assert_eq!((registry.count("POST", "mount="), registry.count("POST", "")), (1, 1));
}

#[test]
fn blob_is_read_from_an_offset() {
    let registry = TestRegistry::start();
    let client = client();
    let bytes = random_bytes(9, 50_000);
    let repository = registry.repository("app");
    push(&client, &repository, &bytes).unwrap();
    let read = |offset| {
        let mut got = Vec::new();
        let mut content = client.pull_blob(&repository, &blob(&bytes), offset).unwrap();
        content.read_to_end(&mut got).unwrap();
        got
    };
    assert_eq!(read(0), bytes);
    registry.take_log();
    assert_eq!(read(49_000), bytes[49_000..]);
    assert_eq!(registry.take_log()[0].range.as_deref(), Some("bytes=49000-"));
    registry.fault(Fault::ignore_range("/blobs/"));
    assert_eq!(read(49_000), bytes[49_000..]);
}

#[test]
fn platform_is_chosen_by_the_first_match() {
    let registry = TestRegistry::start();
    let client = client();
    let cuda = Platform { os_features: vec!["cuda".to_owned()], ..amd64() };
    let platforms = [amd64(), "linux/arm64".parse().unwrap(), cuda];
    let index = TestIndex::random(10, &platforms);
    index.push(&client, &registry.repository("app"), &tag("latest")).unwrap();
    let reference = registry.reference("app:latest");
    let choose = |platform: &str| client.manifest_for(&reference, &platform.parse().unwrap());
    assert_eq!(choose("linux/amd64").unwrap().1, index.images[0].bytes);
    assert_eq!(choose("linux/arm64/v8").unwrap().1, index.images[1].bytes);
    let error = choose("linux/s390x").unwrap_err();
    assert!(matches!(&error.source, Failure::NoPlatform { have, .. } if have.len() == 3));
    let words = chain(&error);
    assert!(
        words.contains("no image for linux/s390x; there is: linux/amd64, linux/arm64"),
        "{words}"
    );
}

#[test]
fn tags_over_pages_and_deletion() {
    let registry = TestRegistry::start();
    let client = client();
    let repository = registry.repository("app");
    assert_eq!(client.tags(&repository).unwrap(), None);
    let image = TestImage::random(3, 1, &amd64());
    let digest = image.push(&client, &repository, None).unwrap();
    // More than one page of the client's.
    let descriptor =
        Descriptor::new(media_type::MANIFEST, digest.clone(), image.bytes.len() as u64);
    for number in 0..1003 {
        registry
            .store()
            .tag(&repository.name, &tag(&format!("t{number:04}")), &descriptor)
            .unwrap();
    }
    registry.take_log();
    let tags = client.tags(&repository).unwrap().unwrap();
    assert_eq!((tags.len(), tags[1002].as_str()), (1003, "t1002"));
    assert_eq!(registry.count("GET", "/tags/list"), 2);

    client.delete_tag(&repository, &tag("t0000")).unwrap();
    assert_eq!(client.tags(&repository).unwrap().unwrap().len(), 1002);
    client.delete_manifest(&repository, &digest).unwrap();
    assert_eq!(client.tags(&repository).unwrap(), None);
    assert!(client.delete_manifest(&repository, &digest).unwrap_err().is_not_found());
}

#[test]
fn referrers_are_listed_and_filtered() {
    let registry = TestRegistry::start();
    let client = client();
    let repository = registry.repository("app");
    let image = TestImage::random(4, 1, &amd64());
    let subject = image.push(&client, &repository, Some(&tag("v1"))).unwrap();
    let mut about = Vec::new();
    for kind in ["application/x.sbom", "application/x.signature"] {
        let config = Descriptor::of(media_type::EMPTY, b"{}");
        push(&client, &repository, b"{}").unwrap();
        let mut manifest = ImageManifest::new(config, Vec::new());
        manifest.artifact_type = Some(kind.to_owned());
        manifest.subject = Some(image.manifest.clone());
        let bytes = canonical_json(&manifest).unwrap();
        about.push(client.push_manifest(&repository, None, media_type::MANIFEST, &bytes).unwrap());
    }
    let all = client.referrers(&repository, &subject, None).unwrap();
    assert_eq!(all.len(), 2);
    let signatures =
        client.referrers(&repository, &subject, Some("application/x.signature")).unwrap();
    assert_eq!((signatures.len(), &signatures[0].digest), (1, &about[1]));
    let none = client.referrers(&repository, &Digest::sha256(b"none"), None).unwrap();
    assert!(none.is_empty());
    // A registry without the API answers 404; then the tag schema is read, here without success.
    registry.fault(Fault::answer("GET", "/referrers/", 404));
    assert!(client.referrers(&repository, &subject, None).unwrap().is_empty());
    assert_eq!(registry.count("GET", &format!("/manifests/sha256-{}", subject.hex())), 1);
}

#[test]
fn manifest_with_missing_content_is_refused() {
    let registry = TestRegistry::start();
    let image = TestImage::random(5, 1, &amd64());
    let repository = registry.repository("app");
    let error = client()
        .push_manifest(&repository, Some(&tag("v1")), media_type::MANIFEST, &image.bytes)
        .unwrap_err();
    assert!(chain(&error).contains("400 MANIFEST_BLOB_UNKNOWN"), "{}", chain(&error));
    let index = TestIndex::random(5, &[amd64()]);
    let error = client()
        .push_manifest(&repository, Some(&tag("v1")), media_type::INDEX, &index.bytes)
        .unwrap_err();
    assert!(chain(&error).contains("400 MANIFEST_BLOB_UNKNOWN"), "{}", chain(&error));
    assert_eq!(client().tags(&repository).unwrap(), None);
}

#[test]
fn mounts_are_tried_in_order_and_leave_one_session() {
    let registry = TestRegistry::start();
    let client = client();
    let bytes = random_bytes(12, 10_000);
    let [first, second, to] = ["first", "second", "to"].map(|name| registry.repository(name));
    push(&client, &second, &bytes).unwrap();
    client.delete_blob(&to, &blob(&bytes).digest).unwrap();
    registry.fault(Fault::ignore_mount("/to/blobs/uploads"));
    registry.take_log();
    let pushed = push_from(&client, &to, &bytes, &[&first, &second]).unwrap();
    assert_eq!(pushed, PushedBlob::Mounted);
    // The session that the first mount was answered with is given up.
    assert_eq!((registry.count("DELETE", "/uploads/"), registry.count("PUT", "")), (1, 0));

    client.delete_blob(&to, &blob(&bytes).digest).unwrap();
    registry.fault(Fault::answer("POST", "/to/blobs/uploads", 404));
    assert_eq!(push_from(&client, &to, &bytes, &[&first]).unwrap(), PushedBlob::Uploaded(10_000));
}

#[test]
fn new_tag_is_set_once() {
    let registry = TestRegistry::start();
    let client = client();
    let repository = registry.repository("app");
    let (one, two) = (TestImage::random(1, 1, &amd64()), TestImage::random(2, 1, &amd64()));
    one.push(&client, &repository, None).unwrap();
    two.push(&client, &repository, None).unwrap();
    let set = |image: &TestImage, condition| {
        client.push_tag(&repository, &tag("v1"), &image.manifest, &image.bytes, condition).unwrap()
    };
    let points_to = || {
        let found = client.resolve(&registry.reference("app:v1")).unwrap();
        found.map(|descriptor| descriptor.digest)
    };
    assert_eq!(set(&one, TagCondition::New), TagOutcome::Set);
    assert_eq!(set(&two, TagCondition::New), TagOutcome::Existed);
    assert_eq!(points_to(), Some(one.manifest.digest.clone()));
    assert_eq!(set(&two, TagCondition::Any), TagOutcome::Set);
    assert_eq!(points_to(), Some(two.manifest.digest.clone()));
}

#[test]
fn destination_answers_for_what_it_has() {
    let registry = TestRegistry::start();
    let destination = RegistryDestination::new(client().into(), registry.host());
    let repository = registry.repository("app");
    let image = TestImage::random(1, 1, &amd64());
    let manifest = &image.manifest;
    let (layer, _) = &image.blobs[0];
    assert!(!destination.has_blob(&repository.name, layer).unwrap());
    assert_eq!(destination.manifest(&repository.name, manifest).unwrap(), None);
    image.push(&client(), &repository, None).unwrap();
    assert!(destination.has_blob(&repository.name, layer).unwrap());
    let bytes = destination.manifest(&repository.name, manifest).unwrap();
    assert_eq!(bytes.as_ref(), Some(&image.bytes));

    let mut longer = layer.clone();
    longer.size += 1;
    let error = destination.has_blob(&repository.name, &longer).unwrap_err();
    assert!(chain(&error).contains("where its descriptor says"), "{}", chain(&error));
    registry.fault(Fault::corrupt_body("GET", "/manifests/sha256"));
    let error = chain(&destination.manifest(&repository.name, manifest).unwrap_err());
    let both = error.matches("sha256:").count() >= 3 && error.contains("expected sha256:");
    assert!(both && error.starts_with("failed to read back"), "{error}");
}

#[test]
fn tag_tells_since_when() {
    let registry = TestRegistry::start();
    let client = client();
    let repository = registry.repository("app");
    assert_eq!(client.tag_details(&repository, &tag("v1")).unwrap(), None);
    let image = TestImage::random(1, 1, &amd64());
    image.push(&client, &repository, Some(&tag("v1"))).unwrap();
    let date = "Sun, 06 Nov 1994 08:49:37 GMT";
    registry.fault(Fault::set_header("HEAD", "/manifests/v1", "last-modified", date));
    let details = client.tag_details(&repository, &tag("v1")).unwrap().unwrap();
    assert_eq!(details.descriptor.digest, image.manifest.digest);
    let told = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
    assert_eq!(details.last_modified, Some(told));
}

#[test]
fn attestations_and_variants_do_not_confuse_the_choice() {
    let registry = TestRegistry::start();
    let client = client();
    let repository = registry.repository("app");
    let of = |text: &str| text.parse::<Platform>().unwrap();
    let index = TestIndex::random(
        20,
        &[of("unknown/unknown"), of("linux/arm/v5"), of("linux/arm/v6"), of("linux/arm64/v8")],
    );
    index.push(&client, &repository, &tag("v1")).unwrap();
    let reference = registry.reference("app:v1");
    let chosen = |text: &str| client.manifest_for(&reference, &of(text)).map(|found| found.1);
    assert_eq!(chosen("linux/arm/v7").unwrap(), index.images[2].bytes);
    assert_eq!(chosen("linux/arm64").unwrap(), index.images[3].bytes);
    let words = chain(&chosen("linux/amd64").unwrap_err());
    assert!(words.contains("there is: linux/arm/v5, linux/arm/v6, linux/arm64"), "{words}");
    assert!(!words.contains("unknown"), "{words}");

    // An image that names no platform, as some tools push it.
    let image = TestImage::random(30, 1, &amd64());
    image.push(&client, &repository, None).unwrap();
    let bare = Descriptor { platform: None, ..image.manifest.clone() };
    let bytes = canonical_json(&ImageIndex::new(vec![bare])).unwrap();
    client.push_manifest(&repository, Some(&tag("v2")), media_type::INDEX, &bytes).unwrap();
    let found = client.manifest_for(&registry.reference("app:v2"), &amd64()).unwrap();
    assert_eq!(found.1, image.bytes);
}

#[test]
fn dockers_first_schema_is_refused_with_a_hint() {
    let registry = TestRegistry::start();
    let old = Fault::answer("GET", "/manifests/old", 200)
        .header("content-type", "application/vnd.docker.distribution.manifest.v1+prettyjws")
        .body(r#"{"schemaVersion":1,"name":"app","tag":"old","fsLayers":[]}"#);
    registry.fault(old);
    let error = client().manifest(&registry.reference("app:old")).unwrap_err();
    assert!(chain(&error).contains("schema version 1"), "{}", chain(&error));
    assert!(error.hint().unwrap().contains("push it again"));
}

#[test]
fn pulls_go_through_mirrors_in_order() {
    let (registry, mirror) = (TestRegistry::start(), TestRegistry::start());
    let gone = "127.0.0.1:1".to_owned();
    let settings = RegistrySettings {
        mirrors: vec![gone, format!("{}/proxy", mirror.host())],
        ..RegistrySettings::default()
    };
    let client =
        RegistryClient::new(http(), Anonymous).with_settings([(registry.host(), settings)]);
    let image = TestImage::random(1, 1, &amd64());
    image.push(&common::client(), &registry.repository("app"), Some(&tag("v1"))).unwrap();
    let reference = registry.reference("app:v1");
    let (layer, content) = &image.blobs[0];
    let pull = || {
        assert_eq!(client.manifest(&reference).unwrap().1, image.bytes);
        let mut got = Vec::new();
        client.fetch_blob(&registry.repository("app"), layer, &mut got, &|_| {}).unwrap();
        assert_eq!(&got, content);
    };
    // The mirror does not have it: the registry does.
    pull();
    assert_eq!((mirror.count("GET", "/proxy/app/"), registry.count("GET", "/app/")), (2, 2));
    image.push(&common::client(), &mirror.repository("proxy/app"), Some(&tag("v1"))).unwrap();
    registry.take_log();
    pull();
    assert!(registry.take_log().is_empty());
    // What must be known of the registry itself is asked there.
    client.resolve(&reference).unwrap();
    assert_eq!(registry.count("HEAD", "/manifests/v1"), 1);
    mirror.fault(Fault::corrupt_body("GET", "/manifests/"));
    let by_digest = reference.with_digest(image.manifest.digest.clone());
    let error = client.manifest(&by_digest).unwrap_err();
    assert!(matches!(error.source, Failure::Mismatch { .. }), "{error:?}");
}

#[test]
fn unusable_authority_of_a_registry_is_named() {
    let settings =
        RegistrySettings { ca: vec!["/nowhere/ca.pem".into()], ..RegistrySettings::default() };
    let client = RegistryClient::new(http(), Anonymous);
    let client = client.with_settings([("r.example".to_owned(), settings)]);
    let error = client.ping("r.example").unwrap_err();
    assert!(chain(&error).contains("/nowhere/ca.pem"), "{}", chain(&error));
}

#[test]
fn dockers_registry_has_several_names() {
    let of = |text: &str| Repository::of(&text.parse().unwrap());
    assert_eq!(of("registry-1.docker.io/acme/app"), of("acme/app"));
    assert_eq!(of("index.docker.io/python"), of("docker.io/library/python"));
}
