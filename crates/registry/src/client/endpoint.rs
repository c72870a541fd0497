//! The client as the engine sees it: a source of images, and one registry as their destination.

use std::io::Read;
use std::sync::Arc;

use anyarch_oci::{
    Descriptor, Digest, EndpointError, ImageDestination, ImageSource, OpenBlob, PushedBlob,
    Reference, RepositoryName, Tag,
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

    fn repository(&self, name: &RepositoryName) -> Repository {
        Repository::new(self.registry.clone(), name.clone())
    }

    fn reference(
        &self,
        name: &RepositoryName,
        tag: Option<&Tag>,
        digest: Option<&Digest>,
    ) -> Reference {
        Reference {
            registry: Some(self.registry.clone()),
            repository: name.clone(),
            tag: tag.cloned(),
            digest: digest.cloned(),
        }
    }
}

impl ImageDestination for RegistryDestination {
    fn push_blob(
        &self,
        repository: &RepositoryName,
        blob: &Descriptor,
        mount_from: Option<&RepositoryName>,
        open: OpenBlob<'_>,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<PushedBlob, EndpointError> {
        let repository = self.repository(repository);
        Ok(self.client.push_blob(&repository, blob, open, mount_from, progress)?)
    }

    fn push_manifest(
        &self,
        repository: &RepositoryName,
        tag: Option<&Tag>,
        manifest: &Descriptor,
        bytes: &[u8],
    ) -> Result<(), EndpointError> {
        let repository = self.repository(repository);
        self.client.push_manifest(&repository, tag, &manifest.media_type, bytes)?;
        Ok(())
    }

    fn tag(&self, repository: &RepositoryName, tag: &Tag) -> Result<Option<Digest>, EndpointError> {
        let found = self.client.resolve(&self.reference(repository, Some(tag), None))?;
        Ok(found.map(|descriptor| descriptor.digest))
    }

    fn has_manifest(
        &self,
        repository: &RepositoryName,
        manifest: &Descriptor,
    ) -> Result<bool, EndpointError> {
        let reference = self.reference(repository, None, Some(&manifest.digest));
        Ok(self.client.resolve(&reference)?.is_some())
    }
}
