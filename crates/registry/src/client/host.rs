//! Which repository of which registry, and at what URL the registry answers.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use anyarch_oci::{Digest, Reference, RepositoryName, Tag};

/// Where references without a registry lead, and the host that answers for it.
const DEFAULT_REGISTRY: &str = "docker.io";
const DEFAULT_REGISTRY_HOST: &str = "registry-1.docker.io";

/// How one registry is reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RegistrySettings {
    /// Spoken to without TLS. Loopback registries are anyway, unless `ca` says otherwise.
    pub insecure: bool,
    /// PEM bundles of authorities that are believed for this registry besides the usual ones.
    pub ca: Vec<PathBuf>,
    /// What pulls try first, in order: `HOST[:PORT][/PREFIX]`, each with the same repositories.
    pub mirrors: Vec<String>,
}

/// A repository of a registry.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Repository {
    /// Host and port, as in references.
    pub registry: String,
    /// Name within the registry.
    pub name: RepositoryName,
}

impl Repository {
    /// A repository by registry and name.
    pub fn new(registry: impl Into<String>, name: RepositoryName) -> Repository {
        Repository { registry: registry.into(), name }
    }

    /// The repository that a reference names. As for other clients, a reference without a registry
    /// means Docker's, and a single word there is in `library/`.
    pub fn of(reference: &Reference) -> Repository {
        let registry = canonical(reference.registry.as_deref().unwrap_or(DEFAULT_REGISTRY));
        let name = if registry == DEFAULT_REGISTRY && !reference.repository.as_str().contains('/') {
            format!("library/{}", reference.repository).parse().ok()
        } else {
            None
        };
        Repository::new(registry, name.unwrap_or_else(|| reference.repository.clone()))
    }

    /// The repository that mirrors this one at `HOST[:PORT][/PREFIX]`.
    pub(crate) fn mirrored(&self, mirror: &str) -> Option<Repository> {
        let mirror = mirror.trim_start_matches("https://").trim_end_matches('/');
        match mirror.split_once('/') {
            None => Some(Repository::new(mirror, self.name.clone())),
            Some((host, prefix)) => {
                Some(Repository::new(host, format!("{prefix}/{}", self.name).parse().ok()?))
            }
        }
    }

    /// A reference into this repository.
    pub(crate) fn reference(&self, tag: Option<&Tag>, digest: Option<&Digest>) -> Reference {
        Reference {
            registry: Some(self.registry.clone()),
            repository: self.name.clone(),
            tag: tag.cloned(),
            digest: digest.cloned(),
        }
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.name)
    }
}

/// One name for a registry that has several.
pub(crate) fn canonical(registry: &str) -> &str {
    match registry {
        "index.docker.io" | DEFAULT_REGISTRY_HOST => DEFAULT_REGISTRY,
        other => other,
    }
}

/// The URL that a registry's paths begin with, without a final slash.
pub(crate) fn base_url(registry: &str, settings: &RegistrySettings) -> String {
    let host = if registry == DEFAULT_REGISTRY { DEFAULT_REGISTRY_HOST } else { registry };
    let plain = settings.insecure || (is_loopback(registry) && settings.ca.is_empty());
    format!("{}://{host}", if plain { "http" } else { "https" })
}

/// True for `localhost` and loopback addresses, with or without a port.
pub(crate) fn is_loopback(registry: &str) -> bool {
    let host = match registry.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(rest),
        None => registry.split(':').next().unwrap_or(registry),
    };
    host == "localhost"
        || host.ends_with(".localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_plain_http() {
        for host in ["localhost", "localhost:5000", "127.0.0.1:80", "127.1.2.3", "[::1]:5000"] {
            assert_eq!(base_url(host, &RegistrySettings::default()), format!("http://{host}"));
        }
        for host in ["r.example", "r.example:5000", "10.0.0.1:5000", "localhost.example"] {
            assert_eq!(base_url(host, &RegistrySettings::default()), format!("https://{host}"));
        }
        let insecure = RegistrySettings { insecure: true, ..RegistrySettings::default() };
        assert_eq!(base_url("r.example:5000", &insecure), "http://r.example:5000");
        let own_ca = RegistrySettings { ca: vec!["ca.pem".into()], ..RegistrySettings::default() };
        assert_eq!(base_url("localhost:5000", &own_ca), "https://localhost:5000");
    }

    #[test]
    fn short_names_lead_to_the_default_registry() {
        let of = |text: &str| Repository::of(&text.parse().unwrap()).to_string();
        assert_eq!(of("python:3"), "docker.io/library/python");
        assert_eq!(of("acme/app"), "docker.io/acme/app");
        assert_eq!(of("index.docker.io/python"), "docker.io/library/python");
        assert_eq!(of("r.example/app"), "r.example/app");
    }
}
