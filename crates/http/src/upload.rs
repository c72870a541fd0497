//! Sends a body that is read while it is sent.
//!
//! The calling thread reads the content and hands it to the connection through a short queue, so a
//! body of any length takes a few hundred kilobytes, and `progress` is called on the thread that
//! gave it.

use std::io::{self, Read};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{Either, select};
use tokio::sync::mpsc;

use crate::HttpError;
use crate::client::Inner;
use crate::request::Open;
use crate::wait::wait;

/// How much is read at a time.
const CHUNK: usize = 128 * 1024;
/// How many pieces may wait for the connection.
const QUEUE: usize = 4;

pub(crate) struct Upload<'a> {
    pub(crate) url: &'a str,
    pub(crate) length: u64,
    pub(crate) open: Open<'a>,
    pub(crate) progress: &'a dyn Fn(u64),
}

impl Upload<'_> {
    /// Sends `builder` with the content as its body and gives back the head of the answer, which
    /// may come before all content is sent.
    pub(crate) fn send(
        &self,
        inner: &Inner,
        builder: reqwest::RequestBuilder,
    ) -> Result<reqwest::Response, HttpError> {
        let source_error = |source| HttpError::Source { url: self.url.to_owned(), source };
        let mut content = (self.open)().map_err(source_error)?;
        let (sender, mut receiver) = mpsc::channel::<io::Result<Bytes>>(QUEUE);
        let stream = futures_util::stream::poll_fn(move |context| receiver.poll_recv(context));
        let builder = builder
            .header(reqwest::header::CONTENT_LENGTH, self.length)
            .body(reqwest::Body::wrap_stream(stream));
        let _runtime = inner.handle.enter();
        let mut answer = inner.handle.spawn(builder.send());

        let mut sent = 0;
        while sent < self.length {
            let chunk = match read_chunk(&mut content, self.length - sent) {
                Ok(chunk) => chunk,
                Err(source) => {
                    answer.abort();
                    return Err(source_error(source));
                }
            };
            let size = chunk.len() as u64;
            let handover = std::pin::pin!(sender.send(Ok(chunk)));
            match wait(tokio::time::timeout(
                inner.config.idle_timeout,
                select(handover, &mut answer),
            )) {
                Ok(Either::Left((Ok(()), _))) => {
                    sent += size;
                    (self.progress)(sent);
                }
                // The body is no longer wanted; the answer says why.
                Ok(Either::Left((Err(_closed), _))) => break,
                Ok(Either::Right((answer, _))) => return self.outcome(inner, answer),
                Err(_elapsed) => {
                    answer.abort();
                    return Err(self.timeout("sending", inner.config.idle_timeout));
                }
            }
        }
        drop(sender);
        let limit = inner.config.upload_answer_timeout;
        match wait(tokio::time::timeout(limit, &mut answer)) {
            Ok(answer) => self.outcome(inner, answer),
            Err(_elapsed) => {
                answer.abort();
                Err(self.timeout("waiting for the answer", limit))
            }
        }
    }

    fn outcome(
        &self,
        inner: &Inner,
        answer: Result<Result<reqwest::Response, reqwest::Error>, tokio::task::JoinError>,
    ) -> Result<reqwest::Response, HttpError> {
        match answer {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(HttpError::classify(
                self.url,
                "sending to",
                inner.config.connect_timeout,
                error,
            )),
            Err(error) => Err(HttpError::Interrupted {
                url: self.url.to_owned(),
                operation: "sending to",
                source: Box::new(error),
            }),
        }
    }

    fn timeout(&self, operation: &'static str, after: Duration) -> HttpError {
        HttpError::Timeout { url: self.url.to_owned(), operation, after }
    }
}

/// Reads a full piece, or what is left of the announced length.
fn read_chunk(content: &mut dyn Read, left: u64) -> io::Result<Bytes> {
    let size = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
    let mut chunk = vec![0; size];
    content.read_exact(&mut chunk)?;
    Ok(Bytes::from(chunk))
}
