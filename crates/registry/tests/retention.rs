//! Tags that go by age and count, from a registry and from a host store.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use anyarch_oci::{
    Descriptor, Digest, EndpointError, ImageIndex, ImageManifest, Tag, canonical_json, media_type,
};
use anyarch_registry::retention::{
    Applied, LocalRepository, Policy, RemoteRepository, Removal, Survey, TagVersion,
    TaggedRepository, apply, choose, plan_removal,
};
use anyarch_registry::{RegistryClient, Repository};
use anyarch_testkit::{Fault, TestImage, TestIndex, TestRegistry};
use common::{amd64, chain, client, push, tag};

/// What would go where so many versions are kept.
fn planned(
    repository: &dyn TaggedRepository,
    keep: usize,
) -> Result<(Survey, Removal), EndpointError> {
    let mut survey = Survey::of(repository)?;
    let policy = Policy { keep: Some(keep), older_than: None, now: SystemTime::now() };
    let covers = |tag: &Tag| TagVersion::of(tag).is_some();
    let verdicts = choose(&survey.states(), covers, &policy);
    let (tags, graph) = survey.reach(repository, &verdicts)?;
    let removal = plan_removal(&tags, &graph);
    Ok((survey, removal))
}

fn prune(repository: &dyn TaggedRepository, keep: usize) -> Result<Applied, EndpointError> {
    let (survey, removal) = planned(repository, keep)?;
    apply(repository, &survey.states(), &removal, |_| {})
}

/// A family as `publish` leaves it: an index and its images under version tags, for each version,
/// and the moving tags on the newest.
fn publish(client: &RegistryClient, repository: &Repository, versions: &[&str]) -> Vec<TestIndex> {
    let platforms = [amd64(), "linux/arm64".parse().unwrap()];
    let mut families = Vec::new();
    for (seed, version) in versions.iter().enumerate() {
        let family = TestIndex::random(100 + 10 * seed as u64, &platforms);
        for (image, arch) in family.images.iter().zip(["amd64", "arm64"]) {
            for name in [format!("{version}-cpu-{arch}"), format!("latest-cpu-{arch}")] {
                image.push(client, repository, Some(&tag(&name))).unwrap();
            }
        }
        family.push(client, repository, &tag(version)).unwrap();
        family.push(client, repository, &tag("latest")).unwrap();
        families.push(family);
    }
    families
}

fn tags(client: &RegistryClient, repository: &Repository) -> String {
    let tags = client.tags(repository).unwrap().unwrap_or_default();
    tags.iter().map(Tag::to_string).collect::<Vec<_>>().join(" ")
}

fn there(client: &RegistryClient, repository: &Repository, manifest: &Descriptor) -> bool {
    client.stored_manifest(repository, manifest).unwrap().is_some()
}

/// Pushes a signature of `subject`, untagged.
fn sign(client: &RegistryClient, repository: &Repository, subject: &Descriptor) -> Descriptor {
    push(client, repository, b"{}").unwrap();
    let config = Descriptor::of(media_type::EMPTY, b"{}");
    let mut manifest = ImageManifest::new(config, Vec::new());
    manifest.artifact_type = Some("application/x.signature".to_owned());
    manifest.subject = Some(subject.clone());
    let bytes = canonical_json(&manifest).unwrap();
    client.push_manifest(repository, None, media_type::MANIFEST, &bytes).unwrap();
    Descriptor::of(media_type::MANIFEST, &bytes)
}

#[test]
fn tags_are_listed_with_platforms_sizes_and_ages() {
    let registry = TestRegistry::start();
    let (client, repository) = (client(), registry.repository("app"));
    let family = publish(&client, &repository, &["v1.0.0"]).remove(0);
    let remote = RemoteRepository { client: &client, repository: &repository };
    let local = LocalRepository { store: registry.store(), name: &repository.name };
    for place in [&remote as &dyn TaggedRepository, &local] {
        let survey = Survey::of(place).unwrap();
        let of =
            |name: &str| survey.tags.iter().find(|row| row.state.tag.as_str() == name).unwrap();
        let (index, arm64) = (of("v1.0.0"), of("v1.0.0-cpu-arm64"));
        assert_eq!(index.state.digest, family.index.digest);
        assert_eq!(index.platforms, ["linux/amd64", "linux/arm64"]);
        assert_eq!(arm64.platforms, ["linux/arm64"]);
        let layers: u64 = family.images[1].blobs[..2].iter().map(|(layer, _)| layer.size).sum();
        assert_eq!(arm64.size, layers);
        assert!(index.size > layers);
        let age = SystemTime::now().duration_since(index.state.time.unwrap()).unwrap_or_default();
        assert!(age < Duration::from_secs(3600), "{age:?}");
    }
}

