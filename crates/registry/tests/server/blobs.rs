//! Pulling and deleting blobs (end-2, end-10).

use anyarch_http::Method;
use anyarch_testkit::TestRegistry;

use crate::ask::{get, push, refusal, send, text};

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
fn blobs_that_are_known_already_are_not_sent() {
    let registry = TestRegistry::start();
    let digest = push(&registry, b"0123456789");
    let path = format!("/v2/app/blobs/{digest}");
    let tag = get(&registry, &path).header("etag").unwrap().to_owned();
    assert_eq!(tag, format!("\"{digest}\""));
    let again = send(&registry, Method::Get, &path, &[("if-none-match", &tag)], b"");
    assert_eq!((again.status, text(again)), (304, String::new()));
    let other = send(&registry, Method::Get, &path, &[("if-match", "\"x\"")], b"");
    assert_eq!(refusal(other).0, 412);
    let part = |if_range: &str| {
        let headers = [("range", "bytes=0-1"), ("if-range", if_range)];
        let response = send(&registry, Method::Get, &path, &headers, b"");
        (response.status, text(response))
    };
    assert_eq!(part(&tag), (206, "01".to_owned()));
    assert_eq!(part("\"x\""), (200, "0123456789".to_owned()));
}

#[test]
fn deleted_blob_is_missing_for_manifests() {
    let registry = TestRegistry::start();
    let image = crate::ask::image(&registry, "1");
    let config = anyarch_oci::Digest::sha256(b"{}");
    send(&registry, Method::Delete, &format!("/v2/app/blobs/{config}"), &[], b"");
    let refused = crate::ask::put_manifest(&registry, "v1", &[], &image);
    assert_eq!(refusal(refused), (400, "MANIFEST_BLOB_UNKNOWN".to_owned()));
    push(&registry, b"{}");
    assert_eq!(crate::ask::put_manifest(&registry, "v1", &[], &image).status, 201);
}
