//! Layer identities (image-spec, "Layer DiffID" and "Layer ChainID").

use serde::{Deserialize, Serialize};
use std::fmt;

use crate::Digest;

/// Digest of the uncompressed changeset tar; goes in the image config (image-spec, "Layer DiffID").
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DiffId(pub Digest);

/// Identifies the result of applying a sequence of changesets (image-spec, "Layer ChainID").
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ChainId(pub Digest);

impl ChainId {
    /// The chain ID after applying `diff` on top of `parent` (`None`: on nothing).
    pub fn extend(parent: Option<&ChainId>, diff: &DiffId) -> ChainId {
        match parent {
            None => ChainId(diff.0.clone()),
            Some(ChainId(parent)) => {
                ChainId(Digest::sha256(format!("{parent} {}", diff.0).as_bytes()))
            }
        }
    }

    /// The chain ID of a whole sequence, lowest first; `None` for the empty one.
    pub fn of<'a>(diffs: impl IntoIterator<Item = &'a DiffId>) -> Option<ChainId> {
        diffs.into_iter().fold(None, |chain, diff| Some(ChainId::extend(chain.as_ref(), diff)))
    }
}

impl fmt::Display for DiffId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for ChainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chain_of_one_is_its_diff_and_of_two_is_the_hash_of_both() {
        let a = DiffId(Digest::sha256(b"a"));
        let b = DiffId(Digest::sha256(b"b"));
        assert_eq!(ChainId::of([&a]).unwrap().0, a.0);
        let both = Digest::sha256(format!("{} {}", a.0, b.0).as_bytes());
        assert_eq!(ChainId::of([&a, &b]).unwrap().0, both);
        assert_eq!(ChainId::of([]), None);
    }
}
