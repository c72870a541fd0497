//! Archives made to do harm, or merely strange: refused with a named error, or contained.
#![allow(clippy::unwrap_used)]

mod common;

use std::ffi::OsStr;
use std::io::Write;
use std::path::Path;

use anyarch_layer::archive::{Entry, EntryKind, Writer};
use anyarch_layer::{
    Applied, ApplyOptions, Decision, Devices, Existing, ExtractOptions, Extractor, LayerError,
    Root, Time, apply_layer,
};
use common::{Bench, listing, me};
use insta::assert_snapshot;

/// An archive from text: the words of `common`'s trees with any name, `c:`, `b:` for devices.
struct Tar {
    bytes: Vec<u8>,
    owner: (u32, u32),
}

impl Tar {
    fn new(root: &Root, words: &str) -> Tar {
        let mut tar = Tar { bytes: Vec::new(), owner: me(root) };
        words.split_whitespace().for_each(|word| tar.word(word));
        tar
    }

    fn word(&mut self, word: &str) {
        let link = |path: &str, kind, target: &str| {
            let mut entry = Entry::new(path, kind);
            entry.link = target.into();
            (entry, "")
        };
        let (entry, content) = if let Some(path) = word.strip_prefix("c:") {
            let mut entry = Entry::new(path, EntryKind::CharDevice);
            entry.device = (1, 3);
            (entry, "")
        } else if let Some(path) = word.strip_suffix('/') {
            (Entry::new(path, EntryKind::Directory), "")
        } else if let Some((path, target)) = word.split_once('>') {
            link(path, EntryKind::Symlink, target)
        } else if let Some((path, target)) = word.split_once('~') {
            link(path, EntryKind::HardLink, target)
        } else {
            let (path, content) = word.split_once('=').unwrap_or((word, ""));
            (Entry::new(path, EntryKind::File), content)
        };
        self.add(entry, content);
    }

    fn add(&mut self, mut entry: Entry, content: &str) {
        (entry.uid, entry.gid) = self.owner;
        entry.size = content.len() as u64;
        Writer::new(&mut self.bytes).append(&entry, &mut content.as_bytes()).unwrap();
    }

    fn apply(&self, root: &Root) -> Result<Applied, LayerError> {
        let mut bytes = self.bytes.clone();
        bytes.extend([0; 1024]);
        // Missing parents belong to root, which only root can do.
        let ignore_owner = self.owner != (0, 0);
        apply_layer(&bytes[..], root, &ApplyOptions { ignore_owner, ..ApplyOptions::default() })
    }
}

/// Applies a layer onto a tree; the tree after that, or the error.
fn applied(tree: &str, layer: &str) -> String {
    let bench = Bench::new();
    bench.tree("secret", "file=outside");
    let root = bench.tree("root", tree);
    let result = Tar::new(&root, layer).apply(&root);
    assert_eq!(listing(&bench.root("secret")), "file=outside");
    assert_eq!(std::fs::read_dir(bench.folder.path()).unwrap().count(), 2, "something escaped");
    match result {
        Ok(_) => listing(&root),
        Err(error) => error.to_string(),
    }
}

#[test]
fn names_that_lead_out() {
    assert_snapshot!(applied("", "../secret/file=x"), @"archive entry `../secret/file` names a path outside of the tree it is unpacked into");
    assert_snapshot!(applied("", "a/../../secret/file=x"), @"archive entry `a/../../secret/file` names a path outside of the tree it is unpacked into");
    assert_snapshot!(applied("", "/etc/passwd=x"), @"etc/ etc/passwd=x");
    assert_snapshot!(applied("", "./a=1 .//b=2"), @"a=1 b=2");
    assert_snapshot!(applied("a", ".=x"), @"archive entry `.` names a path outside of the tree it is unpacked into");
}

