//! The host's content store: blobs by digest, tags, and the working folders of live processes.
//!
//! Turns streams into verified blobs (`ingest` → `commit`) and names into descriptors. On disk:
//!
//! ```text
//! oci-layout                    marks an OCI image layout (image-spec, "Image Layout")
//! blobs/sha256/HEX              content, never changed once there
//! repositories/NAME/tags/TAG    a descriptor (JSON); `/` in NAME is written `+`
//! repositories/NAME/manifests/ALGORITHM-HEX   descriptors of the manifests that NAME holds
//! repositories/NAME/hidden/ALGORITHM-HEX      empty; blobs that were deleted from NAME
//! repositories/NAME/uploads/ID  a blob on its way in, locked while a process writes it
//! repositories/NAME/lock        held while a tag is moved
//! work/ID/                      one per live process, locked by it; anything unfinished
//! locks/NAME                    advisory locks (flock)
//! ```
//!
//! Every file appears by rename, complete or not at all, so `kill -9` at any moment loses nothing
//! and several processes may use one store. Uploads alone grow in place, and outlive their process:
//! any other may go on with one. [`Store::heal`] removes the working folders of processes that are
//! gone, and uploads that nobody went on with for a day; a lock that its process still holds keeps
//! either alive.
//!
//! Depends on `oci`. Must never know what the blobs mean, nor steps, plans or registries.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod blob;
mod error;
mod lock;
mod repository;
mod upload;
mod work;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use blob::{Blob, Ingest};
pub use error::StoreError;
pub use lock::Lock;
pub use upload::{Resumed, UPLOAD_LIFE, UploadId};
pub use work::{Healed, Work};

use error::IoContext;

/// A content store in one folder. Cheap to clone; all clones share one working folder.
#[derive(Clone, Debug)]
pub struct Store {
    root: Arc<PathBuf>,
    work: Arc<Work>,
}

impl Store {
    /// Opens the store in `root`, making it where there is none.
    ///
    /// # Errors
    /// When the folder cannot be made or written, or holds a store of another version.
    pub fn open(root: &Path) -> Result<Store, StoreError> {
        for folder in ["blobs/sha256", "blobs/sha512", "repositories", "work", "locks"] {
            let path = root.join(folder);
            fs::create_dir_all(&path).at("create", &path)?;
        }
        let root = root.canonicalize().at("open", root)?;
        let work = Arc::new(Work::create(&root)?);
        check_version(&root, &work)?;
        Ok(Store { root: Arc::new(root), work })
    }

    /// The folder of the store, absolute.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// This process's working folder: on the same file system as the content, gone when the last
    /// clone of the store is dropped, or at the next [`Store::heal`] if the process was killed.
    pub fn work(&self) -> &Work {
        &self.work
    }

    /// Removes what processes that are gone left unfinished.
    ///
    /// # Errors
    /// When a left-over cannot be removed, such as one that belongs to other users' ids.
    pub fn heal(&self) -> Result<Healed, StoreError> {
        let uploads = self.heal_uploads()?;
        Ok(Healed { uploads, ..work::heal(&self.root)? })
    }

    /// Waits until everything written below the store is on disk.
    pub fn sync(&self) -> Result<(), StoreError> {
        let folder = fs::File::open(&*self.root).at("open", &self.root)?;
        rustix::fs::syncfs(&folder).at("write to disk", &self.root)
    }

    /// Bytes that can still be written below the store.
    pub fn free_space(&self) -> Result<u64, StoreError> {
        let statistics =
            rustix::fs::statvfs(&*self.root).at("ask for the free space of", &self.root)?;
        Ok(statistics.f_bavail.saturating_mul(statistics.f_frsize))
    }

    /// Takes the named advisory lock, waiting for its holder; it is released when dropped or when
    /// the process ends. Names are file names.
    pub fn lock(&self, name: &str) -> Result<Lock, StoreError> {
        Lock::exclusive(&self.root.join("locks").join(name))
    }

    /// Takes the named advisory lock; `None` where another holds it.
    pub fn try_lock(&self, name: &str) -> Result<Option<Lock>, StoreError> {
        Lock::try_exclusive(&self.root.join("locks").join(name))
    }

    /// Takes the named advisory lock together with others that share it; `None` where somebody holds
    /// it alone.
    pub fn try_lock_shared(&self, name: &str) -> Result<Option<Lock>, StoreError> {
        Lock::try_shared(&self.root.join("locks").join(name))
    }

    /// Replaces a small file by rename, on disk before it is visible: complete, or as it was
    /// before, after a crash of the machine too. What is the same already is left alone.
    fn replace(work: &Work, path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
        if fs::read(path).is_ok_and(|old| old == bytes) {
            return Ok(());
        }
        let temporary = work.fresh("file");
        let mut file = fs::File::create_new(&temporary).at("create", &temporary)?;
        file.write_all(bytes).at("write", &temporary)?;
        file.sync_data().at("write", &temporary)?;
        fs::rename(&temporary, path).at("write", path)
    }
}

const LAYOUT: &str = "{\"imageLayoutVersion\":\"1.0.0\"}";

fn check_version(root: &Path, work: &Work) -> Result<(), StoreError> {
    let path = root.join("oci-layout");
    match fs::read_to_string(&path) {
        Ok(text) if text.trim() == LAYOUT => Ok(()),
        Ok(_) => Err(StoreError::NotAStore { path: root.to_owned() }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            // Several processes may race here; they write the same bytes.
            Store::replace(work, &path, LAYOUT.as_bytes())
        }
        Err(error) => Err(error).at("read", &path),
    }
}

#[cfg(test)]
mod tests;
