//! Where images come from and go to: a registry, a layout on disk, a test double.
//!
//! The engine takes these as `dyn`; it never knows which medium is behind them. Blocking on
//! purpose: an implementation that is asynchronous inside hides its runtime.

use std::error::Error;
use std::fmt;
use std::io::{self, Read};

use crate::{Descriptor, Digest, Reference, RepositoryName, Tag};

/// What an endpoint could not do, with the causes and, where a person can act, a hint.
#[derive(Debug)]
pub struct EndpointError {
    /// Object and operation: `failed to push ghcr.io/acme/app:v1`.
    pub message: String,
    /// What a person can do.
    pub hint: Option<String>,
    /// True where the object is not there (as opposed to: could not be asked for).
    pub not_found: bool,
    /// The cause.
    pub source: Option<Box<dyn Error + Send + Sync>>,
}

impl fmt::Display for EndpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for EndpointError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_ref().map(|cause| &**cause as &(dyn Error + 'static))
    }
}

/// How a blob came to be at the destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PushedBlob {
    /// It was there.
    Existed,
    /// It was taken over from another repository of the same registry.
    Mounted,
    /// Its bytes were sent: this many.
    Uploaded(u64),
}

/// Something images can be read from.
pub trait ImageSource: Send + Sync {
    /// The manifest or index that a reference names: its descriptor and its exact bytes, verified
    /// against the digest.
    fn manifest(&self, reference: &Reference) -> Result<(Descriptor, Vec<u8>), EndpointError>;

    /// The content of a blob from byte `offset` on. The caller verifies the digest.
    fn blob(
        &self,
        reference: &Reference,
        blob: &Descriptor,
        offset: u64,
    ) -> Result<Box<dyn Read + Send>, EndpointError>;
}

/// Opens a blob's content from its start; called again when an upload is retried.
pub type OpenBlob<'a> = &'a (dyn Fn() -> io::Result<Box<dyn Read + Send>> + Sync);

/// Something images can be written to.
pub trait ImageDestination: Send + Sync {
    /// Makes a blob be at the destination. `mount_from` names a repository of the same destination
    /// that has it, where the caller knows one. `progress` is told the bytes sent so far.
    fn push_blob(
        &self,
        repository: &RepositoryName,
        blob: &Descriptor,
        mount_from: Option<&RepositoryName>,
        open: OpenBlob<'_>,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<PushedBlob, EndpointError>;

    /// Stores a manifest or index under its digest, or under a tag where one is given.
    fn push_manifest(
        &self,
        repository: &RepositoryName,
        tag: Option<&Tag>,
        manifest: &Descriptor,
        bytes: &[u8],
    ) -> Result<(), EndpointError>;

    /// What a tag points to now; `None` where there is no such tag.
    fn tag(&self, repository: &RepositoryName, tag: &Tag) -> Result<Option<Digest>, EndpointError>;

    /// Whether a manifest is there under its digest.
    fn has_manifest(
        &self,
        repository: &RepositoryName,
        manifest: &Descriptor,
    ) -> Result<bool, EndpointError>;
}
