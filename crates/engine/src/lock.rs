//! What `anyarch.lock` holds: for each base and platform, the packages that were chosen, and the
//! package with the emulators where a foreign platform is built.
//!
//! A value; the caller reads and writes the file. An entry counts while the plan asks for the same;
//! when the plan changes, it is resolved again, as cargo does.

use anyarch_debian::Resolution;
use serde::{Deserialize, Serialize};

/// The lock file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockFile {
    /// Format; [`LockFile::VERSION`] is the only one so far.
    pub version: u32,
    /// One entry a base and platform, sorted.
    #[serde(default)]
    pub base: Vec<LockedBase>,
    /// One entry a platform of machines that build for others, sorted; a lock without is as before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub emulator: Vec<LockedEmulator>,
}

/// The packages of one base on one platform.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockedBase {
    /// Name of the base in the plan.
    pub name: String,
    /// Platform, as `linux/amd64`.
    pub platform: String,
    /// What the plan asked for.
    pub request: LockedRequest,
    /// What was chosen.
    pub resolution: Resolution,
}

/// What a plan asks of a base.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockedRequest {
    /// Suite.
    pub suite: String,
    /// Components of the archive.
    pub components: Vec<String>,
    /// Packages by name, sorted.
    pub packages: Vec<String>,
    /// Whether recommended packages come along.
    pub recommends: bool,
}

/// The package with the emulators that a machine runs. Not part of what is built.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockedEmulator {
    /// Platform of the machine, as `linux/amd64`.
    pub platform: String,
    /// Suite in which it was looked for.
    pub suite: String,
    /// The one package that was chosen.
    pub resolution: Resolution,
}

impl Default for LockFile {
    fn default() -> Self {
        LockFile { version: LockFile::VERSION, base: Vec::new(), emulator: Vec::new() }
    }
}

impl LockFile {
    /// The format that this version reads and writes.
    pub const VERSION: u32 = 1;

    /// The resolution of a base, where the lock has one for the same request.
    pub fn find(&self, name: &str, platform: &str, request: &LockedRequest) -> Option<&Resolution> {
        self.base
            .iter()
            .find(|entry| {
                entry.name == name && entry.platform == platform && entry.request == *request
            })
            .map(|entry| &entry.resolution)
    }

    /// Puts in a resolution, in place of the one for the same base and platform.
    pub fn put(&mut self, entry: LockedBase) {
        self.base.retain(|old| old.name != entry.name || old.platform != entry.platform);
        self.base.push(entry);
        self.base.sort_by(|a, b| (&a.name, &a.platform).cmp(&(&b.name, &b.platform)));
    }

    /// The emulators for machines of a platform.
    pub fn find_emulator(&self, platform: &str) -> Option<&LockedEmulator> {
        self.emulator.iter().find(|entry| entry.platform == platform)
    }

    /// Puts in emulators, in place of those for the same machines.
    pub fn put_emulator(&mut self, entry: LockedEmulator) {
        self.emulator.retain(|old| old.platform != entry.platform);
        self.emulator.push(entry);
        self.emulator.sort_by(|a, b| a.platform.cmp(&b.platform));
    }
}
