//! Blobs into the store: at once, as POST and PUT, or in chunks (distribution-spec, "Pushing
//! Blobs"). Nothing is visible before its digest has been verified.

use std::io::Write;
use std::time::Duration;

use anyarch_oci::{Digest, RepositoryName};
use anyarch_store::{Ingest, StoreError, UploadId};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use bytes::Bytes;
use tokio::sync::{OwnedMutexGuard, mpsc};

use super::blobs::visible_size;
use super::incoming::Incoming;
use super::reply::{CONTENT_DIGEST, Outcome, Refusal, Reply};
use super::route::{self, Query};
use super::state::{Place, Session, State, busy, internal, no_upload};

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
    body: Incoming,
) -> Outcome {
    if let Some(mount) = query.get("mount") {
        let digest = route::digest(mount)?;
        if mounted(state, repository, &digest, query.get("from")).await? {
            return Ok(created(repository, &digest));
        }
    }
    let Some(digest) = query.get("digest") else {
        let id = state.begin(repository).await?;
        return Ok(progress(StatusCode::ACCEPTED, repository, &id, 0));
    };
    let digest = route::digest(digest)?;
    let algorithm = digest.algorithm();
    let ingest = state.blocking(move |store| Ok(store.ingest_with(algorithm)?)).await?;
    let announced = announced(headers);
    let (ingest, written) = write(ingest, body).await?;
    match written {
        Written::All => {}
        Written::Lost(cause) => return Err(Refusal::bad("BLOB_UPLOAD_INVALID", cause)),
        Written::Failed(error) => return Err(failed(ingest, error)),
    }
    if announced.is_some_and(|length| length != ingest.size()) {
        let words = format!("{} bytes came of those announced", ingest.size());
        return Err(Refusal::bad("SIZE_INVALID", words));
    }
    commit(state, repository, ingest, &digest).await?;
    Ok(created(repository, &digest))
}

/// PATCH: one more chunk, in order.
pub(super) async fn append(
    state: &State,
    repository: &RepositoryName,
    id: &str,
    headers: &HeaderMap,
    body: Incoming,
) -> Outcome {
    let (place, session) = match open(state, repository, id).await {
        Ok(found) => found,
        Err(refusal) => {
            body.drain().await;
            return Err(refusal);
        }
    };
    match write_turn(session, headers, body).await {
        Ok(turn) => {
            let size = turn.as_ref().map_or(0, Ingest::size);
            Ok(progress(StatusCode::ACCEPTED, repository, &place.1, size))
        }
        Err(refusal) => Err(refusal.with(header::LOCATION, location(repository, &place.1))),
    }
}

/// PUT: the last chunk, or all of it, and the digest of the whole.
pub(super) async fn finish(
    state: &State,
    repository: &RepositoryName,
    id: &str,
    query: &Query,
    headers: &HeaderMap,
    body: Incoming,
) -> Outcome {
    let opened = async {
        let (place, session) = open(state, repository, id).await?;
        let wanted = query.get("digest").ok_or_else(|| {
            Refusal::bad("DIGEST_INVALID", "an upload ends with the digest of the blob")
        })?;
        Ok((place, session, route::digest(wanted)?))
    };
    let (place, session, digest) = match opened.await {
        Ok(found) => found,
        Err(refusal) => {
            body.drain().await;
            return Err(refusal);
        }
    };
    let mut turn = write_turn(session, headers, body).await?;
    let finished = match turn.take() {
        Some(ingest) => commit(state, repository, ingest, &digest).await,
        None => Err(internal("the upload has no content")),
    };
    state.end(&place);
    finished?;
    Ok(created(repository, &digest))
}

/// GET: how far an upload is.
pub(super) async fn status(state: &State, repository: &RepositoryName, id: &str) -> Outcome {
    let (place, session) = open(state, repository, id).await?;
    let turn = take_turn(&session).await?;
    let size = turn.as_ref().map_or(0, Ingest::size);
    Ok(progress(StatusCode::NO_CONTENT, repository, &place.1, size))
}

/// DELETE: gives an upload up.
pub(super) async fn cancel(state: &State, repository: &RepositoryName, id: &str) -> Outcome {
    let (place, session) = open(state, repository, id).await?;
    let mut turn = take_turn(&session).await?;
    if let Some(ingest) = turn.take() {
        ingest.discard();
    }
    state.end(&place);
    Ok(Reply::new(StatusCode::NO_CONTENT).empty())
}

/// Makes a blob of the store visible in the repository. `from` need not be named, as content is
/// shared by all repositories; where it is, the blob must be visible there.
async fn mounted(
    state: &State,
    repository: &RepositoryName,
    digest: &Digest,
    from: Option<&str>,
) -> Result<bool, Refusal> {
    let from = match from.map(str::parse::<RepositoryName>) {
        None => None,
        Some(Ok(from)) => Some(from),
        // No such repository: as every mount that cannot be, this one becomes an upload.
        Some(Err(_)) => return Ok(false),
    };
    let (name, digest) = (repository.clone(), digest.clone());
    state
        .blocking(move |store| {
            let found = match from {
                Some(from) => visible_size(store, &from, &digest),
                None => store.blob_size(&digest),
            };
            if found.is_some() {
                store.show_blob(&name, &digest)?;
            }
            Ok(found.is_some())
        })
        .await
}

