//! Serves the files of cases over HTTP.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

/// The time of files in contexts, `CONTEXT_TIME`.
const CHANGED: &str = "Fri, 13 Feb 2009 23:31:30 GMT";

/// Serves files by their paths for as long as the tests run; the address.
pub fn serve(files: BTreeMap<String, Vec<u8>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let files = Arc::new(files);
    std::thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let files = Arc::clone(&files);
            std::thread::spawn(move || answer(&connection, &files));
        }
    });
    format!("http://{address}")
}

fn answer(mut connection: &TcpStream, files: &BTreeMap<String, Vec<u8>>) {
    let mut lines = BufReader::new(connection).lines().map_while(Result::ok);
    let first = lines.next().unwrap_or_default();
    for _ in lines.by_ref().take_while(|line| !line.is_empty()) {}
    let path = first.split(' ').nth(1).unwrap_or_default();
    let path = path.split('?').next().unwrap_or_default();
    let (status, content) = match files.get(path) {
        Some(content) => ("200 OK", content.as_slice()),
        None => ("404 Not Found", &b""[..]),
    };
    let length = content.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nLast-Modified: {CHANGED}\r\nConnection: close\r\n\r\n"
    );
    let body = if first.starts_with("HEAD") { &b""[..] } else { content };
    drop(connection.write_all(&[head.as_bytes(), body].concat()));
}
