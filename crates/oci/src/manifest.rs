//! Image manifests and indexes (image-spec, "Image Manifest", "Image Index"), OCI or Docker.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{Descriptor, Platform, media_type};

/// One image: its configuration and its layers, lowest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageManifest {
    /// Always 2.
    pub schema_version: u32,
    /// Media type of this document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// Type of an artifact that is not an image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The image configuration.
    pub config: Descriptor,
    /// The layers, lowest first.
    pub layers: Vec<Descriptor>,
    /// The manifest that this one says something about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// Free-form annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Fields that this version of the specification does not name.
    #[serde(flatten)]
    pub extra: BTreeMap<String, serde_json::Value>,
}

/// Several images under one name, one per platform.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageIndex {
    /// Always 2.
    pub schema_version: u32,
    /// Media type of this document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// Type of an artifact that is not an image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The manifests; where several match a platform, the first is taken.
    pub manifests: Vec<Descriptor>,
    /// The manifest that this one says something about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// Free-form annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Fields that this version of the specification does not name.
    #[serde(flatten)]
    pub extra: BTreeMap<String, serde_json::Value>,
}

/// What a registry stores under `/manifests/`.
#[derive(Clone, Debug, PartialEq)]
#[expect(
    clippy::large_enum_variant,
    reason = "one or two exist at a time; boxes would only be in the way"
)]
pub enum Manifest {
    /// One image.
    Image(ImageManifest),
    /// Several.
    Index(ImageIndex),
}

/// Why bytes are not a manifest that we can read.
#[derive(Debug, Error)]
pub enum ManifestError {
    /// Not JSON, or a field has the wrong type.
    #[error("manifest is not valid: {0}")]
    Json(#[from] serde_json::Error),
    /// Another kind of document.
    #[error("manifest has media type `{0}`, which is neither an image manifest nor an index")]
    MediaType(String),
    /// Docker's first schema, without content addresses.
    #[error("manifest has schema version {0}; only version 2 is supported")]
    Schema(u64),
}

impl ImageManifest {
    /// A manifest of OCI's media type.
    pub fn new(config: Descriptor, layers: Vec<Descriptor>) -> ImageManifest {
        ImageManifest {
            schema_version: 2,
            media_type: Some(media_type::MANIFEST.to_owned()),
            artifact_type: None,
            config,
            layers,
            subject: None,
            annotations: BTreeMap::new(),
            extra: BTreeMap::new(),
        }
    }
}

impl ImageIndex {
    /// An index of OCI's media type.
    pub fn new(manifests: Vec<Descriptor>) -> ImageIndex {
        ImageIndex {
            schema_version: 2,
            media_type: Some(media_type::INDEX.to_owned()),
            artifact_type: None,
            manifests,
            subject: None,
            annotations: BTreeMap::new(),
            extra: BTreeMap::new(),
        }
    }

    /// The entry that suits `wanted` best, and the first of those that suit it equally (see
    /// [`Platform::fit`]). An index whose only image names no platform is for whatever that image
    /// is for; attestations are no images.
    pub fn select(&self, wanted: &Platform) -> Option<&Descriptor> {
        let fit = |entry: &&Descriptor| entry.platform.as_ref()?.fit(wanted);
        let best = self.manifests.iter().filter_map(|entry| Some((fit(&entry)?, entry)));
        if let Some((_, entry)) = best.min_by_key(|(fit, _)| *fit) {
            return Some(entry);
        }
        let mut images = self.manifests.iter().filter(|entry| is_image(entry));
        match (images.next(), images.next()) {
            (Some(only), None) if only.platform.is_none() => Some(only),
            _ => None,
        }
    }

    /// The platforms of the images, as the index lists them.
    pub fn platforms(&self) -> impl Iterator<Item = &Platform> {
        self.manifests.iter().filter(|entry| is_image(entry)).flat_map(|entry| &entry.platform)
    }
}

/// Whether an entry is an image or index, rather than an attestation or another artifact.
fn is_image(entry: &Descriptor) -> bool {
    let known = entry.platform.as_ref().is_none_or(|platform| platform.os != "unknown");
    let listed =
        media_type::is_manifest(&entry.media_type) || media_type::is_index(&entry.media_type);
    known && listed && entry.artifact_type.is_none()
}

impl Manifest {
    /// Reads a manifest. `content_type` is what the registry said; the document's own `mediaType`
    /// goes before it, and where neither is there the fields decide.
    pub fn parse(bytes: &[u8], content_type: Option<&str>) -> Result<Manifest, ManifestError> {
        let value: serde_json::Value = serde_json::from_slice(bytes)?;
        match value.get("schemaVersion").and_then(serde_json::Value::as_u64) {
            Some(2) => {}
            other => return Err(ManifestError::Schema(other.unwrap_or(0))),
        }
        let declared = value.get("mediaType").and_then(serde_json::Value::as_str).or(content_type);
        let is_index = match declared {
            Some(kind) if media_type::is_index(kind) => true,
            Some(kind) if media_type::is_manifest(kind) => false,
            Some("application/json") | None => value.get("manifests").is_some(),
            Some(other) => return Err(ManifestError::MediaType(other.to_owned())),
        };
        Ok(if is_index {
            Manifest::Index(serde_json::from_value(value)?)
        } else {
            Manifest::Image(serde_json::from_value(value)?)
        })
    }

