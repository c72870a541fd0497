//! Advisory locks between processes: flock on a file, released by the kernel when a process ends.

use std::fs::{File, OpenOptions};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

use crate::StoreError;
use crate::error::IoContext;

/// A lock that is held until it is dropped.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Waits for the lock on `path`.
    pub(crate) fn exclusive(path: &Path) -> Result<Lock, StoreError> {
        let file = open(path)?;
        loop {
            match flock(&file, FlockOperation::LockExclusive) {
                Err(rustix::io::Errno::INTR) => {}
                result => {
                    result.at("lock", path)?;
                    return Ok(Lock { _file: file });
                }
            }
        }
    }

    /// Takes the lock on `path` if nobody holds it.
    pub(crate) fn try_exclusive(path: &Path) -> Result<Option<Lock>, StoreError> {
        Lock::attempt(path, FlockOperation::NonBlockingLockExclusive)
    }

    /// Takes the lock on `path` together with others that share it, if nobody holds it alone.
    pub(crate) fn try_shared(path: &Path) -> Result<Option<Lock>, StoreError> {
        Lock::attempt(path, FlockOperation::NonBlockingLockShared)
    }

    fn attempt(path: &Path, operation: FlockOperation) -> Result<Option<Lock>, StoreError> {
        let file = open(path)?;
        Ok(try_hold(&file, path, operation)?.then_some(Lock { _file: file }))
    }
}

/// Locks an open file alone for as long as it is open; false where another holds it.
pub(crate) fn try_hold_alone(file: &File, path: &Path) -> Result<bool, StoreError> {
    try_hold(file, path, FlockOperation::NonBlockingLockExclusive)
}

fn try_hold(file: &File, path: &Path, operation: FlockOperation) -> Result<bool, StoreError> {
    match flock(file, operation) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(error).at("lock", path),
    }
}

fn open(path: &Path) -> Result<File, StoreError> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .at("open", path)
}
