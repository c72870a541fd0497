//! Rules by which a test registry misbehaves.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use anyarch_oci::Digest;
use anyarch_registry::server::{ConnectionDropped, Handler};
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use futures_util::StreamExt;

/// What goes wrong with which request. By default the first that matches, once; an empty method or
/// path matches all.
#[derive(Clone, Debug)]
pub struct Fault {
    method: String,
    path: String,
    nth: usize,
    times: usize,
    action: Action,
}

#[derive(Clone, Debug)]
enum Action {
    Answer { status: u16, headers: Vec<(String, String)>, body: String },
    Drop { after: usize },
    CutOff { after: usize },
    LoseAnswer,
    LimitBody { most: u64, status: u16 },
    SetHeader { name: String, value: String },
    SetStatus(u16),
    Truncate { after: usize },
    Delay(Duration),
    WrongDigestHeader,
    CorruptBody,
    IgnoreRange,
    IgnoreMount,
    IgnoreCondition,
    Stall { after: usize, reached: Sender<()> },
}

impl Fault {
    fn new(method: &str, path: &str, action: Action) -> Fault {
        Fault { method: method.to_owned(), path: path.to_owned(), nth: 1, times: 1, action }
    }

    /// Answers with `status` to requests of `method` whose path contains `path`.
    pub fn answer(method: &str, path: &str, status: u16) -> Fault {
        let action = Action::Answer { status, headers: Vec::new(), body: String::new() };
        Fault::new(method, path, action)
    }

    /// Closes the connection after `after` bytes of the request's body, without an answer.
    pub fn drop_connection(method: &str, path: &str, after: usize) -> Fault {
        Fault::new(method, path, Action::Drop { after })
    }

    /// Lets the registry have the first `after` bytes of the request's body, and closes the
    /// connection without an answer.
    pub fn cut_off(method: &str, path: &str, after: usize) -> Fault {
        Fault::new(method, path, Action::CutOff { after })
    }

    /// Does what is asked, and closes the connection without an answer.
    pub fn lose_answer(method: &str, path: &str) -> Fault {
        Fault::new(method, path, Action::LoseAnswer)
    }

    /// Answers with `status` to every request whose body is announced with more than `most` bytes.
    pub fn limit_body(method: &str, path: &str, most: u64, status: u16) -> Fault {
        Fault::new(method, path, Action::LimitBody { most, status }).times(usize::MAX)
    }

    /// Answers as usual, with this header.
    pub fn set_header(method: &str, path: &str, name: &str, value: &str) -> Fault {
        let action = Action::SetHeader { name: name.to_owned(), value: value.to_owned() };
        Fault::new(method, path, action)
    }

    /// Answers as usual, with another status.
    pub fn set_status(method: &str, path: &str, status: u16) -> Fault {
        Fault::new(method, path, Action::SetStatus(status))
    }

    /// Closes the connection after `after` bytes of the answer's body.
    pub fn truncate(method: &str, path: &str, after: usize) -> Fault {
        Fault::new(method, path, Action::Truncate { after })
    }

    /// Answers late.
    pub fn delay(method: &str, path: &str, delay: Duration) -> Fault {
        Fault::new(method, path, Action::Delay(delay))
    }

    /// Announces another digest than that of the content.
    pub fn wrong_digest_header(method: &str, path: &str) -> Fault {
        Fault::new(method, path, Action::WrongDigestHeader)
    }

    /// Sends other content of the same length.
    pub fn corrupt_body(method: &str, path: &str) -> Fault {
        Fault::new(method, path, Action::CorruptBody)
    }

    /// Sends everything where a range was asked for.
    pub fn ignore_range(path: &str) -> Fault {
        Fault::new("GET", path, Action::IgnoreRange)
    }

    /// Opens an upload session where a mount was asked for.
    pub fn ignore_mount(path: &str) -> Fault {
        Fault::new("POST", path, Action::IgnoreMount)
    }

    /// Sets a tag that exists where it was to be set only if it is new.
    pub fn ignore_condition(path: &str) -> Fault {
        Fault::new("PUT", path, Action::IgnoreCondition)
    }

    /// Never answers; the receiver is told when such a request has come. Of a body with more bytes
    /// than `after` the registry gets these; a request with less does not reach it.
    pub fn stall(method: &str, path: &str, after: usize) -> (Fault, Receiver<()>) {
        let (reached, receiver) = channel();
        (Fault::new(method, path, Action::Stall { after, reached }), receiver)
    }

    /// The same from the `nth` matching request on (from 1).
    pub fn nth(mut self, nth: usize) -> Fault {
        self.nth = nth;
        self
    }

    /// The same for so many matching requests in a row.
    pub fn times(mut self, times: usize) -> Fault {
        self.times = times;
        self
    }

