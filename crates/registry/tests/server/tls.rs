//! TLS.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;

use anyarch_http::{Client, Config, HttpError, Trust};
use anyarch_registry::Anonymous;
use anyarch_registry::RegistryClient;
use anyarch_registry::server::{Options, Tls};
use anyarch_testkit::{TestAuthority, TestImage};

use crate::ask::{Host, Served};
use crate::common::{amd64, tag};

fn client(trust: Trust) -> Client {
    Client::new(Config { trust, ..Config::default() }).unwrap()
}

fn server(authority: &TestAuthority) -> Served {
    let tls = Tls::read(&authority.certificate(), &authority.key()).unwrap();
    Served::with(Options { tls: Some(tls), ..Options::default() })
}

#[test]
fn who_trusts_the_authority_gets_answers() {
    let authority = TestAuthority::new();
    let server = server(&authority);
    let url = format!("https://{}/v2/", server.at());
    let trusting = client(Trust { extra: vec![authority.authority()], ..Trust::default() });
    assert_eq!(trusting.get(&url, 0, &[]).unwrap().status, 200);
    let stranger = client(Trust::default()).get(&url, 0, &[]).err().unwrap();
    assert!(matches!(stranger, HttpError::Tls { .. }), "{stranger}");

    // An image of some size there and back, and a shutdown that waits for nobody.
    let repository = anyarch_registry::Repository::new(server.at(), "app".parse().unwrap());
    let image = TestImage::random(1, 2, &amd64());
    let pushing = RegistryClient::new(trusting, Anonymous);
    image.push(&pushing, &repository, Some(&tag("v1"))).unwrap();
    let reference = format!("{}/app:v1", server.at()).parse().unwrap();
    assert_eq!(pushing.manifest(&reference).unwrap().1, image.bytes);
    assert!(server.server.shutdown());
}

#[test]
fn who_does_not_speak_tls_is_let_go() {
    let authority = TestAuthority::new();
    let server = server(&authority);
    let mut plain = TcpStream::connect(server.at()).unwrap();
    plain.write_all(b"GET /v2/ HTTP/1.1\r\nhost: r\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    // An alert, then the end; not an answer.
    plain.read_to_end(&mut answer).unwrap_or_default();
    assert!(!answer.starts_with(b"HTTP"));
}

#[test]
fn files_that_do_not_fit_are_named() {
    let authority = TestAuthority::new();
    let fails = |certificate: &std::path::Path, key: &std::path::Path| {
        let error = Tls::read(certificate, key).err().unwrap();
        error.to_string().replace(&authority.folder().display().to_string(), "")
    };
    let (certificate, key) = (authority.certificate(), authority.key());
    assert_eq!(fails(&key, &key), "/server.key holds no certificate in PEM");
    assert_eq!(fails(&certificate, &certificate), "/server.crt holds no private key in PEM");
    let gone = authority.folder().join("gone");
    assert_eq!(fails(&gone, &key), "failed to read certificate from /gone");
    fs::write(&gone, fs::read(TestAuthority::new().key()).unwrap()).unwrap();
    let message = "certificate /server.crt cannot be used with key /gone";
    assert_eq!(fails(&certificate, &gone), message);
}
