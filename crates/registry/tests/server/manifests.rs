//! Pulling, pushing and deleting manifests (end-3, end-7, end-9).

use anyarch_http::Method;
use anyarch_oci::{Digest, media_type};
use anyarch_testkit::{TestImage, TestRegistry};

use crate::ask::{get, image, json, manifest, push, put_manifest, refusal, send, sha512, text};
use crate::common::{amd64, client};

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
    assert_eq!(put("sha256:0", media_type::MANIFEST, b"{}"), (400, "DIGEST_INVALID".to_owned()));
    let path = "/v2/-/manifests/v1";
    let invalid = refusal(send(&registry, Method::Put, path, &[], b"{}"));
    assert_eq!(invalid, (400, "NAME_INVALID".to_owned()));
}

#[test]
fn manifests_are_found_by_tag_and_digest() {
    let registry = TestRegistry::start();
    let bytes = image(&registry, "1");
    let digest = Digest::sha256(&bytes);
    let done = put_manifest(&registry, "v1", &[], &bytes);
    assert_eq!(done.status, 201);
    let by_digest = format!("/v2/app/manifests/{digest}");
    assert_eq!(done.header("location"), Some(by_digest.as_str()));
    for path in ["/v2/app/manifests/v1", &by_digest] {
        let response = get(&registry, path);
        assert_eq!(response.header("content-type"), Some(media_type::MANIFEST));
        assert_eq!(response.header("docker-content-digest"), Some(&*digest.to_string()));
        assert_eq!(text(response).as_bytes(), bytes);
        let head = send(&registry, Method::Head, path, &[], b"");
        let length = bytes.len().to_string();
        assert_eq!((head.status, head.header("content-length")), (200, Some(length.as_str())));
        assert_eq!(text(head), "");
    }
    assert_eq!(refusal(get(&registry, "/v2/other/manifests/v1")).1, "MANIFEST_UNKNOWN");
    let elsewhere = format!("/v2/other/manifests/{digest}");
    assert_eq!(refusal(get(&registry, &elsewhere)), (404, "MANIFEST_UNKNOWN".to_owned()));
}

#[test]
fn manifests_by_sha512() {
    let registry = TestRegistry::start();
    let bytes = image(&registry, "1");
    let digest = sha512(&bytes);
    let done = put_manifest(&registry, &digest.to_string(), &[], &bytes);
    assert_eq!(done.header("docker-content-digest"), Some(&*digest.to_string()));
    assert_eq!(done.status, 201);
    let path = format!("/v2/app/manifests/{digest}");
    assert_eq!(text(get(&registry, &path)).as_bytes(), bytes);
    let wrong = put_manifest(&registry, &sha512(b"other").to_string(), &[], &bytes);
    assert_eq!(refusal(wrong), (400, "DIGEST_INVALID".to_owned()));
    assert_eq!(send(&registry, Method::Delete, &path, &[], b"").status, 202);
    assert_eq!(get(&registry, &path).status, 404);
}

