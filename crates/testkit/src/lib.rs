//! Test doubles: a registry that can be told to misbehave, random images, a comparison of images,
//! Debian packages and a signed archive of them.
//!
//! Development only; nothing here is part of the product, so failures panic with their cause.
//! Depends on the crates it stands in for. Must never be depended on outside `dev-dependencies`.
#![expect(clippy::unwrap_used, reason = "a test double that fails ends the test, with the cause")]

mod archive;
mod authority;
mod compare;
pub mod debian;
mod fault;
mod image;
mod registry;
mod tokens;

pub use archive::{Answer, DebianArchive};
pub use authority::{ANN, TestAuthority};
pub use compare::image_differences;
pub use fault::Fault;
pub use image::{TestImage, TestIndex, open_at, random_bytes};
pub use registry::{Logged, TestRegistry};
pub use tokens::TokenService;
