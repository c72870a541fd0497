//! The client against a registry that misbehaves.
#![allow(clippy::unwrap_used)]

mod common;

use std::cell::Cell;

use anyarch_http::HttpError;
use anyarch_oci::PushedBlob;
use anyarch_registry::Failure;
use anyarch_testkit::{Fault, TestImage, TestRegistry, random_bytes};
use common::{amd64, blob, chain, client, opener, tag};

const SIZE: usize = 3_000_000;

/// Pushes a blob past `faults`; gives the outcome and how often the content was opened.
fn push_past(faults: Vec<Fault>) -> (PushedBlob, usize, TestRegistry) {
    let registry = TestRegistry::start();
    for fault in faults {
        registry.fault(fault);
    }
    let bytes = random_bytes(1, SIZE);
    let opened = Cell::new(0);
    let content = opener(&bytes);
    let open = || {
        opened.set(opened.get() + 1);
        content()
    };
    let (client, repository) = (client(), registry.repository("app"));
    let pushed = client.push_blob(&repository, &blob(&bytes), &open, None, &|_| {}).unwrap();
    let mut got = Vec::new();
    client.fetch_blob(&repository, &blob(&bytes), &mut got, &|_| {}).unwrap();
    assert_eq!(got, bytes);
    (pushed, opened.get(), registry)
}

#[test]
fn busy_registry_is_asked_again() {
    let busy = Fault::answer("POST", "/uploads", 429).header("retry-after", "0");
    let (pushed, opened, registry) = push_past(vec![busy, Fault::answer("HEAD", "", 500)]);
    assert_eq!((pushed, opened), (PushedBlob::Uploaded(SIZE as u64), 1));
    assert_eq!((registry.count("POST", ""), registry.count("PUT", "")), (2, 1));
}

#[test]
fn upload_that_is_refused_for_now_begins_anew() {
    let (pushed, opened, registry) =
        push_past(vec![Fault::answer("PUT", "/uploads", 503).header("retry-after", "0")]);
    assert_eq!((pushed, opened), (PushedBlob::Uploaded(SIZE as u64), 2));
    assert_eq!((registry.count("POST", ""), registry.count("PUT", "")), (2, 2));
}

#[test]
fn upload_that_is_cut_off_begins_anew() {
    let cut = Fault::drop_connection("PUT", "/uploads", 100_000).times(2);
    let (pushed, opened, registry) = push_past(vec![cut]);
    assert_eq!((pushed, opened), (PushedBlob::Uploaded(SIZE as u64), 3));
    assert_eq!(registry.count("POST", ""), 3);
}

