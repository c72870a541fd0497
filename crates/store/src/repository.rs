//! Repositories: which names point to which manifests.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyarch_oci::{Descriptor, Digest, RepositoryName, Tag};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::IoContext;
use crate::{Lock, Store, StoreError};

impl Store {
    /// Points a tag at a manifest, atomically, and lists the manifest in the repository.
    pub fn tag(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        manifest: &Descriptor,
    ) -> Result<(), StoreError> {
        self.tag_if(repository, tag, manifest, |_| true).map(drop)
    }

    /// The same where `allowed` says so of what the tag points to now; false where it does not.
    /// Nobody else moves a tag of the repository in between, in this process or another.
    pub fn tag_if(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        manifest: &Descriptor,
        allowed: impl FnOnce(Option<&Descriptor>) -> bool,
    ) -> Result<bool, StoreError> {
        let _lock = self.lock_repository(repository)?;
        if !allowed(self.resolve(repository, tag)?.as_ref()) {
            return Ok(false);
        }
        self.add_manifest(repository, manifest)?;
        self.write_json(&self.tag_path(repository, tag), manifest)?;
        Ok(true)
    }

    /// What a tag points to; `None` where there is no such tag.
    pub fn resolve(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
    ) -> Result<Option<Descriptor>, StoreError> {
        read_json(&self.tag_path(repository, tag))
    }

    /// When a tag was pointed to where it points now; `None` where there is no such tag.
    pub fn tagged_at(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
    ) -> Result<Option<SystemTime>, StoreError> {
        let path = self.tag_path(repository, tag);
        match fs::metadata(&path).and_then(|metadata| metadata.modified()) {
            Ok(time) => Ok(Some(time)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).at("read", &path),
        }
    }

    /// Removes a tag; true where there was one.
    pub fn untag(&self, repository: &RepositoryName, tag: &Tag) -> Result<bool, StoreError> {
        self.untag_if(repository, tag, |_| true)
    }

    /// The same where `allowed` says so of what the tag points to now.
    pub fn untag_if(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        allowed: impl FnOnce(&Descriptor) -> bool,
    ) -> Result<bool, StoreError> {
        if self.resolve(repository, tag)?.is_none() {
            return Ok(false);
        }
        let _lock = self.lock_repository(repository)?;
        match self.resolve(repository, tag)? {
            Some(found) if allowed(&found) => remove_file(&self.tag_path(repository, tag)),
            _ => Ok(false),
        }
    }

    /// The tags of a repository, sorted.
    pub fn tags(&self, repository: &RepositoryName) -> Result<Vec<Tag>, StoreError> {
        let names = list(&self.repository_path(repository).join("tags"))?;
        Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
    }

    /// All repositories that hold something, sorted.
    pub fn repositories(&self) -> Result<Vec<RepositoryName>, StoreError> {
        let mut repositories = Vec::new();
        for repository in self.repository_folders()? {
            let path = self.repository_path(&repository);
            if !list(&path.join("manifests"))?.is_empty() || !list(&path.join("tags"))?.is_empty() {
                repositories.push(repository);
            }
        }
        Ok(repositories)
    }

    /// All repositories that were ever written to, sorted.
    pub(crate) fn repository_folders(&self) -> Result<Vec<RepositoryName>, StoreError> {
        let names = list(&self.root().join("repositories"))?;
        let mut names: Vec<RepositoryName> =
            names.iter().filter_map(|name| name.replace('+', "/").parse().ok()).collect();
        names.sort();
        Ok(names)
    }

    /// Lists a manifest (already a blob) in a repository.
    pub fn add_manifest(
        &self,
        repository: &RepositoryName,
        manifest: &Descriptor,
    ) -> Result<(), StoreError> {
        self.write_json(&self.manifest_path(repository, &manifest.digest), manifest)
    }

