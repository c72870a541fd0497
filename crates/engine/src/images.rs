//! Images of elsewhere: found by their names, and their layers brought into the store.

use anyarch_oci::{
    Descriptor, ImageConfig, ImageManifest, Manifest, Platform, Raw, Reference, media_type,
};
use anyarch_plan::Plan;

use crate::chain::Chain;
use crate::engine::Session;
use crate::error::{BuildError, Context};
use crate::event::{Event, StepId, Unit};
use crate::local::StoreImages;
use crate::op::{HashedDescriptor, ImageOp};

/// An image that a Dockerfile names.
#[derive(Clone, Debug)]
pub(crate) struct ResolvedImage {
    pub(crate) op: ImageOp,
    pub(crate) config: ImageConfig,
}

impl Session<'_> {
    /// Finds an image by its reference: in the host store, else where images come from.
    pub(crate) fn resolve_image(
        &self,
        plan: &Plan,
        name: &str,
        platform: &Platform,
    ) -> Result<ResolvedImage, BuildError> {
        if let Some(image) = self.resolve_layout(name, platform)? {
            return Ok(image);
        }
        let what = || format!("failed to resolve the image {name}");
        let reference: Reference = name
            .parse()
            .map_err(|error| BuildError::input(what()).because(error).hint(known_bases(plan)))?;
        let local = StoreImages(self.store());
        let in_store =
            reference.registry.is_none() && local.find(&reference).context(what)?.is_some();
        let source: &dyn anyarch_oci::ImageSource = match (in_store, &reference.registry) {
            (true, _) => &local,
            (false, Some(_)) => &*self.engine.images,
            (false, None) => {
                return Err(BuildError::input(format!(
                    "no base, stage or image is known under the name `{name}`"
                ))
                .hint(known_bases(plan)));
            }
        };
        (self.on)(Event::Resolving { what: format!("image {name}") });
        let found = source.manifest(&reference).context(what)?;
        let image = image_for(source, &reference, found, platform)?;
        let pinned = reference.with_digest(image.0.digest.clone());
        resolved_image(source, &reference, image, &pinned.to_string())
    }

    /// Brings the layers of an image into the store.
    pub(crate) fn pull(&self, step: StepId, image: &ImageOp) -> Result<(Chain, bool), BuildError> {
        let mut chain = Chain::default();
        let mut known = true;
        for layer in &image.layers {
            self.check_cancelled()?;
            let descriptor = &layer.descriptor;
            let here = self.store().blob_size(&descriptor.digest) == Some(descriptor.size);
            if !here && !self.look_up {
                if known {
                    (self.on)(Event::Started { step });
                }
                known = false;
                self.pull_blob(step, image, descriptor)?;
            }
            chain = chain.with(descriptor.clone(), layer.diff_id.clone());
        }
        Ok((chain, known))
    }

    fn pull_blob(
        &self,
        step: StepId,
        image: &ImageOp,
        blob: &anyarch_oci::Descriptor,
    ) -> Result<(), BuildError> {
        use std::io::{Read, Write};
        let what = || format!("failed to pull layer {} of {}", blob.digest, image.reference);
        let reference = image.reference.parse().map_err(|error: anyarch_oci::ReferenceError| {
            BuildError::input(what()).because(error)
        })?;
        let open = |offset| self.engine.images.blob(&reference, blob, offset).context(what);
        let mut body = open(0)?;
        let mut ingest = self.store().ingest_with(blob.digest.algorithm()).context(what)?;
        let mut buffer = vec![0; 1 << 17];
        // Where the connection broke last: one that brings nothing new is not worth another.
        let mut broke_at = None;
        loop {
            self.check_cancelled()?;
            let count = match body.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(_) if broke_at != Some(ingest.size()) => {
                    broke_at = Some(ingest.size());
                    body = open(ingest.size())?;
                    continue;
                }
                Err(error) => return Err(error).context(what),
            };
            if ingest.size() + count as u64 > blob.size {
                return Err(BuildError::failed(what())
                    .because(format!("more than the {} bytes promised came", blob.size)));
            }
            ingest.write_all(&buffer[..count]).context(what)?;
            (self.on)(Event::Progress {
                step: Some(step),
                what: format!("pull {}", blob.digest.short()),
                done: ingest.size(),
                total: Some(blob.size),
                unit: Unit::Bytes,
            });
        }
        ingest.commit(Some(&blob.digest)).context(what)?;
        Ok(())
    }
}

