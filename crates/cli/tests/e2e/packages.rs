//! Bases from a small signed archive: what is installed, and what goes wrong with packages.

use anyarch_testkit::debian::{Entry, Package};
use anyarch_testkit::{Answer, DebianArchive, random_bytes};
use snapbox::{assert_data_eq, str};

use crate::bench::{ARCH, Bench};
use crate::needs;
use crate::root::programs;

/// A dpkg that finds nothing to configure: it says of every package that it is installed.
const DPKG: &str = "#!/bin/sh\n\
    sed -i 's/^Status: .*/Status: install ok installed/' /var/lib/dpkg/status\n";

const PLAN: &str = r#"[project]
name = "demo"

[sources]
debian = [{ uri = "URI", suites = ["test"], signed-by = "keys.gpg" }]

[base.python]
debian = "test"
packages = [PACKAGES]

[flavor.cpu]
platforms = ["linux/ARCH"]
tiers = [{ name = "base", dockerfile = "Dockerfile", context = "context" }]
"#;

/// The packages that make a root in which scripts run.
fn essential() -> Vec<Package> {
    let mut root = package("base-files").field("Essential", "yes");
    for (path, content) in programs() {
        root = root.entry(Entry::program(path.to_str().unwrap(), content));
    }
    let dpkg =
        package("dpkg").field("Essential", "yes").entry(Entry::program("usr/bin/dpkg", DPKG));
    vec![root, dpkg, package("apt")]
}

fn package(name: &str) -> Package {
    Package::new(name, "1.0")
}

/// A package of three megabytes that do not compress.
pub fn large() -> Package {
    package("large").entry(Entry::file("usr/share/large", random_bytes(3, 3_000_000)))
}

/// An archive of these packages, and a project that installs them all.
pub fn bench(packages: &[Package]) -> (DebianArchive, Bench) {
    assert_eq!(ARCH, "amd64", "the test archive has packages for amd64 only");
    let mut all = essential();
    let names: Vec<String> = packages.iter().map(name).collect();
    all.extend_from_slice(packages);
    let archive = DebianArchive::start(&all);
    let bench = bench_with(&archive, &names);
    (archive, bench)
}

/// A project that installs `large` from this archive.
pub fn bench_of(archive: &DebianArchive) -> Bench {
    bench_with(archive, &["large".to_owned()])
}

fn bench_with(archive: &DebianArchive, names: &[String]) -> Bench {
    let bench = Bench::empty();
    let names: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
    let plan = PLAN.replace("URI", &archive.uri()).replace("PACKAGES", &names.join(", "));
    bench.write("anyarch.toml", plan);
    bench.write("keys.gpg", archive.keyring());
    bench.write("Dockerfile", "FROM python\nENV A=b\n");
    bench.write("context/file", "");
    bench
}

fn name(package: &Package) -> String {
    let line = package.control.lines().next().unwrap();
    line.strip_prefix("Package: ").unwrap().to_owned()
}

/// What a build says that must fail, with the address of the archive left out.
fn fails(archive: &DebianArchive, bench: &Bench) -> String {
    bench.fails(["build", "--quiet"]).replace(&archive.uri(), "http://mirror.example/debian")
}

#[test]
fn base_is_made_of_packages_and_pinned_needs_userns() {
    needs!("userns");
    let (archive, bench) = bench(&[large()]);
    let digest = bench.build();
    assert!(bench.layer(0).contains("usr/share/large Regular 644 0:0"), "{}", bench.layer(0));
    let lock = std::fs::read_to_string(bench.path("anyarch.lock")).unwrap();
    assert!(lock.contains("large"), "{lock}");
    archive.take_log();
    assert_eq!(bench.build(), digest);
    assert_eq!(archive.take_log(), [], "a locked base that is built asks nobody");
}

#[test]
fn newer_packages_come_with_an_update_of_the_lock_only_needs_userns() {
    needs!("userns");
    let (archive, bench) = bench(&[package("app").entry(Entry::file("etc/app", "one\n"))]);
    let digest = bench.build();
    let mut packages = essential();
    packages.push(Package::new("app", "2.0").entry(Entry::file("etc/app", "two\n")));
    archive.publish(&packages);
    assert_eq!(bench.build(), digest);
    bench.run(["lock", "--update"]).success();
    assert_ne!(bench.build(), digest);
    assert!(bench.layer(0).contains("etc/app Regular 644 0:0 \"two\\n\""), "{}", bench.layer(0));
}

#[test]
fn truncated_download_is_taken_up_where_it_stopped_needs_userns() {
    needs!("userns");
    let (archive, bench) = bench(&[large()]);
    archive.fault("pool/large", Answer::Cut { after: 1_000_000, times: 2 });
    bench.build();
    let offsets: Vec<u64> = archive
        .take_log()
        .into_iter()
        .filter(|(path, _)| path.contains("pool/large"))
        .map(|(_, offset)| offset)
        .collect();
    assert_eq!(offsets, [0, 1_000_000, 2_000_000]);
}

