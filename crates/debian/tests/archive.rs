//! From a small signed archive to an unpacked root, and every way in which archive and request can be wrong.
#![allow(clippy::unwrap_used, reason = "a test may")]

#[path = "common/archive.rs"]
mod archive;
mod common;

use std::path::Path;

use anyarch_debian::{
    DebianError, ReleaseError, Resolution, SignatureError, configure, download, extract_file, find,
    resolve, subset, unpack, unpack_some, write_sources,
};
use anyarch_layer::Root;
use anyarch_testkit::debian::{Entry, Package};
use archive::{Archive, BASE, now};
use common::Store;

fn solve(archive: &Archive, packages: &[&str]) -> Result<Resolution, DebianError> {
    resolve(&archive.request(packages), archive, &Store::new(), now(), &|_| {})
}

/// `name version` of what is chosen; `*` marks what is there only for others.
fn chosen(archive: &Archive, packages: &[&str]) -> String {
    let resolution = solve(archive, packages).unwrap_or_else(|error| panic!("{error}"));
    let show = |p: &anyarch_debian::Selected| {
        format!("{} {}{}", p.name, p.version, if p.automatic { "*" } else { "" })
    };
    resolution.packages.iter().map(show).collect::<Vec<_>>().join(", ")
}

fn package(name: &str, version: &str) -> Package {
    Package::new(name, version)
}

#[test]
fn base_is_always_there_and_dependencies_follow() {
    let archive = Archive::new(&[
        package("core", "1").field("Essential", "yes").field("Pre-Depends", "libc (>= 2)"),
        package("needed", "1").field("Priority", "required"),
        package("apt", "2"),
        package("libc", "2.1"),
        package("app", "1").field("Depends", "libc, tool:any | other"),
        package("tool", "1").field("Multi-Arch", "allowed"),
        package("unused", "1"),
    ]);
    assert_eq!(chosen(&archive, &["app"]), "app 1, apt 2, core 1, libc 2.1*, needed 1, tool 1*");
    assert_eq!(chosen(&archive, &[]), "apt 2, core 1, libc 2.1*, needed 1");
}

