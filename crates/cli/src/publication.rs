//! What `publish` and `release` share: where images go, and how what was published is shown.

use std::sync::Arc;

use anyarch_engine::{Place, Published, PublishedTag, StoreImages};
use anyarch_oci::{ImageDestination, Reference};
use anyarch_plan::Plan;
use anyarch_registry::RegistryDestination;
use anyarch_store::Store;
use serde::Serialize;

use crate::failure::Failure;
use crate::global::Global;
use crate::report::Report;
use crate::{host, text};

/// Where images go: what was given, or else what the plan says, or else the embedded registry.
pub(crate) fn place(given: Option<&str>, plan: &Plan) -> Result<Place, Failure> {
    match given.or(plan.project.repository.as_deref()) {
        Some(text) => repository(text, "publish to"),
        None => embedded(plan),
    }
}

/// The project's repository in the embedded registry.
pub(crate) fn embedded(plan: &Plan) -> Result<Place, Failure> {
    let repository = plan.project.name.parse().map_err(|error| {
        Failure::usage("the project's name is not a repository name").because(&error)
    })?;
    Ok(Place { registry: None, repository })
}

/// Reads HOST/PATH; `doing` says for the error what it is for.
pub(crate) fn repository(text: &str, doing: &str) -> Result<Place, Failure> {
    let wrong = || Failure::usage(format!("cannot {doing} `{text}`"));
    let reference: Reference = text.parse().map_err(|error| wrong().because(&error))?;
    if reference.tag.is_some() || reference.digest.is_some() {
        let hint = "leave out the tag or digest: the plan says which tags are set".to_owned();
        return Err(wrong().hint(hint));
    }
    match reference.registry {
        Some(registry) => Ok(Place { registry: Some(registry), repository: reference.repository }),
        None => {
            Err(wrong().hint(format!("name the registry too, such as registry.example/{text}")))
        }
    }
}

/// The way there.
pub(crate) fn destination<'a>(
    place: &Place,
    store: &'a Store,
    global: &Global,
    report: &Report,
) -> Result<Box<dyn ImageDestination + 'a>, Failure> {
    let Some(registry) = &place.registry else { return Ok(Box::new(StoreImages(store))) };
    let client = host::registry_client(global, host::client(report.warner())?)?;
    Ok(Box::new(RegistryDestination::new(Arc::new(client), registry.as_str())))
}

/// A tag, as `--progress json` gives it.
#[derive(Serialize)]
pub(crate) struct TagView {
    tag: String,
    digest: String,
    platforms: Vec<String>,
    size: u64,
    uploaded: u64,
    before: Option<String>,
    unchanged: bool,
}

/// The tags of a publication.
pub(crate) fn views(published: &Published, place: &Place) -> Vec<TagView> {
    let view = |tag: &PublishedTag| TagView {
        tag: format!("{place}:{}", tag.tag),
        digest: tag.digest.to_string(),
        platforms: tag.platforms.iter().map(ToString::to_string).collect(),
        size: tag.size,
        uploaded: tag.uploaded,
        before: tag.before.as_ref().map(ToString::to_string),
        unchanged: tag.unchanged(),
    };
    published.tags.iter().map(view).collect()
}

/// The same for people.
pub(crate) fn table(tags: &[TagView]) -> String {
    let rows: Vec<[String; 6]> = tags
        .iter()
        .map(|tag| {
            let what = match (&tag.before, tag.unchanged) {
                (_, true) => "unchanged",
                (None, _) => "new",
                (Some(_), _) => "moved",
            };
            [
                tag.tag.clone(),
                tag.digest.clone(),
                tag.platforms.join(" "),
                text::bytes(tag.size),
                text::bytes(tag.uploaded),
                what.to_owned(),
            ]
        })
        .collect();
    text::table(["TAG", "DIGEST", "PLATFORMS", "SIZE", "SENT", ""], &rows)
}
