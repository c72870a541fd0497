//! Everything that can go wrong, from the archive to the configured root; each names its object.

use std::error::Error;
use std::io;

use anyarch_layer::LayerError;
use anyarch_oci::Digest;

use crate::control::ControlError;
use crate::fetch::FetchError;
use crate::relation::RelationError;
use crate::release::ReleaseError;
use crate::signature::SignatureError;
use crate::version::VersionError;

/// An operation on an archive, a package or a root that failed.
#[derive(Debug, thiserror::Error)]
pub enum DebianError {
    /// An apt source list does not parse.
    #[error("{file}:{line}: {reason}")]
    Sources {
        /// Name of the file as the caller gave it.
        file: String,
        /// Line, from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// No source has the suite.
    #[error("no apt source of this machine names the Debian suite `{suite}`")]
    NoSources {
        /// The suite asked for.
        suite: String,
    },
    /// Nothing is at an address.
    #[error("{url} does not exist")]
    NotFound {
        /// The address.
        url: String,
    },
    /// An address could not be fetched.
    #[error("failed to fetch {url}")]
    Fetch {
        /// The address.
        url: String,
        /// The cause.
        source: FetchError,
    },
    /// A body ended early, also after it was taken up again.
    #[error("{url} broke off after {got} of {expected} bytes")]
    Truncated {
        /// The address.
        url: String,
        /// Bytes received.
        got: u64,
        /// Bytes announced.
        expected: u64,
        /// What the last connection said.
        source: Option<io::Error>,
    },
    /// A body is larger than announced or allowed.
    #[error("{url} is larger than the {limit} bytes expected")]
    TooLarge {
        /// The address.
        url: String,
        /// The bound, bytes.
        limit: u64,
    },
    /// Content is not what the index says.
    #[error("{url} has digest {actual}, the index says {expected}")]
    Digest {
        /// The address.
        url: String,
        /// Digest in the index.
        expected: Digest,
        /// Digest of what came.
        actual: Digest,
    },
    /// The store failed to keep content.
    #[error("failed to store {digest}")]
    Store {
        /// The content.
        digest: Digest,
        /// The cause.
        source: io::Error,
    },
    /// A signed index is not acceptable.
    #[error("failed to verify {url}")]
    Signature {
        /// Address of the index.
        url: String,
        /// Why.
        source: SignatureError,
    },
    /// A Release file is not acceptable.
    #[error("refused {url}")]
    Release {
        /// Address of the index.
        url: String,
        /// Why.
        source: ReleaseError,
    },
    /// A suite has no packages of a component for an architecture.
    #[error("{url} lists no packages of component `{component}` for `{architecture}`")]
    NoIndex {
        /// Address of the Release file.
        url: String,
        /// The component.
        component: String,
        /// The architecture.
        architecture: String,
    },
    /// A control text does not parse.
    #[error("failed to read {object}")]
    Control {
        /// What was read.
        object: String,
        /// Where and why.
        source: ControlError,
    },
    /// A package of an index lacks a field or has a malformed one.
    #[error("{object}: field `{field}`: {reason}")]
    Field {
        /// Package or file.
        object: String,
        /// The field.
        field: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// A requested package is malformed.
    #[error("`{request}` is not a package request: {reason}")]
    Request {
        /// As given.
        request: String,
        /// What is wrong.
        reason: String,
    },
    /// A requested package does not exist.
    #[error("package `{name}` does not exist for {architecture} in {suites}")]
    UnknownPackage {
        /// The name.
        name: String,
        /// The architecture.
        architecture: String,
        /// The suites searched.
        suites: String,
        /// A name that is close.
        suggestion: Option<String>,
    },
    /// A requested version does not exist.
    #[error("package `{name}` has no version {version} in {suites}")]
    UnknownVersion {
        /// The name.
        name: String,
        /// The version asked for.
        version: String,
        /// The suites searched.
        suites: String,
        /// Versions that exist.
        available: Vec<String>,
    },
    /// No set of packages satisfies all dependencies.
    #[error("the packages cannot be installed together:\n{explanation}")]
    Unsatisfiable {
        /// The chain of dependencies, in words.
        explanation: String,
    },
    /// A selected package is not in the store.
    #[error("package {package} has not been downloaded ({digest})")]
    NotDownloaded {
        /// The package.
        package: String,
        /// Its digest.
        digest: Digest,
    },
    /// A resolution names a source that the request does not have.
    #[error("package {package} comes from source {index}, which is not among the sources given")]
    NoSuchSource {
        /// The package.
        package: String,
        /// Position in the list of indexes.
        index: usize,
    },
    /// A package file is malformed.
    #[error("package {package} is malformed: {reason}")]
    Package {
        /// The package.
        package: String,
        /// What is wrong.
        reason: String,
    },
    /// A package file could not be read.
    #[error("failed to read package {package}")]
    Read {
        /// The package.
        package: String,
        /// The cause.
        source: io::Error,
    },
    /// A file of a package could not be written where the caller wants it.
    #[error("failed to keep {file} of package {package}")]
    Keep {
        /// The file.
        file: String,
        /// The package.
        package: String,
        /// The cause.
        source: io::Error,
    },
    /// Two packages ship the same file and neither replaces the other.
    #[error("packages {first} and {second} both ship {path}")]
    FileConflict {
        /// The file.
        path: String,
        /// Unpacked first.
        first: String,
        /// Unpacked second.
        second: String,
    },
    /// The root could not be changed or read.
    #[error("failed to {operation} {path} in the root")]
    Root {
        /// What was done.
        operation: &'static str,
        /// Path in the root.
        path: String,
        /// The cause.
        source: Box<dyn Error + Send + Sync>,
    },
    /// A maintainer script failed.
    #[error("the {script} script of package {package} failed with status {status}")]
    Script {
        /// The package.
        package: String,
        /// `preinst` or `postinst`.
        script: &'static str,
        /// Exit status.
        status: i32,
    },
    /// dpkg failed for another reason than a script.
    #[error("`{command}` failed with status {status}{}", left(.unfinished))]
    Dpkg {
        /// The command.
        command: String,
        /// Exit status.
        status: i32,
        /// Packages that are not configured.
        unfinished: Vec<String>,
    },
    /// The caller's runner failed to run a command.
    #[error("failed to run `{command}` in the root")]
    Run {
        /// The command.
        command: String,
        /// The cause.
        source: Box<dyn Error + Send + Sync>,
    },
}

fn left(unfinished: &[String]) -> String {
    if unfinished.is_empty() {
        String::new()
    } else {
        format!("; not configured: {}", unfinished.join(", "))
    }
}

impl DebianError {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            DebianError::NoSources { suite } => {
                format!("name a mirror that has `{suite}`, in the plan or the environment")
            }
            DebianError::NotFound { url } if url.ends_with("/InRelease") => {
                "check the mirror's address and the name of the suite".to_owned()
            }
            DebianError::NotFound { .. } => {
                "the package was replaced by a newer version; resolve again to lock the newer one".to_owned()
            }
            DebianError::Fetch { .. } | DebianError::Truncated { .. } => {
                "check the network and the mirror's address, then run again: what is complete is kept".to_owned()
            }
            DebianError::TooLarge { .. } | DebianError::Digest { .. } => {
                "the mirror may be in the middle of an update, or something changed the file on the way; \
                 try again or use another mirror"
                    .to_owned()
            }
            DebianError::Store { .. } | DebianError::Keep { .. } => "check that the store has space left".to_owned(),
            DebianError::Signature { source, .. } => return source.hint(),
            DebianError::Release { source, .. } => return source.hint(),
            DebianError::NoIndex { .. } => {
                "check the names of component and architecture (such as `main`, `amd64`)".to_owned()
            }
            DebianError::UnknownPackage { suggestion: Some(name), .. } => format!("did you mean `{name}`?"),
            DebianError::UnknownVersion { available, .. } if !available.is_empty() => {
                format!("available: {}", available.join(", "))
            }
            DebianError::Request { .. } => "write NAME, NAME=VERSION or NAME:ARCHITECTURE".to_owned(),
            DebianError::NotDownloaded { .. } => "download the resolution first".to_owned(),
            DebianError::NoSuchSource { .. } => "resolve again with these sources".to_owned(),
            DebianError::Script { .. } | DebianError::Dpkg { .. } => {
                "the command's own output above says why".to_owned()
            }
            DebianError::Root { source, .. } => return source.downcast_ref::<LayerError>()?.hint(),
            _ => return None,
        })
    }

    pub(crate) fn root(
        operation: &'static str,
        path: &str,
    ) -> impl FnOnce(LayerError) -> DebianError + use<> {
        let path = path.to_owned();
        move |source| DebianError::Root { operation, path, source: Box::new(source) }
    }
}

impl From<(String, &'static str, RelationError)> for DebianError {
    fn from((object, field, error): (String, &'static str, RelationError)) -> Self {
        DebianError::Field { object, field, reason: error.to_string() }
    }
}

impl From<(String, &'static str, VersionError)> for DebianError {
    fn from((object, field, error): (String, &'static str, VersionError)) -> Self {
        DebianError::Field { object, field, reason: error.to_string() }
    }
}