/// An image with its configuration read; `shown` is its name from now on.
pub(crate) fn resolved_image(
    source: &dyn anyarch_oci::ImageSource,
    reference: &Reference,
    (descriptor, _, manifest): (Descriptor, Vec<u8>, ImageManifest),
    shown: &str,
) -> Result<ResolvedImage, BuildError> {
    let what = || format!("failed to resolve the image {shown}");
    let config = read_config(source, reference, &manifest.config).map_err(|error| {
        let message = format!("{}: {}", what(), error.message);
        BuildError { message, ..error }
    })?;
    if config.rootfs.diff_ids.len() != manifest.layers.len() {
        return Err(BuildError::failed(what()).because(format!(
            "its configuration names {} layers and its manifest {}",
            config.rootfs.diff_ids.len(),
            manifest.layers.len()
        )));
    }
    let layers = manifest.layers.iter().cloned().zip(config.rootfs.diff_ids.iter().cloned());
    let layers =
        layers.map(|(layer, diff_id)| HashedDescriptor { descriptor: as_oci(layer), diff_id });
    let layers = layers.collect();
    let op = ImageOp { reference: shown.to_owned(), manifest: descriptor.digest, layers };
    Ok(ResolvedImage { op, config })
}

/// A layer as a manifest of ours names it: Docker's media types mean the same content.
fn as_oci(mut layer: Descriptor) -> Descriptor {
    match layer.media_type.as_str() {
        media_type::DOCKER_LAYER_GZIP => layer.media_type = media_type::LAYER_GZIP.to_owned(),
        media_type::DOCKER_LAYER => layer.media_type = media_type::LAYER.to_owned(),
        _ => {}
    }
    layer
}

/// The manifest of the one image for a platform behind what a reference names: itself, or that of the
/// index.
pub(crate) fn image_for(
    source: &dyn anyarch_oci::ImageSource,
    reference: &Reference,
    (descriptor, bytes): (Descriptor, Vec<u8>),
    platform: &Platform,
) -> Result<(Descriptor, Vec<u8>, ImageManifest), BuildError> {
    let what = || format!("failed to resolve the image {reference}");
    let index = match Manifest::parse(&bytes, Some(&descriptor.media_type)).context(what)? {
        Manifest::Image(image) => return Ok((descriptor, bytes, image)),
        Manifest::Index(index) => index,
    };
    let entry = index.select(platform).cloned().ok_or_else(|| {
        let has: Vec<String> = index.platforms().map(Platform::to_string).collect();
        BuildError::input(format!("the image {reference} has no {platform}"))
            .hint(format!("it has: {}", has.join(", ")))
    })?;
    let one = reference.with_digest(entry.digest.clone());
    let (_, bytes) = source.manifest(&one).context(what)?;
    match Manifest::parse(&bytes, Some(&entry.media_type)).context(what)? {
        Manifest::Image(image) => Ok((entry, bytes, image)),
        Manifest::Index(_) => {
            Err(BuildError::input(format!("the image {reference} is an index of indexes")))
        }
    }
}

/// Reads an image configuration of at most 8 MiB and verifies its digest.
pub(crate) fn read_config(
    source: &dyn anyarch_oci::ImageSource,
    reference: &Reference,
    descriptor: &anyarch_oci::Descriptor,
) -> Result<ImageConfig, BuildError> {
    use std::io::Read;
    const LIMIT: u64 = 8 << 20;
    let what = || "failed to read its configuration".to_owned();
    let mut bytes = Vec::new();
    let body = source.blob(reference, descriptor, 0).context(what)?;
    body.take(LIMIT + 1).read_to_end(&mut bytes).context(what)?;
    let raw = Raw::new((), bytes);
    if raw.digest != descriptor.digest || raw.size() > LIMIT {
        return Err(BuildError::failed(what())
            .because(format!("expected digest {}, got {}", descriptor.digest, raw.digest)));
    }
    serde_json::from_slice(&raw.bytes).context(what)
}

fn known_bases(plan: &Plan) -> String {
    let names: Vec<&str> = plan.bases.keys().map(String::as_str).collect();
    if names.is_empty() {
        "define it as [base.NAME] in the plan, or name an image with its registry (HOST/REPOSITORY:TAG)".to_owned()
    } else {
        format!(
            "the plan's bases are: {}; an image is named with its registry (HOST/REPOSITORY:TAG)",
            names.join(", ")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_of_docker_are_named_as_those_of_oci() {
        let renamed = |name: &str| as_oci(Descriptor::of(name, b"layer")).media_type;
        assert_eq!(renamed(media_type::DOCKER_LAYER_GZIP), media_type::LAYER_GZIP);
        assert_eq!(renamed(media_type::DOCKER_LAYER), media_type::LAYER);
        assert_eq!(renamed(media_type::LAYER_ZSTD), media_type::LAYER_ZSTD);
    }
}
