//! Names and passwords.

use anyarch_http::Method;
use anyarch_oci::Digest;
use anyarch_registry::server::{Accounts, Options};
use anyarch_testkit::TestAuthority;

use crate::ask::{Host, Served, image, push, put_manifest, refusal, send};

/// `ann:secret`, `ann:wrong`, `bob:secret`, and nothing as some clients send it.
const ANN: (&str, &str) = ("authorization", "Basic YW5uOnNlY3JldA==");
const WRONG: (&str, &str) = ("authorization", "Basic YW5uOndyb25n");
const BOB: (&str, &str) = ("authorization", "Basic Ym9iOnNlY3JldA==");
const EMPTY: (&str, &str) = ("authorization", "Basic Og==");
const TOKEN: (&str, &str) = ("authorization", "Bearer abc");

fn guarded(anonymous_pull: bool) -> Served {
    let accounts = Accounts::read(&TestAuthority::new().accounts()).unwrap();
    Served::with(Options { accounts: Some(accounts), anonymous_pull, ..Options::default() })
}

fn status(host: &impl Host, method: Method, path: &str, headers: &[(&str, &str)]) -> u16 {
    send(host, method, path, headers, b"").status
}

#[test]
fn nothing_goes_without_the_right_password() {
    let server = guarded(false);
    let blob = format!("/v2/app/blobs/{}", server.store.put_blob(b"content").unwrap());
    for (method, path) in [
        (Method::Get, "/v2/"),
        (Method::Get, "/v2/_catalog"),
        (Method::Get, blob.as_str()),
        (Method::Post, "/v2/app/blobs/uploads/"),
        (Method::Delete, blob.as_str()),
        (Method::Get, "/v2/nothing"),
    ] {
        for headers in [&[][..], &[WRONG], &[BOB], &[EMPTY], &[TOKEN]] {
            let refused = send(&server, method, path, headers, b"");
            let challenge = "Basic realm=\"anyarch\", charset=\"UTF-8\"";
            assert_eq!(refused.header("www-authenticate"), Some(challenge));
            assert_eq!(refusal(refused), (401, "UNAUTHORIZED".to_owned()), "{path} {headers:?}");
        }
    }
    assert_eq!(status(&server, Method::Get, "/v2/", &[ANN]), 200);
    assert_eq!(status(&server, Method::Get, &blob, &[ANN]), 200);
    assert_eq!(status(&server, Method::Post, "/v2/app/blobs/uploads/", &[ANN]), 202);
    assert_eq!(status(&server, Method::Get, "/v2/nothing", &[ANN]), 404);
}

#[test]
fn anybody_may_pull_where_that_is_allowed() {
    let server = guarded(true);
    let digest = server.store.put_blob(b"{}").unwrap();
    let path = "/v2/app/manifests/v1";
    let manifest = crate::ask::manifest("1", "");
    let as_ann = put_manifest(&server, "v1", &[ANN], &manifest);
    assert_eq!(as_ann.status, 201);
    let referrers = format!("/v2/app/referrers/{digest}");
    let blob = format!("/v2/app/blobs/{digest}");
    for headers in [&[][..], &[EMPTY], &[ANN]] {
        for path in [path, &blob, &referrers, "/v2/app/tags/list", "/v2/_catalog"] {
            assert_eq!(status(&server, Method::Get, path, headers), 200, "{path}");
            assert_eq!(status(&server, Method::Head, path, headers), 200, "{path}");
        }
    }
    // A wrong password is not taken for none.
    assert_eq!(status(&server, Method::Get, path, &[WRONG]), 401);
    // Clients learn at the base how to log in.
    assert_eq!(status(&server, Method::Get, "/v2/", &[]), 401);
    for (method, path) in [
        (Method::Post, "/v2/app/blobs/uploads/"),
        (Method::Get, "/v2/app/blobs/uploads/00000000000000000000000000000000"),
        (Method::Put, path),
        (Method::Delete, path),
        (Method::Delete, blob.as_str()),
    ] {
        assert_eq!(status(&server, method, path, &[]), 401, "{path}");
        assert_eq!(status(&server, method, path, &[EMPTY]), 401, "{path}");
    }
}

#[test]
fn without_accounts_credentials_do_not_matter() {
    let server = Served::with(Options::default());
    let bytes = image(&server, "1");
    assert_eq!(put_manifest(&server, "v1", &[WRONG], &bytes).status, 201);
    assert_eq!(push(&server, b"x"), Digest::sha256(b"x"));
}
