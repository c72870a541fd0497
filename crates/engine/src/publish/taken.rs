//! Images that are published already, taken by their tags: for an index over what several machines
//! have built, or to bring a release from one repository into another. Nothing is built, and layers
//! are not fetched unless the destination lacks them.

use std::io::Read;

use anyarch_oci::{Descriptor, ImageConfig, ImageSource, Raw, Reference, Tag};
use anyarch_plan::Plan;
use anyarch_plan::publish::{PublishImage, PublishPlan};

use super::{Place, Ready};
use crate::engine::Session;
use crate::error::BuildError;
use crate::event::Event;
use crate::images::{image_for, read_config};
use crate::local::StoreImages;

impl Place {
    /// A tag here, as a reference.
    pub(super) fn reference(&self, tag: Option<&Tag>) -> Reference {
        Reference {
            registry: self.registry.clone(),
            repository: self.repository.clone(),
            tag: tag.cloned(),
            digest: None,
        }
    }
}

impl Session<'_> {
    /// The images of the plan as `from` has them under their published tags.
    ///
    /// # Errors
    /// Where one is missing there or is for another platform than the plan says.
    pub(super) fn take_published(
        &self,
        plan: &Plan,
        publish: &PublishPlan,
        from: &Place,
    ) -> Result<Vec<Ready>, BuildError> {
        let local = StoreImages(self.store());
        let source: &dyn ImageSource = match from.registry {
            Some(_) => &*self.engine.images,
            None => &local,
        };
        publish.images.iter().map(|wanted| self.take(plan, wanted, from, source)).collect()
    }

    fn take(
        &self,
        plan: &Plan,
        wanted: &PublishImage,
        from: &Place,
        source: &dyn ImageSource,
    ) -> Result<Ready, BuildError> {
        self.check_cancelled()?;
        let name = wanted.selection.canonical(plan);
        let member = &plan.members[wanted.selection.member];
        let tag = wanted.version_tags.first().or(wanted.tags.first());
        let Some(tag) = tag else {
            return Err(BuildError::input(format!("{name} has no tag to be found by")));
        };
        let reference = from.reference(Some(tag));
        let what = || format!("failed to take {name} from {reference}");
        (self.on)(Event::Resolving { what: format!("image {reference}") });
        let found = source.manifest(&reference).map_err(|error| {
            let missing = error
                .not_found
                .then(|| format!("publish it there first: `anyarch publish {name} --to {from}`"));
            BuildError::failed(what()).hint(missing.or(error.hint.clone())).because(error)
        })?;
        let (descriptor, bytes, manifest) = image_for(source, &reference, found, &member.platform)
            .map_err(|error| BuildError::failed(what()).hint(error.hint.clone()).because(error))?;
        let config: ImageConfig = read_config(source, &reference, &manifest.config)
            .map_err(|error| error.in_context(what()))?;
        let platform = config.platform();
        if !platform.satisfies(&member.platform) {
            return Err(BuildError::failed(what())
                .because(format!("it is for {platform}, and the plan says {}", member.platform)));
        }
        Ok(Ready {
            selection: wanted.selection,
            platform: member.platform.clone(),
            manifest: Raw::new(manifest, bytes),
            media_type: descriptor.media_type,
            origins: vec![from.reference(None).with_digest(descriptor.digest)],
        })
    }

    /// A blob from where an image was built from or taken from, from a byte on.
    pub(super) fn blob_of_origin(
        &self,
        origins: &[Reference],
        blob: &Descriptor,
        offset: u64,
    ) -> std::io::Result<Box<dyn Read + Send>> {
        let mut failure = std::io::Error::from(std::io::ErrorKind::NotFound);
        for origin in origins.iter().filter(|origin| origin.registry.is_some()) {
            match self.engine.images.blob(origin, blob, offset) {
                Ok(content) => return Ok(content),
                Err(error) => failure = std::io::Error::other(error),
            }
        }
        Err(failure)
    }
}
