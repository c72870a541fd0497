//! Coming up, being watched, going down.

use std::io::Read;
use std::net::TcpStream;
use std::sync::{Arc, Mutex};

use anyarch_registry::server::{Access, Options, Server};
use anyarch_store::Store;
use anyarch_testkit::{TestRegistry, random_bytes};

use crate::common::http;

#[test]
fn accesses_are_told_and_shutdown_lets_downloads_end() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let bytes = random_bytes(6, 8_000_000);
    let digest = store.put_blob(&bytes).unwrap();
    let seen: Arc<Mutex<Vec<Access>>> = Arc::default();
    let log = Arc::clone(&seen);
    let on_access = Arc::new(move |access| log.lock().unwrap().push(access));
    let options = Options { on_access: Some(on_access), ..Options::default() };
    let server = Server::bind_with("127.0.0.1:0", store, options).unwrap();
    let server = server.serve_in_background().unwrap();
    let address = server.addr();
    let path = format!("/v2/app/blobs/{digest}");
    let mut response = http().get(&format!("http://{address}{path}"), 0, &[]).unwrap();
    let ending = std::thread::spawn(move || server.shutdown());
    let mut got = Vec::new();
    response.body.read_to_end(&mut got).unwrap();
    assert_eq!(got, bytes);
    assert!(ending.join().unwrap());
    let wanted = Access { method: "GET".to_owned(), path, status: 200, bytes: 8_000_000 };
    assert_eq!(*seen.lock().unwrap(), [wanted]);
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn port_that_is_taken_is_named() {
    let registry = TestRegistry::start();
    let error = Server::bind(registry.host(), registry.store().clone()).err().unwrap();
    assert!(error.to_string().contains(&registry.host()));
    assert!(error.hint().unwrap().contains("another port"));
}
