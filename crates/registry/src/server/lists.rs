//! Lists: tags, repositories, referrers.

use std::io::Read;

use anyarch_oci::{Descriptor, Digest, ImageIndex, Manifest, RepositoryName, media_type};
use axum::http::{HeaderName, StatusCode, header};
use serde::Serialize;

use super::manifests::artifact_type;
use super::reply::{Outcome, Refusal, Reply};
use super::route::{self, Query};
use super::state::{State, internal};

/// Bytes of entries in a list of referrers; clients take a manifest of 4 MiB at most.
const MAX_REFERRERS: usize = 3 * 1024 * 1024;
const FILTERS_APPLIED: HeaderName = HeaderName::from_static("oci-filters-applied");

pub(super) async fn tags(state: &State, repository: &RepositoryName, query: &Query) -> Outcome {
    #[derive(Serialize)]
    struct Tags {
        name: String,
        tags: Vec<String>,
    }
    let name = repository.clone();
    let all = state
        .blocking(move |store| {
            let tags = store.tags(&name)?;
            if tags.is_empty() && store.manifests(&name)?.is_empty() {
                return Err(Refusal::unknown(
                    "NAME_UNKNOWN",
                    format!("there is no repository {name}"),
                ));
            }
            Ok(tags.iter().map(ToString::to_string).collect::<Vec<_>>())
        })
        .await?;
    let (page, link) = page(all, query, &format!("/v2/{repository}/tags/list"))?;
    with_link(link).json(&Tags { name: repository.to_string(), tags: page })
}

pub(super) async fn catalog(state: &State, query: &Query) -> Outcome {
    #[derive(Serialize)]
    struct Catalog {
        repositories: Vec<String>,
    }
    let all = state
        .blocking(|store| Ok(store.repositories()?.iter().map(ToString::to_string).collect()))
        .await?;
    let (repositories, link) = page(all, query, "/v2/_catalog")?;
    with_link(link).json(&Catalog { repositories })
}

pub(super) async fn referrers(
    state: &State,
    repository: &RepositoryName,
    subject: &Digest,
    query: &Query,
) -> Outcome {
    let wanted = query.get("artifactType").map(str::to_owned);
    let last = query.get("last").map(route::digest).transpose()?;
    let (name, about, filter) = (repository.clone(), subject.clone(), wanted.clone());
    let entries = state
        .blocking(move |store| {
            let mut entries = Vec::new();
            for listed in store.manifests(&name)? {
                if last.as_ref().is_some_and(|last| listed.digest <= *last) {
                    continue;
                }
                // A manifest whose content was removed from the store refers to nothing.
                let Some(mut blob) = store.blob(&listed.digest)? else { continue };
                let mut bytes = Vec::new();
                blob.file.read_to_end(&mut bytes).map_err(internal)?;
                // Whoever else writes to the store may keep documents that are no manifests.
                let Ok(manifest) = Manifest::parse(&bytes, Some(&listed.media_type)) else {
                    continue;
                };
                if manifest.subject().is_none_or(|other| other.digest != about) {
                    continue;
                }
                let entry = referrer(&listed, &manifest);
                if filter.is_none() || entry.artifact_type == filter {
                    entries.push(entry);
                }
            }
            Ok(entries)
        })
        .await?;
    let (entries, next) = fitting(entries)?;
    let link = next.map(|last| {
        let mut next = url::form_urlencoded::Serializer::new(String::new());
        if let Some(kind) = &wanted {
            next.append_pair("artifactType", kind);
        }
        next.append_pair("last", &last.to_string());
        format!("</v2/{repository}/referrers/{subject}?{}>; rel=\"next\"", next.finish())
    });
    let mut reply = with_link(link);
    if wanted.is_some() {
        reply = reply.header(FILTERS_APPLIED, "artifactType");
    }
    let bytes = serde_json::to_vec(&ImageIndex::new(entries)).map_err(internal)?;
    Ok(reply.header(header::CONTENT_TYPE, media_type::INDEX).bytes(bytes))
}