#[test]
fn links_that_lead_out() {
    assert_snapshot!(applied("", "l>../secret l/file=x"), @"l>../secret secret/ secret/file=x");
    assert_snapshot!(applied("", "l>/../../secret/file l=x"), @"l=x");
    assert_snapshot!(applied("", "l~../secret/file"), @"archive entry `../secret/file` names a path outside of the tree it is unpacked into");
    assert_snapshot!(applied("", "s>/secret/file l~s"), @"l>/secret/file s>/secret/file");
    assert_snapshot!(applied("", "l~/secret/file"), @"failed to link archive entry `l` to `/secret/file`");
    assert_snapshot!(applied("", "a>b b>a a/x=1"), @"failed to resolve a");
}

#[test]
fn whiteouts_that_lead_out() {
    assert_snapshot!(applied("a", ".wh..."), @"archive entry `.wh...` names a path outside of the tree it is unpacked into");
    assert_snapshot!(applied("a", ".wh.."), @"archive entry `.wh..` names a path outside of the tree it is unpacked into");
    assert_snapshot!(applied("a", ".wh."), @"archive entry `.wh.` names a path outside of the tree it is unpacked into");
    assert_snapshot!(applied("l>../secret a", "l/.wh.file"), @"a= l>../secret");
    assert_snapshot!(applied("a", "no/.wh.x a/.wh.x .wh..wh.plnk/x=1"), @".wh..wh.plnk/ .wh..wh.plnk/x=1 a=");
}

#[test]
fn whiteouts_hide_what_is_below_and_not_their_own_layer() {
    assert_snapshot!(applied("d/a d/b/c e", "d/.wh.a .wh.e"), @"d/ d/b/ d/b/c=");
    assert_snapshot!(applied("d/a d/b/c d/b/d", "d/b/new=1 d/.wh..wh..opq"), @"d/ d/b/ d/b/new=1");
    assert_snapshot!(applied("d/a d/b", "d/.wh..wh..opq d/n=1"), @"d/ d/n=1");
    assert_snapshot!(applied("x=old", "x=new .wh.x"), @"x=new");
    assert_snapshot!(applied("d/old", "d/new=1 .wh.d"), @"d/ d/new=1");
}

#[test]
fn the_last_of_a_name_wins_whatever_its_type() {
    assert_snapshot!(applied("", "a=1 a=2"), @"a=2");
    assert_snapshot!(applied("a/b/c", "a=1"), @"a=1");
    assert_snapshot!(applied("a=1", "a/ a/b=2"), @"a/ a/b=2");
    assert_snapshot!(applied("d/x l>d", "l/ l/y=1"), @"d/ d/x= l/ l/y=1");
    assert_snapshot!(applied("", "a=1 b~a b~a a~a"), @"a=1 b=1");
    assert_snapshot!(applied("", "d/x=1 d=2 d/ d/y=3"), @"d/ d/y=3");
}

#[test]
fn entries_below_a_file() {
    assert_snapshot!(applied("a=1", "a/b=2"), @"archive entry `a/b` lies below something that is not a directory");
    assert_snapshot!(applied("a=1", "a/b/c/"), @"archive entry `a/b/c` lies below something that is not a directory");
}

#[test]
fn missing_parents_get_mode_and_time() {
    let bench = Bench::new();
    let root = bench.root("root");
    let mut tar = Tar::new(&root, "");
    let mut entry = Entry::new("a/b/c", EntryKind::File);
    entry.mtime = Time::from_secs(77);
    tar.add(entry, "x");
    tar.apply(&root).unwrap();
    let made = root.metadata(Path::new("a/b")).unwrap();
    assert_eq!((made.mode, made.mtime), (0o755, Time::from_secs(77)));
}

#[test]
fn directories_written_into_keep_their_time() {
    let bench = Bench::new();
    let root = bench.tree("root", "etc/a");
    root.set_mtime(Path::new("etc"), Time::from_secs(123)).unwrap();
    Tar::new(&root, "etc/b=1 etc/.wh.a").apply(&root).unwrap();
    assert_eq!(root.metadata(Path::new("etc")).unwrap().mtime, Time::from_secs(123));
}

