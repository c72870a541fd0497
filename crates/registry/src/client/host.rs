//! Which repository of which registry, and at what URL the registry answers.

use std::fmt;
use std::net::IpAddr;

use anyarch_oci::{Reference, RepositoryName};

/// Where references without a registry lead, and the host that answers for it.
const DEFAULT_REGISTRY: &str = "docker.io";
const DEFAULT_REGISTRY_HOST: &str = "registry-1.docker.io";

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
        let registry = match reference.registry.as_deref() {
            None | Some("index.docker.io" | DEFAULT_REGISTRY_HOST) => DEFAULT_REGISTRY,
            Some(registry) => registry,
        };
        let name = if registry == DEFAULT_REGISTRY && !reference.repository.as_str().contains('/') {
            format!("library/{}", reference.repository).parse().ok()
        } else {
            None
        };
        Repository::new(registry, name.unwrap_or_else(|| reference.repository.clone()))
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.name)
    }
}

/// The URL that a registry's paths begin with, without a final slash. Loopback registries and those
/// in `insecure` are spoken to without TLS.
pub(crate) fn base_url(registry: &str, insecure: &[String]) -> String {
    if registry == DEFAULT_REGISTRY {
        return format!("https://{DEFAULT_REGISTRY_HOST}");
    }
    let plain = is_loopback(registry) || insecure.iter().any(|host| host == registry);
    format!("{}://{registry}", if plain { "http" } else { "https" })
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
            assert_eq!(base_url(host, &[]), format!("http://{host}"));
        }
        for host in ["r.example", "r.example:5000", "10.0.0.1:5000", "localhost.example"] {
            assert_eq!(base_url(host, &[]), format!("https://{host}"));
        }
        assert_eq!(base_url("r.example:5000", &["r.example:5000".into()]), "http://r.example:5000");
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
