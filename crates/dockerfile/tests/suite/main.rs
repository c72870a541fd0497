//! The crate from outside: Dockerfiles in, instructions and findings out.
#![allow(clippy::unwrap_used)]

mod findings;
mod language;
mod properties;
mod render;
