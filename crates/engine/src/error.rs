//! What can go wrong with a build, as people need it told: object and operation, place, cause, hint.

use std::error::Error;
use std::fmt;

use crate::event::{Origin, StepId};

/// What kind of failure it is; decides the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The plan, a Dockerfile or a target is wrong: nothing ran because of it.
    Input,
    /// A step, a download, a push or the disk failed.
    Failed,
    /// A guard refused: it would have overwritten or published what it must not.
    Refused,
    /// It was asked to stop.
    Cancelled,
    /// Something is not built that was only to be looked up.
    NotBuilt,
}

/// A build or publication that failed.
#[derive(Debug)]
pub struct BuildError {
    /// Which kind.
    pub kind: ErrorKind,
    /// Object and operation.
    pub message: String,
    /// Place in a Dockerfile.
    pub origin: Option<Origin>,
    /// The step that failed.
    pub step: Option<StepId>,
    /// What a person can do.
    pub hint: Option<String>,
    /// The cause.
    pub source: Option<Box<dyn Error + Send + Sync>>,
}

impl BuildError {
    /// An error in what was given.
    pub fn input(message: impl Into<String>) -> BuildError {
        BuildError::new(ErrorKind::Input, message)
    }

    /// An operation that failed.
    pub fn failed(message: impl Into<String>) -> BuildError {
        BuildError::new(ErrorKind::Failed, message)
    }

    /// The build was asked to stop.
    pub fn cancelled() -> BuildError {
        BuildError::new(ErrorKind::Cancelled, "stopped")
    }

    /// An error of a kind.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> BuildError {
        let message = message.into();
        BuildError { kind, message, origin: None, step: None, hint: None, source: None }
    }

    /// Adds the cause.
    pub fn because(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> BuildError {
        self.source = Some(source.into());
        self
    }

    /// Adds a hint; `None` keeps the one there is.
    pub fn hint(mut self, hint: impl Into<Option<String>>) -> BuildError {
        self.hint = hint.into().or(self.hint);
        self
    }

    /// Says what was being done when this happened.
    pub(crate) fn in_context(self, message: String) -> BuildError {
        let (kind, hint) = (self.kind, self.hint.clone());
        BuildError::new(kind, message).hint(hint).because(self)
    }

    /// Message and causes in one line.
    pub(crate) fn chain(&self) -> String {
        let mut text = self.message.clone();
        let mut cause = Error::source(self);
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        text
    }

    /// Adds the place, where none is known yet.
    pub fn at(mut self, origin: Option<&Origin>) -> BuildError {
        self.origin = self.origin.or_else(|| origin.cloned());
        self
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for BuildError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_ref().map(|cause| &**cause as &(dyn Error + 'static))
    }
}

/// Adds what was being done to an error from below, and keeps its hint.
pub(crate) trait Context<T> {
    /// Names object and operation.
    fn context(self, message: impl FnOnce() -> String) -> Result<T, BuildError>;
}

macro_rules! context_from {
    ($($error:ty => $hint:expr),* $(,)?) => {$(
        impl<T> Context<T> for Result<T, $error> {
            fn context(self, message: impl FnOnce() -> String) -> Result<T, BuildError> {
                self.map_err(|error| {
                    let hint: Option<String> = ($hint)(&error);
                    BuildError::failed(message()).hint(hint).because(error)
                })
            }
        }
    )*};
}

context_from! {
    anyarch_store::StoreError => anyarch_store::StoreError::hint,
    anyarch_layer::LayerError => anyarch_layer::LayerError::hint,
    anyarch_sandbox::SandboxError => anyarch_sandbox::SandboxError::hint,
    anyarch_debian::DebianError => anyarch_debian::DebianError::hint,
    anyarch_oci::EndpointError => |error: &anyarch_oci::EndpointError| error.hint.clone(),
    anyarch_oci::ManifestError => |_: &_| None,
    anyarch_debian::FetchError => |_: &_| None,
    anyarch_layer::ModeChangeError => |_: &_| None,
    anyarch_twin::DataError => |_: &_| None,
    anyarch_handler::image::ImageError => |_: &_| None,
    serde_json::Error => |_: &_| None,
    std::io::Error => io_hint,
}

/// What to do about a full or read-only disk.
pub(crate) fn io_hint(error: &std::io::Error) -> Option<String> {
    match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Some(
            "the disk is full: free some space, or name another folder with --store or ANYARCH_STORE"
                .to_owned(),
        ),
        _ => None,
    }
}
