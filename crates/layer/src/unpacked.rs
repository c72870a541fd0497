//! Which paths a layer has unpacked so far: its whiteouts must not hide them.
//!
//! image-spec `layer.md`: "files that are present in the same layer as a whiteout file can only be
//! hidden by whiteout files in subsequent layers". Paths are kept as 16 bytes of their SHA-256, so
//! that a layer of a million files costs some tens of megabytes.

use std::collections::HashSet;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::error::LayerError;
use crate::root::Root;

/// The paths of one layer and the directories above them.
#[derive(Debug, Default)]
pub(crate) struct Unpacked(HashSet<[u8; 16]>);

impl Unpacked {
    /// Notes a path (absolute, without symbolic links).
    pub(crate) fn add(&mut self, path: &Path) {
        for path in path.ancestors() {
            if !self.0.insert(key(path)) {
                return;
            }
        }
    }

    fn has(&self, path: &Path) -> bool {
        self.0.contains(&key(path))
    }

    /// Removes what is at `path`, except for what this layer put there; false when nothing was.
    pub(crate) fn hide(&self, root: &Root, path: &Path) -> Result<bool, LayerError> {
        if !self.has(path) {
            return root.remove_all(path);
        }
        self.hide_below(root, path)
    }

    /// Removes everything below the directory `path`, except for what this layer put there.
    pub(crate) fn hide_below(&self, root: &Root, path: &Path) -> Result<bool, LayerError> {
        let mut removed = false;
        let mut directories = vec![path.to_path_buf()];
        while let Some(directory) = directories.pop() {
            match root.symlink_metadata(&directory) {
                Ok(metadata) if metadata.is_dir() => {}
                Ok(_) => continue,
                Err(error) if error.is_not_found() => continue,
                Err(error) => return Err(error),
            }
            for name in root.read_dir(&directory)? {
                let child = directory.join(name);
                if self.has(&child) {
                    directories.push(child);
                } else {
                    removed |= root.remove_all(&child)?;
                }
            }
        }
        Ok(removed)
    }
}

fn key(path: &Path) -> [u8; 16] {
    let digest = Sha256::digest(path.as_os_str().as_bytes());
    let mut key = [0; 16];
    key.copy_from_slice(&digest[..16]);
    key
}