    /// The descriptor under which a repository holds a manifest.
    pub fn manifest(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<Option<Descriptor>, StoreError> {
        read_json(&self.manifest_path(repository, digest))
    }

    /// All manifests of a repository, by digest.
    pub fn manifests(&self, repository: &RepositoryName) -> Result<Vec<Descriptor>, StoreError> {
        let folder = self.repository_path(repository).join("manifests");
        let mut manifests = Vec::new();
        for name in list(&folder)? {
            manifests.extend(read_json(&folder.join(name))?);
        }
        Ok(manifests)
    }

    /// Takes a manifest out of a repository, with the tags that point to it; true where it was
    /// listed. Its blob stays.
    pub fn remove_manifest(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<bool, StoreError> {
        if self.manifest(repository, digest)?.is_none() {
            return Ok(false);
        }
        let _lock = self.lock_repository(repository)?;
        for tag in self.tags(repository)? {
            if self.resolve(repository, &tag)?.is_some_and(|found| found.digest == *digest) {
                remove_file(&self.tag_path(repository, &tag))?;
            }
        }
        remove_file(&self.manifest_path(repository, digest))
    }

    /// Takes a blob out of a repository's sight; it stays in the store, for others.
    pub fn hide_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<(), StoreError> {
        let path = self.hidden_path(repository, digest);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).at("create", folder)?;
        }
        fs::write(&path, "").at("write", &path)
    }

    /// Undoes [`Store::hide_blob`]; nothing happens where the blob is not hidden.
    pub fn show_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<(), StoreError> {
        remove_file(&self.hidden_path(repository, digest)).map(drop)
    }

    /// Whether a blob was taken out of a repository's sight.
    pub fn is_blob_hidden(&self, repository: &RepositoryName, digest: &Digest) -> bool {
        self.hidden_path(repository, digest).exists()
    }

    /// Keeps all others from moving tags of the repository.
    fn lock_repository(&self, repository: &RepositoryName) -> Result<Lock, StoreError> {
        let folder = self.repository_path(repository);
        fs::create_dir_all(&folder).at("create", &folder)?;
        Lock::exclusive(&folder.join("lock"))
    }

    pub(crate) fn repository_path(&self, repository: &RepositoryName) -> PathBuf {
        self.root().join("repositories").join(repository.as_str().replace('/', "+"))
    }

    fn tag_path(&self, repository: &RepositoryName, tag: &Tag) -> PathBuf {
        self.repository_path(repository).join("tags").join(tag.as_str())
    }

    fn manifest_path(&self, repository: &RepositoryName, digest: &Digest) -> PathBuf {
        self.repository_path(repository).join("manifests").join(file_name(digest))
    }

    fn hidden_path(&self, repository: &RepositoryName, digest: &Digest) -> PathBuf {
        self.repository_path(repository).join("hidden").join(file_name(digest))
    }

    /// Writes a small JSON file of the store: complete and on disk, or as it was before.
    pub fn write_json<T: Serialize>(&self, path: &Path, value: &T) -> Result<(), StoreError> {
        let bytes = anyarch_oci::canonical_json(value)
            .map_err(|source| StoreError::Damaged { path: path.to_owned(), source })?;
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).at("create", folder)?;
        }
        Store::replace(self.work(), path, &bytes)
    }
}

/// Reads a small JSON file; `None` where there is none.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, StoreError> {
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|source| StoreError::Damaged { path: path.to_owned(), source }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).at("read", path),
    }
}

impl Store {
    /// Reads a small JSON file of the store; `None` where there is none.
    pub fn read_json<T: DeserializeOwned>(&self, path: &Path) -> Result<Option<T>, StoreError> {
        read_json(path)
    }
}

fn file_name(digest: &Digest) -> String {
    format!("{}-{}", digest.algorithm().name(), digest.hex())
}

fn remove_file(path: &Path) -> Result<bool, StoreError> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).at("remove", path),
    }
}

/// The file names in a folder, sorted; empty where there is no such folder.
fn list(folder: &Path) -> Result<Vec<String>, StoreError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).at("read", folder),
    };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry.at("read", folder)?.file_name().into_string().ok());
    }
    names.sort();
    Ok(names)
}
