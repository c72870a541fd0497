//! Versions: a tag with one never moves by itself, and says what was committed.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyarch_engine::Place;
use anyarch_oci::{
    BlobPush, Descriptor, Digest, EndpointError, ImageDestination, PushedBlob, RepositoryName, Tag,
    TagCondition, TagOutcome,
};
use anyarch_testkit::{Fault, TestRegistry};
use snapbox::{assert_data_eq, str};

use crate::bench::Bench;
use crate::family::{DebianRegistry, digests, family, redacted};
use crate::inside::{chain, destination, publish_built};
use crate::needs;

/// A family whose images say this word.
fn family_with(word: &str) -> Bench {
    let bench = family();
    bench.write("src/app", word);
    bench
}

/// The requests that would change something.
fn changes(registry: &TestRegistry) -> Vec<String> {
    let log = registry.take_log();
    let changing = log.iter().filter(|entry| !matches!(&*entry.method, "GET" | "HEAD"));
    changing.map(|entry| format!("{} {}", entry.method, entry.target)).collect()
}

/// The tags with a version, and what they point to.
fn versions(registry: &TestRegistry, version: &str) -> Vec<(String, Digest)> {
    let repository: RepositoryName = "team/demo".parse().unwrap();
    let tags = registry.store().tags(&repository).unwrap();
    let digest = |tag: &Tag| registry.store().resolve(&repository, tag).unwrap().unwrap().digest;
    let of_version = tags.iter().filter(|tag| tag.as_str().starts_with(version));
    of_version.map(|tag| (tag.to_string(), digest(tag))).collect()
}

