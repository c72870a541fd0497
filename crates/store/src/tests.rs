use std::io::Write;

use anyarch_oci::{Descriptor, Digest, media_type};

use crate::{Store, StoreError};

fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    (folder, store)
}

#[test]
fn content_is_found_under_its_digest() {
    let (_folder, store) = store();
    let digest = store.put_blob(b"hello").unwrap();
    assert_eq!(digest, Digest::sha256(b"hello"));
    assert_eq!(store.read_blob(&digest).unwrap(), b"hello");
    assert_eq!(store.blob_size(&digest), Some(5));
}

#[test]
fn content_that_lies_is_refused_and_leaves_nothing() {
    let (folder, store) = store();
    let mut ingest = store.ingest().unwrap();
    ingest.write_all(b"evil").unwrap();
    let promised = Digest::sha256(b"good");
    assert!(matches!(ingest.commit(Some(&promised)), Err(StoreError::Mismatch { .. })));
    assert!(store.blob(&promised).unwrap().is_none());
    let blobs = std::fs::read_dir(folder.path().join("blobs/sha256")).unwrap().count();
    let unfinished = std::fs::read_dir(store.work().path()).unwrap().count();
    assert_eq!((blobs, unfinished), (0, 1), "only the lock of the working folder is left");
}

#[test]
fn an_ingest_that_is_dropped_leaves_nothing() {
    let (_folder, store) = store();
    let mut ingest = store.ingest().unwrap();
    ingest.write_all(b"half").unwrap();
    let path = ingest.path().to_owned();
    drop(ingest);
    assert!(!path.exists());
}

#[test]
fn tags_point_and_move_and_go() {
    let (_folder, store) = store();
    let name: anyarch_oci::RepositoryName = "team/app".parse().unwrap();
    let tag: anyarch_oci::Tag = "dev".parse().unwrap();
    let one = Descriptor::of(media_type::MANIFEST, b"1");
    let two = Descriptor::of(media_type::MANIFEST, b"2");
    assert_eq!(store.resolve(&name, &tag).unwrap(), None);
    store.tag(&name, &tag, &one).unwrap();
    store.tag(&name, &tag, &two).unwrap();
    assert_eq!(store.resolve(&name, &tag).unwrap(), Some(two.clone()));
    assert_eq!(store.tags(&name).unwrap(), std::slice::from_ref(&tag));
    assert_eq!(store.repositories().unwrap(), std::slice::from_ref(&name));
    assert_eq!(store.manifests(&name).unwrap().len(), 2);
    assert!(store.remove_manifest(&name, &two.digest).unwrap());
    assert_eq!(store.resolve(&name, &tag).unwrap(), None);
    assert_eq!(store.manifest(&name, &one.digest).unwrap(), Some(one));
}

#[test]
fn healing_removes_what_the_dead_left_and_spares_the_living() {
    let (folder, store) = store();
    let other = Store::open(folder.path()).unwrap();
    let dead = folder.path().join("work/1-dead");
    std::fs::create_dir_all(dead.join("upper/a")).unwrap();
    let healed = store.heal().unwrap();
    assert_eq!((healed.removed, healed.alive), (1, 2));
    assert!(!dead.exists() && other.work().path().exists());
}

#[test]
fn dropping_the_store_removes_its_working_folder() {
    let (folder, store) = store();
    let path = store.work().path().to_owned();
    let clone = store.clone();
    drop(store);
    assert!(path.exists());
    drop(clone);
    assert!(!path.exists());
    assert!(folder.path().join("oci-layout").exists());
}

#[test]
fn a_folder_with_another_layout_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("oci-layout"), "{\"imageLayoutVersion\":\"9\"}").unwrap();
    assert!(matches!(Store::open(folder.path()), Err(StoreError::NotAStore { .. })));
}

#[test]
fn many_threads_store_the_same_blob_at_once() {
    let (_folder, store) = store();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| store.put_blob(b"same").unwrap());
        }
    });
    assert_eq!(store.read_blob(&Digest::sha256(b"same")).unwrap(), b"same");
}

#[test]
fn a_lock_waits_for_its_holder() {
    let (_folder, store) = store();
    let held = store.lock("step").unwrap();
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let _second = store.lock("step").unwrap();
            sender.send("locked").unwrap();
        });
        assert!(receiver.recv_timeout(std::time::Duration::from_millis(50)).is_err());
        drop(held);
        assert_eq!(receiver.recv().unwrap(), "locked");
    });
}

#[test]
fn many_open_and_heal_a_new_store_at_once() {
    for _ in 0..20 {
        let folder = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let store = Store::open(folder.path()).unwrap();
                    store.heal().unwrap();
                });
            }
        });
    }
}

#[test]
fn a_lock_that_another_holds_is_not_taken() {
    let (folder, store) = store();
    let other = Store::open(folder.path()).unwrap();
    let held = store.lock("x").unwrap();
    assert!(other.try_lock("x").unwrap().is_none());
    drop(held);
    assert!(other.try_lock("x").unwrap().is_some());
}
