//! Pulls through mirrors: each is asked in order, and the registry itself last.
//!
//! What a mirror does not have or does not give is asked for further on; content that is not what
//! its digest says is an error wherever it came from.

use std::collections::HashSet;
use std::sync::Mutex;

use anyarch_oci::{Descriptor, Reference};

use super::error::Failure;
use super::exchange::RegistryClient;
use super::host::Repository;
use super::pull::PulledBlob;
use super::token::lock;

/// Mirrors that could not be reached; not asked again as long as the client lives.
#[derive(Debug, Default)]
pub(super) struct Unreachable(Mutex<HashSet<String>>);

impl RegistryClient {
    pub(super) fn pull_manifest(
        &self,
        reference: &Reference,
    ) -> Result<(Descriptor, Vec<u8>), Failure> {
        self.anywhere(&Repository::of(reference), |repository| {
            self.read_manifest(
                &repository.reference(reference.tag.as_ref(), reference.digest.as_ref()),
            )
        })
    }

    pub(super) fn open_blob_anywhere(
        &self,
        repository: &Repository,
        blob: &Descriptor,
        offset: u64,
    ) -> Result<PulledBlob, Failure> {
        self.anywhere(repository, |repository| self.open_blob(repository, blob, offset))
    }

    fn anywhere<T>(
        &self,
        repository: &Repository,
        pull: impl Fn(&Repository) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        for mirror in self.mirrors(&repository.registry) {
            if lock(&self.unreachable.0).contains(mirror) {
                continue;
            }
            let Some(mirrored) = repository.mirrored(mirror) else { continue };
            match pull(&mirrored) {
                // It is not there, or it is not for us.
                Err(Failure::Answer { .. } | Failure::Unauthorized { .. }) => {}
                Err(failure) if failure.is_transient() => {
                    lock(&self.unreachable.0).insert(mirror.clone());
                }
                outcome => return outcome,
            }
        }
        pull(repository)
    }
}
