//! Layers made to do harm, byte by byte, and legal ones that are merely odd. Each is unpacked inside its
//! root or refused by an error that names the entry; the canary beside the root proves it every time.
#![allow(clippy::unwrap_used)]

mod checks;
mod common;

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use anyarch_layer::{ApplyOptions, Devices, LayerError, Root};
use checks::Arena;
use common::raw::{Header, Raw, record};
use common::{listing, me};

/// A layer for this arena, from a closure that adds entries.
fn layer(arena: &Arena, make: impl FnOnce(&mut Raw) -> &mut Raw) -> Raw {
    let mut raw = Raw::new(me(&arena.root()));
    make(&mut raw);
    raw
}

fn options() -> ApplyOptions {
    // Missing parents belong to root, which only root can do.
    ApplyOptions { ignore_owner: true, ..ApplyOptions::default() }
}

/// The tree after the layer was applied, or the error with its causes.
#[track_caller]
fn applied(make: impl FnOnce(&mut Raw) -> &mut Raw) -> String {
    let arena = Arena::new();
    let layer = layer(&arena, make);
    applied_in(&arena, &layer.end())
}

#[track_caller]
fn applied_in(arena: &Arena, bytes: &[u8]) -> String {
    match arena.apply(bytes, &options()) {
        Ok(_) => listing(&arena.root()),
        Err(error) => with_causes(&error),
    }
}

