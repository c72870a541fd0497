//! A distribution-spec client, and the embedded registry over the host's content store.
//!
//! [`RegistryClient`] turns references into verified manifests and blobs, and pushes content that a
//! registry does not have yet; [`server`] serves a store to any client. Both speak distribution-spec
//! 1.1, with OCI and Docker media types. [`retention`] decides which tags may go, and what goes with
//! them.
//!
//! Depends on `oci`, `store`, `http`, and hyper for the server. Must never know steps, plans,
//! terminals or where credentials are kept: those come through [`Authenticator`].
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod client;
pub mod retention;
pub mod server;

pub use client::{
    Anonymous, Authenticator, Credentials, CredentialsError, ErrorInfo, Failure, PulledBlob,
    RegistryClient, RegistryDestination, RegistryError, RegistrySettings, Repository, TagDetails,
};
