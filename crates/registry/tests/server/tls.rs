//! TLS.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;

use anyarch_http::{Body, Client, Config, HttpError, Method, Request, Trust};
use anyarch_oci::Digest;
use anyarch_registry::server::{Options, Tls};
use anyarch_testkit::{TestAuthority, random_bytes};

use crate::ask::{Host, Served};

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

    // Some megabytes there and back, and a shutdown that waits for nobody.
    let bytes = random_bytes(7, 8 << 20);
    let digest = Digest::sha256(&bytes);
    let push = format!("https://{}/v2/app/blobs/uploads/?digest={digest}", server.at());
    let request = Request::new(Method::Post, push).body(Body::Bytes(bytes.clone()));
    assert_eq!(trusting.send(&request).unwrap().status, 201);
    let pull = format!("https://{}/v2/app/blobs/{digest}", server.at());
    let mut got = Vec::new();
    trusting.get(&pull, 0, &[]).unwrap().body.read_to_end(&mut got).unwrap();
    assert!(got == bytes);
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