#[test]
fn lost_session_begins_anew() {
    let lost = Fault::answer("PUT", "/uploads", 404)
        .body(r#"{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN","message":"gone"}]}"#);
    let (pushed, _, registry) = push_past(vec![lost]);
    assert_eq!(pushed, PushedBlob::Uploaded(SIZE as u64));
    assert_eq!(registry.count("POST", ""), 2);
}

#[test]
fn upload_gives_up_with_the_cause() {
    let registry = TestRegistry::start();
    registry.fault(Fault::drop_connection("PUT", "/uploads", 10).times(9));
    let (bytes, repository) = (random_bytes(1, SIZE), registry.repository("app"));
    let error =
        client().push_blob(&repository, &blob(&bytes), &opener(&bytes), None, &|_| {}).unwrap_err();
    assert!(matches!(error.source, Failure::Http(HttpError::Interrupted { .. })), "{error:?}");
    assert_eq!(registry.count("PUT", ""), 3);
    let head = format!("failed to push blob {} to {repository}", blob(&bytes).digest);
    assert!(chain(&error).starts_with(&head), "{}", chain(&error));
}

#[test]
fn denied_push_says_who_and_what() {
    let registry = TestRegistry::start();
    registry.fault(
        Fault::answer("POST", "/uploads", 403)
            .body(r#"{"errors":[{"code":"DENIED","message":"read only"}]}"#),
    );
    let (bytes, repository) = (random_bytes(1, 10), registry.repository("acme/app"));
    let error =
        client().push_blob(&repository, &blob(&bytes), &opener(&bytes), None, &|_| {}).unwrap_err();
    let words = chain(&error);
    let cause = "registry answered 403 DENIED (read only) to POST /v2/acme/app/blobs/uploads/";
    assert!(words.ends_with(cause), "{words}");
    assert!(error.hint().is_some());
}

#[test]
fn truncated_download_goes_on_by_range() {
    let registry = TestRegistry::start();
    let (client, repository) = (client(), registry.repository("app"));
    let bytes = random_bytes(2, 1_000_000);
    client.push_blob(&repository, &blob(&bytes), &opener(&bytes), None, &|_| {}).unwrap();
    // More cuts than attempts: what arrives resets the count.
    registry.fault(Fault::truncate("GET", "/blobs/", 200_000).times(4));
    registry.take_log();
    let mut got = Vec::new();
    client.fetch_blob(&repository, &blob(&bytes), &mut got, &|_| {}).unwrap();
    assert_eq!(got, bytes);
    let ranges: Vec<_> = registry.take_log().into_iter().map(|entry| entry.range).collect();
    let wanted = [None, Some(200_000), Some(400_000), Some(600_000), Some(800_000)];
    assert_eq!(ranges, wanted.map(|from: Option<u32>| from.map(|from| format!("bytes={from}-"))));
}

#[test]
fn download_that_never_advances_gives_up() {
    let registry = TestRegistry::start();
    let (client, repository) = (client(), registry.repository("app"));
    let bytes = random_bytes(2, 1000);
    client.push_blob(&repository, &blob(&bytes), &opener(&bytes), None, &|_| {}).unwrap();
    registry.fault(Fault::truncate("GET", "/blobs/", 0).times(100));
    let error =
        client.fetch_blob(&repository, &blob(&bytes), &mut Vec::new(), &|_| {}).unwrap_err();
    assert!(matches!(error.source, Failure::Http(HttpError::Interrupted { .. })), "{error:?}");
    assert_eq!(registry.count("GET", "/blobs/"), 3);
}

#[test]
fn lies_about_digests_are_refused() {
    let registry = TestRegistry::start();
    let (client, repository) = (client(), registry.repository("app"));
    let image = TestImage::random(6, 1, &amd64());
    let digest = image.push(&client, &repository, Some(&tag("v1"))).unwrap();
    let by_tag = registry.reference("app:v1");
    let by_digest = by_tag.with_digest(digest);
    let mismatch = |failure: &Failure| matches!(failure, Failure::Mismatch { .. });

    registry.fault(Fault::wrong_digest_header("GET", "/manifests/v1"));
    assert!(mismatch(&client.manifest(&by_tag).unwrap_err().source));
    registry.fault(Fault::corrupt_body("GET", "/manifests/sha256"));
    assert!(mismatch(&client.manifest(&by_digest).unwrap_err().source));
    registry.fault(Fault::wrong_digest_header("HEAD", "/manifests/sha256"));
    assert!(mismatch(&client.resolve(&by_digest).unwrap_err().source));
    registry.fault(Fault::wrong_digest_header("PUT", "/manifests/"));
    let pushed = client.push_manifest(&repository, None, &image.manifest.media_type, &image.bytes);
    assert!(mismatch(&pushed.unwrap_err().source));
    registry.fault(Fault::corrupt_body("GET", "/blobs/"));
    let fetched = client.fetch_blob(&repository, &image.blobs[0].0, &mut Vec::new(), &|_| {});
    assert!(mismatch(&fetched.unwrap_err().source));
}

#[test]
fn blob_of_another_size_is_refused() {
    let registry = TestRegistry::start();
    let (client, repository) = (client(), registry.repository("app"));
    let bytes = random_bytes(3, 100);
    client.push_blob(&repository, &blob(&bytes), &opener(&bytes), None, &|_| {}).unwrap();
    let mut wrong = blob(&bytes);
    wrong.size = 99;
    let size = |failure: &Failure| matches!(failure, Failure::Size { expected: 99, actual: 100 });
    let fetched = client.fetch_blob(&repository, &wrong, &mut Vec::new(), &|_| {});
    assert!(size(&fetched.unwrap_err().source));
    let pushed = client.push_blob(&repository, &wrong, &opener(&bytes), None, &|_| {});
    assert!(size(&pushed.unwrap_err().source));
}
