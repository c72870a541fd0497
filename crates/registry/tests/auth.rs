//! The client against a registry that demands tokens.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyarch_oci::{BlobPush, NoMemory, PushedBlob, RepositoryName};
use anyarch_registry::{Credentials, CredentialsError, Failure};
use anyarch_testkit::{Fault, TestImage, TestRegistry, TokenService, open_at, random_bytes};
use common::{amd64, blob, chain, client, client_as, push, push_from, stored, tag};

fn account(
    password: &'static str,
) -> impl Fn(&str, Option<&RepositoryName>) -> Result<Credentials, CredentialsError> {
    move |_registry, _repository| {
        Ok(Credentials::Basic { username: "me".to_owned(), password: password.to_owned() })
    }
}

#[test]
fn tokens_are_fetched_once_per_scope() {
    let service = TokenService::new("me", "secret");
    let registry = TestRegistry::start_guarded(&service);
    let client = client_as(account("secret"));
    client.ping(&registry.host()).unwrap();
    let image = TestImage::random(1, 3, &amd64());
    image.push(&client, &registry.repository("acme/app"), Some(&tag("v1"))).unwrap();
    client.manifest(&registry.reference("acme/app:v1")).unwrap();
    client.manifest(&registry.reference("acme/app:v1")).unwrap();
    let push = "repository:acme/app:pull,push".to_owned();
    let pull = "repository:acme/app:pull".to_owned();
    assert_eq!(service.issued(), [vec![], vec![push], vec![pull]]);
}

#[test]
fn mount_asks_for_both_repositories() {
    let service = TokenService::new("me", "secret");
    let registry = TestRegistry::start_guarded(&service);
    let client = client_as(account("secret"));
    let (from, to) = (registry.repository("from"), registry.repository("to"));
    let bytes = random_bytes(1, 100);
    push(&client, &from, &bytes).unwrap();
    client.delete_blob(&to, &blob(&bytes).digest).unwrap();
    assert_eq!(push_from(&client, &to, &bytes, &[&from]).unwrap(), PushedBlob::Mounted);
    let both = ["repository:from:pull".to_owned(), "repository:to:pull,push".to_owned()];
    assert_eq!(service.issued().last().unwrap(), &both);
}

#[test]
fn expired_token_is_replaced() {
    let service = TokenService::new("me", "secret");
    let registry = TestRegistry::start_guarded(&service);
    let client = client_as(account("secret"));
    let image = TestImage::random(1, 1, &amd64());
    let repository = registry.repository("app");
    image.push(&client, &repository, None).unwrap();
    service.expire_all();
    image.push(&client, &repository, Some(&tag("v1"))).unwrap();
    service.expire_all();
    assert!(client.resolve(&registry.reference("app:v1")).unwrap().is_some());
    assert_eq!(service.issued().len(), 3);
}

#[test]
fn wrong_or_no_credentials_are_refused_with_a_hint() {
    let service = TokenService::new("me", "secret");
    let registry = TestRegistry::start_guarded(&service);
    let reference = registry.reference("app:v1");
    let error = client().manifest(&reference).unwrap_err();
    assert!(matches!(error.source, Failure::Unauthorized { anonymous: true, .. }), "{error:?}");
    assert!(error.hint().unwrap().contains("log in"));
    let error = client_as(account("wrong")).manifest(&reference).unwrap_err();
    assert!(matches!(error.source, Failure::Unauthorized { anonymous: false, .. }), "{error:?}");
    assert!(error.hint().unwrap().contains("again"));
}

#[test]
fn identity_token_is_exchanged() {
    let service = TokenService::new("me", "refresh");
    let registry = TestRegistry::start_guarded(&service);
    let token = |token: &'static str| {
        move |_: &str, _: Option<&RepositoryName>| Ok(Credentials::IdentityToken(token.to_owned()))
    };
    let image = TestImage::random(1, 1, &amd64());
    let client = client_as(token("refresh"));
    image.push(&client, &registry.repository("app"), Some(&tag("v1"))).unwrap();
    assert_eq!(service.issued(), [["repository:app:pull,push"]]);
    let error = client_as(token("stale")).manifest(&registry.reference("app:v1")).unwrap_err();
    assert!(matches!(error.source, Failure::Unauthorized { .. }), "{error:?}");
    // A service without POST takes the token for a password.
    service.only_get();
    client_as(token("refresh")).manifest(&registry.reference("app:v1")).unwrap();
}

