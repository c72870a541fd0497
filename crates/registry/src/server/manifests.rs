//! Manifests: taken in only when complete, given out by tag or digest.

use std::io::Write;

use anyarch_oci::{Descriptor, Digest, Manifest, RepositoryName, Tag, media_type};
use anyarch_store::Store;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};

use super::reply::{CONTENT_DIGEST, Outcome, Refusal, Reply};
use super::route::Key;
use super::state::State;

/// Longest manifest that is taken in.
const MAX_MANIFEST: usize = 4 * 1024 * 1024;
const OCI_SUBJECT: HeaderName = HeaderName::from_static("oci-subject");

pub(super) async fn get(
    state: &State,
    repository: &RepositoryName,
    key: Key,
    head: bool,
) -> Outcome {
    let name = repository.clone();
    let (descriptor, bytes) = state
        .blocking(move |store| {
            let descriptor = match &key {
                Key::Tag(tag) => store.resolve(&name, tag)?,
                Key::Digest(digest) => store.manifest(&name, digest)?,
                Key::Invalid(_) => None,
            };
            match descriptor {
                Some(descriptor) => {
                    let bytes = store.read_blob(&descriptor.digest)?;
                    Ok((descriptor, bytes))
                }
                None => Err(unknown(&name, &key)),
            }
        })
        .await?;
    let reply = Reply::new(StatusCode::OK)
        .header(header::CONTENT_TYPE, &descriptor.media_type)
        .header(CONTENT_DIGEST, &descriptor.digest);
    if head {
        return Ok(reply.header(header::CONTENT_LENGTH, bytes.len()).empty());
    }
    Ok(reply.bytes(bytes))
}

pub(super) async fn put(
    state: &State,
    repository: &RepositoryName,
    key: Key,
    headers: &HeaderMap,
    body: Body,
) -> Outcome {
    if let Key::Invalid(key) = &key {
        return Err(Refusal::bad("MANIFEST_INVALID", format!("`{key}` is no tag and no digest")));
    }
    let too_large = |_| {
        let words = format!("a manifest has at most {MAX_MANIFEST} bytes");
        Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "SIZE_INVALID", words)
    };
    let bytes = to_bytes(body, MAX_MANIFEST).await.map_err(too_large)?;
    let content_type = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .map(|value| value.split(';').next().unwrap_or(value).trim().to_owned());
    let invalid = |error: String| Refusal::bad("MANIFEST_INVALID", error);
    let manifest = Manifest::parse(&bytes, content_type.as_deref())
        .map_err(|error| invalid(error.to_string()))?;
    let kind = kind(&manifest, content_type.as_deref()).map_err(invalid)?;

    let (name, shared) = (repository.clone(), state.clone());
    let only_new = only_new(headers);
    let digest_and_subject = state
        .blocking(move |store| {
            complete(&shared, &name, &manifest)?;
            let digest = keep(store, &key, &bytes)?;
            let mut descriptor = Descriptor::new(&kind, digest.clone(), bytes.len() as u64);
            descriptor.artifact_type = artifact_type(&manifest).map(str::to_owned);
            match &key {
                Key::Tag(tag) => {
                    let _order = shared.tagging();
                    if only_new && store.resolve(&name, tag)?.is_some() {
                        return Err(exists(&name, tag));
                    }
                    store.tag(&name, tag, &descriptor)?;
                }
                _ => store.add_manifest(&name, &descriptor)?,
            }
            Ok((digest, manifest.subject().map(|subject| subject.digest.clone())))
        })
        .await?;
    let (digest, subject) = digest_and_subject;
    let mut reply = Reply::new(StatusCode::CREATED)
        .header(header::LOCATION, format!("/v2/{repository}/manifests/{digest}"))
        .header(CONTENT_DIGEST, &digest);
    if let Some(subject) = subject {
        reply = reply.header(OCI_SUBJECT, subject);
    }
    Ok(reply.bytes(Vec::new()))
}