fn with_causes(error: &LayerError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

#[track_caller]
fn refused(make: impl FnOnce(&mut Raw) -> &mut Raw, expected: &str) {
    let said = applied(make);
    assert!(said.contains(expected), "{said}");
}

#[test]
fn names_that_lead_out_of_the_root() {
    for name in ["../canary/file", "../../../../canary/file", "a/../../canary/file", "..", "a/.."] {
        refused(|raw| raw.file(name, "x"), &format!("archive entry `{name}` names a path outside"));
        refused(|raw| raw.dir(name), "names a path outside");
        refused(|raw| raw.symlink(name, "x"), "names a path outside");
        refused(
            |raw| raw.records(&[("path", name.as_bytes())]).file("a", "x"),
            "names a path outside",
        );
        refused(|raw| raw.long(b'L', name.as_bytes()).file("a", "x"), "names a path outside");
    }
    let arena = Arena::new();
    let absolute = arena.canary().join("file").display().to_string();
    let layer = layer(&arena, |raw| raw.file(&absolute, "x"));
    arena.apply(&layer.end(), &options()).unwrap();
    // What is absolute to the archive is absolute to the root.
    assert_eq!(arena.root().read(Path::new(&absolute)).unwrap(), b"x");
}

#[test]
fn names_that_name_nothing() {
    for name in ["", ".", "/", "./", "//", "././."] {
        assert_eq!(applied(|raw| raw.dir(name).file("a", "1")), "a=1", "{name:?}");
    }
    for name in [".", "/."] {
        refused(|raw| raw.file(name, "x"), "names a path outside");
        refused(|raw| raw.symlink(name, "../canary"), "names a path outside");
        refused(|raw| raw.file("a", "x").hard_link(name, "a"), "names a path outside");
    }
}

#[test]
fn links_as_parents() {
    let inside = "canary/ canary/file=x l>../canary";
    assert_eq!(applied(|raw| raw.symlink("l", "../canary").file("l/file", "x")), inside);
    // A directory that turns into a link in the middle of the archive, and back.
    assert_eq!(
        applied(|raw| {
            raw.dir("d").file("d/a", "1").symlink("d", "../canary").file("d/file", "x");
            raw.dir("d").file("d/b", "2")
        }),
        "canary/ canary/file=x d/ d/b=2"
    );
    // Through two links, of which the second is swapped.
    assert_eq!(
        applied(|raw| {
            raw.dir("x").symlink("a", "b").symlink("b", "x").file("a/1", "");
            raw.symlink("b", "../../canary").file("a/2", "")
        }),
        "a>b b>../../canary canary/ canary/2= x/ x/1="
    );
    let arena = Arena::new();
    let canary = arena.canary().display().to_string();
    let layer = layer(&arena, |raw| raw.symlink("l", &canary).file("l/file", "x").dir("l/dir"));
    arena.apply(&layer.end(), &options()).unwrap();
    assert_eq!(arena.root().read(Path::new(&canary).join("file").as_path()).unwrap(), b"x");
    refused(|raw| raw.symlink("a", "b").symlink("b", "a").file("a/x", ""), "failed to resolve a");
    refused(|raw| raw.symlink("a", "a").dir("a/x"), "failed to resolve a");
}

#[test]
fn links_that_are_written_through() {
    // Not through, but over.
    assert_eq!(applied(|raw| raw.symlink("l", "../canary/file").file("l", "x")), "l=x");
    assert_eq!(
        applied(|raw| raw.symlink("l", "../canary").dir("l").file("l/file", "x")),
        "l/ l/file=x"
    );
    assert_eq!(applied(|raw| raw.symlink("l", "../canary/file").symlink("l", "/etc")), "l>/etc");
}

#[test]
fn hard_links_that_lead_out() {
    refused(|raw| raw.hard_link("h", "../canary/file"), "names a path outside");
    refused(|raw| raw.hard_link("h", "/canary/file"), "failed to link archive entry `h`");
    // A link on the way resolves in the root; at the end it is linked itself.
    refused(
        |raw| raw.symlink("l", "../canary").hard_link("h", "l/file").file("h", "x"),
        "failed to link archive entry `h` to `l/file`",
    );
    assert_eq!(
        applied(|raw| raw.symlink("l", "../canary/file").hard_link("h", "l").file("h", "x")),
        "h=x l>../canary/file"
    );
    let arena = Arena::new();
    let file = arena.canary().join("file").display().to_string();
    let outside = layer(&arena, |raw| raw.hard_link("h", &file));
    assert!(applied_in(&arena, &outside.end()).contains("failed to link archive entry `h`"));
    refused(|raw| raw.dir("d").hard_link("h", "d"), "failed to link archive entry `h` to `d`");
    refused(|raw| raw.hard_link("h", ""), "failed to link archive entry `h`");
}

#[test]
fn whiteouts_of_what_is_not_theirs() {
    for name in [".wh.", ".wh..", ".wh...", "d/.wh.", "d/.wh..", "d/.wh..."] {
        refused(
            |raw| raw.dir("d").file("d/a", "").file(name, ""),
            &format!("archive entry `{name}` names a path outside"),
        );
    }
    refused(|raw| raw.file("../.wh.canary", ""), "names a path outside");
    // Through a link they stay inside: there is nothing to hide.
    assert_eq!(applied(|raw| raw.symlink("l", "../canary").file("l/.wh.file", "")), "l>../canary");
    assert_eq!(
        applied(|raw| raw.symlink("l", "../canary").file("l/.wh..wh..opq", "")),
        "l>../canary"
    );
    refused(
        |raw| raw.file(".wh.a/b", ""),
        "archive entry `.wh.a/b` was refused: it lies below a name that means a deletion",
    );
    // In odd places: twice, of the top, of a file, as a directory, as a link.
    assert_eq!(
        applied(|raw| {
            raw.file("f", "1").file("f/.wh..wh..opq", "").file(".wh..wh..opq", "");
            raw.file(".wh..wh..opq", "").dir(".wh.g").symlink(".wh.h", "../canary");
            raw.hard_link(".wh.i", "f")
        }),
        "f=1"
    );
}

#[test]
fn entries_of_one_name_and_different_types() {
    assert_eq!(
        applied(|raw| {
            raw.file("x", "1").dir("x").file("x/y", "2").symlink("x", "z").file("x", "3");
            raw.dir("x").file("x/w", "4").hard_link("v", "x/w").hard_link("x", "v")
        }),
        "v=4 x=4"
    );
    assert_eq!(applied(|raw| raw.dir("d").dir("d").dir("d/").file("d/a", "")), "d/ d/a=");
    assert_eq!(
        applied(|raw| raw.file("a", "1").hard_link("a", "a").hard_link("b", "a")),
        "a=1 b=1"
    );
}

#[test]
fn sizes_that_are_not_there() {
    fn truncated(raw: &mut Raw, header: Header) -> &mut Raw {
        raw.add(header, b"")
    }
    for size in [1 << 40, 1 << 60, i64::MAX as u64] {
        refused(
            |raw| truncated(raw, Header::new(b'0', b"big").size(size)),
            "the archive ends in the middle of `big`",
        );
    }
    refused(
        |raw| truncated(raw, Header::new(b'0', b"big").binary(124, 12, -1)),
        "in the entry `big`: negative size",
    );
    refused(
        |raw| truncated(raw, Header::new(b'0', b"big").binary(124, 12, 1 << 90)),
        "in the entry `big`: malformed size",
    );
    refused(
        |raw| truncated(raw, Header::new(b'0', b"big").text(124, 12, b"12x")),
        "in the entry `big`: malformed size",
    );
    // Content that belongs to no file is read over, and must be there.
    refused(
        |raw| truncated(raw, Header::new(b'5', b"d").size(1 << 60)),
        "the archive ends in the middle of `d`",
    );
}

#[test]
fn pax_headers_that_lie() {
    let with = |records: &[u8]| applied(|raw| raw.file("first", "").pax(records).file("a", "1"));
    for value in ["-1", "18446744073709551616", "1e3", "", " 1", "0x10"] {
        let said = with(&record("size", value.as_bytes()));
        assert!(
            said.contains("after the entry `first`: malformed number in a pax header"),
            "{said}"
        );
    }
    let said = with(&record("size", b"18446744073709551615"));
    assert_eq!(said, "the archive ends in the middle of `a`");
    for key in ["uid", "gid", "mtime", "GNU.sparse.size", "GNU.sparse.major", "GNU.sparse.map"] {
        let said = with(&record(key, b"\xff\0"));
        assert!(said.contains("malformed number in a pax header"), "{key}: {said}");
    }
    for key in ["path", "linkpath"] {
        let said = with(&record(key, b"a\0b"));
        assert!(said.contains("a name contains a zero byte"), "{key}: {said}");
    }
    for broken in [
        &b"5 a=b"[..],
        b"99 path=b\n",
        b"-1 path=b\n",
        b"9 pathxb\n",
        b"99999999999999999999 path=b\n",
        b"\0\0\0\0",
        b" path=b\n",
    ] {
        let said = with(broken);
        assert!(said.contains("after the entry `first`: malformed pax header"), "{said}");
    }
    // A name that is not UTF-8 is a name like any other to Linux.
    assert_eq!(with(&record("path", b"\xff\xfe")), "first= \u{fffd}\u{fffd}=1");
    // Extended headers of nothing, twice, and of an archive that ends there.
    assert_eq!(with(b""), "a=1 first=");
    let arena = Arena::new();
    let open = layer(&arena, |raw| raw.file("a", "1").records(&[("path", b"b")]));
    assert_eq!(applied_in(&arena, &open.bytes), "a=1");
}

#[test]
fn extended_headers_are_bounded_in_memory() {
    let long = vec![b'n'; 3 << 20];
    for kind in [b'L', b'K'] {
        refused(|raw| raw.long(kind, &long).file("a", ""), "extended headers of more than 1 MiB");
    }
    // Not one by one, but all that an entry has.
    refused(
        |raw| {
            for number in 0..40 {
                let key = format!("SCHILY.xattr.user.{number}");
                raw.records(&[(&key, &[b'x'; 1 << 15])]);
            }
            raw.file("a", "")
        },
        "at its start: extended headers of more than 1 MiB",
    );
    // Of many entries each may have some.
    let said = applied(|raw| {
        for number in 0..40 {
            raw.records(&[("comment", &[b'x'; 1 << 16])]).file(&number.to_string(), "");
        }
        raw
    });
    assert_eq!(said.split(' ').count(), 40);
}

#[test]
fn names_longer_than_file_systems_take() {
    let said = applied(|raw| raw.records(&[("path", &[b'n'; 256])]).file("a", ""));
    assert!(said.contains("/nnn") && said.contains("too long"), "{said}");
    let long = "n".repeat(255);
    let name = format!("{long}/{long}/x");
    assert_eq!(
        applied(|raw| raw.long(b'L', name.as_bytes()).file("a", "1")),
        format!("{long}/ {long}/{long}/ {name}=1")
    );
    let target = "t".repeat(4000);
    assert_eq!(
        applied(|raw| raw.long(b'K', target.as_bytes()).symlink("l", "short")),
        format!("l>{target}")
    );
    refused(|raw| raw.symlink("l", ""), "failed to make the link l");
    let target = "t".repeat(5000);
    refused(|raw| raw.long(b'K', target.as_bytes()).symlink("l", ""), "failed to make the link l");
}

#[test]
fn thousands_of_directories_in_each_other() {
    let arena = Arena::new();
    let path = |depth: usize| "d/".repeat(depth);
    let deep = layer(&arena, |raw| {
        for depth in (100..2000).step_by(100) {
            raw.long(b'L', path(depth).as_bytes()).dir("");
        }
        raw.long(b'L', format!("{}f", path(1900)).as_bytes()).file("", "deep")
    });
    arena.apply(&deep.end(), &options()).unwrap();
    assert!(arena.root().exists(Path::new(&path(1900)).join("f").as_path()));
    // Deeper than a path can say.
    let deeper = layer(&arena, |raw| raw.long(b'L', path(5000).as_bytes()).dir(""));
    assert!(applied_in(&arena, &deeper.end()).contains("too long"));
}

/// GNU's old form: the list in the header.
fn gnu_sparse(name: &[u8], size: u64, segments: &[(u64, u64)], stored: u64) -> Header {
    let mut header = Header::new(b'S', name).size(stored).text(257, 8, b"ustar  \0");
    for (index, (offset, length)) in segments.iter().enumerate() {
        header = header.binary(386 + 24 * index, 12, i128::from(*offset)).binary(
            398 + 24 * index,
            12,
            i128::from(*length),
        );
    }
    header.binary(483, 12, i128::from(size))
}

#[test]
fn sparse_files_take_the_space_of_their_content() {
    let arena = Arena::new();
    let giant = layer(&arena, |raw| {
        raw.add(gnu_sparse(b"old", 1 << 40, &[(1 << 39, 5)], 5), b"hello");
        let map = format!("1\n{}\n5\n", 1u64 << 39);
        let content = [map.as_bytes(), &vec![0; 512 - map.len()], b"hello"].concat();
        let header = raw.header(b'0', b"GNUSparseFile.0/x").size(content.len() as u64);
        raw.records(&[
            ("GNU.sparse.major", b"1"),
            ("GNU.sparse.minor", b"0"),
            ("GNU.sparse.name", b"new"),
            ("GNU.sparse.realsize", (1u64 << 40).to_string().as_bytes()),
        ]);
        raw.add(header, &content)
    });
    arena.apply(&giant.end(), &options()).unwrap();
    for name in ["old", "new"] {
        let metadata = arena.root().metadata(Path::new(name)).unwrap();
        assert_eq!(metadata.size, 1 << 40, "{name}");
        assert!(metadata.blocks < 64, "{name}: holes were filled");
    }
}

#[test]
fn sparse_files_that_lie() {
    for (size, segments, stored) in [
        (1u64 << 60, vec![(0, 5)], 5),
        (u64::MAX >> 1, vec![(0, 5)], 5),
        (10, vec![(0, 5), (3, 5)], 10),
        (10, vec![(8, 5)], 5),
        (10, vec![(0, 5)], 4),
        (10, vec![(5, 1), (0, 4)], 5),
        (10, vec![((1 << 62), (1 << 62)), (1 << 62, 1 << 62)], 5),
    ] {
        let said = applied(|raw| raw.add(gnu_sparse(b"s", size, &segments, stored), b"hello"));
        let expected = match size > 10 {
            true => "in the entry `s`: a sparse file of more than 16 TiB",
            false => "in the entry `s`: damaged list of a sparse file",
        };
        assert!(said.contains(expected), "{segments:?}: {said}");
    }
    let new = |map: &str, size: &str| {
        let content = format!("{map:\0<512}");
        applied(|raw| {
            raw.records(&[
                ("GNU.sparse.major", b"1"),
                ("GNU.sparse.name", b"s"),
                ("GNU.sparse.realsize", size.as_bytes()),
            ]);
            raw.file("x", &content)
        })
    };
    for (map, size, expected) in [
        ("999999999\n", "10", "too many segments"),
        ("99999999999999999999999\n", "10", "damaged list"),
        ("1\n0\n", "10", "damaged list"),
        ("x\n", "10", "damaged list"),
        ("", "10", "damaged list"),
        ("0\n", "99999999999999", "a sparse file of more than 16 TiB"),
        ("0\n", "18446744073709551615", "a sparse file of more than 16 TiB"),
    ] {
        let said = new(map, size);
        assert!(said.contains("in the entry `s`") && said.contains(expected), "{map:?}: {said}");
    }
    refused(
        |raw| raw.records(&[("GNU.sparse.major", b"7")]).file("s", "x"),
        "in the entry `s`: unknown form of sparse file",
    );
    // Lists that go on in block after block, and never end.
    let mut header = gnu_sparse(b"s", 10, &[], 0);
    header.0[482] = 1;
    let mut more = [0; 512];
    more[504] = 1;
    let endless = [&header.finish()[..], &more.repeat(1000)].concat();
    let said = applied_in(&Arena::new(), &endless);
    assert_eq!(said, "the archive ends in the middle of `s`");
}

#[test]
fn bombs_stop_at_their_limit() {
    let zeros = |length: usize| std::io::repeat(0).take(length as u64);
    let arena = Arena::new();
    let head = layer(&arena, |raw| {
        let header = raw.header(b'0', b"bomb").size(1 << 30);
        raw.add(header, b"")
    });
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&head.bytes).unwrap();
    std::io::copy(&mut zeros(64 << 20), &mut gzip).unwrap();
    let gzip = gzip.finish().unwrap();
    let mut zstd = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    zstd.write_all(&head.bytes).unwrap();
    std::io::copy(&mut zeros(64 << 20), &mut zstd).unwrap();
    let zstd = zstd.finish().unwrap();
    // A bomb behind the end of the archive, where nobody unpacks it.
    let mut tail = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    std::io::copy(&mut zeros(64 << 20), &mut tail).unwrap();
    let tail = tail.finish().unwrap();
    for bomb in [gzip, zstd, tail] {
        let arena = Arena::new();
        assert!(bomb.len() < 1 << 20);
        let options = ApplyOptions { limit: Some(1 << 20), ..options() };
        let error = arena.apply(&bomb, &options).unwrap_err();
        let said = with_causes(&error);
        assert!(said.contains("it unpacks to more than 1048576 bytes"), "{said}");
        assert!(error.hint().unwrap().contains("bomb"), "{:?}", error.hint());
        let size = arena.root().metadata(Path::new("bomb")).map_or(0, |made| made.size);
        assert!(size <= 1 << 20, "{size}");
    }
}

