//! Pushing blobs (distribution-spec, end-4a to end-6, end-11, end-13).

use std::io::Write;
use std::net::TcpStream;

use anyarch_http::Method;
use anyarch_oci::Digest;
use anyarch_testkit::TestRegistry;

use crate::ask::{Host, begin, get, push, refusal, send, sha512, text};

#[test]
fn chunks_are_taken_in_order() {
    let registry = TestRegistry::start();
    let session = begin(&registry);
    let first = send(&registry, Method::Patch, &session, &[("content-range", "0-4")], b"hello");
    assert_eq!((first.status, first.header("range")), (202, Some("0-4")));
    let early = send(&registry, Method::Patch, &session, &[("content-range", "9-9")], b"!");
    assert_eq!(early.header("range"), Some("0-4"));
    assert_eq!(refusal(early), (416, "BLOB_UPLOAD_INVALID".to_owned()));
    let status = send(&registry, Method::Get, &session, &[], b"");
    assert_eq!((status.status, status.header("range")), (204, Some("0-4")));
    let second = send(&registry, Method::Patch, &session, &[], b" wor");
    assert_eq!(second.header("range"), Some("0-8"));
    let digest = Digest::sha256(b"hello world");
    let end = format!("{session}?digest={digest}");
    let done = send(&registry, Method::Put, &end, &[("content-range", "9-10")], b"ld");
    assert_eq!(
        (done.status, done.header("docker-content-digest")),
        (201, Some(&*digest.to_string()))
    );
    let location = done.header("location").unwrap().to_owned();
    assert_eq!(text(send(&registry, Method::Get, &location, &[], b"")), "hello world");
    assert_eq!(refusal(send(&registry, Method::Get, &session, &[], b"")).0, 404);
}

