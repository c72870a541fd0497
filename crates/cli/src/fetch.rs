//! The HTTP client as the source of Debian packages.

use anyarch_debian::{Fetch, FetchError, Fetched};
use anyarch_http::{Client, HttpError};

/// Fetches through a client.
pub(crate) struct HttpFetch(pub(crate) Client);

impl Fetch for HttpFetch {
    fn get(&self, url: &str, offset: u64) -> Result<Fetched, FetchError> {
        match self.0.get(url, offset, &[]) {
            Ok(response) => Ok(Fetched {
                length: response.length,
                offset: response.offset,
                body: Box::new(response.body),
            }),
            Err(HttpError::Status { status: 404 | 410, .. }) => Err(FetchError::NotFound),
            Err(error) => Err(FetchError::Failed(Box::new(error))),
        }
    }
}
