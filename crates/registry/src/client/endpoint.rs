//! The client as the engine sees it: a source of images, and one registry as their destination.

use std::io::Read;
use std::sync::Arc;

use anyarch_oci::{
    BlobPush, Descriptor, Digest, EndpointError, ImageDestination, ImageSource, PushedBlob,
    Reference, RepositoryName, Tag, TagCondition, TagOutcome,
};

use super::exchange::RegistryClient;
use super::host::Repository;

impl ImageSource for RegistryClient {
    fn manifest(&self, reference: &Reference) -> Result<(Descriptor, Vec<u8>), EndpointError> {
        Ok(RegistryClient::manifest(self, reference)?)
    }

    fn blob(
        &self,
        reference: &Reference,
        blob: &Descriptor,
        offset: u64,
    ) -> Result<Box<dyn Read + Send>, EndpointError> {
        Ok(Box::new(self.pull_blob(&Repository::of(reference), blob, offset)?))
    }
}

/// One registry that images are pushed to.
pub struct RegistryDestination {
    client: Arc<RegistryClient>,
    registry: String,
}

impl RegistryDestination {
    /// The registry named as in references.
    pub fn new(client: Arc<RegistryClient>, registry: impl Into<String>) -> RegistryDestination {
        RegistryDestination { client, registry: registry.into() }
    }

    /// As for references: a single word at Docker's registry is in `library/`.
    fn repository(&self, name: &RepositoryName) -> Repository {
        Repository::of(&Repository::new(self.registry.clone(), name.clone()).reference(None, None))
    }
}

impl ImageDestination for RegistryDestination {
    fn push_blob(&self, push: &BlobPush<'_>) -> Result<PushedBlob, EndpointError> {
        Ok(self.client.push_blob(&self.registry, push)?)
    }

    fn has_blob(
        &self,
        repository: &RepositoryName,
        blob: &Descriptor,
    ) -> Result<bool, EndpointError> {
        Ok(self.client.has_blob(&self.repository(repository), blob)?)
    }

    fn push_manifest(
        &self,
        repository: &RepositoryName,
        manifest: &Descriptor,
        bytes: &[u8],
    ) -> Result<(), EndpointError> {
        let repository = self.repository(repository);
        self.client.push_manifest(&repository, None, &manifest.media_type, bytes)?;
        Ok(())
    }

    fn push_tag(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        manifest: &Descriptor,
        bytes: &[u8],
        condition: TagCondition,
    ) -> Result<TagOutcome, EndpointError> {
        let repository = self.repository(repository);
        Ok(self.client.push_tag(&repository, tag, manifest, bytes, condition)?)
    }

    fn tag(&self, repository: &RepositoryName, tag: &Tag) -> Result<Option<Digest>, EndpointError> {
        let reference = self.repository(repository).reference(Some(tag), None);
        Ok(self.client.resolve(&reference)?.map(|descriptor| descriptor.digest))
    }

    fn manifest(
        &self,
        repository: &RepositoryName,
        manifest: &Descriptor,
    ) -> Result<Option<Vec<u8>>, EndpointError> {
        Ok(self.client.stored_manifest(&self.repository(repository), manifest)?)
    }

    fn has_manifest(
        &self,
        repository: &RepositoryName,
        manifest: &Descriptor,
    ) -> Result<bool, EndpointError> {
        let reference = self.repository(repository).reference(None, Some(&manifest.digest));
        Ok(self.client.resolve(&reference)?.is_some())
    }
}
