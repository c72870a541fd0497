//! The HTTP client as the source of Debian packages.

use anyarch_debian::{Changed, Fetch, FetchError, Fetched, Validator};
use anyarch_http::{Client, HttpError, Response};

/// Fetches through a client.
pub(crate) struct HttpFetch(pub(crate) Client);

impl Fetch for HttpFetch {
    fn get(&self, url: &str, offset: u64) -> Result<Fetched, FetchError> {
        self.0.get(url, offset, &[]).map(fetched).map_err(failure)
    }

    fn get_if_changed(&self, url: &str, known: Option<&Validator>) -> Result<Changed, FetchError> {
        let header = known.map(|known| match known {
            Validator::Tag(tag) => ("if-none-match", tag.as_str()),
            Validator::Time(time) => ("if-modified-since", time.as_str()),
        });
        match self.0.get(url, 0, header.as_slice()) {
            Ok(response) => {
                let named = |name| response.header(name).map(str::to_owned);
                let time = || named("last-modified").map(Validator::Time);
                let validator = named("etag").map(Validator::Tag).or_else(time);
                Ok(Changed::To(fetched(response), validator))
            }
            Err(HttpError::Status { status: 304, .. }) if known.is_some() => Ok(Changed::No),
            Err(error) => Err(failure(error)),
        }
    }
}

fn fetched(response: Response) -> Fetched {
    Fetched { length: response.length, offset: response.offset, body: Box::new(response.body) }
}

fn failure(error: HttpError) -> FetchError {
    match error {
        HttpError::Status { status: 404 | 410, .. } => FetchError::NotFound,
        error => FetchError::Failed(Box::new(error)),
    }
}
