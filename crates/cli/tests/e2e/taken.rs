//! `publish --from`: indexes over images that were published one by one, and releases that are brought
//! from one repository into another; `publish --dry-run`, which tells what a publication would do.

use std::collections::BTreeMap;

use anyarch_oci::{RepositoryName, Tag};
use anyarch_testkit::{TestRegistry, random_bytes};
use serde_json::Value;
use snapbox::{assert_data_eq, str};

use crate::bench::{Bench, Done};
use crate::family::{DebianRegistry, digests, family, in_registry, redacted};
use crate::needs;

/// How every blob came to the destination: digest → `existed`, `mounted`, `uploaded N`.
fn blobs(done: &Done) -> BTreeMap<String, String> {
    let word = |value: &Value| value.as_str().unwrap().to_owned();
    let pushed = done.events_of("pushed");
    pushed.iter().map(|event| (word(&event["digest"]), word(&event["how"]))).collect()
}

/// Publishes each member from a store of its own, as different machines would.
fn by_three_machines(to: &str) {
    for target in ["publish-amd64", "publish-arm64", "publish-cuda"] {
        family().run(["publish", "--quiet", target, "--to", to, "--version", "v1"]).success();
    }
}

#[test]
fn index_over_what_three_machines_published_needs_userns() {
    needs!("userns");
    let registry = TestRegistry::start();
    let (parts, whole) =
        (format!("{}/team/parts", registry.host()), format!("{}/team/whole", registry.host()));
    by_three_machines(&parts);
    family().run(["publish", "--quiet", "--to", &whole, "--version", "v1"]).success();
    registry.take_log();
    let bench = family();
    let done = bench.run([
        "publish",
        "--to",
        &parts,
        "--from",
        &parts,
        "--version",
        "v1",
        "--progress",
        "json",
    ]);
    let done = done.success();
    assert_eq!(digests(&parts), digests(&whole));
    assert_eq!(blobs(&done), BTreeMap::new());
    let log = registry.take_log();
    let uploads = log.iter().filter(|entry| entry.target.contains("/blobs/uploads/"));
    assert_eq!(uploads.count(), 0);
    // Nothing is built, and so there are no local tags.
    assert_data_eq!(
        bench.run(["images"]).success().out,
        str![[r#"
REPOSITORY  TAG  DIGEST  PLATFORMS  SIZE

"#]]
    );
}

#[test]
fn release_goes_into_another_repository_by_mounts_needs_userns_and_docker_registry() {
    needs!("userns", "docker_registry");
    let registry = DebianRegistry::start();
    let (staging, release) =
        (format!("{}/staging/demo", registry.host()), format!("{}/team/demo", registry.host()));
    family().run(["publish", "--quiet", "--to", &staging, "--version", "v1"]).success();
    let bench = family();
    let args =
        ["publish", "--from", &staging, "--to", &release, "--version", "v1", "--progress", "json"];
    let done = bench.run(args).success();
    assert_eq!(digests(&release), digests(&staging));
    let how: Vec<String> = blobs(&done).into_values().collect();
    assert!(how.len() > 9 && how.iter().all(|how| how == "mounted"), "{done:?}");
    let again = bench.run(args).success();
    assert_eq!(blobs(&again), BTreeMap::new());
}

#[test]
fn release_goes_into_another_registry_through_this_machine_needs_userns_and_docker_registry() {
    needs!("userns", "docker_registry");
    let (registry, other) = (DebianRegistry::start(), TestRegistry::start());
    let (staging, release) =
        (format!("{}/staging/demo", registry.host()), format!("{}/team/demo", other.host()));
    family().run(["publish", "--quiet", "--to", &staging, "--version", "v1"]).success();
    let bench = family();
    bench
        .run(["publish", "--quiet", "--from", &staging, "--to", &release, "--version", "v1"])
        .success();
    assert_eq!(digests(&release), digests(&staging));
    assert_eq!(in_registry(&release), in_registry(&staging));
    // From there into the embedded registry, and out of it again.
    let embedded = ["publish", "--quiet", "--from", &release, "--version", "v1"];
    bench.run(embedded).success();
    let third = format!("{}/team/again", other.host());
    bench
        .run(["publish", "--quiet", "--from", "mcp-ragex", "--to", &third, "--version", "v1"])
        .success();
    assert_eq!(digests(&third), digests(&staging));
}

#[test]
fn image_that_is_not_there_or_is_another_is_not_taken_needs_userns() {
    needs!("userns");
    let registry = TestRegistry::start();
    let host = registry.host();
    let to = format!("{host}/team/demo");
    let bench = family();
    bench.run(["publish", "--quiet", "publish-amd64", "--to", &to]).success();
    let take = || {
        registry.take_log();
        let done = bench.run(["publish", "--quiet", "publish-cpu", "--from", &to, "--to", &to]);
        let log = registry.take_log();
        assert!(log.iter().all(|entry| matches!(&*entry.method, "GET" | "HEAD")), "{log:?}");
        redacted(&done.shown().replace("/[ARCH]", "/amd64"), &host)
    };
    assert_data_eq!(
        take(),
        str![[r#"
error: failed to take cpu/arm64 from registry.example/team/demo:latest-cpu-arm64
  caused by: failed to pull registry.example/team/demo:latest-cpu-arm64
  caused by: registry answered 404 MANIFEST_UNKNOWN (team/demo has no manifest latest-cpu-arm64) to GET /v2/team/demo/manifests/latest-cpu-arm64
  hint: publish it there first: `anyarch publish cpu/arm64 --to registry.example/team/demo`
exit 1

"#]]
    );

    let repository: RepositoryName = "team/demo".parse().unwrap();
    let tag = |name: &str| -> Tag { name.parse().unwrap() };
    let store = registry.store();
    let amd64 = store.resolve(&repository, &tag("latest-cpu-amd64")).unwrap().unwrap();
    store.tag(&repository, &tag("latest-cpu-arm64"), &amd64).unwrap();
    assert_data_eq!(
        take(),
        str![[r#"
error: failed to take cpu/arm64 from registry.example/team/demo:latest-cpu-arm64
  caused by: it is for linux/amd64, and the plan says linux/arm64
exit 1

"#]]
    );
}

/// What a dry run says will become of blobs and tags, in the words of the real run.
fn predicted(done: &Done) -> (BTreeMap<String, String>, Vec<String>) {
    let result = &done.events_of("result")[0]["result"];
    let (mut blobs, mut tags) = (BTreeMap::new(), Vec::new());
    for item in result["items"].as_array().unwrap() {
        for blob in item["blobs"].as_array().unwrap() {
            let how = match blob["what"].as_str().unwrap() {
                "send" => format!("uploaded {}", blob["size"]),
                "mount" => "mounted".to_owned(),
                _ => "existed".to_owned(),
            };
            blobs.insert(blob["digest"].as_str().unwrap().to_owned(), how);
        }
        for tag in item["tags"].as_array().unwrap().iter().filter(|tag| tag["what"] != "keep") {
            tags.push(format!(
                "{} {}",
                tag["tag"].as_str().unwrap(),
                item["digest"].as_str().unwrap()
            ));
        }
    }
    tags.sort();
    (blobs, tags)
}

/// What a run did with blobs and tags.
fn done_with(done: &Done) -> (BTreeMap<String, String>, Vec<String>) {
    let tagged = done.events_of("tagged");
    let mut tags: Vec<String> = tagged
        .iter()
        .map(|event| {
            let tag = event["tag"].as_str().unwrap().rsplit(':').next().unwrap();
            format!("{tag} {}", event["digest"].as_str().unwrap())
        })
        .collect();
    tags.sort();
    (blobs(done), tags)
}

/// A dry run of a publication and then the publication, which must do what it said.
#[track_caller]
fn rehearse_and_publish(bench: &Bench, args: &[&str]) -> (BTreeMap<String, String>, Vec<String>) {
    let run = |more: &[&str]| {
        let words: Vec<&str> =
            ["publish", "--progress", "json"].iter().chain(args).chain(more).copied().collect();
        bench.finish(&mut bench.command(&words)).success()
    };
    let said = predicted(&run(&["--dry-run"]));
    let did = done_with(&run(&[]));
    assert_eq!(said, did);
    did
}

#[test]
fn dry_run_tells_what_the_run_does_needs_userns_and_docker_registry() {
    needs!("userns", "docker_registry");
    let registry = DebianRegistry::start();
    let bench = family();
    bench.run(["build", "--quiet", "all"]).success();
    let (to, other) =
        (format!("{}/team/demo", registry.host()), format!("{}/team/other", registry.host()));
    let how = |(blobs, tags): (BTreeMap<String, String>, Vec<String>)| {
        let of = |word: &str| blobs.values().filter(|how| how.starts_with(word)).count();
        (of("uploaded"), of("mounted"), of("existed"), tags.len())
    };
    let everything = how(rehearse_and_publish(&bench, &["--to", &to, "--version", "v1"]));
    assert_eq!(everything, (15, 0, 0, 11));
    assert_eq!(how(rehearse_and_publish(&bench, &["--to", &to, "--version", "v1"])), (0, 0, 0, 0));
    // Another repository of the same registry.
    assert_eq!(
        how(rehearse_and_publish(&bench, &["--to", &other, "--version", "v1"])),
        (0, 15, 0, 11)
    );
    // One changed tier of every member.
    bench.write("src/app", random_bytes(3, 1000));
    bench.run(["build", "--quiet", "all"]).success();
    assert_eq!(how(rehearse_and_publish(&bench, &["--to", &to, "--version", "v2"])), (6, 0, 9, 11));
}

#[test]
fn dry_run_changes_nothing_needs_userns() {
    needs!("userns");
    let registry = TestRegistry::start();
    let host = registry.host();
    let to = format!("{host}/team/demo");
    let bench = family();
    bench.run(["build", "--quiet", "cpu", "arm64"]).success();
    let rehearse = || {
        registry.take_log();
        let done = bench.run(["publish", "--to", &to, "--version", "v1", "--dry-run"]);
        let log = registry.take_log();
        assert!(log.iter().all(|entry| matches!(&*entry.method, "GET" | "HEAD")), "{log:?}");
        assert!(!bench.store().join("publications").exists() || !log.is_empty());
        redacted(&done.shown().replace("/[ARCH]", "/amd64"), &host)
    };
    // Where a member is not built, and so no index over it can be known.
    assert_data_eq!(
        rehearse(),
        str![[r#"
would publish to registry.example/team/demo:
cpu/amd64 (linux/amd64) [DIGEST]
  send  [DIGEST] 94 B
  send  [DIGEST] 148 B
  send  [DIGEST] 91 B
  send  [DIGEST] 143 B
  send  [DIGEST] 93 B
  send  [DIGEST] 143 B
  send  [DIGEST] 1.9 kB
  tag   v1-cpu-amd64: new
  tag   latest-cpu-amd64: new
cpu/arm64 (linux/arm64) [DIGEST]
  send  [DIGEST] 146 B
  send  [DIGEST] 143 B
  send  [DIGEST] 142 B
  send  [DIGEST] 1.9 kB
  tag   v1-cpu-arm64: new
  tag   latest-cpu-arm64: new
latest-cpu (linux/amd64 linux/arm64) [DIGEST]
  tag   v1-cpu: new
  tag   latest-cpu: new
cuda/amd64: not built yet
  tag   cuda-amd64
  tag   v1-cuda-amd64
  tag   cuda-latest
index of cpu/amd64, cpu/arm64, cuda/amd64: not built yet
  tag   latest
  tag   v1
in all: 11 blobs (5.0 kB) to send, 0 blobs (0 B) to mount, 0 blobs (0 B) there; 6 tags to set
resolving: tags of registry.example/team/demo
exit 0

"#]]
    );
    assert_eq!(digests(&to), BTreeMap::new());
    bench.run(["publish", "--quiet", "publish-amd64", "--to", &to, "--version", "v1"]).success();
    bench.write("src/app", "changed\n");
    bench.run(["build", "--quiet", "all"]).success();
    let before = digests(&to);
    // Where the version is there with other content.
    assert_data_eq!(
        rehearse(),
        str![[r#"
would publish to registry.example/team/demo:
cpu/amd64 (linux/amd64) [DIGEST]
  skip  [DIGEST] 94 B
  skip  [DIGEST] 148 B
  skip  [DIGEST] 91 B
  skip  [DIGEST] 143 B
  skip  [DIGEST] 93 B
  send  [DIGEST] 153 B
  send  [DIGEST] 1.9 kB
  tag   v1-cpu-amd64: exists as [DIGEST], and would be refused
  tag   latest-cpu-amd64: moves from [DIGEST]
cpu/arm64 (linux/arm64) [DIGEST]
  send  [DIGEST] 146 B
  send  [DIGEST] 143 B
  send  [DIGEST] 153 B
  send  [DIGEST] 1.9 kB
  tag   v1-cpu-arm64: new
  tag   latest-cpu-arm64: new
cuda/amd64 (linux/amd64) [DIGEST]
  send  [DIGEST] 146 B
  send  [DIGEST] 143 B
  send  [DIGEST] 154 B
  send  [DIGEST] 1.9 kB
  tag   v1-cuda-amd64: new
  tag   cuda-amd64: new
  tag   cuda-latest: new
latest-cpu (linux/amd64 linux/arm64) [DIGEST]
  tag   v1-cpu: new
  tag   latest-cpu: new
latest (linux/amd64 linux/arm64 linux/amd64) [DIGEST]
  tag   v1: new
  tag   latest: new
in all: 10 blobs (6.9 kB) to send, 0 blobs (0 B) to mount, 5 blobs (569 B) there; 11 tags to set
resolving: tags of registry.example/team/demo
error: v1-cpu-amd64 would be refused: other content is there
  hint: publish it as a new version, or move the tags with --force
exit 3

"#]]
    );
    assert_eq!(digests(&to), before);
}