#[test]
fn archives_that_are_cut_or_go_on() {
    let arena = Arena::new();
    let whole = layer(&arena, |raw| {
        raw.records(&[("path", b"long")]).file("a", "0123456789").dir("d").symlink("l", "d")
    });
    let bytes = whole.end();
    for end in (1..whole.bytes.len()).step_by(37) {
        let said = applied_in(&Arena::new(), &bytes[..end]);
        let is_whole_entries = end % 512 == 0;
        assert!(is_whole_entries || said.contains("ends in the middle of"), "{end}: {said}");
    }
    let all = "d/ l>d long=0123456789";
    // Without an end mark, with half of one, and with anything behind it.
    for tail in [&b""[..], &[0; 512], &[0; 1024], &[[0; 1024], [7; 1024]].concat()] {
        let bytes = [&whole.bytes[..], tail].concat();
        assert_eq!(applied_in(&Arena::new(), &bytes), all, "{}", tail.len());
    }
    let said = applied_in(&Arena::new(), &[&whole.bytes[..], &[7; 100]].concat());
    assert!(said.contains("ends in the middle of"), "{said}");
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&bytes).unwrap();
    let gzip = gzip.finish().unwrap();
    assert_eq!(applied_in(&Arena::new(), &gzip), all);
    let said = applied_in(&Arena::new(), &[&gzip[..], b"garbage"].concat());
    assert!(said.starts_with("failed to read the archive's data"), "{said}");
    let said = applied_in(&Arena::new(), &gzip[..gzip.len() - 1]);
    assert!(said.starts_with("failed to read the archive's data"), "{said}");
}

