//! Named contexts: what names in a Dockerfile mean besides stages, images and the plan's bases.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use anyarch_oci::{
    Descriptor, Digest, EndpointError, ImageIndex, ImageSource, Platform, Raw, Reference,
};
use anyarch_store::Store;

use crate::engine::Session;
use crate::error::{BuildError, Context};
use crate::event::Event;
use crate::export::REF_NAME;
use crate::images::{ResolvedImage, image_for, resolved_image};

/// How much of `index.json` and of a manifest is read.
const LIMIT: u64 = 4 << 20;

/// What a name means, for reading a Dockerfile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Named {
    /// Files: the context with this number.
    Folder(usize),
    /// A tree: an image, or another tier.
    Tree,
}

/// Where the tree behind a name comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TreeSource {
    /// What is known outside under another name: a base of the plan, an image, an image of a layout.
    Outside(String),
    /// The tier at this position.
    Tier(usize),
}

/// The names of one tier, in lower case.
#[derive(Debug, Default)]
pub(crate) struct NamedContexts {
    pub(crate) names: BTreeMap<String, Named>,
    pub(crate) trees: BTreeMap<String, TreeSource>,
}

impl NamedContexts {
    /// The tree behind a name as a Dockerfile has it.
    pub(crate) fn tree(&self, name: &str) -> Option<&TreeSource> {
        self.trees.get(&name.to_lowercase())
    }
}

/// How an image of a layout is named outside of Dockerfiles.
const LAYOUT: &str = "oci-layout://";

/// A folder in the OCI image layout (image-spec, "Image Layout").
struct LayoutImages {
    folder: PathBuf,
}

impl LayoutImages {
    fn open(&self, digest: &Digest) -> Result<File, EndpointError> {
        let path = self.folder.join("blobs").join(digest.algorithm().name()).join(digest.hex());
        File::open(&path).map_err(|error| EndpointError {
            message: format!("failed to open {}", path.display()),
            hint: None,
            not_found: error.kind() == std::io::ErrorKind::NotFound,
            source: Some(Box::new(error)),
        })
    }

    fn read(&self, digest: &Digest) -> Result<Vec<u8>, EndpointError> {
        let failed = |message: String| EndpointError {
            message: format!("blob {digest} of {} {message}", self.folder.display()),
            hint: None,
            not_found: false,
            source: None,
        };
        let mut bytes = Vec::new();
        self.open(digest)?
            .take(LIMIT + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| failed(format!("cannot be read: {error}")))?;
        let raw = Raw::new((), bytes);
        match raw.digest == *digest && raw.size() <= LIMIT {
            true => Ok(raw.bytes),
            false => Err(failed(format!("has another content: {}", raw.digest))),
        }
    }

    /// The entry of `index.json` that is meant: the only one of that name, else that of the platform.
    fn find(
        &self,
        tag: Option<&str>,
        digest: Option<&str>,
        platform: &Platform,
    ) -> Result<Descriptor, BuildError> {
        let path = self.folder.join("index.json");
        let what = || format!("failed to read {}", path.display());
        let bytes = fs::read(&path).map_err(|error| {
            BuildError::input(what())
                .because(error)
                .hint("expected a folder in the OCI image layout".to_owned())
        })?;
        let index: ImageIndex = serde_json::from_slice(&bytes).context(what)?;
        let means = |entry: &&Descriptor| match (digest, tag) {
            (Some(digest), _) => entry.digest.to_string() == digest,
            (None, Some(tag)) => entry.annotations.get(REF_NAME).is_some_and(|name| {
                name == tag || name.rsplit_once(':').is_some_and(|(_, last)| last == tag)
            }),
            (None, None) => true,
        };
        let found: Vec<Descriptor> = index.manifests.iter().filter(means).cloned().collect();
        let named = |message: String| {
            Err(BuildError::input(message).hint(format!("it has: {}", names(&index))))
        };
        let shown = self.folder.display();
        match found.as_slice() {
            [one] => return Ok(one.clone()),
            [] => return named(format!("{shown} has no such image")),
            _ => {}
        }
        let ours = |entry: &&Descriptor| entry.platform.as_ref() == Some(platform);
        if found.iter().filter(ours).count() > 1 {
            return named(format!("{shown} holds several images for {platform}; name one of them"));
        }
        match ImageIndex::new(found).select(platform) {
            Some(entry) => Ok(entry.clone()),
            None => named(format!("{shown} has no image for {platform}")),
        }
    }
}