/// `If-None-Match: *` (RFC 9110, section 13.1.2): only where there is nothing yet.
fn only_new(headers: &HeaderMap) -> bool {
    headers.get(header::IF_NONE_MATCH).is_some_and(|value| value.as_bytes().trim_ascii() == b"*")
}

fn exists(repository: &RepositoryName, tag: &Tag) -> Refusal {
    let words = format!("{repository} has a tag {tag} already");
    Refusal::new(StatusCode::PRECONDITION_FAILED, "DENIED", words)
}

pub(super) async fn delete(state: &State, repository: &RepositoryName, key: Key) -> Outcome {
    let name = repository.clone();
    state
        .blocking(move |store| {
            let was_there = match &key {
                Key::Tag(tag) => store.untag(&name, tag)?,
                Key::Digest(digest) => store.remove_manifest(&name, digest)?,
                Key::Invalid(_) => false,
            };
            if was_there { Ok(()) } else { Err(unknown(&name, &key)) }
        })
        .await?;
    Ok(Reply::new(StatusCode::ACCEPTED).bytes(Vec::new()))
}

/// The type of what a manifest describes, as referrers list it (distribution-spec, "Listing
/// Referrers").
pub(super) fn artifact_type(manifest: &Manifest) -> Option<&str> {
    match manifest {
        Manifest::Image(image) => {
            Some(image.artifact_type.as_deref().unwrap_or(&image.config.media_type))
        }
        Manifest::Index(index) => index.artifact_type.as_deref(),
    }
}

fn unknown(repository: &RepositoryName, key: &Key) -> Refusal {
    let key = match key {
        Key::Tag(tag) => tag.to_string(),
        Key::Digest(digest) => digest.to_string(),
        Key::Invalid(text) => text.clone(),
    };
    Refusal::unknown("MANIFEST_UNKNOWN", format!("{repository} has no manifest {key}"))
}

/// The media type to give the manifest out with: the header's, which must not contradict the
/// document.
fn kind(manifest: &Manifest, content_type: Option<&str>) -> Result<String, String> {
    let own = match manifest {
        Manifest::Image(image) => image.media_type.as_deref(),
        Manifest::Index(index) => index.media_type.as_deref(),
    };
    match (own, content_type) {
        (Some(own), Some(given)) if own != given && given != "application/json" => {
            Err(format!("the document is `{own}`, its Content-Type says `{given}`"))
        }
        (None, Some(given)) if media_type::is_manifest(given) || media_type::is_index(given) => {
            Ok(given.to_owned())
        }
        _ => Ok(manifest.media_type().to_owned()),
    }
}

/// Refuses a manifest whose content is not in the repository.
fn complete(
    state: &State,
    repository: &RepositoryName,
    manifest: &Manifest,
) -> Result<(), Refusal> {
    for entry in manifest.references() {
        let digest = &entry.digest;
        let listed =
            media_type::is_manifest(&entry.media_type) || media_type::is_index(&entry.media_type);
        let size = if listed {
            state.store.manifest(repository, digest)?.map(|found| found.size)
        } else {
            state.blob_size(repository, digest)
        };
        match size {
            Some(size) if size == entry.size => {}
            Some(size) => {
                let words = format!("{digest} has {size} bytes, not {}", entry.size);
                return Err(Refusal::bad("MANIFEST_INVALID", words));
            }
            // Layers that may not be passed on are fetched from where their URLs say.
            None if !entry.urls.is_empty() => {}
            None => {
                let words = format!("{repository} has no content {digest}");
                return Err(Refusal::bad("MANIFEST_BLOB_UNKNOWN", words));
            }
        }
    }
    Ok(())
}

fn keep(store: &Store, key: &Key, bytes: &[u8]) -> Result<Digest, Refusal> {
    let expected = match key {
        Key::Digest(digest) => digest.clone(),
        _ => Digest::sha256(bytes),
    };
    let mut ingest = store.ingest_with(expected.algorithm())?;
    ingest.write_all(bytes).map_err(super::state::internal)?;
    Ok(ingest.commit(Some(&expected))?.0)
}
