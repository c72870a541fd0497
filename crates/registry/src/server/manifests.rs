//! Manifests: taken in only when complete, given out by tag or digest.

use std::io::Write;

use anyarch_oci::{Descriptor, Digest, Manifest, RepositoryName, media_type};
use anyarch_store::{Store, StoreError};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};

use super::blobs::visible_size;
use super::incoming::Incoming;
use super::precondition::{Preconditions, Unmet, etag};
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
    headers: &HeaderMap,
) -> Outcome {
    let name = repository.clone();
    let (descriptor, bytes, tagged) = state
        .blocking(move |store| {
            // The time first: were the tag moved in between, it would be too old, not too new.
            let tagged = match &key {
                Key::Tag(tag) => store.tagged_at(&name, tag)?,
                _ => None,
            };
            let descriptor = current(store, &name, &key)?.ok_or_else(|| unknown(&name, &key))?;
            match store.read_blob(&descriptor.digest) {
                Ok(bytes) => Ok((descriptor, bytes, tagged)),
                Err(StoreError::Missing(_)) => Err(unknown(&name, &key)),
                Err(error) => Err(error.into()),
            }
        })
        .await?;
    let reply = |status| {
        let reply = Reply::new(status)
            .header(CONTENT_DIGEST, &descriptor.digest)
            .header(header::ETAG, etag(&descriptor.digest));
        match tagged {
            Some(time) => reply.header(header::LAST_MODIFIED, httpdate::fmt_http_date(time)),
            None => reply,
        }
    };
    match Preconditions::of(headers).check(Some(&descriptor.digest)) {
        Ok(()) => {
            let reply = reply(StatusCode::OK).header(header::CONTENT_TYPE, &descriptor.media_type);
            Ok(reply.bytes(bytes))
        }
        Err(Unmet::Exists) => Ok(reply(StatusCode::NOT_MODIFIED).empty()),
        Err(unmet) => Err(unmet.refusal("the manifest")),
    }
}

pub(super) async fn put(
    state: &State,
    repository: &RepositoryName,
    key: Key,
    headers: &HeaderMap,
    body: Incoming,
) -> Outcome {
    if let Key::Invalid(key) = &key {
        return Err(Refusal::bad("MANIFEST_INVALID", format!("`{key}` is no tag and no digest")));
    }
    let lost = |cause| Refusal::bad("MANIFEST_INVALID", cause);
    let bytes = body.whole(MAX_MANIFEST).await.map_err(lost)?.ok_or_else(|| {
        let words = format!("a manifest has at most {MAX_MANIFEST} bytes");
        Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "SIZE_INVALID", words)
    })?;
    let preconditions = Preconditions::of(headers);
    let content_type = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .map(|value| value.split(';').next().unwrap_or(value).trim().to_owned());
    let invalid = |error: String| Refusal::bad("MANIFEST_INVALID", error);
    let manifest = Manifest::parse(&bytes, content_type.as_deref())
        .map_err(|error| invalid(error.to_string()))?;
    let kind = kind(&manifest, content_type.as_deref()).map_err(invalid)?;

    let name = repository.clone();
    let digest_and_subject = state
        .blocking(move |store| {
            // Once before anything is written, and for tags once more while nobody else moves them.
            let now = current(store, &name, &key)?.map(|found| found.digest);
            let refusal = |unmet: Unmet| unmet.refusal(&described(&name, &key));
            preconditions.check(now.as_ref()).map_err(refusal)?;
            complete(store, &name, &manifest)?;
            let digest = keep(store, &key, &bytes)?;
            let mut descriptor = Descriptor::new(&kind, digest.clone(), bytes.len() as u64);
            descriptor.artifact_type = artifact_type(&manifest).map(str::to_owned);
            let mut allowed = Ok(());
            if let Key::Tag(tag) = &key {
                store.tag_if(&name, tag, &descriptor, |now| {
                    allowed = preconditions.check(now.map(|found| &found.digest));
                    allowed.is_ok()
                })?;
            } else {
                store.add_manifest(&name, &descriptor)?;
            }
            allowed.map_err(refusal)?;
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

pub(super) async fn delete(
    state: &State,
    repository: &RepositoryName,
    key: Key,
    headers: &HeaderMap,
) -> Outcome {
    let name = repository.clone();
    let preconditions = Preconditions::of(headers);
    state
        .blocking(move |store| {
            let found = current(store, &name, &key)?.ok_or_else(|| unknown(&name, &key))?;
            let mut allowed = preconditions.check(Some(&found.digest));
            let was_there = match &key {
                Key::Tag(tag) => store.untag_if(&name, tag, |found| {
                    allowed = preconditions.check(Some(&found.digest));
                    allowed.is_ok()
                })?,
                Key::Digest(digest) if allowed.is_ok() => store.remove_manifest(&name, digest)?,
                _ => false,
            };
            allowed.map_err(|unmet| unmet.refusal(&described(&name, &key)))?;
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

/// What a repository has under a tag or digest.
fn current(
    store: &Store,
    repository: &RepositoryName,
    key: &Key,
) -> Result<Option<Descriptor>, StoreError> {
    match key {
        Key::Tag(tag) => store.resolve(repository, tag),
        Key::Digest(digest) => store.manifest(repository, digest),
        Key::Invalid(_) => Ok(None),
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

fn described(repository: &RepositoryName, key: &Key) -> String {
    match key {
        Key::Tag(tag) => format!("{repository}:{tag}"),
        Key::Digest(digest) => format!("{repository}@{digest}"),
        Key::Invalid(text) => text.clone(),
    }
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
    store: &Store,
    repository: &RepositoryName,
    manifest: &Manifest,
) -> Result<(), Refusal> {
    for entry in manifest.references() {
        let digest = &entry.digest;
        let listed =
            media_type::is_manifest(&entry.media_type) || media_type::is_index(&entry.media_type);
        let size = if listed {
            store.manifest(repository, digest)?.map(|found| found.size)
        } else {
            visible_size(store, repository, digest)
        };
        match size {
            Some(size) if size == entry.size => {}
            Some(size) => {
                let words = format!("{digest} has {size} bytes, not {}", entry.size);
                return Err(Refusal::bad("MANIFEST_INVALID", words));
            }
            None if is_elsewhere(entry) => {}
            None => {
                let words = format!("{repository} has no content {digest}");
                return Err(Refusal::bad("MANIFEST_BLOB_UNKNOWN", words));
            }
        }
    }
    Ok(())
}

/// Whether this is a layer that may not be passed on: clients fetch it from where its URLs say.
fn is_elsewhere(entry: &Descriptor) -> bool {
    let kind = &entry.media_type;
    !entry.urls.is_empty()
        || kind.contains(".layer.nondistributable.")
        || kind.contains(".foreign.")
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
