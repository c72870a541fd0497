//! What is done to directories only after everything in them is done: modes, times, attributes.
//!
//! Writing into a directory changes its time, may need rights that its final mode lacks, and a
//! default ACL would be inherited; so all of that waits until the end.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::LayerError;
use crate::metadata::Time;
use crate::root::Root;
use crate::xattr::Xattrs;

/// The final state of one directory; what is none stays.
#[derive(Debug)]
struct Final {
    mode: Option<u32>,
    mtime: Time,
    xattrs: Option<Xattrs>,
}

/// Directories by path (free of symbolic links) that wait for their final state.
#[derive(Debug, Default)]
pub(crate) struct Pending(BTreeMap<PathBuf, Final>);

impl Pending {
    /// The directory gets exactly this state.
    pub(crate) fn set(&mut self, path: &Path, mode: u32, mtime: Time, xattrs: Xattrs) {
        self.0.insert(path.to_path_buf(), Final { mode: Some(mode), mtime, xattrs: Some(xattrs) });
    }

    /// The directory keeps this time, unless it already waits for another.
    pub(crate) fn keep_mtime(&mut self, path: &Path, mtime: Time) {
        self.0.entry(path.to_path_buf()).or_insert(Final { mode: None, mtime, xattrs: None });
    }

    /// The directory is gone, with all below it.
    pub(crate) fn forget(&mut self, path: &Path) {
        self.0.retain(|known, _| !known.starts_with(path));
    }

    /// Brings every directory to its final state, innermost first.
    pub(crate) fn finish(self, root: &Root) -> Result<(), LayerError> {
        for (path, state) in self.0.into_iter().rev() {
            match root.symlink_metadata(&path) {
                Ok(metadata) if metadata.is_dir() => {}
                // Removed again, by a whiteout for example.
                Ok(_) => continue,
                Err(error) if error.is_not_found() => continue,
                Err(error) => return Err(error),
            }
            if let Some(xattrs) = state.xattrs {
                replace_xattrs(root, &path, &xattrs)?;
            }
            if let Some(mode) = state.mode {
                root.set_mode(&path, mode)?;
            }
            root.set_mtime(&path, state.mtime)?;
        }
        Ok(())
    }
}

/// Makes the attributes of a file exactly these (of those that belong to a tree).
pub(crate) fn replace_xattrs(root: &Root, path: &Path, wanted: &Xattrs) -> Result<(), LayerError> {
    let present = root.xattrs(path)?;
    for name in present.keys().filter(|name| !wanted.contains_key(*name)) {
        remove(root, path, name)?;
    }
    for (name, value) in wanted.iter().filter(|(name, value)| present.get(*name) != Some(*value)) {
        root.set_xattr(path, name, value)?;
    }
    Ok(())
}

fn remove(root: &Root, path: &Path, name: &OsStr) -> Result<(), LayerError> {
    match root.remove_xattr(path, name) {
        Err(LayerError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