/// As many entries as clients take at once, by digest, and the last one where there are more.
fn fitting(mut entries: Vec<Descriptor>) -> Result<(Vec<Descriptor>, Option<Digest>), Refusal> {
    entries.sort_by(|a, b| a.digest.cmp(&b.digest));
    let mut size = 0;
    for (number, entry) in entries.iter().enumerate() {
        size += serde_json::to_vec(entry).map_err(internal)?.len();
        if size > MAX_REFERRERS && number > 0 {
            entries.truncate(number);
            let last = entries.last().map(|entry| entry.digest.clone());
            return Ok((entries, last));
        }
    }
    Ok((entries, None))
}

fn referrer(listed: &Descriptor, manifest: &Manifest) -> Descriptor {
    let mut entry = Descriptor::new(&listed.media_type, listed.digest.clone(), listed.size);
    entry.artifact_type = artifact_type(manifest).map(str::to_owned);
    entry.annotations = match manifest {
        Manifest::Image(image) => image.annotations.clone(),
        Manifest::Index(index) => index.annotations.clone(),
    };
    entry
}

/// The entries after `last`, `n` at most, and where the list goes on.
fn page(
    mut all: Vec<String>,
    query: &Query,
    path: &str,
) -> Result<(Vec<String>, Option<String>), Refusal> {
    all.sort_unstable();
    if let Some(last) = query.get("last") {
        all.retain(|entry| entry.as_str() > last);
    }
    let Some(n) = query.get("n") else { return Ok((all, None)) };
    let n: usize = n
        .parse()
        .map_err(|_| Refusal::bad("PAGINATION_NUMBER_INVALID", format!("`{n}` is not a number")))?;
    if all.len() <= n {
        return Ok((all, None));
    }
    all.truncate(n);
    let link = all.last().map(|last| {
        let mut next = url::form_urlencoded::Serializer::new(String::new());
        next.append_pair("n", &n.to_string()).append_pair("last", last);
        format!("<{path}?{}>; rel=\"next\"", next.finish())
    });
    Ok((all, link))
}

fn with_link(link: Option<String>) -> Reply {
    let reply = Reply::new(StatusCode::OK);
    match link {
        Some(link) => reply.header(header::LINK, link),
        None => reply,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page_of(query: &str) -> (String, Option<String>) {
        let all = ["b", "c", "a"].map(str::to_owned).to_vec();
        let (page, link) = page(all, &Query::parse(Some(query)), "/l").unwrap();
        (page.join(""), link)
    }

    #[test]
    fn referrers_that_do_not_fit_come_later() {
        let entry = |text: &str, length: usize| {
            let mut entry = Descriptor::of(media_type::MANIFEST, text.as_bytes());
            entry.annotations.insert("note".to_owned(), "x".repeat(length));
            entry
        };
        let all = ["1", "2", "3"].map(|text| entry(text, MAX_REFERRERS / 2));
        let (first, next) = fitting(all.to_vec()).unwrap();
        assert_eq!((first.len(), next.as_ref()), (1, Some(&first[0].digest)));
        assert_eq!(fitting(vec![entry("4", MAX_REFERRERS)]).unwrap().1, None);
        let small = ["1", "2", "3"].map(|text| entry(text, 1));
        assert_eq!(fitting(small.to_vec()).unwrap().0.len(), 3);
    }

    #[test]
    fn pages() {
        assert_eq!(page_of(""), ("abc".to_owned(), None));
        let next = Some("</l?n=2&last=b>; rel=\"next\"".to_owned());
        assert_eq!(page_of("n=2"), ("ab".to_owned(), next));
        assert_eq!(page_of("n=2&last=b"), ("c".to_owned(), None));
        assert_eq!(page_of("n=0"), (String::new(), None));
        assert!(page(Vec::new(), &Query::parse(Some("n=x")), "/l").is_err());
    }
}
