//! Publishes images that are built: blobs, then manifests by digest, then indexes, then tags, so
//! that a reader finds the old release or the new one and never a tag whose content is missing.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::Path;

use anyarch_oci::{
    Descriptor, Digest, ImageDestination, ImageIndex, Platform, PushedBlob, Raw, RepositoryName,
    Tag, media_type,
};
use anyarch_plan::Plan;
use anyarch_plan::publish::PublishPlan;
use anyarch_plan::target::Selection;
use anyarch_sandbox::Cancel;

use crate::build::{BuildRequest, build_in};
use crate::engine::{Engine, Session};
use crate::error::{BuildError, Context};
use crate::event::{Event, OnEvent, Unit};
use crate::image::BuiltImage;
use crate::lock::LockFile;

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
    /// The repository at the destination.
    pub repository: &'a RepositoryName,
}

/// What was published.
#[derive(Clone, Debug)]
pub struct Published {
    /// One row a tag, in the order of tagging.
    pub tags: Vec<PublishedTag>,
    /// Blobs that were at the destination already.
    pub existed: usize,
    /// Blobs taken over from another repository.
    pub mounted: usize,
    /// Blobs that were sent.
    pub uploaded: usize,
    /// Bytes that were sent.
    pub bytes: u64,
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
    /// True where it pointed there before.
    pub unchanged: bool,
}

/// A manifest or index with the tags it gets.
struct Item {
    descriptor: Descriptor,
    bytes: Vec<u8>,
    platforms: Vec<Platform>,
    layers: BTreeMap<Digest, u64>,
    tags: Vec<Tag>,
    version_tags: Vec<Tag>,
}

/// Builds what is not built, tests it with its smoke commands, and publishes it.
pub fn publish(
    engine: &Engine,
    request: PublishRequest<'_>,
    destination: &dyn ImageDestination,
    on: OnEvent<'_>,
    cancel: &Cancel,
) -> Result<Published, BuildError> {
    let PublishRequest { plan, directory, publish, lock, repository } = request;
    let selections: Vec<Selection> = publish.images.iter().map(|image| image.selection).collect();
    let session = Session::new(engine, plan.project.source_date_epoch, on, cancel);
    let request = BuildRequest { plan, directory, selections: &selections, lock };
    let (images, resolved) = build_in(&session, request)?;
    for image in &images {
        let member = &plan.members[image.selection.member];
        if image.selection.tier + 1 == member.tiers.len()
            && let Some(command) = &member.smoke
        {
            session.smoke(&resolved, image, command)?;
        }
    }
    let mut published = session.push_blobs(&images, repository, destination)?;
    let items = items(plan, publish, &images)?;
    session.push_items(&items, repository, destination, &mut published)?;
    Ok(published)
}

/// Everything that gets a tag, images before the indexes that hold them.
fn items(
    plan: &Plan,
    publish: &PublishPlan,
    images: &[BuiltImage],
) -> Result<Vec<Item>, BuildError> {
    let mut items = Vec::new();
    for wanted in &publish.images {
        let image = find(images, wanted.selection)?;
        items.push(Item {
            descriptor: image.descriptor(),
            bytes: image.manifest.bytes.clone(),
            platforms: vec![image.platform.clone()],
            layers: layers(image),
            tags: wanted.tags.clone(),
            version_tags: wanted.version_tags.clone(),
        });
    }
    for wanted in &publish.indexes {
        let mut entries = Vec::new();
        let mut all_layers = BTreeMap::new();
        for &member_at in &wanted.members {
            let member = &plan.members[member_at];
            let image = find(
                images,
                Selection { member: member_at, tier: member.tiers.len().saturating_sub(1) },
            )?;
            entries.push(index_entry(image, member.accelerator.as_deref()));
            all_layers.extend(layers(image));
        }
        let platforms = entries.iter().filter_map(|entry| entry.platform.clone()).collect();
        let index = Raw::encode(ImageIndex::new(entries))
            .context(|| "failed to write an index".to_owned())?;
        items.push(Item {
            descriptor: Descriptor::new(media_type::INDEX, index.digest.clone(), index.size()),
            bytes: index.bytes,
            platforms,
            layers: all_layers,
            tags: wanted.tags.clone(),
            version_tags: wanted.version_tags.clone(),
        });
    }
    Ok(items)
}

fn find(images: &[BuiltImage], selection: Selection) -> Result<&BuiltImage, BuildError> {
    let found = images.iter().find(|image| image.selection == selection);
    found.ok_or_else(|| BuildError::failed("an image to publish was not built"))
}

