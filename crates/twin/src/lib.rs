//! Which foreign programs have a native twin in this tree, and the proof of it.
//!
//! Turns the tree of a step, the tree of its native sibling and the table of programs
//! (`twins.toml`) into the handler's table ([`prove`]). A program gets an entry only if both sides
//! have it from the same version of the same package, unchanged, with every library it needs;
//! everything else is left to the emulator, with a [`Reason`].
//!
//! Depends on `anyarch-handler` for the table's layout and on `anyarch-layer` for the safe handle on
//! trees. Reads trees, runs nothing, mounts nothing. Must never know plans, images, steps or where
//! the trees come from.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod data;
mod elf;
mod known;
mod packages;
mod patch;
mod prove;
mod reason;

pub use data::{Data, DataError, PlatformNames};
pub use known::Known;
pub use packages::installed;
pub use prove::{Request, Twins, Wanted, lacks, prove};
pub use reason::{Reason, Unproven};
