//! Sends what the destination lacks: blobs, several at once, then manifests by digest, then indexes,
//! and reads them back.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Seek, SeekFrom};

use anyarch_oci::{
    BlobPush, Descriptor, Digest, ImageDestination, PushedBlob, Reference, RepositoryName,
};
use anyarch_sandbox::Cancel;

use super::journal::Journal;
use super::survey::Survey;
use super::{AT_ONCE, Item, Place, Published};
use crate::engine::Session;
use crate::error::{BuildError, Context};
use crate::event::{Event, Unit};
use crate::parallel;

/// A blob to be sent.
pub(super) struct Parcel<'a> {
    pub(super) blob: &'a Descriptor,
    /// Where it may be found besides the host store.
    pub(super) origins: &'a [Reference],
}

/// The blobs of images that are not there, each once, the largest first.
pub(super) fn parcels<'a>(items: &'a [Item], survey: &Survey) -> Vec<Parcel<'a>> {
    let mut parcels: Vec<Parcel<'_>> = Vec::new();
    let mut seen = BTreeSet::new();
    for (item, _) in items.iter().zip(&survey.there).filter(|(_, there)| !**there) {
        for blob in item.blobs.iter().filter(|blob| seen.insert(&blob.digest)) {
            parcels.push(Parcel { blob, origins: &item.origins });
        }
    }
    parcels.sort_by(|a, b| b.blob.size.cmp(&a.blob.size).then(a.blob.digest.cmp(&b.blob.digest)));
    parcels
}

/// Repositories of the destination's registry that may have a blob: those it comes from, then those
/// that got it from here.
pub(super) fn mount_candidates(
    parcel: &Parcel<'_>,
    others: Vec<RepositoryName>,
    to: &Place,
) -> Vec<RepositoryName> {
    let of_registry = parcel
        .origins
        .iter()
        .filter(|origin| origin.registry == to.registry && origin.repository != to.repository);
    let mut candidates: Vec<RepositoryName> = Vec::new();
    for name in of_registry.map(|origin| origin.repository.clone()).chain(others) {
        if !candidates.contains(&name) {
            candidates.push(name);
        }
    }
    candidates
}

