//! Blobs into a registry (distribution-spec, "Pushing Blobs"): nothing where it is there, a mount
//! where another repository has it, else one streaming PUT.
//!
//! Chunked uploads are left out: registries disagree about them, and all take one PUT.

use std::io::{self, Read};

use anyarch_http::{Body, Method, Response};
use anyarch_oci::{Descriptor, PushedBlob, RepositoryName};
use url::Url;

use super::error::{Failure, RegistryError};
use super::exchange::{RegistryClient, refused};
use super::host::Repository;
use super::token::Scopes;

struct Push<'a> {
    repository: &'a Repository,
    blob: &'a Descriptor,
    mount_from: Option<&'a RepositoryName>,
    open: &'a dyn Fn() -> io::Result<Box<dyn Read + Send>>,
    progress: &'a dyn Fn(u64),
}

impl RegistryClient {
    /// Makes a blob be in a repository. `mount_from` names a repository of the same registry that
    /// has it, where the caller knows one. An upload that breaks off begins anew, with `open` called
    /// again; `progress` is told the bytes sent so far in the current try.
    pub fn push_blob(
        &self,
        repository: &Repository,
        blob: &Descriptor,
        open: &dyn Fn() -> io::Result<Box<dyn Read + Send>>,
        mount_from: Option<&RepositoryName>,
        progress: &dyn Fn(u64),
    ) -> Result<PushedBlob, RegistryError> {
        let push = Push { repository, blob, mount_from, open, progress };
        let (mut attempt, mut begun) = (1, false);
        loop {
            let failure = match self.push_blob_once(&push, &mut begun) {
                Ok(pushed) => return Ok(pushed),
                Err(failure) => failure,
            };
            let asked = match &failure {
                Failure::Answer { retry_after, .. } => *retry_after,
                _ => None,
            };
            let shown = format!("{repository}@{}", blob.digest);
            // Requests before an upload were repeated already: a registry that has not taken a
            // single one of them is not there.
            if !begun
                || !failure.may_restart()
                || !self.http.pause(attempt, &failure, asked, &shown)
            {
                return Err(failure.during(format!("push blob {} to {repository}", blob.digest)));
            }
            attempt += 1;
        }
    }

    /// One attempt; `begun` is set once the registry has opened an upload session.
    fn push_blob_once(&self, push: &Push<'_>, begun: &mut bool) -> Result<PushedBlob, Failure> {
        let Push { repository, blob, .. } = push;
        let scopes = Scopes::of(&repository.name, "pull,push");
        if let Some(length) = self.head_blob(repository, &blob.digest, &scopes)? {
            return match length {
                Some(actual) if actual != blob.size => {
                    Err(Failure::Size { expected: blob.size, actual })
                }
                _ => Ok(PushedBlob::Existed),
            };
        }
        let response = self.begin_upload(push, &scopes)?;
        match response.status {
            201 => return Ok(PushedBlob::Mounted),
            202 => {}
            _ => return Err(refused(Method::Post, response)),
        }
        *begun = true;
        let mut session = location(&response)?;
        session.query_pairs_mut().append_pair("digest", &blob.digest.to_string());
        let response =
            self.exchange(&repository.registry, &scopes, Method::Put, &session, |request| {
                let body =
                    Body::Stream { length: blob.size, open: push.open, progress: push.progress };
                request
                    .header("content-type", "application/octet-stream")
                    .body(body)
                    .without_retry()
            })?;
        match response.status {
            201 | 204 => Ok(PushedBlob::Uploaded(blob.size)),
            _ => Err(refused(Method::Put, response)),
        }
    }

    /// Asks for a mount where there is something to mount from, else for an upload session. A
    /// registry that does not mount opens a session in the same answer.
    fn begin_upload(&self, push: &Push<'_>, scopes: &Scopes) -> Result<Response, Failure> {
        let Repository { registry, name } = push.repository;
        let plain = self.url(registry, &format!("/v2/{name}/blobs/uploads/"))?;
        if let Some(from) = push.mount_from {
            let mut url = plain.clone();
            url.query_pairs_mut()
                .append_pair("mount", &push.blob.digest.to_string())
                .append_pair("from", from.as_str());
            let both = scopes.clone().and(from, "pull");
            match self.exchange(registry, &both, Method::Post, &url, |r| r) {
                // The other repository may be closed to us; this one need not be.
                Ok(response) if response.status == 403 => {}
                Err(Failure::Unauthorized { .. }) => {}
                outcome => return outcome,
            }
        }
        self.exchange(registry, scopes, Method::Post, &plain, |r| r)
    }
}

/// Where an upload goes on.
fn location(response: &Response) -> Result<Url, Failure> {
    let value = response
        .header("location")
        .ok_or_else(|| Failure::Protocol("an upload session has no Location".to_owned()))?;
    continue_at(&response.url, value).map_err(|reason| {
        Failure::Protocol(format!("Location `{value}` of an upload session: {reason}"))
    })
}

/// Reads a location, which may be relative to the request. A registry behind a proxy may take itself
/// to be reached without TLS; where we reached it with TLS, we go on with TLS.
fn continue_at(request: &str, location: &str) -> Result<Url, String> {
    let base = Url::parse(request).map_err(|error| error.to_string())?;
    let mut url = base.join(location).map_err(|error| error.to_string())?;
    if base.scheme() == "https" && url.scheme() == "http" {
        let moved = base.host() != url.host()
            || url.set_scheme("https").is_err()
            || url.set_port(base.port()).is_err();
        if moved {
            return Err("it leads from https to http".to_owned());
        }
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::continue_at;

    #[test]
    fn uploads_go_on_over_tls() {
        let at = |request, location| continue_at(request, location).map(String::from);
        let begun = "https://r.example:444/v2/a/blobs/uploads/";
        assert_eq!(at(begun, "/u?s=1").unwrap(), "https://r.example:444/u?s=1");
        assert_eq!(at(begun, "http://r.example/u").unwrap(), "https://r.example:444/u");
        assert_eq!(at(begun, "https://other.example/u").unwrap(), "https://other.example/u");
        assert!(at(begun, "http://other.example/u").is_err());
        assert_eq!(at("http://localhost/v2/", "http://o.example/u").unwrap(), "http://o.example/u");
    }
}
