//! The client against scripted servers on the loopback.
#![allow(clippy::unwrap_used)]

mod support;

use std::cell::Cell;
use std::io::{self, Read};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyarch_http::{Body, Client, Config, HttpError, Method, Proxies, Request, RetryPolicy};
use support::{Script, Scripted, answer};

fn config() -> Config {
    Config {
        retry: RetryPolicy {
            attempts: 3,
            first_delay: Duration::from_millis(1),
            max_delay: Duration::from_millis(2),
            max_retry_after: Duration::from_secs(2),
        },
        ..Config::default()
    }
}

fn client() -> Client {
    Client::new(config()).unwrap()
}

fn text(mut body: impl Read) -> String {
    let mut text = String::new();
    body.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn get_reads_the_body_and_names_itself() {
    let server = Scripted::start("127.0.0.1:0", vec![answer("200 OK", "x-a: b\r\n", "hello")]);
    let response = client().get(&server.url("/a?b=c"), 0, &[("accept", "text/plain")]).unwrap();
    assert_eq!((response.status, response.offset, response.length), (200, 0, Some(5)));
    assert_eq!(response.header("x-a"), Some("b"));
    assert_eq!(text(response.body), "hello");
    let request = server.requests().remove(0);
    assert!(request.starts_with("GET /a?b=c HTTP/1.1\r\n"), "{request}");
    assert!(request.contains("user-agent: anyarch/"), "{request}");
    assert!(request.contains("accept: text/plain"), "{request}");
}

#[test]
fn offset_becomes_a_range() {
    let part = answer("206 Partial Content", "content-range: bytes 3-4/5\r\n", "lo");
    let server = Scripted::start("127.0.0.1:0", vec![part]);
    let response = client().get(&server.url("/"), 3, &[]).unwrap();
    assert_eq!((response.offset, response.length), (3, Some(2)));
    assert_eq!(text(response.body), "lo");
    assert!(server.requests()[0].contains("range: bytes=3-"));
}

#[test]
fn server_without_ranges_says_so_by_offset() {
    let server = Scripted::start("127.0.0.1:0", vec![answer("200 OK", "", "hello")]);
    assert_eq!(client().get(&server.url("/"), 3, &[]).unwrap().offset, 0);
}

#[test]
fn other_range_than_asked_is_an_error() {
    let part = answer("206 Partial Content", "content-range: bytes 2-4/5\r\n", "llo");
    let server = Scripted::start("127.0.0.1:0", vec![part]);
    let error = client().get(&server.url("/"), 3, &[]).unwrap_err();
    assert!(matches!(error, HttpError::Range { asked: 3, .. }), "{error}");
}

#[test]
fn not_now_is_repeated_and_announced() {
    let scripts = vec![
        answer("503 Service Unavailable", "retry-after: 0\r\n", ""),
        Script::Hang(0),
        answer("200 OK", "", "at last"),
    ];
    let server = Scripted::start("127.0.0.1:0", scripts);
    let events = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&events);
    let mut config = config();
    config.on_retry = Some(Arc::new(move |event| {
        seen.lock().unwrap().push((event.attempt, event.reason.clone()))
    }));
    let response = Client::new(config).unwrap().get(&server.url("/"), 0, &[]).unwrap();
    assert_eq!(text(response.body), "at last");
    assert_eq!(server.requests().len(), 3);
    let events = events.lock().unwrap();
    assert_eq!(events[0], (1, "answered 503".to_owned()));
    assert_eq!(events[1].0, 2);
    assert!(events[1].1.contains("connection was lost"), "{}", events[1].1);
}

#[test]
fn attempts_end() {
    let scripts = (0..3).map(|_| answer("500 Internal Server Error", "", "broken\n")).collect();
    let server = Scripted::start("127.0.0.1:0", scripts);
    let error = client().get(&server.url("/x"), 0, &[]).unwrap_err();
    assert_eq!(error.to_string(), format!("{} answered 500: broken", server.url("/x")));
    assert_eq!(server.requests().len(), 3);
}

#[test]
fn long_retry_after_is_not_waited_for() {
    let busy = answer("429 Too Many Requests", "retry-after: 3600\r\n", "");
    let server = Scripted::start("127.0.0.1:0", vec![busy]);
    let error = client().get(&server.url("/"), 0, &[]).unwrap_err();
    assert!(matches!(error, HttpError::Status { status: 429, .. }));
    assert!(error.hint().unwrap().contains("limits"));
}

#[test]
fn not_found_is_distinguished_and_not_repeated() {
    let server = Scripted::start("127.0.0.1:0", vec![answer("404 Not Found", "", "")]);
    assert!(client().get(&server.url("/"), 0, &[]).unwrap_err().is_not_found());
}

#[test]
fn truncated_body_is_an_error() {
    let cut = Script::Answer("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhell".to_owned());
    let server = Scripted::start("127.0.0.1:0", vec![cut]);
    let mut body = client().get(&server.url("/"), 0, &[]).unwrap().body;
    let mut got = Vec::new();
    let error = body.read_to_end(&mut got).unwrap_err();
    assert_eq!((got.as_slice(), error.kind()), (&b"hell"[..], io::ErrorKind::UnexpectedEof));
    let inner = error.get_ref().unwrap().downcast_ref::<HttpError>().unwrap();
    assert!(matches!(inner, HttpError::Interrupted { .. }) && inner.is_transient(), "{inner}");
}

