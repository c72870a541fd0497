//! A signed Debian archive on a free loopback port, with a log of requests and faults.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;

use anyarch_oci::Digest;

use crate::debian::{Package, SigningKey, compress};

/// How the server treats requests whose path contains some text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Closes the connection after so many bytes of the body, this many times.
    Cut {
        /// Bytes of each answer's body.
        after: usize,
        /// Answers that are cut.
        times: usize,
    },
    /// Sends half of the body, then nothing more until the archive is dropped.
    Stall,
}

/// An archive of one suite, `test`, for amd64, component `main`.
pub struct DebianArchive {
    address: SocketAddr,
    shared: Arc<Shared>,
    key: SigningKey,
    server: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    files: Mutex<BTreeMap<String, Vec<u8>>>,
    faults: Mutex<Vec<(String, Answer)>>,
    log: Mutex<Vec<(String, u64)>>,
    stalled: Mutex<usize>,
    has_stalled: Condvar,
    closed: AtomicBool,
}

impl DebianArchive {
    /// Serves an archive of these packages.
    pub fn start(packages: &[Package]) -> DebianArchive {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let serving = Arc::clone(&shared);
        let server = std::thread::spawn(move || {
            for connection in listener.incoming() {
                if serving.closed.load(Ordering::SeqCst) {
                    return;
                }
                let serving = Arc::clone(&serving);
                let connection = connection.unwrap();
                // A client that goes away in the middle is what some tests are about.
                std::thread::spawn(move || drop(serving.answer(connection)));
            }
        });
        let archive =
            DebianArchive { address, shared, key: SigningKey::new(1), server: Some(server) };
        archive.publish(packages);
        archive
    }

    /// Puts these packages in the place of those before.
    pub fn publish(&self, packages: &[Package]) {
        let mut files = BTreeMap::new();
        let mut index = String::new();
        for package in packages {
            let deb = package.build(".xz");
            let digest = Digest::sha256(&deb);
            let name = package.control.lines().find_map(|line| line.strip_prefix("Package: "));
            let path = format!("pool/{}_{}.deb", name.unwrap_or("unnamed"), digest.short());
            let (control, size, hex) = (&package.control, deb.len(), digest.hex());
            index.push_str(&format!("{control}Filename: {path}\nSize: {size}\nSHA256: {hex}\n\n"));
            files.insert(format!("/debian/{path}"), deb);
        }
        let (folder, base) = ("main/binary-amd64", "/debian/dists/test");
        let mut sums = String::new();
        for ending in ["", ".gz", ".xz"] {
            let content = compress(index.as_bytes(), ending);
            let digest = Digest::sha256(&content);
            let size = content.len();
            sums.push_str(&format!(" {} {size} {folder}/Packages{ending}\n", digest.hex()));
            files.insert(format!("{base}/{folder}/by-hash/SHA256/{}", digest.hex()), content);
        }
        let release = format!(
            "Suite: test\nCodename: test\nDate: Mon, 01 Jan 2024 00:00:00 UTC\n\
             Acquire-By-Hash: yes\nSHA256:\n{sums}"
        );
        files.insert(format!("{base}/InRelease"), self.key.sign(&release));
        *self.shared.files.lock().unwrap() = files;
    }

    /// Root of the archive, as a plan names it.
    pub fn uri(&self) -> String {
        format!("http://{}/debian", self.address)
    }

    /// The keyring that its index is signed with.
    pub fn keyring(&self) -> Vec<u8> {
        self.key.public()
    }

    /// Treats the requests whose path contains `path` in this way from now on.
    pub fn fault(&self, path: &str, answer: Answer) {
        self.shared.faults.lock().unwrap().push((path.to_owned(), answer));
    }

    /// Ends all faults; what stalls already goes on stalling.
    pub fn mend(&self) {
        self.shared.faults.lock().unwrap().clear();
    }

    /// Waits until an answer stalls, and forgets that one.
    pub fn wait_for_stall(&self) {
        let mut stalled = self.shared.stalled.lock().unwrap();
        while *stalled == 0 {
            stalled = self.shared.has_stalled.wait(stalled).unwrap();
        }
        *stalled = 0;
    }

    /// The requests so far, path and offset, and forgets them.
    pub fn take_log(&self) -> Vec<(String, u64)> {
        std::mem::take(&mut self.shared.log.lock().unwrap())
    }
}

impl Drop for DebianArchive {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::SeqCst);
        // Wakes the server, so that it sees that it is to end.
        drop(TcpStream::connect(self.address));
        if let Some(server) = self.server.take() {
            drop(server.join());
        }
    }
}

impl Shared {
    /// Answers one request and closes the connection.
    fn answer(&self, mut connection: TcpStream) -> std::io::Result<()> {
        let mut lines = BufReader::new(connection.try_clone()?).lines();
        let request = lines.next().transpose()?.unwrap_or_default();
        let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
        let mut offset = 0;
        for line in lines {
            let line = line?.to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(range) = line.strip_prefix("range: bytes=") {
                offset = range.trim_end_matches('-').parse().unwrap();
            }
        }
        self.log.lock().unwrap().push((path.clone(), offset));
        let Some(content) = self.files.lock().unwrap().get(&path).cloned() else {
            return connection.write_all(
                b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
            );
        };
        let rest = &content[usize::try_from(offset).unwrap()..];
        let (length, all, last) = (rest.len(), content.len(), content.len() - 1);
        let head = match offset {
            0 => "HTTP/1.1 200 OK\r\n".to_owned(),
            _ => format!(
                "HTTP/1.1 206 Partial Content\r\ncontent-range: bytes {offset}-{last}/{all}\r\n"
            ),
        };
        write!(connection, "{head}content-length: {length}\r\nconnection: close\r\n\r\n")?;
        match self.fault_for(&path) {
            None => connection.write_all(rest),
            Some(Answer::Cut { after, .. }) => {
                connection.write_all(&rest[..after.min(rest.len())])?;
                connection.shutdown(Shutdown::Both)
            }
            Some(Answer::Stall) => {
                connection.write_all(&rest[..rest.len() / 2])?;
                connection.flush()?;
                *self.stalled.lock().unwrap() += 1;
                self.has_stalled.notify_all();
                // Ends when the client goes away.
                std::io::copy(&mut connection, &mut std::io::sink()).map(drop)
            }
        }
    }

    fn fault_for(&self, path: &str) -> Option<Answer> {
        let mut faults = self.faults.lock().unwrap();
        let (_, answer) = faults.iter_mut().find(|(part, answer)| {
            path.contains(part.as_str()) && !matches!(answer, Answer::Cut { times: 0, .. })
        })?;
        if let Answer::Cut { times, .. } = answer {
            *times -= 1;
        }
        Some(answer.clone())
    }
}
