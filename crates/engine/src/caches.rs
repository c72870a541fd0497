//! Cache mounts: directories of the host store that steps fill and later steps find again.
//!
//! ```text
//! caches/HEX[-N]/content    the directory; HEX is the SHA-256 of its id, N counts private ones
//! caches/HEX[-N]/used.json  its id, when it was last used, its size then
//! locks/cache-HEX[-N]       held alone (locked, private, clean-up) or together (shared)
//! ```
//!
//! Bounded: after a step with caches, the ones least recently used go until all of them are within
//! [`BOUND`]; one that is in use stays.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyarch_oci::Digest;
use anyarch_store::Lock;
use serde::{Deserialize, Serialize};

use crate::engine::Session;
use crate::error::{BuildError, Context};
use crate::op::CacheSharing;

/// Bytes that all caches may have together.
const BOUND: u64 = 10 << 30;

/// A cache in use.
pub(crate) struct Cache {
    folder: PathBuf,
    id: String,
    _lock: Lock,
}

/// What is known of a cache.
#[derive(Serialize, Deserialize)]
struct Used {
    id: String,
    /// Seconds since 1970.
    used: u64,
    bytes: u64,
}

impl Cache {
    /// The directory.
    pub(crate) fn content(&self) -> PathBuf {
        self.folder.join("content")
    }

    /// Records that it was used, and how large it is.
    pub(crate) fn close(self, session: &Session<'_>) -> Result<(), BuildError> {
        let what = || format!("failed to record the use of the cache `{}`", self.id);
        let bytes = size(&self.content()).context(what)?;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let used = Used { id: self.id.clone(), used: now.as_secs(), bytes };
        session.store().write_json(&self.folder.join("used.json"), &used).context(what)
    }
}

impl Session<'_> {
    /// Finds or makes the cache of that id, and waits for it where others use it and must not at once.
    /// `first` fills a new one, at a path that is not there yet.
    pub(crate) fn open_cache(
        &self,
        id: &str,
        sharing: CacheSharing,
        mode: u32,
        owner: (u32, u32),
        first: &mut dyn FnMut(&Path) -> Result<(), BuildError>,
    ) -> Result<Cache, BuildError> {
        let what = || format!("failed to open the cache `{id}`");
        // What is made for twins' sake must not show to anybody else.
        let id = &if self.for_twins { format!("for twins: {id}") } else { id.to_owned() };
        let hex = Digest::sha256(id.as_bytes()).hex().to_owned();
        let (name, lock) = match sharing {
            CacheSharing::Locked => {
                let lock = self.lock(&format!("cache-{hex}"))?;
                (hex, lock)
            }
            CacheSharing::Shared => {
                let lock = self.lock_shared(&format!("cache-{hex}"))?;
                (hex, lock)
            }
            CacheSharing::Private => {
                let mut number = 0;
                loop {
                    let name = if number == 0 { hex.clone() } else { format!("{hex}-{number}") };
                    if let Some(lock) =
                        self.store().try_lock(&format!("cache-{name}")).context(what)?
                    {
                        break (name, lock);
                    }
                    number += 1;
                }
            }
        };
        let folder = self.store().root().join("caches").join(name);
        let cache = Cache { folder, id: id.to_owned(), _lock: lock };
        let content = cache.content();
        if content.is_dir() {
            return Ok(cache);
        }
        // Complete or not there: several steps may share it from its first moment on.
        let new = self.fresh("cache");
        fs::create_dir(&new).context(what)?;
        let inside = new.join("content");
        first(&inside)?;
        if !inside.is_dir() {
            fs::create_dir(&inside).context(what)?;
        }
        if owner != (0, 0) && !self.engine.host.single_id {
            std::os::unix::fs::chown(&inside, Some(owner.0), Some(owner.1)).context(what)?;
        }
        fs::set_permissions(&inside, fs::Permissions::from_mode(mode)).context(what)?;
        fs::create_dir_all(&cache.folder).context(what)?;
        match fs::rename(&inside, &content) {
            Ok(()) => {}
            // Somebody who shares it was first.
            Err(_) if content.is_dir() => {}
            Err(error) => return Err(error).context(what),
        }
        Ok(cache)
    }

    /// Removes the caches least recently used until the rest is within the bound.
    pub(crate) fn bound_caches(&self) -> Result<(), BuildError> {
        self.bound_caches_to(BOUND)
    }

    fn bound_caches_to(&self, bound: u64) -> Result<(), BuildError> {
        let what = || "failed to clean up the caches".to_owned();
        let entries = match fs::read_dir(self.store().root().join("caches")) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error).context(what),
        };
        let mut caches: Vec<(u64, u64, PathBuf)> = Vec::new();
        for entry in entries {
            let folder = entry.context(what)?.path();
            // One that was never used to its end counts as the oldest.
            let used = crate::cache::read::<Used>(self.store(), &folder.join("used.json"))?;
            let (when, bytes) = used.map_or((0, 0), |used| (used.used, used.bytes));
            caches.push((when, bytes, folder));
        }
        caches.sort();
        let mut total: u64 = caches.iter().map(|(_, bytes, _)| bytes).sum();
        for (_, bytes, folder) in caches {
            if total <= bound {
                break;
            }
            let name = folder.file_name().unwrap_or_default().to_string_lossy();
            if let Some(_alone) = self.store().try_lock(&format!("cache-{name}")).context(what)? {
                // Out of the way at once, then removed.
                let old = self.fresh("cache");
                fs::rename(&folder, &old).context(what)?;
                fs::remove_dir_all(&old).context(what)?;
                total -= bytes;
            }
        }
        Ok(())
    }
}

