//! The client: one exchange after another with a registry, authorised as it demands.

mod auth;
mod challenge;
mod endpoint;
mod error;
mod exchange;
mod host;
mod link;
mod list;
mod manifest;
mod pull;
mod push;
mod token;

pub use auth::{Anonymous, Authenticator, Credentials};
pub use endpoint::RegistryDestination;
pub use error::{ErrorInfo, Failure, RegistryError};
pub use exchange::RegistryClient;
pub use host::Repository;
pub use pull::PulledBlob;
