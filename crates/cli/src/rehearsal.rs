//! How a dry run of a publication is shown.

use anyarch_engine::{BlobFate, Place, Rehearsal, RehearsedItem, RehearsedTag};
use anyarch_oci::Descriptor;
use serde::Serialize;

use crate::failure::Failure;
use crate::text;

/// A dry run, as `--progress json` gives it.
#[derive(Serialize)]
pub(crate) struct Rehearsed {
    to: String,
    items: Vec<ItemView>,
    not_built: Vec<NotBuilt>,
    refused: Vec<String>,
}

#[derive(Serialize)]
struct ItemView {
    name: String,
    digest: String,
    platforms: Vec<String>,
    there: bool,
    blobs: Vec<BlobView>,
    tags: Vec<TagView>,
}

#[derive(Serialize)]
struct BlobView {
    /// `send`, `mount` or `skip`.
    what: &'static str,
    digest: String,
    size: u64,
    /// The repository that it would be mounted from.
    from: Option<String>,
}

#[derive(Serialize)]
struct TagView {
    tag: String,
    /// `new`, `move`, `keep` or `refuse`.
    what: &'static str,
    before: Option<String>,
}

#[derive(Serialize)]
struct NotBuilt {
    name: String,
    tags: Vec<String>,
}

impl Rehearsed {
    /// The view of a dry run.
    pub(crate) fn new(rehearsal: &Rehearsal, to: &Place) -> Rehearsed {
        let items = rehearsal.items.iter().map(|item| ItemView::new(item, rehearsal)).collect();
        let not_built = rehearsal.not_built.iter().map(|(name, tags)| NotBuilt {
            name: name.clone(),
            tags: tags.iter().map(ToString::to_string).collect(),
        });
        Rehearsed {
            to: to.to_string(),
            items,
            not_built: not_built.collect(),
            refused: rehearsal.refused.iter().map(ToString::to_string).collect(),
        }
    }

    /// The same for people.
    pub(crate) fn text(&self) -> String {
        let mut text = format!("would publish to {}:\n", self.to);
        for item in &self.items {
            let known = if item.there { ", there already" } else { "" };
            let platforms = item.platforms.join(" ");
            text.push_str(&format!("{} ({platforms}) {}{known}\n", item.name, item.digest));
            for blob in &item.blobs {
                let from = blob.from.as_ref().map(|from| format!(" from {from}"));
                text.push_str(&format!(
                    "  {:<5} {} {}{}\n",
                    blob.what,
                    blob.digest,
                    text::bytes(blob.size),
                    from.unwrap_or_default()
                ));
            }
            for tag in &item.tags {
                let words = match (tag.what, &tag.before) {
                    ("keep", _) => "points there already".to_owned(),
                    ("move", Some(before)) => format!("moves from {before}"),
                    ("refuse", Some(before)) => format!("exists as {before}, and would be refused"),
                    _ => "new".to_owned(),
                };
                text.push_str(&format!("  tag   {}: {words}\n", tag.tag));
            }
        }
        for missing in &self.not_built {
            text.push_str(&format!("{}: not built yet\n", missing.name));
            for tag in &missing.tags {
                text.push_str(&format!("  tag   {tag}\n"));
            }
        }
        text.push_str(&self.sum());
        text
    }

    /// `to send: 3 blobs (12.3 MB); to mount: 1 blob (80.6 MB); …`
    fn sum(&self) -> String {
        let sum = |what: &str| {
            let blobs = self.items.iter().flat_map(|item| &item.blobs);
            let sizes: Vec<u64> = blobs.filter(|blob| blob.what == what).map(|b| b.size).collect();
            format!("{} ({})", text::count(sizes.len(), "blob"), text::bytes(sizes.iter().sum()))
        };
        let moved = self.items.iter().flat_map(|item| &item.tags).filter(|tag| tag.what != "keep");
        format!(
            "in all: {} to send, {} to mount, {} there; {} to set\n",
            sum("send"),
            sum("mount"),
            sum("skip"),
            text::count(moved.count(), "tag")
        )
    }
}

impl ItemView {
    fn new(item: &RehearsedItem, rehearsal: &Rehearsal) -> ItemView {
        let tag = |tag: &RehearsedTag| TagView {
            tag: tag.tag.to_string(),
            what: match &tag.before {
                None => "new",
                Some(before) if *before == item.digest => "keep",
                Some(_) if rehearsal.refused.contains(&tag.tag) => "refuse",
                Some(_) => "move",
            },
            before: tag.before.as_ref().map(ToString::to_string),
        };
        ItemView {
            name: item.name.clone(),
            digest: item.digest.to_string(),
            platforms: item.platforms.iter().map(ToString::to_string).collect(),
            there: item.there,
            blobs: item.blobs.iter().map(|(blob, fate)| BlobView::new(blob, fate)).collect(),
            tags: item.tags.iter().map(tag).collect(),
        }
    }
}

impl BlobView {
    fn new(blob: &Descriptor, fate: &BlobFate) -> BlobView {
        let (what, from) = match fate {
            BlobFate::There => ("skip", None),
            BlobFate::Mount(from) => ("mount", Some(from.to_string())),
            BlobFate::Upload => ("send", None),
        };
        BlobView { what, digest: blob.digest.to_string(), size: blob.size, from }
    }
}

/// How a dry run ends: as the publication would, where that is known.
pub(crate) fn verdict(rehearsal: &Rehearsal) -> Result<(), Failure> {
    if rehearsal.refused.is_empty() {
        return Ok(());
    }
    let tags: Vec<String> = rehearsal.refused.iter().map(ToString::to_string).collect();
    Err(Failure::refused(format!(
        "{} would be refused: other content is there",
        text::listing(&tags)
    ))
    .hint("publish it as a new version, or move the tags with --force".to_owned()))
}