fn layers(image: &BuiltImage) -> BTreeMap<Digest, u64> {
    let layers = image.manifest.value.layers.iter();
    layers.map(|layer| (layer.digest.clone(), layer.size)).collect()
}

/// An image as an entry of an index. What needs an accelerator says so: a reader that knows the
/// feature can choose it, and one that does not takes the entry before it.
fn index_entry(image: &BuiltImage, accelerator: Option<&str>) -> Descriptor {
    let mut platform = image.platform.clone();
    let mut entry = image.descriptor();
    if let Some(accelerator) = accelerator {
        platform.os_features.push(accelerator.to_owned());
        entry.annotations.insert("io.anyarch.accelerator".to_owned(), accelerator.to_owned());
    }
    entry.with_platform(platform)
}

impl Session<'_> {
    /// Pushes layers and configurations, each once.
    fn push_blobs(
        &self,
        images: &[BuiltImage],
        repository: &RepositoryName,
        destination: &dyn ImageDestination,
    ) -> Result<Published, BuildError> {
        let mut published =
            Published { tags: Vec::new(), existed: 0, mounted: 0, uploaded: 0, bytes: 0 };
        let mut seen = BTreeSet::new();
        for image in images {
            let manifest = &image.manifest.value;
            for blob in manifest.layers.iter().chain([&manifest.config]) {
                if !seen.insert(blob.digest.clone()) {
                    continue;
                }
                self.check_cancelled()?;
                let how = self.push_blob(repository, blob, destination)?;
                match how {
                    PushedBlob::Existed => published.existed += 1,
                    PushedBlob::Mounted => published.mounted += 1,
                    PushedBlob::Uploaded(bytes) => {
                        published.uploaded += 1;
                        published.bytes += bytes;
                    }
                }
                (self.on)(Event::Pushed { digest: blob.digest.clone(), how });
            }
        }
        Ok(published)
    }

    fn push_blob(
        &self,
        repository: &RepositoryName,
        blob: &Descriptor,
        destination: &dyn ImageDestination,
    ) -> Result<PushedBlob, BuildError> {
        let store = self.store();
        let open = || -> std::io::Result<Box<dyn Read + Send>> {
            let found = store.blob(&blob.digest).map_err(std::io::Error::other)?;
            let found = found.ok_or(std::io::ErrorKind::NotFound)?;
            Ok(Box::new(found.file))
        };
        let progress = |done: u64| {
            (self.on)(Event::Progress {
                step: None,
                what: format!("push {}", blob.digest.short()),
                done,
                total: Some(blob.size),
                unit: Unit::Bytes,
            });
        };
        destination
            .push_blob(repository, blob, None, &open, &progress)
            .context(|| format!("failed to push {} to {repository}", blob.digest))
    }

    /// Pushes manifests and indexes by digest, checks that they are there, then moves the tags:
    /// those with a version first, the moving ones last.
    fn push_items(
        &self,
        items: &[Item],
        repository: &RepositoryName,
        destination: &dyn ImageDestination,
        published: &mut Published,
    ) -> Result<(), BuildError> {
        for item in items {
            self.check_cancelled()?;
            let what = || format!("failed to push {} to {repository}", item.descriptor.digest);
            if !destination.has_manifest(repository, &item.descriptor).context(what)? {
                destination
                    .push_manifest(repository, None, &item.descriptor, &item.bytes)
                    .context(what)?;
            }
        }
        for item in items {
            let what = || format!("failed to verify {} in {repository}", item.descriptor.digest);
            if !destination.has_manifest(repository, &item.descriptor).context(what)? {
                return Err(BuildError::failed(what())
                    .because("the destination accepted it and does not have it"));
            }
        }
        for versioned in [true, false] {
            for item in items {
                for tag in
                    item.tags.iter().filter(|tag| item.version_tags.contains(tag) == versioned)
                {
                    self.check_cancelled()?;
                    let what = || format!("failed to tag {repository}:{tag}");
                    let before = destination.tag(repository, tag).context(what)?;
                    let unchanged = before.as_ref() == Some(&item.descriptor.digest);
                    if !unchanged {
                        destination
                            .push_manifest(repository, Some(tag), &item.descriptor, &item.bytes)
                            .context(what)?;
                    }
                    (self.on)(Event::Tagged {
                        tag: format!("{repository}:{tag}"),
                        digest: item.descriptor.digest.clone(),
                    });
                    published.tags.push(PublishedTag {
                        tag: tag.clone(),
                        digest: item.descriptor.digest.clone(),
                        platforms: item.platforms.clone(),
                        size: item.layers.values().sum(),
                        unchanged,
                    });
                }
            }
        }
        Ok(())
    }
}
