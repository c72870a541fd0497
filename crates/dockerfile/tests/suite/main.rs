//! The crate from outside: Dockerfiles in, instructions and findings out.
#![allow(clippy::unwrap_used)]

mod checks;
mod findings;
mod generated;
mod language;
mod properties;
mod render;