#[test]
fn headers_that_are_damaged() {
    let arena = Arena::new();
    let good = layer(&arena, |raw| raw.file("first", "1").file("second", "2"));
    for at in [0, 100, 124, 148, 156, 157, 300, 511] {
        let mut bytes = good.end();
        bytes[1024 + at] ^= 0x55;
        let said = applied_in(&Arena::new(), &bytes);
        assert!(said.contains("after the entry `first`: wrong header checksum"), "{at}: {said}");
    }
    for kind in [b'8', b'A', b'Z', b'V', b'M', b'N', 255] {
        refused(|raw| raw.add(Header::new(kind, b"odd"), b""), "in the entry `odd`: unknown type");
    }
    refused(
        |raw| raw.add(Header::new(b'0', b"odd").text(100, 8, b"-------"), b""),
        "in the entry `odd`: malformed mode",
    );
    refused(
        |raw| raw.add(Header::new(b'0', b"odd").binary(108, 8, 1 << 40), b""),
        "a number of an owner or device out of range",
    );
}

#[test]
fn pipes_and_sockets_do_not_hang() {
    assert_eq!(
        applied(|raw| {
            let pipe = raw.header(b'6', b"p");
            raw.add(pipe, b"").hard_link("q", "p").file("r", "1")
        }),
        "p:named pipe q:named pipe r=1"
    );
    // A pipe in the way of a file is replaced, not written to.
    assert_eq!(
        applied(|raw| {
            let pipe = raw.header(b'6', b"p");
            raw.add(pipe, b"").file("p", "1")
        }),
        "p=1"
    );
}

