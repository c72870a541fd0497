//! Snapshots: the files of one layer, unpacked, under the chain ID of the tree they complete.
//!
//! `snapshots/HEX/` is what overlayfs takes as one lower directory; a tree is the stack of the
//! snapshots of its chain. A snapshot appears by rename, complete, and can always be made again
//! from its layer. `snapshots/HEX.boot` names the boot in which an unsynced one was made: after a
//! crash of the machine it is not trusted, but unpacked again.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use anyarch_layer::decode::most_unpacked;
use anyarch_layer::{ApplyOptions, Compression, LayerOptions, Root, apply_layer, write_layer};
use anyarch_oci::{ChainId, Descriptor};
use anyarch_sandbox::OverlayMount;
use anyarch_store::Lock;

use crate::chain::{Chain, ChainLayer};
use crate::engine::Session;
use crate::error::{BuildError, Context};
use crate::event::{Event, StepId, Unit};

/// A tree that is mounted for writing; what is written goes to an upper directory of its own,
/// which is removed when this is dropped.
pub(crate) struct Writable {
    mount: Option<OverlayMount>,
    upper: PathBuf,
    lowers: Vec<PathBuf>,
}

impl Writable {
    /// The mounted tree.
    pub(crate) fn root(&self) -> &Path {
        self.mount.as_ref().map_or(Path::new(""), OverlayMount::target)
    }
}

impl Drop for Writable {
    fn drop(&mut self) {
        drop(self.mount.take());
        // What cannot be removed now goes with the working folder of the process.
        drop(fs::remove_dir_all(&self.upper));
    }
}