#[test]
fn highest_version_of_all_suites_unless_another_is_asked_for() {
    let mut archive = Archive::new(&[package("a", "1:1"), package("b", "2")]);
    archive.publish("test-updates", &[package("a", "1:2~rc1"), package("a", "1:1.5")], "");
    let mut request = archive.request(&["a", "b"]);
    request.sources.push(archive.source("test-updates"));
    let versions = |request: &anyarch_debian::Request| {
        let resolution = resolve(request, &archive, &Store::new(), now(), &|_| {}).unwrap();
        resolution
            .packages
            .iter()
            .map(|p| format!("{}@{}", p.version, p.index))
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(versions(&request), "1:2~rc1@1 2@0");
    request.packages = vec!["a=1:1".to_owned(), "b".to_owned()];
    assert_eq!(versions(&request), "1:1@0 2@0");
}

#[test]
fn alternatives_prefer_the_first_and_what_is_there_anyway() {
    let archive = Archive::new(&[
        package("app", "1").field("Depends", "first | second"),
        package("first", "1"),
        package("second", "1"),
        package("third", "1").field("Provides", "virtual (= 3)"),
        package("fourth", "1").field("Provides", "virtual"),
        package("wants", "1").field("Depends", "virtual (>= 2)"),
        package("anyone", "1").field("Depends", "virtual"),
    ]);
    assert_eq!(chosen(&archive, &["app"]), "app 1, first 1*");
    assert_eq!(chosen(&archive, &["app", "second"]), "app 1, second 1");
    assert_eq!(chosen(&archive, &["wants"]), "third 1*, wants 1");
    assert_eq!(chosen(&archive, &["anyone", "fourth"]), "anyone 1, fourth 1");
}

#[test]
fn conflicts_are_avoided_or_explained() {
    let archive = Archive::new(&[
        package("app", "1").field("Depends", "mta-a | mta-b"),
        package("mta-a", "1").field("Provides", "mta").field("Conflicts", "mta"),
        package("mta-b", "1").field("Provides", "mta").field("Conflicts", "mta"),
        package("old", "1").field("Breaks", "mta-a (<< 2)"),
        package("lost", "1").field("Depends", "gone (>= 3)"),
    ]);
    assert_eq!(chosen(&archive, &["app", "old"]), "app 1, mta-b 1*, old 1");
    let error = solve(&archive, &["mta-a", "mta-b"]).unwrap_err().to_string();
    assert!(error.contains("mta-a") && error.contains("mta-b"), "{error}");
    let error = solve(&archive, &["lost"]).unwrap_err().to_string();
    assert!(error.contains("lost") && error.contains("gone (>= 3)"), "{error}");
}

#[test]
fn single_packages_are_found_without_what_they_need() {
    let mut archive = Archive::new(&[
        package("core", "1").field("Essential", "yes"),
        package("tool", "1").field("Depends", "gone"),
        package("other", "1").field("Provides", "virtual"),
    ]);
    archive.publish("test-updates", &[package("tool", "2")], "");
    let found = |names: &[&str]| {
        let mut request = archive.request(names);
        request.sources.push(archive.source("test-updates"));
        let resolution = find(&request, &archive, &Store::new(), now(), &|_| {})?;
        let show = |p: &anyarch_debian::Selected| format!("{} {}@{}", p.name, p.version, p.index);
        Ok::<_, DebianError>(resolution.packages.iter().map(show).collect::<Vec<_>>().join(", "))
    };
    assert_eq!(found(&["tool", "virtual", "other"]).unwrap(), "other 1@0, tool 2@1");
    let error = found(&["tooll", "virtual"]).unwrap_err();
    assert!(error.to_string().contains("`tooll` does not exist for amd64"), "{error}");
    assert_eq!(error.hint().unwrap(), "did you mean `tool`?");
}

#[test]
fn one_file_comes_out_of_a_package() {
    let archive = Archive::new(&[package("emulators", "1")
        .entry(Entry::link("usr/bin/first-static", "second"))
        .entry(Entry::program("usr/bin/first", "first program"))
        .entry(Entry::program("usr/bin/second", vec![7; 1 << 20]))]);
    let request = archive.request(&["emulators"]);
    let store = Store::new();
    let resolution = find(&request, &archive, &store, now(), &|_| {}).unwrap();
    let selected = &resolution.packages[0];
    let extract = |names: &[&str]| {
        let mut bytes = Vec::new();
        extract_file(selected, &store, names, &mut bytes).map(|path| (path, bytes))
    };
    let error = extract(&["usr/bin/first"]).unwrap_err();
    assert!(matches!(error, DebianError::NotDownloaded { .. }), "{error}");
    download(&resolution, &request.sources, &archive, &store, 1, &|_| {}).unwrap();
    let (path, bytes) = extract(&["usr/bin/first-static", "usr/bin/first"]).unwrap();
    assert_eq!((path.as_deref(), bytes.as_slice()), (Some("usr/bin/first"), &b"first program"[..]));
    assert_eq!(extract(&["usr/bin/second"]).unwrap().1, vec![7; 1 << 20]);
    assert_eq!(extract(&["usr/bin/third"]).unwrap(), (None, vec![]));
}

#[test]
fn parts_of_a_resolution_hold_what_they_need() {
    let archive = Archive::new(&[
        package("app", "1").field("Pre-Depends", "lib (>= 2) | other").field("Depends", "virtual"),
        package("lib", "1"),
        package("other", "1").field("Depends", "deep"),
        package("deep", "1").field("Depends", "app"),
        package("one", "1").field("Provides", "virtual"),
        package("two", "1").field("Provides", "virtual"),
        package("apart", "1").field("Depends", "lib"),
    ]);
    let request = archive.request(&["app", "lib", "one", "two", "apart"]);
    let (store, on) = (Store::new(), |_| {});
    let resolution = resolve(&request, &archive, &store, now(), &on).unwrap();
    let part = |wanted: &[&str]| {
        let part = subset(&resolution, wanted, &request.sources, &archive, &store, 2, &on).unwrap();
        part.packages.iter().map(|p| p.name.clone()).collect::<Vec<_>>().join(" ")
    };
    let downloads = || {
        let requests = archive.requests.lock().unwrap();
        requests.iter().filter(|(url, _)| url.ends_with(".deb")).count()
    };
    assert_eq!(part(&["lib", "gone"]), "lib");
    assert_eq!(part(&["apart"]), "apart lib");
    assert_eq!(downloads(), 2);
    assert_eq!(part(&["app", "two"]), "app deep other two");
    assert_eq!(downloads(), 6);
    assert_eq!(part(&["deep"]), "app deep one other");
    assert_eq!(part(&[]), "");
}

#[test]
fn unpacking_passes_over_what_is_not_wanted_but_lists_it() {
    let archive = Archive::new(&[package("app", "1")
        .entry(Entry::program("usr/bin/app", "app"))
        .entry(Entry::link("usr/bin/same", "./usr/bin/app"))
        .entry(Entry::file("usr/share/doc/app", "text"))
        .entry(Entry::link("usr/share/linked", "./usr/share/doc/app"))]);
    let request = archive.request(&["app"]);
    let store = Store::new();
    let resolution = resolve(&request, &archive, &store, now(), &|_| {}).unwrap();
    download(&resolution, &request.sources, &archive, &store, 1, &|_| {}).unwrap();
    let lists = |keep: &dyn Fn(&str) -> bool| {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::open(folder.path()).unwrap().leaving_owners(true);
        unpack_some(&resolution, &store, &root, keep, &|_| {}).unwrap();
        let info = |name: &str| {
            std::fs::read_to_string(folder.path().join("var/lib/dpkg/info").join(name)).unwrap()
        };
        let there = ["bin/app", "bin/same", "share/doc/app", "share/linked"];
        let there = there.map(|path| folder.path().join("usr").join(path).exists());
        (info("app.list") + &info("app.md5sums"), there)
    };
    let (all, there) = lists(&|_| true);
    assert_eq!(there, [true; 4]);
    let (some, there) = lists(&|path| !path.starts_with("/usr/share/doc/"));
    assert_eq!(there, [true, true, false, false]);
    assert_eq!(some, all);
}

#[test]
fn recommends_only_when_asked_and_only_as_far_as_they_fit() {
    let archive = Archive::new(&[
        package("app", "1").field("Recommends", "docs, hostile, missing"),
        package("docs", "1").field("Recommends", "fonts"),
        package("fonts", "1"),
        package("hostile", "1").field("Conflicts", "app"),
    ]);
    assert_eq!(chosen(&archive, &["app"]), "app 1");
    let mut request = archive.request(&["app"]);
    request.recommends = true;
    let resolution = resolve(&request, &archive, &Store::new(), now(), &|_| {}).unwrap();
    let names: Vec<_> = resolution.packages.iter().map(|p| p.name.as_str()).collect();
    assert_eq!(names, ["app", "docs", "fonts"]);
}

#[test]
fn unknown_packages_and_versions_come_with_hints() {
    let archive = Archive::new(&[package("ripgrep", "13"), package("python3", "3.11")]);
    let error = solve(&archive, &["ripgerp"]).unwrap_err();
    assert_eq!(error.to_string(), "package `ripgerp` does not exist for amd64 in test");
    assert_eq!(error.hint().unwrap(), "did you mean `ripgrep`?");
    let error = solve(&archive, &["python3=3.12"]).unwrap_err();
    assert_eq!(error.hint().unwrap(), "available: 3.11");
    for bad in ["", "a b", "python3:arm64", "python3="] {
        assert!(matches!(solve(&archive, &[bad]), Err(DebianError::Request { .. })), "{bad}");
    }
}

#[test]
fn bad_indexes_are_refused() {
    let good = || Archive::new(&[package("a", "1")]);

    let mut changed = good();
    let text = String::from_utf8(changed.file("InRelease").clone()).unwrap();
    *changed.file("InRelease") = text.replace("Suite: test", "Suite: tent").into_bytes();
    let error = solve(&changed, &["a"]).unwrap_err();
    assert!(
        matches!(&error, DebianError::Signature { source: SignatureError::Bad { .. }, .. }),
        "{error}"
    );
    assert!(error.hint().is_some());

    let foreign = good();
    let mut request = foreign.request(&["a"]);
    request.sources[0].signed_by = None;
    let error = resolve(&request, &foreign, &Store::new(), now(), &|_| {}).unwrap_err();
    assert!(
        matches!(&error, DebianError::Signature { source: SignatureError::Unknown { keys }, .. }
        if *keys == [foreign.key.id()]),
        "{error}"
    );

    let mut expired = good();
    expired.publish("test", &[package("a", "1")], "Valid-Until: Mon, 01 Jan 2024 12:00:00 UTC\n");
    let error = solve(&expired, &["a"]).unwrap_err();
    assert!(
        matches!(&error, DebianError::Release { source: ReleaseError::Expired { .. }, .. }),
        "{error}"
    );

    let mut other = good();
    let signed = other.file("InRelease").clone();
    other.files.insert(format!("{BASE}/dists/other/InRelease"), signed);
    let mut request = other.request(&["a"]);
    request.sources[0].suite = "other".to_owned();
    let error = resolve(&request, &other, &Store::new(), now(), &|_| {}).unwrap_err();
    assert!(
        matches!(&error, DebianError::Release { source: ReleaseError::OtherSuite { .. }, .. }),
        "{error}"
    );

    let mut request = good().request(&["a"]);
    request.architecture = "arm64".to_owned();
    let error = resolve(&request, &good(), &Store::new(), now(), &|_| {}).unwrap_err();
    assert!(matches!(error, DebianError::NoIndex { .. }), "{error}");

    let mut missing = good();
    missing.files.retain(|url, _| !url.contains("InRelease"));
    let error = solve(&missing, &["a"]).unwrap_err();
    assert!(matches!(error, DebianError::NotFound { .. }) && error.hint().is_some(), "{error}");
}

#[test]
fn index_with_other_content_than_signed_is_refused() {
    let mut archive = Archive::new(&[package("a", "1")]);
    for (_, content) in archive.files.iter_mut().filter(|(url, _)| url.contains("by-hash")) {
        let last = content.len() / 2;
        content[last] ^= 1;
    }
    let error = solve(&archive, &["a"]).unwrap_err();
    assert!(matches!(error, DebianError::Digest { .. }), "{error}");
}

/// An archive with one package of 300 KB that does not compress, and its resolution.
fn large() -> (Archive, Resolution) {
    let mut state = 1u32;
    let mut noise = String::new();
    for _ in 0..300_000 {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        noise.push(char::from(b' ' + (state >> 24) as u8 % 94));
    }
    let archive = Archive::new(&[package("a", "1").entry(Entry::file("usr/share/a", &noise))]);
    let resolution = solve(&archive, &["a"]).unwrap();
    (archive, resolution)
}

fn fetch(archive: &Archive, resolution: &Resolution, store: &Store) -> Result<(), DebianError> {
    download(resolution, &[archive.source("test")], archive, store, 4, &|_| {})
}

#[test]
fn broken_downloads_are_taken_up_where_they_stopped() {
    for ranges in [true, false] {
        let (mut archive, resolution) = large();
        archive.ranges = ranges;
        let size = resolution.packages[0].size as usize;
        archive.break_after = Some(if ranges { 100_000 } else { size - 1000 });
        let store = Store::new();
        if ranges {
            fetch(&archive, &resolution, &store).unwrap();
            let requests = archive.requests.lock().unwrap();
            let offsets: Vec<u64> =
                requests.iter().filter(|(url, _)| url.ends_with(".deb")).map(|(_, o)| *o).collect();
            assert!(offsets.len() >= 3 && offsets.windows(2).all(|w| w[0] < w[1]), "{offsets:?}");
            drop(requests);
            archive.requests.lock().unwrap().clear();
            fetch(&archive, &resolution, &store).unwrap();
            assert!(
                archive.requests.lock().unwrap().is_empty(),
                "complete content is not fetched again"
            );
        } else {
            let error = fetch(&archive, &resolution, &store).unwrap_err();
            assert!(
                matches!(error, DebianError::Truncated { got, .. } if got as usize == size - 1000),
                "{error}"
            );
        }
    }
}

#[test]
fn wrong_size_digest_and_missing_packages_are_refused() {
    let (mut archive, resolution) = large();
    archive.file(".deb")[1000] ^= 1;
    let error = fetch(&archive, &resolution, &Store::new()).unwrap_err();
    assert!(matches!(error, DebianError::Digest { .. }), "{error}");
    archive.file(".deb").push(0);
    let error = fetch(&archive, &resolution, &Store::new()).unwrap_err();
    assert!(matches!(error, DebianError::TooLarge { .. }), "{error}");
    archive.files.retain(|url, _| !url.ends_with(".deb"));
    let error = fetch(&archive, &resolution, &Store::new()).unwrap_err();
    assert!(
        matches!(error, DebianError::NotFound { .. })
            && error.hint().unwrap().contains("resolve again")
    );
}

#[test]
fn resolution_survives_its_text_form() {
    let (_, resolution) = large();
    let text = serde_json::to_string(&resolution).unwrap();
    assert_eq!(serde_json::from_str::<Resolution>(&text).unwrap(), resolution);
}

/// Resolves, downloads and unpacks everything of an archive into a folder.
fn unpacked(
    packages: &[Package],
    names: &[&str],
) -> Result<(tempfile::TempDir, Resolution), DebianError> {
    let archive = Archive::new(packages);
    let store = Store::new();
    let resolution = resolve(&archive.request(names), &archive, &store, now(), &|_| {})?;
    fetch(&archive, &resolution, &store)?;
    let folder = tempfile::tempdir().unwrap();
    unpack(&resolution, &store, &Root::open(folder.path()).unwrap(), &|_| {})?;
    Ok((folder, resolution))
}

fn read(folder: &tempfile::TempDir, path: &str) -> String {
    std::fs::read_to_string(folder.path().join(path)).unwrap()
}

#[test]
fn unpacking_follows_dpkg_needs_root() {
    let (folder, _) = unpacked(
        &[
            package("core", "1")
                .field("Essential", "yes")
                .script("conffiles", "/etc/core.conf\n")
                .script("triggers", "interest-noawait /usr/share/x\n")
                .entry(Entry::folder("bin", 0o755))
                .entry(Entry::file("bin/tool", "old"))
                .entry(Entry::link("bin/same", "./bin/tool"))
                .entry(Entry::folder("tmp", 0o1777))
                .entry(Entry::file("etc/core.conf", "core")),
            package("app", "1")
                .field("Replaces", "core (<< 2)")
                .script("conffiles", "/etc/app.conf\n")
                .script("preinst", "#!/bin/sh\n")
                .entry(Entry::folder("tmp", 0o700))
                .entry(Entry::file("usr/bin/tool", "new"))
                .entry(Entry::link("usr/bin/alias", "tool"))
                .entry(Entry::file("etc/app.conf", "app")),
        ],
        &["app"],
    )
    .unwrap();
    let meta = |path: &str| std::fs::symlink_metadata(folder.path().join(path)).unwrap();
    assert_eq!(std::fs::read_link(folder.path().join("bin")).unwrap(), Path::new("usr/bin"));
    assert_eq!(read(&folder, "usr/bin/tool"), "new");
    assert_eq!(read(&folder, "usr/bin/same"), "old");
    assert_eq!(
        std::os::unix::fs::PermissionsExt::mode(&meta("tmp").permissions()) & 0o7777,
        0o1777
    );
    assert_eq!(read(&folder, "etc/core.conf"), "core");
    assert_eq!(read(&folder, "etc/app.conf.dpkg-new"), "app");
    assert!(!folder.path().join("etc/app.conf").exists());
    let status = read(&folder, "var/lib/dpkg/status");
    assert!(status.contains("Package: app\nStatus: install ok unpacked\n"), "{status}");
    assert!(status.contains("Conffiles:\n /etc/app.conf newconffile\n"), "{status}");
    assert!(
        status.contains("Conffiles:\n /etc/core.conf a74ad8dfacd4f985eb3977517615ce25\n"),
        "{status}"
    );
    assert_eq!(
        read(&folder, "var/lib/dpkg/info/core.list"),
        "/.\n/bin\n/bin/tool\n/bin/same\n/tmp\n/etc/core.conf\n"
    );
    assert_eq!(
        read(&folder, "var/lib/dpkg/info/app.md5sums"),
        "22af645d1859cb5ca6da0c484f1f37ea  usr/bin/tool\n"
    );
    assert_eq!(read(&folder, "var/lib/dpkg/triggers/File"), "/usr/share/x core/noawait\n");
}

#[test]
fn same_file_in_two_packages_is_refused_needs_root() {
    let entry = || Entry::file("usr/bin/tool", "x");
    let error = unpacked(
        &[package("a", "1").entry(entry()), package("b", "1").entry(entry())],
        &["a", "b"],
    );
    let error = error.unwrap_err().to_string();
    assert_eq!(error, "packages a and b both ship /usr/bin/tool");
}

#[test]
fn automatic_packages_are_marked_for_apt_needs_root() {
    let (folder, _) =
        unpacked(&[package("a", "1").field("Depends", "b"), package("b", "1")], &["a"]).unwrap();
    assert_eq!(
        read(&folder, "var/lib/apt/extended_states"),
        "Package: b\nArchitecture: amd64\nAuto-Installed: 1\n\n"
    );
}

#[test]
fn packages_that_are_not_downloaded_are_named() {
    let (_, resolution) = large();
    let folder = tempfile::tempdir().unwrap();
    let root = Root::open(folder.path()).unwrap();
    let error = unpack(&resolution, &Store::new(), &root, &|_| {}).unwrap_err();
    assert!(matches!(error, DebianError::NotDownloaded { .. }), "{error}");
}

#[test]
fn failing_scripts_are_named_and_the_policy_file_goes_needs_root() {
    let packages = [
        package("core", "1").field("Essential", "yes").script("preinst", "#!/bin/sh\n"),
        package("app", "1").field("Pre-Depends", "lib").script("preinst", "#!/bin/sh\n"),
        package("lib", "1"),
    ];
    let (folder, resolution) = unpacked(&packages, &["app"]).unwrap();
    let root = Root::open(folder.path()).unwrap();
    let mut seen: Vec<String> = Vec::new();
    let error = configure(
        &root,
        &resolution,
        0,
        &mut |command| {
            assert!(folder.path().join("usr/sbin/policy-rc.d").exists());
            assert!(
                command.env.iter().any(|(n, v)| n == "DEBIAN_FRONTEND" && v == "noninteractive")
            );
            seen.push(command.argv.join(" "));
            let staged = std::fs::read_to_string(folder.path().join("var/lib/dpkg/tmp.ci/control"));
            Ok(i32::from(staged.is_ok_and(|control| control.starts_with("Package: app\n"))) * 7)
        },
        &|_| {},
    )
    .unwrap_err();
    assert_eq!(error.to_string(), "the preinst script of package app failed with status 7");
    assert_eq!(
        seen,
        [
            "/var/lib/dpkg/tmp.ci/preinst install",
            "/usr/bin/dpkg --configure core",
            "/usr/bin/dpkg --configure lib",
            "/var/lib/dpkg/tmp.ci/preinst install",
        ]
    );
    assert!(!folder.path().join("usr/sbin/policy-rc.d").exists());

    let status = folder.path().join("var/lib/dpkg/status");
    let error = configure(
        &root,
        &resolution,
        0,
        &mut |command| {
            if command.argv[0] != "/usr/bin/dpkg" {
                return Ok(0);
            }
            let text =
                std::fs::read_to_string(&status)?.replacen("ok unpacked", "ok half-configured", 1);
            std::fs::write(&status, text)?;
            Ok(1)
        },
        &|_| {},
    )
    .unwrap_err();
    assert_eq!(error.to_string(), "the postinst script of package app failed with status 1");
}

#[test]
fn sources_are_written_for_apt() {
    let folder = tempfile::tempdir().unwrap();
    let root = Root::open(folder.path()).unwrap();
    let mut source = Archive::new(&[]).source("test");
    source.signed_by = None;
    write_sources(&root, &[source]).unwrap();
    assert_eq!(
        read(&folder, "etc/apt/sources.list.d/debian.sources"),
        "Types: deb\nURIs: http://mirror.example/debian\nSuites: test\nComponents: main\n\
         Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n"
    );
}
