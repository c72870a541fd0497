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

/// Opens a blob's content at a byte offset; called again when an upload is resumed or retried.
pub type OpenBlob<'a> = &'a (dyn Fn(u64) -> io::Result<Box<dyn Read + Send>> + Sync);

/// Keeps the place where an unfinished upload goes on, so that another process can go on with it
/// after this one is killed. What is kept is the destination's own (a URL, say), never credentials.
pub trait UploadMemory: Sync {
    /// The place kept for this upload, of this process or one before.
    fn recall(&self) -> Option<String>;
    /// Keeps the place where the upload goes on now.
    fn remember(&self, place: &str);
    /// Forgets it: the upload is finished, or its place is gone.
    fn forget(&self);
}

/// Keeps nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoMemory;

impl UploadMemory for NoMemory {
    fn recall(&self) -> Option<String> {
        None
    }
    fn remember(&self, _place: &str) {}
    fn forget(&self) {}
}

/// A blob on its way to a destination.
pub struct BlobPush<'a> {
    /// Where to.
    pub repository: &'a RepositoryName,
    /// Which blob.
    pub blob: &'a Descriptor,
    /// Repositories of the same destination that are thought to have it, most likely first.
    pub mount_from: &'a [RepositoryName],
    /// Its content.
    pub open: OpenBlob<'a>,
    /// Told how many of its bytes the destination has so far.
    pub progress: &'a (dyn Fn(u64) + Sync),
    /// Where an unfinished upload is kept in mind.
    pub memory: &'a dyn UploadMemory,
}

/// What must hold at the destination for a manifest to be put under a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TagCondition {
    /// Nothing: the tag moves.
    Any,
    /// The tag does not exist yet. Kept exactly by destinations that can (a registry that heeds
    /// `If-None-Match: *`); others set the tag all the same, so look at the tag afterwards.
    New,
}

/// How putting a tag ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TagOutcome {
    /// It points to the manifest.
    Set,
    /// [`TagCondition::New`] was asked for, and there was such a tag already; nothing changed.
    Existed,
}

/// Something images can be written to. Shared between threads that push at once.
pub trait ImageDestination: Send + Sync {
    /// Makes a blob be at the destination.
    fn push_blob(&self, push: &BlobPush<'_>) -> Result<PushedBlob, EndpointError>;

    /// Whether a blob is at the destination, whole.
    fn has_blob(
        &self,
        repository: &RepositoryName,
        blob: &Descriptor,
    ) -> Result<bool, EndpointError>;

    /// Stores a manifest or index under its digest.
    fn push_manifest(
        &self,
        repository: &RepositoryName,
        manifest: &Descriptor,
        bytes: &[u8],
    ) -> Result<(), EndpointError>;

    /// Stores a manifest or index under a tag.
    fn push_tag(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        manifest: &Descriptor,
        bytes: &[u8],
        condition: TagCondition,
    ) -> Result<TagOutcome, EndpointError>;

    /// What a tag points to now; `None` where there is no such tag.
    fn tag(&self, repository: &RepositoryName, tag: &Tag) -> Result<Option<Digest>, EndpointError>;

    /// The bytes of a manifest under its digest, as the destination gives them to readers, verified
    /// against the digest; `None` where it is not there.
    fn manifest(
        &self,
        repository: &RepositoryName,
        manifest: &Descriptor,
    ) -> Result<Option<Vec<u8>>, EndpointError>;

    /// Whether a manifest is there under its digest, by the destination's word.
    fn has_manifest(
        &self,
        repository: &RepositoryName,
        manifest: &Descriptor,
    ) -> Result<bool, EndpointError>;
}
