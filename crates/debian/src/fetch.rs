//! What the caller provides: a way to fetch URLs and a store for content, and reading through them.
//!
//! Bodies are read to their declared end: a connection that breaks is taken up again where it stopped.

use std::fs::File;
use std::io::{self, Read, Write};
use std::time::Duration;

use anyarch_oci::{Digest, Hasher};

use crate::error::DebianError;

/// Fetches a URL. Implementations follow redirects and bring their own time limits; they also repeat
/// requests that may succeed the next time, so that here only bodies that end early are taken up again.
pub trait Fetch: Sync {
    /// The body of `url` from byte `offset` on. A server without ranges may answer from 0; [`Fetched::offset`]
    /// says which it was.
    fn get(&self, url: &str, offset: u64) -> Result<Fetched, FetchError>;

    /// The body of `url` unless it is still what the server gave out with `known`. One that cannot
    /// ask for less asks for everything.
    fn get_if_changed(&self, url: &str, known: Option<&Validator>) -> Result<Changed, FetchError> {
        let _ = known;
        Ok(Changed::To(self.get(url, 0)?, None))
    }
}

/// What a server calls one state of a content (RFC 9110, section 8.8).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Validator {
    /// `ETag`
    Tag(String),
    /// `Last-Modified`
    Time(String),
}

/// An answer to [`Fetch::get_if_changed`].
pub enum Changed {
    /// It is what it was.
    No,
    /// It is this, and what the server calls it.
    To(Fetched, Option<Validator>),
}

/// An answer to [`Fetch::get`].
pub struct Fetched {
    /// The bytes from `offset` on.
    pub body: Box<dyn Read + Send>,
    /// Length of the body that follows, when the server said.
    pub length: Option<u64>,
    /// Where the body starts.
    pub offset: u64,
}

/// Why a URL could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// There is nothing at that address (404, 410).
    #[error("not found")]
    NotFound,
    /// Everything else; the caller's cause.
    #[error("the request failed")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Content by digest, kept by the caller.
pub trait Packages: Sync {
    /// The content, when it is there; its digest has been verified on the way in.
    fn open(&self, digest: &Digest) -> Option<File>;

