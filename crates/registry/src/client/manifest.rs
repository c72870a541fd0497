//! Manifests: resolve, read verified, write, delete; and the choice of a platform.

use std::io::Read;
use std::time::SystemTime;

use anyarch_http::{Body, Method, Response};
use anyarch_oci::{
    Descriptor, Digest, Manifest, Platform, Reference, Tag, TagCondition, TagOutcome, media_type,
};

use super::error::{Failure, RegistryError};
use super::exchange::{RegistryClient, refused};
use super::host::Repository;
use super::token::Scopes;

/// What registries must take and clients need not exceed (distribution-spec, "Pushing Manifests").
pub(crate) const MAX_MANIFEST: u64 = 4 * 1024 * 1024;
/// How many indexes may be nested in each other.
const MAX_NESTING: usize = 4;

/// What a registry says of a tag.
#[derive(Clone, Debug, PartialEq)]
pub struct TagDetails {
    /// What it points to.
    pub descriptor: Descriptor,
    /// When it was last set, or its manifest stored, where the registry says so.
    pub last_modified: Option<SystemTime>,
}

/// A manifest on its way.
struct PutManifest<'a> {
    /// The tag or digest that it is put under.
    key: &'a str,
    digest: &'a Digest,
    media_type: &'a str,
    bytes: &'a [u8],
}

impl RegistryClient {
    /// What a reference points to now; `None` where there is no such tag or manifest.
    pub fn resolve(&self, reference: &Reference) -> Result<Option<Descriptor>, RegistryError> {
        match self.look_up(reference) {
            Ok(found) => Ok(found.map(|details| details.descriptor)),
            Err(failure) => Err(failure.during(format!("resolve {reference}"))),
        }
    }

    /// What a tag points to now and since when, by the registry's word; `None` where there is no
    /// such tag.
    pub fn tag_details(
        &self,
        repository: &Repository,
        tag: &Tag,
    ) -> Result<Option<TagDetails>, RegistryError> {
        let reference = repository.reference(Some(tag), None);
        self.look_up(&reference)
            .map_err(|failure| failure.during(format!("look up tag {tag} of {repository}")))
    }

    fn look_up(&self, reference: &Reference) -> Result<Option<TagDetails>, Failure> {
        let response = self.manifest_request(Method::Head, reference)?;
        match response.status {
            404 => return Ok(None),
            200 => {}
            _ => return Err(refused(Method::Head, response)),
        }
        let last_modified = response.last_modified();
        let digest = content_digest(&response)?;
        let descriptor = match (digest, response.length) {
            (Some(digest), Some(size)) => {
                verify(reference.digest.as_ref(), &digest)?;
                Descriptor::new(&content_type(&response), digest, size)
            }
            // The headers are only recommended; the content says the same.
            _ => self.read_manifest(reference)?.0,
        };
        Ok(Some(TagDetails { descriptor, last_modified }))
    }

    /// The manifest or index that a reference names, of a mirror where there is one: its descriptor
    /// and its exact bytes, verified against the reference's digest, or else the one announced.
    pub fn manifest(&self, reference: &Reference) -> Result<(Descriptor, Vec<u8>), RegistryError> {
        self.pull_manifest(reference).map_err(|failure| failure.during(format!("pull {reference}")))
    }

    /// The bytes of a manifest under its digest, of the registry itself, verified; `None` where it
    /// is not there.
    pub fn stored_manifest(
        &self,
        repository: &Repository,
        manifest: &Descriptor,
    ) -> Result<Option<Vec<u8>>, RegistryError> {
        let reference = repository.reference(None, Some(&manifest.digest));
        match self.read_manifest(&reference) {
            Ok((found, _)) if found.size != manifest.size => {
                Err(Failure::Size { expected: manifest.size, actual: found.size })
            }
            Ok((_, bytes)) => Ok(Some(bytes)),
            Err(failure) if failure.status() == Some(404) => Ok(None),
            Err(failure) => Err(failure),
        }
        .map_err(|failure| failure.during(format!("read back {reference}")))
    }

