//! One configured HTTP client for everything that downloads or uploads.
//!
//! Turns a [`Request`] into a [`Response`] whose body is read as it arrives. Trust anchors, proxies,
//! timeouts, retries and the user agent are decided once, in [`Config`]; a tokio runtime runs
//! behind blocking calls and is never seen.
//!
//! Depends on reqwest and rustls (with ring). Must never know the environment (whoever builds the
//! `Config` reads it), registries, archives or what the bytes mean.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod client;
mod config;
mod error;
mod request;
mod resolve;
mod response;
mod retry;
mod trust;
mod upload;
mod wait;

pub use client::Client;
pub use config::{Config, OnRetry, Proxies, RetryEvent, RetryPolicy, Trust};
pub use error::HttpError;
pub use request::{Body, Method, Open, Request};
pub use response::{Response, ResponseBody};
