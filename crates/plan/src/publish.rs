//! Names to publish → images with their tags, and the indexes over them (specification, section 4).
//!
//! A flavor without an architecture means all its members here. An index is published when all its
//! members are, from the same run or not: publishing never rebuilds. Says which tags never move.

use anyarch_oci::Tag;

use crate::names::publish_names;
use crate::plan::Plan;
use crate::tags;
use crate::target::{Meaning, Selection, TargetError, resolve};
use crate::template::{Rendered, TemplateError, render_all};

/// What to push, and under which tags.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PublishPlan {
    /// Images, in the order of the plan.
    pub images: Vec<PublishImage>,
    /// Indexes: those of flavors first, then those of the plan in its order.
    pub indexes: Vec<PublishIndex>,
}

/// One image to push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishImage {
    /// The tier and its member.
    pub selection: Selection,
    /// All its tags.
    pub tags: Vec<Tag>,
    /// Those of `tags` that carry the version: they go before the others and never move.
    pub version_tags: Vec<Tag>,
}

/// One index to push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishIndex {
    /// All its tags.
    pub tags: Vec<Tag>,
    /// Those of `tags` that carry the version: they go before the others and never move.
    pub version_tags: Vec<Tag>,
    /// Positions in [`Plan::members`], in the order of the index.
    pub members: Vec<usize>,
}

/// What to publish for `names`; no name means everything.
///
/// Takes the names that [`crate::target::select`] takes, each with or without `publish-` before it,
/// and names of tiers (`publish-base-arm64`, `publish-base-cuda`). `version` is the `V` of the tags.
pub fn select(
    plan: &Plan,
    names: &[String],
    version: Option<&str>,
    arch: Option<&str>,
) -> Result<PublishPlan, TargetError> {
    let bare: Vec<String> = names
        .iter()
        .map(|name| match name.as_str() {
            "publish" => "all".to_owned(),
            name => name.strip_prefix("publish-").unwrap_or(name).to_owned(),
        })
        .collect();
    let meaning = Meaning { names: publish_names(plan), open_means_all: true };
    let selected = resolve(plan, &bare, arch, meaning)?;
    let mut published = PublishPlan::default();
    for selection in &selected {
        let image = image(plan, selection, version)?;
        published.images.push(image);
    }
    let whole = |member: &usize| {
        let last = plan.members.get(*member).map(|member| member.tiers.len().saturating_sub(1));
        last.is_some_and(|tier| selected.contains(&Selection { member: *member, tier }))
    };
    for flavor in &plan.flavors {
        let members = plan.members_of(&flavor.name);
        if members.len() > 1 && members.iter().all(whole) {
            let tags = flavor_tags(plan, &flavor.name, version)
                .map_err(|source| TargetError::Tag { name: flavor.name.clone(), source })?;
            published.indexes.extend(index(tags, members));
        }
    }
    for of_plan in &plan.indexes {
        if !of_plan.members.is_empty() && of_plan.members.iter().all(whole) {
            let tags = index_tags(plan, &of_plan.name, version)
                .map_err(|source| TargetError::Tag { name: of_plan.name.clone(), source })?;
            published.indexes.extend(index(tags, of_plan.members.clone()));
        }
    }
    Ok(published)
}

/// Published tags of an image.
pub(crate) fn image_tags(
    plan: &Plan,
    selection: &Selection,
    version: Option<&str>,
) -> Result<Vec<Rendered>, TemplateError> {
    let variables = tags::of_image(plan, selection, version);
    let Some(member) = plan.members.get(selection.member) else { return Ok(Vec::new()) };
    if selection.tier + 1 < member.tiers.len() {
        return render_all(&plan.tags.publish_tier, &variables);
    }
    let mut rendered = render_all(&plan.tags.publish, &variables)?;
    if plan.members_of(&member.flavor).len() == 1 {
        // The whole flavor is this one image, which then needs no index to carry the tags.
        rendered.extend(flavor_tags(plan, &member.flavor, version)?);
    }
    Ok(rendered)
}

/// Published tags of a whole flavor.
pub(crate) fn flavor_tags(
    plan: &Plan,
    flavor: &str,
    version: Option<&str>,
) -> Result<Vec<Rendered>, TemplateError> {
    render_all(&plan.tags.publish_flavor, &tags::of_flavor(plan, flavor, version))
}

/// Published tags of an index of the plan.
pub(crate) fn index_tags(
    plan: &Plan,
    index: &str,
    version: Option<&str>,
) -> Result<Vec<Rendered>, TemplateError> {
    render_all(&plan.tags.index, &tags::of_index(plan, index, version))
}

fn image(
    plan: &Plan,
    selection: &Selection,
    version: Option<&str>,
) -> Result<PublishImage, TargetError> {
    let name = || selection.canonical(plan);
    let rendered = image_tags(plan, selection, version)
        .map_err(|source| TargetError::Tag { name: name(), source })?;
    if rendered.is_empty() && version.is_none() {
        return Err(TargetError::NeedsVersion { name: name() });
    }
    let (tags, version_tags) = split(rendered);
    Ok(PublishImage { selection: *selection, tags, version_tags })
}

fn index(rendered: Vec<Rendered>, members: Vec<usize>) -> Option<PublishIndex> {
    let (tags, version_tags) = split(rendered);
    (!tags.is_empty()).then_some(PublishIndex { tags, version_tags, members })
}

fn split(rendered: Vec<Rendered>) -> (Vec<Tag>, Vec<Tag>) {
    let versioned = rendered.iter().filter(|r| r.versioned).map(|r| r.tag.clone()).collect();
    (rendered.into_iter().map(|rendered| rendered.tag).collect(), versioned)
}
