//! What can go wrong with a registry: the operation, and beneath it what failed.

use std::io;
use std::time::Duration;

use anyarch_http::HttpError;
use anyarch_oci::{Digest, EndpointError, ManifestError};
use serde::Deserialize;
use thiserror::Error;

use super::auth::CredentialsError;

/// An operation on a registry that failed.
#[derive(Debug, Error)]
#[error("failed to {operation}")]
pub struct RegistryError {
    /// What was tried, with its object: `push manifest v1 to r.example/acme/app`.
    pub operation: String,
    /// Why it failed.
    pub source: Failure,
}

/// Why an operation failed.
#[derive(Debug, Error)]
pub enum Failure {
    /// The exchange did not finish.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The registry said no.
    #[error("registry answered {} to {method} {path}", answer_words(*status, errors))]
    Answer {
        /// Method of the request.
        method: &'static str,
        /// Path of the request.
        path: String,
        /// Status code of the answer.
        status: u16,
        /// What the registry said about it.
        errors: Vec<ErrorInfo>,
        /// How long it asks to wait.
        retry_after: Option<Duration>,
    },
    /// The registry does not accept who we are.
    #[error("registry {registry} refused {}", if *anonymous { "access without credentials" } else { "the credentials" })]
    Unauthorized {
        /// The registry, as in references.
        registry: String,
        /// True where we had no credentials.
        anonymous: bool,
        /// What the registry said about it.
        errors: Vec<ErrorInfo>,
    },
    /// Credentials could not be found out.
    #[error("failed to find credentials for {registry}")]
    Credentials {
        /// The registry.
        registry: String,
        /// Why not.
        source: CredentialsError,
    },
    /// The registry wants an authentication that we do not know.
    #[error("registry {registry} demands an unknown kind of authentication: `{challenge}`")]
    Challenge {
        /// The registry.
        registry: String,
        /// Its words.
        challenge: String,
    },
    /// The token service gave no token.
    #[error("token service {realm} gave no token: {reason}")]
    Token {
        /// URL of the token service.
        realm: String,
        /// What it did instead.
        reason: String,
    },
    /// The registry broke the specification.
    #[error("registry broke the protocol: {0}")]
    Protocol(String),
    /// Content is not what its digest says.
    #[error("content does not match its digest: expected {expected}, got {actual}")]
    Mismatch {
        /// What was asked for.
        expected: Digest,
        /// What came.
        actual: Digest,
    },
    /// Content has another length than its descriptor says.
    #[error("content has {actual} bytes where its descriptor says {expected}")]
    Size {
        /// What was announced.
        expected: u64,
        /// What came.
        actual: u64,
    },
    /// A manifest is larger than any client takes.
    #[error("manifest is larger than {limit} bytes")]
    TooLarge {
        /// The limit.
        limit: u64,
    },
    /// The document is not a manifest.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// No image of the index runs on the platform.
    #[error("there is no image for {wanted}; there is: {}", have.join(", "))]
    NoPlatform {
        /// What was asked for.
        wanted: String,
        /// What the index lists.
        have: Vec<String>,
    },
    /// The content could not be read or written here.
    #[error("failed to {operation} the content here")]
    Local {
        /// `read` or `write`.
        operation: &'static str,
        /// Why not.
        source: io::Error,
    },
}

/// One entry of a registry's error answer (distribution-spec, "Error Codes").
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ErrorInfo {
    /// The code: `DENIED`, `MANIFEST_UNKNOWN`, …
    pub code: String,
    /// Words for people.
    pub message: String,
}

fn answer_words(status: u16, errors: &[ErrorInfo]) -> String {
    match errors.first() {
        None => status.to_string(),
        Some(error) if error.message.is_empty() => format!("{status} {}", error.code),
        Some(error) => format!("{status} {} ({})", error.code, error.message),
    }
}

impl Failure {
    pub(crate) fn during(self, operation: impl Into<String>) -> RegistryError {
        RegistryError { operation: operation.into(), source: self }
    }

    /// The status of an answer that was not the wanted one.
    pub(crate) fn status(&self) -> Option<u16> {
        match self {
            Failure::Answer { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// True where the registry said this code.
    pub(crate) fn says(&self, code: &str) -> bool {
        match self {
            Failure::Answer { errors, .. } => errors.iter().any(|error| error.code == code),
            _ => false,
        }
    }

    /// True where nothing was decided, so that trying again may help.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Failure::Http(error) => error.is_transient(),
            _ => matches!(self.status(), Some(408 | 429 | 500 | 502 | 503 | 504)),
        }
    }

    /// How long the registry asks to wait.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Failure::Answer { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

impl RegistryError {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match &self.source {
            Failure::Http(error) => error.hint(),
            Failure::Unauthorized { registry, anonymous: true, .. } => {
                Some(format!("log in to {registry}, or check the spelling of the repository"))
            }
            Failure::Unauthorized { registry, .. } => {
                Some(format!("log in to {registry} again; the password or token may have expired"))
            }
            Failure::Answer { status: 403, .. } => {
                Some("log in, or check that this account may do that in this repository".to_owned())
            }
            Failure::Answer { method: "DELETE", status: 405, .. } => Some(
                "deletion is switched off at this registry (docker-registry: `delete: enabled: \
                 true` under `storage`), or left to its web interface"
                    .to_owned(),
            ),
            Failure::Answer { status: 413, .. } => {
                Some("the registry, or a proxy before it, limits the size of uploads".to_owned())
            }
            Failure::Answer { status: 429, .. } => {
                Some("the registry limits how often it may be asked; log in or wait".to_owned())
            }
            Failure::Manifest(ManifestError::Schema(1)) => Some(
                "the image was pushed by a Docker older than 1.10; pull it with a newer one and \
                 push it again"
                    .to_owned(),
            ),
            Failure::Credentials { source, .. } => source.hint.clone(),
            Failure::NoPlatform { have, .. } if !have.is_empty() => {
                Some("ask for one of the listed platforms".to_owned())
            }
            _ => None,
        }
    }

    /// True where the object is not there (as opposed to: could not be asked for).
    pub fn is_not_found(&self) -> bool {
        match &self.source {
            Failure::Answer { status, .. } => *status == 404,
            Failure::Http(error) => error.is_not_found(),
            _ => false,
        }
    }
}

impl From<RegistryError> for EndpointError {
    fn from(error: RegistryError) -> EndpointError {
        EndpointError {
            message: error.to_string(),
            hint: error.hint(),
            not_found: error.is_not_found(),
            source: Some(Box::new(error.source)),
        }
    }
}
