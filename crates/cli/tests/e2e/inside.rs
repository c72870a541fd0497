//! Publishing in this process, with waits that cost no time: what `anyarch publish` does after it has
//! read its arguments.

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use anyarch_debian::{Fetch, FetchError, Fetched};
use anyarch_engine::{
    BuildError, Engine, Host, LockFile, NoCache, NoGit, Place, PublishRequest, Published, Twins,
    publish,
};
use anyarch_http::{Client, Config, RetryPolicy};
use anyarch_oci::{
    Descriptor, EndpointError, ImageDestination, ImageSource, Reference, RepositoryName,
};
use anyarch_plan::publish::select;
use anyarch_registry::{
    Authenticator, Credentials, CredentialsError, RegistryClient, RegistryDestination,
};
use anyarch_sandbox::Cancel;
use anyarch_store::Store;

use crate::bench::Bench;

/// The account that guarded registries of these tests know.
pub const ACCOUNT: (&str, &str) = ("ada", "secret");

/// Shows [`ACCOUNT`] to whoever demands one.
struct Account;

impl Authenticator for Account {
    fn credentials(
        &self,
        _registry: &str,
        _repository: Option<&RepositoryName>,
    ) -> Result<Credentials, CredentialsError> {
        let (username, password) = ACCOUNT;
        Ok(Credentials::Basic { username: username.to_owned(), password: password.to_owned() })
    }
}

/// A way to nothing: what is built already needs neither packages nor images.
struct Nothing;

impl Fetch for Nothing {
    fn get(&self, _: &str, _: u64) -> Result<Fetched, FetchError> {
        Err(FetchError::NotFound)
    }
}

impl ImageSource for Nothing {
    fn manifest(&self, reference: &Reference) -> Result<(Descriptor, Vec<u8>), EndpointError> {
        panic!("{reference} is asked for")
    }

    fn blob(
        &self,
        reference: &Reference,
        _: &Descriptor,
        _: u64,
    ) -> Result<Box<dyn Read + Send>, EndpointError> {
        panic!("{reference} is asked for")
    }
}

/// A client that makes so many attempts and hardly waits between them.
pub fn client(attempts: u32) -> RegistryClient {
    let retry = RetryPolicy {
        attempts,
        first_delay: Duration::from_millis(1),
        max_delay: Duration::from_millis(2),
        max_retry_after: Duration::from_secs(2),
    };
    RegistryClient::new(Client::new(Config { retry, ..Config::default() }).unwrap(), Account)
}

/// The way to a registry with so many attempts.
pub fn destination(registry: &str, attempts: u32) -> RegistryDestination {
    RegistryDestination::new(Arc::new(client(attempts)), registry)
}

/// Publishes what a bench has built, without `--force`.
pub fn publish_built(
    bench: &Bench,
    to: &Place,
    version: &str,
    destination: &dyn ImageDestination,
) -> Result<Published, BuildError> {
    let text = std::fs::read_to_string(bench.path("anyarch.toml")).unwrap();
    let plan = &anyarch_plan::read(&text).unwrap();
    let engine = Engine {
        store: Store::open(&bench.store()).unwrap(),
        host: Host { cores: 2, ..Host::default() },
        fetch: Box::new(Nothing),
        images: Box::new(Nothing),
        twins: Twins::Off,
        git: Box::new(NoGit),
        no_cache: NoCache::Nothing,
    };
    let request = PublishRequest {
        plan,
        directory: &bench.path(""),
        publish: &select(plan, &[], Some(version), None).unwrap(),
        lock: &mut LockFile::default(),
        to,
        from: None,
        force: false,
    };
    publish(&engine, request, destination, &|_| {}, &Cancel::new())
}

/// An error and its causes in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
