//! Blobs out of the store, whole or in part (RFC 9110, section 14).

use anyarch_oci::{Digest, RepositoryName};
use anyarch_store::Store;
use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;

use super::precondition::{Preconditions, Unmet, etag, names};
use super::reply::{CONTENT_DIGEST, Outcome, Refusal, Reply};
use super::state::{State, internal};

/// How much is read from the file at a time.
const CHUNK: usize = 256 * 1024;

/// The part of a blob that a request asks for.
#[derive(Debug, PartialEq, Eq)]
enum Part {
    Whole,
    /// First byte and length.
    Some(u64, u64),
    Unsatisfiable,
}

pub(super) async fn get(
    state: &State,
    repository: &RepositoryName,
    digest: &Digest,
    headers: &HeaderMap,
    head: bool,
) -> Outcome {
    let (name, wanted) = (repository.clone(), digest.clone());
    let blob = state
        .blocking(move |store| {
            let found = match store.is_blob_hidden(&name, &wanted) {
                true => None,
                false => store.blob(&wanted)?,
            };
            found.ok_or_else(|| unknown(&name, &wanted))
        })
        .await?;
    match Preconditions::of(headers).check(Some(digest)) {
        Ok(()) => {}
        Err(Unmet::Exists) => {
            let reply = Reply::new(StatusCode::NOT_MODIFIED).header(CONTENT_DIGEST, digest);
            return Ok(reply.header(header::ETAG, etag(digest)).empty());
        }
        Err(unmet) => return Err(unmet.refusal("the blob")),
    }
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    // A part of something else than the client has is of no use to it (RFC 9110, section 13.1.5).
    let is_same = text(header::IF_RANGE).is_none_or(|tag| names(tag, Some(digest), false));
    let range = text(header::RANGE).filter(|_| is_same);
    let (status, first, length) = match range.map_or(Part::Whole, |range| part(range, blob.size)) {
        Part::Whole => (StatusCode::OK, 0, blob.size),
        Part::Some(first, length) => (StatusCode::PARTIAL_CONTENT, first, length),
        Part::Unsatisfiable => {
            let refusal = Refusal::new(
                StatusCode::RANGE_NOT_SATISFIABLE,
                "RANGE_INVALID",
                format!("the blob has {} bytes", blob.size),
            );
            return Err(refusal.with(header::CONTENT_RANGE, format!("bytes */{}", blob.size)));
        }
    };
    let mut reply = Reply::new(status)
        .header(header::CONTENT_TYPE, "application/octet-stream")
        .header(header::CONTENT_LENGTH, length)
        .header(header::ACCEPT_RANGES, "bytes")
        .header(header::ETAG, etag(digest))
        .header(CONTENT_DIGEST, digest);
    if status == StatusCode::PARTIAL_CONTENT {
        let last = first + length - 1;
        reply = reply.header(header::CONTENT_RANGE, format!("bytes {first}-{last}/{}", blob.size));
    }
    if head {
        return Ok(reply.empty());
    }
    let mut file = tokio::fs::File::from_std(blob.file);
    if first > 0 {
        file.seek(std::io::SeekFrom::Start(first)).await.map_err(internal)?;
    }
    let content = ReaderStream::with_capacity(file.take(length), CHUNK);
    Ok(reply.body(Body::from_stream(content)))
}

pub(super) async fn delete(state: &State, repository: &RepositoryName, digest: &Digest) -> Outcome {
    let (name, digest) = (repository.clone(), digest.clone());
    state
        .blocking(move |store| {
            visible_size(store, &name, &digest).ok_or_else(|| unknown(&name, &digest))?;
            Ok(store.hide_blob(&name, &digest)?)
        })
        .await?;
    Ok(Reply::new(StatusCode::ACCEPTED).bytes(Vec::new()))
}

/// Length of a blob that the repository may see.
pub(super) fn visible_size(
    store: &Store,
    repository: &RepositoryName,
    digest: &Digest,
) -> Option<u64> {
    match store.is_blob_hidden(repository, digest) {
        true => None,
        false => store.blob_size(digest),
    }
}

fn unknown(repository: &RepositoryName, digest: &Digest) -> Refusal {
    Refusal::unknown("BLOB_UNKNOWN", format!("{repository} has no blob {digest}"))
}

/// Reads `Range`; what is not one range of bytes is ignored, as HTTP allows.
fn part(range: &str, size: u64) -> Part {
    let Some(spec) = range.trim().strip_prefix("bytes=") else { return Part::Whole };
    let Some((first, last)) = spec.trim().split_once('-') else { return Part::Whole };
    match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), Ok(last)) if first <= last => {
            if first >= size {
                return Part::Unsatisfiable;
            }
            Part::Some(first, last.min(size - 1) - first + 1)
        }
        (Ok(first), Err(_)) if last.is_empty() => {
            if first >= size {
                Part::Unsatisfiable
            } else {
                Part::Some(first, size - first)
            }
        }
        (Err(_), Ok(count)) if first.is_empty() => {
            let count = count.min(size);
            if count == 0 { Part::Unsatisfiable } else { Part::Some(size - count, count) }
        }
        _ => Part::Whole,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        assert_eq!(part("bytes=0-", 10), Part::Some(0, 10));
        assert_eq!(part("bytes=3-5", 10), Part::Some(3, 3));
        assert_eq!(part("bytes=3-99", 10), Part::Some(3, 7));
        assert_eq!(part("bytes=-4", 10), Part::Some(6, 4));
        assert_eq!(part("bytes=-40", 10), Part::Some(0, 10));
        for none in ["bytes=10-", "bytes=10-12", "bytes=-0"] {
            assert_eq!(part(none, 10), Part::Unsatisfiable, "{none}");
        }
        assert_eq!(part("bytes=0-", 0), Part::Unsatisfiable);
        for ignored in ["bytes=5-3", "bytes=0-1,3-4", "lines=0-", "bytes=", "bytes=-", "bytes=a-b"]
        {
            assert_eq!(part(ignored, 10), Part::Whole, "{ignored}");
        }
    }
}
