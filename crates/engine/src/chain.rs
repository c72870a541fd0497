//! What a step leaves: the layers of its tree, lowest first.

use anyarch_oci::{ChainId, Descriptor, DiffId};
use serde::{Deserialize, Serialize};

/// A layer in the host store, and the tree it leads to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ChainLayer {
    /// The blob.
    pub descriptor: Descriptor,
    /// Digest of its uncompressed content.
    pub diff_id: DiffId,
    /// The tree after applying it.
    pub chain_id: ChainId,
}

/// A tree, as the layers that make it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Chain {
    /// Lowest first; empty is the empty tree.
    pub layers: Vec<ChainLayer>,
}

impl Chain {
    /// What identifies the tree; `None` is the empty one.
    pub(crate) fn id(&self) -> Option<&ChainId> {
        self.layers.last().map(|layer| &layer.chain_id)
    }

    /// The tree with one more layer.
    pub(crate) fn with(&self, descriptor: Descriptor, diff_id: DiffId) -> Chain {
        let chain_id = ChainId::extend(self.id(), &diff_id);
        let mut layers = self.layers.clone();
        layers.push(ChainLayer { descriptor, diff_id, chain_id });
        Chain { layers }
    }

    /// This tree with the layers of another on top of it.
    pub(crate) fn on_top(&self, other: &Chain) -> Chain {
        let layers = other.layers.iter();
        layers.fold(self.clone(), |chain, layer| {
            chain.with(layer.descriptor.clone(), layer.diff_id.clone())
        })
    }

    /// The diff IDs, for an image configuration.
    pub(crate) fn diff_ids(&self) -> Vec<DiffId> {
        self.layers.iter().map(|layer| layer.diff_id.clone()).collect()
    }

    /// Sum of the blobs.
    pub(crate) fn size(&self) -> u64 {
        self.layers.iter().map(|layer| layer.descriptor.size).sum()
    }
}
