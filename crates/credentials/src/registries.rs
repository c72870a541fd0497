//! How registries are to be reached: `registries.toml`, and docker's folders of certificates.
//!
//! ```toml
//! [registry."registry.example:5000"]
//! ca = "company.pem"            # relative to this file
//! mirrors = ["mirror.example/proxy"]
//!
//! [registry."build-host:5000"]
//! insecure = true               # plain http
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use thiserror::Error;

/// What a registry's table may hold.
const KEYS: [&str; 3] = ["insecure", "ca", "mirrors"];

/// How one registry is reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Spoken to without TLS.
    pub insecure: bool,
    /// PEM files of authorities that are believed for it besides the usual ones.
    pub ca: Vec<PathBuf>,
    /// What pulls try first, in order.
    pub mirrors: Vec<String>,
}

/// Settings by registry, named as in references.
pub type Registries = BTreeMap<String, Settings>;

/// Why the settings of registries cannot be used.
#[derive(Debug, Error)]
pub enum RegistriesError {
    /// A file cannot be read.
    #[error("failed to read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file says something that means nothing.
    #[error("{}:{line}: {reason}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        reason: String,
        /// What a person can do.
        hint: Option<String>,
    },
}

impl RegistriesError {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            RegistriesError::Invalid { hint, .. } => hint.clone(),
            RegistriesError::Read { .. } => None,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default)]
    registry: BTreeMap<String, toml::Spanned<Table>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    #[serde(default)]
    insecure: bool,
    ca: Option<PathBuf>,
    #[serde(default)]
    mirrors: Vec<String>,
}

/// Reads a file of settings.
pub fn read(path: &Path) -> Result<Registries, RegistriesError> {
    let text = fs::read_to_string(path)
        .map_err(|source| RegistriesError::Read { path: path.to_owned(), source })?;
    parse(path, &text)
}

/// Turns the text of a file of settings into settings.
pub fn parse(path: &Path, text: &str) -> Result<Registries, RegistriesError> {
    let invalid = |position: usize, reason: String, hint: Option<String>| {
        let before = text.get(..position).unwrap_or(text);
        let line = before.matches('\n').count() + 1;
        RegistriesError::Invalid { path: path.to_owned(), line, reason, hint }
    };
    let document: Document = toml::from_str(text).map_err(|error| {
        let position = error.span().map_or(0, |span| span.start);
        invalid(position, error.message().to_owned(), hint_of(error.message()))
    })?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut registries = Registries::new();
    for (name, table) in document.registry {
        let position = table.span().start;
        let table = table.into_inner();
        if !is_host(&name) {
            let reason = format!("`{name}` is not a registry");
            let hint = "name it as in references: HOST or HOST:PORT".to_owned();
            return Err(invalid(position, reason, Some(hint)));
        }
        if table.insecure && table.ca.is_some() {
            let reason = format!("`{name}` has both `insecure` and `ca`");
            let hint = "without TLS there is nothing to certify: leave one of them out".to_owned();
            return Err(invalid(position, reason, Some(hint)));
        }
        for mirror in &table.mirrors {
            let host = mirror.trim_start_matches("https://").split('/').next().unwrap_or_default();
            if !is_host(host) {
                let reason = format!("`{mirror}` is not a mirror");
                let hint = "write HOST[:PORT][/PREFIX]; one without TLS has `insecure = true` in \
                            a table of its own";
                return Err(invalid(position, reason, Some(hint.to_owned())));
            }
        }
        let ca = table.ca.map(|ca| folder.join(ca)).into_iter().collect();
        registries.insert(name, Settings { insecure: table.insecure, ca, mirrors: table.mirrors });
    }
    Ok(registries)
}

/// The nearest key to one that is not known.
fn hint_of(message: &str) -> Option<String> {
    let unknown = message.strip_prefix("unknown field `")?.split('`').next()?;
    let near = KEYS
        .into_iter()
        .chain(["registry"])
        .map(|key| (strsim::damerau_levenshtein(unknown, key), key))
        .filter(|(distance, key)| *distance <= key.len() / 3)
        .min();
    Some(match near {
        Some((_, key)) => format!("did you mean `{key}`?"),
        None => format!("a registry has `{}`, in a table [registry.\"HOST\"]", KEYS.join("`, `")),
    })
}

