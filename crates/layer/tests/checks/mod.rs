//! What must hold for any archive, as functions that panic where it does not: the tests of this crate
//! call them with made and generated archives, the fuzz target `extract` with whatever the fuzzer makes.
#![allow(dead_code, clippy::unwrap_used, unreachable_pub, reason = "tests")]

use std::fs;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use anyarch_layer::archive::Reader;
use anyarch_layer::{
    Applied, ApplyOptions, Decision, Devices, Existing, ExtractOptions, Extractor, LayerError,
    Root, apply_layer, decode,
};

/// A root to unpack into, and beside it a canary that no archive may touch.
pub struct Arena {
    folder: tempfile::TempDir,
    before: Vec<String>,
}

impl Arena {
    pub fn new() -> Arena {
        let folder = tempfile::tempdir().unwrap();
        let canary = folder.path().join("canary");
        fs::create_dir_all(canary.join("dir")).unwrap();
        fs::create_dir(folder.path().join("root")).unwrap();
        fs::set_permissions(folder.path().join("root"), fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(canary.join("file"), "untouched").unwrap();
        fs::write(canary.join("dir/inner"), "untouched too").unwrap();
        symlink("file", canary.join("link")).unwrap();
        let mut arena = Arena { folder, before: Vec::new() };
        arena.before = arena.outside();
        arena
    }

    pub fn root(&self) -> Root {
        Root::open(&self.folder.path().join("root")).unwrap()
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    pub fn canary(&self) -> PathBuf {
        self.folder.path().join("canary")
    }

    /// Everything beside the root: names, types, modes, owners, times, numbers of links, contents.
    fn outside(&self) -> Vec<String> {
        let mut list = Vec::new();
        let mut folders = vec![self.folder.path().to_path_buf()];
        while let Some(folder) = folders.pop() {
            let entries = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
            for path in entries {
                let metadata = fs::symlink_metadata(&path).unwrap();
                if path == self.path() {
                    list.push("root".to_owned());
                    continue;
                }
                let content = match metadata.is_file() {
                    true => fs::read(&path).unwrap(),
                    false => Vec::new(),
                };
                list.push(format!(
                    "{path:?} {:o} {}:{} {}.{} {} {content:?}",
                    metadata.mode(),
                    metadata.uid(),
                    metadata.gid(),
                    metadata.mtime(),
                    metadata.mtime_nsec(),
                    metadata.nlink(),
                ));
                if metadata.is_dir() {
                    folders.push(path);
                }
            }
        }
        list.sort();
        list
    }

    /// Nothing beside the root has changed.
    #[track_caller]
    pub fn check(&self) {
        assert_eq!(self.outside(), self.before, "something outside of the root has changed");
    }

    /// Applies a layer; whatever comes of it, nothing outside changes.
    #[track_caller]
    pub fn apply(&self, layer: &[u8], options: &ApplyOptions) -> Result<Applied, LayerError> {
        let applied = apply_layer(layer, &self.root(), options);
        self.check();
        applied
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        // Directories without rights would stay behind where the tests do not run as root.
        drop(self.root().remove_all(Path::new("")));
        let mut folders = vec![self.path()];
        while let Some(folder) = folders.pop() {
            drop(fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)));
            let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
            let below = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
            folders.extend(below.map(|entry| entry.path()));
        }
    }
}

/// Most that an archive of the checks may unpack to.
const LIMIT: u64 = 8 << 20;

/// All that holds for any bytes: as a layer, as an archive to unpack, and read without a file system.
pub fn any_archive(bytes: &[u8]) {
    let arena = Arena::new();
    let options = ApplyOptions { ignore_owner: true, devices: Devices::Skip, limit: Some(LIMIT) };
    // A second time over what the first left, which is what is in the way of everything.
    for _ in 0..2 {
        if let Ok(applied) = arena.apply(bytes, &options) {
            assert!(applied.bytes <= LIMIT);
        }
    }
    for existing in [Existing::Replace, Existing::Keep, Existing::Refuse] {
        extracts_inside_the_root(&Arena::new(), bytes, existing);
    }
    reads_to_an_end(bytes);
}

fn extracts_inside_the_root(arena: &Arena, bytes: &[u8], existing: Existing) {
    let Ok((_, plain)) = decode::decode(bytes) else { return };
    let root = arena.root();
    let options = ExtractOptions {
        prefix: "some/place".into(),
        ignore_owner: true,
        devices: Devices::Skip,
        existing,
        keep_directory_links: existing == Existing::Keep,
        ..ExtractOptions::default()
    };
    let plain = decode::Bounded::new(plain, LIMIT);
    drop(Extractor::new(&root, options).extract(plain, &mut |_| Decision::Extract));
    arena.check();
}

/// Reads all entries and, of each, content up to a bound: holes may go on for terabytes.
fn reads_to_an_end(bytes: &[u8]) {
    let Ok((_, plain)) = decode::decode(bytes) else { return };
    let mut reader = Reader::new(decode::Bounded::new(plain, LIMIT));
    while let Ok(Some(entry)) = reader.next_entry() {
        let mut content = Vec::new();
        let read = reader.by_ref().take(1 << 16).read_to_end(&mut content);
        if read.is_ok() {
            assert!(content.len() as u64 <= entry.size.min(1 << 16), "{entry:?}");
        }
    }
}
