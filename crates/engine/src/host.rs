//! What the machine lends to a build: trust, proxies, name resolution, package sources, cores.
//!
//! Collected by the caller, because the engine reads neither environment nor system files. None of
//! it goes into an image, a history or a cache key.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// Secrets by name. Shown without their content.
#[derive(Clone, Default)]
pub struct Secrets(BTreeMap<String, Vec<u8>>);

impl Secrets {
    /// Adds a secret; one of the same name makes way.
    pub fn insert(&mut self, name: impl Into<String>, content: Vec<u8>) {
        self.0.insert(name.into(), content);
    }

    /// The content of a secret.
    pub(crate) fn get(&self, name: &str) -> Option<&[u8]> {
        self.0.get(name).map(Vec::as_slice)
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// The machine, as far as steps may use it.
#[derive(Clone, Debug, Default)]
pub struct Host {
    /// Certificates (PEM) that steps trust besides those of their image; `None`: only the image's.
    pub ca_bundle: Option<Vec<u8>>,
    /// Proxy variables for steps, as `(NAME, VALUE)`.
    pub proxies: Vec<(String, String)>,
    /// Content of `/etc/resolv.conf` for steps.
    pub resolv_conf: Vec<u8>,
    /// The machine's apt sources, as `(file name, text)`.
    pub apt_sources: Vec<(String, String)>,
    /// A Debian mirror that goes before the machine's apt sources.
    pub debian_mirror: Option<String>,
    /// What identifies this boot of the machine: after a crash, what was not on disk is not trusted.
    pub boot_id: String,
    /// How many steps may run at once, and threads may compress.
    pub cores: usize,
    /// Secrets by name, for steps that mount them.
    pub secrets: Secrets,
    /// Sockets of ssh agents by name, for steps that mount them.
    pub ssh: BTreeMap<String, PathBuf>,
    /// True where only one user id is mapped, so that files cannot have other owners.
    pub single_id: bool,
}
