//! Finds what proves who we are to a registry, where docker, podman and skopeo keep it; and reads
//! how registries are to be reached.
//!
//! [`Finder`] turns a registry and a repository into a [`Login`], by way of credential files and
//! helper programs. [`registries`] turns `registries.toml` and folders of certificates into
//! settings. Which files are looked at is handed in.
//!
//! Must never know the network or the environment, and never shows a secret: not in `Debug`, not in
//! an error.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod error;
mod file;
mod find;
mod helper;
mod name;
mod places;
pub mod registries;

pub use error::CredentialError;
pub use find::{Finder, Login};
pub use places::{Place, Places};
