//! Who we are to a registry.

use std::error::Error;
use std::fmt;

use anyarch_oci::RepositoryName;

/// What proves who we are. Shown without its secrets.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// Nothing.
    Anonymous,
    /// Name and password, for the registry itself or for its token service.
    Basic {
        /// Name.
        username: String,
        /// Password or personal token.
        password: String,
    },
    /// A refresh token that the token service exchanges (Docker calls it identity token).
    IdentityToken(String),
    /// A token that the registry takes as it is.
    Bearer(String),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Credentials::Anonymous => f.write_str("Anonymous"),
            Credentials::Basic { username, .. } => write!(f, "Basic({username}, …)"),
            Credentials::IdentityToken(_) => f.write_str("IdentityToken(…)"),
            Credentials::Bearer(_) => f.write_str("Bearer(…)"),
        }
    }
}

/// Finds the credentials for a repository of a registry, which is named as in references
/// (`ghcr.io`, `localhost:5000`). Asked only once the registry has demanded some; without a
/// repository where the question is the registry as a whole.
pub trait Authenticator: Send + Sync {
    /// The credentials to use; [`Credentials::Anonymous`] where there are none.
    fn credentials(
        &self,
        registry: &str,
        repository: Option<&RepositoryName>,
    ) -> Result<Credentials, CredentialsError>;
}

/// Why credentials could not be found out.
#[derive(Debug)]
pub struct CredentialsError {
    /// What went wrong. Must not show secrets.
    pub error: Box<dyn Error + Send + Sync>,
    /// What a person can do.
    pub hint: Option<String>,
}

impl fmt::Display for CredentialsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.error, f)
    }
}

impl Error for CredentialsError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.error.source()
    }
}

/// No credentials anywhere.
#[derive(Clone, Copy, Debug, Default)]
pub struct Anonymous;

impl Authenticator for Anonymous {
    fn credentials(
        &self,
        _registry: &str,
        _repository: Option<&RepositoryName>,
    ) -> Result<Credentials, CredentialsError> {
        Ok(Credentials::Anonymous)
    }
}

impl<F> Authenticator for F
where
    F: Fn(&str, Option<&RepositoryName>) -> Result<Credentials, CredentialsError> + Send + Sync,
{
    fn credentials(
        &self,
        registry: &str,
        repository: Option<&RepositoryName>,
    ) -> Result<Credentials, CredentialsError> {
        self(registry, repository)
    }
}
