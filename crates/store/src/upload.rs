//! Uploads: content on its way into a repository that outlives the process which takes it in.
//!
//! An upload is one file, `repositories/NAME/uploads/ID`. Whoever writes to it holds a lock on it.
//! Its hash is not kept: who goes on with it reads what is there once more. So nothing has to be
//! trusted, and what a crash of the machine left of it is found out by the digest at the end.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use anyarch_oci::{Algorithm, RepositoryName};
use rustix::rand::{GetRandomFlags, getrandom};

use crate::error::IoContext;
use crate::lock::try_hold_alone;
use crate::{Ingest, Store, StoreError};

/// How long an upload stays that nobody goes on with.
pub const UPLOAD_LIFE: Duration = Duration::from_secs(24 * 3600);

/// Names an upload: 32 hexadecimal digits that cannot be guessed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UploadId(String);

/// Why a text names no upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an upload is named by 32 hexadecimal digits")]
pub struct UploadIdError;

/// What [`Store::resume_upload`] found.
pub enum Resumed {
    /// The upload, with what it had before.
    Upload(Ingest),
    /// It is being written to, by this process or another.
    Busy,
    /// There is none.
    Missing,
}

impl Store {
    /// Begins an upload. Dropping it leaves its content for [`Store::resume_upload`].
    pub fn begin_upload(
        &self,
        repository: &RepositoryName,
    ) -> Result<(UploadId, Ingest), StoreError> {
        let id = UploadId::random()?;
        let path = self.upload_path(repository, &id);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).at("create", folder)?;
        }
        let file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
            .at("create", &path)?;
        let held = try_hold_alone(&file, &path)?;
        let mut ingest = Ingest::empty(self, path, file, Algorithm::Sha256);
        ingest.kept = true;
        match held {
            true => Ok((id, ingest)),
            // Nobody knows the name yet.
            false => Err(io::Error::from(io::ErrorKind::ResourceBusy)).at("lock", &ingest.path),
        }
    }

    /// Goes on with an upload that was dropped, or whose process ended.
    pub fn resume_upload(
        &self,
        repository: &RepositoryName,
        id: &UploadId,
    ) -> Result<Resumed, StoreError> {
        let path = self.upload_path(repository, id);
        let file = match File::options().read(true).write(true).open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Resumed::Missing),
            Err(error) => return Err(error).at("open", &path),
        };
        if !try_hold_alone(&file, &path)? {
            return Ok(Resumed::Busy);
        }
        // Between the opening and the lock it may have been finished or given up.
        if file.metadata().at("read", &path)?.nlink() == 0 || !path.exists() {
            return Ok(Resumed::Missing);
        }
        let mut ingest = Ingest::empty(self, path, file, Algorithm::Sha256);
        ingest.kept = true;
        let mut buffer = vec![0; 256 * 1024];
        loop {
            // Leaves the file where writing goes on: at its end.
            match ingest.file.read(&mut buffer) {
                Ok(0) => return Ok(Resumed::Upload(ingest)),
                Ok(read) => {
                    ingest.hasher.update(&buffer[..read]);
                    ingest.size += read as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error).at("read", &ingest.path),
            }
        }
    }

    /// Removes uploads that nobody went on with.
    pub(crate) fn heal_uploads(&self) -> Result<usize, StoreError> {
        let mut removed = 0;
        for repository in self.repository_folders()? {
            let folder = self.repository_path(&repository).join("uploads");
            let entries = match fs::read_dir(&folder) {
                Ok(entries) => entries,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error).at("read", &folder),
            };
            for entry in entries {
                let path = entry.at("read", &folder)?.path();
                removed += usize::from(remove_if_left(&path)?);
            }
        }
        Ok(removed)
    }

    fn upload_path(&self, repository: &RepositoryName, id: &UploadId) -> PathBuf {
        self.repository_path(repository).join("uploads").join(&id.0)
    }
}

/// Removes an upload that is old and that nobody holds.
fn remove_if_left(path: &Path) -> Result<bool, StoreError> {
    let gone = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
    let file = match File::open(path) {
        Err(error) if gone(&error) => return Ok(false),
        opened => opened.at("open", path)?,
    };
    let written = file.metadata().and_then(|metadata| metadata.modified()).at("read", path)?;
    let age = SystemTime::now().duration_since(written).unwrap_or_default();
    // New ones are not even locked, which could get into the way of who goes on with them.
    if age < UPLOAD_LIFE || !try_hold_alone(&file, path)? {
        return Ok(false);
    }
    match fs::remove_file(path) {
        Err(error) if !gone(&error) => Err(error).at("remove", path),
        _ => Ok(true),
    }
}

impl UploadId {
    fn random() -> Result<UploadId, StoreError> {
        let mut bytes = [0; 16];
        // So few bytes come all at once (getrandom(2)).
        getrandom(&mut bytes, GetRandomFlags::empty()).at("read", Path::new("/dev/urandom"))?;
        Ok(UploadId(bytes.iter().map(|byte| format!("{byte:02x}")).collect()))
    }
}

impl fmt::Display for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for UploadId {
    type Err = UploadIdError;

    fn from_str(text: &str) -> Result<UploadId, UploadIdError> {
        let is_hex = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        match text.len() == 32 && is_hex {
            true => Ok(UploadId(text.to_owned())),
            false => Err(UploadIdError),
        }
    }
}
