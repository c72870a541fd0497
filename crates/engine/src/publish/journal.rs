//! What the host store remembers of publications, by destination: where uploads go on that a killed
//! run had begun, and which blobs each repository got from here, so that others can mount them.
//!
//! `publications/HEX`, JSON, HEX the SHA-256 of the destination's name. It is an aid only: what is at
//! the destination decides, and without the journal the same is published, with more bytes sent.
//! Holds no credentials. Also the lock: publications from one store to one place follow each other.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyarch_oci::{Digest, RepositoryName, UploadMemory};
use anyarch_store::{Lock, Store};
use serde::{Deserialize, Serialize};

use super::{Item, Place};
use crate::engine::Session;
use crate::error::{BuildError, Context};
use crate::event::Event;

/// As it is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    /// The registry; none for the embedded one.
    registry: Option<String>,
    repository: String,
    /// Where unfinished uploads go on.
    #[serde(default)]
    uploads: BTreeMap<Digest, String>,
    /// Blobs that it got from here.
    #[serde(default)]
    blobs: BTreeSet<Digest>,
}

/// The journal of one destination, while it is published to.
pub(super) struct Journal<'a> {
    store: &'a Store,
    path: PathBuf,
    record: Mutex<Record>,
    /// Of other repositories of the same registry: who has which blobs.
    neighbours: Vec<(RepositoryName, BTreeSet<Digest>)>,
    _lock: Lock,
}

impl<'a> Journal<'a> {
    /// Waits until no other run publishes to `to` from this store, and reads what is remembered.
    pub(super) fn open(session: &'a Session<'_>, to: &Place) -> Result<Journal<'a>, BuildError> {
        let store = session.store();
        let what = || format!("failed to read the journal of {to}");
        let name = Digest::sha256(to.to_string().as_bytes());
        let lock = format!("publish-{}", name.hex());
        let lock = match store.try_lock(&lock).context(what)? {
            Some(lock) => lock,
            None => {
                (session.on)(Event::Resolving {
                    what: format!("{to}: waiting for another publication from this machine to end"),
                });
                session.lock(&lock)?
            }
        };
        let path = folder(store).join(name.hex());
        let own: Option<Record> = crate::cache::read(store, &path)?;
        let record = own.unwrap_or_else(|| Record {
            registry: to.registry.clone(),
            repository: to.repository.to_string(),
            ..Record::default()
        });
        let neighbours = neighbours(store, to)?;
        Ok(Journal { store, path, record: Mutex::new(record), neighbours, _lock: lock })
    }

    /// Repositories of the same registry that got a blob from here.
    pub(super) fn others_with(&self, blob: &Digest) -> Vec<RepositoryName> {
        let having = self.neighbours.iter().filter(|(_, blobs)| blobs.contains(blob));
        having.map(|(name, _)| name.clone()).collect()
    }

    /// What is kept in mind of the upload of one blob.
    pub(super) fn upload<'b>(&'b self, blob: &'b Digest) -> Upload<'b> {
        Upload { journal: self, blob }
    }

    /// Keeps what the repository has now, after all went well.
    pub(super) fn close(self, items: &[Item]) -> Result<(), BuildError> {
        let mut record = self.lock().clone();
        let blobs = items.iter().flat_map(|item| &item.blobs);
        let blobs: BTreeSet<Digest> = blobs.map(|blob| blob.digest.clone()).collect();
        record.uploads.retain(|blob, _| !blobs.contains(blob));
        record.blobs.extend(blobs);
        // What this machine no longer has it will not send again, and the list stays short.
        record.blobs.retain(|blob| self.store.blob_size(blob).is_some());
        self.write(&record)
    }

    fn lock(&self) -> MutexGuard<'_, Record> {
        // The record is replaced by one assignment, never half changed.
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, record: &Record) -> Result<(), BuildError> {
        let what = || "failed to write the journal of the publication".to_owned();
        self.store.write_json(&self.path, record).context(what)
    }

    /// Changes what is kept of uploads. A journal that cannot be written costs bytes of a later run,
    /// and is no reason to end this one.
    fn change(&self, change: impl FnOnce(&mut BTreeMap<Digest, String>)) {
        let mut record = self.lock();
        change(&mut record.uploads);
        drop(self.write(&record));
    }
}