    /// The same answer with a header.
    pub fn header(mut self, name: &str, value: &str) -> Fault {
        if let Action::Answer { headers, .. } = &mut self.action {
            headers.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    /// The same answer with a body.
    pub fn body(mut self, text: &str) -> Fault {
        if let Action::Answer { body, .. } = &mut self.action {
            text.clone_into(body);
        }
        self
    }

    /// Whether a request is one of those meant, by its method and its path with the query.
    pub(crate) fn matches(&self, method: &str, target: &str) -> bool {
        (self.method.is_empty() || self.method == method) && target.contains(&self.path)
    }

    /// Whether it applies to the matching request with this number.
    pub(crate) fn applies(&self, seen: usize) -> bool {
        (self.nth..self.nth.saturating_add(self.times)).contains(&seen)
    }

    pub(crate) async fn apply(
        self,
        mut request: Request,
        inner: Handler,
    ) -> Result<Response, ConnectionDropped> {
        match self.action {
            Action::Answer { status, headers, body } => {
                take_in(request).await;
                let mut response = Response::new(Body::from(body));
                *response.status_mut() = StatusCode::from_u16(status).unwrap();
                for (name, value) in headers {
                    let name: HeaderName = name.parse().unwrap();
                    response.headers_mut().append(name, HeaderValue::from_str(&value).unwrap());
                }
                Ok(response)
            }
            Action::Drop { after } => {
                let mut content = request.into_body().into_data_stream();
                let mut seen = 0;
                while seen < after {
                    match content.next().await {
                        Some(Ok(chunk)) => seen += chunk.len(),
                        _ => break,
                    }
                }
                Err(ConnectionDropped)
            }
            Action::CutOff { after } => {
                drop(inner(cut(request, after)).await?);
                Err(ConnectionDropped)
            }
            Action::LoseAnswer => {
                drop(inner(request).await?);
                Err(ConnectionDropped)
            }
            Action::LimitBody { most, status } => {
                let length = announced_length(&request);
                if length.is_none_or(|length| length <= most) {
                    return inner(request).await;
                }
                take_in(request).await;
                let mut response = Response::new(Body::empty());
                *response.status_mut() = StatusCode::from_u16(status).unwrap();
                Ok(response)
            }
            Action::SetHeader { name, value } => {
                let mut response = inner(request).await?;
                let name: HeaderName = name.parse().unwrap();
                response.headers_mut().insert(name, HeaderValue::from_str(&value).unwrap());
                Ok(response)
            }
            Action::SetStatus(status) => {
                let mut response = inner(request).await?;
                *response.status_mut() = StatusCode::from_u16(status).unwrap();
                Ok(response)
            }
            Action::Truncate { after } => {
                let (parts, body) = inner(request).await?.into_parts();
                let whole = to_bytes(body, usize::MAX).await.unwrap();
                let first = whole.slice(..after.min(whole.len()));
                let pieces = futures_util::stream::unfold(Some(first), |piece| async move {
                    // The server writes out what it has only while it waits for more.
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    match piece {
                        Some(first) => Some((Ok(first), None)),
                        None => Some((Err(std::io::Error::other("cut off")), None)),
                    }
                });
                Ok(Response::from_parts(parts, Body::from_stream(pieces)))
            }
            Action::Delay(delay) => {
                tokio::time::sleep(delay).await;
                inner(request).await
            }
            Action::WrongDigestHeader => {
                let mut response = inner(request).await?;
                let wrong = Digest::sha256(b"something else").to_string();
                let value = HeaderValue::from_str(&wrong).unwrap();
                response.headers_mut().insert("docker-content-digest", value);
                Ok(response)
            }
            Action::CorruptBody => {
                let (parts, body) = inner(request).await?.into_parts();
                let mut bytes = to_bytes(body, usize::MAX).await.unwrap().to_vec();
                if let Some(byte) = bytes.last_mut() {
                    *byte ^= 1;
                }
                Ok(Response::from_parts(parts, Body::from(bytes)))
            }
            Action::IgnoreRange => {
                request.headers_mut().remove("range");
                inner(request).await
            }
            Action::IgnoreMount => {
                let path = request.uri().path().to_owned();
                *request.uri_mut() = path.parse().unwrap();
                inner(request).await
            }
            Action::IgnoreCondition => {
                request.headers_mut().remove("if-none-match");
                inner(request).await
            }
            Action::Stall { after, reached } => {
                if announced_length(&request).unwrap_or(0) > after as u64 {
                    drop(inner(cut(request, after)).await?);
                }
                // Whoever waited may have given up.
                reached.send(()).unwrap_or(());
                std::future::pending().await
            }
        }
    }
}

/// The request with a body that breaks off after so many bytes.
fn cut(request: Request, after: usize) -> Request {
    let (parts, body) = request.into_parts();
    let mut left = after;
    let first = body.into_data_stream().map(move |chunk| {
        let chunk: Bytes = chunk.map_err(std::io::Error::other)?;
        if left == 0 {
            return Err(std::io::Error::other("cut off"));
        }
        let part = chunk.slice(..left.min(chunk.len()));
        left -= part.len();
        Ok(part)
    });
    Request::from_parts(parts, Body::from_stream(first))
}

/// Reads what is refused. A client that is still sending when the connection closes may never see
/// the answer.
async fn take_in(request: Request) {
    let mut content = request.into_body().into_data_stream();
    while let Some(Ok(_)) = content.next().await {}
}

fn announced_length(request: &Request) -> Option<u64> {
    request.headers().get("content-length")?.to_str().ok()?.parse().ok()
}
