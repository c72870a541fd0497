//! The packages of a resolution into the store: several at once, resumed, checked while they stream.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::error::DebianError;
use crate::fetch::{Fetch, Packages, obtain};
use crate::resolution::{Progress, Resolution, Selected};
use crate::source::Source;

/// Fetches what the store does not have yet, `parallel` packages at a time, largest first.
///
/// `sources` are those of the request that was resolved, in the same order. A connection that breaks is taken
/// up where it stopped; the first error stops the rest. What is complete stays in the store.
pub fn download(
    resolution: &Resolution,
    sources: &[Source],
    fetch: &dyn Fetch,
    packages: &dyn Packages,
    parallel: usize,
    on: &(dyn Fn(Progress) + Sync),
) -> Result<(), DebianError> {
    let mut missing: Vec<(&Selected, String)> = Vec::new();
    for package in &resolution.packages {
        if packages.open(&package.sha256).is_none() {
            missing.push((package, url(package, resolution, sources)?));
        }
    }
    missing.sort_by(|a, b| b.0.size.cmp(&a.0.size).then_with(|| a.0.name.cmp(&b.0.name)));
    let bytes = missing.iter().map(|(package, _)| package.size).sum();
    on(Progress::Downloading { packages: missing.len(), bytes });
    let (next, stop, failure) = (AtomicUsize::new(0), AtomicBool::new(false), Mutex::new(None));
    std::thread::scope(|scope| {
        for _ in 0..parallel.clamp(1, 64).min(missing.len()) {
            scope.spawn(|| {
                while let Some((package, url)) = missing.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let urls = std::slice::from_ref(url);
                    let bytes = |n| on(Progress::Bytes(n));
                    match obtain(fetch, packages, urls, &package.sha256, package.size, &bytes) {
                        Ok(_) => on(Progress::Downloaded { package: package.name.clone() }),
                        Err(error) => {
                            stop.store(true, Ordering::Relaxed);
                            let mut first = failure.lock().unwrap_or_else(|e| e.into_inner());
                            first.get_or_insert(error);
                        }
                    }
                }
            });
        }
    });
    failure.into_inner().unwrap_or_else(|e| e.into_inner()).map_or(Ok(()), Err)
}

/// Where a package is: its file below the base of the source whose suite the index was.
fn url(
    package: &Selected,
    resolution: &Resolution,
    sources: &[Source],
) -> Result<String, DebianError> {
    let pinned = resolution.indexes.get(package.index).map(|index| &index.suite);
    let source = sources.get(package.index).filter(|source| Some(&source.suite) == pinned);
    let other = || sources.iter().find(|source| Some(&source.suite) == pinned);
    let source = source.or_else(other).ok_or_else(|| DebianError::NoSuchSource {
        package: package.name.clone(),
        index: package.index,
    })?;
    Ok(format!("{}/{}", source.uri, encode(&package.filename)))
}

/// Percent-encodes what a path in a URL cannot hold as it is; package files have `~`, `+` and `:`.
fn encode(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"/-._~+:".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
