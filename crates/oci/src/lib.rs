//! The nouns of the OCI specifications: digests, references, platforms, descriptors, image
//! configs, manifests and indexes.
//!
//! Turns bytes into these values and back. What was pulled keeps its raw bytes ([`Raw`]), unknown
//! fields survive a round trip (`extra`), and what we make ourselves is canonical JSON: fields in
//! the order of the specification, maps sorted, no white space, so equal values have equal bytes.
//!
//! Depends on serde and sha2. Must never know files, sockets, clocks or plans.
//!
//! Specifications: image-spec 1.1, distribution-spec 1.1.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod config;
mod descriptor;
mod digest;
mod endpoint;
mod layer_id;
mod manifest;
pub mod media_type;
mod platform;
mod raw;
mod reference;

pub use config::{ContainerConfig, Empty, Healthcheck, History, ImageConfig, RootFs};
pub use descriptor::Descriptor;
pub use digest::{Algorithm, Digest, DigestError, Hasher};
pub use endpoint::{
    BlobPush, EndpointError, ImageDestination, ImageSource, NoMemory, OpenBlob, PushedBlob,
    TagCondition, TagOutcome, UploadMemory,
};
pub use layer_id::{ChainId, DiffId};
pub use manifest::{ImageIndex, ImageManifest, Manifest, ManifestError};
pub use platform::{KNOWN as KNOWN_PLATFORMS, Platform, PlatformError};
pub use raw::Raw;
pub use reference::{Reference, ReferenceError, RepositoryName, Tag};

/// Serialises a value of ours as canonical JSON: no white space, declared field order, sorted maps.
///
/// Every type of this crate serialises without failing; the error is for foreign types.
pub fn canonical_json<T: serde::Serialize>(value: &T) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec(value)
}
