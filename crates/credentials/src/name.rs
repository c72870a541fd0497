//! The names under which files and helper programs know a registry.

/// Docker's own registry, and the other names that it is known by.
const DOCKER: &str = "docker.io";
const DOCKER_ALIASES: [&str; 3] = [DOCKER, "index.docker.io", "registry-1.docker.io"];
/// Where docker keeps the credentials for it.
const DOCKER_KEY: &str = "https://index.docker.io/v1/";

/// One name for a registry that has several.
pub(crate) fn canonical(registry: &str) -> &str {
    if DOCKER_ALIASES.contains(&registry) { DOCKER } else { registry }
}

/// What a helper program may know a registry as, most likely first.
pub(crate) fn servers(registry: &str) -> Vec<&str> {
    match canonical(registry) {
        DOCKER => vec![DOCKER_KEY, DOCKER, "index.docker.io"],
        other => vec![other],
    }
}

/// How closely a key of `auths` names a repository of a registry: the number of path components
/// that it names beside the registry. `None` where it names something else.
///
/// Keys are hosts, hosts with a path of podman's (`host/ns/repo`), or docker's URLs, whose path
/// says nothing.
pub(crate) fn closeness(key: &str, registry: &str, repository: Option<&str>) -> Option<usize> {
    let url = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://"));
    let is_url = url.is_some();
    let rest = url.unwrap_or(key).trim_end_matches('/');
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    if canonical(host) != canonical(registry) {
        return None;
    }
    if is_url || matches!(path, "" | "v1" | "v2") {
        return Some(0);
    }
    let below = repository?.strip_prefix(path)?;
    (below.is_empty() || below.starts_with('/')).then(|| path.split('/').count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_hosts_urls_or_namespaces() {
        let close = |key, registry, repository| closeness(key, registry, repository);
        for key in ["r.example", "https://r.example", "http://r.example/v2/", "r.example/v1/"] {
            assert_eq!(close(key, "r.example", Some("a/b")), Some(0), "{key}");
            assert_eq!(close(key, "r.example:5000", Some("a/b")), None, "{key}");
        }
        assert_eq!(close("r.example/a", "r.example", Some("a/b")), Some(1));
        assert_eq!(close("r.example/a/b", "r.example", Some("a/b")), Some(2));
        assert_eq!(close("r.example/a/b", "r.example", Some("a/bc")), None);
        assert_eq!(close("r.example/a", "r.example", None), None);
    }

    #[test]
    fn dockers_registry_has_many_names() {
        let keys = [
            "https://index.docker.io/v1/",
            "index.docker.io",
            "docker.io",
            "registry-1.docker.io",
            "https://registry-1.docker.io/v2/",
        ];
        for key in keys {
            for registry in DOCKER_ALIASES {
                assert_eq!(closeness(key, registry, Some("library/x")), Some(0), "{key}");
            }
        }
        assert_eq!(servers("index.docker.io")[0], "https://index.docker.io/v1/");
    }
}
