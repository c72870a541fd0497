//! Working folders: where a process keeps what is not finished.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::IoContext;
use crate::{Lock, StoreError};

/// The working folder of this process; removed when dropped.
#[derive(Debug)]
pub struct Work {
    path: PathBuf,
    next: AtomicU64,
    _lock: Lock,
}

/// What [`crate::Store::heal`] found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Healed {
    /// Working folders of processes that are gone, now removed.
    pub removed: usize,
    /// Working folders of processes that live.
    pub alive: usize,
    /// Uploads that nobody went on with, now removed.
    pub uploads: usize,
}

impl Work {
    /// Makes and locks a folder. The gate keeps a healer from seeing it before it is locked.
    pub(crate) fn create(root: &Path) -> Result<Work, StoreError> {
        let _gate = gate(root)?;
        let folder = root.join("work");
        let directory = tempfile::Builder::new()
            .prefix(&format!("{}-", std::process::id()))
            .tempdir_in(&folder)
            .at("create a folder in", &folder)?;
        // The folder outlives this value on purpose: its removal is ours.
        let path = directory.keep();
        let lock = Lock::exclusive(&path.join("lock"))?;
        Ok(Work { path, next: AtomicU64::new(0), _lock: lock })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A path in the folder that nothing has; `kind` says for people what it is.
    pub fn fresh(&self, kind: &str) -> PathBuf {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.path.join(format!("{kind}-{number}"))
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        // A failure leaves the folder for the next heal.
        drop(fs::remove_dir_all(&self.path));
    }
}

pub(crate) fn heal(root: &Path) -> Result<Healed, StoreError> {
    let _gate = gate(root)?;
    let folder = root.join("work");
    let mut healed = Healed::default();
    for entry in fs::read_dir(&folder).at("read", &folder)? {
        let path = entry.at("read", &folder)?.path();
        if !path.is_dir() {
            remove(fs::remove_file(&path), &path)?;
            continue;
        }
        // Whoever gets the lock of a folder knows that its process is gone.
        match Lock::try_exclusive(&path.join("lock")) {
            Ok(Some(_lock)) => {
                remove(fs::remove_dir_all(&path), &path)?;
                healed.removed += 1;
            }
            Ok(None) => healed.alive += 1,
            // The owner removed it between the listing and the lock.
            Err(StoreError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(healed)
}

fn remove(result: io::Result<()>, path: &Path) -> Result<(), StoreError> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.at("remove", path),
    }
}

fn gate(root: &Path) -> Result<Lock, StoreError> {
    Lock::exclusive(&root.join("locks/work"))
}
