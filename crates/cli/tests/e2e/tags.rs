//! Tags of a repository: listed, and pruned by age and count.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use anyarch_http::{Client, Config};
use anyarch_oci::{Descriptor, Platform};
use anyarch_registry::{Anonymous, RegistryClient, Repository};
use anyarch_store::Store;
use anyarch_testkit::{TestIndex, TestRegistry};
use serde_json::Value;
use snapbox::{assert_data_eq, str};

use crate::bench::{ARCH, Bench, signal, wait_until};
use crate::needs;

const VERSIONS: [&str; 3] = ["v1.9.0", "v1.10.0-rc.1", "v1.10.0"];

fn client() -> RegistryClient {
    RegistryClient::new(Client::new(Config::default()).unwrap(), Anonymous)
}

/// Three versions of a family with two members, as `publish` leaves them; gives their indexes.
fn publish(repository: &Repository) -> Vec<Descriptor> {
    let client = client();
    let platforms = ["linux/amd64", "linux/arm64"].map(|text| text.parse::<Platform>().unwrap());
    let mut indexes = Vec::new();
    for (seed, version) in VERSIONS.iter().enumerate() {
        let family = TestIndex::random(10 * seed as u64, &platforms);
        for (image, arch) in family.images.iter().zip(["amd64", "arm64"]) {
            for tag in [format!("{version}-cpu-{arch}"), format!("latest-cpu-{arch}")] {
                image.push(&client, repository, Some(&tag.parse().unwrap())).unwrap();
            }
        }
        for tag in [version, "latest"] {
            family.push(&client, repository, &tag.parse().unwrap()).unwrap();
        }
        indexes.push(family.index);
    }
    indexes
}

/// Without digests and sizes, which differ between versions of compressors.
fn columns(text: &str) -> String {
    let plain = |word: &&str| !word.starts_with("sha256:") && *word != "DIGEST";
    let line = |line: &str| line.split_whitespace().filter(plain).collect::<Vec<_>>().join(" ");
    let text = text.replace("[ARCH]", ARCH);
    text.lines().map(line).collect::<Vec<_>>().join("\n") + "\n"
}

/// Debian's registry in a folder of a bench, ended when dropped.
struct DockerRegistry {
    child: Child,
    host: String,
}

