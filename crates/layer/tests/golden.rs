//! Bytes that must never change by themselves: a new version of a compressor that writes other
//! bytes gives every layer another digest, so it has to be a decision and not an update.
#![allow(clippy::unwrap_used)]

use anyarch_layer::archive::{Entry, EntryKind, Writer};
use anyarch_layer::{Time, gzip};
use anyarch_oci::Digest;
use insta::assert_snapshot;

/// Text, noise and zeros, three megabytes and a bit: reaches every kind of deflate block.
fn mixture() -> Vec<u8> {
    let mut state = 42u64;
    let mut next = move || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u32
    };
    let words = ["layer", "digest", "the ", "of ", "snapshot\n", "0x", "= ", "/usr/lib/", "fn "];
    let mut bytes = Vec::new();
    while bytes.len() < 3_333_333 {
        match next() % 64 {
            0 => bytes.extend((0..next() % 20_000).map(|_| next() as u8)),
            1 => bytes.resize(bytes.len() + (next() % 50_000) as usize, 0),
            _ => {
                (0..200).for_each(|_| bytes.extend(words[next() as usize % words.len()].as_bytes()))
            }
        }
    }
    bytes
}

fn archive() -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    let mut add = |mut entry: Entry, content: &[u8]| {
        entry.size = content.len() as u64;
        entry.mtime = Time::from_secs(315_532_800);
        writer.append(&entry, &mut &content[..]).unwrap();
    };
    add(Entry::new("etc", EntryKind::Directory), b"");
    let mut shadow = Entry::new("etc/shadow", EntryKind::File);
    (shadow.uid, shadow.gid, shadow.mode) = (0, 42, 0o640);
    add(shadow, b"root:*:::::::\n");
    let mut ping = Entry::new("usr/bin/ping", EntryKind::File);
    ping.xattrs.insert(
        "security.capability".into(),
        vec![1, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    );
    ping.xattrs.insert("user.b".into(), b"2".to_vec());
    (ping.uid, ping.mode) = (4_000_000, 0o4755);
    add(ping, &[7; 600]);
    let mut link = Entry::new("lib", EntryKind::Symlink);
    (link.link, link.mode) = ("usr/lib".into(), 0o777);
    add(link, b"");
    let mut hard = Entry::new("usr/bin/ping4", EntryKind::HardLink);
    hard.link = "usr/bin/ping".into();
    add(hard, b"");
    let mut null = Entry::new("dev/null", EntryKind::CharDevice);
    null.device = (1, 3);
    add(null, b"");
    add(Entry::new("run/pipe", EntryKind::Fifo), b"");
    add(Entry::new("d".repeat(120) + "/" + &"f".repeat(130), EntryKind::File), b"long");
    add(Entry::new(format!("{0}/{0}", "split".repeat(18)), EntryKind::File), b"prefix");
    add(Entry::new("ünïcode", EntryKind::File), b"");
    writer.finish().unwrap()
}

#[test]
fn the_archive_has_the_same_bytes_for_ever() {
    assert_snapshot!(Digest::sha256(&archive()), @"sha256:d4afe238c9c990bd48ec165283374999b978c5e7b5855dc083c923330e267066");
}

#[test]
fn gzip_has_the_same_bytes_for_ever() {
    let input = mixture();
    assert_snapshot!(Digest::sha256(&input), @"sha256:2d65d1060ca1f18bee1199ad1c3bd8b8329f489ad4d79eb626c1d8e8f8e8da15");
    let summary = gzip::compress(&mut &input[..], &mut std::io::sink(), 2).unwrap();
    assert_snapshot!(summary.output, @"sha256:3dbd2877a90b76b41cc1e24828a048d9d59c55f59dc7b9af7d197c43d78d1a02");
}

/// Through `write_layer`, whose frames these are; owned by whoever runs the test, so only the
/// content of one frame is compared.
#[test]
fn zstd_has_the_same_bytes_for_ever() {
    assert_snapshot!(Digest::sha256(&zstd::bulk::compress(&mixture(), 3).unwrap()), @"sha256:467f09839d98cc22711cc445dc0644f654a9f527ef9c96c77652a602f941567f");
}

/// Owners are recorded, so the whole layer has fixed bytes only for root; `ANYARCH_TEST_SKIP_ROOT=1` skips.
#[test]
fn a_whole_layer_has_the_same_bytes_for_ever_needs_root() {
    if std::env::var_os("ANYARCH_TEST_SKIP_ROOT").is_some() {
        return;
    }
    use anyarch_layer::{Compression, LayerOptions, write_layer};
    let folder = tempfile::tempdir().unwrap();
    let root = anyarch_layer::Root::open(folder.path()).unwrap();
    let at = std::path::Path::new;
    root.create_dir_all(at("usr/lib"), 0o755, 0, 0).unwrap();
    root.set_mode(at(""), 0o755).unwrap();
    root.write(at("usr/lib/data"), &mixture(), 0o644).unwrap();
    root.hard_link(at("usr/lib/data"), at("usr/lib/same")).unwrap();
    root.symlink(at("usr/lib"), at("lib")).unwrap();
    let digests = [Compression::None, Compression::Gzip, Compression::Zstd].map(|compression| {
        let options = LayerOptions { epoch: 315_532_800, compression, threads: 3, progress: None };
        write_layer(None, folder.path(), &options, &mut std::io::sink())
            .unwrap()
            .unwrap()
            .digest
            .to_string()
    });
    assert_snapshot!(digests.join(" "), @"sha256:8dead0448357b804cb908210a71bf14cd5091aaf9a3189139dda27aa81f3bc17 sha256:b0bb80d3de28207352b058fed1e8367962e7677e9f623d866d6c5cd69fbec2ad sha256:37652dcb5c1c4588c5fd284a3a86aec04d5b295ac8e6460e469c3f92487e9ba0");
}
