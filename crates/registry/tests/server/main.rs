//! The embedded server, spoken to request by request; a test for each rule of the specification.
#![allow(clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;

mod accounts;
mod ask;
mod blobs;
mod conditions;
mod lists;
mod manifests;
mod patience;
mod referrers;
mod restarts;
mod serving;
mod tls;
mod together;
mod uploads;
