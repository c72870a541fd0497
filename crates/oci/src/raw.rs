//! A document together with the exact bytes it was read from.

use crate::Digest;

/// A value and the bytes that say it. The digest is of the bytes, so a document that was pulled
/// keeps its identity however we would have written it.
#[derive(Clone, Debug, PartialEq)]
pub struct Raw<T> {
    /// What the bytes mean.
    pub value: T,
    /// The bytes as they came, or as [`crate::canonical_json`] wrote them.
    pub bytes: Vec<u8>,
    /// Digest of `bytes`.
    pub digest: Digest,
}

impl<T> Raw<T> {
    /// Binds a value to the bytes it was read from.
    pub fn new(value: T, bytes: Vec<u8>) -> Raw<T> {
        let digest = Digest::sha256(&bytes);
        Raw { value, bytes, digest }
    }

    /// Length of the bytes.
    pub fn size(&self) -> u64 {
        self.bytes.len() as u64
    }
}

impl<T: serde::Serialize> Raw<T> {
    /// Writes a value of ours.
    pub fn encode(value: T) -> Result<Raw<T>, serde_json::Error> {
        let bytes = crate::canonical_json(&value)?;
        Ok(Raw::new(value, bytes))
    }
}