impl Session<'_> {
    fn snapshot_path(&self, chain: &ChainId) -> PathBuf {
        self.store().root().join("snapshots").join(&chain.0.hex()[..40])
    }

    /// Whether a snapshot is there and not a victim of a crash.
    pub(crate) fn is_sound(&self, place: &Path) -> bool {
        let other_boot = |boot: String| boot != self.engine.host.boot_id;
        place.is_dir() && !fs::read_to_string(place.with_extension("boot")).is_ok_and(other_boot)
    }

    /// Puts the snapshots that this build made on disk, so that they are trusted after a crash.
    pub(crate) fn sync(&self) -> Result<(), BuildError> {
        let what = || "failed to write the snapshots to disk".to_owned();
        let made =
            std::mem::take(&mut *self.unsynced.lock().unwrap_or_else(PoisonError::into_inner));
        if made.is_empty() {
            return Ok(());
        }
        self.store().sync().context(what)?;
        for place in made {
            match fs::remove_file(place.with_extension("boot")) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error).context(what);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The directories of a tree, topmost first, unpacking what is missing.
    pub(crate) fn lowers(&self, chain: &Chain) -> Result<Vec<PathBuf>, BuildError> {
        for (count, layer) in chain.layers.iter().enumerate() {
            if !self.is_sound(&self.snapshot_path(&layer.chain_id)) {
                self.unpack(&Chain { layers: chain.layers[..count].to_vec() }, layer)?;
            }
        }
        let mut lowers: Vec<PathBuf> =
            chain.layers.iter().rev().map(|layer| self.snapshot_path(&layer.chain_id)).collect();
        if lowers.is_empty() {
            lowers.push(make(self.store().root().join("snapshots/empty"))?);
        }
        Ok(lowers)
    }

    /// Makes the snapshot of a layer on top of a tree whose snapshots are there.
    fn unpack(&self, below: &Chain, layer: &ChainLayer) -> Result<(), BuildError> {
        let what = || format!("failed to unpack layer {}", layer.descriptor.digest);
        let _lock = self.lock_snapshot(&layer.chain_id)?;
        let place = self.snapshot_path(&layer.chain_id);
        if self.is_sound(&place) {
            return Ok(());
        }
        let blob = self.store().blob(&layer.descriptor.digest).context(what)?;
        let blob = blob.ok_or_else(|| {
            BuildError::failed(what())
                .because(anyarch_store::StoreError::Missing(layer.descriptor.digest.clone()))
        })?;
        let writable = self.mount(below)?;
        let root = Root::open(writable.root()).context(what)?;
        let options = ApplyOptions {
            ignore_owner: self.engine.host.single_id,
            limit: Some(most_unpacked(layer.descriptor.size)),
            ..ApplyOptions::default()
        };
        let applied = apply_layer(blob.file, &root, &options).context(what)?;
        if applied.diff_id != layer.diff_id {
            return Err(BuildError::failed(what()).because(format!(
                "its content has diff ID {}, its image says {}",
                applied.diff_id, layer.diff_id
            )));
        }
        drop(root);
        self.settle(writable, &layer.chain_id)
    }

    /// Mounts a tree for reading.
    pub(crate) fn view(&self, chain: &Chain) -> Result<OverlayMount, BuildError> {
        let target = make(self.fresh("view"))?;
        OverlayMount::mount(&self.lowers(chain)?, None, &target)
            .context(|| "failed to mount a snapshot".to_owned())
    }

    /// Mounts a tree for writing.
    pub(crate) fn mount(&self, chain: &Chain) -> Result<Writable, BuildError> {
        let lowers = self.lowers(chain)?;
        let folder = make(self.fresh("tree"))?;
        let upper = make(folder.join("upper"))?;
        // It gives the tree's own root its mode, which must not follow the umask of whoever builds.
        fs::set_permissions(&upper, fs::Permissions::from_mode(0o755))
            .context(|| format!("failed to open {} to every user", upper.display()))?;
        let work = make(folder.join("work"))?;
        let target = make(folder.join("root"))?;
        let mount = OverlayMount::mount(&lowers, Some((&upper, &work)), &target)
            .context(|| "failed to mount a snapshot".to_owned())?;
        Ok(Writable { mount: Some(mount), upper, lowers })
    }

    /// Turns what was written to a tree into a layer and its snapshot. Returns the tree with that
    /// layer, or the tree as it was where nothing has changed.
    pub(crate) fn commit(
        &self,
        step: StepId,
        parent: &Chain,
        tree: Writable,
    ) -> Result<Chain, BuildError> {
        let what = || "failed to write the layer".to_owned();
        let below = match parent.layers.is_empty() {
            true => None,
            false => {
                let target = make(self.fresh("parent"))?;
                Some(OverlayMount::mount(&tree.lowers, None, &target).context(what)?)
            }
        };
        let progress = |done: u64| {
            (self.on)(Event::Progress {
                step: Some(step),
                what: "write layer".to_owned(),
                done,
                total: None,
                unit: Unit::Bytes,
            });
        };
        let options = LayerOptions {
            epoch: self.epoch,
            compression: Compression::Gzip,
            threads: self.engine.host.cores,
            progress: Some(&progress),
        };
        let mut ingest = self.store().ingest().context(what)?;
        // Read through the upper directory itself: the mounted view would hide the whiteouts.
        let written = write_layer(
            below.as_ref().map(OverlayMount::target),
            &tree.upper,
            &options,
            &mut ingest,
        )
        .context(what)?;
        drop(below);
        let Some(layer) = written else { return Ok(parent.clone()) };
        let (digest, size) = ingest.commit(Some(&layer.digest)).context(what)?;
        let descriptor = Descriptor::new(layer.media_type, digest, size);
        let chain = parent.with(descriptor, layer.diff_id);
        if let Some(id) = chain.id() {
            let _lock = self.lock_snapshot(id)?;
            self.settle(tree, id)?;
        }
        Ok(chain)
    }

    fn lock_snapshot(&self, chain: &ChainId) -> Result<Lock, BuildError> {
        self.lock(&format!("snapshot-{}", chain.0.hex()))
    }

    /// Moves the upper directory of a tree to its place among the snapshots. The caller holds the
    /// snapshot's lock.
    fn settle(&self, mut tree: Writable, chain: &ChainId) -> Result<(), BuildError> {
        let what = || "failed to keep a snapshot".to_owned();
        let place = self.snapshot_path(chain);
        make(self.store().root().join("snapshots"))?;
        if let Some(mount) = tree.mount.take() {
            mount.unmount().context(what)?;
        }
        self.keep_tree(&tree.upper, place).context(what)
    }

    /// Moves a tree that is complete to its place in the store, unless a sound one is there. The caller
    /// holds a lock for the place.
    pub(crate) fn keep_tree(&self, tree: &Path, place: PathBuf) -> std::io::Result<()> {
        if self.is_sound(&place) {
            return Ok(());
        }
        // What a crash may have cut short goes first: the mark below would vouch for it.
        if place.is_dir() {
            fs::remove_dir_all(&place)?;
        }
        fs::write(place.with_extension("boot"), &self.engine.host.boot_id)?;
        fs::rename(tree, &place)?;
        self.unsynced.lock().unwrap_or_else(PoisonError::into_inner).push(place);
        Ok(())
    }
}

/// Makes a directory that may be there already.
pub(crate) fn make(path: PathBuf) -> Result<PathBuf, BuildError> {
    fs::create_dir_all(&path).context(|| format!("failed to create {}", path.display()))?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use anyarch_oci::Digest;
    use anyarch_sandbox::Cancel;

    use super::*;
    use crate::testing;

    #[test]
    fn a_step_that_runs_again_does_not_vouch_for_a_snapshot_that_a_crash_cut_short() {
        let folder = tempfile::tempdir().unwrap();
        let engine = testing::engine(folder.path());
        let cancel = Cancel::new();
        let session = Session::new(&engine, 0, &|_| {}, &cancel);
        let chain = ChainId(Digest::sha256(b"tree"));
        let place = session.snapshot_path(&chain);
        fs::create_dir_all(&place).unwrap();
        fs::write(place.join("file"), "").unwrap();
        fs::write(place.with_extension("boot"), "the boot before").unwrap();
        let upper = make(session.fresh("upper")).unwrap();
        fs::write(upper.join("file"), "whole").unwrap();
        session.settle(Writable { mount: None, upper, lowers: Vec::new() }, &chain).unwrap();
        assert!(session.is_sound(&place));
        assert_eq!(fs::read_to_string(place.join("file")).unwrap(), "whole");
    }
}