#[test]
fn setuid_bits_and_read_only_directories_are_kept() {
    let bench = Bench::new();
    let root = bench.root("root");
    let mut tar = Tar::new(&root, "");
    let mut directory = Entry::new("d", EntryKind::Directory);
    directory.mode = 0o2555;
    let mut file = Entry::new("d/sudo", EntryKind::File);
    file.mode = 0o4711;
    tar.add(directory, "");
    tar.add(file, "x");
    tar.apply(&root).unwrap();
    assert_eq!(root.metadata(Path::new("d")).unwrap().mode, 0o2555);
    assert_eq!(root.metadata(Path::new("d/sudo")).unwrap().mode, 0o4711);
    root.set_mode(Path::new("d"), 0o755).unwrap();
}

#[test]
fn archives_that_end_too_early() {
    let bench = Bench::new();
    let root = bench.root("root");
    let tar = Tar::new(&root, "file=0123456789");
    for end in [100, 513, 700] {
        let error = apply_layer(&tar.bytes[..end], &root, &ApplyOptions::default()).unwrap_err();
        assert!(matches!(error, LayerError::Truncated { .. }), "{end}: {error}");
    }
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&tar.bytes).unwrap();
    let gzip = gzip.finish().unwrap();
    let error = apply_layer(&gzip[..gzip.len() - 9], &root, &ApplyOptions::default()).unwrap_err();
    assert!(matches!(error, LayerError::Read { .. }), "{error}");
}

#[test]
fn giant_sizes_take_no_space() {
    let bench = Bench::new();
    let root = bench.root("root");
    // An announced exabyte, and nothing of it; as base 256 and as a pax record.
    let mut header = tar::Header::new_gnu();
    header.set_path("big").unwrap();
    header.set_size(1 << 60);
    header.set_mode(0o644);
    header.set_uid(me(&root).0.into());
    header.set_gid(me(&root).1.into());
    header.set_mtime(0);
    header.set_cksum();
    let error = apply_layer(&header.as_bytes()[..], &root, &ApplyOptions::default()).unwrap_err();
    assert!(matches!(&error, LayerError::Truncated { name } if name == "big"), "{error}");
    assert_eq!(root.metadata(Path::new("big")).unwrap().size, 0);

    let mut bomb = Entry::new("bomb", EntryKind::File);
    bomb.size = 0;
    bomb.xattrs.insert("user.x".into(), vec![b'x'; 2 << 20]);
    let mut archive = Writer::new(Vec::new());
    archive.append(&bomb, &mut std::io::empty()).unwrap();
    let error =
        apply_layer(&archive.finish().unwrap()[..], &root, &ApplyOptions::default()).unwrap_err();
    assert!(error.to_string().contains("more than 1 MiB"), "{error}");
}

#[test]
fn damaged_headers() {
    let bench = Bench::new();
    let root = bench.root("root");
    let good = Tar::new(&root, "a=1 b=2").bytes;
    let apply =
        |bytes: &[u8]| apply_layer(bytes, &root, &ApplyOptions::default()).unwrap_err().to_string();
    let mut bytes = good.clone();
    bytes[1024 + 3] = b'z';
    assert_snapshot!(apply(&bytes), @"the archive is damaged at byte 1024, after the entry `a`: wrong header checksum");
    assert_snapshot!(apply(&[7; 600]), @"the archive is damaged at byte 0, at its start: wrong header checksum");
    let gap = [&good[..1024], &[0; 512], &good[1024..]].concat();
    assert_snapshot!(apply(&gap), @"the archive is damaged at byte 1536, after the entry `a`: data after the end mark");
    assert_snapshot!(apply(b"BZh91AY&SY"), @"the archive is compressed with bzip2, which a layer may not be");
}