#[test]
fn device_nodes_are_made_skipped_or_refused() {
    fn make(raw: &mut Raw) -> &mut Raw {
        for (kind, name) in [(b'3', "null"), (b'4', "disk")] {
            let header = raw.header(kind, name.as_bytes()).device(1, 3);
            raw.add(header, b"");
        }
        raw
    }
    for devices in [Devices::Refuse, Devices::Skip, Devices::Create] {
        let arena = Arena::new();
        let is_root = me(&arena.root()).0 == 0;
        let layer = layer(&arena, make);
        let options = ApplyOptions { devices, ..options() };
        match (devices, arena.apply(&layer.end(), &options)) {
            (Devices::Skip, result) => {
                result.unwrap();
                assert_eq!(listing(&arena.root()), "");
            }
            (Devices::Create, Ok(_)) if is_root => {
                assert_eq!(listing(&arena.root()), "disk:block device null:character device");
            }
            (_, result) => {
                let error = result.unwrap_err();
                assert!(
                    matches!(&error, LayerError::Device { name, .. } if name == "null"),
                    "{error}"
                );
            }
        }
    }
}

#[test]
fn attributes_that_would_change_how_the_host_sees_the_tree() {
    let arena = Arena::new();
    let names = [
        "user.note",
        "user.overlay.opaque",
        "user.overlay.redirect",
        "user.overlay.metacopy",
        "user.overlay.whiteout",
        "trusted.overlay.opaque",
        "trusted.overlay.redirect",
        "trusted.anything",
        "security.selinux",
        "security.ima",
        "security.evm",
        "system.nfs4_acl",
        "",
    ];
    let keys: Vec<String> = names.iter().map(|name| format!("SCHILY.xattr.{name}")).collect();
    let records: Vec<(&str, &[u8])> = keys.iter().map(|key| (key.as_str(), &b"/etc"[..])).collect();
    let layer = layer(&arena, |raw| raw.records(&records).dir("d").records(&records).file("f", ""));
    arena.apply(&layer.end(), &options()).unwrap();
    for name in ["d", "f"] {
        let mut list = [0u8; 4096];
        let length = rustix::fs::llistxattr(arena.path().join(name), &mut list[..]).unwrap();
        assert_eq!(&list[..length], b"user.note\0", "{name}");
    }
    // A value that the kernel does not take is an error that names file and attribute.
    let bad = self::layer(&arena, |raw| {
        raw.records(&[("SCHILY.xattr.security.capability", b"nonsense")]).file("f", "")
    });
    let said = applied_in(&arena, &bad.end());
    assert!(said.starts_with("failed to set the attribute security.capability of f"), "{said}");
}

