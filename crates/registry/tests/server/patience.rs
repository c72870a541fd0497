//! Clients that are slow, idle or greedy.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyarch_http::Method;
use anyarch_oci::Digest;
use anyarch_registry::server::{Limits, Options};

use crate::ask::{Host, Served, begin, get, refusal, send};

fn hasty(limits: Limits) -> Served {
    let limits = Limits { patience: Duration::from_millis(300), ..limits };
    Served::with(Options { limits, ..Options::default() })
}

/// What comes until the server closes the connection.
fn until_closed(mut stream: TcpStream) -> String {
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut said = Vec::new();
    stream.read_to_end(&mut said).expect("the server closes the connection");
    String::from_utf8_lossy(&said).into_owned()
}

#[test]
fn silence_ends_a_connection() {
    let server = hasty(Limits::default());
    for begun in ["", "GET /v2/ HTTP/1.1\r\nhost", "GET /v2/ HTTP/1.1\r\nhost: r\r\n\r\n"] {
        let mut stream = TcpStream::connect(server.at()).unwrap();
        stream.write_all(begun.as_bytes()).unwrap();
        let said = until_closed(stream);
        assert_eq!(said.contains(" 200 OK"), begun.ends_with("\r\n\r\n"), "{begun:?}: {said}");
    }
}

#[test]
fn body_that_does_not_come_is_given_up_and_what_came_stays() {
    let server = hasty(Limits::default());
    let session = begin(&server);
    let mut stream = TcpStream::connect(server.at()).unwrap();
    write!(stream, "PATCH {session} HTTP/1.1\r\nhost: r\r\ncontent-length: 99\r\n\r\nhello")
        .unwrap();
    let said = until_closed(stream);
    assert!(said.starts_with("HTTP/1.1 400") && said.contains("BLOB_UPLOAD_INVALID"), "{said}");
    assert_eq!(get(&server, &session).header("range"), Some("0-4"));
    let mut stream = TcpStream::connect(server.at()).unwrap();
    let put = "PUT /v2/app/manifests/v1 HTTP/1.1\r\nhost: r\r\ncontent-length: 99\r\n\r\n{";
    stream.write_all(put.as_bytes()).unwrap();
    assert!(until_closed(stream).contains("MANIFEST_INVALID"));
}

#[test]
fn download_that_nobody_reads_is_given_up() {
    let server = hasty(Limits { connections: 1, ..Limits::default() });
    // More than the buffers of both ends take.
    let digest = server.store.put_blob(&vec![7; 64 << 20]).unwrap();
    let mut stream = TcpStream::connect(server.at()).unwrap();
    write!(stream, "GET /v2/app/blobs/{digest} HTTP/1.1\r\nhost: r\r\n\r\n").unwrap();
    let begun = Instant::now();
    // There is room for one connection: this one is answered when the other has been given up.
    assert_eq!(get(&server, "/v2/").status, 200);
    assert!(begun.elapsed() >= Duration::from_millis(250), "{:?}", begun.elapsed());
    drop(stream);
}

#[test]
fn uploads_that_nobody_writes_make_room_and_come_back() {
    let server = hasty(Limits { uploads: 2, ..Limits::default() });
    let sessions: Vec<String> = (0..5).map(|_| begin(&server)).collect();
    for (number, session) in sessions.iter().enumerate() {
        let content = [b'0' + u8::try_from(number).unwrap(); 3];
        assert_eq!(send(&server, Method::Patch, session, &[], &content).status, 202);
    }
    for (number, session) in sessions.iter().enumerate() {
        assert_eq!(get(&server, session).header("range"), Some("0-2"));
        let digest = Digest::sha256(&[b'0' + u8::try_from(number).unwrap(); 3]);
        let end = format!("{session}?digest={digest}");
        assert_eq!(send(&server, Method::Put, &end, &[], b"").status, 201);
    }
}

#[test]
fn too_many_uploads_at_once_are_told_to_wait() {
    let server = Served::with(Options {
        limits: Limits { uploads: 1, ..Limits::default() },
        ..Options::default()
    });
    let session = begin(&server);
    let mut stream = TcpStream::connect(server.at()).unwrap();
    write!(stream, "PATCH {session} HTTP/1.1\r\nhost: r\r\ncontent-length: 9\r\n\r\nhello")
        .unwrap();
    // Until the server has begun to read the chunk, there is room.
    let refused = loop {
        let response = send(&server, Method::Post, "/v2/app/blobs/uploads/", &[], b"");
        if response.status != 202 {
            break response;
        }
    };
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(refusal(refused), (429, "TOOMANYREQUESTS".to_owned()));
}

#[test]
fn who_is_slow_and_goes_on_is_served() {
    let server = hasty(Limits::default());
    let digest = server.store.put_blob(&vec![7; 64 << 20]).unwrap();
    let mut stream = TcpStream::connect(server.at()).unwrap();
    let head = "host: r\r\nconnection: close";
    write!(stream, "GET /v2/app/blobs/{digest} HTTP/1.1\r\n{head}\r\n\r\n").unwrap();
    let begun = Instant::now();
    let (mut got, mut buffer) = (0, vec![0; 1 << 20]);
    loop {
        let read = stream.read(&mut buffer).unwrap();
        if read == 0 {
            break;
        }
        got += read;
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(got > 64 << 20 && begun.elapsed() > Duration::from_millis(600), "{got}");

    let session = begin(&server);
    let mut stream = TcpStream::connect(server.at()).unwrap();
    write!(stream, "PATCH {session} HTTP/1.1\r\n{head}\r\ncontent-length: 10\r\n\r\n").unwrap();
    for _ in 0..10 {
        stream.write_all(b"x").unwrap();
        std::thread::sleep(Duration::from_millis(60));
    }
    assert!(until_closed(stream).starts_with("HTTP/1.1 202"));
}
