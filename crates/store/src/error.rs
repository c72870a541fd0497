//! What can go wrong with the store.

use std::io;
use std::path::{Path, PathBuf};

use anyarch_oci::Digest;
use thiserror::Error;

/// An operation on the store that failed.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The file system said no.
    #[error("failed to {operation} {}", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Content was not what its name promised.
    #[error("content does not match its digest: expected {expected}, got {actual} ({size} bytes)")]
    Mismatch {
        /// What was promised.
        expected: Digest,
        /// What came.
        actual: Digest,
        /// How much came.
        size: u64,
    },
    /// A blob that was expected is not there.
    #[error("blob {0} is not in the store")]
    Missing(Digest),
    /// The folder holds something else.
    #[error("{} is not a store of this version", path.display())]
    NotAStore {
        /// The folder.
        path: PathBuf,
    },
    /// A file of the store does not parse.
    #[error("{} is damaged", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

impl StoreError {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            StoreError::Io { source, path, .. } => io_hint(source, path),
            StoreError::NotAStore { .. } => {
                Some("name another folder with --store or ANYARCH_STORE".to_owned())
            }
            StoreError::Damaged { path, .. } => {
                Some(format!("remove {} and run again", path.display()))
            }
            StoreError::Mismatch { .. } | StoreError::Missing(_) => None,
        }
    }
}

fn io_hint(error: &io::Error, path: &Path) -> Option<String> {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Some(format!(
            "the disk that holds {} is full: free some space, or name another folder with --store or ANYARCH_STORE",
            path.display()
        )),
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            Some("name a folder you may write with --store or ANYARCH_STORE".to_owned())
        }
        _ => None,
    }
}

/// Adds operation and path to an I/O error.
pub(crate) trait IoContext<T> {
    fn at(self, operation: &'static str, path: &Path) -> Result<T, StoreError>;
}

impl<T> IoContext<T> for io::Result<T> {
    fn at(self, operation: &'static str, path: &Path) -> Result<T, StoreError> {
        self.map_err(|source| StoreError::Io { operation, path: path.to_owned(), source })
    }
}

impl<T> IoContext<T> for Result<T, rustix::io::Errno> {
    fn at(self, operation: &'static str, path: &Path) -> Result<T, StoreError> {
        self.map_err(io::Error::from).at(operation, path)
    }
}
