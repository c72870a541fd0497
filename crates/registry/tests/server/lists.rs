//! Lists of tags and repositories (end-8), and what is not there.

use anyarch_http::Method;
use anyarch_testkit::{TestImage, TestRegistry};

use crate::ask::{get, image, json, put_manifest, refusal, send, text};
use crate::common::{amd64, client, tag};

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
fn pages_have_their_edges() {
    let registry = TestRegistry::start();
    let bytes = image(&registry, "1");
    for tag in ["a", "B", "c"] {
        put_manifest(&registry, tag, &[], &bytes);
    }
    let page = |query: &str| {
        let response = get(&registry, &format!("/v2/app/tags/list{query}"));
        let link = response.header("link").map(str::to_owned);
        (json(response)["tags"].clone(), link)
    };
    let list = |tags: &[&str]| serde_json::json!(tags);
    assert_eq!(page(""), (list(&["B", "a", "c"]), None));
    assert_eq!(page("?n=0"), (list(&[]), None));
    assert_eq!(page("?n=3"), (list(&["B", "a", "c"]), None));
    assert_eq!(page("?n=99&last=b"), (list(&["c"]), None));
    assert_eq!(page("?last=c"), (list(&[]), None));
    for n in ["-1", "x", ""] {
        let refused = get(&registry, &format!("/v2/app/tags/list?n={n}"));
        assert_eq!(refusal(refused), (400, "PAGINATION_NUMBER_INVALID".to_owned()));
    }
    // The link leads through all pages.
    let (mut path, mut seen) = ("/v2/app/tags/list?n=1".to_owned(), Vec::new());
    loop {
        let response = get(&registry, &path);
        let link = response.header("link").map(str::to_owned);
        seen.push(json(response)["tags"][0].as_str().unwrap().to_owned());
        let Some(link) = link else { break };
        path = link.split(['<', '>']).nth(1).unwrap().to_owned();
    }
    assert_eq!(seen, ["B", "a", "c"]);
}

#[test]
fn heads_have_no_bodies() {
    let registry = TestRegistry::start();
    let bytes = image(&registry, "1");
    put_manifest(&registry, "v1", &[], &bytes);
    let referrers = format!("/v2/app/referrers/{}", anyarch_oci::Digest::sha256(&bytes));
    for path in ["/v2/", "/v2", "/v2/_catalog", "/v2/app/tags/list", &referrers] {
        let head = send(&registry, Method::Head, path, &[], b"");
        let length = text(get(&registry, path)).len().to_string();
        assert_eq!((head.status, head.header("content-length")), (200, Some(length.as_str())));
        assert_eq!(head.header("docker-distribution-api-version"), Some("registry/2.0"));
        assert_eq!(text(head), "", "{path}");
    }
    let missing = send(&registry, Method::Head, "/v2/app/manifests/v2", &[], b"");
    assert_eq!((missing.status, text(missing)), (404, String::new()));
}

#[test]
fn methods_that_are_not_there_are_listed() {
    let registry = TestRegistry::start();
    for (method, path, allowed) in [
        (Method::Delete, "/v2/", "GET, HEAD"),
        (Method::Delete, "/v2/app/tags/list", "GET, HEAD"),
        (Method::Patch, "/v2/app/manifests/v1", "GET, HEAD, PUT, DELETE"),
        (Method::Get, "/v2/app/blobs/uploads/", "POST"),
    ] {
        let refused = send(&registry, method, path, &[], b"");
        assert_eq!(refused.header("allow"), Some(allowed), "{path}");
        assert_eq!(refusal(refused), (405, "UNSUPPORTED".to_owned()), "{path}");
    }
    for path in ["/", "/v1/", "/v2/app/other/x"] {
        assert_eq!(refusal(get(&registry, path)).0, 404, "{path}");
    }
}
