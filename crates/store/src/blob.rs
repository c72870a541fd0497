//! Blobs: content under its digest.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyarch_oci::{Algorithm, Digest, Hasher};

use crate::error::IoContext;
use crate::{Store, StoreError};

/// Open content of a known length.
#[derive(Debug)]
pub struct Blob {
    /// The content, positioned at its start.
    pub file: File,
    /// Length in bytes.
    pub size: u64,
}

/// Content on its way in: written under a temporary name, hashed as it passes. Dropping it
/// discards it, unless it is that of an upload ([`Store::begin_upload`]).
pub struct Ingest {
    pub(crate) store: Store,
    pub(crate) path: PathBuf,
    pub(crate) file: File,
    pub(crate) algorithm: Algorithm,
    pub(crate) hasher: Hasher,
    pub(crate) size: u64,
    /// Whether the file is to stay when this is dropped.
    pub(crate) kept: bool,
}

impl Store {
    /// Where a blob is, or would be.
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.root().join("blobs").join(digest.algorithm().name()).join(digest.hex())
    }

    /// Opens a blob; `None` where it is not in the store.
    pub fn blob(&self, digest: &Digest) -> Result<Option<Blob>, StoreError> {
        let path = self.blob_path(digest);
        match File::open(&path) {
            Ok(file) => {
                let size = file.metadata().at("read", &path)?.len();
                Ok(Some(Blob { file, size }))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).at("open", &path),
        }
    }

    /// Length of a blob; `None` where it is not in the store.
    pub fn blob_size(&self, digest: &Digest) -> Option<u64> {
        fs::metadata(self.blob_path(digest)).ok().map(|metadata| metadata.len())
    }

    /// Reads a small blob whole: a manifest or a config.
    ///
    /// # Errors
    /// [`StoreError::Missing`] where it is not there.
    pub fn read_blob(&self, digest: &Digest) -> Result<Vec<u8>, StoreError> {
        let mut blob = self.blob(digest)?.ok_or_else(|| StoreError::Missing(digest.clone()))?;
        let mut bytes = Vec::with_capacity(usize::try_from(blob.size).unwrap_or(0));
        blob.file.read_to_end(&mut bytes).at("read", &self.blob_path(digest))?;
        Ok(bytes)
    }

    /// Stores bytes that are at hand.
    pub fn put_blob(&self, bytes: &[u8]) -> Result<Digest, StoreError> {
        let mut ingest = self.ingest()?;
        ingest.write_all(bytes).at("write", &ingest.path)?;
        Ok(ingest.commit(None)?.0)
    }

    /// Begins to take in content with a SHA-256 digest.
    pub fn ingest(&self) -> Result<Ingest, StoreError> {
        self.ingest_with(Algorithm::Sha256)
    }

    /// Begins to take in content with a digest of the given algorithm.
    pub fn ingest_with(&self, algorithm: Algorithm) -> Result<Ingest, StoreError> {
        let path = self.work().fresh("ingest");
        let file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
            .at("create", &path)?;
        Ok(Ingest::empty(self, path, file, algorithm))
    }

    /// Removes a blob; nothing happens where it is not there.
    pub fn remove_blob(&self, digest: &Digest) -> Result<(), StoreError> {
        let path = self.blob_path(digest);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error).at("remove", &path),
            _ => Ok(()),
        }
    }
}

impl Ingest {
    pub(crate) fn empty(store: &Store, path: PathBuf, file: File, algorithm: Algorithm) -> Ingest {
        let hasher = Hasher::with(algorithm);
        Ingest { store: store.clone(), path, file, algorithm, hasher, size: 0, kept: false }
    }

    /// Bytes taken in so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The temporary file, for error messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Has the content hashed by another algorithm; what is there already is read once more.
    pub fn hash_with(&mut self, algorithm: Algorithm) -> Result<(), StoreError> {
        if self.algorithm == algorithm {
            return Ok(());
        }
        let mut hasher = Hasher::with(algorithm);
        let mut buffer = vec![0; 256 * 1024];
        let mut at = 0;
        while at < self.size {
            match self.file.read_at(&mut buffer, at) {
                Ok(0) => Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
                Ok(read) => {
                    hasher.update(&buffer[..read]);
                    at += read as u64;
                    Ok(())
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
                Err(error) => Err(error),
            }
            .at("read", &self.path)?;
        }
        (self.hasher, self.algorithm) = (hasher, algorithm);
        Ok(())
    }

    /// Gives the content up, that of an upload too.
    pub fn discard(mut self) {
        self.kept = false;
    }

    /// Makes the content a blob: verified against `expected` where given, on disk, then visible.
    ///
    /// # Errors
    /// [`StoreError::Mismatch`] where the content is not the expected one; it is discarded then.
    pub fn commit(mut self, expected: Option<&Digest>) -> Result<(Digest, u64), StoreError> {
        self.kept = false;
        let actual = self.hasher.clone().finish();
        if let Some(expected) = expected.filter(|expected| **expected != actual) {
            return Err(StoreError::Mismatch {
                expected: expected.clone(),
                actual,
                size: self.size,
            });
        }
        let target = self.store.blob_path(&actual);
        if self.store.blob_size(&actual) == Some(self.size) {
            return Ok((actual, self.size));
        }
        self.file.sync_data().at("write", &self.path)?;
        fs::rename(&self.path, &target).at("write", &target)?;
        Ok((actual, self.size))
    }
}

impl Write for Ingest {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Ingest {
    fn drop(&mut self) {
        // Committed content is gone from here by its rename; all else is discarded.
        if !self.kept {
            drop(fs::remove_file(&self.path));
        }
    }
}
