//! A server that answers each connection with the next of a list of scripts.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// What one connection gets once its request has been read.
pub(crate) enum Script {
    /// These bytes, then the end of the connection.
    Answer(String),
    /// The end of the connection after this many bytes of the request's body.
    Hang(usize),
    /// Nothing until the client goes away.
    Silence,
}

pub(crate) struct Scripted {
    pub(crate) address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
    thread: JoinHandle<()>,
}

impl Scripted {
    pub(crate) fn start(listen: &str, scripts: Vec<Script>) -> Scripted {
        let listener = TcpListener::bind(listen).unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&requests);
        let thread = std::thread::spawn(move || {
            for script in scripts {
                let (stream, _) = listener.accept().unwrap();
                serve(stream, &script, &log);
            }
        });
        Scripted { address, requests, thread }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The requests that came, once all scripts have run.
    pub(crate) fn requests(self) -> Vec<String> {
        self.thread.join().unwrap();
        self.requests.lock().unwrap().clone()
    }
}

fn serve(mut stream: TcpStream, script: &Script, log: &Mutex<Vec<String>>) {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).unwrap() == 0 {
            break;
        }
        request.push(byte[0]);
    }
    let head = String::from_utf8(request).unwrap();
    let length = head
        .lines()
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok())
        .unwrap_or(0);
    let wanted = match script {
        Script::Hang(count) => length.min(*count),
        _ => length,
    };
    let mut body = vec![0; wanted];
    stream.read_exact(&mut body).unwrap();
    log.lock().unwrap().push(format!("{head}{}", String::from_utf8_lossy(&body)));
    match script {
        Script::Answer(text) => stream.write_all(text.as_bytes()).unwrap(),
        Script::Hang(_) => {}
        Script::Silence => {
            // Returns when the client closes its end.
            let closed = stream.read(&mut byte);
            assert!(matches!(closed, Ok(0) | Err(_)));
        }
    }
}

/// A complete answer with a body.
pub(crate) fn answer(status: &str, headers: &str, body: &str) -> Script {
    let length = body.len();
    Script::Answer(format!(
        "HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n{body}"
    ))
}