#[test]
fn long_names_of_other_writers() {
    let bench = Bench::new();
    let root = bench.root("root");
    let name = format!("{0}/{0}", "n".repeat(120));
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(1);
    header.set_mode(0o600);
    header.set_uid(me(&root).0.into());
    header.set_gid(me(&root).1.into());
    header.set_mtime(0);
    builder.append_data(&mut header, "n".repeat(120) + "/x", &b"1"[..]).unwrap();
    builder.append_data(&mut header, &name, &b"2"[..]).unwrap();
    let mut link = header.clone();
    link.set_size(0);
    link.set_entry_type(tar::EntryType::Link);
    builder.append_link(&mut link, "short", &name).unwrap();
    let bytes = builder.into_inner().unwrap();
    let options = ApplyOptions { ignore_owner: true, ..ApplyOptions::default() };
    apply_layer(&bytes[..], &root, &options).unwrap();
    assert_eq!(root.read(Path::new("short")).unwrap(), b"2");
}

#[test]
fn gnu_tars_sparse_files_of_every_format() {
    let bench = Bench::new();
    let root = bench.root("root");
    let folder = bench.path("in");
    std::fs::create_dir(&folder).unwrap();
    let mut file = std::fs::File::create(folder.join("disk")).unwrap();
    use std::io::{Seek, SeekFrom};
    for (offset, text) in [(0u64, "start"), (1 << 20, "middle"), (30 << 20, "end")] {
        file.seek(SeekFrom::Start(offset)).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }
    file.set_len(40 << 20).unwrap();
    for format in
        ["--format=gnu", "--format=pax --sparse-version=1.0", "--format=pax --sparse-version=0.1"]
    {
        let output = std::process::Command::new("tar")
            .args(["-c", "--sparse"])
            .args(format.split(' '))
            .arg("-C")
            .arg(&folder)
            .arg("disk")
            .output()
            .unwrap();
        assert!(output.status.success() && output.stdout.len() < 1 << 20, "{format}");
        apply_layer(&output.stdout[..], &root, &ApplyOptions::default()).unwrap();
        let made = root.metadata(Path::new("disk")).unwrap();
        assert_eq!(made.size, 40 << 20, "{format}");
        assert!(made.blocks < 4096, "{format}: holes were filled");
        let mut reader = anyarch_layer::archive::Reader::new(&output.stdout[..]);
        assert_eq!(reader.next_entry().unwrap().unwrap().size, 40 << 20);
        let mut hash = anyarch_oci::Hasher::new();
        std::io::copy(&mut reader, &mut hash).unwrap();
        let mut expected = anyarch_oci::Hasher::new();
        std::io::copy(&mut root.open_file(Path::new("disk")).unwrap(), &mut expected).unwrap();
        assert_eq!(hash.finish(), expected.finish(), "{format}");
    }
}

#[test]
fn times_and_owners_out_of_range() {
    let bench = Bench::new();
    let root = bench.root("root");
    let mut tar = Tar::new(&root, "");
    for (name, secs) in [("before", -5_000_000_000), ("after", 1 << 50)] {
        let mut entry = Entry::new(name, EntryKind::File);
        entry.mtime = Time::from_secs(secs);
        tar.add(entry, "");
    }
    tar.apply(&root).unwrap();
    tar.owner = (u32::MAX, u32::MAX);
    tar.word("x=1");
    let error = apply_layer(&tar.bytes[..], &root, &ApplyOptions::default()).unwrap_err();
    assert!(matches!(error, LayerError::Owner { uid: u32::MAX, .. }), "{error}");
    assert!(error.hint().is_some());
    let options = ApplyOptions { ignore_owner: true, ..ApplyOptions::default() };
    apply_layer(&tar.bytes[..], &root, &options).unwrap();
}

#[test]
fn attributes_of_the_host_are_left_out() {
    let bench = Bench::new();
    let root = bench.root("root");
    let mut tar = Tar::new(&root, "");
    let mut entry = Entry::new("a", EntryKind::File);
    for name in ["user.keep", "trusted.overlay.opaque", "user.overlay.opaque", "security.selinux"] {
        entry.xattrs.insert(name.into(), b"y".to_vec());
    }
    tar.add(entry, "");
    tar.apply(&root).unwrap();
    let names: Vec<_> = root.xattrs(Path::new("a")).unwrap().into_keys().collect();
    assert_eq!(names, [OsStr::new("user.keep")]);
}

