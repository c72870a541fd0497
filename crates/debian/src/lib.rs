//! A Debian archive to a root directory with packages configured in it.
//!
//! The trunk: [`host_sources`] or [`sources_for_mirror`] say where packages come from; [`resolve`] verifies the
//! signed indexes and chooses packages; [`download`] brings them into the caller's store; [`unpack`] makes the
//! root from them, with dpkg's database; [`configure`] runs the maintainer scripts through the caller's runner;
//! [`clean`] removes what depends on time or host. A [`Resolution`] is what a lock file holds: from it on,
//! everything gives the same bytes again.
//!
//! Depends on `anyarch-oci` for digests and on `anyarch-layer` for the safe handle on the root. Fetches through
//! [`Fetch`], stores through [`Packages`], runs programs through a closure: it does no networking and starts no
//! process. Must never know Dockerfiles, images, registries, environment variables or terminals.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod clean;
mod configure;
mod control;
mod database;
mod date;
mod deb;
mod decompress;
mod download;
mod error;
mod extract;
mod fetch;
mod index;
mod member;
mod order;
mod pipeline;
mod relation;
mod release;
mod resolution;
mod resolve;
mod signature;
mod solver;
mod source;
mod subset;
mod universe;
mod unpack;
mod version;

pub use clean::clean;
pub use configure::{Command, RunResult, configure};
pub use control::ControlError;
pub use download::download;
pub use error::DebianError;
pub use fetch::{Changed, Fetch, FetchError, Fetched, Packages, Validator};
pub use member::extract_file;
pub use relation::RelationError;
pub use release::ReleaseError;
pub use resolution::{DEFAULT_EPOCH, IndexPin, Progress, Request, Resolution, Selected};
pub use resolve::{find, resolve};
pub use signature::{DEBIAN_ARCHIVE_KEYS, SignatureError};
pub use source::{Source, host_sources, host_suites, sources_for_mirror};
pub use subset::subset;
pub use unpack::{unpack, unpack_some, write_sources};
pub use version::{Version, VersionError};
