//! Reads one credential file: docker's `config.json` or podman's `auth.json`, which have one form.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;

use crate::places::Place;
use crate::{CredentialError, Login};

/// Base64 with or without padding: tools write both.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A credential file, as written.
pub(crate) struct AuthFile {
    pub(crate) path: PathBuf,
    text: String,
    content: Content,
}

#[derive(Default, Deserialize)]
struct Content {
    #[serde(default)]
    auths: Option<BTreeMap<String, Entry>>,
    #[serde(default, rename = "credHelpers")]
    helpers: Option<BTreeMap<String, String>>,
    #[serde(default, rename = "credsStore")]
    store: Option<String>,
}

/// One entry of `auths`. What is empty counts as not there: docker leaves such entries behind where
/// a helper program keeps the secret.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct Entry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
    registrytoken: Option<String>,
}

impl fmt::Debug for AuthFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthFile").field("path", &self.path).finish_non_exhaustive()
    }
}

impl AuthFile {
    /// Reads a file; `None` where it is not there and nobody said that it is.
    pub(crate) fn read(place: &Place) -> Result<Option<AuthFile>, CredentialError> {
        match fs::read_to_string(&place.path) {
            Ok(text) => AuthFile::parse(&place.path, text).map(Some),
            Err(error)
                if !place.named
                    && matches!(
                        error.kind(),
                        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                    ) =>
            {
                Ok(None)
            }
            Err(source) => Err(CredentialError::Read { path: place.path.clone(), source }),
        }
    }

    fn parse(path: &Path, text: String) -> Result<AuthFile, CredentialError> {
        // Docker takes an empty file for one without entries.
        let content = if text.trim().is_empty() {
            Content::default()
        } else {
            serde_json::from_str(&text).map_err(|error| {
                // The parser's own words may quote a secret.
                let reason = match error.classify() {
                    serde_json::error::Category::Data => "an entry has a value of the wrong kind",
                    _ => "it is not JSON",
                };
                let (path, line) = (path.to_owned(), error.line().max(1));
                CredentialError::Broken { path, line, reason: reason.to_owned() }
            })?
        };
        Ok(AuthFile { path: path.to_owned(), text, content })
    }

    /// The entries of `auths`.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&String, &Entry)> {
        self.content.auths.iter().flatten()
    }

    /// The helper program that `credHelpers` has for a registry by one of these names.
    pub(crate) fn helper(&self, names: &[&str]) -> Option<&str> {
        let helpers = self.content.helpers.as_ref()?;
        let found = names.iter().find_map(|name| helpers.get(*name))?;
        Some(found.as_str()).filter(|helper| !helper.is_empty())
    }

    /// The helper program for everything else (`credsStore`).
    pub(crate) fn store(&self) -> Option<&str> {
        self.content.store.as_deref().filter(|helper| !helper.is_empty())
    }

    /// What an entry says; `None` where it says nothing.
    pub(crate) fn login(&self, key: &str, entry: &Entry) -> Result<Option<Login>, CredentialError> {
        let some = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        if let Some(token) = some(&entry.identitytoken) {
            return Ok(Some(Login::IdentityToken(token)));
        }
        if let Some(token) = some(&entry.registrytoken) {
            return Ok(Some(Login::RegistryToken(token)));
        }
        if let Some(auth) = some(&entry.auth) {
            let decoded = decode(&auth).map_err(|reason| self.broken(key, reason))?;
            return Ok(decoded.map(|(username, password)| Login::Password { username, password }));
        }
        Ok(match (some(&entry.username), some(&entry.password)) {
            (Some(username), Some(password)) => Some(Login::Password { username, password }),
            _ => None,
        })
    }

    fn broken(&self, key: &str, reason: &str) -> CredentialError {
        let before = self.text.find(&format!("\"{key}\"")).unwrap_or(0);
        let line = self.text.get(..before).map_or(1, |text| text.matches('\n').count() + 1);
        let reason = format!("`auth` of `{key}` {reason}");
        CredentialError::Broken { path: self.path.clone(), line, reason }
    }
}

/// `NAME:PASSWORD` in base64; `None` where both are empty.
fn decode(auth: &str) -> Result<Option<(String, String)>, &'static str> {
    let bytes = BASE64.decode(auth.trim()).map_err(|_| "is not base64")?;
    let text = String::from_utf8(bytes).map_err(|_| "is not text")?;
    let (username, password) = text.split_once(':').ok_or("is not NAME:PASSWORD")?;
    // Docker once padded passwords with zeros.
    let password = password.trim_matches('\0');
    let nothing = username.is_empty() && password.is_empty();
    Ok((!nothing).then(|| (username.to_owned(), password.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_with_and_without_padding() {
        let wanted = Some(("me".to_owned(), "a:b".to_owned()));
        assert_eq!(decode("bWU6YTpi").unwrap(), wanted);
        let short = Some(("me".to_owned(), "pw".to_owned()));
        assert_eq!(decode("bWU6cHc=").unwrap(), short);
        assert_eq!(decode("bWU6cHc").unwrap(), short);
        assert_eq!(decode("bWU6cHcAAA==").unwrap(), short);
        assert_eq!(decode("Og==").unwrap(), None);
        for wrong in ["***", "bWU", "/w=="] {
            assert!(decode(wrong).is_err(), "{wrong}");
        }
    }
}