#[test]
fn device_nodes_where_they_may_not_be() {
    let bench = Bench::new();
    let root = bench.root("root");
    let tar = Tar::new(&root, "dev/ c:dev/null a=1");
    let apply = |devices| {
        apply_layer(&tar.bytes[..], &root, &ApplyOptions { devices, ..ApplyOptions::default() })
    };
    let error = apply(Devices::Refuse).unwrap_err();
    assert_snapshot!(error, @"archive entry `dev/null` is a device node, which cannot be made here");
    assert!(error.hint().is_some());
    apply(Devices::Skip).unwrap();
    assert_snapshot!(listing(&root), @"a=1 dev/");
}

/// Needs root for owners and device nodes; `ANYARCH_TEST_SKIP_ROOT=1` skips.
#[test]
fn device_nodes_and_owners_as_root_needs_root() {
    if std::env::var_os("ANYARCH_TEST_SKIP_ROOT").is_some() {
        return;
    }
    let bench = Bench::new();
    let root = bench.root("root");
    let mut tar = Tar::new(&root, "");
    tar.owner = (12, 345);
    ["c:null", "a=1", "l>a"].into_iter().for_each(|word| tar.word(word));
    apply_layer(&tar.bytes[..], &root, &ApplyOptions::default()).unwrap();
    assert_eq!(root.symlink_metadata(Path::new("null")).unwrap().device, (1, 3));
    for name in ["null", "a", "l"] {
        let metadata = root.symlink_metadata(Path::new(name)).unwrap();
        assert_eq!((metadata.uid, metadata.gid), (12, 345), "{name}");
    }
}

#[test]
fn extraction_asks_the_hook_and_keeps_or_refuses_what_is_there() {
    let bench = Bench::new();
    let root = bench.tree("root", "usr/lib/ lib>usr/lib etc/conf=mine");
    let tar = Tar::new(&root, "./ ./lib/ ./lib/so=1 ./etc/conf=theirs ./doc=x ./twin~etc/conf");
    let options = ExtractOptions {
        keep_directory_links: true,
        existing: Existing::Keep,
        ..ExtractOptions::default()
    };
    let mut hook = |entry: &Entry| match entry.path.to_str().unwrap() {
        "./doc" => Decision::Skip,
        "./etc/conf" => Decision::Rename("etc/conf.new".into()),
        _ => Decision::Extract,
    };
    Extractor::new(&root, options.clone()).extract(&tar.bytes[..], &mut hook).unwrap();
    assert_snapshot!(listing(&root), @"etc/ etc/conf=mine etc/conf.new=theirs lib>usr/lib twin=theirs usr/ usr/lib/ usr/lib/so=1");
    let refuse = ExtractOptions { existing: Existing::Refuse, ..options };
    let error = Extractor::new(&root, refuse)
        .extract(&tar.bytes[..], &mut |_| Decision::Extract)
        .unwrap_err();
    assert_snapshot!(error, @"archive entry `./lib/so` is already there");
}

#[test]
fn extraction_into_a_prefix_with_one_owner() {
    let bench = Bench::new();
    let root = bench.tree("root", "srv/");
    let tar = Tar { bytes: Tar::new(&root, "a=1 b~a c>/x").bytes, owner: (0, 0) };
    let options = ExtractOptions {
        prefix: "srv".into(),
        owner: Some(me(&root)),
        ..ExtractOptions::default()
    };
    Extractor::new(&root, options).extract(&tar.bytes[..], &mut |_| Decision::Extract).unwrap();
    assert_snapshot!(listing(&root), @"srv/ srv/a=1 srv/b=1 srv/c>/x");
}
