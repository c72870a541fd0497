//! Deletions → the repository, where it is still as it was when they were planned.

use std::collections::BTreeSet;

use anyarch_oci::{Digest, EndpointError, Tag};

use super::gather::states;
use super::{Removal, TagState, TaggedRepository, Untagged};

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// How many manifests were deleted.
    pub deleted: usize,
    /// Tags that were taken away from manifests that stay.
    pub untagged: Vec<Tag>,
    /// Tags that the registry cannot take away without their manifests.
    pub left: Vec<Tag>,
}

/// Carries out a removal that was planned for these tags. `on_done` is told of each deletion.
///
/// # Errors
/// Where a tag was set, moved or removed since: nothing is deleted then. Where a deletion fails,
/// what was deleted before stays deleted, and the rest can be planned again.
pub fn apply(
    repository: &dyn TaggedRepository,
    planned_for: &[TagState],
    removal: &Removal,
    mut on_done: impl FnMut(&str),
) -> Result<Applied, EndpointError> {
    let mut applied = Applied::default();
    if removal.delete.is_empty() && removal.untag.is_empty() {
        return Ok(applied);
    }
    unchanged(repository, planned_for)?;
    for digest in &removal.delete {
        repository.remove_manifest(digest)?;
        applied.deleted += 1;
        on_done(&digest.to_string());
    }
    for tag in &removal.untag {
        match repository.remove_tag(tag)? {
            Untagged::Gone => {
                applied.untagged.push(tag.clone());
                on_done(tag.as_str());
            }
            Untagged::Unsupported => applied.left.push(tag.clone()),
        }
    }
    Ok(applied)
}

/// Refuses where the tags are not what they were: a deletion is not undone.
fn unchanged(
    repository: &dyn TaggedRepository,
    planned_for: &[TagState],
) -> Result<(), EndpointError> {
    let now = states(repository)?;
    let now: BTreeSet<(&Tag, &Digest)> =
        now.iter().map(|(state, _)| (&state.tag, &state.digest)).collect();
    let then: BTreeSet<(&Tag, &Digest)> =
        planned_for.iter().map(|state| (&state.tag, &state.digest)).collect();
    let Some((tag, _)) = now.symmetric_difference(&then).next() else { return Ok(()) };
    Err(EndpointError {
        message: format!("tag {tag} changed while the repository was looked through"),
        hint: Some("nothing was deleted; run again when nobody publishes".to_owned()),
        not_found: false,
        source: None,
    })
}