impl DockerRegistry {
    fn start(bench: &Bench, deletes: bool) -> DockerRegistry {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let host = format!("127.0.0.1:{port}");
        let folder = bench.around().join("registry");
        let config = format!(
            "version: 0.1\nstorage:\n  delete: {{enabled: {deletes}}}\n  \
             filesystem: {{rootdirectory: {}}}\nhttp: {{addr: '{host}'}}\n",
            folder.display()
        );
        fs::write(bench.around().join("registry.yml"), config).unwrap();
        let child = Command::new("docker-registry")
            .args(["serve", "registry.yml"])
            .current_dir(bench.around())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("docker-registry is needed");
        wait_until("the registry listens", || {
            std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        DockerRegistry { child, host }
    }
}

impl Drop for DockerRegistry {
    fn drop(&mut self) {
        signal(&self.child, "TERM");
        self.child.wait().unwrap();
    }
}

#[test]
fn old_versions_leave_debians_registry_needs_docker_registry() {
    needs!("docker_registry");
    let bench = Bench::empty();
    let registry = DockerRegistry::start(&bench, true);
    let repository = Repository::new(&registry.host, "team/demo".parse().unwrap());
    let indexes = publish(&repository);
    let name = repository.to_string();

    let before = bench.run(["tags", "ls", &name]).success().out;
    let shown = columns(&before);
    assert!(shown.starts_with("TAG PLATFORMS SIZE AGE\n"), "{shown}");
    assert_eq!(shown.lines().filter(|line| line.ends_with(" kB -")).count(), 12, "{shown}");
    assert!(shown.contains("\nv1.9.0 linux/amd64, linux/arm64 "), "{shown}");
    assert!(shown.contains("\nv1.9.0-cpu-arm64 linux/arm64 "), "{shown}");

    let dry = bench.run(["tags", "prune", &name, "--keep", "1"]).success();
    assert_data_eq!(
        columns(&dry.out),
        str![[r#"
TAG AGE WHY
delete v1.10.0-rc.1 - not the newest
delete v1.10.0-rc.1-cpu-amd64 - not the newest
delete v1.10.0-rc.1-cpu-arm64 - not the newest
delete v1.9.0 - not the newest
delete v1.9.0-cpu-amd64 - not the newest
delete v1.9.0-cpu-arm64 - not the newest
keep latest - carries no version
keep latest-cpu-amd64 - carries no version
keep latest-cpu-arm64 - carries no version
keep v1.10.0 - number 1 of the newest
keep v1.10.0-cpu-amd64 - number 1 of the newest
keep v1.10.0-cpu-arm64 - number 1 of the newest

"#]]
    );
    assert_eq!(dry.err, format!("would delete 6 manifests from {name}; --apply does it\n"));
    assert_eq!(bench.run(["tags", "ls", &name]).success().out, before);

    // Its answers do not say since when, and the images are reproducible.
    let unknown = bench.run(["tags", "prune", &name, "--older-than", "1h", "--apply"]).success();
    assert_eq!(
        unknown.err,
        format!(
            "warning: the age of 9 tags is not known; they stay\nnothing to delete from {name}\n"
        )
    );

    let done = bench.run(["tags", "prune", &name, "--keep", "1", "--apply", "--json"]).success();
    let report: Value = serde_json::from_str(&done.out).unwrap();
    assert_eq!(report["manifests"].as_array().unwrap().len(), 6);
    assert_eq!((&report["applied"], &report["tags"][0]["fate"]), (&true.into(), &"delete".into()));
    assert_eq!(done.err, format!("deleted 6 manifests from {name}\n"));
    let left = columns(&bench.run(["tags", "ls", &name]).success().out);
    assert_eq!(left.lines().count(), 7, "{left}");
    assert!(!left.contains("v1.9.0") && !left.contains("rc.1"), "{left}");
    let there =
        indexes.iter().map(|index| client().stored_manifest(&repository, index).unwrap().is_some());
    assert_eq!(there.collect::<Vec<_>>(), [false, false, true]);
    let again = bench.run(["tags", "prune", &name, "--keep", "1", "--apply"]).success();
    assert_eq!(again.err, format!("nothing to delete from {name}\n"));

    // It deletes by digest only, so a tag on what stays cannot be taken away.
    let alone = ["tags", "prune", &name, "--match", "v1.10.0-cpu-*", "--keep", "0", "--apply"];
    let alone = bench.run(alone).success();
    assert_eq!(
        alone.err,
        format!(
            "warning: this registry cannot take away a tag and leave its image; left: \
             v1.10.0-cpu-amd64 and v1.10.0-cpu-arm64\nnothing to delete from {name}\n"
        )
    );
    assert_eq!(columns(&bench.run(["tags", "ls", &name]).success().out), left);
}

#[test]
fn a_registry_that_deletes_nothing_says_so_needs_docker_registry() {
    needs!("docker_registry");
    let bench = Bench::empty();
    let registry = DockerRegistry::start(&bench, false);
    let repository = Repository::new(&registry.host, "team/demo".parse().unwrap());
    publish(&repository);
    let name = repository.to_string();
    let failed = bench.run(["tags", "prune", &name, "--keep", "1", "--apply"]);
    assert_eq!(failed.code, Some(1));
    assert!(failed.err.contains("registry answered 405 UNSUPPORTED"), "{}", failed.err);
    assert!(failed.err.contains("hint: deletion is switched off"), "{}", failed.err);
    assert!(bench.run(["tags", "ls", &name]).success().out.contains("v1.9.0-cpu-amd64"));
}

#[test]
fn the_plan_says_which_repository() {
    let bench = Bench::empty();
    let registry = TestRegistry::start();
    let repository = registry.repository("team/demo");
    publish(&repository);
    bench.write(
        "anyarch.toml",
        format!(
            "[project]\nname = \"demo\"\nrepository = \"{repository}\"\n[flavor.cpu]\n\
             platforms = [\"linux/amd64\"]\ntiers = [{{ name = \"app\", dockerfile = \"D\" }}]\n"
        ),
    );
    let rows = bench.run(["tags", "ls", "--json"]).success().out;
    let rows: Value = serde_json::from_str(&rows.replace("[ARCH]", ARCH)).unwrap();
    assert_eq!(rows.as_array().unwrap().len(), 12);
    assert_eq!(rows[0]["tag"], "latest");
    assert_eq!(rows[0]["platforms"], serde_json::json!(["linux/amd64", "linux/arm64"]));
    assert!(rows[0]["time"].is_u64(), "{rows}");
}

#[test]
fn old_tags_leave_the_host_store() {
    let bench = Bench::empty();
    bench.write(
        "anyarch.toml",
        "[project]\nname = \"demo\"\n[flavor.cpu]\nplatforms = [\"linux/amd64\"]\n\
         tiers = [{ name = \"app\", dockerfile = \"D\" }]\n",
    );
    let nothing = bench.run(["tags", "ls"]);
    assert!(nothing.err.contains("there is no repository demo in the host store"), "{nothing:?}");

    let registry = TestRegistry::start();
    publish(&registry.repository("demo"));
    let from = registry.store();
    let to = Store::open(&bench.store()).unwrap();
    let name = "demo".parse().unwrap();
    for manifest in from.manifests(&name).unwrap() {
        to.put_blob(&from.read_blob(&manifest.digest).unwrap()).unwrap();
        to.add_manifest(&name, &manifest).unwrap();
    }
    for tag in from.tags(&name).unwrap() {
        to.tag(&name, &tag, &from.resolve(&name, &tag).unwrap().unwrap()).unwrap();
        let file: PathBuf = bench.store().join("repositories/demo/tags").join(tag.as_str());
        let days = if tag.as_str().starts_with("v1.9") { 40 } else { 20 };
        let then = SystemTime::now() - Duration::from_secs(days * 24 * 3600);
        File::options().write(true).open(file).unwrap().set_modified(then).unwrap();
    }
    let done = bench.run(["tags", "prune", "--older-than", "30d", "--apply"]).success();
    assert_data_eq!(
        columns(&done.out),
        str![[r#"
TAG AGE WHY
delete v1.9.0 40 d older than 30 d
delete v1.9.0-cpu-amd64 40 d older than 30 d
delete v1.9.0-cpu-arm64 40 d older than 30 d
keep latest 20 d carries no version
keep latest-cpu-amd64 20 d carries no version
keep latest-cpu-arm64 20 d carries no version
keep v1.10.0 20 d not older than 30 d
keep v1.10.0-cpu-amd64 20 d not older than 30 d
keep v1.10.0-cpu-arm64 20 d not older than 30 d
keep v1.10.0-rc.1 20 d not older than 30 d
keep v1.10.0-rc.1-cpu-amd64 20 d not older than 30 d
keep v1.10.0-rc.1-cpu-arm64 20 d not older than 30 d

"#]]
    );
    assert_eq!(done.err, "deleted 3 manifests from demo\n");
    assert_eq!(to.tags(&name).unwrap().len(), 9);
    assert_eq!(to.manifests(&name).unwrap().len(), 6);
}