/// HOST or HOST:PORT, an IPv6 address in brackets.
fn is_host(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, port)) => {
            (host, port.strip_prefix(':').or_else(|| port.is_empty().then_some("0")))
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, Some("0")),
        },
    };
    let in_brackets = text.starts_with('[');
    let known = |byte: u8| {
        byte.is_ascii_alphanumeric() || b".-_".contains(&byte) || (in_brackets && byte == b':')
    };
    !host.is_empty()
        && host.bytes().all(known)
        && port.is_some_and(|port| port.parse::<u16>().is_ok())
}

/// Adds the authorities that a folder has in `HOST/*.crt`, as `/etc/docker/certs.d` does. A folder
/// that is not there, or not for this user, has none, as for podman.
pub fn add_certificates(registries: &mut Registries, folder: &Path) -> Result<(), RegistriesError> {
    for host in list(folder)? {
        let Some(name) = host.file_name().and_then(|name| name.to_str()) else { continue };
        let bundles: Vec<PathBuf> = list(&host)?
            .into_iter()
            .filter(|path| path.extension().is_some_and(|extension| extension == "crt"))
            .collect();
        if !bundles.is_empty() {
            registries.entry(name.to_owned()).or_default().ca.extend(bundles);
        }
    }
    Ok(())
}

/// What is in a folder, sorted.
fn list(folder: &Path) -> Result<Vec<PathBuf>, RegistriesError> {
    let failed = |source| RegistriesError::Read { path: folder.to_owned(), source };
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound
                    | io::ErrorKind::NotADirectory
                    | io::ErrorKind::PermissionDenied
            ) =>
        {
            return Ok(Vec::new());
        }
        Err(error) => return Err(failed(error)),
    };
    let paths: io::Result<Vec<PathBuf>> =
        entries.map(|entry| entry.map(|entry| entry.path())).collect();
    let mut paths = paths.map_err(failed)?;
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Registries, RegistriesError> {
        parse(Path::new("/conf/registries.toml"), text)
    }

    #[test]
    fn settings_are_read() {
        let registries = parsed(
            "[registry.\"r.example:5000\"]\nca = \"company.pem\"\n\
             mirrors = [\"m.example/proxy\", \"https://n.example\"]\n\
             [registry.\"build:5000\"]\ninsecure = true\n",
        )
        .unwrap();
        let own = &registries["r.example:5000"];
        assert_eq!(own.ca, [PathBuf::from("/conf/company.pem")]);
        assert_eq!(own.mirrors, ["m.example/proxy", "https://n.example"]);
        assert!(registries["build:5000"].insecure && !own.insecure);
        assert_eq!(parsed("").unwrap(), Registries::new());
    }

    #[test]
    fn mistakes_have_a_line_and_a_hint() {
        for (text, line, hint) in [
            ("[registry.\"r\"]\ninsecur = true\n", 2, "did you mean `insecure`?"),
            ("\n[registri.\"r\"]\nca = \"x\"\n", 2, "did you mean `registry`?"),
            ("[registry.\"https://r.example\"]\n", 1, "HOST:PORT"),
            ("[registry.\"r\"]\nmirrors = [\"http://m.example\"]\n", 1, "insecure"),
            ("[registry.\"r\"]\ninsecure = true\nca = \"x\"\n", 1, "nothing to certify"),
        ] {
            let error = parsed(text).unwrap_err();
            let place = format!("/conf/registries.toml:{line}: ");
            assert!(error.to_string().starts_with(&place), "{error}");
            assert!(error.hint().unwrap().contains(hint), "{error:?}");
        }
        assert!(parsed("[registry.\"r\"]\ninsecure = 1\n").is_err());
    }

    #[test]
    fn hosts_are_told_from_urls() {
        for host in ["r", "r.example", "r.example:5000", "10.0.0.1:80", "[::1]", "[fe80::1]:5000"] {
            assert!(is_host(host), "{host}");
        }
        for other in ["", "http:", "https://r", "r:x", "r/a", "::1", "[::1]x", "r:99999"] {
            assert!(!is_host(other), "{other}");
        }
    }

    #[test]
    fn certificates_come_from_folders_by_host() {
        let folder = tempfile::tempdir().unwrap();
        let host = folder.path().join("r.example:5000");
        fs::create_dir(&host).unwrap();
        for file in ["ca.crt", "client.cert", "client.key"] {
            fs::write(host.join(file), "").unwrap();
        }
        fs::write(folder.path().join("README"), "").unwrap();
        let mut registries = Registries::new();
        add_certificates(&mut registries, folder.path()).unwrap();
        add_certificates(&mut registries, &folder.path().join("none")).unwrap();
        assert_eq!(registries.len(), 1);
        assert_eq!(registries["r.example:5000"].ca, [host.join("ca.crt")]);
    }
}