#[test]
fn old_versions_go_with_their_images_and_moving_tags_stay() {
    for in_store in [false, true] {
        let registry = TestRegistry::start();
        let (client, repository) = (client(), registry.repository("app"));
        let families = publish(&client, &repository, &["v1.9.0", "v1.10.0-rc.1", "v1.10.0"]);
        let remote = RemoteRepository { client: &client, repository: &repository };
        let local = LocalRepository { store: registry.store(), name: &repository.name };
        let place: &dyn TaggedRepository = if in_store { &local } else { &remote };

        let (_, removal) = planned(place, 2).unwrap();
        assert_eq!(removal.delete.first(), Some(&families[0].index.digest));
        assert_eq!((removal.delete.len(), removal.untag.len()), (3, 0));

        assert_eq!(prune(place, 1).unwrap().deleted, 6);
        assert_eq!(
            tags(&client, &repository),
            "latest latest-cpu-amd64 latest-cpu-arm64 v1.10.0 v1.10.0-cpu-amd64 v1.10.0-cpu-arm64"
        );
        for (family, stays) in families.iter().zip([false, false, true]) {
            assert_eq!(there(&client, &repository, &family.index), stays);
            for image in &family.images {
                assert_eq!(there(&client, &repository, &image.manifest), stays);
            }
        }
        assert_eq!(prune(place, 1).unwrap(), Applied::default());
    }
}

#[test]
fn a_tag_on_a_manifest_that_stays_is_only_taken_away() {
    let registry = TestRegistry::start();
    let (client, repository) = (client(), registry.repository("app"));
    let families = publish(&client, &repository, &["v1.0.0", "v1.1.0"]);
    // A kept index lists an image of the old version.
    let shared = &families[0].images[0];
    let entries = vec![shared.manifest.clone(), families[1].images[1].manifest.clone()];
    let mixed = canonical_json(&ImageIndex::new(entries)).unwrap();
    client.push_manifest(&repository, Some(&tag("mixed")), media_type::INDEX, &mixed).unwrap();
    let remote = RemoteRepository { client: &client, repository: &repository };
    let applied = prune(&remote, 1).unwrap();
    assert_eq!((applied.deleted, applied.untagged), (2, vec![tag("v1.0.0-cpu-amd64")]));
    assert!(there(&client, &repository, &shared.manifest));
    assert!(!there(&client, &repository, &families[0].images[1].manifest));
}

#[test]
fn a_registry_that_cannot_take_away_tags_keeps_them() {
    for status in [400, 405] {
        let registry = TestRegistry::start();
        let (client, repository) = (client(), registry.repository("app"));
        let image = TestImage::random(1, 1, &amd64());
        for name in ["v1", "v2", "latest"] {
            image.push(&client, &repository, Some(&tag(name))).unwrap();
        }
        registry.fault(Fault::answer("DELETE", "/manifests/v1", status));
        let remote = RemoteRepository { client: &client, repository: &repository };
        let applied = prune(&remote, 1).unwrap();
        assert_eq!(applied, Applied { left: vec![tag("v1")], ..Applied::default() });
        assert_eq!(tags(&client, &repository), "latest v1 v2");
    }
}

#[test]
fn a_registry_that_deletes_nothing_says_so() {
    let registry = TestRegistry::start();
    let (client, repository) = (client(), registry.repository("app"));
    publish(&client, &repository, &["v1.0.0", "v1.1.0"]);
    registry.fault(Fault::answer("DELETE", "/manifests/sha256:", 405));
    let remote = RemoteRepository { client: &client, repository: &repository };
    let error = prune(&remote, 1).unwrap_err();
    assert!(chain(&error).contains("registry answered 405 to DELETE"), "{}", chain(&error));
    let hint = error.hint.unwrap();
    assert!(hint.contains("deletion is switched off"), "{hint}");
    assert!(tags(&client, &repository).contains("v1.0.0-cpu-amd64"));
}

