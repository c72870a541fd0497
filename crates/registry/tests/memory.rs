//! Content streams: a blob far larger than the memory that may be used, pushed and pulled.
//!
//! The only test of its file, so that the process's peak is its own.
#![allow(clippy::unwrap_used)]

mod common;

use std::io::{self, Read};

use anyarch_oci::{BlobPush, Descriptor, Hasher, NoMemory, PushedBlob};
use anyarch_testkit::TestRegistry;
use common::client;

const SIZE: u64 = 200 << 20;
const LIMIT: u64 = 64 << 20;

/// Peak resident memory of this process in bytes.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[test]
fn large_blob_takes_little_memory() {
    let open = || Ok(Box::new(io::repeat(7).take(SIZE)) as Box<dyn Read + Send>);
    let mut hasher = Hasher::new();
    io::copy(&mut open().unwrap(), &mut hasher).unwrap();
    let blob = Descriptor::new("application/octet-stream", hasher.finish(), SIZE);
    // Client and server are both in this process.
    let registry = TestRegistry::start();
    let repository = registry.repository("app");
    let push = BlobPush {
        repository: &repository.name,
        blob: &blob,
        mount_from: &[],
        open: &|_| open(),
        progress: &|_| {},
        memory: &NoMemory,
    };
    let pushed = client().push_blob(&repository.registry, &push).unwrap();
    assert_eq!(pushed, PushedBlob::Uploaded(SIZE));
    client().fetch_blob(&repository, &blob, &mut io::sink(), &|_| {}).unwrap();
    assert!(peak() < LIMIT, "peak memory was {} MiB", peak() >> 20);
}
