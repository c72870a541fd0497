//! Why credentials could not be found: which file and line, or which program.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Why credentials could not be found. Never quotes a file, since what is wrong in it may be a
/// secret.
#[derive(Debug, Error)]
pub enum CredentialError {
    /// A file cannot be read.
    #[error("failed to read the credentials in {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file is not what it should be.
    #[error("credentials in {}:{line} are not valid: {reason}", path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// A file names a helper program that is not there.
    #[error("{} names the helper program `{program}`, which is not there", path.display())]
    NoHelper {
        /// The file.
        path: PathBuf,
        /// The program.
        program: String,
    },
    /// A helper program did not do its work.
    #[error("the helper program `{program}` gave no credentials for {server}: {reason}")]
    Helper {
        /// The program.
        program: String,
        /// What it was asked for.
        server: String,
        /// What it did instead.
        reason: String,
    },
    /// A helper program could not be run.
    #[error("failed to run the helper program `{program}`")]
    Run {
        /// The program.
        program: String,
        /// Why not.
        source: io::Error,
    },
}

impl CredentialError {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            CredentialError::Read { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                Some("log in, or unset REGISTRY_AUTH_FILE, which names the file".to_owned())
            }
            CredentialError::Read { .. } => {
                Some("make the file readable for this user, or name another one".to_owned())
            }
            CredentialError::Broken { .. } => {
                Some("mend the file, or log in to the registry again".to_owned())
            }
            CredentialError::NoHelper { program, .. } => Some(format!(
                "install `{program}` or put it on the PATH; or take it out of the file \
                 (`credsStore`, `credHelpers`) and log in again"
            )),
            CredentialError::Helper { program, server, .. } => {
                Some(format!("try it yourself: echo {server} | {program} get"))
            }
            CredentialError::Run { .. } => None,
        }
    }
}
