//! File trees to layers and back.
//!
//! - [`write_layer`] turns what an overlayfs upper directory changes over its parent into one
//!   layer blob: the same trees give the same bytes, on any number of cores.
//! - [`apply_layer`] turns a layer blob back into files under a [`Root`].
//! - [`Extractor`] unpacks any tar archive into a [`Root`], entry by entry (`ADD`, `.deb` members).
//! - [`copy`] copies files between two roots as `COPY` does; [`tree`] compares two trees.
//! - [`archive`] is the tar format itself, [`gzip`] the parallel deterministic compressor.
//!
//! Depends on `anyarch-oci` for digests, on rustix for the file system and on the compressors.
//! Must never know steps, caches, registries or terminals, and never reads the environment or the
//! clock.
//!
//! Specifications: image-spec 1.1 `layer.md`; POSIX.1-2017 pax interchange format; RFC 1951, 1952.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod archive;
mod dir;
mod error;
mod metadata;
mod mode;
mod root;
mod xattr;

pub use error::LayerError;
pub use metadata::{Kind, Metadata, Time};
pub use mode::{ModeChange, ModeChangeError};
pub use root::Root;
pub use xattr::Xattrs;
