//! What survives the end of a server. How it survives being killed is tested with the program.

use anyarch_http::Method;
use anyarch_oci::Digest;
use anyarch_registry::server::{RunningServer, Server};
use anyarch_store::Store;

use crate::ask::{begin, get, push, send, text};

fn serve(folder: &std::path::Path) -> RunningServer {
    let store = Store::open(folder).unwrap();
    Server::bind("127.0.0.1:0", store).unwrap().serve_in_background().unwrap()
}

#[test]
fn uploads_go_on_at_the_next_server() {
    let folder = tempfile::tempdir().unwrap();
    let first = serve(folder.path());
    let session = begin(&first);
    send(&first, Method::Patch, &session, &[], b"hello");
    assert!(first.shutdown());
    let second = serve(folder.path());
    assert_eq!(get(&second, &session).header("range"), Some("0-4"));
    let digest = Digest::sha256(b"hello world");
    let end = format!("{session}?digest={digest}");
    let rest = send(&second, Method::Put, &end, &[("content-range", "5-10")], b" world");
    assert_eq!(rest.status, 201);
    assert_eq!(text(get(&second, &format!("/v2/app/blobs/{digest}"))), "hello world");
    assert!(second.shutdown());
    assert_eq!(get(&serve(folder.path()), &session).status, 404);
}

#[test]
fn uploads_that_another_server_holds_are_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (serve(folder.path()), serve(folder.path()));
    let session = begin(&first);
    assert_eq!(send(&second, Method::Patch, &session, &[], b"x").status, 409);
    assert_eq!(send(&first, Method::Patch, &session, &[], b"x").status, 202);
}

#[test]
fn deleted_blobs_stay_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let first = serve(folder.path());
    let path = format!("/v2/app/blobs/{}", push(&first, b"content"));
    assert_eq!(send(&first, Method::Delete, &path, &[], b"").status, 202);
    assert!(first.shutdown());
    let second = serve(folder.path());
    assert_eq!(get(&second, &path).status, 404);
    push(&second, b"content");
    assert_eq!(get(&second, &path).status, 200);
}
