//! A client that loses no time over retries.
#![allow(dead_code, reason = "each test file uses its part")]

use std::io::{Cursor, Read};
use std::time::Duration;

use anyarch_http::{Client, Config, RetryPolicy};
use anyarch_oci::{Descriptor, Platform, Tag};
use anyarch_registry::{Anonymous, Authenticator, RegistryClient};

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

/// Opens `bytes` each time it is called.
pub(crate) fn opener(bytes: &[u8]) -> impl Fn() -> std::io::Result<Box<dyn Read + Send>> {
    let bytes = bytes.to_vec();
    move || Ok(Box::new(Cursor::new(bytes.clone())) as Box<dyn Read + Send>)
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
