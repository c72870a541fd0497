//! Trees from text, layers from trees, archives as lists: what the tests of this crate share.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, unreachable_pub)]

use std::path::Path;

pub mod raw;

use anyarch_layer::archive::Reader;
use anyarch_layer::{
    Compression, Kind, LayerError, LayerOptions, Root, Time, WrittenLayer, write_layer,
};

/// The epoch of all tests: 1980-01-01.
pub const EPOCH: i64 = 315_532_800;

/// A temporary directory with named roots in it.
pub struct Bench {
    pub folder: tempfile::TempDir,
}

impl Bench {
    pub fn new() -> Bench {
        Bench { folder: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    /// The root of this name, made empty with mode 0755 if it is not there.
    pub fn root(&self, name: &str) -> Root {
        if !self.path(name).exists() {
            std::fs::create_dir(self.path(name)).unwrap();
        }
        let root = Root::open(&self.path(name)).unwrap();
        root.set_mode(Path::new(""), 0o755).unwrap();
        root
    }

    /// Makes entries from text: `dir/`, `file=content`, `link>target`, `deleted!` (a whiteout),
    /// `opaque/!` (an opaque directory), `name~other` (a hard link to `other`).
    pub fn tree(&self, name: &str, text: &str) -> Root {
        let root = self.root(name);
        for word in text.split_whitespace() {
            put(&root, word);
        }
        root
    }

    pub fn write(
        &self,
        parent: Option<&str>,
        upper: &str,
    ) -> Result<(Option<WrittenLayer>, Vec<u8>), LayerError> {
        self.write_as(parent, upper, Compression::None, 2)
    }

    pub fn write_as(
        &self,
        parent: Option<&str>,
        upper: &str,
        compression: Compression,
        threads: usize,
    ) -> Result<(Option<WrittenLayer>, Vec<u8>), LayerError> {
        let options = LayerOptions { epoch: EPOCH, compression, threads, progress: None };
        let mut out = Vec::new();
        let parent = parent.map(|parent| self.path(parent));
        let written = write_layer(parent.as_deref(), &self.path(upper), &options, &mut out)?;
        Ok((written, out))
    }

    /// The entries of the layer of `upper` over `parent`, as text.
    pub fn layer(&self, parent: &str, upper: &str) -> String {
        self.tree("parent", parent);
        self.tree("upper", upper);
        let (_, blob) = self.write(Some("parent"), "upper").unwrap();
        entries(&blob)
    }
}

fn put(root: &Root, word: &str) {
    let parents = |path: &str| {
        let parent = Path::new(path).parent().unwrap();
        let (uid, gid) = me(root);
        root.create_dir_all(parent, 0o755, uid, gid).unwrap();
    };
    if let Some(path) = word.strip_suffix("/!") {
        put(root, &format!("{path}/"));
        root.set_xattr(Path::new(path), "user.overlay.opaque".as_ref(), b"y").unwrap();
    } else if let Some(path) = word.strip_suffix('!') {
        parents(path);
        root.create_device(Path::new(path), Kind::CharDevice, 0, (0, 0)).unwrap();
    } else if let Some(path) = word.strip_suffix('/') {
        let (uid, gid) = me(root);
        root.create_dir_all(Path::new(path), 0o755, uid, gid).unwrap();
    } else if let Some((path, target)) = word.split_once('>') {
        parents(path);
        root.symlink(Path::new(target), Path::new(path)).unwrap();
    } else if let Some((path, target)) = word.split_once('~') {
        parents(path);
        root.hard_link(Path::new(target), Path::new(path)).unwrap();
    } else {
        let (path, content) = word.split_once('=').unwrap_or((word, ""));
        parents(path);
        root.write(Path::new(path), content.as_bytes(), 0o644).unwrap();
    }
}

/// The ids that files of this root have, so that tests run as any user.
pub fn me(root: &Root) -> (u32, u32) {
    let metadata = root.metadata(Path::new("")).unwrap();
    (metadata.uid, metadata.gid)
}

/// Names of an archive's entries, with `/` after directories and `>` or `~` before link targets.
pub fn entries(archive: &[u8]) -> String {
    let mut reader = Reader::new(archive);
    let mut names = Vec::new();
    while let Some(entry) = reader.next_entry().unwrap() {
        use anyarch_layer::archive::EntryKind::*;
        let name = entry.path.display();
        names.push(match entry.kind {
            Directory => format!("{name}/"),
            Symlink => format!("{name}>{}", entry.link.display()),
            HardLink => format!("{name}~{}", entry.link.display()),
            _ => name.to_string(),
        });
    }
    names.join(" ")
}

/// Everything in a tree as text, contents included.
pub fn listing(root: &Root) -> String {
    let mut list = Vec::new();
    anyarch_layer::tree::walk(root, &mut |path, metadata| {
        let name = path.display();
        list.push(match metadata.kind {
            Kind::Directory => format!("{name}/"),
            Kind::File => format!("{name}={}", String::from_utf8_lossy(&root.read(path).unwrap())),
            Kind::Symlink => format!("{name}>{}", root.read_link(path).unwrap().display()),
            kind => format!("{name}:{}", kind.name()),
        });
        Ok(())
    })
    .unwrap();
    list.join(" ")
}

/// Sets the time of everything in a tree.
pub fn set_times(root: &Root, secs: i64) {
    anyarch_layer::tree::walk(root, &mut |path, _| root.set_mtime(path, Time::from_secs(secs)))
        .unwrap();
}