impl Session<'_> {
    /// Pushes layers and configurations, each once.
    pub(super) fn push_blobs(
        &self,
        items: &[Item],
        survey: &Survey,
        journal: &Journal<'_>,
        to: &Place,
        destination: &dyn ImageDestination,
    ) -> Result<Published, BuildError> {
        let parcels = parcels(items, survey);
        let how = parallel::each(AT_ONCE, &parcels, |parcel| {
            self.check_cancelled()?;
            let candidates = mount_candidates(parcel, journal.others_with(&parcel.blob.digest), to);
            let how = self.push_blob(parcel, &candidates, journal, to, destination)?;
            (self.on)(Event::Pushed { digest: parcel.blob.digest.clone(), how });
            Ok(how)
        })?;
        let mut published = Published::default();
        let mut sent: BTreeMap<&Digest, u64> = BTreeMap::new();
        for (parcel, how) in parcels.iter().zip(how) {
            match how {
                PushedBlob::Existed => published.existed += 1,
                PushedBlob::Mounted => published.mounted += 1,
                PushedBlob::Uploaded(bytes) => {
                    published.uploaded += 1;
                    published.bytes += bytes;
                    sent.insert(&parcel.blob.digest, bytes);
                }
            }
        }
        for item in items {
            let of_item = item.blobs.iter().filter_map(|blob| sent.remove(&blob.digest));
            published.sent.push(of_item.sum());
        }
        Ok(published)
    }

    fn push_blob(
        &self,
        parcel: &Parcel<'_>,
        mount_from: &[RepositoryName],
        journal: &Journal<'_>,
        to: &Place,
        destination: &dyn ImageDestination,
    ) -> Result<PushedBlob, BuildError> {
        let blob = parcel.blob;
        let open = |offset: u64| self.open_blob(parcel, offset);
        let progress = |done: u64| {
            (self.on)(Event::Progress {
                step: None,
                what: format!("push {}", blob.digest.short()),
                done,
                total: Some(blob.size),
                unit: Unit::Bytes,
            });
        };
        let push = BlobPush {
            repository: &to.repository,
            blob,
            mount_from,
            open: &open,
            progress: &progress,
            memory: &journal.upload(&blob.digest),
        };
        let pushed = destination.push_blob(&push);
        self.check_cancelled()?;
        pushed.context(|| format!("failed to push {} to {to}", blob.digest))
    }

    /// The content of a blob from a byte on: of the host store, else of where it comes from. Reading
    /// ends when the build is stopped.
    fn open_blob(&self, parcel: &Parcel<'_>, offset: u64) -> io::Result<Box<dyn Read + Send>> {
        let found = self.store().blob(&parcel.blob.digest).map_err(io::Error::other)?;
        let content: Box<dyn Read + Send> = match found {
            Some(mut found) => {
                found.file.seek(SeekFrom::Start(offset))?;
                Box::new(found.file)
            }
            None => self.blob_of_origin(parcel.origins, parcel.blob, offset)?,
        };
        Ok(Box::new(Stoppable { content, cancel: self.cancel.clone() }))
    }

    /// Pushes what is not there by digest, images before the indexes over them, and reads it back.
    pub(super) fn push_manifests(
        &self,
        items: &[Item],
        survey: &Survey,
        to: &Place,
        destination: &dyn ImageDestination,
    ) -> Result<(), BuildError> {
        let missing: Vec<&Item> = items
            .iter()
            .zip(&survey.there)
            .filter(|(_, there)| !**there)
            .map(|(item, _)| item)
            .collect();
        for indexes in [false, true] {
            let of_kind: Vec<&Item> =
                missing.iter().filter(|item| item.is_index() == indexes).copied().collect();
            parallel::each(AT_ONCE, &of_kind, |item| {
                self.check_cancelled()?;
                destination
                    .push_manifest(&to.repository, &item.descriptor, &item.bytes)
                    .context(|| format!("failed to push {} to {to}", item.descriptor.digest))?;
                let what = || format!("failed to verify {to}@{}", item.descriptor.digest);
                match destination.manifest(&to.repository, &item.descriptor).context(what)? {
                    Some(bytes) if bytes == item.bytes => Ok(()),
                    Some(_) => Err(BuildError::failed(what())
                        .because("the destination gives back other bytes than it was sent")),
                    None => Err(BuildError::failed(what())
                        .because("the destination accepted it and does not have it")),
                }
            })?;
        }
        Ok(())
    }
}

/// Content whose reading ends when the build is stopped.
struct Stoppable {
    content: Box<dyn Read + Send>,
    cancel: Cancel,
}

impl Read for Stoppable {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.cancel.is_cancelled() {
            return Err(io::Error::other("stopped"));
        }
        self.content.read(buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(registry: &str) -> Place {
        Place { registry: Some(registry.to_owned()), repository: "team/app".parse().unwrap() }
    }

    #[test]
    fn blobs_are_mounted_from_where_they_come_from_first() {
        let blob = Descriptor::of("application/octet-stream", b"blob");
        let origins: Vec<Reference> =
            ["r.example/base/python:3", "other.example/x:1", "r.example/team/app:old"]
                .map(|text| text.parse().unwrap())
                .into();
        let parcel = Parcel { blob: &blob, origins: &origins };
        let others = vec!["base/python".parse().unwrap(), "staging/app".parse().unwrap()];
        let candidates = mount_candidates(&parcel, others, &place("r.example"));
        assert_eq!(candidates, ["base/python".parse().unwrap(), "staging/app".parse().unwrap()]);
        assert_eq!(mount_candidates(&parcel, Vec::new(), &place("third.example")), []);
    }
}