#[test]
fn silence_ends() {
    let server = Scripted::start("127.0.0.1:0", vec![Script::Silence]);
    let config = Config {
        idle_timeout: Duration::from_millis(50),
        retry: RetryPolicy::never(),
        ..Config::default()
    };
    let error = Client::new(config).unwrap().get(&server.url("/"), 0, &[]).unwrap_err();
    assert!(
        matches!(error, HttpError::Timeout { operation: "waiting for the answer", .. }),
        "{error}"
    );
}

#[test]
fn refused_connection_and_unknown_host_are_named() {
    let config = Config { retry: RetryPolicy::never(), ..Config::default() };
    let client = Client::new(config).unwrap();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = client.get(&format!("http://u:p@{free}/x?token=t"), 0, &[]).unwrap_err();
    assert!(matches!(error, HttpError::Connect { .. }), "{error}");
    assert_eq!(error.to_string(), format!("failed to connect for http://{free}/x"));

    let error = client.get("http://nowhere.invalid/x", 0, &[]).unwrap_err();
    assert!(matches!(&error, HttpError::Dns { host, .. } if host == "nowhere.invalid"), "{error}");

    let error = client.get("ftp://mirror.example/", 0, &[]).unwrap_err();
    assert!(matches!(error, HttpError::Url { .. }), "{error}");
}

#[test]
fn proxies_are_used_except_for_the_loopback() {
    let proxy = Scripted::start("127.0.0.1:0", vec![answer("200 OK", "", "by proxy")]);
    let mut config = config();
    config.proxies = Proxies { http: Some(proxy.url("")), https: None, no_proxy: None };
    let client = Client::new(config).unwrap();
    assert_eq!(text(client.get("http://mirror.example/p", 0, &[]).unwrap().body), "by proxy");
    for listen in ["127.0.0.1:0", "[::1]:0"] {
        let direct = Scripted::start(listen, vec![answer("200 OK", "", "direct")]);
        assert_eq!(text(client.get(&direct.url("/"), 0, &[]).unwrap().body), "direct");
    }
    let direct = Scripted::start("127.0.0.1:0", vec![answer("200 OK", "", "direct")]);
    let url = format!("http://localhost:{}/", direct.address.port());
    assert_eq!(text(client.get(&url, 0, &[]).unwrap().body), "direct");
    assert!(proxy.requests()[0].starts_with("GET http://mirror.example/p HTTP/1.1"));
}

#[test]
fn credentials_stay_with_their_host() {
    let far = Scripted::start("127.0.0.1:0", vec![answer("200 OK", "", "far")]);
    let to = format!("location: http://localhost:{}/far\r\n", far.address.port());
    let near = Scripted::start("127.0.0.1:0", vec![answer("307 Temporary Redirect", &to, "")]);
    let headers = [("authorization", "Bearer t"), ("range", "bytes=0-")];
    let response = client().get(&near.url("/near"), 0, &headers).unwrap();
    assert!(response.url.ends_with("/far"), "{}", response.url);
    assert_eq!(text(response.body), "far");
    assert!(near.requests()[0].contains("authorization: Bearer t"));
    let second = &far.requests()[0];
    assert!(!second.contains("authorization") && second.contains("range"), "{second}");
}

#[test]
fn upload_announces_its_length_and_progress() {
    let server = Scripted::start("127.0.0.1:0", vec![answer("201 Created", "", "")]);
    let content = "x".repeat(300_000);
    let bytes = content.clone().into_bytes();
    let open = || Ok(Box::new(io::Cursor::new(bytes.clone())) as Box<dyn Read + Send>);
    let sent = Cell::new(0);
    let body = Body::Stream { length: 300_000, open: &open, progress: &|count| sent.set(count) };
    let response = client().send(&Request::new(Method::Put, server.url("/u")).body(body)).unwrap();
    assert_eq!((response.status, sent.get()), (201, 300_000));
    let request = server.requests().remove(0);
    assert!(request.contains("content-length: 300000\r\n"));
    assert!(!request.contains("transfer-encoding"));
    assert!(request.ends_with(&content));
}

#[test]
fn lost_upload_is_repeated_from_its_start() {
    let scripts = vec![Script::Hang(100_000), answer("201 Created", "", "")];
    let server = Scripted::start("127.0.0.1:0", scripts);
    let bytes = vec![b'y'; 3_000_000];
    let opened = Cell::new(0);
    let open = || {
        opened.set(opened.get() + 1);
        Ok(Box::new(io::Cursor::new(bytes.clone())) as Box<dyn Read + Send>)
    };
    let body = Body::Stream { length: 3_000_000, open: &open, progress: &|_| {} };
    let response = client().send(&Request::new(Method::Put, server.url("/u")).body(body)).unwrap();
    assert_eq!((response.status, opened.get()), (201, 2));
    assert!(server.requests()[1].ends_with("yyy"));
}

#[test]
fn content_shorter_than_announced_is_our_error() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/u", listener.local_addr().unwrap());
    let open = || Ok(Box::new(io::Cursor::new(vec![0u8; 5])) as Box<dyn Read + Send>);
    let body = Body::Stream { length: 10, open: &open, progress: &|_| {} };
    let error = client().send(&Request::new(Method::Put, url).body(body)).unwrap_err();
    assert!(matches!(error, HttpError::Source { .. }), "{error}");
}

#[test]
fn works_on_a_runtime_thread() {
    let server = Scripted::start("127.0.0.1:0", vec![answer("200 OK", "", "ok")]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let got =
        runtime.block_on(async { text(client().get(&server.url("/"), 0, &[]).unwrap().body) });
    assert_eq!(got, "ok");
}