/// Bytes that a directory takes on disk.
fn size(folder: &Path) -> io::Result<u64> {
    let mut total = 0;
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            // Another step that shares it may remove things meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        for entry in entries.flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            total += metadata.blocks() * 512;
            if metadata.is_dir() {
                open.push(entry.path());
            }
        }
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use anyarch_sandbox::Cancel;

    fn nothing(_: &Path) -> Result<(), BuildError> {
        Ok(())
    }

    #[test]
    fn a_cache_is_found_again_and_private_ones_are_apart() {
        let folder = tempfile::tempdir().unwrap();
        let engine = testing::engine(folder.path());
        let cancel = Cancel::new();
        let session = Session::new(&engine, 0, &|_| {}, &cancel);
        let open =
            |id, sharing| session.open_cache(id, sharing, 0o755, (0, 0), &mut nothing).unwrap();
        let first = open("pip", CacheSharing::Shared);
        fs::write(first.content().join("wheel"), "x").unwrap();
        let beside = open("pip", CacheSharing::Shared);
        assert_eq!(beside.content(), first.content());
        drop((first, beside));
        let private = open("pip", CacheSharing::Private);
        assert!(private.content().join("wheel").exists());
        let another = open("pip", CacheSharing::Private);
        assert!(!another.content().join("wheel").exists());
        assert_ne!(open("npm", CacheSharing::Locked).content(), private.content());
    }

    #[test]
    fn what_is_made_for_twins_has_caches_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let engine = testing::engine(folder.path());
        let cancel = Cancel::new();
        let session = Session::new(&engine, 0, &|_| {}, &cancel);
        let for_twins = Session { for_twins: true, ..Session::new(&engine, 0, &|_| {}, &cancel) };
        let open = |session: &Session<'_>| {
            let mut first = nothing;
            session.open_cache("a", CacheSharing::Shared, 0o755, (0, 0), &mut first).unwrap()
        };
        assert_ne!(open(&session).content(), open(&for_twins).content());
        assert_eq!(open(&for_twins).content(), open(&for_twins).content());
    }

    #[test]
    fn a_new_cache_is_filled_once() {
        let folder = tempfile::tempdir().unwrap();
        let engine = testing::engine(folder.path());
        let cancel = Cancel::new();
        let session = Session::new(&engine, 0, &|_| {}, &cancel);
        let mut times = 0;
        let mut fill = |to: &Path| {
            times += 1;
            fs::create_dir(to).unwrap();
            fs::write(to.join("seed"), "x").unwrap();
            Ok(())
        };
        for _ in 0..2 {
            let cache = session.open_cache("a", CacheSharing::Locked, 0o700, (0, 0), &mut fill);
            assert!(cache.unwrap().content().join("seed").exists());
        }
        assert_eq!(times, 1);
    }

    #[test]
    fn what_was_not_used_for_longest_goes_and_what_is_in_use_stays() {
        let folder = tempfile::tempdir().unwrap();
        let engine = testing::engine(folder.path());
        let cancel = Cancel::new();
        let session = Session::new(&engine, 0, &|_| {}, &cancel);
        let open =
            |id| session.open_cache(id, CacheSharing::Shared, 0o755, (0, 0), &mut nothing).unwrap();
        for (id, when) in [("old", 1), ("new", 3), ("held", 0)] {
            let cache = open(id);
            fs::write(cache.content().join("data"), vec![0; 100_000]).unwrap();
            let used = Used { id: id.to_owned(), used: when, bytes: 100_000 };
            session.store().write_json(&cache.folder.join("used.json"), &used).unwrap();
        }
        let held = open("held");
        session.bound_caches_to(200_000).unwrap();
        assert!(held.content().join("data").exists());
        assert!(!open("old").content().join("data").exists());
        assert!(open("new").content().join("data").exists());
    }
}