#[test]
fn password_is_shown_only_when_demanded() {
    let registry = TestRegistry::start();
    let client = client_as(account("secret"));
    let reference = registry.reference("app:v1");
    assert_eq!(client.resolve(&reference).unwrap(), None);
    let demand = Fault::answer("HEAD", "/manifests/", 401)
        .header("www-authenticate", "Basic realm=\"here\"")
        .nth(2);
    registry.fault(demand);
    // The rule's count begins here: one request that is fine, one that is refused and repeated.
    assert_eq!(client.resolve(&reference).unwrap(), None);
    assert_eq!(client.resolve(&reference).unwrap(), None);
    let shown: Vec<_> = registry.take_log().into_iter().map(|entry| entry.authorization).collect();
    let password = Some("Basic bWU6c2VjcmV0".to_owned());
    assert_eq!(shown, [None, None, None, password]);
}

#[test]
fn unknown_demand_is_named() {
    let registry = TestRegistry::start();
    registry.fault(
        Fault::answer("HEAD", "/manifests/", 401).header("www-authenticate", "Negotiate abc"),
    );
    let error = client().resolve(&registry.reference("app:v1")).unwrap_err();
    assert!(common::chain(&error).ends_with("unknown kind of authentication: `Negotiate abc`"));
}

#[test]
fn mount_from_a_closed_repository_is_an_upload() {
    let service = TokenService::new("me", "secret");
    let registry = TestRegistry::start_guarded(&service);
    let client = client_as(account("secret"));
    let (from, to) = (registry.repository("from"), registry.repository("to"));
    let bytes = random_bytes(2, 100);
    service.close("from");
    assert_eq!(push_from(&client, &to, &bytes, &[&from]).unwrap(), PushedBlob::Uploaded(100));
}

#[test]
fn token_that_ends_in_the_middle_of_a_push_is_replaced() {
    let service = TokenService::new("me", "secret");
    let registry = TestRegistry::start_guarded(&service);
    let client = client_as(account("secret"));
    let repository = registry.repository("app");
    let bytes = random_bytes(3, 3_000_000);
    let blob = blob(&bytes);
    // Between the session and the upload, and again between a break and going on.
    let opened = AtomicUsize::new(0);
    let push = BlobPush {
        repository: &repository.name,
        blob: &blob,
        mount_from: &[],
        open: &|offset| {
            if matches!(opened.fetch_add(1, Ordering::Relaxed), 0 | 2) {
                service.expire_all();
            }
            open_at(&bytes, offset)
        },
        progress: &|_| {},
        memory: &NoMemory,
    };
    registry.fault(Fault::cut_off("PUT", "/uploads/", 1_000_000));
    let pushed = client.push_blob(&repository.registry, &push);
    assert!(matches!(pushed, Ok(PushedBlob::Uploaded(_))), "{pushed:?}");
    assert_eq!(stored(&client, &repository, &bytes), bytes);
}

#[test]
fn token_is_used_no_longer_than_it_lasts() {
    let service = TokenService::new("me", "secret");
    let registry = TestRegistry::start_guarded(&service);
    let client = client_as(account("secret"));
    service.set_life(0);
    for _ in 0..2 {
        client.resolve(&registry.reference("app:v1")).unwrap();
    }
    // Not even the first request is sent with a token that is spent.
    assert_eq!(service.issued().len(), 3);
}

#[test]
fn credentials_are_looked_for_once_until_refused() {
    let registry = TestRegistry::start_with_password("me", "secret");
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    let client = client_as(move |_: &str, repository: Option<&RepositoryName>| {
        assert_eq!(repository.unwrap().as_str(), "acme/app");
        // The first ones are stale, as those of a helper program may be.
        let password = if counter.fetch_add(1, Ordering::Relaxed) == 0 { "old" } else { "secret" };
        Ok(Credentials::Basic { username: "me".to_owned(), password: password.to_owned() })
    });
    let reference = registry.reference("acme/app:v1");
    let error = client.resolve(&reference).unwrap_err();
    assert!(matches!(error.source, Failure::Unauthorized { .. }), "{error:?}");
    for _ in 0..3 {
        client.resolve(&reference).unwrap();
    }
    assert_eq!(asked.load(Ordering::Relaxed), 2);
}

#[test]
fn secrets_are_never_shown() {
    let service = TokenService::new("me", "hunter2");
    let registry = TestRegistry::start_guarded(&service);
    registry.fault(Fault::answer("HEAD", "/manifests/", 500).times(100));
    let client = client_as(account("hunter2"));
    let error = client.resolve(&registry.reference("app:v1")).unwrap_err();
    let credentials = account("hunter2")("r.example", None).unwrap();
    let shown = format!("{} {error:?} {credentials:?}", chain(&error));
    assert!(!shown.contains("hunter2") && !shown.contains("token-"), "{shown}");
}
