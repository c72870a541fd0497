//! Tells who asks for what, once an answer has gone out.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};

/// One finished exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// Method of the request.
    pub method: String,
    /// Path of the request, without its query.
    pub path: String,
    /// Status of the answer.
    pub status: u16,
    /// Bytes of the answer's body that went out.
    pub bytes: u64,
}

/// Is told of each exchange, on the server's threads.
pub type OnAccess = Arc<dyn Fn(Access) + Send + Sync>;

/// Has `on_access` called when the body of `response` has gone out or is given up.
pub(super) fn observe(
    response: Response,
    method: String,
    path: String,
    on_access: OnAccess,
) -> Response {
    let access = Access { method, path, status: response.status().as_u16(), bytes: 0 };
    response.map(|inner| Body::new(Counted { inner, access: Some(access), on_access }))
}

struct Counted {
    inner: Body,
    access: Option<Access>,
    on_access: OnAccess,
}

impl hyper::body::Body for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(data) = frame.data_ref()
            && let Some(access) = &mut self.access
        {
            access.bytes += data.len() as u64;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if let Some(access) = self.access.take() {
            (self.on_access)(access);
        }
    }
}
