//! Manifests: resolve, read verified, write, delete; and the choice of a platform.

use std::io::Read;

use anyarch_http::{Body, Method, Response};
use anyarch_oci::{Descriptor, Digest, Manifest, Platform, Reference, Tag, media_type};

use super::error::{Failure, RegistryError};
use super::exchange::{RegistryClient, refused};
use super::host::Repository;
use super::token::Scopes;

/// What registries must take and clients need not exceed (distribution-spec, "Pushing Manifests").
pub(crate) const MAX_MANIFEST: u64 = 4 * 1024 * 1024;
/// How many indexes may be nested in each other.
const MAX_NESTING: usize = 4;

impl RegistryClient {
    /// What a reference points to now; `None` where there is no such tag or manifest.
    pub fn resolve(&self, reference: &Reference) -> Result<Option<Descriptor>, RegistryError> {
        let resolve = || {
            let response = self.manifest_request(Method::Head, reference)?;
            match response.status {
                404 => return Ok(None),
                200 => {}
                _ => return Err(refused(Method::Head, response)),
            }
            let digest = content_digest(&response)?;
            if let (Some(digest), Some(size)) = (digest, response.length) {
                verify(reference.digest.as_ref(), &digest)?;
                return Ok(Some(Descriptor::new(&content_type(&response), digest, size)));
            }
            // The headers are only recommended; the content says the same.
            Ok(Some(self.read_manifest(reference)?.0))
        };
        resolve().map_err(|failure: Failure| failure.during(format!("resolve {reference}")))
    }

    /// The manifest or index that a reference names: its descriptor and its exact bytes, verified
    /// against the reference's digest, or else the one the registry announced.
    pub fn manifest(&self, reference: &Reference) -> Result<(Descriptor, Vec<u8>), RegistryError> {
        self.read_manifest(reference).map_err(|failure| failure.during(format!("pull {reference}")))
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
                let (descriptor, bytes) = self.read_manifest(&current)?;
                let Manifest::Index(index) = Manifest::parse(&bytes, Some(&descriptor.media_type))?
                else {
                    return Ok((descriptor, bytes));
                };
                let Some(chosen) = index.select(platform) else {
                    let entries =
                        index.manifests.iter().filter_map(|entry| entry.platform.as_ref());
                    let have = entries.map(Platform::to_string).collect();
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
        let push = || {
            let path = format!("/v2/{}/manifests/{key}", repository.name);
            let url = self.url(&repository.registry, &path)?;
            let scopes = Scopes::of(&repository.name, "pull,push");
            let fill = |request: anyarch_http::Request<'static>| {
                request.header("content-type", media_type).body(Body::Bytes(bytes.to_vec()))
            };
            let response = self.exchange(&repository.registry, &scopes, Method::Put, &url, fill)?;
            if !response.is_success() {
                return Err(refused(Method::Put, response));
            }
            match content_digest(&response)? {
                Some(actual) => verify(Some(&digest), &actual),
                None => Ok(()),
            }
        };
        push().map_err(|failure| failure.during(format!("push manifest {key} to {repository}")))?;
        Ok(digest)
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
