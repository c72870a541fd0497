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

mod apply;
pub mod archive;
mod blocks;
mod change;
pub mod copy;
pub mod decode;
mod dir;
mod error;
mod extract;
pub mod gzip;
mod metadata;
mod mode;
mod pending;
mod root;
pub mod tree;
mod unpacked;
mod write;
mod xattr;

pub use apply::{Applied, ApplyOptions, apply_layer};
pub use blocks::Summary;
pub use error::LayerError;
pub use extract::{Decision, Devices, Existing, ExtractOptions, Extracted, Extractor};
pub use metadata::{Kind, Metadata, Time};
pub use mode::{Clause, ModeChange, ModeChangeError};
pub use root::Root;
pub use write::{Compression, LayerOptions, WrittenLayer, write_layer};
pub use xattr::Xattrs;
