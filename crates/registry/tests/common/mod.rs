//! A client that loses no time over retries.
#![allow(dead_code, reason = "each test file uses its part")]

use std::sync::Mutex;
use std::time::Duration;

use anyarch_http::{Client, Config, RetryPolicy};
use anyarch_oci::{
    BlobPush, Descriptor, NoMemory, Platform, PushedBlob, RepositoryName, Tag, UploadMemory,
};
use anyarch_registry::{Anonymous, Authenticator, RegistryClient, RegistryError, Repository};
use anyarch_testkit::open_at;

pub(crate) fn http() -> Client {
    let retry = RetryPolicy {
        attempts: 3,
        first_delay: Duration::from_millis(1),
        max_delay: Duration::from_millis(2),
        max_retry_after: Duration::from_secs(2),
    };
    Client::new(Config { retry, ..Config::default() }).unwrap()
}

pub(crate) fn client() -> RegistryClient {
    RegistryClient::new(http(), Anonymous)
}

pub(crate) fn client_as(auth: impl Authenticator + 'static) -> RegistryClient {
    RegistryClient::new(http(), auth)
}

pub(crate) fn tag(text: &str) -> Tag {
    text.parse().unwrap()
}

pub(crate) fn amd64() -> Platform {
    Platform::new("linux", "amd64")
}

pub(crate) fn blob(bytes: &[u8]) -> Descriptor {
    Descriptor::of("application/octet-stream", bytes)
}

/// Pushes `bytes` as a blob.
pub(crate) fn push(
    client: &RegistryClient,
    repository: &Repository,
    bytes: &[u8],
) -> Result<PushedBlob, RegistryError> {
    push_as(client, repository, &blob(bytes), bytes, &[], &NoMemory)
}

/// Pushes `bytes`, or has them mounted from another repository.
pub(crate) fn push_from(
    client: &RegistryClient,
    repository: &Repository,
    bytes: &[u8],
    from: &[&Repository],
) -> Result<PushedBlob, RegistryError> {
    let from: Vec<RepositoryName> = from.iter().map(|from| from.name.clone()).collect();
    push_as(client, repository, &blob(bytes), bytes, &from, &NoMemory)
}

/// Pushes with everything that can be said about a push.
pub(crate) fn push_as(
    client: &RegistryClient,
    repository: &Repository,
    blob: &Descriptor,
    bytes: &[u8],
    mount_from: &[RepositoryName],
    memory: &dyn UploadMemory,
) -> Result<PushedBlob, RegistryError> {
    let push = BlobPush {
        repository: &repository.name,
        blob,
        mount_from,
        open: &|offset| open_at(bytes, offset),
        progress: &|_| {},
        memory,
    };
    client.push_blob(&repository.registry, &push)
}

/// Keeps the place of an upload, as a file would.
#[derive(Default)]
pub(crate) struct Kept(pub(crate) Mutex<Option<String>>);

impl UploadMemory for Kept {
    fn recall(&self) -> Option<String> {
        self.0.lock().unwrap().clone()
    }
    fn remember(&self, place: &str) {
        *self.0.lock().unwrap() = Some(place.to_owned());
    }
    fn forget(&self) {
        *self.0.lock().unwrap() = None;
    }
}

/// What a repository gives back under the digest of `bytes`.
pub(crate) fn stored(client: &RegistryClient, repository: &Repository, bytes: &[u8]) -> Vec<u8> {
    let mut got = Vec::new();
    client.fetch_blob(repository, &blob(bytes), &mut got, &|_| {}).unwrap();
    got
}

/// Error and causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(" <- ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