#[test]
fn version_with_other_content_is_refused_before_anything_is_sent_needs_userns() {
    needs!("userns");
    let bench = family();
    let registry = TestRegistry::start();
    let to = format!("{}/team/demo", registry.host());
    bench.run(["publish", "--to", &to, "--version", "v1"]).success();
    let before = versions(&registry, "v1");
    bench.write("src/app", "changed\n");
    bench.run(["build", "--quiet", "all"]).success();
    registry.take_log();
    let said = bench.fails(["publish", "--quiet", "--to", &to, "--version", "v1"]);
    assert_data_eq!(
        redacted(&said, &registry.host()),
        str![[r#"
error: this version is published already in registry.example/team/demo, with other content
  caused by: v1-cpu-amd64 is [DIGEST] there, [DIGEST] here; v1-cpu-arm64 is [DIGEST] there, [DIGEST] here; v1-cuda-amd64 is [DIGEST] there, [DIGEST] here; v1-cpu is [DIGEST] there, [DIGEST] here; v1 is [DIGEST] there, [DIGEST] here
  hint: publish it as a new version, or move the tags with --force
exit 3

"#]]
    );
    assert_eq!(changes(&registry), Vec::<String>::new());
    assert_eq!(versions(&registry, "v1"), before);

    bench.run(["publish", "--to", &to, "--version", "v1", "--force"]).success();
    let moved = versions(&registry, "v1");
    assert_eq!(moved.len(), before.len());
    assert!(moved.iter().zip(&before).all(|(now, then)| now.0 == then.0 && now.1 != then.1));
}

#[test]
fn one_changed_member_is_enough_to_refuse_needs_userns() {
    needs!("userns");
    let bench = family();
    bench.run(["publish", "--version", "v1"]).success();
    bench.replace(
        "anyarch.toml",
        r#"Dockerfile.app", build-args = { FLAVOR = "cuda" }"#,
        r#"Dockerfile.app", build-args = { FLAVOR = "cuda2" }"#,
    );
    let done = bench.run(["publish", "--quiet", "--version", "v1"]);
    assert_eq!(done.code, Some(3), "{done:?}");
    assert_data_eq!(
        redacted(&done.err, "registry.example"),
        str![[r#"
error: this version is published already in mcp-ragex, with other content
  caused by: v1-cuda-amd64 is [DIGEST] there, [DIGEST] here; v1 is [DIGEST] there, [DIGEST] here
  hint: publish it as a new version, or move the tags with --force

"#]]
    );
    // What did not change may be published again.
    bench.run(["publish", "--quiet", "publish-cpu", "--version", "v1"]).success();
}

#[test]
fn changes_that_are_not_committed_are_refused_needs_userns() {
    needs!("userns");
    let bench = family();
    let git = |args: &[&str]| {
        let identity = ["-c", "user.name=ada", "-c", "user.email=ada@mirror.example"];
        let mut command = Command::new("git");
        bench.settle(&mut command);
        assert!(
            command.args(identity).args(args).stdout(Stdio::null()).status().unwrap().success()
        );
    };
    git(&["init", "-q"]);
    git(&["add", "."]);
    git(&["commit", "-q", "-m", "first"]);
    let registry = TestRegistry::start();
    let to = format!("{}/team/demo", registry.host());
    let refused = |what: &str| {
        let done = bench.run(["publish", "--quiet", "--to", &to, "--version", "v1"]);
        assert_eq!(done.code, Some(3), "{done:?}");
        assert!(done.err.contains(what), "{}", done.err);
        assert_eq!(registry.take_log(), []);
    };
    bench.write("src/app", "changed\n");
    refused(" M src/app");
    git(&["add", "."]);
    refused("M  src/app");
    git(&["commit", "-q", "-m", "second"]);
    bench.write("new", "");
    refused("?? new");
    // Without a version, or by force, it may be published.
    bench.run(["publish", "--quiet", "--to", &to]).success();
    bench.run(["publish", "--quiet", "--to", &to, "--version", "v1", "--force"]).success();
    std::fs::remove_file(bench.path("new")).unwrap();
    bench.run(["publish", "--quiet", "--to", &to, "--version", "v2"]).success();
}

/// Starts a publication whose errors are kept.
fn start(bench: &Bench, store: &Bench, to: &str, version: &str) -> Child {
    let mut command = bench.command(&["publish", "--quiet", "--to", to, "--version", version]);
    command.env("ANYARCH_STORE", store.store());
    command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Publishes two families as one version at once, several times: always one wins, the other is told,
/// and every tag with the version is the winner's.
fn race(one: &Bench, other: &Bench, stores: [&Bench; 2]) {
    let registry = TestRegistry::start();
    let to = format!("{}/team/demo", registry.host());
    // What each of them would publish.
    let expected: Vec<Vec<Digest>> = [(one, stores[0], "one"), (other, stores[1], "other")]
        .map(|(bench, store, version)| {
            let mut child = start(bench, store, &to, version);
            assert!(child.wait().unwrap().success());
            versions(&registry, version).into_iter().map(|(_, digest)| digest).collect()
        })
        .into();
    assert_ne!(expected[0], expected[1]);
    // So that both have looked before one has set a tag.
    registry
        .fault(Fault::delay("PUT", "/manifests/v", Duration::from_millis(30)).times(usize::MAX));
    for round in 0..8 {
        let version = format!("v{round}");
        let children =
            [start(one, stores[0], &to, &version), start(other, stores[1], &to, &version)];
        let done = children.map(|child| one.done(child.wait_with_output().unwrap()));
        let codes = [done[0].code, done[1].code];
        let winner = match codes {
            [Some(0), Some(3)] => 0,
            [Some(3), Some(0)] => 1,
            _ => panic!("{version}: {done:?}"),
        };
        let tags = versions(&registry, &version).into_iter().map(|(_, digest)| digest);
        assert_eq!(tags.collect::<Vec<_>>(), expected[winner], "{version}: {done:?}");
    }
}

#[test]
fn two_stores_cannot_publish_one_version_needs_userns() {
    needs!("userns");
    let (one, other) = (family_with("one\n"), family_with("other\n"));
    race(&one, &other, [&one, &other]);
}

#[test]
fn two_processes_of_one_store_cannot_publish_one_version_needs_userns() {
    needs!("userns");
    let (one, other) = (family_with("one\n"), family_with("other\n"));
    race(&one, &other, [&one, &one]);
}

#[test]
fn two_publications_that_share_images_cannot_share_a_version_needs_userns() {
    needs!("userns");
    let (one, other) = (family(), family());
    other.replace(
        "anyarch.toml",
        r#"Dockerfile.app", build-args = { FLAVOR = "cuda" }"#,
        r#"Dockerfile.app", build-args = { FLAVOR = "cuda2" }"#,
    );
    race(&one, &other, [&one, &other]);
}

/// A registry at which somebody else publishes right before the first tag is set.
struct Interrupted<'a> {
    to: &'a dyn ImageDestination,
    other: std::sync::Mutex<Option<Box<dyn FnOnce() + Send + 'a>>>,
}

impl ImageDestination for Interrupted<'_> {
    fn push_blob(&self, push: &BlobPush<'_>) -> Result<PushedBlob, EndpointError> {
        self.to.push_blob(push)
    }

    fn has_blob(&self, name: &RepositoryName, blob: &Descriptor) -> Result<bool, EndpointError> {
        self.to.has_blob(name, blob)
    }

    fn push_manifest(
        &self,
        name: &RepositoryName,
        manifest: &Descriptor,
        bytes: &[u8],
    ) -> Result<(), EndpointError> {
        if let Some(other) = self.other.lock().unwrap().take() {
            other();
        }
        self.to.push_manifest(name, manifest, bytes)
    }

    fn push_tag(
        &self,
        name: &RepositoryName,
        tag: &Tag,
        manifest: &Descriptor,
        bytes: &[u8],
        condition: TagCondition,
    ) -> Result<TagOutcome, EndpointError> {
        self.to.push_tag(name, tag, manifest, bytes, condition)
    }

    fn tag(&self, name: &RepositoryName, tag: &Tag) -> Result<Option<Digest>, EndpointError> {
        self.to.tag(name, tag)
    }

    fn manifest(
        &self,
        name: &RepositoryName,
        manifest: &Descriptor,
    ) -> Result<Option<Vec<u8>>, EndpointError> {
        self.to.manifest(name, manifest)
    }

    fn has_manifest(
        &self,
        name: &RepositoryName,
        manifest: &Descriptor,
    ) -> Result<bool, EndpointError> {
        self.to.has_manifest(name, manifest)
    }
}

#[test]
fn version_published_while_blobs_were_sent_stays_needs_userns_and_docker_registry() {
    needs!("userns", "docker_registry");
    let (one, other) = (family_with("one\n"), family_with("other\n"));
    for bench in [&one, &other] {
        bench.run(["build", "--quiet", "all"]).success();
    }
    // It sets tags whatever the condition.
    let registry = DebianRegistry::start();
    let to = Place {
        registry: Some(registry.host().to_owned()),
        repository: "team/demo".parse().unwrap(),
    };
    let plainly = destination(registry.host(), 1);
    let publishes_too = || drop(publish_built(&other, &to, "v1", &plainly).unwrap());
    let interrupted =
        Interrupted { to: &plainly, other: std::sync::Mutex::new(Some(Box::new(publishes_too))) };
    let refused = publish_built(&one, &to, "v1", &interrupted).unwrap_err();
    assert_data_eq!(
        redacted(&chain(&refused), registry.host()),
        str![
            "another publication set v1-cpu-amd64 in registry.example/team/demo while this one ran: no other tag was touched"
        ]
    );
    let after = digests(&to.to_string());
    drop(interrupted);
    // All is as the other one left it, the moving tags too.
    publish_built(&other, &to, "v1", &plainly).unwrap();
    assert_eq!(digests(&to.to_string()), after);
}
