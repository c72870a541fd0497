//! `release`: published, and read back as anybody would; and what publishing costs when there is
//! nothing to do.

use std::fs;

use anyarch_testkit::TestRegistry;
use snapbox::{assert_data_eq, str};

use crate::bench::Bench;
use crate::family::{family, in_registry, in_store, redacted};
use crate::needs;

#[test]
fn release_is_read_back_without_a_login_needs_userns() {
    needs!("userns");
    let registry = TestRegistry::start();
    let to = format!("{}/team/demo", registry.host());
    let bench = family();
    let done = bench.run(["release", "--quiet", "--to", &to, "--version", "v1.0.0"]).success();
    assert!(
        done.out
            .contains("released v1.0.0: 3 images of 11 tags pulled without a login and verified"),
        "{}",
        done.out
    );
    // Every blob was read once.
    let log = registry.take_log();
    assert!(in_registry(&to).contains("v1.0.0: ["));
    let mut read: Vec<&str> = log
        .iter()
        .filter(|entry| entry.method == "GET" && entry.target.contains("/blobs/sha256"))
        .map(|entry| entry.target.as_str())
        .collect();
    read.sort_unstable();
    let times = read.len();
    read.dedup();
    assert_eq!((read.len(), times), (15, 15), "{log:#?}");
    assert!(log.iter().all(|entry| entry.authorization.is_none()));
}

#[test]
fn release_into_the_embedded_registry_needs_userns() {
    needs!("userns");
    let bench = family();
    let done = bench.run(["release", "--quiet", "--version", "v1.0.0"]).success();
    assert!(
        done.out.contains("released v1.0.0: 3 images of 11 tags pulled and verified"),
        "{}",
        done.out
    );
    assert!(in_store(&bench, "mcp-ragex").contains("v1.0.0: ["));
    // What was damaged since is found.
    let store = anyarch_store::Store::open(&bench.store()).unwrap();
    let tag = store
        .resolve(&"mcp-ragex".parse().unwrap(), &"cuda-latest".parse().unwrap())
        .unwrap()
        .unwrap();
    let manifest: anyarch_oci::ImageManifest =
        serde_json::from_slice(&store.read_blob(&tag.digest).unwrap()).unwrap();
    let path = store.blob_path(&manifest.layers[0].digest);
    let mut bytes = fs::read(&path).unwrap();
    bytes[20] ^= 1;
    drop(fs::remove_file(&path));
    fs::write(&path, bytes).unwrap();
    let done = bench.run(["release", "--quiet", "--version", "v1.0.0"]);
    assert_eq!(done.code, Some(1), "{done:?}");
    assert!(done.err.contains("failed to verify"), "{}", done.err);
}

#[test]
fn release_that_not_everybody_can_read_is_told_needs_userns() {
    needs!("userns");
    let registry = TestRegistry::start_with_password("ada", "secret");
    let to = format!("{}/team/demo", registry.host());
    let bench = family();
    let folder = bench.around().join("home/.docker");
    fs::create_dir_all(&folder).unwrap();
    // "ada:secret"
    let login = format!(r#"{{"auths":{{"{}":{{"auth":"YWRhOnNlY3JldA=="}}}}}}"#, registry.host());
    fs::write(folder.join("config.json"), login).unwrap();
    let said = bench.fails(["release", "--quiet", "--to", &to, "--version", "v1.0.0"]);
    assert_data_eq!(
        redacted(&said, &registry.host()),
        str![[r#"
error: failed to verify registry.example/team/demo:v1.0.0-cpu-amd64
  caused by: failed to pull registry.example/team/demo:v1.0.0-cpu-amd64
  caused by: registry registry.example refused access without credentials
  hint: log in to registry.example, or check the spelling of the repository; a repository that not everybody may read is released with --private
exit 1

"#]]
    );
    let done = bench.run(["release", "--quiet", "--to", &to, "--version", "v1.0.0", "--private"]);
    let done = done.success();
    assert!(
        done.out.contains("released v1.0.0: 3 images of 11 tags pulled and verified"),
        "{}",
        done.out
    );
}

#[test]
fn release_needs_a_version_and_a_clean_tree_needs_userns() {
    needs!("userns");
    let bench = family();
    assert_data_eq!(
        bench.fails(["release", "--quiet"]),
        str![[r#"
error: a release needs a version
  hint: tag the commit (`git tag v1.0.0`) where the plan says `version = "git"`, or give --version
exit 2

"#]]
    );
    let mut git = std::process::Command::new("git");
    bench.settle(&mut git);
    assert!(git.args(["init", "-q"]).status().unwrap().success());
    let done = bench.run(["release", "--quiet", "--version", "v1"]);
    assert_eq!(done.code, Some(3), "{done:?}");
}

/// Requests of publishing a family of which everything is there, and bytes that were sent.
fn again(bench: &Bench, registry: &TestRegistry, args: &[&str]) -> (usize, u64) {
    registry.take_log();
    bench.finish(&mut bench.command(args)).success();
    let log = registry.take_log();
    assert!(log.iter().all(|entry| matches!(&*entry.method, "GET" | "HEAD")), "{log:?}");
    (log.len(), log.iter().map(|entry| entry.received).sum())
}

#[test]
fn publishing_what_is_there_takes_a_handful_of_requests_needs_userns() {
    needs!("userns");
    let bench = family();
    let registry = TestRegistry::start();
    let to = format!("{}/team/demo", registry.host());
    for version in [&["--version", "v1.0.0"] as &[&str], &[]] {
        let args: Vec<&str> = ["publish", "--to", &to].iter().chain(version).copied().collect();
        bench.finish(&mut bench.command(&args)).success();
        let (requests, bytes) = again(&bench, &registry, &args);
        println!(
            "nothing changed: {requests} requests and {bytes} bytes for 3 images and 2 indexes {version:?}"
        );
        assert_eq!(bytes, 0);
        assert!(requests <= 3 * 5, "{requests} requests");
    }
}
