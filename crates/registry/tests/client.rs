//! The client against the embedded server: what goes right.
#![allow(clippy::unwrap_used)]

mod common;

use std::cell::Cell;
use std::io::Read;

use anyarch_oci::{
    Descriptor, Digest, ImageManifest, Platform, PushedBlob, canonical_json, media_type,
};
use anyarch_registry::Failure;
use anyarch_testkit::{Fault, TestImage, TestIndex, TestRegistry, image_differences, random_bytes};
use common::{amd64, blob, chain, client, opener, tag};

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
    let sent = Cell::new(0);
    let push = || {
        let progress = |count| sent.set(count);
        client.push_blob(&repository, &blob(&bytes), &opener(&bytes), None, &progress).unwrap()
    };
    assert_eq!(push(), PushedBlob::Uploaded(300_000));
    assert_eq!(sent.get(), 300_000);
    registry.take_log();
    assert_eq!(push(), PushedBlob::Existed);
    assert_eq!((registry.count("POST", ""), registry.count("PUT", "")), (0, 0));
}

#[test]
fn empty_blob_is_a_blob() {
    let registry = TestRegistry::start();
    let (client, repository) = (client(), registry.repository("app"));
    let empty = blob(b"");
    let pushed = client.push_blob(&repository, &empty, &opener(b""), None, &|_| {}).unwrap();
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
    client.push_blob(&from, &blob(&bytes), &opener(&bytes), None, &|_| {}).unwrap();
    // One store backs all repositories, so the blob is there at once; hide it to see the mount.
    client.delete_blob(&to, &blob(&bytes).digest).unwrap();
    let push = || {
        client.push_blob(&to, &blob(&bytes), &opener(&bytes), Some(&from.name), &|_| {}).unwrap()
    };
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
    client.push_blob(&repository, &blob(&bytes), &opener(&bytes), None, &|_| {}).unwrap();
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
        client.push_blob(&repository, &config, &opener(b"{}"), None, &|_| {}).unwrap();
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
