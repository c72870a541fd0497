//! One request, and what comes back.

use std::io::Read;

use anyarch_http::{Body, Method, Request, Response};
use anyarch_oci::{Algorithm, Digest, Hasher};
use anyarch_registry::server::{Options, RunningServer, Server};
use anyarch_store::Store;
use anyarch_testkit::TestRegistry;
use tempfile::TempDir;

use crate::common::http;

/// A server with options, over a store of its own.
pub(crate) struct Served {
    pub(crate) server: RunningServer,
    pub(crate) store: Store,
    _folder: TempDir,
}

impl Served {
    pub(crate) fn with(options: Options) -> Served {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let server = Server::bind_with("127.0.0.1:0", store.clone(), options).unwrap();
        Served { server: server.serve_in_background().unwrap(), store, _folder: folder }
    }
}

/// What can be asked.
pub(crate) trait Host {
    fn at(&self) -> String;
}

impl Host for TestRegistry {
    fn at(&self) -> String {
        self.host()
    }
}

impl Host for Served {
    fn at(&self) -> String {
        self.server.addr().to_string()
    }
}

impl Host for RunningServer {
    fn at(&self) -> String {
        self.addr().to_string()
    }
}

pub(crate) fn send(
    host: &impl Host,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Response {
    let mut request = Request::new(method, format!("http://{}{path}", host.at()))
        .body(Body::Bytes(body.to_vec()))
        .without_retry();
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    http().send(&request).unwrap()
}

pub(crate) fn get(host: &impl Host, path: &str) -> Response {
    send(host, Method::Get, path, &[], b"")
}

pub(crate) fn text(mut response: Response) -> String {
    let mut text = String::new();
    response.body.read_to_string(&mut text).unwrap();
    text
}

pub(crate) fn json(response: Response) -> serde_json::Value {
    serde_json::from_str(&text(response)).unwrap()
}

/// Status and error code of a refusal.
pub(crate) fn refusal(response: Response) -> (u16, String) {
    let status = response.status;
    let version = response.header("docker-distribution-api-version");
    assert_eq!(version, Some("registry/2.0"), "{status}");
    let answer = json(response);
    (status, answer["errors"][0]["code"].as_str().unwrap().to_owned())
}

/// Opens an upload and gives its location.
pub(crate) fn begin(host: &impl Host) -> String {
    let response = send(host, Method::Post, "/v2/app/blobs/uploads/", &[], b"");
    assert_eq!(response.status, 202);
    response.header("location").unwrap().to_owned()
}

/// Pushes a blob to `app` in one request.
pub(crate) fn push(host: &impl Host, bytes: &[u8]) -> Digest {
    let digest = Digest::sha256(bytes);
    let path = format!("/v2/app/blobs/uploads/?digest={digest}");
    assert_eq!(send(host, Method::Post, &path, &[], bytes).status, 201);
    digest
}

pub(crate) fn put_manifest(
    host: &impl Host,
    key: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Response {
    let path = format!("/v2/app/manifests/{key}");
    let kind = ("content-type", anyarch_oci::media_type::MANIFEST);
    send(host, Method::Put, &path, &[&[kind], headers].concat(), body)
}

/// Pushes what an image without layers needs, and gives its manifest. `note` makes it another one.
pub(crate) fn image(host: &impl Host, note: &str) -> Vec<u8> {
    push(host, b"{}");
    manifest(note, "")
}

/// The manifest of an image without layers, with more fields.
pub(crate) fn manifest(note: &str, fields: &str) -> Vec<u8> {
    let config = Digest::sha256(b"{}");
    format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","config":{{"mediaType":"{}","digest":"{config}","size":2}},"layers":[],"annotations":{{"note":"{note}"}}{fields}}}"#,
        anyarch_oci::media_type::MANIFEST,
        anyarch_oci::media_type::EMPTY,
    )
    .into_bytes()
}

pub(crate) fn sha512(bytes: &[u8]) -> Digest {
    let mut hasher = Hasher::with(Algorithm::Sha512);
    hasher.update(bytes);
    hasher.finish()
}
