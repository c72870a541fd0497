//! What a resolution is: the pinned indexes and the packages chosen from them, as a lock file holds them.

use anyarch_oci::Digest;
use serde::{Deserialize, Serialize};

use crate::source::Source;

/// What to resolve.
#[derive(Debug, Clone)]
pub struct Request {
    /// Archives, in order of preference when two have the same version.
    pub sources: Vec<Source>,
    /// Debian's name of the architecture, such as `amd64`.
    pub architecture: String,
    /// Packages as `apt-get install` takes them: `name`, `name=version`, `name:any`, `name:amd64`.
    pub packages: Vec<String>,
    /// Whether to install what packages recommend.
    pub recommends: bool,
}

/// The result of [`crate::resolve`]: everything needed to make the same root again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolution {
    /// Debian's name of the architecture.
    pub architecture: String,
    /// One entry a source, in the order of the request.
    pub indexes: Vec<IndexPin>,
    /// The chosen packages, sorted by name.
    pub packages: Vec<Selected>,
}

/// A signed index as it was when packages were chosen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexPin {
    /// The suite.
    pub suite: String,
    /// Digest of its `InRelease`.
    pub digest: Digest,
    /// Date of the index, such as `2026-07-11T10:16:37Z`.
    pub date: String,
}

/// A chosen package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selected {
    /// Name.
    pub name: String,
    /// Version as written in the archive.
    pub version: String,
    /// `amd64`, `all`, ….
    pub architecture: String,
    /// Path of the `.deb` below the archive's base.
    pub filename: String,
    /// Size of the `.deb`, bytes.
    pub size: u64,
    /// SHA-256 of the `.deb`.
    pub sha256: Digest,
    /// Position of its source in [`Resolution::indexes`] and [`Request::sources`].
    pub index: usize,
    /// Whether it is there only because others need it (apt's "automatically installed").
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub automatic: bool,
}

impl Resolution {
    /// Bytes to download for all packages.
    pub fn download_size(&self) -> u64 {
        self.packages.iter().map(|package| package.size).sum()
    }
}

/// What is going on, for a person or a log. Byte counts are increments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// An index is being fetched.
    Index {
        /// Its address.
        url: String,
    },
    /// Packages are being chosen among this many.
    Resolving {
        /// Packages in all indexes.
        available: usize,
    },
    /// Downloads start.
    Downloading {
        /// How many packages are missing.
        packages: usize,
        /// Their bytes.
        bytes: u64,
    },
    /// More bytes of packages or indexes came in.
    Bytes(u64),
    /// A package is complete in the store.
    Downloaded {
        /// Its name.
        package: String,
    },
    /// A package is being unpacked.
    Unpacking {
        /// Its name.
        package: String,
        /// Position, from 1.
        number: usize,
        /// How many there are.
        of: usize,
    },
    /// A maintainer script, or dpkg for several packages, runs.
    Configuring {
        /// What runs.
        what: String,
    },
}

/// Epoch used where no other is given: 1980-01-01, the first date that every archive format can hold.
pub const DEFAULT_EPOCH: i64 = 315_532_800;
