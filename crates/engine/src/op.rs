//! Operations: what a step does, fully expanded. A closed set; everything that decides the result
//! is in it, nothing else, so its JSON is part of the cache key.

use std::collections::BTreeMap;

use anyarch_oci::{Descriptor, Digest};
use serde::Serialize;

use crate::event::StepId;

/// What a step does to the file tree of its parent.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(tag = "op", rename_all = "kebab-case")]
pub(crate) enum Op {
    /// A root made from Debian packages.
    Debian(DebianOp),
    /// An image from a registry.
    Image(ImageOp),
    /// A process in the tree.
    Exec(ExecOp),
    /// Files put into the tree.
    Copy(CopyOp),
    /// A directory with its parents.
    Mkdir {
        /// Absolute path.
        path: String,
        /// Whose the directories made are, as in `USER`; empty is root.
        user: String,
    },
}

/// A root made from Debian packages: which, by digest. Where they come from does not matter.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub(crate) struct DebianOp {
    /// Name of the base in the plan.
    #[serde(skip)]
    pub name: String,
    /// Debian's name of the architecture.
    pub architecture: String,
    /// The packages, as `NAME=VERSION DIGEST`, sorted.
    pub packages: Vec<String>,
    /// The package sources that the image keeps; empty where the plan names none.
    pub sources: String,
    /// Number of the procedure: goes up when the same packages give another root.
    pub procedure: u32,
}

/// An image from a registry.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub(crate) struct ImageOp {
    /// The reference as written, with the digest it resolved to.
    #[serde(skip)]
    pub reference: String,
    /// Digest of the manifest for the platform.
    pub manifest: Digest,
    /// Layers, lowest first, with their diff IDs.
    #[serde(skip)]
    pub layers: Vec<HashedDescriptor>,
}

/// A layer of an image that is still in a registry.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct HashedDescriptor {
    /// The blob.
    pub descriptor: Descriptor,
    /// The layer's diff ID, from the image's configuration.
    pub diff_id: anyarch_oci::DiffId,
}

impl Eq for HashedDescriptor {}

impl std::hash::Hash for HashedDescriptor {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.descriptor.digest.hash(state);
    }
}

/// A process (RUN).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub(crate) struct ExecOp {
    /// Argument vector.
    pub argv: Vec<String>,
    /// Environment: the image's, and the build arguments in scope.
    pub env: BTreeMap<String, String>,
    /// Working directory, absolute.
    pub cwd: String,
    /// User as in `USER`; empty is root.
    pub user: String,
    /// Without network but the loopback.
    pub isolated: bool,
    /// Files that exist for the process alone: path and content (executable scripts).
    pub scripts: Vec<(String, String)>,
}

/// Files put into the tree (COPY, ADD).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub(crate) struct CopyOp {
    /// Where from.
    pub from: CopyFrom,
    /// Paths and patterns at the origin.
    pub sources: Vec<String>,
    /// Files given in place: name and content.
    pub inline: Vec<(String, String)>,
    /// Absolute path in the tree; a `/` at the end says directory.
    pub destination: String,
    /// Owner as in `--chown`.
    pub chown: Option<String>,
    /// Mode as in `--chmod`.
    pub chmod: Option<String>,
    /// ADD: local archives are not copied but unpacked.
    pub add: bool,
}

/// Where copied files come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum CopyFrom {
    /// The build context with this number.
    Context(usize),
    /// The result of another step; `None`: an empty tree.
    Step(Option<StepId>),
}
