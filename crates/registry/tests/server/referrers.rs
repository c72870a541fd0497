//! What refers to a manifest (end-12).

use anyarch_http::Method;
use anyarch_oci::{Digest, media_type};
use anyarch_testkit::TestRegistry;
use serde_json::{Value, json};

use crate::ask::{get, image, json as parsed, manifest, put_manifest, refusal, send};

fn referrers(registry: &TestRegistry, subject: &Digest, query: &str) -> (Value, Option<String>) {
    let response = get(registry, &format!("/v2/app/referrers/{subject}{query}"));
    assert_eq!((response.status, response.header("content-type")), (200, Some(media_type::INDEX)));
    let filters = response.header("oci-filters-applied").map(str::to_owned);
    (parsed(response)["manifests"].clone(), filters)
}

fn about(subject: &[u8]) -> String {
    let (kind, digest) = (media_type::MANIFEST, Digest::sha256(subject));
    let size = subject.len();
    format!(r#","subject":{{"mediaType":"{kind}","digest":"{digest}","size":{size}}}"#)
}

#[test]
fn referrers_are_listed_and_filtered() {
    let registry = TestRegistry::start();
    let subject = image(&registry, "subject");
    let digest = Digest::sha256(&subject);
    assert_eq!(referrers(&registry, &digest, ""), (json!([]), None));
    // The subject itself need not be there yet.
    let typed = manifest("1", &format!(r#"{},"artifactType":"a/b""#, about(&subject)));
    let untyped = manifest("2", &about(&subject));
    for (tag, bytes) in [("typed", &typed), ("untyped", &untyped)] {
        let done = put_manifest(&registry, tag, &[], bytes);
        assert_eq!(done.header("oci-subject"), Some(&*digest.to_string()));
        assert_eq!(done.status, 201);
    }
    let index = format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","manifests":[]{},"artifactType":"c/d"}}"#,
        media_type::INDEX,
        about(&subject)
    );
    let headers = [("content-type", media_type::INDEX)];
    let done = send(&registry, Method::Put, "/v2/app/manifests/i", &headers, index.as_bytes());
    assert_eq!(done.header("oci-subject"), Some(&*digest.to_string()));
    assert_eq!(put_manifest(&registry, "subject", &[], &subject).header("oci-subject"), None);

    let (all, filters) = referrers(&registry, &digest, "");
    assert_eq!((all.as_array().unwrap().len(), filters), (3, None));
    let (some, filters) = referrers(&registry, &digest, "?artifactType=a%2Fb");
    assert_eq!(filters.as_deref(), Some("artifactType"));
    assert_eq!(
        some,
        json!([{
            "mediaType": media_type::MANIFEST,
            "digest": Digest::sha256(&typed).to_string(),
            "size": typed.len(),
            "annotations": {"note": "1"},
            "artifactType": "a/b",
        }])
    );
    // Without a type of its own, an image has that of its configuration.
    let (some, _) = referrers(
        &registry,
        &digest,
        &format!("?artifactType={}", "application%2Fvnd.oci.empty.v1%2Bjson"),
    );
    assert_eq!(some[0]["digest"], Digest::sha256(&untyped).to_string());
    assert_eq!(some.as_array().unwrap().len(), 1);
    let (none, filters) = referrers(&registry, &digest, "?artifactType=x");
    assert_eq!((none, filters.as_deref()), (json!([]), Some("artifactType")));

    let path = format!("/v2/app/manifests/{}", Digest::sha256(&typed));
    send(&registry, Method::Delete, &path, &[], b"");
    assert_eq!(referrers(&registry, &digest, "").0.as_array().unwrap().len(), 2);
}

#[test]
fn referrers_of_nothing() {
    let registry = TestRegistry::start();
    let (none, _) = referrers(&registry, &Digest::sha256(b"nothing"), "");
    assert_eq!(none, json!([]));
    let invalid = get(&registry, "/v2/app/referrers/sha256:0");
    assert_eq!(refusal(invalid), (400, "DIGEST_INVALID".to_owned()));
}

#[test]
fn many_referrers_come_in_pages() {
    let registry = TestRegistry::start();
    let subject = image(&registry, "subject");
    let digest = Digest::sha256(&subject);
    for number in 0..4 {
        let note = format!("{number}{}", "x".repeat(2_000_000));
        let bytes = manifest(&note, &about(&subject));
        assert_eq!(put_manifest(&registry, "t", &[], &bytes).status, 201);
    }
    let (mut path, mut seen) = (format!("/v2/app/referrers/{digest}"), 0);
    loop {
        let response = get(&registry, &path);
        let link = response.header("link").map(str::to_owned);
        seen += parsed(response)["manifests"].as_array().unwrap().len();
        let Some(link) = link else { break };
        path = link.split(['<', '>']).nth(1).unwrap().to_owned();
    }
    assert_eq!(seen, 4);
}
