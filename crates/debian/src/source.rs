//! Where packages come from: apt source lists, or a mirror, to [`Source`] values.
//!
//! Parses texts that the caller read; never looks at the machine itself.

use crate::control::Paragraphs;
use crate::error::DebianError;

/// One suite of one archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Base of the archive, the folder that holds `dists` and `pool`; no trailing slash.
    pub uri: String,
    /// Suite or codename, such as `bookworm-security`.
    pub suite: String,
    /// Components, such as `main`.
    pub components: Vec<String>,
    /// OpenPGP keyring to trust, binary or armored; `None` trusts the Debian archive keys that we ship.
    pub signed_by: Option<Vec<u8>>,
}

/// Name under which an entry's archive is known when it is Debian's own: the last part of its path.
const ARCHIVE_NAMES: [&str; 2] = ["debian", "debian-security"];

/// The sources of SUITE, SUITE-updates and SUITE-security by apt source lists (`(file name, text)`, one-line or
/// deb822) that were written for one machine.
///
/// Only entries of the Debian archive count; other repositories and source packages are left out, as are entries
/// with a keyring of their own that is not Debian's. Lists that name the archive, but another suite of it (those
/// of a machine with another release), give the same archives with this suite, component `main`.
///
/// # Errors
/// When the lists do not parse or name no Debian archive.
pub fn host_sources(files: &[(String, String)], suite: &str) -> Result<Vec<Source>, DebianError> {
    let entries = debian_entries(files)?;
    let mut sources: Vec<Source> = Vec::new();
    for entry in &entries {
        let wanted = entry.suite == suite
            || entry.suite.strip_prefix(suite).is_some_and(|s| s == "-updates" || s == "-security");
        let known = sources.iter().any(|s| s.uri == entry.uri && s.suite == entry.suite);
        if wanted && !known {
            sources.push(Source {
                uri: entry.uri.clone(),
                suite: entry.suite.clone(),
                components: entry.components.clone(),
                signed_by: None,
            });
        }
    }
    if sources.iter().any(|source| source.suite == suite) {
        return Ok(sources);
    }
    let archive = |name: &str| {
        let uris = entries.iter().map(|entry| entry.uri.trim_end_matches('/'));
        uris.into_iter().find(|uri| uri.rsplit('/').next() == Some(name))
    };
    let mirror =
        archive("debian").ok_or_else(|| DebianError::NoSources { suite: suite.to_owned() })?;
    Ok(sources_for_mirror(mirror, archive("debian-security"), suite, &["main".to_owned()]))
}

/// The suites of the Debian archive that apt source lists name, without those of updates, in the order of the
/// lists.
///
/// # Errors
/// When the lists do not parse.
pub fn host_suites(files: &[(String, String)]) -> Result<Vec<String>, DebianError> {
    let mut suites: Vec<String> = Vec::new();
    for entry in debian_entries(files)? {
        // `bookworm-updates`, and the older `buster/updates` of security.
        let of_another = entry.suite.contains(['-', '/']);
        if !of_another && !suites.contains(&entry.suite) {
            suites.push(entry.suite);
        }
    }
    Ok(suites)
}

/// The entries of apt source lists that are of the Debian archive.
fn debian_entries(files: &[(String, String)]) -> Result<Vec<Entry>, DebianError> {
    let mut entries = Vec::new();
    for (name, text) in files {
        entries.extend(if name.ends_with(".sources") {
            deb822(name, text)?
        } else {
            one_line(name, text)?
        });
    }
    entries.retain(is_debian);
    Ok(entries)
}

/// The sources of a mirror: SUITE and SUITE-updates from `mirror`, SUITE-security from `security`.
///
/// Unstable (`sid`) has neither updates nor security. Without `security`, there is no security source.
pub fn sources_for_mirror(
    mirror: &str,
    security: Option<&str>,
    suite: &str,
    components: &[String],
) -> Vec<Source> {
    let source = |uri: &str, suite: String| Source {
        uri: uri.trim_end_matches('/').to_owned(),
        suite,
        components: components.to_vec(),
        signed_by: None,
    };
    let mut sources = vec![source(mirror, suite.to_owned())];
    if !matches!(suite, "sid" | "unstable" | "experimental" | "rc-buggy") {
        sources.push(source(mirror, format!("{suite}-updates")));
        sources.extend(security.map(|uri| source(uri, format!("{suite}-security"))));
    }
    sources
}

/// An entry of an apt source list.
struct Entry {
    uri: String,
    suite: String,
    components: Vec<String>,
    signed_by: Option<String>,
}

/// Debian's own archive: by the last part of the path, and by the keyring where one is named.
fn is_debian(entry: &Entry) -> bool {
    let path = entry.uri.split_once("://").map_or("", |(_, rest)| rest);
    let archive = path.rsplit('/').next().is_some_and(|last| ARCHIVE_NAMES.contains(&last));
    let keys = entry.signed_by.as_ref().is_none_or(|keys| keys.contains("/debian-archive-"));
    archive && keys && !entry.components.is_empty()
}

