//! Many clients at once.

use std::io::Read;

use anyarch_http::Method;
use anyarch_oci::Digest;
use anyarch_registry::server::Server;
use anyarch_store::Store;
use anyarch_testkit::{TestImage, TestRegistry, random_bytes};

use crate::ask::{begin, get, image, json, manifest, put_manifest, send, text};
use crate::common::{amd64, client, push, tag};

#[test]
fn same_blob_from_many_at_once() {
    let registry = TestRegistry::start();
    let bytes = random_bytes(5, 2_000_000);
    let descriptor = crate::common::blob(&bytes);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let repository = registry.repository("app");
                push(&client(), &repository, &bytes).unwrap();
            });
        }
    });
    let mut stored = Vec::new();
    let mut blob = registry.store().blob(&descriptor.digest).unwrap().unwrap();
    blob.file.read_to_end(&mut stored).unwrap();
    assert_eq!(stored, bytes);
}

#[test]
fn same_image_from_many_at_once() {
    let registry = TestRegistry::start();
    let image = TestImage::random(3, 3, &amd64());
    std::thread::scope(|scope| {
        for number in 0..8 {
            let (registry, image) = (&registry, &image);
            scope.spawn(move || {
                let own = tag(&format!("v{number}"));
                let repository = registry.repository("app");
                image.push(&client(), &repository, Some(&own)).unwrap();
                image.push(&client(), &repository, Some(&tag("latest"))).unwrap();
            });
        }
    });
    let tags = json(get(&registry, "/v2/app/tags/list"))["tags"].as_array().unwrap().len();
    assert_eq!(tags, 9);
    let (_, bytes) = client().manifest(&registry.reference("app:latest")).unwrap();
    assert_eq!(bytes, image.bytes);
}

#[test]
fn of_many_that_want_a_new_tag_one_gets_it() {
    // Two servers over one store, as two processes would be.
    let folder = tempfile::tempdir().unwrap();
    let servers = [(); 2].map(|()| {
        let store = Store::open(folder.path()).unwrap();
        Server::bind("127.0.0.1:0", store).unwrap().serve_in_background().unwrap()
    });
    image(&servers[0], "");
    for round in 0..5 {
        let key = format!("v{round}");
        let won: Vec<Vec<u8>> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..16)
                .map(|number| {
                    let (server, key) = (&servers[number % 2], key.as_str());
                    scope.spawn(move || {
                        let bytes = manifest(&format!("{round} {number}"), "");
                        let condition = [("if-none-match", "*")];
                        match put_manifest(server, key, &condition, &bytes).status {
                            201 => Some(bytes),
                            status => {
                                assert_eq!(status, 412);
                                None
                            }
                        }
                    })
                })
                .collect();
            threads.into_iter().filter_map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(won.len(), 1);
        for server in &servers {
            let path = format!("/v2/app/manifests/{key}");
            assert_eq!(text(get(server, &path)).as_bytes(), won[0]);
        }
    }
}

#[test]
fn chunks_of_one_upload_take_turns() {
    let registry = TestRegistry::start();
    let session = begin(&registry);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                assert_eq!(send(&registry, Method::Patch, &session, &[], b"same").status, 202);
            });
        }
    });
    let end = format!("{session}?digest={}", Digest::sha256("same".repeat(8).as_bytes()));
    assert_eq!(send(&registry, Method::Put, &end, &[], b"").status, 201);
}
