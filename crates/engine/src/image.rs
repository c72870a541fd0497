//! Assembles images: configuration and manifest from what a stage says and what its steps left.

use anyarch_oci::{Descriptor, History, ImageConfig, ImageManifest, Platform, Raw, media_type};
use anyarch_plan::target::Selection;
use anyarch_store::Store;

use crate::chain::Chain;
use crate::error::{BuildError, Context};
use crate::event::StepId;
use crate::stage::{HistoryItem, Lowered};

/// What the history says about who made an entry.
const COMMENT: &str = "anyarch";

/// An image that is complete in the host store.
#[derive(Clone, Debug)]
pub struct BuiltImage {
    /// Which member and tier of the plan.
    pub selection: Selection,
    /// The member, for people: `cpu/amd64`.
    pub member: String,
    /// The tier.
    pub tier: String,
    /// What it runs on.
    pub platform: Platform,
    /// Its manifest.
    pub manifest: Raw<ImageManifest>,
    /// Its configuration.
    pub config: ImageConfig,
    /// The layers of its tree.
    pub(crate) chain: Chain,
    /// Its local tags, as `REPOSITORY:TAG`.
    pub tags: Vec<String>,
}

impl BuiltImage {
    /// The manifest's descriptor.
    pub fn descriptor(&self) -> Descriptor {
        Descriptor::new(media_type::MANIFEST, self.manifest.digest.clone(), self.manifest.size())
    }

    /// Sum of the compressed layers, in bytes.
    pub fn size(&self) -> u64 {
        self.chain.size()
    }
}

/// Seconds since 1970 as RFC 3339.
fn rfc3339(seconds: i64) -> Result<String, BuildError> {
    let time = jiff::Timestamp::from_second(seconds)
        .map_err(|error| BuildError::input(format!("{seconds} is not a time")).because(error))?;
    Ok(time.to_string())
}

/// Writes configuration and manifest of a stage to the store.
///
/// `layers_of` gives the chain that a step left.
pub(crate) fn assemble(
    store: &Store,
    lowered: &Lowered,
    layers_of: &dyn Fn(Option<StepId>) -> Chain,
    parent_of: &dyn Fn(StepId) -> Option<StepId>,
    epoch: i64,
) -> Result<(Raw<ImageManifest>, ImageConfig, Chain), BuildError> {
    let what = || "failed to assemble the image".to_owned();
    let created = rfc3339(epoch)?;
    let chain = layers_of(lowered.step);
    let mut config = lowered.config.clone();
    config.rootfs.diff_ids = chain.diff_ids();
    config.created = Some(created.clone());
    config.history = lowered
        .history
        .iter()
        .map(|item| match item {
            HistoryItem::Inherited(entry) => entry.clone(),
            HistoryItem::Ours { created_by, step } => {
                let added = step.is_some_and(|step| {
                    layers_of(Some(step)).layers.len() > layers_of(parent_of(step)).layers.len()
                });
                History {
                    created: Some(created.clone()),
                    created_by: Some(created_by.clone()),
                    comment: Some(COMMENT.to_owned()),
                    empty_layer: !added,
                    ..History::default()
                }
            }
        })
        .collect();
    let raw = Raw::encode(config).context(what)?;
    store.put_blob(&raw.bytes).context(what)?;
    let layers = chain.layers.iter().map(|layer| layer.descriptor.clone()).collect();
    let manifest = ImageManifest::new(
        Descriptor::new(media_type::CONFIG, raw.digest.clone(), raw.size()),
        layers,
    );
    let manifest = Raw::encode(manifest).context(what)?;
    store.put_blob(&manifest.bytes).context(what)?;
    Ok((manifest, raw.value, chain))
}
