//! Repositories with tags: one of a registry, and one of the host store.

use std::io::Read;
use std::time::SystemTime;

use anyarch_oci::{Descriptor, Digest, EndpointError, RepositoryName, Tag};
use anyarch_store::{Store, StoreError};

use crate::{Failure, RegistryClient, RegistryError, Repository, TagDetails};

/// Longest configuration that is read.
const MAX_CONFIG: u64 = 4 * 1024 * 1024;

/// How taking away a tag ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Untagged {
    /// It is gone.
    Gone,
    /// The registry cannot take away a tag and leave its manifest; nothing changed.
    Unsupported,
}

/// A repository whose tags are looked through and may be deleted. Shared between threads.
pub trait TaggedRepository: Sync {
    /// All tags.
    fn tags(&self) -> Result<Vec<Tag>, EndpointError>;
    /// What a tag points to and since when; `None` where it is gone.
    fn tag(&self, tag: &Tag) -> Result<Option<TagDetails>, EndpointError>;
    /// Manifests that the repository is known to hold besides those that tags lead to.
    fn untagged(&self) -> Result<Vec<Descriptor>, EndpointError>;
    /// The bytes of a manifest; `None` where it is not there.
    fn manifest(&self, manifest: &Descriptor) -> Result<Option<Vec<u8>>, EndpointError>;
    /// The bytes of a configuration, not verified; `None` where it is not there.
    fn config(&self, config: &Descriptor) -> Result<Option<Vec<u8>>, EndpointError>;
    /// The manifests that say something about one, as far as `untagged` does not list them.
    fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>, EndpointError>;
    /// Deletes a manifest with the tags on it; one that is gone already is no error.
    fn remove_manifest(&self, digest: &Digest) -> Result<(), EndpointError>;
    /// Takes away a tag; one that is gone already is no error.
    fn remove_tag(&self, tag: &Tag) -> Result<Untagged, EndpointError>;
}

/// A repository of a registry.
pub struct RemoteRepository<'a> {
    /// The way there.
    pub client: &'a RegistryClient,
    /// Which one.
    pub repository: &'a Repository,
}

impl TaggedRepository for RemoteRepository<'_> {
    fn tags(&self) -> Result<Vec<Tag>, EndpointError> {
        match self.client.tags(self.repository)? {
            Some(tags) => Ok(tags),
            None => Err(no_repository(&self.repository.to_string())),
        }
    }

    fn tag(&self, tag: &Tag) -> Result<Option<TagDetails>, EndpointError> {
        Ok(self.client.tag_details(self.repository, tag)?)
    }

    fn untagged(&self) -> Result<Vec<Descriptor>, EndpointError> {
        Ok(Vec::new())
    }

    fn manifest(&self, manifest: &Descriptor) -> Result<Option<Vec<u8>>, EndpointError> {
        Ok(self.client.stored_manifest(self.repository, manifest)?)
    }

    fn config(&self, config: &Descriptor) -> Result<Option<Vec<u8>>, EndpointError> {
        let content = match self.client.pull_blob(self.repository, config, 0) {
            Ok(content) => content,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let mut bytes = Vec::new();
        content.take(MAX_CONFIG).read_to_end(&mut bytes).map_err(|source| EndpointError {
            message: format!("failed to read {} of {}", config.digest, self.repository),
            hint: None,
            not_found: false,
            source: Some(Box::new(source)),
        })?;
        Ok(Some(bytes))
    }

    fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>, EndpointError> {
        Ok(self.client.referrers(self.repository, subject, None)?)
    }

    fn remove_manifest(&self, digest: &Digest) -> Result<(), EndpointError> {
        match self.client.delete_manifest(self.repository, digest) {
            Err(error) if !error.is_not_found() => Err(error.into()),
            _ => Ok(()),
        }
    }

    fn remove_tag(&self, tag: &Tag) -> Result<Untagged, EndpointError> {
        match self.client.delete_tag(self.repository, tag) {
            Ok(()) => Ok(Untagged::Gone),
            Err(error) if error.is_not_found() => Ok(Untagged::Gone),
            Err(error) if knows_no_tags(&error) => Ok(Untagged::Unsupported),
            Err(error) => Err(error.into()),
        }
    }
}

/// Registries before version 1.1 of the specification take a digest only: some say so, some answer
/// that a tag is no digest.
fn knows_no_tags(error: &RegistryError) -> bool {
    matches!(error.source, Failure::Answer { status: 400 | 405, .. })
}

/// A repository of the host store.
pub struct LocalRepository<'a> {
    /// The store.
    pub store: &'a Store,
    /// Which one.
    pub name: &'a RepositoryName,
}

impl LocalRepository<'_> {
    fn failed(&self, what: &str) -> impl FnOnce(StoreError) -> EndpointError + use<> {
        let message = format!("failed to {what} {} in the host store", self.name);
        move |error| EndpointError {
            message,
            hint: error.hint(),
            not_found: false,
            source: Some(Box::new(error)),
        }
    }

    fn read(&self, digest: &Digest) -> Result<Option<Vec<u8>>, EndpointError> {
        match self.store.read_blob(digest) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(StoreError::Missing(_)) => Ok(None),
            Err(error) => Err(self.failed(&format!("read {digest} of"))(error)),
        }
    }
}

impl TaggedRepository for LocalRepository<'_> {
    fn tags(&self) -> Result<Vec<Tag>, EndpointError> {
        let tags = self.store.tags(self.name).map_err(self.failed("list the tags of"))?;
        if tags.is_empty() && self.untagged()?.is_empty() {
            return Err(no_repository(&format!("{} in the host store", self.name)));
        }
        Ok(tags)
    }

    fn tag(&self, tag: &Tag) -> Result<Option<TagDetails>, EndpointError> {
        let failed = || self.failed(&format!("look up tag {tag} of"));
        let found = self.store.resolve(self.name, tag).map_err(failed())?;
        let last_modified: Option<SystemTime> =
            self.store.tagged_at(self.name, tag).map_err(failed())?;
        Ok(found.map(|descriptor| TagDetails { descriptor, last_modified }))
    }

    fn untagged(&self) -> Result<Vec<Descriptor>, EndpointError> {
        self.store.manifests(self.name).map_err(self.failed("list the manifests of"))
    }

    fn manifest(&self, manifest: &Descriptor) -> Result<Option<Vec<u8>>, EndpointError> {
        self.read(&manifest.digest)
    }

    fn config(&self, config: &Descriptor) -> Result<Option<Vec<u8>>, EndpointError> {
        self.read(&config.digest)
    }

    /// None that `untagged` does not list.
    fn referrers(&self, _: &Digest) -> Result<Vec<Descriptor>, EndpointError> {
        Ok(Vec::new())
    }

    fn remove_manifest(&self, digest: &Digest) -> Result<(), EndpointError> {
        let removed = self.store.remove_manifest(self.name, digest);
        removed.map(drop).map_err(self.failed(&format!("delete {digest} of")))
    }

    fn remove_tag(&self, tag: &Tag) -> Result<Untagged, EndpointError> {
        let removed = self.store.untag(self.name, tag);
        removed.map_err(self.failed(&format!("delete tag {tag} of")))?;
        Ok(Untagged::Gone)
    }
}

fn no_repository(name: &str) -> EndpointError {
    EndpointError {
        message: format!("there is no repository {name}"),
        hint: Some("check the spelling, or log in where it is not public".to_owned()),
        not_found: true,
        source: None,
    }
}
