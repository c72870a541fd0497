//! The host store as a place of images: a source of those built before, and the destination of
//! publishing to the embedded registry, which serves the same store.

use std::io::{Read, Seek, SeekFrom};

use anyarch_oci::{
    BlobPush, Descriptor, Digest, EndpointError, ImageDestination, ImageSource, PushedBlob,
    Reference, RepositoryName, Tag, TagCondition, TagOutcome,
};
use anyarch_store::{Store, StoreError};

/// The images of a store.
pub struct StoreImages<'a>(pub &'a Store);

impl StoreImages<'_> {
    /// What a reference (its registry aside) points to; `None` where the store has none of that name.
    pub(crate) fn find(&self, reference: &Reference) -> Result<Option<Descriptor>, StoreError> {
        match (&reference.digest, &reference.tag) {
            (Some(digest), _) => self.0.manifest(&reference.repository, digest),
            (None, Some(tag)) => self.0.resolve(&reference.repository, tag),
            (None, None) => self.0.resolve(&reference.repository, &Tag::latest()),
        }
    }
}

impl ImageSource for StoreImages<'_> {
    fn manifest(&self, reference: &Reference) -> Result<(Descriptor, Vec<u8>), EndpointError> {
        let read = || match self.find(reference)? {
            Some(found) => self.0.read_blob(&found.digest).map(|bytes| Some((found, bytes))),
            None => Ok(None),
        };
        match read() {
            Ok(Some(found)) => Ok(found),
            Ok(None) => Err(missing(format!("{reference} is not in the host store"))),
            Err(error) => {
                Err(failed(format!("failed to read {reference} from the host store"), error))
            }
        }
    }

    fn blob(
        &self,
        reference: &Reference,
        blob: &Descriptor,
        offset: u64,
    ) -> Result<Box<dyn Read + Send>, EndpointError> {
        let what = || format!("failed to read {} of {reference} from the host store", blob.digest);
        let found = self.0.blob(&blob.digest).map_err(|error| failed(what(), error))?;
        let mut file = found.ok_or_else(|| missing(what()))?.file;
        file.seek(SeekFrom::Start(offset)).map_err(|source| {
            failed(
                what(),
                StoreError::Io { operation: "read", path: self.0.blob_path(&blob.digest), source },
            )
        })?;
        Ok(Box::new(file))
    }
}

impl ImageDestination for StoreImages<'_> {
    fn push_blob(&self, push: &BlobPush<'_>) -> Result<PushedBlob, EndpointError> {
        let blob = push.blob;
        let failed = |error: StoreError| {
            failed(format!("failed to store blob {} of {}", blob.digest, push.repository), error)
        };
        // It may have been deleted from the repository, through the embedded registry.
        self.0.show_blob(push.repository, &blob.digest).map_err(failed)?;
        if self.0.blob_size(&blob.digest) == Some(blob.size) {
            return Ok(PushedBlob::Existed);
        }
        let mut ingest = self.0.ingest_with(blob.digest.algorithm()).map_err(failed)?;
        let copied =
            (push.open)(0).and_then(|mut content| std::io::copy(&mut content, &mut ingest));
        let copied = copied.map_err(|source| {
            failed(StoreError::Io { operation: "write", path: ingest.path().to_owned(), source })
        })?;
        (push.progress)(copied);
        ingest.commit(Some(&blob.digest)).map_err(failed)?;
        Ok(PushedBlob::Uploaded(copied))
    }

    fn has_blob(&self, _: &RepositoryName, blob: &Descriptor) -> Result<bool, EndpointError> {
        Ok(self.0.blob_size(&blob.digest) == Some(blob.size))
    }

    fn push_manifest(
        &self,
        repository: &RepositoryName,
        manifest: &Descriptor,
        bytes: &[u8],
    ) -> Result<(), EndpointError> {
        let stored = self.0.put_blob(bytes).and_then(|_| self.0.add_manifest(repository, manifest));
        stored.map_err(|error| {
            failed(format!("failed to store manifest {} of {repository}", manifest.digest), error)
        })
    }

    fn push_tag(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        manifest: &Descriptor,
        bytes: &[u8],
        condition: TagCondition,
    ) -> Result<TagOutcome, EndpointError> {
        let failed = |error| failed(format!("failed to tag {repository}:{tag}"), error);
        let allowed = |now: Option<&Descriptor>| condition == TagCondition::Any || now.is_none();
        let stored = self
            .0
            .put_blob(bytes)
            .and_then(|_| self.0.tag_if(repository, tag, manifest, allowed))
            .map_err(failed)?;
        Ok(if stored { TagOutcome::Set } else { TagOutcome::Existed })
    }

    fn tag(&self, repository: &RepositoryName, tag: &Tag) -> Result<Option<Digest>, EndpointError> {
        let found = self.0.resolve(repository, tag);
        let found = found
            .map_err(|error| failed(format!("failed to look up {repository}:{tag}"), error))?;
        Ok(found.map(|descriptor| descriptor.digest))
    }

    fn manifest(
        &self,
        repository: &RepositoryName,
        manifest: &Descriptor,
    ) -> Result<Option<Vec<u8>>, EndpointError> {
        match self.has_manifest(repository, manifest)? {
            false => Ok(None),
            true => self.0.read_blob(&manifest.digest).map(Some).map_err(|error| {
                failed(format!("failed to read {} of {repository}", manifest.digest), error)
            }),
        }
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

fn missing(message: String) -> EndpointError {
    EndpointError { message, hint: None, not_found: true, source: None }
}
