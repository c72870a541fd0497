//! The body of a request: read piece by piece, by one who does not wait forever.

use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use bytes::Bytes;
use futures_util::StreamExt;

/// How much of a body that is refused is still read. A client that is still sending when the
/// connection closes may never see the answer.
const DRAINED: usize = 64 * 1024 * 1024;

/// What a client sends.
pub(super) struct Incoming {
    content: BodyDataStream,
    patience: Duration,
}

impl Incoming {
    pub(super) fn new(body: Body, patience: Duration) -> Incoming {
        Incoming { content: body.into_data_stream(), patience }
    }

    /// The next piece, `None` at the end, or why there is none.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, String> {
        match tokio::time::timeout(self.patience, self.content.next()).await {
            Ok(Some(Ok(piece))) => Ok(Some(piece)),
            Ok(Some(Err(error))) => Err(format!("the connection was lost: {error}")),
            Ok(None) => Ok(None),
            Err(_elapsed) => {
                Err(format!("nothing came for {} seconds", self.patience.as_secs_f32()))
            }
        }
    }

    /// The whole, where it has `limit` bytes at most; else `None`.
    pub(super) async fn whole(mut self, limit: usize) -> Result<Option<Vec<u8>>, String> {
        let mut bytes = Vec::new();
        while let Some(piece) = self.next().await? {
            if bytes.len() + piece.len() > limit {
                self.drain().await;
                return Ok(None);
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(Some(bytes))
    }

    /// Reads on to no end, so that the client gets to reading the answer.
    pub(super) async fn drain(mut self) {
        let mut left = DRAINED;
        while let Ok(Some(piece)) = self.next().await {
            match left.checked_sub(piece.len()) {
                Some(rest) => left = rest,
                None => return,
            }
        }
    }
}