    /// The document's media type; OCI's where it names none.
    pub fn media_type(&self) -> &str {
        match self {
            Manifest::Image(image) => image.media_type.as_deref().unwrap_or(media_type::MANIFEST),
            Manifest::Index(index) => index.media_type.as_deref().unwrap_or(media_type::INDEX),
        }
    }

    /// Everything that must be in the repository before the manifest may be: config and layers, or
    /// the listed manifests.
    pub fn references(&self) -> Vec<&Descriptor> {
        match self {
            Manifest::Image(image) => std::iter::once(&image.config).chain(&image.layers).collect(),
            Manifest::Index(index) => index.manifests.iter().collect(),
        }
    }

    /// The manifest that this one says something about.
    pub fn subject(&self) -> Option<&Descriptor> {
        match self {
            Manifest::Image(image) => image.subject.as_ref(),
            Manifest::Index(index) => index.subject.as_ref(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Digest;

    fn entry(text: &str) -> Descriptor {
        Descriptor::new(media_type::MANIFEST, Digest::sha256(text.as_bytes()), 1)
            .with_platform(text.split('#').next().unwrap().parse().unwrap())
    }

    #[test]
    fn first_entry_that_matches_wins() {
        let index = ImageIndex::new(vec![
            entry("linux/amd64#cpu"),
            entry("linux/arm64"),
            entry("linux/amd64#cuda"),
        ]);
        let wanted = "linux/amd64".parse().unwrap();
        assert_eq!(index.select(&wanted).unwrap().digest, Digest::sha256(b"linux/amd64#cpu"));
        assert!(index.select(&"linux/s390x".parse().unwrap()).is_none());
    }

    #[test]
    fn best_variant_goes_before_the_first() {
        let index = ImageIndex::new(vec![
            entry("linux/arm/v5"),
            entry("linux/arm/v6"),
            entry("unknown/unknown"),
        ]);
        let select = |text: &str| index.select(&text.parse().unwrap()).map(|e| e.digest.clone());
        assert_eq!(select("linux/arm/v7"), Some(Digest::sha256(b"linux/arm/v6")));
        assert_eq!(select("linux/arm/v5"), Some(Digest::sha256(b"linux/arm/v5")));
        assert_eq!(select("linux/amd64"), None);
        let listed: Vec<_> = index.platforms().map(Platform::to_string).collect();
        assert_eq!(listed, ["linux/arm/v5", "linux/arm/v6"]);
    }

    #[test]
    fn only_image_may_name_no_platform() {
        let mut bare = entry("linux/amd64");
        bare.platform = None;
        let attested = ImageIndex::new(vec![bare.clone(), entry("unknown/unknown")]);
        let wanted = "linux/arm64".parse().unwrap();
        assert_eq!(attested.select(&wanted), Some(&bare));
        let two = ImageIndex::new(vec![bare.clone(), bare.clone()]);
        assert_eq!(two.select(&wanted), None);
        let beside = ImageIndex::new(vec![bare, entry("linux/arm64")]);
        assert_eq!(beside.select(&wanted).unwrap().digest, Digest::sha256(b"linux/arm64"));
    }

    #[test]
    fn kind_is_told_by_media_type_or_fields() {
        let bytes = crate::canonical_json(&ImageIndex::new(vec![])).unwrap();
        assert!(matches!(Manifest::parse(&bytes, None), Ok(Manifest::Index(_))));
        let bare = br#"{"schemaVersion":2,"manifests":[]}"#;
        assert!(matches!(Manifest::parse(bare, None), Ok(Manifest::Index(_))));
        assert!(matches!(
            Manifest::parse(br#"{"schemaVersion":1}"#, None),
            Err(ManifestError::Schema(1))
        ));
        let other = br#"{"schemaVersion":2,"mediaType":"text/plain"}"#;
        assert!(matches!(Manifest::parse(other, None), Err(ManifestError::MediaType(_))));
    }
}
