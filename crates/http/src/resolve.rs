//! Looks up host names through the system, and keeps the name in the error.

use std::error::Error;
use std::fmt;
use std::io;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// A name that could not be looked up.
#[derive(Debug, Clone)]
pub(crate) struct LookupFailed {
    pub(crate) host: String,
    pub(crate) kind: io::ErrorKind,
    pub(crate) message: String,
}

impl fmt::Display for LookupFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "failed to look up `{}`: {}", self.host, self.message)
    }
}

impl Error for LookupFailed {}

/// The system's resolver.
pub(crate) struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let host = name.as_str().to_owned();
            let found = tokio::net::lookup_host((host.as_str(), 0)).await.map(Vec::from_iter);
            match found {
                Ok(addresses) => {
                    let addresses: Addrs = Box::new(addresses.into_iter());
                    Ok(addresses)
                }
                Err(error) => {
                    let failed =
                        LookupFailed { host, kind: error.kind(), message: error.to_string() };
                    Err(Box::new(failed) as Box<dyn Error + Send + Sync>)
                }
            }
        })
    }
}
