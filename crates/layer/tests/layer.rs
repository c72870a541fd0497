//! What a layer says about a change.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::Path;

use anyarch_layer::{LayerError, Root, Time, tree};
use common::{Bench, EPOCH, entries, me, set_times};
use insta::assert_snapshot;

fn layer(parent: &str, upper: &str) -> String {
    Bench::new().layer(parent, upper)
}

#[test]
fn removed_file_becomes_whiteout() {
    assert_snapshot!(layer("etc/a etc/b", "etc/a!"), @"etc/ etc/.wh.a");
}

#[test]
fn whiteout_of_nothing_is_nothing() {
    assert_snapshot!(layer("etc/a", "etc/b!"), @"");
}

#[test]
fn touched_file_is_not_written() {
    let bench = Bench::new();
    set_times(&bench.tree("parent", "etc/a=1 etc/b=2"), 1000);
    let upper = bench.tree("upper", "etc/a=1 etc/b=2");
    set_times(&upper, 1000);
    upper.set_mtime(Path::new("etc/b"), Time { secs: 1000, nanos: 5 }).unwrap();
    assert!(bench.write(Some("parent"), "upper").unwrap().0.is_none());
    // The snapshot is as if nothing had happened.
    assert_eq!(upper.metadata(Path::new("etc/b")).unwrap().mtime, Time::from_secs(1000));
}

#[test]
fn times_after_the_epoch_are_one_time() {
    let bench = Bench::new();
    set_times(&bench.tree("parent", "a=1 b=2"), EPOCH + 1000);
    let upper = bench.tree("upper", "a=1 b=3");
    let (_, blob) = bench.write(Some("parent"), "upper").unwrap();
    assert_snapshot!(entries(&blob), @"b");
    assert_eq!(upper.metadata(Path::new("a")).unwrap().mtime, Time::from_secs(EPOCH + 1000));
    assert_eq!(upper.metadata(Path::new("b")).unwrap().mtime, Time::from_secs(EPOCH));
}

#[test]
fn ancestors_are_written_and_siblings_are_not() {
    assert_snapshot!(layer("usr/lib/x usr/bin/y", "usr/lib/x=2 usr/bin/"), @"usr/ usr/lib/ usr/lib/x");
}

#[test]
fn opaque_is_said_only_when_it_hides_something() {
    assert_snapshot!(layer("d/a=1 d/b", "d/! d/a=1"), @"d/ d/.wh..wh..opq d/a");
    assert_snapshot!(layer("d/a=1", "d/! d/a=1"), @"");
    assert_snapshot!(layer("d/s/a=1 d/s/b", "d/! d/s/a=1"), @"d/ d/s/ d/s/.wh..wh..opq d/s/a");
    assert_snapshot!(layer("x", "d/! d/a=1"), @"d/ d/a");
}

#[test]
fn a_directory_for_a_file_and_the_reverse() {
    assert_snapshot!(layer("x=1 y/a", "x/a y=1"), @"x/ x/a y");
    assert_snapshot!(layer("l>d d/a", "l/b"), @"l/ l/b");
}

#[test]
fn entries_are_sorted_by_the_bytes_of_the_whole_path() {
    assert_snapshot!(layer("a/z", "a/b a-b a/z! a.b Z"), @"Z a/ a-b a.b a/.wh.z a/b");
}

#[test]
fn the_first_name_is_the_file_and_the_rest_are_links() {
    assert_snapshot!(layer("", "z=1 b/c~z a~z"), @"a b/ b/c~a z~a");
}

#[test]
fn an_unchanged_name_is_written_when_another_links_to_it() {
    assert_snapshot!(layer("z=1", "z=1 a~z"), @"a z~a");
}

#[test]
fn the_top_directory_is_written_when_its_mode_changes() {
    let bench = Bench::new();
    bench.tree("parent", "a");
    bench.tree("upper", "").set_mode(Path::new(""), 0o700).unwrap();
    let (_, blob) = bench.write(Some("parent"), "upper").unwrap();
    assert_snapshot!(entries(&blob), @"./");
}

#[test]
fn sockets_are_left_out_and_what_they_replaced_is_gone() {
    let bench = Bench::new();
    bench.tree("parent", "s=1");
    let upper = bench.tree("upper", "a");
    for name in ["s", "t"] {
        std::os::unix::net::UnixListener::bind(bench.path("upper").join(name)).unwrap();
    }
    let (_, blob) = bench.write(Some("parent"), "upper").unwrap();
    assert_snapshot!(entries(&blob), @".wh.s a");
    assert!(upper.symlink_metadata(Path::new("s")).unwrap().is_whiteout());
    assert!(!upper.exists(Path::new("t")));
}

#[test]
fn names_that_mean_deletions_are_refused() {
    let bench = Bench::new();
    bench.tree("upper", "etc/.wh.x");
    let error = bench.write(None, "upper").unwrap_err();
    assert!(
        matches!(&error, LayerError::ReservedName { path } if path == Path::new("etc/.wh.x")),
        "{error}"
    );
}

