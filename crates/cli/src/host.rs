//! The machine's environment and system files into what the engine may lend to steps.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyarch_engine::Host;
use anyarch_http::{Client, Config, Proxies, RetryEvent, Trust};
use anyarch_registry::{Anonymous, RegistryClient};

use crate::args::Ca;
use crate::failure::Failure;
use crate::global::Global;
use crate::registries::{self, Logins};
use crate::text;

/// Bundles of certificates, where distributions keep them.
const BUNDLES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];
/// Folders of certificates that somebody added to those of the distribution.
const ADDED: [&str; 4] = [
    "/usr/local/share/ca-certificates",
    "/etc/pki/ca-trust/source/anchors",
    "/etc/pki/trust/anchors",
    "/etc/ca-certificates/trust-source/anchors",
];
/// Variables with which a person names a bundle for the tools of this machine.
const BUNDLE_VARIABLES: [&str; 3] = ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"];
/// Docker's predefined arguments; each in lower case too.
const PROXY_VARIABLES: [&str; 5] =
    ["HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY"];

/// What this machine lends to builds.
///
/// # Errors
/// Where a file that a flag or a variable names cannot be read.
pub(crate) fn host(ca: &Ca, single_id: bool) -> Result<Host, Failure> {
    Ok(Host {
        ca_bundle: ca_bundle(ca, Path::new("/"), &variable)?,
        proxies: proxies(&variable),
        resolv_conf: resolv_conf(Path::new("/")),
        apt_sources: apt_sources(Path::new("/etc/apt")),
        debian_mirror: variable("ANYARCH_DEBIAN_MIRROR"),
        // Without it every snapshot that is not on disk is made again in the next run.
        boot_id: fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default(),
        cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        single_id,
        ..Host::default()
    })
}

/// A client for everything that is downloaded or pushed, with this machine's trust and proxies.
/// Tells `warn` of each attempt that has to be repeated.
pub(crate) fn client(warn: impl Fn(String) + Send + Sync + 'static) -> Result<Client, Failure> {
    let files = |name: &str| variable(name).map(PathBuf::from).into_iter().collect();
    // An empty folder or one that is gone is as good as none; the file decides where both are set.
    let directories: Vec<PathBuf> = match variable("SSL_CERT_FILE") {
        Some(_) => Vec::new(),
        None => variable("SSL_CERT_DIR")
            .map(|list| env::split_paths(&list).filter(|path| path.is_dir()).collect())
            .unwrap_or_default(),
    };
    let either = |name: &str| variable(&name.to_lowercase()).or_else(|| variable(name));
    // One proxy for everything may be of a kind that only other programs speak.
    let all = || either("ALL_PROXY").filter(|proxy| proxy.starts_with("http"));
    let config = Config {
        trust: Trust { files: files("SSL_CERT_FILE"), directories, extra: Vec::new() },
        proxies: Proxies {
            http: either("HTTP_PROXY").or_else(all),
            https: either("HTTPS_PROXY").or_else(all),
            no_proxy: either("NO_PROXY"),
        },
        on_retry: Some(Arc::new(move |retry: &RetryEvent| {
            let RetryEvent { url, reason, delay, .. } = retry;
            // The end of the chain of causes says it; the error, if it comes to one, says it all.
            let root = reason.rsplit(": ").next().unwrap_or(reason);
            warn(format!("{url}: {root}; trying again in {}", text::duration(*delay)));
        })),
        ..Config::default()
    };
    Ok(Client::new(config)?)
}

/// A client for registries over `http`, with this machine's settings and nobody's login.
pub(crate) fn anonymous_client(global: &Global, http: Client) -> Result<RegistryClient, Failure> {
    let settings = registries::settings(global.registries.as_deref(), &variable)?;
    Ok(RegistryClient::new(http, Anonymous).with_settings(settings))
}

/// A client for registries over `http`, with this machine's logins and settings.
pub(crate) fn registry_client(global: &Global, http: Client) -> Result<RegistryClient, Failure> {
    let settings = registries::settings(global.registries.as_deref(), &variable)?;
    Ok(RegistryClient::new(http, Logins::of(&variable)).with_settings(settings))
}

fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.trim().is_empty())
}

