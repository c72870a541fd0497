//! What registries were seen to do otherwise than specified, kept for as long as the client lives.

use std::collections::HashMap;
use std::sync::Mutex;

use super::token::lock;

/// What GHCR takes at most in one chunk, and every other registry that has a limit takes too.
pub(super) const SMALL_CHUNK: u64 = 4 * 1024 * 1024;

/// How a registry takes an upload in chunks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Chunks {
    /// Of any length, as far as we know.
    #[default]
    Any,
    /// Of at most [`SMALL_CHUNK`].
    Small,
    /// Not at all, or without putting them together.
    Never,
}

/// By registry.
#[derive(Debug, Default)]
pub(super) struct Quirks(Mutex<HashMap<String, Chunks>>);

impl Quirks {
    pub(super) fn chunks(&self, registry: &str) -> Chunks {
        lock(&self.0).get(registry).copied().unwrap_or_default()
    }

    pub(super) fn learn(&self, registry: &str, chunks: Chunks) {
        lock(&self.0).insert(registry.to_owned(), chunks);
    }
}
