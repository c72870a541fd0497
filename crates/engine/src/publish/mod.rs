//! Publishes a family: what is built is tested, sent and tagged, in an order in which a reader finds
//! the old release or the new one, and never a tag whose content is missing.
//!
//! ```text
//! images            built here (build.rs), or taken from where they are published (taken.rs)
//!   ▼ smoke
//! items             manifests and indexes with their tags (item.rs)
//!   ▼ survey.rs     what of them is at the destination, and what its tags point to now
//!   ▼ guard         a version that has other content there is refused, before anything is sent
//!   ▼ push.rs       blobs, several at once; manifests by digest; indexes; read back and compared
//!   ▼ tags.rs       tags with a version first, looked at again; then those that move
//! Published
//! ```
//!
//! `journal.rs` keeps what a killed publication had begun, so that the next one goes on with it.

mod confirm;
mod item;
mod journal;
mod push;
mod rehearse;
mod survey;
mod tags;
mod taken;

use std::fmt;
use std::path::Path;

use anyarch_oci::{Digest, ImageDestination, Platform, RepositoryName, Tag};
use anyarch_plan::Plan;
use anyarch_plan::publish::PublishPlan;
use anyarch_plan::target::Selection;
use anyarch_sandbox::Cancel;

use crate::build::{BuildRequest, build_in};
use crate::engine::{Engine, Session};
use crate::error::BuildError;
use crate::event::OnEvent;
use crate::lock::LockFile;
use item::{Item, Ready, items};
use journal::Journal;

pub use confirm::{Confirmed, confirm};
pub use rehearse::{BlobFate, Rehearsal, RehearsedItem, RehearsedTag, rehearse};

/// How many requests of a publication are under way at once.
const AT_ONCE: usize = 4;

/// A repository of a registry, or of the embedded one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The registry, as in references; `None` for the embedded one, which is the host store.
    pub registry: Option<String>,
    /// The repository there.
    pub repository: RepositoryName,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.registry {
            Some(registry) => write!(f, "{registry}/{}", self.repository),
            None => write!(f, "{}", self.repository),
        }
    }
}

/// What to publish, and where.
pub struct PublishRequest<'a> {
    /// The checked plan.
    pub plan: &'a Plan,
    /// The folder of the plan file.
    pub directory: &'a Path,
    /// Images, indexes and their tags.
    pub publish: &'a PublishPlan,
    /// The lock; entries that are missing are added.
    pub lock: &'a mut LockFile,
    /// Where to.
    pub to: &'a Place,
    /// Where images are taken from that are published already; `None` builds them.
    pub from: Option<&'a Place>,
    /// Whether tags with a version may move.
    pub force: bool,
}

/// What was published.
#[derive(Clone, Debug, Default)]
pub struct Published {
    /// One row a tag, in the order of tagging.
    pub tags: Vec<PublishedTag>,
    /// Blobs that were at the destination already, as far as they were asked for.
    pub existed: usize,
    /// Blobs taken over from another repository.
    pub mounted: usize,
    /// Blobs that were sent.
    pub uploaded: usize,
    /// Bytes that were sent.
    pub bytes: u64,
    /// Bytes that were sent, by item.
    sent: Vec<u64>,
}

/// One published tag.
#[derive(Clone, Debug)]
pub struct PublishedTag {
    /// The tag.
    pub tag: Tag,
    /// What it points to.
    pub digest: Digest,
    /// What that runs on.
    pub platforms: Vec<Platform>,
    /// Sum of the compressed layers of all its images, shared ones once.
    pub size: u64,
    /// Bytes of it that were sent for the first of its tags.
    pub uploaded: u64,
    /// What it pointed to before; `None` for a new tag.
    pub before: Option<Digest>,
}

impl PublishedTag {
    /// True where it pointed there before.
    pub fn unchanged(&self) -> bool {
        self.before.as_ref() == Some(&self.digest)
    }
}

/// Builds what is not built, tests it with its smoke commands, and publishes it.
///
/// # Errors
/// What failed first. Tags are touched only after all content is there; a version that is there with
/// other content is refused before anything is sent.
pub fn publish(
    engine: &Engine,
    request: PublishRequest<'_>,
    destination: &dyn ImageDestination,
    on: OnEvent<'_>,
    cancel: &Cancel,
) -> Result<Published, BuildError> {
    let PublishRequest { plan, directory, publish, lock, to, from, force } = request;
    let session = Session::new(engine, plan.project.source_date_epoch, on, cancel);
    let images = match from {
        Some(from) => session.take_published(plan, publish, from)?,
        None => session.build_to_publish(plan, directory, publish, lock)?,
    };
    let items = items(plan, publish, &images)?;
    let journal = Journal::open(&session, to)?;
    let survey = session.survey(&items, to, destination)?;
    survey.guard(&items, to, force)?;
    let mut published = session.push_blobs(&items, &survey, &journal, to, destination)?;
    session.push_manifests(&items, &survey, to, destination)?;
    session.set_tags(&items, &survey, to, destination, &mut published)?;
    journal.close(&items)?;
    Ok(published)
}

impl Session<'_> {
    /// Builds the images and tests those that have a smoke command.
    fn build_to_publish(
        &self,
        plan: &Plan,
        directory: &Path,
        publish: &PublishPlan,
        lock: &mut LockFile,
    ) -> Result<Vec<Ready>, BuildError> {
        let selections: Vec<Selection> =
            publish.images.iter().map(|image| image.selection).collect();
        let request = BuildRequest { plan, directory, selections: &selections, lock };
        let (images, resolved) = build_in(self, request)?;
        for image in &images {
            let member = &plan.members[image.selection.member];
            if image.selection.tier + 1 == member.tiers.len()
                && let Some(command) = &member.smoke
            {
                self.smoke(&resolved, image, command)?;
            }
        }
        Ok(images.into_iter().map(|image| Ready::built(image, &resolved)).collect())
    }
}