    /// Keeps what `write` writes under `digest`; nothing is kept when `write` fails. Opens it for reading.
    fn ingest(
        &self,
        digest: &Digest,
        size: u64,
        write: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<File>;
}

/// How often a broken connection is taken up again without a single new byte.
const ATTEMPTS: u32 = 5;
/// Bytes read at a time.
const BLOCK: usize = 64 << 10;

/// Fetches a small file whose digest is not known yet, at most `limit` bytes.
pub(crate) fn fetch_small(
    fetch: &dyn Fetch,
    url: &str,
    limit: u64,
) -> Result<Vec<u8>, DebianError> {
    let mut bytes = Vec::new();
    let mut attempt = 0;
    loop {
        match fetch.get(url, 0) {
            Err(FetchError::NotFound) => return Err(DebianError::NotFound { url: url.to_owned() }),
            Err(source) => return Err(DebianError::Fetch { url: url.to_owned(), source }),
            Ok(fetched) => {
                let expected = fetched.length;
                bytes.clear();
                let read = fetched.body.take(limit + 1).read_to_end(&mut bytes);
                let got = bytes.len() as u64;
                if got > limit {
                    return Err(DebianError::TooLarge { url: url.to_owned(), limit });
                }
                match (read, expected) {
                    (Ok(_), None) => return Ok(bytes),
                    (Ok(_), Some(expected)) if expected == got => return Ok(bytes),
                    (read, expected) if attempt + 1 >= ATTEMPTS => {
                        return Err(DebianError::Truncated {
                            url: url.to_owned(),
                            got,
                            expected: expected.unwrap_or(0),
                            source: read.err(),
                        });
                    }
                    _ => {}
                }
            }
        }
        attempt += 1;
        pause(attempt);
    }
}

/// Writes the body of `url` to `out` while checking it against `digest` and `size`.
///
/// `progress` gets the number of bytes of every block written.
pub(crate) fn fetch_verified(
    fetch: &dyn Fetch,
    url: &str,
    digest: &Digest,
    size: u64,
    out: &mut dyn Write,
    progress: &dyn Fn(u64),
) -> Result<(), DebianError> {
    let mut hasher: Hasher = digest.hasher();
    let (mut done, mut fruitless) = (0u64, 0);
    let mut buffer = vec![0; BLOCK];
    while done < size || size == 0 {
        let before = done;
        let cause = match fetch.get(url, done) {
            Err(FetchError::NotFound) => return Err(DebianError::NotFound { url: url.to_owned() }),
            Err(source) => return Err(DebianError::Fetch { url: url.to_owned(), source }),
            Ok(mut fetched) => {
                let mut skip = done.saturating_sub(fetched.offset);
                if fetched.offset > done {
                    Failure::Fetch(FetchError::Failed(
                        "the server skipped a part of the file".into(),
                    ))
                } else {
                    loop {
                        match fetched.body.read(&mut buffer) {
                            Ok(0) => break Failure::Ended(None),
                            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                            Err(e) => break Failure::Ended(Some(e)),
                            Ok(n) => {
                                let known = usize::try_from(skip).unwrap_or(usize::MAX).min(n);
                                skip -= known as u64;
                                let block = buffer.get(known..n).unwrap_or(&[]);
                                done += block.len() as u64;
                                if done > size {
                                    let limit = size;
                                    return Err(DebianError::TooLarge {
                                        url: url.to_owned(),
                                        limit,
                                    });
                                }
                                hasher.update(block);
                                out.write_all(block).map_err(|source| DebianError::Store {
                                    digest: digest.clone(),
                                    source,
                                })?;
                                progress(block.len() as u64);
                            }
                        }
                    }
                }
            }
        };
        if done >= size {
            break;
        }
        fruitless = if done > before { 0 } else { fruitless + 1 };
        if fruitless >= ATTEMPTS {
            let url = url.to_owned();
            return Err(match cause {
                Failure::Fetch(source) => DebianError::Fetch { url, source },
                Failure::Ended(source) => {
                    DebianError::Truncated { url, got: done, expected: size, source }
                }
            });
        }
        pause(fruitless);
    }
    let actual = hasher.finish();
    if actual == *digest {
        Ok(())
    } else {
        Err(DebianError::Digest { url: url.to_owned(), expected: digest.clone(), actual })
    }
}

/// Why one connection gave no more bytes.
enum Failure {
    Fetch(FetchError),
    Ended(Option<io::Error>),
}

/// Waits a little longer after every fruitless attempt.
fn pause(attempt: u32) {
    std::thread::sleep(Duration::from_millis(50 << attempt.min(6)));
}

/// Content by digest: from the store, else fetched from the first of `urls` that has it.
pub(crate) fn obtain(
    fetch: &dyn Fetch,
    packages: &dyn Packages,
    urls: &[String],
    digest: &Digest,
    size: u64,
    progress: &dyn Fn(u64),
) -> Result<File, DebianError> {
    if let Some(file) = packages.open(digest) {
        return Ok(file);
    }
    let mut last = None;
    for url in urls {
        let mut failure = None;
        let result = packages.ingest(digest, size, &mut |out| {
            fetch_verified(fetch, url, digest, size, out, progress).map_err(|error| {
                let message = error.to_string();
                failure = Some(error);
                io::Error::other(message)
            })
        });
        match (result, failure) {
            (_, Some(error @ DebianError::NotFound { .. })) => last = Some(error),
            (_, Some(error)) => return Err(error),
            (Ok(file), None) => return Ok(file),
            (Err(source), None) => {
                return Err(DebianError::Store { digest: digest.clone(), source });
            }
        }
    }
    Err(last.unwrap_or_else(|| DebianError::NotFound { url: digest.to_string() }))
}