/// While a layer is unpacked, somebody swaps its directory for a link that leads out.
#[test]
fn links_that_are_swapped_in_meanwhile() {
    let arena = Arena::new();
    let root = arena.path();
    std::fs::create_dir(root.join("d")).unwrap();
    symlink("../canary", root.join("l")).unwrap();
    let layer = layer(&arena, |raw| {
        for number in 0..20 {
            raw.file("d/file", "x").file("d/dir/inner", "x").file("d/.wh.file", "").dir("d/dir");
            raw.symlink("d/link", "x").hard_link(&format!("d/{number}"), "d/file");
        }
        raw
    });
    let bytes = layer.end();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let (from, to) = (root.join("d"), root.join("l"));
                let flags = rustix::fs::RenameFlags::EXCHANGE;
                // Where one of them is gone for a moment there is nothing to swap.
                let here = rustix::fs::CWD;
                rustix::fs::renameat_with(here, &from, here, &to, flags).ok();
            }
        });
        for _ in 0..100 {
            // What becomes of it depends on who was first; that nothing gets out does not.
            drop(anyarch_layer::apply_layer(&bytes[..], &arena.root(), &options()));
        }
        stop.store(true, Ordering::Relaxed);
    });
    arena.check();
}

// Legal, and odd.

#[test]
fn layers_of_nothing() {
    let arena = Arena::new();
    for empty in [&b""[..], &[0; 1024], &[0; 10240]] {
        assert_eq!(arena.apply(empty, &options()).unwrap().entries, 0);
    }
    let gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    assert_eq!(arena.apply(&gzip.finish().unwrap(), &options()).unwrap().bytes, 0);
    let zstd = zstd::encode_all(&b""[..], 1).unwrap();
    assert_eq!(arena.apply(&zstd, &options()).unwrap().bytes, 0);
    assert_eq!(listing(&arena.root()), "");
}

