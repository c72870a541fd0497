//! The build engine: a plan to images, and images to a destination.
//!
//! The trunk is [`build()`]: a plan is *resolved* (every name a digest), becomes a *graph* of steps,
//! is *solved* (steps run or are found in the cache, each leaving a chain of layers), and its images
//! are *assembled* and tagged in the host store. [`publish()`] takes them from there.
//!
//! Depends on oci, dockerfile, plan, sandbox, layer, store and debian. Must never know argv,
//! environment variables, colours or HTTP: it takes `dyn` sources and destinations, a [`Host`] that
//! the caller filled, and tells what happens as [`Event`]s.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod base;
mod build;
mod cache;
mod caches;
mod chain;
mod context;
mod emulator;
mod engine;
mod error;
mod event;
mod exec;
mod explain;
mod export;
mod file;
mod foreign;
mod git;
mod graph;
mod host;
mod image;
mod images;
mod inputs;
mod local;
mod lock;
mod mounts;
mod named;
mod native;
mod op;
mod parallel;
mod prefix;
mod publish;
mod remote;
mod resolve;
mod siblings;
mod smoke;
mod snapshot;
mod solve;
mod sources;
mod stage;
mod tally;
#[cfg(test)]
mod testing;
mod trust;
mod users;
mod verify;
mod why;

pub use build::{BuildRequest, build, lock, tag_as};
pub use context::unpack_context;
pub use engine::{Engine, NoCache};
pub use error::{BuildError, ErrorKind};
pub use event::{EmulatedProgram, Event, OnEvent, Origin, Outcome, StepId, StepInfo, Stream, Unit};
pub use explain::{ExplainedStep, Reason, explain};
pub use export::{Output, export, export_files, export_tar};
pub use foreign::Twins;
pub use git::{Git, GitError, NoGit};
pub use host::{Host, Secrets};
pub use image::BuiltImage;
pub use local::StoreImages;
pub use lock::{LockFile, LockedBase, LockedEmulator, LockedRequest};
pub use publish::{
    BlobFate, Confirmed, Place, PublishRequest, Published, PublishedTag, Rehearsal, RehearsedItem,
    RehearsedTag, confirm, publish, rehearse,
};
pub use remote::fetch_context;