/// The images of a layout, for people.
fn names(index: &ImageIndex) -> String {
    let name = |entry: &Descriptor| match entry.annotations.get(REF_NAME) {
        Some(name) => format!(":{name}"),
        None => format!("@{}", entry.digest),
    };
    let names: Vec<String> = index.manifests.iter().map(name).collect();
    if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
}

impl ImageSource for LayoutImages {
    fn manifest(&self, reference: &Reference) -> Result<(Descriptor, Vec<u8>), EndpointError> {
        let missing = || EndpointError {
            message: format!("{} has no {reference}", self.folder.display()),
            hint: None,
            not_found: true,
            source: None,
        };
        let digest = reference.digest.as_ref().ok_or_else(missing)?;
        let bytes = self.read(digest)?;
        // Whoever reads it takes the type from the content.
        let media_type = anyarch_oci::media_type::MANIFEST;
        Ok((Descriptor::new(media_type, digest.clone(), bytes.len() as u64), bytes))
    }

    fn blob(
        &self,
        _: &Reference,
        blob: &Descriptor,
        offset: u64,
    ) -> Result<Box<dyn Read + Send>, EndpointError> {
        let mut file = self.open(&blob.digest)?;
        file.seek(SeekFrom::Start(offset)).map_err(|error| EndpointError {
            message: format!("failed to read blob {}", blob.digest),
            hint: None,
            not_found: false,
            source: Some(Box::new(error)),
        })?;
        Ok(Box::new(file))
    }
}

/// Copies a blob of a layout into the store, unless it is there.
fn take_over(store: &Store, source: &LayoutImages, blob: &Descriptor) -> Result<(), BuildError> {
    let what = || format!("failed to read layer {} of the layout", blob.digest);
    if store.blob_size(&blob.digest) == Some(blob.size) {
        return Ok(());
    }
    let mut ingest = store.ingest_with(blob.digest.algorithm()).context(what)?;
    let mut from = source.open(&blob.digest).context(what)?.take(blob.size + 1);
    std::io::copy(&mut from, &mut ingest).context(what)?;
    ingest.commit(Some(&blob.digest)).context(what)?;
    Ok(())
}

impl Session<'_> {
    /// The image of a layout, by the name that [`layout_name`] gave it; its layers are copied into the
    /// store. `None` where the name means something else.
    pub(crate) fn resolve_layout(
        &self,
        name: &str,
        platform: &Platform,
    ) -> Result<Option<ResolvedImage>, BuildError> {
        let Some(layout) = name.strip_prefix(LAYOUT) else { return Ok(None) };
        let source = anyarch_plan::ContextSource::parse(&format!("{LAYOUT}{layout}"));
        let Ok(anyarch_plan::ContextSource::OciLayout { folder, tag, digest }) = source else {
            return Err(BuildError::input(format!("`{name}` is no image of a layout")));
        };
        (self.on)(Event::Resolving { what: format!("image {name}") });
        let what = || format!("failed to resolve the image {name}");
        let images = LayoutImages { folder: PathBuf::from(folder) };
        let found = images.find(tag.as_deref(), digest.as_deref(), platform)?;
        let bytes = images.read(&found.digest).context(what)?;
        let reference = "layout".parse::<Reference>();
        let reference = reference.map_err(|error| BuildError::failed(what()).because(error))?;
        let image = image_for(&images, &reference, (found, bytes), platform)?;
        let shown = format!("{name} ({})", image.0.digest.short());
        let image = resolved_image(&images, &reference, image, &shown)?;
        for layer in &image.op.layers {
            take_over(self.store(), &images, &layer.descriptor)?;
        }
        Ok(Some(image))
    }
}

/// How an image of a layout is named outside of Dockerfiles: with the whole path of its folder.
pub(crate) fn layout_name(
    directory: &Path,
    folder: &str,
    tag: Option<&str>,
    digest: Option<&str>,
) -> String {
    let mut name = format!("{LAYOUT}{}", directory.join(folder).display());
    name.extend(tag.map(|tag| format!(":{tag}")));
    name.extend(digest.map(|digest| format!("@{digest}")));
    name
}
