//! The client against a TLS server whose authority only some clients know.
#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;

use anyarch_http::{Client, Config, HttpError, RetryPolicy, Trust};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

fn fixture(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tls").join(name)
}

/// Serves one connection; gives its port.
fn tls_server() -> u16 {
    let chain: Vec<_> = CertificateDer::pem_file_iter(fixture("server.pem"))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    let key = PrivateKeyDer::from_pem_file(fixture("server.key")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let (tcp, _) = listener.accept().unwrap();
        let connection = rustls::ServerConnection::new(Arc::new(config)).unwrap();
        let mut stream = rustls::StreamOwned::new(connection, tcp);
        let mut request = [0; 4096];
        if stream.read(&mut request).is_ok() {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").unwrap();
        }
    });
    port
}

fn get(trust: Trust, port: u16) -> Result<String, HttpError> {
    let client = Client::new(Config { trust, retry: RetryPolicy::never(), ..Config::default() })?;
    let mut text = String::new();
    client
        .get(&format!("https://127.0.0.1:{port}/"), 0, &[])?
        .body
        .read_to_string(&mut text)
        .unwrap();
    Ok(text)
}

#[test]
fn authority_given_as_extra_or_instead_is_believed() {
    let extra = Trust { extra: vec![fixture("ca.pem")], ..Trust::default() };
    assert_eq!(get(extra, tls_server()).unwrap(), "ok");
    let instead = Trust { files: vec![fixture("ca.pem")], ..Trust::default() };
    assert_eq!(get(instead, tls_server()).unwrap(), "ok");
}

#[test]
fn unknown_authority_is_refused_with_a_hint() {
    let error = get(Trust::default(), tls_server()).unwrap_err();
    assert!(matches!(error, HttpError::Tls { .. }), "{error:?}");
    assert!(!error.is_transient());
    assert!(error.hint().unwrap().contains("SSL_CERT_FILE"), "{error}");
}

#[test]
fn bundle_that_is_missing_or_empty_is_named() {
    let missing = Trust { files: vec!["/nowhere/ca.pem".into()], ..Trust::default() };
    let error = get(missing, 1).unwrap_err();
    assert!(error.to_string().contains("/nowhere/ca.pem"), "{error}");
    let empty = Trust { extra: vec![fixture("README.md")], ..Trust::default() };
    assert!(matches!(get(empty, 1), Err(HttpError::Certificates { .. })));
}

#[test]
fn plain_http_where_tls_was_expected_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let (mut tcp, _) = listener.accept().unwrap();
        tcp.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
        let mut rest = Vec::new();
        tcp.read_to_end(&mut rest)
    });
    let error = get(Trust::default(), port).unwrap_err();
    assert!(error.hint().unwrap().contains("plain http"), "{error:?}");
}
