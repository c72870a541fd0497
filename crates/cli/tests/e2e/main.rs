//! The program from end to end: what is built, what is in it, and what goes wrong.
//!
//! Most tests build, and so need root or user namespaces (`..._needs_userns`); some need more, and
//! say so in their names. A test whose need is not met fails. `ANYARCH_TEST_SKIP_WHAT=1` leaves out
//! the tests that need WHAT: `USERNS`, `ROOT`, `SKOPEO`, `PODMAN`,
//! `DOCKER`, `DOCKER_REGISTRY`.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub, reason = "tests")]
#![allow(
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a test that is left out says so, and figures are shown"
)]

mod bench;
mod cache;
mod clients;
mod contexts;
mod digests;
mod disk;
mod family;
mod faults;
mod hostile;
mod image;
mod inside;
mod killed;
mod language;
mod leaks;
mod memory;
mod mistakes;
mod mounts;
mod packages;
mod publish;
mod pulled;
mod release;
mod root;
mod serve;
mod signals;
mod single;
mod tags;
mod taken;
mod targets;
mod twins;
mod versions;
mod why;
