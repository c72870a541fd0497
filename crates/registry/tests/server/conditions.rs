//! Requests that hold under conditions only (RFC 9110, section 13).

use anyarch_http::Method;
use anyarch_oci::Digest;
use anyarch_testkit::TestRegistry;

use crate::ask::{get, image, manifest, put_manifest, refusal, send, text};

const NEW: (&str, &str) = ("if-none-match", "*");

fn tag_of(bytes: &[u8]) -> String {
    format!("\"{}\"", Digest::sha256(bytes))
}

#[test]
fn tag_that_must_be_new() {
    let registry = TestRegistry::start();
    let (one, two) = (image(&registry, "1"), manifest("2", ""));
    assert_eq!(put_manifest(&registry, "v1", &[NEW], &one).status, 201);
    for bytes in [&one, &two] {
        let refused = put_manifest(&registry, "v1", &[NEW], bytes);
        assert_eq!(refusal(refused), (412, "TAG_EXISTS".to_owned()));
    }
    assert_eq!(text(get(&registry, "/v2/app/manifests/v1")).as_bytes(), one);
    assert_eq!(get(&registry, &format!("/v2/app/manifests/{}", Digest::sha256(&two))).status, 404);
    assert_eq!(put_manifest(&registry, "v1", &[], &two).status, 201);
    send(&registry, Method::Delete, "/v2/app/manifests/v1", &[], b"");
    assert_eq!(put_manifest(&registry, "v1", &[NEW], &one).status, 201);
}

#[test]
fn tag_that_must_be_known() {
    let registry = TestRegistry::start();
    let (one, two) = (image(&registry, "1"), manifest("2", ""));
    let (is_one, is_two) = (tag_of(&one), tag_of(&two));
    let failed = (412, "PRECONDITION_FAILED".to_owned());
    let absent = put_manifest(&registry, "v1", &[("if-match", "*")], &one);
    assert_eq!(refusal(absent), failed);
    put_manifest(&registry, "v1", &[], &one);
    let moved = put_manifest(&registry, "v1", &[("if-match", &is_two)], &two);
    assert_eq!(refusal(moved), failed);
    assert_eq!(put_manifest(&registry, "v1", &[("if-match", &is_one)], &two).status, 201);
    let delete = |condition: &str| {
        let headers = [("if-match", condition)];
        send(&registry, Method::Delete, "/v2/app/manifests/v1", &headers, b"")
    };
    assert_eq!(refusal(delete(&is_one)), failed);
    assert_eq!(delete(&is_two).status, 202);
}

#[test]
fn manifests_that_are_known_already_are_not_sent() {
    let registry = TestRegistry::start();
    let bytes = image(&registry, "1");
    put_manifest(&registry, "v1", &[], &bytes);
    let by_digest = format!("/v2/app/manifests/{}", Digest::sha256(&bytes));
    for path in ["/v2/app/manifests/v1", &by_digest] {
        let first = get(&registry, path);
        let tag = first.header("etag").unwrap().to_owned();
        assert_eq!(tag, tag_of(&bytes));
        for method in [Method::Get, Method::Head] {
            let again = send(&registry, method, path, &[("if-none-match", &tag)], b"");
            assert_eq!(again.header("etag"), Some(tag.as_str()));
            assert_eq!((again.status, text(again)), (304, String::new()));
            let other = send(&registry, method, path, &[("if-none-match", "\"x\"")], b"");
            assert_eq!(other.status, 200);
        }
        let other = send(&registry, Method::Get, path, &[("if-match", "\"x\"")], b"");
        assert_eq!(refusal(other), (412, "PRECONDITION_FAILED".to_owned()));
    }
}

#[test]
fn tags_say_when_they_were_moved() {
    let registry = TestRegistry::start();
    let bytes = image(&registry, "1");
    put_manifest(&registry, "v1", &[], &bytes);
    for method in [Method::Get, Method::Head] {
        let response = send(&registry, method, "/v2/app/manifests/v1", &[], b"");
        let moved = response.header("last-modified").unwrap();
        assert!(moved.ends_with(" GMT"), "{moved}");
    }
    let by_digest = format!("/v2/app/manifests/{}", Digest::sha256(&bytes));
    assert_eq!(get(&registry, &by_digest).header("last-modified"), None);
}
