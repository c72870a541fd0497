//! Random trees: a layer written and applied gives the tree again, and always the same bytes.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyarch_layer::copy::{CopyOptions, copy, everything};
use anyarch_layer::tree::{CompareOptions, CompareTime, What, compare};
use anyarch_layer::{ApplyOptions, Compression, Kind, Root, Time, apply_layer};
use common::{Bench, EPOCH, me};
use proptest::prelude::*;

/// What lies at one path of a random tree.
#[derive(Clone, Debug)]
enum Node {
    File { content: Vec<u8>, mode: u32, note: Option<Vec<u8>> },
    Dir { mode: u32, opaque: bool },
    Link(String),
    Fifo,
    Whiteout,
}

type Tree = BTreeMap<PathBuf, (Node, i64)>;

fn node() -> impl Strategy<Value = Node> {
    let mode = prop_oneof![Just(0o644u32), Just(0o755), Just(0o4711), Just(0o600)];
    let dir_mode = prop_oneof![Just(0o755u32), Just(0o700), Just(0o1777)];
    let content = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..4),
        (any::<u8>(), 0usize..70_000).prop_map(|(byte, len)| vec![byte; len]),
    ];
    let note = proptest::option::weighted(0.1, proptest::collection::vec(any::<u8>(), 0..20));
    prop_oneof![
        5 => (content, mode, note).prop_map(|(content, mode, note)| Node::File { content, mode, note }),
        5 => (dir_mode, any::<bool>()).prop_map(|(mode, opaque)| Node::Dir { mode, opaque }),
        1 => "[a-c./]{1,6}".prop_map(Node::Link),
        1 => Just(Node::Fifo),
        2 => Just(Node::Whiteout),
    ]
}

/// Few names, so that the two trees meet; some that sort around `/`, some long, some not ASCII.
fn tree() -> impl Strategy<Value = Tree> {
    let name = prop_oneof![
        6 => "[a-c]",
        1 => Just("a-".to_owned()),
        1 => Just("b.".to_owned()),
        1 => Just("ü".to_owned()),
        1 => Just("long".repeat(30)),
    ];
    let path =
        proptest::collection::vec(name, 1..4).prop_map(|names| names.iter().collect::<PathBuf>());
    let time = prop_oneof![Just(0i64), Just(EPOCH - 1), Just(EPOCH + 5), -10i64..2_000_000_000];
    proptest::collection::btree_map(path, (node(), time), 0..20)
}

/// Makes the tree; paths below something that is no directory are left out. Whiteouts and opaque
/// marks only in an upper tree.
fn make(root: &Root, tree: &Tree, is_upper: bool) {
    let (uid, gid) = me(root);
    let mut made = Vec::new();
    for (path, (node, time)) in tree {
        let above: Vec<_> = path.ancestors().skip(1).filter(|above| root.exists(above)).collect();
        if above.iter().any(|above| !root.symlink_metadata(above).unwrap().is_dir()) {
            continue;
        }
        root.create_dir_all(path.parent().unwrap(), 0o755, uid, gid).unwrap();
        match node {
            Node::File { content, mode, note } => {
                root.write(path, content, *mode).unwrap();
                if let Some(note) = note {
                    root.set_xattr(path, "user.note".as_ref(), note).unwrap();
                }
                root.set_mode(path, *mode).unwrap();
            }
            Node::Dir { mode, opaque } => {
                root.create_dir_all(path, 0o755, uid, gid).unwrap();
                root.set_mode(path, *mode).unwrap();
                if is_upper && *opaque {
                    root.set_xattr(path, "user.overlay.opaque".as_ref(), b"y").unwrap();
                }
            }
            Node::Link(target) => root.symlink(Path::new(target), path).unwrap(),
            Node::Fifo => root.create_fifo(path, 0o640).unwrap(),
            Node::Whiteout if is_upper => {
                root.create_device(path, Kind::CharDevice, 0, (0, 0)).unwrap()
            }
            Node::Whiteout => continue,
        }
        made.push((path, *time));
    }
    for (path, time) in made.into_iter().rev() {
        root.set_mtime(path, Time::from_secs(time)).unwrap();
    }
}

/// What overlayfs shows of `upper` over what is in `merged`, said as simply as possible.
fn overlay(upper: &Root, merged: &Root, path: &Path, is_new: bool) {
    for name in upper.read_dir(path).unwrap() {
        let path = path.join(name);
        let metadata = upper.symlink_metadata(&path).unwrap();
        let below = merged.symlink_metadata(&path).ok();
        if metadata.is_whiteout() {
            merged.remove_all(&path).unwrap();
            continue;
        }
        if metadata.is_dir() {
            let mark = std::fs::canonicalize(upper.path()).unwrap().join(&path);
            let opaque = is_new || xattr_is_set(&mark);
            if opaque || !below.is_some_and(|below| below.is_dir()) {
                merged.remove_all(&path).unwrap();
                merged.create_dir(&path, 0o755).unwrap();
            }
            overlay(upper, merged, &path, opaque);
            merged.set_mode(&path, metadata.mode).unwrap();
            merged.set_mtime(&path, metadata.mtime).unwrap();
        } else {
            merged.remove_all(&path).unwrap();
            let options = CopyOptions { follow: false, ..CopyOptions::default() };
            copy(upper, &path, merged, &path, &options, &mut everything).unwrap();
        }
    }
}