/// `deb [options] uri suite component…`.
fn one_line(name: &str, text: &str) -> Result<Vec<Entry>, DebianError> {
    let mut entries = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or("").trim();
        let Some(rest) = line.strip_prefix("deb").filter(|r| r.starts_with([' ', '\t'])) else {
            continue;
        };
        let fail = |reason: &str| DebianError::Sources {
            file: name.to_owned(),
            line: number + 1,
            reason: reason.to_owned(),
        };
        let mut rest = rest.trim_start();
        let mut signed_by = None;
        if let Some(open) = rest.strip_prefix('[') {
            let (options, after) = open.split_once(']').ok_or_else(|| fail("`[` is not closed"))?;
            rest = after;
            let mut options = options.split_whitespace();
            signed_by = options.find_map(|o| o.strip_prefix("signed-by=")).map(str::to_owned);
        }
        let mut words = rest.split_whitespace();
        let (Some(uri), Some(suite)) = (words.next(), words.next()) else {
            return Err(fail("expected `deb URI SUITE COMPONENT…`"));
        };
        entries.push(Entry {
            uri: uri.trim_end_matches('/').to_owned(),
            suite: suite.to_owned(),
            components: words.map(str::to_owned).collect(),
            signed_by,
        });
    }
    Ok(entries)
}

/// Paragraphs with `Types`, `URIs`, `Suites`, `Components`.
fn deb822(name: &str, text: &str) -> Result<Vec<Entry>, DebianError> {
    let mut entries = Vec::new();
    for paragraph in Paragraphs::new(text.as_bytes()) {
        let paragraph =
            paragraph.map_err(|source| DebianError::Control { object: name.to_owned(), source })?;
        let words = |field: &str| {
            paragraph
                .get(field)
                .unwrap_or("")
                .split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        let enabled = !matches!(paragraph.get("Enabled"), Some("no" | "false" | "0"));
        if !enabled || !words("Types").iter().any(|t| t == "deb") {
            continue;
        }
        for uri in words("URIs") {
            for suite in words("Suites") {
                entries.push(Entry {
                    uri: uri.trim_end_matches('/').to_owned(),
                    suite,
                    components: words("Components"),
                    signed_by: paragraph.get("Signed-By").map(str::to_owned),
                });
            }
        }
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(name: &str, text: &str) -> Vec<String> {
        let sources = host_sources(&[(name.to_owned(), text.to_owned())], "bookworm").unwrap();
        sources
            .iter()
            .map(|s| format!("{} {} {}", s.uri, s.suite, s.components.join(",")))
            .collect()
    }

    #[test]
    fn one_line_entries() {
        let text = "# deb http://old.example/debian bookworm main\n\
            deb [arch=amd64 signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://mirror.example/debian/ bookworm main contrib # tail\n\
            deb-src http://mirror.example/debian bookworm main\n\
            deb http://mirror.example/debian-security bookworm-security main\n\
            deb http://mirror.example/debian trixie main\n\
            deb http://mirror.example/debian bookworm-backports main\n\
            deb [signed-by=/etc/keys/other.gpg] http://other.example/debian bookworm main\n\
            deb http://other.example/node_20.x nodistro main\n";
        assert_eq!(
            show("sources.list", text),
            [
                "http://mirror.example/debian bookworm main,contrib",
                "http://mirror.example/debian-security bookworm-security main",
            ]
        );
    }

    #[test]
    fn deb822_entries() {
        let text = "Types: deb deb-src\nURIs: http://mirror.example/debian\nSuites: bookworm bookworm-updates\n\
            Components: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n\n\
            Types: deb\nEnabled: no\nURIs: http://off.example/debian\nSuites: bookworm\nComponents: main\n";
        assert_eq!(
            show("debian.sources", text),
            [
                "http://mirror.example/debian bookworm main",
                "http://mirror.example/debian bookworm-updates main",
            ]
        );
    }

    #[test]
    fn a_machine_of_another_release_lends_its_archives() {
        let text = "deb http://other.example/ubuntu noble main\n\
            deb http://mirror.example/debian/ trixie main non-free-firmware\n\
            deb http://security.example/debian-security trixie-security main\n";
        assert_eq!(
            show("sources.list", text),
            [
                "http://mirror.example/debian bookworm main",
                "http://mirror.example/debian bookworm-updates main",
                "http://security.example/debian-security bookworm-security main",
            ]
        );
        let foreign = "deb http://other.example/ubuntu noble main\n".to_owned();
        assert!(host_sources(&[("sources.list".into(), foreign)], "bookworm").is_err());
    }

    #[test]
    fn suites_of_a_machine_are_those_of_debian_without_updates() {
        let text = "deb http://other.example/ubuntu noble main\n\
            deb http://security.example/debian-security trixie-security main\n\
            deb http://mirror.example/debian trixie main\n\
            deb http://mirror.example/debian trixie-updates main\n\
            deb http://mirror.example/debian sid main\n";
        let suites = |text: &str| host_suites(&[("x.list".into(), text.into())]).unwrap();
        assert_eq!(suites(text), ["trixie", "sid"]);
        assert!(suites("deb http://other.example/ubuntu noble main\n").is_empty());
    }

    #[test]
    fn nothing_left_is_an_error_with_a_hint() {
        let error = host_sources(&[], "bookworm").unwrap_err();
        assert!(error.hint().is_some(), "{error}");
        let bad = host_sources(
            &[("x.list".into(), "\ndeb http://mirror.example/debian".into())],
            "bookworm",
        );
        assert_eq!(bad.unwrap_err().to_string(), "x.list:2: expected `deb URI SUITE COMPONENT…`");
    }

    #[test]
    fn mirror_gives_three_suites_and_unstable_one() {
        let components = ["main".to_owned()];
        let all = sources_for_mirror(
            "http://m.example/debian/",
            Some("http://s.example/d"),
            "trixie",
            &components,
        );
        let suites: Vec<_> = all.iter().map(|s| s.suite.as_str()).collect();
        assert_eq!(suites, ["trixie", "trixie-updates", "trixie-security"]);
        assert_eq!(all[0].uri, "http://m.example/debian");
        assert_eq!(sources_for_mirror("http://m.example", None, "sid", &components).len(), 1);
    }
}
