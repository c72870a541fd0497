//! Blobs into the store: at once, as POST and PUT, or in chunks (distribution-spec, "Pushing
//! Blobs"). Nothing is visible before its digest has been verified.

use std::io::Write;
use std::time::Duration;

use anyarch_oci::{Digest, RepositoryName};
use anyarch_store::Ingest;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::sync::{OwnedMutexGuard, mpsc};

use super::reply::{CONTENT_DIGEST, Outcome, Refusal, Reply};
use super::route::{self, Query};
use super::state::{Session, State, internal};

/// Pieces that may wait for the disk.
const QUEUE: usize = 8;
/// How long a request waits for the one before it on the same upload, which may still have to find
/// out that its connection is gone.
const TURN: Duration = Duration::from_secs(10);

const UPLOAD_ID: HeaderName = HeaderName::from_static("docker-upload-uuid");

/// POST: mounts, takes a whole blob, or opens a session.
pub(super) async fn begin(
    state: &State,
    repository: &RepositoryName,
    query: &Query,
    headers: &HeaderMap,
    body: Body,
) -> Outcome {
    if let Some(mount) = query.get("mount") {
        let digest = route::digest(mount)?;
        // Content is shared by all repositories, so whether `from` is named does not matter.
        if state.store.blob_size(&digest).is_some() {
            state.show(repository, &digest);
            return Ok(created(repository, &digest));
        }
    }
    let Some(digest) = query.get("digest") else {
        let ingest = state.blocking(|store| Ok(store.ingest()?)).await?;
        let id = state.begin(repository, ingest)?;
        return Ok(progress(StatusCode::ACCEPTED, repository, &id, 0));
    };
    let digest = route::digest(digest)?;
    let algorithm = digest.algorithm();
    let ingest = state.blocking(move |store| Ok(store.ingest_with(algorithm)?)).await?;
    let id = state.begin(repository, ingest)?;
    let session = state.session(repository, &id)?;
    let outcome = write_turn(session, headers, body).await;
    let finished = match outcome {
        Ok(mut turn) => commit(state, turn.take(), &digest).await,
        Err(refusal) => Err(refusal),
    };
    state.end(&id);
    finished?;
    state.show(repository, &digest);
    Ok(created(repository, &digest))
}

/// PATCH: one more chunk, in order.
pub(super) async fn append(
    state: &State,
    repository: &RepositoryName,
    id: &str,
    headers: &HeaderMap,
    body: Body,
) -> Outcome {
    let session = state.session(repository, id)?;
    let outcome = write_turn(session, headers, body).await;
    match outcome {
        Ok(turn) => {
            let size = turn.as_ref().map_or(0, Ingest::size);
            Ok(progress(StatusCode::ACCEPTED, repository, id, size))
        }
        Err(refusal) => Err(refusal.with(header::LOCATION, location(repository, id))),
    }
}

/// PUT: the last chunk, or all of it, and the digest of the whole.
pub(super) async fn finish(
    state: &State,
    repository: &RepositoryName,
    id: &str,
    query: &Query,
    headers: &HeaderMap,
    body: Body,
) -> Outcome {
    let session = state.session(repository, id)?;
    let wanted = query.get("digest").ok_or_else(|| {
        Refusal::bad("DIGEST_INVALID", "an upload ends with the digest of the blob")
    })?;
    let digest = route::digest(wanted)?;
    let algorithm = digest.algorithm();
    {
        // The session was opened before the algorithm was known.
        let mut turn = take_turn(&session).await?;
        if turn.as_ref().is_some_and(|ingest| ingest.size() == 0) {
            *turn = Some(state.blocking(move |store| Ok(store.ingest_with(algorithm)?)).await?);
        }
    }
    let mut turn = write_turn(session, headers, body).await?;
    let finished = commit(state, turn.take(), &digest).await;
    state.end(id);
    finished?;
    state.show(repository, &digest);
    Ok(created(repository, &digest))
}

/// GET: how far an upload is.
pub(super) async fn status(state: &State, repository: &RepositoryName, id: &str) -> Outcome {
    let session = state.session(repository, id)?;
    let turn = take_turn(&session).await?;
    let size = turn.as_ref().map_or(0, Ingest::size);
    Ok(progress(StatusCode::NO_CONTENT, repository, id, size))
}

/// DELETE: gives an upload up.
pub(super) fn cancel(state: &State, repository: &RepositoryName, id: &str) -> Outcome {
    state.session(repository, id)?;
    state.end(id);
    Ok(Reply::new(StatusCode::NO_CONTENT).empty())
}

type Turn = OwnedMutexGuard<Option<Ingest>>;

async fn take_turn(session: &Session) -> Result<Turn, Refusal> {
    let busy = || {
        let words = "another request is writing to this upload";
        Refusal::new(StatusCode::CONFLICT, "BLOB_UPLOAD_INVALID", words)
    };
    let turn = tokio::time::timeout(TURN, session.clone().lock_owned()).await;
    let turn = turn.map_err(|_elapsed| busy())?;
    if turn.is_none() {
        return Err(Refusal::unknown(
            "BLOB_UPLOAD_UNKNOWN",
            "the upload has failed or is finished",
        ));
    }
    Ok(turn)
}

