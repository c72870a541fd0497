//! The embedded server, spoken to request by request.
#![allow(clippy::unwrap_used)]

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};

use anyarch_http::{Body, Method, Request, Response};
use anyarch_oci::{Digest, media_type};
use anyarch_registry::server::{Access, Server};
use anyarch_store::Store;
use anyarch_testkit::{TestImage, TestRegistry, random_bytes};
use common::{amd64, client, http, push, tag};

fn send(
    registry: &TestRegistry,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Response {
    let mut request = Request::new(method, format!("http://{}{path}", registry.host()))
        .body(Body::Bytes(body.to_vec()))
        .without_retry();
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    http().send(&request).unwrap()
}

fn text(mut response: Response) -> String {
    let mut text = String::new();
    response.body.read_to_string(&mut text).unwrap();
    text
}

/// Status and error code of a refusal.
fn refusal(response: Response) -> (u16, String) {
    let status = response.status;
    let answer: serde_json::Value = serde_json::from_str(&text(response)).unwrap();
    (status, answer["errors"][0]["code"].as_str().unwrap().to_owned())
}

fn begin(registry: &TestRegistry) -> String {
    let response = send(registry, Method::Post, "/v2/app/blobs/uploads/", &[], b"");
    assert_eq!(response.status, 202);
    response.header("location").unwrap().to_owned()
}

#[test]
fn chunks_are_taken_in_order() {
    let registry = TestRegistry::start();
    let session = begin(&registry);
    let first = send(&registry, Method::Patch, &session, &[("content-range", "0-4")], b"hello");
    assert_eq!((first.status, first.header("range")), (202, Some("0-4")));
    let early = send(&registry, Method::Patch, &session, &[("content-range", "9-9")], b"!");
    assert_eq!(early.header("range"), Some("0-4"));
    assert_eq!(refusal(early), (416, "BLOB_UPLOAD_INVALID".to_owned()));
    let status = send(&registry, Method::Get, &session, &[], b"");
    assert_eq!((status.status, status.header("range")), (204, Some("0-4")));
    let second = send(&registry, Method::Patch, &session, &[], b" wor");
    assert_eq!(second.header("range"), Some("0-8"));
    let digest = Digest::sha256(b"hello world");
    let end = format!("{session}?digest={digest}");
    let done = send(&registry, Method::Put, &end, &[("content-range", "9-10")], b"ld");
    assert_eq!(
        (done.status, done.header("docker-content-digest")),
        (201, Some(&*digest.to_string()))
    );
    let location = done.header("location").unwrap().to_owned();
    assert_eq!(text(send(&registry, Method::Get, &location, &[], b"")), "hello world");
    assert_eq!(refusal(send(&registry, Method::Get, &session, &[], b"")).0, 404);
}

#[test]
fn chunk_that_is_cut_off_goes_on_where_it_ended() {
    let registry = TestRegistry::start();
    let session = begin(&registry);
    let mut raw = TcpStream::connect(registry.host()).unwrap();
    write!(raw, "PATCH {session} HTTP/1.1\r\nhost: r\r\ncontent-length: 11\r\n\r\nhello").unwrap();
    // The range shows at the latest when the server has noticed the end of the connection.
    raw.shutdown(std::net::Shutdown::Both).unwrap();
    let mut so_far = String::new();
    for _ in 0..500 {
        let status = send(&registry, Method::Get, &session, &[], b"");
        so_far = status.header("range").unwrap().to_owned();
        if so_far == "0-4" {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert_eq!(so_far, "0-4");
    let end = format!("{session}?digest={}", Digest::sha256(b"hello world"));
    let rest = send(&registry, Method::Put, &end, &[("content-range", "5-10")], b" world");
    assert_eq!(rest.status, 201);
}

#[test]
fn single_post_and_sha512() {
    let registry = TestRegistry::start();
    let digest = Digest::sha256(b"once");
    let path = format!("/v2/app/blobs/uploads/?digest={digest}");
    assert_eq!(send(&registry, Method::Post, &path, &[], b"once").status, 201);
    let mut hasher = anyarch_oci::Hasher::with(anyarch_oci::Algorithm::Sha512);
    hasher.update(b"long");
    let digest = hasher.finish();
    let end = format!("{}?digest={digest}", begin(&registry));
    assert_eq!(send(&registry, Method::Put, &end, &[], b"long").status, 201);
    let path = format!("/v2/app/blobs/{digest}");
    assert_eq!(text(send(&registry, Method::Get, &path, &[], b"")), "long");
}

#[test]
fn content_that_is_not_its_digest_is_refused() {
    let registry = TestRegistry::start();
    let digest = Digest::sha256(b"promised");
    let end = format!("{}?digest={digest}", begin(&registry));
    let refused = refusal(send(&registry, Method::Put, &end, &[], b"delivered"));
    assert_eq!(refused, (400, "DIGEST_INVALID".to_owned()));
    let once = format!("/v2/app/blobs/uploads/?digest={digest}");
    assert_eq!(refusal(send(&registry, Method::Post, &once, &[], b"delivered")).0, 400);
    let path = format!("/v2/app/blobs/{digest}");
    assert_eq!(
        refusal(send(&registry, Method::Get, &path, &[], b"")),
        (404, "BLOB_UNKNOWN".to_owned())
    );
    let no_digest = refusal(send(&registry, Method::Put, &begin(&registry), &[], b""));
    assert_eq!(no_digest, (400, "DIGEST_INVALID".to_owned()));
}

#[test]
fn cancelled_upload_is_gone() {
    let registry = TestRegistry::start();
    let session = begin(&registry);
    assert_eq!(send(&registry, Method::Delete, &session, &[], b"").status, 204);
    let refused = refusal(send(&registry, Method::Patch, &session, &[], b"x"));
    assert_eq!(refused, (404, "BLOB_UPLOAD_UNKNOWN".to_owned()));
    let other = begin(&registry).replace("/app/", "/other/");
    assert_eq!(refusal(send(&registry, Method::Patch, &other, &[], b"x")).0, 404);
}

#[test]
fn ranges_of_blobs() {
    let registry = TestRegistry::start();
    let digest = registry.store().put_blob(b"0123456789").unwrap();
    let path = format!("/v2/app/blobs/{digest}");
    let part = send(&registry, Method::Get, &path, &[("range", "bytes=2-4")], b"");
    assert_eq!((part.status, part.header("content-range")), (206, Some("bytes 2-4/10")));
    assert_eq!(text(part), "234");
    let beyond = send(&registry, Method::Get, &path, &[("range", "bytes=10-")], b"");
    assert_eq!((beyond.status, beyond.header("content-range")), (416, Some("bytes */10")));
    let head = send(&registry, Method::Head, &path, &[], b"");
    assert_eq!((head.status, head.header("content-length")), (200, Some("10")));
    assert_eq!(text(head), "");
}

#[test]
fn deleted_blob_is_hidden_until_pushed_again() {
    let registry = TestRegistry::start();
    let digest = registry.store().put_blob(b"content").unwrap();
    let path = format!("/v2/app/blobs/{digest}");
    assert_eq!(send(&registry, Method::Delete, &path, &[], b"").status, 202);
    assert_eq!(send(&registry, Method::Head, &path, &[], b"").status, 404);
    assert_eq!(send(&registry, Method::Delete, &path, &[], b"").status, 404);
    let elsewhere = format!("/v2/other/blobs/{digest}");
    assert_eq!(send(&registry, Method::Head, &elsewhere, &[], b"").status, 200);
    let once = format!("/v2/app/blobs/uploads/?digest={digest}");
    assert_eq!(send(&registry, Method::Post, &once, &[], b"content").status, 201);
    assert_eq!(send(&registry, Method::Head, &path, &[], b"").status, 200);
}

#[test]
fn bad_manifests_are_refused() {
    let registry = TestRegistry::start();
    let put = |key: &str, kind: &str, body: &[u8]| {
        let path = format!("/v2/app/manifests/{key}");
        refusal(send(&registry, Method::Put, &path, &[("content-type", kind)], body))
    };
    assert_eq!(put("v1", media_type::MANIFEST, b"not json"), (400, "MANIFEST_INVALID".to_owned()));
    let large = vec![b' '; 4 * 1024 * 1024 + 1];
    assert_eq!(put("v1", media_type::MANIFEST, &large), (413, "SIZE_INVALID".to_owned()));
    assert_eq!(put(".v1", media_type::MANIFEST, b"{}").0, 400);
    let image = TestImage::random(1, 1, &amd64());
    image.push(&client(), &registry.repository("app"), None).unwrap();
    assert_eq!(put("v1", media_type::INDEX, &image.bytes), (400, "MANIFEST_INVALID".to_owned()));
    let other = Digest::sha256(b"other").to_string();
    assert_eq!(put(&other, media_type::MANIFEST, &image.bytes), (400, "DIGEST_INVALID".to_owned()));
}

#[test]
fn unknown_things_have_their_codes() {
    let registry = TestRegistry::start();
    let get = |path: &str| refusal(send(&registry, Method::Get, path, &[], b""));
    assert_eq!(get("/v2/app/manifests/v1"), (404, "MANIFEST_UNKNOWN".to_owned()));
    assert_eq!(get("/v2/app/manifests/.v1"), (404, "MANIFEST_UNKNOWN".to_owned()));
    assert_eq!(get("/v2/app/tags/list"), (404, "NAME_UNKNOWN".to_owned()));
    assert_eq!(get("/v2/APP/tags/list"), (400, "NAME_INVALID".to_owned()));
    assert_eq!(get("/v2/app/blobs/sha256:0"), (400, "DIGEST_INVALID".to_owned()));
    let post = send(&registry, Method::Post, "/v2/app/manifests/v1", &[], b"");
    assert_eq!(refusal(post), (405, "UNSUPPORTED".to_owned()));
    assert_eq!(text(send(&registry, Method::Get, "/v2/", &[], b"")), "{}");
}

#[test]
fn lists_have_pages() {
    let registry = TestRegistry::start();
    let image = TestImage::random(1, 1, &amd64());
    for name in ["a", "b/c"] {
        for label in ["x", "y", "z"] {
            image.push(&client(), &registry.repository(name), Some(&tag(label))).unwrap();
        }
    }
    let tags = send(&registry, Method::Get, "/v2/b/c/tags/list?n=2", &[], b"");
    assert_eq!(tags.header("link"), Some("</v2/b/c/tags/list?n=2&last=y>; rel=\"next\""));
    assert_eq!(text(tags), r#"{"name":"b/c","tags":["x","y"]}"#);
    let rest = send(&registry, Method::Get, "/v2/b/c/tags/list?n=2&last=y", &[], b"");
    assert_eq!(rest.header("link"), None);
    assert!(text(rest).contains(r#"["z"]"#));
    let catalog = send(&registry, Method::Get, "/v2/_catalog?n=1&last=a", &[], b"");
    assert_eq!(text(catalog), r#"{"repositories":["b/c"]}"#);
}

#[test]
fn same_blob_from_many_at_once() {
    let registry = TestRegistry::start();
    let bytes = random_bytes(5, 2_000_000);
    let descriptor = common::blob(&bytes);
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
fn accesses_are_told_and_shutdown_lets_downloads_end() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let bytes = random_bytes(6, 8_000_000);
    let digest = store.put_blob(&bytes).unwrap();
    let seen: Arc<Mutex<Vec<Access>>> = Arc::default();
    let log = Arc::clone(&seen);
    let on_access = Arc::new(move |access| log.lock().unwrap().push(access));
    let server = Server::bind_observed("127.0.0.1:0", store, on_access).unwrap();
    let server = server.serve_in_background().unwrap();
    let address = server.addr();
    let path = format!("/v2/app/blobs/{digest}");
    let mut response = http().get(&format!("http://{address}{path}"), 0, &[]).unwrap();
    let ending = std::thread::spawn(move || server.shutdown());
    let mut got = Vec::new();
    response.body.read_to_end(&mut got).unwrap();
    assert_eq!(got, bytes);
    assert!(ending.join().unwrap());
    let wanted = Access { method: "GET".to_owned(), path, status: 200, bytes: 8_000_000 };
    assert_eq!(*seen.lock().unwrap(), [wanted]);
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn port_that_is_taken_is_named() {
    let registry = TestRegistry::start();
    let error = Server::bind(registry.host(), registry.store().clone()).err().unwrap();
    assert!(error.to_string().contains(&registry.host()));
    assert!(error.hint().unwrap().contains("another port"));
}