#[test]
fn manifests_whose_content_is_missing_are_refused() {
    let registry = TestRegistry::start();
    let unknown = (400, "MANIFEST_BLOB_UNKNOWN".to_owned());
    assert_eq!(refusal(put_manifest(&registry, "v1", &[], &manifest("1", ""))), unknown);
    let bytes = image(&registry, "1");
    let missing = Digest::sha256(b"missing");
    let with_layer = |fields: &str| {
        let layer = format!(r#""layers":[{{"digest":"{missing}","size":7,{fields}}}]"#);
        let text = String::from_utf8(bytes.clone()).unwrap().replace(r#""layers":[]"#, &layer);
        put_manifest(&registry, "v1", &[], text.as_bytes())
    };
    let plain = format!(r#""mediaType":"{}""#, media_type::LAYER);
    assert_eq!(refusal(with_layer(&plain)), unknown);
    // What may not be passed on is somewhere else.
    let oci = r#""mediaType":"application/vnd.oci.image.layer.nondistributable.v1.tar+gzip""#;
    assert_eq!(with_layer(oci).status, 201);
    let docker = r#""mediaType":"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip""#;
    assert_eq!(with_layer(docker).status, 201);
    assert_eq!(with_layer(&format!(r#"{plain},"urls":["https://r.example/x"]"#)).status, 201);

    let index = |digest: &Digest, size: usize| {
        let entry = format!(
            r#"{{"mediaType":"{}","digest":"{digest}","size":{size}}}"#,
            media_type::MANIFEST
        );
        let text = format!(
            r#"{{"schemaVersion":2,"mediaType":"{}","manifests":[{entry}]}}"#,
            media_type::INDEX
        );
        let headers = [("content-type", media_type::INDEX)];
        send(&registry, Method::Put, "/v2/app/manifests/all", &headers, text.as_bytes())
    };
    assert_eq!(refusal(index(&missing, 7)), unknown);
    let digest = Digest::sha256(&bytes);
    assert_eq!(refusal(index(&digest, bytes.len())), unknown, "a blob is no manifest");
    put_manifest(&registry, &digest.to_string(), &[], &bytes);
    assert_eq!(refusal(index(&digest, 7)), (400, "MANIFEST_INVALID".to_owned()));
    assert_eq!(index(&digest, bytes.len()).status, 201);
}

#[test]
fn large_manifests_are_refused_in_words() {
    let registry = TestRegistry::start();
    push(&registry, b"{}");
    let fits = manifest(&"x".repeat(4 * 1024 * 1024 - 1000), "");
    assert_eq!(put_manifest(&registry, "v1", &[], &fits).status, 201);
    let large = manifest(&"x".repeat(16 * 1024 * 1024), "");
    let refused = refusal(put_manifest(&registry, "v1", &[], &large));
    assert_eq!(refused, (413, "SIZE_INVALID".to_owned()));
}

#[test]
fn deleting() {
    let registry = TestRegistry::start();
    let bytes = image(&registry, "1");
    for tag in ["v1", "v2", "v3"] {
        put_manifest(&registry, tag, &[], &bytes);
    }
    let delete = |key: &str| {
        let path = format!("/v2/app/manifests/{key}");
        send(&registry, Method::Delete, &path, &[], b"")
    };
    let tags = || json(get(&registry, "/v2/app/tags/list"))["tags"].clone();
    // A tag goes alone, a manifest with its tags.
    assert_eq!(delete("v1").status, 202);
    assert_eq!(tags(), serde_json::json!(["v2", "v3"]));
    let unknown = (404, "MANIFEST_UNKNOWN".to_owned());
    assert_eq!(refusal(delete("v1")), unknown);
    let digest = Digest::sha256(&bytes).to_string();
    assert_eq!(get(&registry, &format!("/v2/app/manifests/{digest}")).status, 200);
    assert_eq!(delete(&digest).status, 202);
    assert_eq!(refusal(delete(&digest)), unknown);
    assert_eq!(refusal(delete("v2")), unknown);
    assert_eq!(refusal(get(&registry, "/v2/app/tags/list")), (404, "NAME_UNKNOWN".to_owned()));
    assert_eq!(json(get(&registry, "/v2/_catalog")), serde_json::json!({"repositories": []}));
}

#[test]
fn fallback_tag_of_referrers_is_a_tag() {
    let registry = TestRegistry::start();
    let subject = image(&registry, "1");
    let tag = Digest::sha256(&subject).to_string().replace(':', "-");
    let headers = [("content-type", media_type::INDEX)];
    let empty =
        format!(r#"{{"schemaVersion":2,"mediaType":"{}","manifests":[]}}"#, media_type::INDEX);
    let path = format!("/v2/app/manifests/{tag}");
    assert_eq!(send(&registry, Method::Put, &path, &headers, empty.as_bytes()).status, 201);
    assert_eq!(text(get(&registry, &path)), empty);
    assert_eq!(send(&registry, Method::Delete, &path, &[], b"").status, 202);
}