    /// The manifest of the image for `platform`: the first match of an index, or the only image
    /// there is. Follows indexes in indexes.
    pub fn manifest_for(
        &self,
        reference: &Reference,
        platform: &Platform,
    ) -> Result<(Descriptor, Vec<u8>), RegistryError> {
        let choose = || {
            let mut current = reference.clone();
            for _ in 0..MAX_NESTING {
                let (descriptor, bytes) = self.pull_manifest(&current)?;
                let Manifest::Index(index) = Manifest::parse(&bytes, Some(&descriptor.media_type))?
                else {
                    return Ok((descriptor, bytes));
                };
                let Some(chosen) = index.select(platform) else {
                    let have = index.platforms().map(Platform::to_string).collect();
                    return Err(Failure::NoPlatform { wanted: platform.to_string(), have });
                };
                current = reference.with_digest(chosen.digest.clone());
            }
            Err(Failure::Protocol("indexes are nested too deeply".to_owned()))
        };
        choose().map_err(|failure| failure.during(format!("pull {reference} for {platform}")))
    }

    /// Stores a manifest under its digest, or under a tag where one is given. The content it refers
    /// to must be in the repository.
    pub fn push_manifest(
        &self,
        repository: &Repository,
        tag: Option<&Tag>,
        media_type: &str,
        bytes: &[u8],
    ) -> Result<Digest, RegistryError> {
        let digest = Digest::sha256(bytes);
        let key = tag.map_or_else(|| digest.to_string(), Tag::to_string);
        let put = PutManifest { key: &key, digest: &digest, media_type, bytes };
        self.put_manifest(repository, &put, TagCondition::Any)?;
        Ok(digest)
    }

    /// Stores a manifest under a tag, on a condition.
    pub fn push_tag(
        &self,
        repository: &Repository,
        tag: &Tag,
        manifest: &Descriptor,
        bytes: &[u8],
        condition: TagCondition,
    ) -> Result<TagOutcome, RegistryError> {
        let (digest, media_type) = (&manifest.digest, &*manifest.media_type);
        let put = PutManifest { key: tag.as_str(), digest, media_type, bytes };
        self.put_manifest(repository, &put, condition)
    }

