//! Blobs out of a registry: whether they are there, their bytes from any offset, and the whole
//! content verified, over as many connections as it takes.

use std::io::{self, Read, Write};

use anyarch_http::{HttpError, Method, ResponseBody};
use anyarch_oci::{Descriptor, Digest};

use super::error::{Failure, RegistryError};
use super::exchange::{RegistryClient, refused};
use super::host::Repository;
use super::token::Scopes;

/// How much is read at a time.
const CHUNK: usize = 128 * 1024;

/// A blob's bytes as they arrive, not verified.
pub struct PulledBlob {
    /// Position of the first byte in the blob: the offset asked for.
    pub offset: u64,
    body: io::Take<ResponseBody>,
}

impl Read for PulledBlob {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.body.read(buffer)
    }
}

impl RegistryClient {
    /// Whether a repository has a blob, of whatever length.
    pub fn blob_exists(
        &self,
        repository: &Repository,
        digest: &Digest,
    ) -> Result<bool, RegistryError> {
        let scopes = Scopes::of(&repository.name, "pull");
        let exists = self.head_blob(repository, digest, &scopes);
        let exists = exists.map(|length| length.is_some());
        exists.map_err(|failure| failure.during(format!("look for {digest} in {repository}")))
    }

    /// Whether a repository has a blob. One of another length than the descriptor's is an error.
    pub fn has_blob(
        &self,
        repository: &Repository,
        blob: &Descriptor,
    ) -> Result<bool, RegistryError> {
        let scopes = Scopes::of(&repository.name, "pull");
        match self.head_blob(repository, &blob.digest, &scopes) {
            Ok(None) => Ok(false),
            Ok(Some(Some(actual))) if actual != blob.size => {
                Err(Failure::Size { expected: blob.size, actual })
            }
            Ok(Some(_)) => Ok(true),
            Err(failure) => Err(failure),
        }
        .map_err(|failure| failure.during(format!("look for {} in {repository}", blob.digest)))
    }

    /// `Some` where the blob is there, with its announced length.
    pub(super) fn head_blob(
        &self,
        repository: &Repository,
        digest: &Digest,
        scopes: &Scopes,
    ) -> Result<Option<Option<u64>>, Failure> {
        let path = format!("/v2/{}/blobs/{digest}", repository.name);
        let url = self.url(&repository.registry, &path)?;
        let response = self.exchange(&repository.registry, scopes, Method::Head, &url, |r| r)?;
        match response.status {
            200 => Ok(Some(response.length)),
            404 => Ok(None),
            _ => Err(refused(Method::Head, response)),
        }
    }

    /// The content of a blob from byte `offset` on, not verified. Where the registry does not know
    /// ranges, the bytes before are read and dropped.
    pub fn pull_blob(
        &self,
        repository: &Repository,
        blob: &Descriptor,
        offset: u64,
    ) -> Result<PulledBlob, RegistryError> {
        self.open_blob_anywhere(repository, blob, offset).map_err(|failure| {
            failure.during(format!("pull blob {} from {repository}", blob.digest))
        })
    }

    pub(super) fn open_blob(
        &self,
        repository: &Repository,
        blob: &Descriptor,
        offset: u64,
    ) -> Result<PulledBlob, Failure> {
        let path = format!("/v2/{}/blobs/{}", repository.name, blob.digest);
        let url = self.url(&repository.registry, &path)?;
        let scopes = Scopes::of(&repository.name, "pull");
        let response =
            self.exchange(&repository.registry, &scopes, Method::Get, &url, |request| {
                if offset > 0 {
                    request.header("range", format!("bytes={offset}-"))
                } else {
                    request
                }
            })?;
        if !response.is_success() {
            return Err(refused(Method::Get, response));
        }
        if response.offset > offset {
            let what = format!("asked from {offset} on, it sent from {} on", response.offset);
            return Err(Failure::Protocol(what));
        }
        if let Some(length) = response.length
            && response.offset + length != blob.size
        {
            let actual = response.offset + length;
            return Err(Failure::Size { expected: blob.size, actual });
        }
        let (skip, left) = (offset - response.offset, blob.size.saturating_sub(offset));
        let mut body = response.body;
        let skipped =
            io::copy(&mut (&mut body).take(skip), &mut io::sink()).map_err(read_failure)?;
        if skipped < skip {
            return Err(Failure::Size { expected: blob.size, actual: skipped });
        }
        // One byte more than announced is let through, so that too long content shows.
        Ok(PulledBlob { offset, body: body.take(left.saturating_add(1)) })
    }

    /// Writes a blob to `out`, verified against its digest and size. Where a connection is lost the
    /// rest is asked for by range; `progress` is told the bytes written so far. What was written is
    /// worthless when this fails.
    pub fn fetch_blob(
        &self,
        repository: &Repository,
        blob: &Descriptor,
        out: &mut dyn Write,
        progress: &dyn Fn(u64),
    ) -> Result<(), RegistryError> {
        let fetch = || {
            let http = self.http(&repository.registry)?;
            let mut hasher = blob.digest.hasher();
            let (mut done, mut failed, mut attempt) = (0, None::<Failure>, 1);
            loop {
                if let Some(failure) = failed.take()
                    && !http.pause(attempt - 1, &failure, None, &blob.digest.to_string())
                {
                    return Err(failure);
                }
                let before = done;
                let mut content = self.open_blob_anywhere(repository, blob, done)?;
                let mut buffer = vec![0; CHUNK];
                loop {
                    let count = match content.read(&mut buffer) {
                        Ok(0) if done < blob.size => {
                            failed = Some(Failure::Size { expected: blob.size, actual: done });
                            break;
                        }
                        Ok(0) => break,
                        Ok(count) => count,
                        Err(error) => {
                            failed = Some(read_failure(error));
                            break;
                        }
                    };
                    done += count as u64;
                    if done > blob.size {
                        return Err(Failure::Size { expected: blob.size, actual: done });
                    }
                    hasher.update(&buffer[..count]);
                    out.write_all(&buffer[..count])
                        .map_err(|source| Failure::Local { operation: "write", source })?;
                    progress(done);
                }
                if failed.is_none() {
                    break;
                }
                // Attempts are counted anew as long as something arrives.
                attempt = if done > before { 2 } else { attempt + 1 };
            }
            let actual = hasher.finish();
            if actual != blob.digest {
                return Err(Failure::Mismatch { expected: blob.digest.clone(), actual });
            }
            Ok(())
        };
        let mut fetch = fetch;
        fetch().map_err(|failure: Failure| {
            failure.during(format!("pull blob {} from {repository}", blob.digest))
        })
    }
}

/// The HTTP failure that a body's read error carries.
pub(super) fn read_failure(error: io::Error) -> Failure {
    match error.downcast::<HttpError>() {
        Ok(error) => Failure::Http(error),
        Err(source) => Failure::Local { operation: "read", source },
    }
}
