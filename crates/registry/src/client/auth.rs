//! Who we are to a registry.

use std::error::Error;
use std::fmt;

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

/// Finds the credentials for a registry, named as in references (`ghcr.io`, `localhost:5000`).
/// Asked only once the registry has demanded some.
pub trait Authenticator: Send + Sync {
    /// The credentials to use; [`Credentials::Anonymous`] where there are none.
    fn credentials(&self, registry: &str) -> Result<Credentials, Box<dyn Error + Send + Sync>>;
}

/// No credentials anywhere.
#[derive(Clone, Copy, Debug, Default)]
pub struct Anonymous;

impl Authenticator for Anonymous {
    fn credentials(&self, _registry: &str) -> Result<Credentials, Box<dyn Error + Send + Sync>> {
        Ok(Credentials::Anonymous)
    }
}

impl<F> Authenticator for F
where
    F: Fn(&str) -> Result<Credentials, Box<dyn Error + Send + Sync>> + Send + Sync,
{
    fn credentials(&self, registry: &str) -> Result<Credentials, Box<dyn Error + Send + Sync>> {
        self(registry)
    }
}
