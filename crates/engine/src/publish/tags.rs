//! Sets the tags, when all that they are to point to is there: those with a version first, which must
//! be new, then those that move.
//!
//! Registries have no transaction over several tags. What keeps two publications of one version apart:
//! a lock, on one machine (journal.rs); the condition that a tag is new, where the registry heeds it;
//! a look at each tag with a version right before it is set, since the survey may be hours old by
//! then; and another look at all of them before and after the moving ones are set. Whoever finds them
//! pointing elsewhere has lost, is told, and has not moved anything if it was found out before.

use anyarch_oci::{ImageDestination, TagCondition, TagOutcome};

use super::survey::{Survey, TagNow};
use super::{Item, Place, Published, PublishedTag};
use crate::engine::Session;
use crate::error::{BuildError, Context, ErrorKind};
use crate::event::Event;

impl Session<'_> {
    /// Sets every tag that does not point where it should.
    pub(super) fn set_tags(
        &self,
        items: &[Item],
        survey: &Survey,
        to: &Place,
        destination: &dyn ImageDestination,
        published: &mut Published,
    ) -> Result<(), BuildError> {
        let mut claimed: Vec<&TagNow> = Vec::new();
        let mut looked_again = false;
        for now in &survey.tags {
            self.check_cancelled()?;
            let item = &items[now.item];
            let digest = &item.descriptor.digest;
            if !now.versioned && !looked_again {
                self.demand_claims(&claimed, items, to, destination, "no other tag was touched")?;
                looked_again = true;
            }
            if now.before.as_ref() != Some(digest) {
                let outcome = self.set_tag(now, item, to, destination)?;
                if now.versioned {
                    claimed.push(now);
                }
                if outcome == TagOutcome::Existed {
                    self.demand_claims(&[now], items, to, destination, "no other tag was touched")?;
                }
                (self.on)(Event::Tagged {
                    tag: format!("{to}:{}", now.tag),
                    digest: digest.clone(),
                });
            }
            let first = !published.tags.iter().any(|row| row.digest == *digest);
            published.tags.push(PublishedTag {
                tag: now.tag.clone(),
                digest: digest.clone(),
                platforms: item.platforms.clone(),
                size: item.layers.values().sum(),
                uploaded: if first {
                    published.sent.get(now.item).copied().unwrap_or(0)
                } else {
                    0
                },
                before: now.before.clone(),
            });
        }
        let remark = "the moving tags may point to either of the two";
        self.demand_claims(&claimed, items, to, destination, remark)
    }

    /// Sets one tag, unless it must be new and is not.
    fn set_tag(
        &self,
        now: &TagNow,
        item: &Item,
        to: &Place,
        destination: &dyn ImageDestination,
    ) -> Result<TagOutcome, BuildError> {
        let what = || format!("failed to tag {to}:{}", now.tag);
        let mut condition = TagCondition::Any;
        if now.versioned && now.before.is_none() {
            condition = TagCondition::New;
            if destination.tag(&to.repository, &now.tag).context(what)?.is_some() {
                return Ok(TagOutcome::Existed);
            }
        }
        destination
            .push_tag(&to.repository, &now.tag, &item.descriptor, &item.bytes, condition)
            .context(what)
    }

    /// Looks at tags that were set.
    ///
    /// # Errors
    /// When another publication has set one to other content.
    fn demand_claims(
        &self,
        claimed: &[&TagNow],
        items: &[Item],
        to: &Place,
        destination: &dyn ImageDestination,
        remark: &str,
    ) -> Result<(), BuildError> {
        let mut lost = Vec::new();
        for now in claimed {
            let found = destination
                .tag(&to.repository, &now.tag)
                .context(|| format!("failed to look up {to}:{}", now.tag))?;
            if found.as_ref() != Some(&items[now.item].descriptor.digest) {
                lost.push(now.tag.to_string());
            }
        }
        if lost.is_empty() {
            return Ok(());
        }
        let message =
            format!("another publication set {} in {to} while this one ran", lost.join(", "));
        Err(BuildError::new(ErrorKind::Refused, message).because(remark.to_owned()).hint(
            "its version is the one that is published; publish this one under a new version"
                .to_owned(),
        ))
    }
}
