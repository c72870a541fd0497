//! What was answered: the head at once, the body as it is read.

use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::{Buf, Bytes};

use crate::HttpError;
use crate::client::Inner;
use crate::wait::wait;

/// Longest text of an error answer that is kept.
const EXCERPT: u64 = 600;

/// An answer, whatever its status.
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Where the answer came from after redirections, with its query.
    pub url: String,
    /// Header names in lower case, with their values in order.
    pub headers: Vec<(String, String)>,
    /// Position of the body's first byte in the whole content; above 0 only for a part (206).
    pub offset: u64,
    /// Length of the body in bytes, where announced.
    pub length: Option<u64>,
    /// The body.
    pub body: ResponseBody,
}

/// The body of an answer, read from the connection as it is asked for.
pub struct ResponseBody {
    pub(crate) response: Option<reqwest::Response>,
    pub(crate) current: Bytes,
    pub(crate) url: String,
    pub(crate) inner: Arc<Inner>,
}

impl Response {
    /// The first value of a header; `name` in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// How long the server asks to wait (`Retry-After`).
    pub fn retry_after(&self) -> Option<Duration> {
        crate::retry::retry_after(self.header("retry-after")?, SystemTime::now())
    }

    /// When the content was last changed (`Last-Modified`), where the server says so.
    pub fn last_modified(&self) -> Option<SystemTime> {
        httpdate::parse_http_date(self.header("last-modified")?.trim()).ok()
    }

    /// True for statuses 200 to 299.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The error that this answer amounts to, with the beginning of its text.
    pub fn into_error(self) -> HttpError {
        let url = self.body.url.clone();
        let status = self.status;
        let mut text = Vec::new();
        // The text only illustrates the status, so what could be read of it is enough.
        let read = self.body.take(EXCERPT).read_to_end(&mut text);
        if read.is_err() {
            text.clear();
        }
        let excerpt = String::from_utf8_lossy(&text)
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
            .replace(|c: char| c.is_control(), "");
        HttpError::Status { url, status, excerpt }
    }
}

impl ResponseBody {
    fn next_chunk(&mut self) -> Result<Option<Bytes>, HttpError> {
        let Some(response) = &mut self.response else { return Ok(None) };
        let idle: Duration = self.inner.config.idle_timeout;
        let chunk = {
            let _runtime = self.inner.handle.enter();
            wait(tokio::time::timeout(idle, response.chunk()))
        };
        match chunk {
            Ok(Ok(Some(chunk))) => Ok(Some(chunk)),
            Ok(Ok(None)) => {
                self.response = None;
                Ok(None)
            }
            Ok(Err(error)) => Err(HttpError::classify(
                &self.url,
                "reading",
                self.inner.config.connect_timeout,
                error,
            )),
            Err(_elapsed) => Err(HttpError::Timeout {
                url: self.url.clone(),
                operation: "reading the answer",
                after: idle,
            }),
        }
    }
}

impl Read for ResponseBody {
    /// Errors carry an [`HttpError`]; a connection that ends too early is `UnexpectedEof`.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() && !buffer.is_empty() {
            match self.next_chunk() {
                Ok(Some(chunk)) => self.current = chunk,
                Ok(None) => return Ok(0),
                Err(error) => {
                    let kind = match &error {
                        HttpError::Timeout { .. } => io::ErrorKind::TimedOut,
                        _ => io::ErrorKind::UnexpectedEof,
                    };
                    return Err(io::Error::new(kind, error));
                }
            }
        }
        let count = buffer.len().min(self.current.len());
        buffer[..count].copy_from_slice(&self.current[..count]);
        self.current.advance(count);
        Ok(count)
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response")
            .field("status", &self.status)
            // Without the query, which may hold a signature.
            .field("url", &self.body.url)
            .field("offset", &self.offset)
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseBody").field("url", &self.url).finish_non_exhaustive()
    }
}
