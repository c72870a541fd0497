//! What is asked for.

use std::io::{self, Read};

/// Opens content from its start; called again when a transfer is repeated.
pub type Open<'a> = &'a dyn Fn() -> io::Result<Box<dyn Read + Send>>;

/// Request methods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Read.
    Get,
    /// Read the head only.
    Head,
    /// Create or do.
    Post,
    /// Store.
    Put,
    /// Append or change.
    Patch,
    /// Remove.
    Delete,
}

impl Method {
    /// The method as it stands in a request line.
    pub fn name(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Head => "HEAD",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Patch => "PATCH",
            Method::Delete => "DELETE",
        }
    }

    pub(crate) fn to_reqwest(self) -> reqwest::Method {
        match self {
            Method::Get => reqwest::Method::GET,
            Method::Head => reqwest::Method::HEAD,
            Method::Post => reqwest::Method::POST,
            Method::Put => reqwest::Method::PUT,
            Method::Patch => reqwest::Method::PATCH,
            Method::Delete => reqwest::Method::DELETE,
        }
    }
}

/// What a request carries.
pub enum Body<'a> {
    /// Nothing.
    Empty,
    /// A few bytes.
    Bytes(Vec<u8>),
    /// Content that is read while it is sent.
    Stream {
        /// Its exact length in bytes.
        length: u64,
        /// Opens it.
        open: Open<'a>,
        /// Told the bytes handed over so far.
        progress: &'a dyn Fn(u64),
    },
}

/// One exchange to carry out.
pub struct Request<'a> {
    pub(crate) method: Method,
    pub(crate) url: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Body<'a>,
    pub(crate) retry: bool,
}

impl<'a> Request<'a> {
    /// A request without headers and body.
    pub fn new(method: Method, url: impl Into<String>) -> Request<'a> {
        Request { method, url: url.into(), headers: Vec::new(), body: Body::Empty, retry: true }
    }

    /// The same with one more header.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Request<'a> {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// The same with a body. Its length is announced.
    pub fn body(mut self, body: Body<'a>) -> Request<'a> {
        self.body = body;
        self
    }

    /// The same without repetition after a failure, for exchanges that only their caller can begin
    /// anew.
    pub fn without_retry(mut self) -> Request<'a> {
        self.retry = false;
        self
    }
}
