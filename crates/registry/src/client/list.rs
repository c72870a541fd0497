//! Lists: the tags of a repository, and the manifests that refer to one.

use std::collections::BTreeSet;
use std::io::Read;

use anyarch_http::{Method, Response};
use anyarch_oci::{Descriptor, Digest, ImageIndex, Manifest, Reference, Tag, media_type};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::Url;

use super::error::{Failure, RegistryError};
use super::exchange::{RegistryClient, refused};
use super::host::Repository;
use super::link;
use super::pull::read_failure;
use super::token::Scopes;

/// Entries asked for at a time.
const PAGE: &str = "1000";
/// Longest page that is read.
const MAX_PAGE: u64 = 16 * 1024 * 1024;

#[derive(Deserialize)]
struct TagPage {
    #[serde(default)]
    tags: Option<Vec<String>>,
}

impl RegistryClient {
    /// The tags of a repository, over all pages; `None` where there is no such repository. Names
    /// that are not tags are left out.
    pub fn tags(&self, repository: &Repository) -> Result<Option<Vec<Tag>>, RegistryError> {
        let path = format!("/v2/{}/tags/list?n={PAGE}", repository.name);
        let list = || {
            let mut tags = Vec::new();
            let found = self.pages(repository, &path, |_, page: TagPage| {
                let names = page.tags.unwrap_or_default();
                tags.extend(names.iter().filter_map(|name| name.parse().ok()));
            })?;
            Ok(found.then_some(tags))
        };
        list().map_err(|failure: Failure| failure.during(format!("list the tags of {repository}")))
    }

    /// The manifests whose subject is `subject`, of one artifact type where given. Registries
    /// without the referrers API are read through the tag that stands in for it.
    pub fn referrers(
        &self,
        repository: &Repository,
        subject: &Digest,
        artifact_type: Option<&str>,
    ) -> Result<Vec<Descriptor>, RegistryError> {
        let list = || {
            let mut path = format!("/v2/{}/referrers/{subject}", repository.name);
            if let Some(artifact_type) = artifact_type {
                let mut query = url::form_urlencoded::Serializer::new(String::new());
                path.push('?');
                path.push_str(&query.append_pair("artifactType", artifact_type).finish());
            }
            let mut entries: Vec<Descriptor> = Vec::new();
            let found = self.pages(repository, &path, |_, page: ImageIndex| {
                entries.extend(page.manifests);
            })?;
            if !found {
                entries = self.referrers_tag(repository, subject)?;
            }
            // A registry may leave the filter to us.
            entries.retain(|entry| {
                artifact_type.is_none_or(|wanted| entry.artifact_type.as_deref() == Some(wanted))
            });
            Ok(entries)
        };
        list().map_err(|failure: Failure| {
            failure.during(format!("list what refers to {subject} in {repository}"))
        })
    }

    /// Distribution-spec, "Referrers Tag Schema".
    fn referrers_tag(
        &self,
        repository: &Repository,
        subject: &Digest,
    ) -> Result<Vec<Descriptor>, Failure> {
        let tag = format!("{}-{}", subject.algorithm().name(), subject.hex());
        let reference = Reference {
            registry: Some(repository.registry.clone()),
            repository: repository.name.clone(),
            tag: tag.parse().ok(),
            digest: None,
        };
        match self.read_manifest(&reference) {
            Ok((descriptor, bytes)) => {
                match Manifest::parse(&bytes, Some(&descriptor.media_type))? {
                    Manifest::Index(index) => Ok(index.manifests),
                    Manifest::Image(_) => Ok(Vec::new()),
                }
            }
            Err(Failure::Answer { status: 404, .. }) => Ok(Vec::new()),
            Err(failure) => Err(failure),
        }
    }

    /// Reads every page from `path` on; false where there is nothing at `path`.
    fn pages<T: DeserializeOwned>(
        &self,
        repository: &Repository,
        path: &str,
        mut take: impl FnMut(&Response, T),
    ) -> Result<bool, Failure> {
        let registry = &repository.registry;
        let scopes = Scopes::of(&repository.name, "pull");
        let first = self.url(registry, path)?;
        let mut seen = BTreeSet::new();
        let mut next = Some(first.clone());
        while let Some(url) = next {
            if url.origin() != first.origin() || !seen.insert(url.to_string()) {
                return Err(Failure::Protocol(format!("a list goes on at {url}")));
            }
            let mut response = self.exchange(registry, &scopes, Method::Get, &url, |request| {
                request.header("accept", format!("{}, application/json", media_type::INDEX))
            })?;
            match response.status {
                200 => {}
                404 if url == first => return Ok(false),
                _ => return Err(refused(Method::Get, response)),
            }
            let mut text = Vec::new();
            (&mut response.body).take(MAX_PAGE).read_to_end(&mut text).map_err(read_failure)?;
            let page = serde_json::from_slice(&text)
                .map_err(|error| Failure::Protocol(format!("a list does not parse: {error}")))?;
            next = next_page(&url, &response);
            take(&response, page);
        }
        Ok(true)
    }
}

fn next_page(url: &Url, response: &Response) -> Option<Url> {
    let links = response.headers.iter().filter(|(name, _)| name == "link");
    links.map(|(_, value)| value).find_map(|value| link::next(url, value))
}
