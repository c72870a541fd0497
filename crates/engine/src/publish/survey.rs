//! What of a publication is at the destination already, and what its tags point to: asked before
//! anything is sent, a request for each tag and one more for each manifest that no tag shows.

use anyarch_oci::{Digest, ImageDestination, Tag};

use super::{AT_ONCE, Item, Place};
use crate::engine::Session;
use crate::error::{BuildError, Context, ErrorKind};
use crate::event::Event;
use crate::parallel;

/// What is there.
pub(super) struct Survey {
    /// For each item, whether its manifest is there; then so is all that it refers to.
    pub(super) there: Vec<bool>,
    /// Every tag, those with a version first, images before indexes.
    pub(super) tags: Vec<TagNow>,
}

/// A tag before the publication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TagNow {
    pub(super) tag: Tag,
    /// Position of the item that it is to point to.
    pub(super) item: usize,
    /// Whether it carries the version, and must not move.
    pub(super) versioned: bool,
    /// What it points to.
    pub(super) before: Option<Digest>,
}

impl Session<'_> {
    /// Asks the destination.
    pub(super) fn survey(
        &self,
        items: &[Item],
        to: &Place,
        destination: &dyn ImageDestination,
    ) -> Result<Survey, BuildError> {
        (self.on)(Event::Resolving { what: format!("tags of {to}") });
        let wanted = tags_in_order(items);
        let tags = parallel::each(AT_ONCE, &wanted, |wanted| {
            self.check_cancelled()?;
            let before = destination
                .tag(&to.repository, &wanted.tag)
                .context(|| format!("failed to look up {to}:{}", wanted.tag))?;
            Ok(TagNow { before, ..wanted.clone() })
        })?;
        let shown = |at: usize| {
            let digest = &items[at].descriptor.digest;
            tags.iter().any(|tag| tag.before.as_ref() == Some(digest))
        };
        let positions: Vec<usize> = (0..items.len()).collect();
        let there = parallel::each(AT_ONCE, &positions, |&at| {
            if shown(at) {
                return Ok(true);
            }
            self.check_cancelled()?;
            let descriptor = &items[at].descriptor;
            destination
                .has_manifest(&to.repository, descriptor)
                .context(|| format!("failed to look up {to}@{}", descriptor.digest))
        })?;
        Ok(Survey { there, tags })
    }
}

/// The tags to set, in the order of setting them.
fn tags_in_order(items: &[Item]) -> Vec<TagNow> {
    let mut tags = Vec::new();
    for versioned in [true, false] {
        for (at, item) in items.iter().enumerate() {
            let of_kind =
                item.tags.iter().filter(|tag| item.version_tags.contains(tag) == versioned);
            tags.extend(of_kind.map(|tag| TagNow {
                tag: tag.clone(),
                item: at,
                versioned,
                before: None,
            }));
        }
    }
    tags
}

impl Survey {
    /// The tags with a version that have other content there.
    pub(super) fn taken<'a>(&'a self, items: &'a [Item]) -> impl Iterator<Item = &'a TagNow> {
        let differs = |now: &&TagNow| {
            let here = &items[now.item].descriptor.digest;
            now.versioned && now.before.as_ref().is_some_and(|there| there != here)
        };
        self.tags.iter().filter(differs)
    }

    /// Refuses to move a tag with a version that has other content, unless `force` says so.
    pub(super) fn guard(&self, items: &[Item], to: &Place, force: bool) -> Result<(), BuildError> {
        let taken: Vec<String> = self
            .taken(items)
            .filter_map(|now| {
                let (here, there) = (&items[now.item].descriptor.digest, now.before.as_ref()?);
                Some(format!("{} is {} there, {} here", now.tag, there.short(), here.short()))
            })
            .collect();
        if force || taken.is_empty() {
            return Ok(());
        }
        let message = format!("this version is published already in {to}, with other content");
        Err(BuildError::new(ErrorKind::Refused, message)
            .because(taken.join("; "))
            .hint("publish it as a new version, or move the tags with --force".to_owned()))
    }
}