    fn put_manifest(
        &self,
        repository: &Repository,
        put: &PutManifest<'_>,
        condition: TagCondition,
    ) -> Result<TagOutcome, RegistryError> {
        let PutManifest { key, digest, media_type, bytes } = *put;
        let push = || {
            let path = format!("/v2/{}/manifests/{key}", repository.name);
            let url = self.url(&repository.registry, &path)?;
            let scopes = Scopes::of(&repository.name, "pull,push");
            let fill = |request: anyarch_http::Request<'static>| {
                let request =
                    request.header("content-type", media_type).body(Body::Bytes(bytes.to_vec()));
                match condition {
                    TagCondition::Any => request,
                    TagCondition::New => request.header("if-none-match", "*"),
                }
            };
            let response = self.exchange(&repository.registry, &scopes, Method::Put, &url, fill)?;
            match response.status {
                412 if condition == TagCondition::New => Ok(TagOutcome::Existed),
                200..=299 => verify_announced(digest, &response).map(|()| TagOutcome::Set),
                _ => Err(refused(Method::Put, response)),
            }
        };
        push().map_err(|failure| failure.during(format!("push manifest {key} to {repository}")))
    }

    /// Deletes a manifest, with the tags that point to it.
    pub fn delete_manifest(
        &self,
        repository: &Repository,
        digest: &Digest,
    ) -> Result<(), RegistryError> {
        self.delete(repository, &format!("manifests/{digest}"))
    }

    /// Deletes a tag; what it points to stays.
    pub fn delete_tag(&self, repository: &Repository, tag: &Tag) -> Result<(), RegistryError> {
        self.delete(repository, &format!("manifests/{tag}"))
    }

    /// Deletes a blob from a repository.
    pub fn delete_blob(
        &self,
        repository: &Repository,
        digest: &Digest,
    ) -> Result<(), RegistryError> {
        self.delete(repository, &format!("blobs/{digest}"))
    }

    fn delete(&self, repository: &Repository, object: &str) -> Result<(), RegistryError> {
        let delete = || {
            let path = format!("/v2/{}/{object}", repository.name);
            let url = self.url(&repository.registry, &path)?;
            let scopes = Scopes::of(&repository.name, "pull,push,delete");
            let response =
                self.exchange(&repository.registry, &scopes, Method::Delete, &url, |r| r)?;
            if response.is_success() { Ok(()) } else { Err(refused(Method::Delete, response)) }
        };
        delete().map_err(|failure| failure.during(format!("delete {object} of {repository}")))
    }

    fn manifest_request(&self, method: Method, reference: &Reference) -> Result<Response, Failure> {
        let repository = Repository::of(reference);
        let path = format!("/v2/{}/manifests/{}", repository.name, reference.manifest_key());
        let url = self.url(&repository.registry, &path)?;
        let accept = media_type::ACCEPT_MANIFESTS.join(", ");
        let scopes = Scopes::of(&repository.name, "pull");
        self.exchange(&repository.registry, &scopes, method, &url, |request| {
            request.header("accept", accept.as_str())
        })
    }

    pub(super) fn read_manifest(
        &self,
        reference: &Reference,
    ) -> Result<(Descriptor, Vec<u8>), Failure> {
        let response = self.manifest_request(Method::Get, reference)?;
        if response.status != 200 {
            return Err(refused(Method::Get, response));
        }
        let announced = content_digest(&response)?;
        let content_type = content_type(&response);
        let mut bytes = Vec::new();
        response
            .body
            .take(MAX_MANIFEST + 1)
            .read_to_end(&mut bytes)
            .map_err(super::pull::read_failure)?;
        if bytes.len() as u64 > MAX_MANIFEST {
            return Err(Failure::TooLarge { limit: MAX_MANIFEST });
        }
        let expected = reference.digest.clone().or(announced);
        let mut digest = Digest::sha256(&bytes);
        if let Some(expected) = expected {
            let mut hasher = expected.hasher();
            hasher.update(&bytes);
            digest = hasher.finish();
            verify(Some(&expected), &digest)?;
        }
        // The document's own word goes before the header, as for every reader of it.
        let manifest = Manifest::parse(&bytes, Some(&content_type))?;
        let kind = match media_type_of(&bytes) {
            Some(own) => own,
            None if content_type == "application/json" => manifest.media_type().to_owned(),
            None => content_type,
        };
        Ok((Descriptor::new(&kind, digest, bytes.len() as u64), bytes))
    }
}

/// Compares the digest that a registry announces for what it took with that of what was sent. It may
/// keep content under another algorithm than ours.
pub(super) fn verify_announced(sent: &Digest, response: &Response) -> Result<(), Failure> {
    match content_digest(response)? {
        Some(actual) if actual.algorithm() == sent.algorithm() => verify(Some(sent), &actual),
        _ => Ok(()),
    }
}

fn verify(expected: Option<&Digest>, actual: &Digest) -> Result<(), Failure> {
    match expected {
        Some(expected) if expected != actual => {
            Err(Failure::Mismatch { expected: expected.clone(), actual: actual.clone() })
        }
        _ => Ok(()),
    }
}

fn media_type_of(bytes: &[u8]) -> Option<String> {
    let document: serde_json::Value = serde_json::from_slice(bytes).ok()?;
    Some(document.get("mediaType")?.as_str()?.to_owned())
}

/// The media type of an answer, without parameters.
fn content_type(response: &Response) -> String {
    let value = response.header("content-type").unwrap_or("application/json");
    value.split(';').next().unwrap_or(value).trim().to_owned()
}

fn content_digest(response: &Response) -> Result<Option<Digest>, Failure> {
    let Some(value) = response.header("docker-content-digest") else { return Ok(None) };
    match value.parse() {
        Ok(digest) => Ok(Some(digest)),
        Err(error) => Err(Failure::Protocol(format!("Docker-Content-Digest: {error}"))),
    }
}