#[test]
fn attributes_are_recorded_and_the_marks_of_overlayfs_are_not() {
    let bench = Bench::new();
    bench.tree("parent", "");
    let upper = bench.tree("upper", "a=1");
    upper.set_xattr(Path::new("a"), "user.note".as_ref(), b"\0\n=x").unwrap();
    upper.set_xattr(Path::new("a"), "user.overlay.origin".as_ref(), b"").unwrap();
    let (_, blob) = bench.write(Some("parent"), "upper").unwrap();
    let entry = anyarch_layer::archive::Reader::new(&blob[..]).next_entry().unwrap().unwrap();
    assert_eq!(format!("{:?}", entry.xattrs), r#"{"user.note": [0, 10, 61, 120]}"#);
}

#[test]
fn a_sparse_file_is_written_as_plain_content() {
    let bench = Bench::new();
    bench.tree("parent", "");
    let upper = bench.tree("upper", "");
    let mut file = upper.create_file(Path::new("disk"), 0o644).unwrap();
    use std::io::{Seek, SeekFrom, Write};
    file.seek(SeekFrom::Start(5_000_000)).unwrap();
    file.write_all(b"middle").unwrap();
    file.set_len(9_000_001).unwrap();
    let (written, blob) = bench.write(Some("parent"), "upper").unwrap();
    assert_eq!(written.unwrap().uncompressed, blob.len() as u64);
    let mut reader = anyarch_layer::archive::Reader::new(&blob[..]);
    assert_eq!(reader.next_entry().unwrap().unwrap().size, 9_000_001);
    let mut content = Vec::new();
    std::io::Read::read_to_end(&mut reader, &mut content).unwrap();
    assert!(content == std::fs::read(bench.path("upper/disk")).unwrap());
}

#[test]
fn an_independent_reader_sees_the_same_entries() {
    let bench = Bench::new();
    bench.tree("parent", "");
    let long = "d".repeat(90);
    let upper =
        bench.tree("upper", &format!("a=1 {long}/{long}/{long}=2 é=3 l>{long}{long} h~a p>/é"));
    let owner = me(&upper);
    let (_, blob) = bench.write(Some("parent"), "upper").unwrap();
    let mut archive = tar::Archive::new(&blob[..]);
    let mut names = Vec::new();
    for entry in archive.entries().unwrap() {
        let entry = entry.unwrap();
        assert_eq!(
            (entry.header().uid().unwrap(), entry.header().gid().unwrap()),
            (owner.0.into(), owner.1.into())
        );
        assert_eq!(entry.header().mtime().unwrap(), EPOCH as u64);
        assert_eq!(entry.header().username().unwrap(), Some(""));
        let link = entry
            .link_name()
            .unwrap()
            .map(|link| format!(">{}", link.display()))
            .unwrap_or_default();
        names.push(format!("{}{link}", entry.path().unwrap().display()));
    }
    let names = names.join(" ").replace(&long, "D");
    assert_snapshot!(names, @"a D/ D/D/ D/D/D h>a l>DD p>/é é");
    assert!(blob.ends_with(&[0; 1024]));
}

/// Needs unprivileged user namespaces and overlayfs in them (Linux 5.11); `ANYARCH_TEST_SKIP_USERNS=1` skips.
#[test]
fn the_upper_directory_of_a_real_mount_needs_userns() {
    if std::env::var_os("ANYARCH_TEST_SKIP_USERNS").is_some() {
        return;
    }
    let bench = Bench::new();
    let parent =
        bench.tree("parent", "etc/a=1 etc/b=2 gone/x gone/y d/s/one d/two keep/z=1 old/f link>etc");
    bench.tree("upper", "");
    bench.tree("work", "");
    bench.tree("merged", "");
    bench.tree("expected", "");
    let script = "set -e; cd \"$1\"; \
        mount -t overlay overlay -o userxattr,lowerdir=parent,upperdir=upper,workdir=work merged; cd merged; \
        rm etc/a; echo 3 > etc/b; rm -r gone; rm -r d; mkdir -p d/s; echo new > d/s/three; touch keep/z; \
        mkdir new; mv old/f new/f; rmdir old; ln keep/z new/hard; rm link; ln -s keep link; \
        cp -a . ../expected";
    let status = std::process::Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"])
        .arg(bench.folder.path())
        .status()
        .unwrap();
    assert!(status.success());
    let (_, blob) = bench.write(Some("parent"), "upper").unwrap();
    assert_snapshot!(entries(&blob), @".wh.gone .wh.old d/ d/.wh..wh..opq d/s/ d/s/three etc/ etc/.wh.a etc/b keep/ keep/z link>keep new/ new/f new/hard~keep/z");
    anyarch_layer::apply_layer(&blob[..], &parent, &Default::default()).unwrap();
    let expected = Root::open(&bench.path("expected")).unwrap();
    let options = tree::CompareOptions { mtime: tree::CompareTime::Clamped(EPOCH), owner: true };
    let differences = tree::compare(&expected, &parent, &options).unwrap();
    assert!(
        differences.is_empty(),
        "{}",
        differences.iter().map(|d| d.to_string()).collect::<Vec<_>>().join("\n")
    );
}
