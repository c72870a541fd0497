//! What a publication would do, found out without doing it: nothing is built, sent or tagged.

use anyarch_oci::{Descriptor, Digest, ImageDestination, Platform, RepositoryName, Tag};
use anyarch_plan::publish::PublishPlan;
use anyarch_sandbox::Cancel;

use super::push::{Parcel, mount_candidates};
use super::survey::Survey;
use super::{AT_ONCE, Item, PublishRequest, Ready, items, journal};
use crate::build::{BuildRequest, look_up_in};
use crate::engine::{Engine, Session};
use crate::error::{BuildError, Context};
use crate::event::OnEvent;
use crate::parallel;

/// What would be done.
#[derive(Clone, Debug, Default)]
pub struct Rehearsal {
    /// Images and indexes that are built, in the order of publishing.
    pub items: Vec<RehearsedItem>,
    /// Targets that must be built first, then the indexes over them, with the tags they would get.
    pub not_built: Vec<(String, Vec<Tag>)>,
    /// Tags with a version that exist with other content: publishing would be refused.
    pub refused: Vec<Tag>,
}

/// An image or index that would be published.
#[derive(Clone, Debug)]
pub struct RehearsedItem {
    /// The target, or the first tag of an index.
    pub name: String,
    /// Digest of its manifest.
    pub digest: Digest,
    /// What it runs on.
    pub platforms: Vec<Platform>,
    /// Whether its manifest is there.
    pub there: bool,
    /// Its blobs; none where the manifest is there, nor those of an image before it.
    pub blobs: Vec<(Descriptor, BlobFate)>,
    /// Its tags.
    pub tags: Vec<RehearsedTag>,
}

/// What would become of a blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BlobFate {
    /// It is there.
    There,
    /// It would be taken over from another repository, if that still has it.
    Mount(RepositoryName),
    /// Its bytes would be sent.
    Upload,
}

/// What would become of a tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RehearsedTag {
    /// The tag.
    pub tag: Tag,
    /// What it points to now.
    pub before: Option<Digest>,
}

/// Finds out what [`super::publish`] would do.
pub fn rehearse(
    engine: &Engine,
    request: PublishRequest<'_>,
    destination: &dyn ImageDestination,
    on: OnEvent<'_>,
    cancel: &Cancel,
) -> Result<Rehearsal, BuildError> {
    let PublishRequest { plan, directory, publish, lock, to, from, force } = request;
    let session = Session::new(engine, plan.project.source_date_epoch, on, cancel);
    let mut rehearsal = Rehearsal::default();
    let images = match from {
        Some(from) => session.take_published(plan, publish, from)?,
        None => {
            let mut images = Vec::new();
            for wanted in &publish.images {
                let selections = [wanted.selection];
                let request = BuildRequest { plan, directory, selections: &selections, lock };
                match look_up_in(&session, request)? {
                    Some((built, resolved)) => {
                        images
                            .extend(built.into_iter().map(|image| Ready::built(image, &resolved)));
                    }
                    None => rehearsal
                        .not_built
                        .push((wanted.selection.canonical(plan), wanted.tags.clone())),
                }
            }
            images
        }
    };
    let mut possible = PublishPlan::default();
    let ready = |member: usize, tier: usize| {
        images.iter().any(|image| image.selection.member == member && image.selection.tier == tier)
    };
    for wanted in &publish.images {
        if ready(wanted.selection.member, wanted.selection.tier) {
            possible.images.push(wanted.clone());
        }
    }
    for index in &publish.indexes {
        let whole = |member: &usize| ready(*member, plan.members[*member].tiers.len() - 1);
        if index.members.iter().all(whole) {
            possible.indexes.push(index.clone());
        } else {
            let members: Vec<String> =
                index.members.iter().map(|at| plan.members[*at].to_string()).collect();
            rehearsal
                .not_built
                .push((format!("index of {}", members.join(", ")), index.tags.clone()));
        }
    }
    let items = items(plan, &possible, &images)?;
    let survey = session.survey(&items, to, destination)?;
    let neighbours = journal::neighbours(&engine.store, to)?;
    let mut seen = std::collections::BTreeSet::new();
    for (at, item) in items.iter().enumerate() {
        let blobs: Vec<&Descriptor> = match survey.there[at] {
            true => Vec::new(),
            false => item.blobs.iter().filter(|blob| seen.insert(&blob.digest)).collect(),
        };
        let fates = parallel::each(AT_ONCE, &blobs, |blob| {
            session.check_cancelled()?;
            let there = destination
                .has_blob(&to.repository, blob)
                .context(|| format!("failed to look up {to}@{}", blob.digest))?;
            let others = neighbours.iter().filter(|(_, blobs)| blobs.contains(&blob.digest));
            let parcel = Parcel { blob, origins: &item.origins };
            let candidates =
                mount_candidates(&parcel, others.map(|(name, _)| name.clone()).collect(), to);
            Ok(match (there, candidates.into_iter().next()) {
                (true, _) => BlobFate::There,
                (false, Some(from)) => BlobFate::Mount(from),
                (false, None) => BlobFate::Upload,
            })
        })?;
        rehearsal.items.push(rehearsed(
            at,
            item,
            &survey,
            blobs.into_iter().cloned().zip(fates).collect(),
        ));
    }
    if !force {
        rehearsal.refused = survey.taken(&items).map(|now| now.tag.clone()).collect();
    }
    Ok(rehearsal)
}

fn rehearsed(
    at: usize,
    item: &Item,
    survey: &Survey,
    blobs: Vec<(Descriptor, BlobFate)>,
) -> RehearsedItem {
    let tags = survey.tags.iter().filter(|now| now.item == at);
    RehearsedItem {
        name: item.name.clone(),
        digest: item.descriptor.digest.clone(),
        platforms: item.platforms.clone(),
        there: survey.there[at],
        blobs,
        tags: tags
            .map(|now| RehearsedTag { tag: now.tag.clone(), before: now.before.clone() })
            .collect(),
    }
}
