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
mod mirror;
mod pull;
mod push;
mod quirks;
mod session;
mod token;

pub use auth::{Anonymous, Authenticator, Credentials, CredentialsError};
pub use endpoint::RegistryDestination;
pub use error::{ErrorInfo, Failure, RegistryError};
pub use exchange::RegistryClient;
pub use host::{RegistrySettings, Repository};
pub use manifest::TagDetails;
pub use pull::PulledBlob;
