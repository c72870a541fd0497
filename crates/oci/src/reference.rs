//! Image references (distribution-spec, "Pulling manifests"; Docker's reference grammar):
//! `[REGISTRY/]REPOSITORY[:TAG][@DIGEST]`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{Digest, DigestError};

/// A repository name within a registry: lower-case path components.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RepositoryName(String);

/// A tag: at most 128 of `[A-Za-z0-9_.-]`, not starting with `.` or `-`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Tag(String);

/// A name for an image: where, which repository, which tag or digest.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    /// Host and port, as written; `None` where the text names none.
    pub registry: Option<String>,
    /// Repository within the registry.
    pub repository: RepositoryName,
    /// Tag.
    pub tag: Option<Tag>,
    /// Digest; where there is one it decides, and the tag is for people.
    pub digest: Option<Digest>,
}

/// Why a text is not a reference.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ReferenceError {
    /// The repository part.
    #[error(
        "`{0}` is not a repository name: expected lower-case letters, digits and separators (`.`, `_`, `__`, `-`), joined by `/`"
    )]
    Repository(String),
    /// The tag part.
    #[error(
        "`{0}` is not a tag: expected up to 128 letters, digits, `_`, `.` and `-`, not starting with `.` or `-`"
    )]
    Tag(String),
    /// The registry part.
    #[error("`{0}` is not a registry: expected HOST or HOST:PORT")]
    Registry(String),
    /// The digest part.
    #[error(transparent)]
    Digest(#[from] DigestError),
}

impl RepositoryName {
    /// The name as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Tag {
    /// The tag as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `latest`, which stands where a reference names neither tag nor digest.
    pub fn latest() -> Tag {
        Tag("latest".to_owned())
    }
}

impl Reference {
    /// The same repository with another tag and no digest.
    pub fn with_tag(&self, tag: Tag) -> Reference {
        Reference { tag: Some(tag), digest: None, ..self.clone() }
    }

    /// The same repository with a digest and no tag.
    pub fn with_digest(&self, digest: Digest) -> Reference {
        Reference { tag: None, digest: Some(digest), ..self.clone() }
    }

    /// What goes behind `/manifests/` in a request: the digest, else the tag, else `latest`.
    pub fn manifest_key(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, Some(tag)) => tag.to_string(),
            (None, None) => "latest".to_owned(),
        }
    }
}

impl FromStr for RepositoryName {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let bad = || ReferenceError::Repository(text.to_owned());
        if text.is_empty() || text.len() > 255 || !text.split('/').all(is_path_component) {
            return Err(bad());
        }
        Ok(RepositoryName(text.to_owned()))
    }
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_path_component(text: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = text.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return false };
    if !alphanumeric(*first) || !alphanumeric(*last) {
        return false;
    }
    text.split(|c: char| c.is_ascii() && alphanumeric(c as u8))
        .filter(|separator| !separator.is_empty())
        .all(|separator| {
            matches!(separator, "." | "_" | "__") || separator.bytes().all(|b| b == b'-')
        })
}

impl FromStr for Tag {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        let mut bytes = text.bytes();
        let first_ok = bytes.next().is_some_and(word);
        if !first_ok || text.len() > 128 || !bytes.all(|b| word(b) || b == b'.' || b == b'-') {
            return Err(ReferenceError::Tag(text.to_owned()));
        }
        Ok(Tag(text.to_owned()))
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse()?)),
            None => (text, None),
        };
        // A colon behind the last slash starts a tag; one before it belongs to a port.
        let name_start = rest.rfind('/').map_or(0, |slash| slash + 1);
        let (name, tag) = match rest[name_start..].find(':') {
            Some(colon) => {
                (&rest[..name_start + colon], Some(rest[name_start + colon + 1..].parse()?))
            }
            None => (rest, None),
        };
        let (registry, repository) = match name.split_once('/') {
            Some((first, path))
                if first.contains(['.', ':']) || first == "localhost" || first.starts_with('[') =>
            {
                if !is_registry(first) {
                    return Err(ReferenceError::Registry(first.to_owned()));
                }
                (Some(first.to_owned()), path)
            }
            _ => (None, name),
        };
        Ok(Reference { registry, repository: repository.parse()?, tag, digest })
    }
}

fn is_registry(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((host, port)) => (host, port.strip_prefix(':')),
            None => return false,
        },
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let host_ok =
        !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b".-:".contains(&b));
    host_ok && port.is_none_or(|port| port.parse::<u16>().is_ok())
}

impl TryFrom<String> for RepositoryName {
    type Error = ReferenceError;
    fn try_from(text: String) -> Result<Self, ReferenceError> {
        text.parse()
    }
}

impl TryFrom<String> for Tag {
    type Error = ReferenceError;
    fn try_from(text: String) -> Result<Self, ReferenceError> {
        text.parse()
    }
}

impl From<RepositoryName> for String {
    fn from(name: RepositoryName) -> String {
        name.0
    }
}

impl From<Tag> for String {
    fn from(tag: Tag) -> String {
        tag.0
    }
}

impl fmt::Display for RepositoryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(registry) = &self.registry {
            write!(f, "{registry}/")?;
        }
        write!(f, "{}", self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn parts_are_told_apart() {
        let reference: Reference = "localhost:5000/a/b:v1".parse().unwrap();
        assert_eq!(reference.registry.as_deref(), Some("localhost:5000"));
        assert_eq!(reference.repository.as_str(), "a/b");
        assert_eq!(reference.tag.as_ref().unwrap().as_str(), "v1");
        let plain: Reference = "python".parse().unwrap();
        assert_eq!((plain.registry, plain.tag), (None, None));
        let path: Reference = "user/app".parse().unwrap();
        assert_eq!(path.registry, None);
        let pinned: Reference = format!("app@{}", Digest::sha256(b"")).parse().unwrap();
        assert_eq!(pinned.manifest_key(), Digest::sha256(b"").to_string());
    }

    #[test]
    fn mistakes_are_named() {
        for text in
            ["", "App", "a//b", "a/", "-a", "a..b", "a:", "a:.x", "host:99999/a", "a@sha256:1"]
        {
            assert!(text.parse::<Reference>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn never_panics_and_prints_what_it_read(text in "[a-zA-Z0-9:/@._-]{0,40}") {
            if let Ok(reference) = text.parse::<Reference>() {
                prop_assert_eq!(reference.to_string(), text);
            }
        }
    }
}