#[test]
fn download_that_never_comes_whole_needs_userns() {
    needs!("userns");
    let (archive, bench) = bench(&[large()]);
    archive.fault("pool/large", Answer::Cut { after: 0, times: 1000 });
    let said = fails(&archive, &bench);
    assert_data_eq!(
        said,
        str![[r#"
error: failed to download base `python`
  step #1: base python: 4 packages of test
  caused by: http://mirror.example/debian/pool/large_4245ba6eda39.deb broke off after 0 of 3002136 bytes
  caused by: connection was lost while reading http://mirror.example/debian/pool/large_4245ba6eda39.deb
  caused by: error decoding response body
  caused by: error reading a body from connection
  caused by: end of file before message length reached
  hint: check the network and the mirror's address, then run again: what is complete is kept
exit 1

"#]]
    );
    archive.mend();
    bench.build();
    bench.assert_clean();
}

#[test]
fn package_that_does_not_exist_needs_userns() {
    needs!("userns");
    let (archive, bench) = bench(&[package("ripgrep")]);
    bench.replace("anyarch.toml", "\"ripgrep\"", "\"ripgerp\"");
    assert_data_eq!(
        fails(&archive, &bench),
        str![[r#"
error: failed to choose the packages of base `python`
 --> Dockerfile:1:1
  |
1 | FROM python
  | ^^^^^^^^^^^
  caused by: package `ripgerp` does not exist for amd64 in test
  hint: did you mean `ripgrep`?
exit 1

"#]]
    );
}

#[test]
fn dependency_that_nothing_provides_needs_userns() {
    needs!("userns");
    let (archive, bench) = bench(&[package("app").field("Depends", "libmissing (>= 2)")]);
    assert_data_eq!(
        fails(&archive, &bench),
        str![[r#"
error: failed to choose the packages of base `python`
 --> Dockerfile:1:1
  |
1 | FROM python
  | ^^^^^^^^^^^
  caused by: the packages cannot be installed together:
    app cannot be installed because there are no viable options:
    └─ app 1.0 would require
       └─ libmissing (>= 2), for which no candidates were found.
exit 1

"#]]
    );
}

#[test]
fn index_signed_with_another_key_needs_userns() {
    needs!("userns");
    let (archive, bench) = bench(&[]);
    let other = anyarch_testkit::debian::SigningKey::new(2);
    bench.write("keys.gpg", other.public());
    assert_data_eq!(
        fails(&archive, &bench),
        str![[r#"
error: failed to choose the packages of base `python`
 --> Dockerfile:1:1
  |
1 | FROM python
  | ^^^^^^^^^^^
  caused by: failed to verify http://mirror.example/debian/dists/test/InRelease
  caused by: no trusted key signed it (signed by 71B1E4EF5B27A319)
  hint: if the archive is not Debian's own, name its keyring with `signed-by`
exit 1

"#]]
    );
}

#[test]
fn keyring_that_is_not_there_needs_userns() {
    needs!("userns");
    let (archive, bench) = bench(&[]);
    bench.replace("anyarch.toml", "keys.gpg", "other.gpg");
    assert_data_eq!(
        fails(&archive, &bench),
        str![[r#"
error: failed to read the keyring other.gpg
 --> Dockerfile:1:1
  |
1 | FROM python
  | ^^^^^^^^^^^
  caused by: No such file or directory (os error 2)
  hint: line 5 of the plan names it; paths are relative to the plan file
exit 2

"#]]
    );
}

#[test]
fn suite_that_the_mirror_does_not_have_needs_userns() {
    needs!("userns");
    let (archive, bench) = bench(&[]);
    bench.replace("anyarch.toml", "suites = [\"test\"]", "suites = [\"tset\"]");
    assert_data_eq!(
        fails(&archive, &bench),
        str![[r#"
error: failed to choose the packages of base `python`
 --> Dockerfile:1:1
  |
1 | FROM python
  | ^^^^^^^^^^^
  caused by: http://mirror.example/debian/dists/tset/InRelease does not exist
  hint: check the mirror's address and the name of the suite
exit 1

"#]]
    );
}

#[test]
fn mirror_that_is_down_needs_userns() {
    needs!("userns");
    let (archive, bench) = bench(&[]);
    let uri = archive.uri();
    drop(archive);
    let said = bench.fails(["build", "--quiet"]);
    let port = uri.rsplit(':').next().unwrap().split('/').next().unwrap();
    assert_data_eq!(
        said.replace(port, "[PORT]"),
        str![[r#"
error: failed to choose the packages of base `python`
 --> Dockerfile:1:1
  |
1 | FROM python
  | ^^^^^^^^^^^
  caused by: failed to fetch http://127.0.0.1:[PORT]/debian/dists/test/InRelease
  caused by: the request failed
  caused by: failed to connect for http://127.0.0.1:[PORT]/debian/dists/test/InRelease
  caused by: error sending request
  caused by: client error (Connect)
  caused by: tcp connect error
  caused by: Connection refused (os error 111)
  hint: check the network and the mirror's address, then run again: what is complete is kept
exit 1

"#]]
    );
}

#[test]
fn maintainer_script_that_fails_needs_userns() {
    needs!("userns");
    let script = "#!/bin/sh\necho no such luck >&2\nexit 3\n";
    let (archive, bench) = bench(&[package("app").script("preinst", script)]);
    assert_data_eq!(
        fails(&archive, &bench),
        str![[r#"
error: failed to configure base `python`
  step #1: base python: 4 packages of test
  the end of the output of step #1:
    configuring 2 packages
    configuring app (preinst)
    no such luck
  caused by: the preinst script of package app failed with status 3
  hint: the command's own output above says why
exit 1

"#]]
    );
    bench.assert_clean();
}
