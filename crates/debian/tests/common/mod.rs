//! A store of content by digest in a temporary folder.

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;

use anyarch_debian::Packages;
use anyarch_oci::Digest;

/// Content by digest in a folder.
pub(crate) struct Store {
    folder: tempfile::TempDir,
}

impl Store {
    pub(crate) fn new() -> Store {
        Store { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.folder.path().join(digest.hex())
    }
}

impl Packages for Store {
    fn open(&self, digest: &Digest) -> Option<File> {
        File::open(self.path(digest)).ok()
    }

    fn ingest(
        &self,
        digest: &Digest,
        _size: u64,
        write: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<File> {
        let mut file = tempfile::NamedTempFile::new_in(self.folder.path())?;
        write(file.as_file_mut())?;
        file.persist(self.path(digest))?;
        File::open(self.path(digest))
    }
}