/// The memory of one upload.
pub(super) struct Upload<'a> {
    journal: &'a Journal<'a>,
    blob: &'a Digest,
}

impl UploadMemory for Upload<'_> {
    fn recall(&self) -> Option<String> {
        self.journal.lock().uploads.get(self.blob).cloned()
    }

    fn remember(&self, place: &str) {
        self.journal.change(|uploads| drop(uploads.insert(self.blob.clone(), place.to_owned())));
    }

    fn forget(&self) {
        if self.recall().is_some() {
            self.journal.change(|uploads| drop(uploads.remove(self.blob)));
        }
    }
}

/// The journal as a rehearsal reads it: without waiting, and without writing.
pub(super) fn neighbours(
    store: &Store,
    to: &Place,
) -> Result<Vec<(RepositoryName, BTreeSet<Digest>)>, BuildError> {
    let what = || "failed to read the journals of publications".to_owned();
    let entries = match std::fs::read_dir(folder(store)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).context(what),
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.context(what)?.path();
        let Some(record) = crate::cache::read::<Record>(store, &path)? else { continue };
        let other = record.registry == to.registry && record.repository != to.repository.as_str();
        if let (true, Ok(name)) = (other, record.repository.parse()) {
            found.push((name, record.blobs));
        }
    }
    found.sort();
    Ok(found)
}

fn folder(store: &Store) -> PathBuf {
    Path::new(store.root()).join("publications")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use anyarch_sandbox::Cancel;

    fn place(registry: &str, repository: &str) -> Place {
        Place { registry: Some(registry.to_owned()), repository: repository.parse().unwrap() }
    }

    #[test]
    fn an_upload_is_remembered_by_the_next_run_until_it_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let engine = testing::engine(folder.path());
        let cancel = Cancel::new();
        let session = Session::new(&engine, 0, &|_| {}, &cancel);
        let (to, blob) = (place("r.example", "a/b"), Digest::sha256(b"blob"));
        let first = Journal::open(&session, &to).unwrap();
        assert_eq!(first.upload(&blob).recall(), None);
        first.upload(&blob).remember("/v2/a/b/blobs/uploads/1");
        drop(first);
        let second = Journal::open(&session, &to).unwrap();
        assert_eq!(second.upload(&blob).recall().as_deref(), Some("/v2/a/b/blobs/uploads/1"));
        second.upload(&blob).forget();
        drop(second);
        assert_eq!(Journal::open(&session, &to).unwrap().upload(&blob).recall(), None);
    }

    #[test]
    fn repositories_of_the_same_registry_are_mounted_from() {
        let folder = tempfile::tempdir().unwrap();
        let engine = testing::engine(folder.path());
        let cancel = Cancel::new();
        let session = Session::new(&engine, 0, &|_| {}, &cancel);
        let blob = anyarch_oci::Descriptor::of("application/octet-stream", b"blob");
        engine.store.put_blob(b"blob").unwrap();
        let item = Item {
            name: String::new(),
            descriptor: blob.clone(),
            bytes: Vec::new(),
            platforms: Vec::new(),
            layers: BTreeMap::new(),
            blobs: vec![blob.clone()],
            origins: Vec::new(),
            tags: Vec::new(),
            version_tags: Vec::new(),
        };
        let first = Journal::open(&session, &place("r.example", "staging/app")).unwrap();
        first.close(&[item]).unwrap();
        let others = |to: &Place| Journal::open(&session, to).unwrap().others_with(&blob.digest);
        assert_eq!(others(&place("r.example", "app")), ["staging/app".parse().unwrap()]);
        assert_eq!(others(&place("r.example", "staging/app")), []);
        assert_eq!(others(&place("other.example", "app")), []);
    }

    #[test]
    fn a_damaged_journal_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let engine = testing::engine(folder.path());
        let cancel = Cancel::new();
        let session = Session::new(&engine, 0, &|_| {}, &cancel);
        let to = place("r.example", "app");
        let journal = Journal::open(&session, &to).unwrap();
        journal.upload(&Digest::sha256(b"")).remember("x");
        let path = journal.path.clone();
        drop(journal);
        std::fs::write(path, "{\"uploads\":").unwrap();
        assert_eq!(Journal::open(&session, &to).unwrap().lock().uploads.len(), 0);
    }
}