#[test]
fn chunk_that_is_cut_off_goes_on_where_it_ended() {
    let registry = TestRegistry::start();
    let session = begin(&registry);
    let mut raw = TcpStream::connect(registry.host()).unwrap();
    write!(raw, "PATCH {session} HTTP/1.1\r\nhost: r\r\ncontent-length: 11\r\n\r\nhello").unwrap();
    // The range shows at the latest when the server has noticed the end of the connection.
    raw.shutdown(std::net::Shutdown::Both).unwrap();
    let mut so_far = String::new();
    for _ in 0..500 {
        let status = send(&registry, Method::Get, &session, &[], b"");
        so_far = status.header("range").unwrap().to_owned();
        if so_far == "0-4" {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert_eq!(so_far, "0-4");
    let end = format!("{session}?digest={}", Digest::sha256(b"hello world"));
    let rest = send(&registry, Method::Put, &end, &[("content-range", "5-10")], b" world");
    assert_eq!(rest.status, 201);
}

#[test]
fn single_post_and_sha512() {
    let registry = TestRegistry::start();
    let digest = Digest::sha256(b"once");
    let path = format!("/v2/app/blobs/uploads/?digest={digest}");
    assert_eq!(send(&registry, Method::Post, &path, &[], b"once").status, 201);
    let digest = sha512(b"long");
    let end = format!("{}?digest={digest}", begin(&registry));
    assert_eq!(send(&registry, Method::Put, &end, &[], b"long").status, 201);
    let path = format!("/v2/app/blobs/{digest}");
    assert_eq!(text(send(&registry, Method::Get, &path, &[], b"")), "long");
}

#[test]
fn content_that_is_not_its_digest_is_refused() {
    let registry = TestRegistry::start();
    let digest = Digest::sha256(b"promised");
    let end = format!("{}?digest={digest}", begin(&registry));
    let refused = refusal(send(&registry, Method::Put, &end, &[], b"delivered"));
    assert_eq!(refused, (400, "DIGEST_INVALID".to_owned()));
    let once = format!("/v2/app/blobs/uploads/?digest={digest}");
    assert_eq!(refusal(send(&registry, Method::Post, &once, &[], b"delivered")).0, 400);
    let path = format!("/v2/app/blobs/{digest}");
    assert_eq!(
        refusal(send(&registry, Method::Get, &path, &[], b"")),
        (404, "BLOB_UNKNOWN".to_owned())
    );
    let no_digest = refusal(send(&registry, Method::Put, &begin(&registry), &[], b""));
    assert_eq!(no_digest, (400, "DIGEST_INVALID".to_owned()));
}

#[test]
fn cancelled_upload_is_gone() {
    let registry = TestRegistry::start();
    let session = begin(&registry);
    assert_eq!(send(&registry, Method::Delete, &session, &[], b"").status, 204);
    let refused = refusal(send(&registry, Method::Patch, &session, &[], b"x"));
    assert_eq!(refused, (404, "BLOB_UPLOAD_UNKNOWN".to_owned()));
    let other = begin(&registry).replace("/app/", "/other/");
    assert_eq!(refusal(send(&registry, Method::Patch, &other, &[], b"x")).0, 404);
}

#[test]
fn chunks_may_end_in_a_sha512() {
    let registry = TestRegistry::start();
    let session = begin(&registry);
    send(&registry, Method::Patch, &session, &[], b"hello ");
    let digest = sha512(b"hello world");
    let end = format!("{session}?digest={digest}");
    let done = send(&registry, Method::Put, &end, &[], b"world");
    assert_eq!(done.status, 201);
    assert_eq!(done.header("location"), Some(&*format!("/v2/app/blobs/{digest}")));
    assert_eq!(text(get(&registry, &format!("/v2/app/blobs/{digest}"))), "hello world");
    let once = format!("/v2/app/blobs/uploads/?digest={}", sha512(b"once"));
    assert_eq!(send(&registry, Method::Post, &once, &[], b"once").status, 201);
}

#[test]
fn chunks_may_end_without_a_last_one() {
    let registry = TestRegistry::start();
    let session = begin(&registry);
    send(&registry, Method::Patch, &session, &[], b"all");
    let end = format!("{session}?digest={}", Digest::sha256(b"all"));
    assert_eq!(send(&registry, Method::Put, &end, &[], b"").status, 201);
    let empty = format!("{}?digest={}", begin(&registry), Digest::sha256(b""));
    assert_eq!(send(&registry, Method::Put, &empty, &[], b"").status, 201);
}

#[test]
fn last_chunk_out_of_order_is_refused_and_the_upload_goes_on() {
    let registry = TestRegistry::start();
    let session = begin(&registry);
    send(&registry, Method::Patch, &session, &[("content-range", "0-2")], b"abc");
    let end = format!("{session}?digest={}", Digest::sha256(b"abcdef"));
    for range in ["0-2", "4-6", "x-y", "6-3"] {
        let refused = send(&registry, Method::Put, &end, &[("content-range", range)], b"def");
        assert_eq!(refused.header("range"), Some("0-2"), "{range}");
        assert_eq!(refusal(refused), (416, "BLOB_UPLOAD_INVALID".to_owned()), "{range}");
    }
    let wrong_length = send(&registry, Method::Put, &end, &[("content-range", "3-9")], b"def");
    assert_eq!(refusal(wrong_length), (400, "SIZE_INVALID".to_owned()));
    let done = send(&registry, Method::Put, &end, &[("content-range", "3-5")], b"def");
    assert_eq!(done.status, 201);
}

#[test]
fn large_chunk_out_of_order_gets_its_answer() {
    let registry = TestRegistry::start();
    let session = begin(&registry);
    let large = vec![0; 8 << 20];
    let headers = [("content-range", "5-8388612")];
    let refused = send(&registry, Method::Patch, &session, &headers, &large);
    assert_eq!(refusal(refused).0, 416);
    let gone = "/v2/app/blobs/uploads/00000000000000000000000000000000";
    assert_eq!(refusal(send(&registry, Method::Patch, gone, &[], &large)).0, 404);
}

#[test]
fn digests_that_cannot_be_are_refused() {
    let registry = TestRegistry::start();
    let session = begin(&registry);
    for digest in ["", "sha256:0", "md5:00", "x"] {
        let invalid = (400, "DIGEST_INVALID".to_owned());
        let end = format!("{session}?digest={digest}");
        assert_eq!(refusal(send(&registry, Method::Put, &end, &[], b"x")), invalid, "{digest}");
        let once = format!("/v2/app/blobs/uploads/?digest={digest}");
        assert_eq!(refusal(send(&registry, Method::Post, &once, &[], b"x")), invalid, "{digest}");
    }
    // None of them has ended the upload.
    assert_eq!(get(&registry, &session).status, 204);
}

#[test]
fn uploads_that_cannot_be_are_unknown() {
    let registry = TestRegistry::start();
    for id in ["1", "%2e%2e%2ftags", &"0".repeat(32), &"0".repeat(5000)] {
        let path = format!("/v2/app/blobs/uploads/{id}");
        let status = send(&registry, Method::Patch, &path, &[], b"x").status;
        assert_eq!(status, 404, "{id}");
    }
    let invalid = send(&registry, Method::Post, "/v2/APP/blobs/uploads/", &[], b"");
    assert_eq!(refusal(invalid), (400, "NAME_INVALID".to_owned()));
}

#[test]
fn status_is_the_same_for_head() {
    let registry = TestRegistry::start();
    let session = begin(&registry);
    let status = get(&registry, &session);
    assert_eq!(status.header("location"), Some(session.as_str()));
    let head = send(&registry, Method::Head, &session, &[], b"");
    assert_eq!((head.status, head.header("range")), (204, status.header("range")));
}

#[test]
fn mounts() {
    let registry = TestRegistry::start();
    let digest = push(&registry, b"content");
    let mount = |query: &str| {
        let path = format!("/v2/other/blobs/uploads/?{query}");
        send(&registry, Method::Post, &path, &[], b"")
    };
    let mounted = mount(&format!("mount={digest}&from=app"));
    assert_eq!(mounted.status, 201);
    let location = format!("/v2/other/blobs/{digest}");
    assert_eq!(mounted.header("location"), Some(location.as_str()));
    // Without `from` the registry looks everywhere.
    assert_eq!(mount(&format!("mount={digest}")).status, 201);
    // What cannot be mounted becomes an upload.
    let missing = mount(&format!("mount={}&from=app", Digest::sha256(b"missing")));
    assert_eq!(missing.status, 202);
    let session = missing.header("location").unwrap();
    let end = format!("{session}?digest={}", Digest::sha256(b"missing"));
    assert_eq!(send(&registry, Method::Put, &end, &[], b"missing").status, 201);
    assert_eq!(mount(&format!("mount={digest}&from=NO/NAME")).status, 202);
    assert_eq!(refusal(mount("mount=x&from=app")), (400, "DIGEST_INVALID".to_owned()));
    // What was deleted there cannot be mounted from there.
    send(&registry, Method::Delete, &format!("/v2/app/blobs/{digest}"), &[], b"");
    assert_eq!(mount(&format!("mount={digest}&from=app")).status, 202);
}

#[test]
fn chunk_in_pieces_that_is_not_its_range_is_told() {
    let registry = TestRegistry::start();
    let session = begin(&registry);
    let mut raw = TcpStream::connect(registry.at()).unwrap();
    let head = "host: r\r\nconnection: close\r\ncontent-range: 0-9\r\ntransfer-encoding: chunked";
    write!(raw, "PATCH {session} HTTP/1.1\r\n{head}\r\n\r\n3\r\nabc\r\n0\r\n\r\n").unwrap();
    let mut said = String::new();
    std::io::Read::read_to_string(&mut raw, &mut said).unwrap();
    assert!(said.starts_with("HTTP/1.1 400") && said.contains("SIZE_INVALID"), "{said}");
    assert_eq!(get(&registry, &session).header("range"), Some("0-2"));
}