/// The certificates that steps trust besides those of their image.
///
/// Unless a flag decides: the machine's bundle where somebody added certificates to it or named
/// it by a variable, because then downloads may depend on them; else none, because the image's own
/// are the better ones.
fn ca_bundle(
    ca: &Ca,
    root: &Path,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<Option<Vec<u8>>, Failure> {
    let named = BUNDLE_VARIABLES.iter().find_map(|name| Some((*name, variable(name)?)));
    let system = || BUNDLES.iter().map(|path| under(root, path)).find(|path| path.is_file());
    let (path, origin) = match (ca, named) {
        (Ca::Image, _) => return Ok(None),
        (Ca::File(path), _) => (path.clone(), "named by --ca"),
        (Ca::Auto | Ca::Host, Some((name, path))) => (PathBuf::from(path), name),
        (Ca::Host, None) => match system() {
            Some(path) => (path, "of this machine"),
            None => {
                return Err(Failure::usage("this machine has no bundle of certificates")
                    .hint("name one: --ca FILE".to_owned()));
            }
        },
        (Ca::Auto, None) => match system().filter(|_| has_added(root)) {
            Some(path) => (path, "of this machine"),
            None => return Ok(None),
        },
    };
    let bundle = fs::read(&path).map_err(|error| {
        Failure::usage(format!("failed to read the certificates {} ({origin})", path.display()))
            .because(&error)
    })?;
    let marker = b"-----BEGIN CERTIFICATE-----";
    if !bundle.windows(marker.len()).any(|window| window == marker) {
        return Err(Failure::usage(format!(
            "{} ({origin}) holds no certificates in PEM form",
            path.display()
        )));
    }
    Ok(Some(bundle))
}

/// Whether somebody added certificates to those of the distribution.
fn has_added(root: &Path) -> bool {
    ADDED.iter().any(|folder| {
        fs::read_dir(under(root, folder)).is_ok_and(|mut entries| entries.next().is_some())
    })
}

fn under(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}

/// Docker's predefined proxy arguments, as the environment has them.
fn proxies(variable: &dyn Fn(&str) -> Option<String>) -> Vec<(String, String)> {
    let mut found = BTreeMap::new();
    for name in PROXY_VARIABLES {
        for name in [name.to_owned(), name.to_lowercase()] {
            if let Some(value) = variable(&name) {
                found.insert(name, value);
            }
        }
    }
    found.into_iter().collect()
}

/// Content of `/etc/resolv.conf` for steps, which share the machine's network.
fn resolv_conf(root: &Path) -> Vec<u8> {
    // A machine without the file resolves through its own address, which is the default then, too.
    fs::read(under(root, "/etc/resolv.conf")).unwrap_or_default()
}

/// The machine's apt sources by file name, in the order in which apt reads them.
fn apt_sources(folder: &Path) -> Vec<(String, String)> {
    let mut sources = Vec::new();
    let mut add = |path: &Path, name: &str| {
        // Machines without apt have none of these; other files there are not apt's.
        if let Ok(text) = fs::read_to_string(path) {
            sources.push((name.to_owned(), text));
        }
    };
    add(&folder.join("sources.list"), "sources.list");
    let parts = folder.join("sources.list.d");
    let mut names: Vec<String> = fs::read_dir(&parts)
        .map(|entries| {
            entries.flatten().flat_map(|entry| entry.file_name().into_string()).collect()
        })
        .unwrap_or_default();
    names.sort();
    for name in names.iter().filter(|name| name.ends_with(".list") || name.ends_with(".sources")) {
        add(&parts.join(name), name);
    }
    sources
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEM: &str = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n";

    fn machine(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = under(root.path(), path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    fn bundle(ca: &Ca, root: &Path) -> Option<String> {
        let bundle = ca_bundle(ca, root, &|_| None).unwrap();
        bundle.map(|bytes| String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn a_machine_as_installed_lends_no_certificates() {
        let root = machine(&[("/etc/ssl/certs/ca-certificates.crt", PEM)]);
        assert_eq!(bundle(&Ca::Auto, root.path()), None);
        assert_eq!(bundle(&Ca::Host, root.path()).as_deref(), Some(PEM));
    }

    #[test]
    fn a_machine_with_a_certificate_of_its_own_lends_its_bundle() {
        let root = machine(&[
            ("/etc/ssl/certs/ca-certificates.crt", PEM),
            ("/usr/local/share/ca-certificates/company.crt", PEM),
        ]);
        assert_eq!(bundle(&Ca::Auto, root.path()).as_deref(), Some(PEM));
        assert_eq!(bundle(&Ca::Image, root.path()), None);
    }

    #[test]
    fn a_variable_names_the_bundle_and_must_be_right() {
        let root = machine(&[("/company.pem", PEM), ("/empty.pem", "nothing")]);
        let named = |file: &str| {
            let path = root.path().join(file).display().to_string();
            ca_bundle(&Ca::Auto, root.path(), &move |name| {
                (name == "SSL_CERT_FILE").then(|| path.clone())
            })
        };
        assert!(named("company.pem").unwrap().is_some());
        let wrong =
            anstream::adapter::strip_str(&named("missing.pem").unwrap_err().render()).to_string();
        assert!(wrong.contains("SSL_CERT_FILE") && wrong.contains("caused by"), "{wrong}");
        assert!(named("empty.pem").unwrap_err().render().contains("holds no certificates"));
    }

    #[test]
    fn proxies_keep_their_spelling() {
        let found = proxies(&|name| (name == "https_proxy").then(|| "http://p:1".to_owned()));
        assert_eq!(found, [("https_proxy".to_owned(), "http://p:1".to_owned())]);
    }

    #[test]
    fn apt_sources_come_in_apts_order() {
        let root = machine(&[
            ("/etc/apt/sources.list.d/b.list", "deb http://mirror.example/b b main"),
            ("/etc/apt/sources.list.d/a.sources", "Types: deb"),
            ("/etc/apt/sources.list.d/old.list.save", "no"),
            ("/etc/apt/sources.list", "# none"),
        ]);
        let names: Vec<String> = apt_sources(&under(root.path(), "/etc/apt"))
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        assert_eq!(names, ["sources.list", "a.sources", "b.list"]);
    }
}