fn xattr_is_set(path: &Path) -> bool {
    let mut value = [0u8; 8];
    rustix::fs::lgetxattr(path, "user.overlay.opaque", &mut value[..]).is_ok()
}

fn differences(left: &Root, right: &Root) -> Vec<String> {
    let options = CompareOptions { mtime: CompareTime::Clamped(EPOCH), owner: true };
    compare(left, right, &options).unwrap().iter().map(ToString::to_string).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_layer_applied_onto_its_parent_gives_the_tree(below in tree(), above in tree()) {
        let bench = Bench::new();
        let (parent, merged) = (bench.root("parent"), bench.root("merged"));
        make(&parent, &below, false);
        make(&merged, &below, false);
        let upper = bench.root("upper");
        make(&upper, &above, true);
        overlay(&upper, &merged, Path::new(""), false);

        let (written, blob) = bench.write_as(Some("parent"), "upper", Compression::Gzip, 2).unwrap();
        // Written again, after the upper directory was brought to the recorded state: the same.
        let (again, same) = bench.write_as(Some("parent"), "upper", Compression::Gzip, 1).unwrap();
        prop_assert_eq!(&written, &again);
        prop_assert!(blob == same);
        if let Some(written) = written {
            let applied = apply_layer(&blob[..], &parent, &ApplyOptions::default()).unwrap();
            prop_assert_eq!(applied.diff_id, written.diff_id);
            prop_assert_eq!(applied.bytes, written.uncompressed);
            prop_assert_eq!(applied.entries, written.entries);
            prop_assert_eq!(anyarch_oci::Digest::sha256(&blob), written.digest);
        }
        prop_assert_eq!(differences(&merged, &parent), Vec::<String>::new());
    }

    #[test]
    fn a_layer_over_nothing_is_the_tree_for_any_compression(above in tree()) {
        let bench = Bench::new();
        let upper = bench.root("upper");
        make(&upper, &above, false);
        let mut diff_ids = Vec::new();
        for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
            for threads in 1..=4 {
                let (written, blob) = bench.write_as(None, "upper", compression, threads).unwrap();
                let Some(written) = written else { continue };
                if threads == 1 {
                    let root = bench.root(written.media_type.rsplit('.').next().unwrap());
                    apply_layer(&blob[..], &root, &ApplyOptions::default()).unwrap();
                    let exact = compare(&upper, &root, &CompareOptions::default()).unwrap();
                    // The top directory's own time is not part of a layer.
                    let found: Vec<_> = exact.into_iter().filter(|found| !found.path.as_os_str().is_empty()).collect();
                    prop_assert_eq!(found, vec![]);
                }
                diff_ids.push((compression.media_type(), written.digest, written.diff_id));
            }
        }
        diff_ids.dedup();
        prop_assert!(diff_ids.is_empty() || diff_ids.len() == 3);
        prop_assert!(diff_ids.windows(2).all(|pair| pair[0].2 == pair[1].2));
    }

    #[test]
    fn a_comparison_finds_the_planted_difference(base in tree(), pick in any::<prop::sample::Index>(), kind in 0..5) {
        let bench = Bench::new();
        let (left, right) = (bench.root("left"), bench.root("right"));
        make(&left, &base, false);
        make(&right, &base, false);
        prop_assert_eq!(differences(&left, &right), Vec::<String>::new());
        let mut files = Vec::new();
        anyarch_layer::tree::walk(&right, &mut |path, metadata| {
            if metadata.is_file() && metadata.size > 0 {
                files.push((path.to_path_buf(), *metadata));
            }
            Ok(())
        }).unwrap();
        prop_assume!(!files.is_empty());
        let (path, metadata) = &files[pick.index(files.len())];
        let parent = path.parent().unwrap().to_path_buf();
        let parent_time = right.symlink_metadata(&parent).unwrap().mtime;
        match kind {
            0 => { right.remove_file(path).unwrap(); }
            1 => right.set_mode(path, metadata.mode ^ 0o1).unwrap(),
            2 => right.set_xattr(path, "user.planted".as_ref(), b"").unwrap(),
            3 => right.set_mtime(path, Time::from_secs(metadata.mtime.secs.min(EPOCH) - 1)).unwrap(),
            _ => {
                let mut content = right.read(path).unwrap();
                let last = content.len() - 1;
                content[last] ^= 1;
                std::fs::write(bench.path("right").join(path), content).unwrap();
                right.set_mode(path, metadata.mode).unwrap();
                right.set_mtime(path, metadata.mtime).unwrap();
            }
        }
        right.set_mtime(&parent, parent_time).unwrap();
        let options = CompareOptions { mtime: CompareTime::Clamped(EPOCH), owner: true };
        let found = compare(&left, &right, &options).unwrap();
        prop_assert_eq!(found.len(), 1, "{:?}", found);
        prop_assert_eq!(&found[0].path, path);
        let right_kind = match kind {
            0 => matches!(found[0].what, What::OnlyLeft(Kind::File)),
            1 => matches!(found[0].what, What::Mode(..)),
            2 => matches!(found[0].what, What::Xattrs(_)),
            3 => matches!(found[0].what, What::Mtime(..)),
            _ => found[0].what == What::Content(metadata.size - 1),
        };
        prop_assert!(right_kind, "{}", found[0]);
    }
}