#[test]
fn hard_links_across_layers_and_files_that_become_directories() {
    let arena = Arena::new();
    let apply = |make: &dyn Fn(&mut Raw) -> &mut Raw| {
        applied_in(&arena, &layer(&arena, |raw| make(raw)).end())
    };
    apply(&|raw| raw.dir("d").file("d/a", "1").file("b", "2"));
    assert_eq!(apply(&|raw| raw.hard_link("c", "d/a")), "b=2 c=1 d/ d/a=1");
    // A new file in the place of one name leaves the others.
    assert_eq!(apply(&|raw| raw.file("c", "3")), "b=2 c=3 d/ d/a=1");
    assert_eq!(apply(&|raw| raw.file("d", "4").dir("b").file("b/x", "5")), "b/ b/x=5 c=3 d=4");
    assert_eq!(apply(&|raw| raw.file("b", "6").dir("d").symlink("d/y", ".")), "b=6 c=3 d/ d/y>.");
}

#[test]
fn modes_and_attributes_are_kept() {
    let arena = Arena::new();
    let layer = layer(&arena, |raw| {
        for (name, mode) in [("suid", 0o4755), ("sgid", 0o2755), ("none", 0o000), ("all", 0o7777)] {
            let header = raw.header(b'0', name.as_bytes()).mode(mode);
            raw.add(header, b"");
        }
        // Type bits, which some writers leave in the mode.
        let header = raw.header(b'0', b"typed").mode(0o100_640);
        raw.add(header, b"");
        let header = raw.header(b'5', b"sticky").mode(0o1777);
        raw.add(header, b"").file("sticky/x", "");
        raw.records(&[("SCHILY.xattr.user.a", b"1"), ("SCHILY.xattr.user.b", b"\0\xff")])
            .file("noted", "")
    });
    arena.apply(&layer.end(), &options()).unwrap();
    let root = arena.root();
    let mode = |root: &Root, name: &str| root.metadata(Path::new(name)).unwrap().mode;
    for (name, expected) in [
        ("suid", 0o4755),
        ("sgid", 0o2755),
        ("none", 0),
        ("all", 0o7777),
        ("typed", 0o640),
        ("sticky", 0o1777),
    ] {
        assert_eq!(mode(&root, name), expected, "{name}");
    }
    let noted = root.xattrs(Path::new("noted")).unwrap();
    assert_eq!(noted[OsStr::new("user.b")], b"\0\xff");
}

/// Needs root to set capabilities; `ANYARCH_TEST_SKIP_ROOT=1` skips.
#[test]
fn capabilities_are_kept_needs_root() {
    if std::env::var_os("ANYARCH_TEST_SKIP_ROOT").is_some() {
        return;
    }
    let arena = Arena::new();
    // cap_net_raw, permitted and effective, revision 2.
    let value = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let layer = layer(&arena, |raw| {
        raw.records(&[("SCHILY.xattr.security.capability", &value)]).file("ping", "x");
        let header = raw.header(b'0', b"owned").owner(1234, 5678).mode(0o4755);
        raw.add(header, b"")
    });
    arena.apply(&layer.end(), &ApplyOptions::default()).unwrap();
    let found = arena.root().xattrs(Path::new("ping")).unwrap();
    assert_eq!(found[OsStr::new("security.capability")], value);
    // The mode is set after the owner, which clears its bits.
    let owned = arena.root().metadata(Path::new("owned")).unwrap();
    assert_eq!((owned.uid, owned.gid, owned.mode), (1234, 5678, 0o4755));
}
