//! Answers, and the specification's errors.

use std::fmt::Display;
use std::io::ErrorKind;

use anyarch_store::StoreError;
use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use serde::Serialize;

/// `Docker-Content-Digest`.
pub(super) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// A refusal (distribution-spec, "Error Codes").
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    code: &'static str,
    message: String,
    headers: Vec<(HeaderName, String)>,
}

/// What handlers give back.
pub(super) type Outcome = Result<Response, Refusal>;

impl Refusal {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Display) -> Refusal {
        Refusal { status, code, message: message.to_string(), headers: Vec::new() }
    }

    pub(super) fn bad(code: &'static str, message: impl Display) -> Refusal {
        Refusal::new(StatusCode::BAD_REQUEST, code, message)
    }

    pub(super) fn unknown(code: &'static str, message: impl Display) -> Refusal {
        Refusal::new(StatusCode::NOT_FOUND, code, message)
    }

    pub(super) fn with(mut self, name: HeaderName, value: impl Display) -> Refusal {
        self.headers.push((name, value.to_string()));
        self
    }

    pub(super) fn into_response(self) -> Response {
        #[derive(Serialize)]
        struct Errors<'a> {
            errors: [Entry<'a>; 1],
        }
        #[derive(Serialize)]
        struct Entry<'a> {
            code: &'a str,
            message: &'a str,
        }
        let entry = Entry { code: self.code, message: &self.message };
        let mut reply = Reply::new(self.status).header(header::CONTENT_TYPE, "application/json");
        for (name, value) in self.headers {
            reply = reply.header(name, value);
        }
        // Two strings always serialise.
        reply.bytes(serde_json::to_vec(&Errors { errors: [entry] }).unwrap_or_default())
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Refusal {
        match &error {
            StoreError::Mismatch { .. } => Refusal::bad("DIGEST_INVALID", error),
            StoreError::Missing(_) => Refusal::unknown("BLOB_UNKNOWN", error),
            StoreError::Io { source, .. }
                if matches!(source.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) =>
            {
                Refusal::new(StatusCode::INSUFFICIENT_STORAGE, "UNKNOWN", error)
            }
            _ => {
                let cause = std::error::Error::source(&error);
                let cause = cause.map_or_else(String::new, |cause| format!(": {cause}"));
                Refusal::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "UNKNOWN",
                    format!("{error}{cause}"),
                )
            }
        }
    }
}

/// An answer in the making.
pub(super) struct Reply {
    response: Response,
}

impl Reply {
    pub(super) fn new(status: StatusCode) -> Reply {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = status;
        Reply { response }
            .header(HeaderName::from_static("docker-distribution-api-version"), "registry/2.0")
    }

    /// Adds a header; values are our own words, digests, names and numbers.
    pub(super) fn header(mut self, name: HeaderName, value: impl Display) -> Reply {
        if let Ok(value) = HeaderValue::from_str(&value.to_string()) {
            self.response.headers_mut().insert(name, value);
        }
        self
    }

    pub(super) fn body(mut self, body: Body) -> Response {
        *self.response.body_mut() = body;
        self.response
    }

    pub(super) fn bytes(self, bytes: Vec<u8>) -> Response {
        let length = bytes.len();
        self.header(header::CONTENT_LENGTH, length).body(Body::from(bytes))
    }

    pub(super) fn json(self, value: &impl Serialize) -> Outcome {
        let bytes = serde_json::to_vec(value)
            .map_err(|error| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "UNKNOWN", error))?;
        Ok(self.header(header::CONTENT_TYPE, "application/json").bytes(bytes))
    }

    pub(super) fn empty(self) -> Response {
        self.response
    }
}