async fn open(
    state: &State,
    repository: &RepositoryName,
    id: &str,
) -> Result<(Place, Session), Refusal> {
    let parsed = id.parse().map_err(|_| no_upload(id))?;
    let place = (repository.clone(), parsed);
    let session = state.session(&place).await?;
    Ok((place, session))
}

type Turn = OwnedMutexGuard<Option<Ingest>>;

async fn take_turn(session: &Session) -> Result<Turn, Refusal> {
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
async fn write_turn(
    session: Session,
    headers: &HeaderMap,
    body: Incoming,
) -> Result<Turn, Refusal> {
    let range =
        headers.get(header::CONTENT_RANGE).map(|value| value.to_str().unwrap_or("").to_owned());
    let announced = announced(headers);
    let task = tokio::spawn(async move {
        let mut turn = take_turn(&session).await?;
        let size = turn.as_ref().map_or(0, Ingest::size);
        let checked = range.map(|range| check_order(&range, size, announced)).transpose();
        let end = match checked {
            Ok(end) => end,
            Err(refusal) => {
                drop(turn);
                body.drain().await;
                return Err(refusal);
            }
        };
        let Some(ingest) = turn.take() else { return Err(internal("the upload has no content")) };
        let (ingest, written) = write(ingest, body).await?;
        let size = ingest.size();
        match written {
            Written::All if end.is_some_and(|end| end != size) => {
                *turn = Some(ingest);
                let words = "the chunk is not as long as its Content-Range";
                Err(Refusal::bad("SIZE_INVALID", words).with(header::RANGE, range_so_far(size)))
            }
            Written::All => {
                *turn = Some(ingest);
                Ok(turn)
            }
            Written::Lost(cause) => {
                *turn = Some(ingest);
                Err(Refusal::bad("BLOB_UPLOAD_INVALID", cause))
            }
            Written::Failed(error) => Err(failed(ingest, error)),
        }
    });
    task.await.map_err(internal)?
}

fn announced(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Why content was not stored; it is given up.
fn failed(ingest: Ingest, source: std::io::Error) -> Refusal {
    let path = ingest.path().to_owned();
    ingest.discard();
    StoreError::Io { operation: "write", path, source }.into()
}

/// `Content-Range: FIRST-LAST`, against what is there and what is announced; gives the size that
/// there will be.
fn check_order(range: &str, size: u64, announced: Option<u64>) -> Result<u64, Refusal> {
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
        Some(length) if length != (last - first).saturating_add(1) => {
            let words = format!("{length} bytes are announced for the range {range}");
            Err(Refusal::bad("SIZE_INVALID", words))
        }
        _ => Ok(last.saturating_add(1)),
    }
}

enum Written {
    All,
    /// The connection broke.
    Lost(String),
    /// The disk did not take it.
    Failed(std::io::Error),
}

async fn write(mut ingest: Ingest, mut body: Incoming) -> Result<(Ingest, Written), Refusal> {
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
    let lost = loop {
        match body.next().await {
            Ok(Some(chunk)) => {
                if sender.send(chunk).await.is_err() {
                    break None;
                }
            }
            Ok(None) => break None,
            Err(cause) => break Some(cause),
        }
    };
    drop(sender);
    let (ingest, outcome) = writer.await.map_err(internal)?;
    let written = match (outcome, lost) {
        (Err(error), _) => Written::Failed(error),
        (Ok(()), Some(cause)) => Written::Lost(cause),
        (Ok(()), None) => Written::All,
    };
    Ok((ingest, written))
}

/// Makes a blob of what came, and shows it to the repository.
async fn commit(
    state: &State,
    repository: &RepositoryName,
    mut ingest: Ingest,
    digest: &Digest,
) -> Result<(), Refusal> {
    let (name, digest) = (repository.clone(), digest.clone());
    state
        .blocking(move |store| {
            // The session was opened before the algorithm was known.
            ingest.hash_with(digest.algorithm())?;
            ingest.commit(Some(&digest))?;
            Ok(store.show_blob(&name, &digest)?)
        })
        .await
}

fn location(repository: &RepositoryName, id: &UploadId) -> String {
    format!("/v2/{repository}/blobs/uploads/{id}")
}

fn range_so_far(size: u64) -> String {
    format!("0-{}", size.saturating_sub(1))
}

fn progress(
    status: StatusCode,
    repository: &RepositoryName,
    id: &UploadId,
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
        assert_eq!(check_order("0-9", 0, Some(10)).unwrap(), 10);
        assert_eq!(check_order("bytes 10-19/20", 10, Some(10)).unwrap(), 20);
        for (range, size) in [("1-9", 0), ("0-9", 10), ("9-0", 9), ("x", 0), ("", 0)] {
            let refusal = check_order(range, size, None).unwrap_err().into_response();
            assert_eq!(refusal.status(), StatusCode::RANGE_NOT_SATISFIABLE, "{range}");
        }
        let refusal = check_order("0-9", 0, Some(3)).unwrap_err().into_response();
        assert_eq!(refusal.status(), StatusCode::BAD_REQUEST);
    }
}
