//! Reads back what was published, as a user would: every platform of every tag, every blob of it.

use std::collections::BTreeSet;
use std::io::Read;

use anyarch_oci::{Descriptor, Digest, ImageSource, Manifest, Reference};
use anyarch_sandbox::Cancel;

use super::{AT_ONCE, Place, Published};
use crate::engine::{Engine, Session};
use crate::error::{BuildError, Context};
use crate::event::{Event, OnEvent, Unit};
use crate::local::StoreImages;
use crate::parallel;

/// How often a blob is asked for again that breaks off.
const ATTEMPTS: usize = 4;
/// Bytes read at a time.
const CHUNK: usize = 128 * 1024;

/// What was read back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Confirmed {
    /// Images, each counted once.
    pub images: usize,
    /// Bytes of their blobs, each once.
    pub bytes: u64,
}

/// Pulls every tag of a publication from `reader` (the host store where there is none), with all
/// images behind it, and compares digests.
///
/// # Errors
/// Where a tag points elsewhere, or content is missing or differs.
pub fn confirm(
    engine: &Engine,
    published: &Published,
    place: &Place,
    reader: Option<&dyn ImageSource>,
    on: OnEvent<'_>,
    cancel: &Cancel,
) -> Result<Confirmed, BuildError> {
    let session = Session::new(engine, 0, on, cancel);
    let local = StoreImages(&engine.store);
    let reader = reader.unwrap_or(&local);
    on(Event::Resolving { what: format!("what {place} gives to readers") });
    let mut seen = BTreeSet::new();
    let mut images = 0;
    let mut blobs: Vec<(Reference, Descriptor)> = Vec::new();
    for tag in &published.tags {
        session.check_cancelled()?;
        let reference = place.reference(Some(&tag.tag));
        let what = || format!("failed to verify {reference}");
        let (descriptor, bytes) = reader.manifest(&reference).map_err(|error| {
            let hint = error.hint.clone().map(|hint| {
                format!(
                    "{hint}; a repository that not everybody may read is released with --private"
                )
            });
            BuildError::failed(what()).hint(hint).because(error)
        })?;
        if descriptor.digest != tag.digest {
            let found = format!("it is {}, and {} was published", descriptor.digest, tag.digest);
            return Err(BuildError::failed(what()).because(found));
        }
        let mut manifests = vec![(descriptor, bytes)];
        while let Some((descriptor, bytes)) = manifests.pop() {
            if !seen.insert(descriptor.digest.clone()) {
                continue;
            }
            match Manifest::parse(&bytes, Some(&descriptor.media_type)).context(what)? {
                Manifest::Index(index) => {
                    for entry in index.manifests {
                        let one = reference.with_digest(entry.digest);
                        manifests.push(reader.manifest(&one).context(what)?);
                    }
                }
                Manifest::Image(image) => {
                    images += 1;
                    let of_image = image.layers.into_iter().chain([image.config]);
                    blobs.extend(of_image.map(|blob| (reference.clone(), blob)));
                }
            }
        }
    }
    let mut once: BTreeSet<Digest> = BTreeSet::new();
    blobs.retain(|(_, blob)| once.insert(blob.digest.clone()));
    parallel::each(AT_ONCE, &blobs, |(reference, blob)| {
        session.read_back(reader, reference, blob)
    })?;
    Ok(Confirmed { images, bytes: blobs.iter().map(|(_, blob)| blob.size).sum() })
}

impl Session<'_> {
    /// Reads a blob to its end and compares its digest.
    fn read_back(
        &self,
        reader: &dyn ImageSource,
        reference: &Reference,
        blob: &Descriptor,
    ) -> Result<(), BuildError> {
        let what = || format!("failed to verify {} of {reference}", blob.digest);
        let mut hasher = blob.digest.hasher();
        let (mut done, mut left) = (0, ATTEMPTS);
        let mut buffer = vec![0; CHUNK];
        loop {
            let mut content = reader.blob(reference, blob, done).context(what)?;
            let before = done;
            let ended = loop {
                self.check_cancelled()?;
                match content.read(&mut buffer) {
                    // More than was announced is read no further.
                    Ok(0) => break Ok(()),
                    Ok(_) if done > blob.size => break Ok(()),
                    Ok(count) => {
                        hasher.update(&buffer[..count]);
                        done += count as u64;
                        (self.on)(Event::Progress {
                            step: None,
                            what: format!("verify {}", blob.digest.short()),
                            done,
                            total: Some(blob.size),
                            unit: Unit::Bytes,
                        });
                    }
                    Err(error) => break Err(error),
                }
            };
            match ended {
                Ok(()) => break,
                // Attempts are counted anew as long as something arrives.
                Err(_) if done > before => left = ATTEMPTS,
                Err(_) if left > 1 => left -= 1,
                Err(error) => return Err(error).context(what),
            }
        }
        let found = hasher.finish();
        if found != blob.digest {
            let found = format!("{done} bytes were read, and their digest is {found}");
            return Err(BuildError::failed(what()).because(found));
        }
        Ok(())
    }
}