/// Waits for the upload's turn, checks the order and writes the body. What arrives before a
/// connection is lost stays, for the client to go on from there; that is why this runs as a task of
/// its own, which the loss does not end.
async fn write_turn(session: Session, headers: &HeaderMap, body: Body) -> Result<Turn, Refusal> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let range = text(header::CONTENT_RANGE);
    let announced = text(header::CONTENT_LENGTH).and_then(|length| length.parse::<u64>().ok());
    let task = tokio::spawn(async move {
        let mut turn = take_turn(&session).await?;
        let size = turn.as_ref().map_or(0, Ingest::size);
        if let Some(range) = range {
            check_order(&range, size, announced)?;
        }
        let Some(ingest) = turn.take() else { return Err(internal("the upload has no content")) };
        let (ingest, written) = write(ingest, body).await?;
        match written {
            Written::All => *turn = Some(ingest),
            Written::Lost(cause) => {
                *turn = Some(ingest);
                return Err(Refusal::bad("BLOB_UPLOAD_INVALID", cause));
            }
            Written::Failed(error) => return Err(internal(format!("failed to store: {error}"))),
        }
        Ok(turn)
    });
    task.await.map_err(internal)?
}

/// `Content-Range: FIRST-LAST`, against what is there and what is announced.
fn check_order(range: &str, size: u64, announced: Option<u64>) -> Result<(), Refusal> {
    let spec = range.trim().trim_start_matches("bytes").trim_start_matches([' ', '=']);
    let spec = spec.split('/').next().unwrap_or(spec);
    let parsed = spec
        .split_once('-')
        .and_then(|(first, last)| Some((first.parse::<u64>().ok()?, last.parse::<u64>().ok()?)));
    let refused = |words: String| {
        Refusal::new(StatusCode::RANGE_NOT_SATISFIABLE, "BLOB_UPLOAD_INVALID", words)
            .with(header::RANGE, range_so_far(size))
    };
    let Some((first, last)) = parsed.filter(|(first, last)| first <= last) else {
        return Err(refused(format!("`{range}` is not a range")));
    };
    if first != size {
        return Err(refused(format!("the next byte is {size}, not {first}")));
    }
    match announced {
        Some(length) if length != last - first + 1 => {
            let words = format!("{length} bytes are announced for the range {range}");
            Err(Refusal::bad("SIZE_INVALID", words))
        }
        _ => Ok(()),
    }
}

enum Written {
    All,
    /// The connection broke.
    Lost(String),
    /// The disk did not take it.
    Failed(std::io::Error),
}

async fn write(mut ingest: Ingest, body: Body) -> Result<(Ingest, Written), Refusal> {
    let (sender, mut receiver) = mpsc::channel::<Bytes>(QUEUE);
    let writer = tokio::task::spawn_blocking(move || {
        let mut outcome = Ok(());
        while let Some(chunk) = receiver.blocking_recv() {
            outcome = ingest.write_all(&chunk);
            if outcome.is_err() {
                break;
            }
        }
        (ingest, outcome)
    });
    let mut content = body.into_data_stream();
    let mut lost = None;
    while let Some(chunk) = content.next().await {
        match chunk {
            Ok(chunk) => {
                if sender.send(chunk).await.is_err() {
                    break;
                }
            }
            Err(error) => {
                lost = Some(format!("the connection was lost: {error}"));
                break;
            }
        }
    }
    drop(sender);
    let (ingest, outcome) = writer.await.map_err(internal)?;
    let written = match (outcome, lost) {
        (Err(error), _) => Written::Failed(error),
        (Ok(()), Some(cause)) => Written::Lost(cause),
        (Ok(()), None) => Written::All,
    };
    Ok((ingest, written))
}

async fn commit(state: &State, ingest: Option<Ingest>, digest: &Digest) -> Result<(), Refusal> {
    let Some(ingest) = ingest else { return Err(internal("the upload has no content")) };
    let digest = digest.clone();
    state
        .blocking(move |_| {
            ingest.commit(Some(&digest))?;
            Ok(())
        })
        .await
}

fn location(repository: &RepositoryName, id: &str) -> String {
    format!("/v2/{repository}/blobs/uploads/{id}")
}

fn range_so_far(size: u64) -> String {
    format!("0-{}", size.saturating_sub(1))
}

fn progress(
    status: StatusCode,
    repository: &RepositoryName,
    id: &str,
    size: u64,
) -> axum::response::Response {
    Reply::new(status)
        .header(header::LOCATION, location(repository, id))
        .header(header::RANGE, range_so_far(size))
        .header(UPLOAD_ID, id)
        .empty()
}

fn created(repository: &RepositoryName, digest: &Digest) -> axum::response::Response {
    Reply::new(StatusCode::CREATED)
        .header(header::LOCATION, format!("/v2/{repository}/blobs/{digest}"))
        .header(CONTENT_DIGEST, digest)
        .bytes(Vec::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_come_in_order() {
        assert!(check_order("0-9", 0, Some(10)).is_ok());
        assert!(check_order("bytes 10-19/20", 10, Some(10)).is_ok());
        for (range, size) in [("1-9", 0), ("0-9", 10), ("9-0", 9), ("x", 0)] {
            let refusal = check_order(range, size, None).unwrap_err().into_response();
            assert_eq!(refusal.status(), StatusCode::RANGE_NOT_SATISFIABLE, "{range}");
        }
        let refusal = check_order("0-9", 0, Some(3)).unwrap_err().into_response();
        assert_eq!(refusal.status(), StatusCode::BAD_REQUEST);
    }
}
