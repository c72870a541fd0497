//! The client against a registry that demands tokens.
#![allow(clippy::unwrap_used)]

mod common;

use std::error::Error;

use anyarch_oci::PushedBlob;
use anyarch_registry::{Credentials, Failure};
use anyarch_testkit::{Fault, TestImage, TestRegistry, TokenService, random_bytes};
use common::{amd64, blob, client, client_as, opener, tag};

fn account(
    password: &'static str,
) -> impl Fn(&str) -> Result<Credentials, Box<dyn Error + Send + Sync>> {
    move |_registry| {
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
    client.push_blob(&from, &blob(&bytes), &opener(&bytes), None, &|_| {}).unwrap();
    client.delete_blob(&to, &blob(&bytes).digest).unwrap();
    let pushed =
        client.push_blob(&to, &blob(&bytes), &opener(&bytes), Some(&from.name), &|_| {}).unwrap();
    assert_eq!(pushed, PushedBlob::Mounted);
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
    let token =
        |token: &'static str| move |_: &str| Ok(Credentials::IdentityToken(token.to_owned()));
    let image = TestImage::random(1, 1, &amd64());
    let client = client_as(token("refresh"));
    image.push(&client, &registry.repository("app"), Some(&tag("v1"))).unwrap();
    assert_eq!(service.issued(), [["repository:app:pull,push"]]);
    let error = client_as(token("stale")).manifest(&registry.reference("app:v1")).unwrap_err();
    assert!(matches!(error.source, Failure::Unauthorized { .. }), "{error:?}");
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
