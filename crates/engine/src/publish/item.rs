//! What is published: images and indexes, each with its bytes and tags.

use std::collections::BTreeMap;

use anyarch_oci::{
    Descriptor, Digest, ImageIndex, ImageManifest, Platform, Raw, Reference, Tag, media_type,
};
use anyarch_plan::Plan;
use anyarch_plan::publish::PublishPlan;
use anyarch_plan::target::Selection;

use crate::error::{BuildError, Context};
use crate::image::BuiltImage;
use crate::resolve::Resolved;

/// An image that can be published.
pub(super) struct Ready {
    /// Which member and tier of the plan.
    pub(super) selection: Selection,
    /// What it runs on.
    pub(super) platform: Platform,
    /// Its manifest, and what is known of it.
    pub(super) manifest: Raw<ImageManifest>,
    /// Media type of the manifest.
    pub(super) media_type: String,
    /// Where its blobs are that are not in the host store: images it was built from or is taken from.
    pub(super) origins: Vec<Reference>,
}

impl Ready {
    /// An image that was built here.
    pub(super) fn built(image: BuiltImage, resolved: &Resolved) -> Ready {
        let origins = resolved.images.values().filter_map(|image| image.op.reference.parse().ok());
        Ready {
            selection: image.selection,
            platform: image.platform,
            manifest: image.manifest,
            media_type: media_type::MANIFEST.to_owned(),
            origins: origins.collect(),
        }
    }

    pub(super) fn descriptor(&self) -> Descriptor {
        Descriptor::new(&self.media_type, self.manifest.digest.clone(), self.manifest.size())
    }
}

/// A manifest or index with the tags it gets.
pub(super) struct Item {
    /// For people: the target, or the first tag of an index.
    pub(super) name: String,
    pub(super) descriptor: Descriptor,
    pub(super) bytes: Vec<u8>,
    pub(super) platforms: Vec<Platform>,
    /// Layers of all its images with their sizes.
    pub(super) layers: BTreeMap<Digest, u64>,
    /// What must be there before the manifest: layers, then configuration; nothing for an index.
    pub(super) blobs: Vec<Descriptor>,
    /// Where blobs may be found besides the host store.
    pub(super) origins: Vec<Reference>,
    pub(super) tags: Vec<Tag>,
    pub(super) version_tags: Vec<Tag>,
}

impl Item {
    pub(super) fn is_index(&self) -> bool {
        self.descriptor.media_type == media_type::INDEX
    }
}

/// Everything that gets a tag, images before the indexes that hold them.
pub(super) fn items(
    plan: &Plan,
    publish: &PublishPlan,
    images: &[Ready],
) -> Result<Vec<Item>, BuildError> {
    let mut items = Vec::new();
    for wanted in &publish.images {
        let image = find(images, wanted.selection)?;
        let manifest = &image.manifest.value;
        items.push(Item {
            name: wanted.selection.canonical(plan),
            descriptor: image.descriptor(),
            bytes: image.manifest.bytes.clone(),
            platforms: vec![image.platform.clone()],
            layers: layers(image),
            blobs: manifest.layers.iter().chain([&manifest.config]).cloned().collect(),
            origins: image.origins.clone(),
            tags: wanted.tags.clone(),
            version_tags: wanted.version_tags.clone(),
        });
    }
    for wanted in &publish.indexes {
        let mut entries = Vec::new();
        let mut all_layers = BTreeMap::new();
        for &member_at in &wanted.members {
            let member = &plan.members[member_at];
            let last = member.tiers.len().saturating_sub(1);
            let image = find(images, Selection { member: member_at, tier: last })?;
            entries.push(index_entry(image, member.accelerator.as_deref()));
            all_layers.extend(layers(image));
        }
        let platforms = entries.iter().filter_map(|entry| entry.platform.clone()).collect();
        let index = Raw::encode(ImageIndex::new(entries))
            .context(|| "failed to write an index".to_owned())?;
        let moving = wanted.tags.iter().find(|tag| !wanted.version_tags.contains(tag));
        items.push(Item {
            name: moving.or(wanted.tags.first()).map(Tag::to_string).unwrap_or_default(),
            descriptor: Descriptor::new(media_type::INDEX, index.digest.clone(), index.size()),
            bytes: index.bytes,
            platforms,
            layers: all_layers,
            blobs: Vec::new(),
            origins: Vec::new(),
            tags: wanted.tags.clone(),
            version_tags: wanted.version_tags.clone(),
        });
    }
    Ok(items)
}

fn find(images: &[Ready], selection: Selection) -> Result<&Ready, BuildError> {
    let found = images.iter().find(|image| image.selection == selection);
    found.ok_or_else(|| BuildError::failed("an image to publish was not built"))
}

fn layers(image: &Ready) -> BTreeMap<Digest, u64> {
    let layers = image.manifest.value.layers.iter();
    layers.map(|layer| (layer.digest.clone(), layer.size)).collect()
}

/// An image as an entry of an index. What needs an accelerator says so: a reader that knows the
/// feature can choose it, and one that does not takes the entry before it.
fn index_entry(image: &Ready, accelerator: Option<&str>) -> Descriptor {
    let mut platform = image.platform.clone();
    let mut entry = image.descriptor();
    if let Some(accelerator) = accelerator {
        platform.os_features.push(accelerator.to_owned());
        entry.annotations.insert("io.anyarch.accelerator".to_owned(), accelerator.to_owned());
    }
    entry.with_platform(platform)
}
