//! The host store as a destination: publishing to the embedded registry.

use anyarch_oci::{
    Descriptor, Digest, EndpointError, ImageDestination, OpenBlob, PushedBlob, RepositoryName, Tag,
};
use anyarch_store::{Store, StoreError};

/// Publishes into a store, which the embedded registry serves.
pub struct StoreDestination<'a>(pub &'a Store);

impl ImageDestination for StoreDestination<'_> {
    fn push_blob(
        &self,
        repository: &RepositoryName,
        blob: &Descriptor,
        _mount_from: Option<&RepositoryName>,
        open: OpenBlob<'_>,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<PushedBlob, EndpointError> {
        let failed = |error: StoreError| {
            failed(format!("failed to store blob {} of {repository}", blob.digest), error)
        };
        if self.0.blob_size(&blob.digest) == Some(blob.size) {
            return Ok(PushedBlob::Existed);
        }
        let mut ingest = self.0.ingest_with(blob.digest.algorithm()).map_err(failed)?;
        let copied = open().and_then(|mut content| std::io::copy(&mut content, &mut ingest));
        let copied = copied.map_err(|source| {
            failed(StoreError::Io { operation: "write", path: ingest.path().to_owned(), source })
        })?;
        progress(copied);
        ingest.commit(Some(&blob.digest)).map_err(failed)?;
        Ok(PushedBlob::Uploaded(copied))
    }

    fn push_manifest(
        &self,
        repository: &RepositoryName,
        tag: Option<&Tag>,
        manifest: &Descriptor,
        bytes: &[u8],
    ) -> Result<(), EndpointError> {
        let what = || match tag {
            Some(tag) => format!("failed to tag {repository}:{tag}"),
            None => format!("failed to store manifest {} of {repository}", manifest.digest),
        };
        self.0.put_blob(bytes).map_err(|error| failed(what(), error))?;
        match tag {
            Some(tag) => self.0.tag(repository, tag, manifest),
            None => self.0.add_manifest(repository, manifest),
        }
        .map_err(|error| failed(what(), error))
    }

    fn tag(&self, repository: &RepositoryName, tag: &Tag) -> Result<Option<Digest>, EndpointError> {
        let found = self.0.resolve(repository, tag);
        let found = found
            .map_err(|error| failed(format!("failed to look up {repository}:{tag}"), error))?;
        Ok(found.map(|descriptor| descriptor.digest))
    }

    fn has_manifest(
        &self,
        repository: &RepositoryName,
        manifest: &Descriptor,
    ) -> Result<bool, EndpointError> {
        let found = self.0.manifest(repository, &manifest.digest);
        let found = found.map_err(|error| {
            failed(format!("failed to look up {} of {repository}", manifest.digest), error)
        })?;
        Ok(found.is_some() && self.0.blob_size(&manifest.digest).is_some())
    }
}

fn failed(message: String, error: StoreError) -> EndpointError {
    EndpointError { message, hint: error.hint(), not_found: false, source: Some(Box::new(error)) }
}