#[test]
fn signatures_go_with_what_they_sign_and_keep_it_while_they_are_kept() {
    let registry = TestRegistry::start();
    let (client, repository) = (client(), registry.repository("app"));
    let families = publish(&client, &repository, &["v1.0.0", "v1.1.0"]);
    let remote = RemoteRepository { client: &client, repository: &repository };
    let of_old = sign(&client, &repository, &families[0].index);
    let of_image = sign(&client, &repository, &families[0].images[0].manifest);
    let of_new = sign(&client, &repository, &families[1].index);
    // Kept by a tag of its own, a signature keeps what it signs.
    let bytes = client.stored_manifest(&repository, &of_image).unwrap().unwrap();
    client.push_manifest(&repository, Some(&tag("proof")), media_type::MANIFEST, &bytes).unwrap();

    let applied = prune(&remote, 1).unwrap();
    assert_eq!((applied.deleted, applied.untagged), (3, vec![tag("v1.0.0-cpu-amd64")]));
    let stays = |manifest: &Descriptor| there(&client, &repository, manifest);
    assert!(!stays(&families[0].index) && !stays(&of_old));
    assert!(stays(&families[0].images[0].manifest) && stays(&of_image) && stays(&of_new));
}

#[test]
fn a_registry_without_referrers_is_read_through_its_tags() {
    let registry = TestRegistry::start();
    let (client, repository) = (client(), registry.repository("app"));
    let families = publish(&client, &repository, &["v1.0.0", "v1.1.0"]);
    let remote = RemoteRepository { client: &client, repository: &repository };
    registry.fault(Fault::answer("GET", "/referrers/", 404).times(usize::MAX));
    let mut lists = Vec::new();
    for family in &families {
        let signature = sign(&client, &repository, &family.index);
        let list = canonical_json(&ImageIndex::new(vec![signature])).unwrap();
        let name = tag(&format!("sha256-{}", family.index.digest.hex()));
        client.push_manifest(&repository, Some(&name), media_type::INDEX, &list).unwrap();
        lists.push((name, Digest::sha256(&list)));
    }
    // The index, its two images, the signature, and the list of it.
    assert_eq!(prune(&remote, 1).unwrap().deleted, 5);
    let tags: BTreeSet<Tag> = client.tags(&repository).unwrap().unwrap().into_iter().collect();
    assert!(!tags.contains(&lists[0].0) && tags.contains(&lists[1].0), "{tags:?}");
}

#[test]
fn an_index_without_a_tag_keeps_its_images_in_the_store() {
    let registry = TestRegistry::start();
    let (client, repository) = (client(), registry.repository("app"));
    let families = publish(&client, &repository, &["v1.0.0", "v1.1.0"]);
    let loose = canonical_json(&ImageIndex::new(vec![families[0].images[0].manifest.clone()]));
    client.push_manifest(&repository, None, media_type::INDEX, &loose.unwrap()).unwrap();
    let local = LocalRepository { store: registry.store(), name: &repository.name };
    let applied = prune(&local, 1).unwrap();
    assert_eq!((applied.deleted, applied.untagged), (2, vec![tag("v1.0.0-cpu-amd64")]));
}

#[test]
fn nothing_is_deleted_where_a_tag_moved_meanwhile() {
    let registry = TestRegistry::start();
    let (client, repository) = (client(), registry.repository("app"));
    publish(&client, &repository, &["v1.0.0", "v1.1.0"]);
    let remote = RemoteRepository { client: &client, repository: &repository };
    let (survey, removal) = planned(&remote, 1).unwrap();
    let before = tags(&client, &repository);
    let image = TestImage::random(9, 1, &amd64());
    image.push(&client, &repository, Some(&tag("latest"))).unwrap();
    let error = apply(&remote, &survey.states(), &removal, |_| {}).unwrap_err();
    assert_eq!(error.message, "tag latest changed while the repository was looked through");
    assert_eq!(tags(&client, &repository), before);
}

#[test]
fn nothing_is_deleted_where_a_document_is_of_an_unknown_kind() {
    let registry = TestRegistry::start();
    let (client, repository) = (client(), registry.repository("app"));
    publish(&client, &repository, &["v1.0.0", "v1.1.0"]);
    let kind = "application/x.other";
    registry.fault(Fault::set_header("HEAD", "/manifests/latest", "content-type", kind));
    let remote = RemoteRepository { client: &client, repository: &repository };
    let error = prune(&remote, 1).unwrap_err();
    assert!(error.message.ends_with("is on a document of the unknown type `application/x.other`"));
    assert_eq!(tags(&client, &repository).split(' ').count(), 9);
}

#[test]
fn a_repository_that_is_not_there_is_an_error() {
    let registry = TestRegistry::start();
    let (client, repository) = (client(), registry.repository("none"));
    let remote = RemoteRepository { client: &client, repository: &repository };
    let local = LocalRepository { store: registry.store(), name: &repository.name };
    for place in [&remote as &dyn TaggedRepository, &local] {
        let error = Survey::of(place).unwrap_err();
        assert!(error.not_found && error.message.starts_with("there is no repository"), "{error}");
    }
}
