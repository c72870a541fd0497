use std::io::Write;

use anyarch_oci::{Descriptor, Digest, media_type};

use crate::{Resumed, Store, StoreError, UPLOAD_LIFE, UploadId};

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
    assert!(store.tagged_at(&name, &tag).unwrap().unwrap().elapsed().is_ok());
    assert_eq!(store.tagged_at(&name, &"other".parse().unwrap()).unwrap(), None);
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

#[test]
fn of_many_that_want_a_new_tag_one_gets_it() {
    let (folder, _store) = store();
    let name: anyarch_oci::RepositoryName = "app".parse().unwrap();
    let tag: anyarch_oci::Tag = "v1".parse().unwrap();
    let won = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..16_u8)
            .map(|number| {
                let (name, tag, root) = (&name, &tag, folder.path());
                scope.spawn(move || {
                    let own = Store::open(root).unwrap();
                    let manifest = Descriptor::of(media_type::MANIFEST, &[number]);
                    let won = own.tag_if(name, tag, &manifest, |now| now.is_none()).unwrap();
                    won.then_some(manifest)
                })
            })
            .collect();
        threads.into_iter().filter_map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    assert_eq!(won.len(), 1);
    let store = Store::open(folder.path()).unwrap();
    assert_eq!(store.resolve(&name, &tag).unwrap().as_ref(), won.first());
    assert_eq!(store.manifests(&name).unwrap(), won, "who did not win left nothing");
    assert!(!store.untag_if(&name, &tag, |_| false).unwrap());
    assert!(store.untag(&name, &tag).unwrap());
}

fn resumed(
    store: &Store,
    name: &anyarch_oci::RepositoryName,
    id: &UploadId,
) -> Option<crate::Ingest> {
    match store.resume_upload(name, id).unwrap() {
        Resumed::Upload(ingest) => Some(ingest),
        Resumed::Busy | Resumed::Missing => None,
    }
}

#[test]
fn uploads_outlive_their_process() {
    let (folder, store) = store();
    let name = "team/app".parse().unwrap();
    let (id, mut ingest) = store.begin_upload(&name).unwrap();
    ingest.write_all(b"hello").unwrap();
    let other = Store::open(folder.path()).unwrap();
    assert!(matches!(other.resume_upload(&name, &id).unwrap(), Resumed::Busy));
    drop(ingest);
    drop(store);
    let mut ingest = resumed(&other, &name, &id).unwrap();
    assert_eq!(ingest.size(), 5);
    ingest.write_all(b" world").unwrap();
    let digest = Digest::sha256(b"hello world");
    ingest.commit(Some(&digest)).unwrap();
    assert_eq!(other.read_blob(&digest).unwrap(), b"hello world");
    assert!(matches!(other.resume_upload(&name, &id).unwrap(), Resumed::Missing));
    assert_eq!(other.repositories().unwrap(), [], "an upload alone makes no repository");
}

#[test]
fn uploads_that_are_given_up_or_wrong_are_gone() {
    let (_folder, store) = store();
    let name = "app".parse().unwrap();
    let (given_up, ingest) = store.begin_upload(&name).unwrap();
    ingest.discard();
    let (wrong, ingest) = store.begin_upload(&name).unwrap();
    assert!(ingest.commit(Some(&Digest::sha256(b"other"))).is_err());
    for id in [given_up, wrong] {
        assert!(matches!(store.resume_upload(&name, &id).unwrap(), Resumed::Missing));
    }
    for text in ["", "..", "../../../lock", &"A".repeat(32)] {
        assert!(text.parse::<UploadId>().is_err(), "{text}");
    }
}

#[test]
fn healing_removes_uploads_that_nobody_went_on_with() {
    let (_folder, store) = store();
    let name = "app".parse().unwrap();
    let (held, kept) = store.begin_upload(&name).unwrap();
    let (old, left) = store.begin_upload(&name).unwrap();
    let (new, fresh) = store.begin_upload(&name).unwrap();
    let long_ago = std::time::SystemTime::now() - UPLOAD_LIFE * 2;
    for ingest in [&kept, &left] {
        let file = std::fs::File::options().write(true).open(ingest.path()).unwrap();
        file.set_modified(long_ago).unwrap();
    }
    drop((left, fresh));
    assert_eq!(store.heal().unwrap().uploads, 1);
    assert!(matches!(store.resume_upload(&name, &held).unwrap(), Resumed::Busy));
    assert!(matches!(store.resume_upload(&name, &old).unwrap(), Resumed::Missing));
    assert!(resumed(&store, &name, &new).is_some());
    drop(kept);
}

#[test]
fn an_algorithm_that_is_named_late_counts_from_the_start() {
    let (_folder, store) = store();
    let mut ingest = store.ingest().unwrap();
    ingest.write_all(b"a").unwrap();
    ingest.hash_with(anyarch_oci::Algorithm::Sha512).unwrap();
    ingest.write_all(b"bc").unwrap();
    let (digest, size) = ingest.commit(None).unwrap();
    assert!(digest.hex().starts_with("ddaf35a193617aba") && size == 3);
}

#[test]
fn hidden_blobs_are_hidden_from_one_repository() {
    let (_folder, store) = store();
    let (name, other) = ("app".parse().unwrap(), "other".parse().unwrap());
    let digest = store.put_blob(b"hello").unwrap();
    store.hide_blob(&name, &digest).unwrap();
    assert!(store.is_blob_hidden(&name, &digest) && !store.is_blob_hidden(&other, &digest));
    store.show_blob(&name, &digest).unwrap();
    assert!(!store.is_blob_hidden(&name, &digest));
}
