//! Operations: what a step does, fully expanded. A closed set; everything that decides the result
//! is in it, nothing else, so its JSON is part of the cache key.

use std::collections::BTreeMap;

use anyarch_oci::{Descriptor, Digest};
use anyarch_plan::is_remote;
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
    /// Proxies that the command gives without an ARG for them: lent, so not part of the key.
    #[serde(skip)]
    pub proxies: BTreeMap<String, String>,
    /// Working directory, absolute.
    pub cwd: String,
    /// User as in `USER`; empty is root.
    pub user: String,
    /// Without network but the loopback.
    pub isolated: bool,
    /// Files that exist for the process alone: path and content (executable scripts).
    pub scripts: Vec<(String, String)>,
    /// What is mounted for it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<MountOp>,
}

/// A mount of a RUN step. What caches, secrets and agents hold is not part of the key.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub(crate) enum MountOp {
    /// Files of a context, a stage or an image; what is written to them is thrown away.
    Bind {
        /// Where from; its digest is part of the key in its stead.
        #[serde(skip)]
        from: CopyFrom,
        /// Path there.
        source: String,
        /// Absolute path in the tree.
        target: String,
        /// Whether the process may write to them.
        writable: bool,
    },
    /// A directory that is kept between builds.
    Cache {
        /// Its name.
        id: String,
        /// What it holds at first, and the path there.
        #[serde(skip)]
        from: Option<(CopyFrom, String)>,
        /// Absolute path in the tree.
        target: String,
        /// Whether steps use it at once.
        sharing: CacheSharing,
        /// Whether the process may write to it.
        writable: bool,
        /// Permission bits of a new one.
        mode: u32,
        /// User and group id of a new one.
        owner: (u32, u32),
    },
    /// Memory.
    Tmpfs {
        /// Absolute path in the tree.
        target: String,
        /// Limit in bytes.
        size: Option<u64>,
    },
    /// A secret of whoever builds.
    Secret {
        /// Its name.
        id: String,
        /// Absolute path of the file, if it is to be one.
        target: Option<String>,
        /// Variable that holds it, if one is to.
        variable: Option<String>,
        /// Whether the step fails without it.
        required: bool,
        /// Permission bits.
        mode: u32,
        /// User and group id.
        owner: (u32, u32),
    },
    /// The socket of an ssh agent of whoever builds.
    Ssh {
        /// Its name.
        id: String,
        /// Absolute path of the socket; `None`: the usual one.
        target: Option<String>,
        /// Whether the step fails without it.
        required: bool,
        /// Permission bits.
        mode: u32,
        /// User and group id.
        owner: (u32, u32),
    },
}

/// Whether steps use a cache at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum CacheSharing {
    /// Several at once.
    Shared,
    /// One that comes while others run gets its own.
    Private,
    /// One after the other.
    Locked,
}

impl Op {
    /// Where it takes files from, besides its parent; in the order of its parts.
    pub(crate) fn takes_from(&self) -> Vec<CopyFrom> {
        match self {
            Op::Copy(copy) => vec![copy.from],
            Op::Exec(exec) => exec.mounts.iter().filter_map(MountOp::from).collect(),
            Op::Debian(_) | Op::Image(_) | Op::Mkdir { .. } => Vec::new(),
        }
    }
}

impl MountOp {
    /// Where it takes files from.
    pub(crate) fn from(&self) -> Option<CopyFrom> {
        self.source().map(|(from, _)| from)
    }

    /// Where it takes files from, and the path there.
    pub(crate) fn source(&self) -> Option<(CopyFrom, String)> {
        match self {
            MountOp::Bind { from, source, .. } => Some((*from, source.clone())),
            MountOp::Cache { from, .. } => from.clone(),
            MountOp::Tmpfs { .. } | MountOp::Secret { .. } | MountOp::Ssh { .. } => None,
        }
    }
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
    /// Whether the files make a layer that does not depend on the tree below.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub link: bool,
    /// Whether the directories above the sources are kept.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub parents: bool,
    /// Patterns of what is left out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
    /// The digest that the file of the network must have, or how the commit must begin.
    #[serde(skip)]
    pub checksum: Option<String>,
    /// ADD of a repository: whether the copy is one too.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub keep_git_dir: bool,
    /// Whether archives are unpacked; `None`: local ones only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unpack: Option<bool>,
}

impl CopyOp {
    /// The sources of the network; what they bring is part of the key by its identity.
    pub(crate) fn remote(&self) -> impl Iterator<Item = &str> {
        self.sources.iter().map(String::as_str).filter(|source| self.add && is_remote(source))
    }

    /// The other sources.
    pub(crate) fn local(&self) -> Vec<&str> {
        let local = self.sources.iter().map(String::as_str);
        local.filter(|source| !(self.add && is_remote(source))).collect()
    }
}

/// Where copied files come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum CopyFrom {
    /// The build context with this number.
    Context(usize),
    /// The result of another step; `None`: an empty tree.
    Step(Option<StepId>),
}
