//! What can go wrong in an exchange, named by URL and cause.

use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

use crate::resolve::LookupFailed;

/// Why an exchange failed. URLs are shown without credentials and query.
#[derive(Debug, Error)]
pub enum HttpError {
    /// The text is not an absolute `http` or `https` URL.
    #[error("`{url}` is not a URL that can be requested: {reason}")]
    Url {
        /// What was given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A header name or value has characters that HTTP forbids.
    #[error("header `{name}` for {url} is not valid")]
    Header {
        /// What was requested.
        url: String,
        /// Name of the header.
        name: String,
    },
    /// The host name has no address.
    #[error("failed to look up `{host}` for {url}")]
    Dns {
        /// What was requested.
        url: String,
        /// The name.
        host: String,
        /// The resolver's answer.
        source: io::Error,
    },
    /// No connection came about.
    #[error("failed to connect for {url}")]
    Connect {
        /// What was requested.
        url: String,
        /// The cause.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The other side's certificate or protocol was not acceptable.
    #[error("failed to agree on TLS for {url}")]
    Tls {
        /// What was requested.
        url: String,
        /// The cause.
        source: rustls::Error,
    },
    /// Nothing came, or nothing was taken, for too long.
    #[error("gave up on {url} after {} s without progress while {operation}", after.as_secs())]
    Timeout {
        /// What was requested.
        url: String,
        /// What was going on: `connecting`, `waiting for the answer`, …
        operation: &'static str,
        /// The limit.
        after: Duration,
    },
    /// The connection broke in the middle of an exchange.
    #[error("connection was lost while {operation} {url}")]
    Interrupted {
        /// What was requested.
        url: String,
        /// `asking for`, `reading` or `sending to`.
        operation: &'static str,
        /// The cause.
        source: Box<dyn Error + Send + Sync>,
    },
    /// Too many redirections, or one from `https` to `http`.
    #[error("redirection from {url} was not followed")]
    Redirect {
        /// What was requested.
        url: String,
        /// The cause.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The answer's status is not one of success.
    #[error("{url} answered {status}{}", detail(excerpt))]
    Status {
        /// What was requested.
        url: String,
        /// The status code.
        status: u16,
        /// The beginning of the answer's text.
        excerpt: String,
    },
    /// The server sent another part than the one asked for.
    #[error("{url} was asked for bytes from {asked} on and sent `{got}`")]
    Range {
        /// What was requested.
        url: String,
        /// The offset.
        asked: u64,
        /// The `Content-Range` header.
        got: String,
    },
    /// The content to upload could not be read here.
    #[error("failed to read the content to send to {url}")]
    Source {
        /// Where it was to go.
        url: String,
        /// The cause.
        source: io::Error,
    },
    /// A file with certificates could not be used.
    #[error("failed to read certificates from {}: {reason}", path.display())]
    Certificates {
        /// The file or directory.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A proxy address could not be used.
    #[error("`{proxy}` is not a proxy address")]
    Proxy {
        /// What was given, without credentials.
        proxy: String,
        /// The cause.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The client could not be set up.
    #[error("failed to set up the HTTP client")]
    Setup {
        /// The cause.
        source: Box<dyn Error + Send + Sync>,
    },
}

fn detail(excerpt: &str) -> String {
    if excerpt.is_empty() { String::new() } else { format!(": {excerpt}") }
}

impl HttpError {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            HttpError::Tls { source: rustls::Error::InvalidCertificate(why), .. } => Some(match why {
                rustls::CertificateError::UnknownIssuer => {
                    "the certificate's issuer is not trusted; on a network that intercepts TLS, \
                     point SSL_CERT_FILE at a bundle that has the company's certificate authority"
                        .to_owned()
                }
                rustls::CertificateError::Expired
                | rustls::CertificateError::ExpiredContext { .. }
                | rustls::CertificateError::NotValidYet
                | rustls::CertificateError::NotValidYetContext { .. } => {
                    "check this machine's clock; if it is right, the server's certificate is out of date"
                        .to_owned()
                }
                _ => "the server's certificate does not fit; check the host name and any proxy".to_owned(),
            }),
            HttpError::Tls { source: rustls::Error::InvalidMessage(_), .. } =>
            {
                Some("the server may speak plain http on this port".to_owned())
            }
            HttpError::Dns { host, .. } => {
                Some(format!("check the spelling of `{host}`, the network, and the proxy settings"))
            }
            HttpError::Connect { .. } => {
                Some("check that the server is running and that no proxy or firewall is in the way".to_owned())
            }
            HttpError::Status { status: 407, .. } => {
                Some("the proxy wants credentials: give them in its URL".to_owned())
            }
            HttpError::Status { status: 429, .. } => {
                Some("the server limits how often it may be asked; log in or wait".to_owned())
            }
            HttpError::Certificates { .. } => {
                Some("the file must hold certificates in PEM form".to_owned())
            }
            _ => None,
        }
    }

    /// True where the object is not there (404 or 410).
    pub fn is_not_found(&self) -> bool {
        matches!(self, HttpError::Status { status: 404 | 410, .. })
    }

    /// True where trying again may help: nothing was decided, the exchange just did not finish.
    pub fn is_transient(&self) -> bool {
        match self {
            HttpError::Dns { .. }
            | HttpError::Connect { .. }
            | HttpError::Timeout { .. }
            | HttpError::Interrupted { .. } => true,
            HttpError::Status { status, .. } => crate::retry::is_transient_status(*status),
            _ => false,
        }
    }

    /// Finds the cause in what reqwest reports.
    pub(crate) fn classify(
        url: &str,
        operation: &'static str,
        connect_timeout: Duration,
        error: reqwest::Error,
    ) -> HttpError {
        let url = url.to_owned();
        let error = error.without_url();
        let mut cause: Option<&(dyn Error + 'static)> = Some(&error);
        while let Some(error) = cause {
            if let Some(failed) = find::<LookupFailed>(error) {
                let source = io::Error::new(failed.kind, failed.message.clone());
                return HttpError::Dns { url, host: failed.host.clone(), source };
            }
            if let Some(tls) = find::<rustls::Error>(error) {
                return HttpError::Tls { url, source: tls.clone() };
            }
            cause = error.source();
        }
        let source: Box<dyn Error + Send + Sync> = match (error.is_connect(), error.is_timeout()) {
            (true, true) => {
                let after = connect_timeout;
                return HttpError::Timeout { url, operation: "connecting", after };
            }
            (true, false) => return HttpError::Connect { url, source: Box::new(error) },
            _ => Box::new(error),
        };
        let redirect =
            source.downcast_ref::<reqwest::Error>().is_some_and(reqwest::Error::is_redirect);
        if redirect {
            HttpError::Redirect { url, source }
        } else {
            HttpError::Interrupted { url, operation, source }
        }
    }
}

/// `io::Error` hides the error it wraps from `source()`, so both are looked at.
fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    if let Some(found) = error.downcast_ref::<T>() {
        return Some(found);
    }
    let inner = error.downcast_ref::<io::Error>()?.get_ref()?;
    let inner: &(dyn Error + 'static) = inner;
    find::<T>(inner)
}
