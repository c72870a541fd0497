//! A root from the archive that this machine's apt uses, checked with its own dpkg and apt.
//!
//! Needs root, the network and apt sources with Debian 12. Set `ANYARCH_TEST_SKIP_NETWORK=1` to skip.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test may")]

mod common;

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::path::Path;
use std::process::Command as Process;
use std::sync::Mutex;
use std::time::{Instant, SystemTime};

use anyarch_debian::{
    Command, DEFAULT_EPOCH, Fetch, FetchError, Fetched, Packages, Request, Resolution, RunResult,
    clean, configure, download, host_sources, resolve, unpack, write_sources,
};
use anyarch_layer::Root;

/// Plain HTTP/1.1, one connection a request; each name is looked up once.
#[derive(Default)]
struct Http(Mutex<HashMap<String, SocketAddr>>);

impl Http {
    fn address(&self, host: &str) -> Result<SocketAddr, FetchError> {
        let name = if host.contains(':') { host.to_owned() } else { format!("{host}:80") };
        let mut known = self.0.lock().unwrap();
        if let Some(address) = known.get(&name) {
            return Ok(*address);
        }
        let address =
            name.to_socket_addrs().map_err(failed)?.next().ok_or_else(|| failed("no address"))?;
        known.insert(name, address);
        Ok(address)
    }
}

fn failed(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> FetchError {
    FetchError::Failed(error.into())
}

impl Fetch for Http {
    fn get(&self, url: &str, offset: u64) -> Result<Fetched, FetchError> {
        let rest = url.strip_prefix("http://").ok_or_else(|| failed("only http"))?;
        let (host, path) = rest.split_once('/').ok_or_else(|| failed("no path"))?;
        let mut stream = TcpStream::connect(self.address(host)?).map_err(failed)?;
        let range = if offset > 0 { format!("Range: bytes={offset}-\r\n") } else { String::new() };
        write!(stream, "GET /{path} HTTP/1.1\r\nHost: {host}\r\n{range}Connection: close\r\n\r\n")
            .map_err(failed)?;
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line).map_err(failed)?;
        let status: u16 = line.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0);
        let mut length = None;
        loop {
            line.clear();
            reader.read_line(&mut line).map_err(failed)?;
            if line.trim().is_empty() {
                break;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().ok();
            }
        }
        match status {
            200 => Ok(Fetched { body: bounded(reader, length), length, offset: 0 }),
            206 => Ok(Fetched { body: bounded(reader, length), length, offset }),
            404 => Err(FetchError::NotFound),
            other => Err(failed(format!("status {other}"))),
        }
    }
}

fn bounded(reader: BufReader<TcpStream>, length: Option<u64>) -> Box<dyn Read + Send> {
    Box::new(reader.take(length.unwrap_or(u64::MAX)))
}

/// Runs a command in a chroot with /proc and /dev, in mount and process namespaces of its own.
fn chroot(root: &Path, command: &Command) -> RunResult {
    let script = "mount -t proc proc \"$0/proc\" && mount --rbind /dev \"$0/dev\" && exec chroot \"$0\" \"$@\"";
    let mut process = Process::new("unshare");
    process.args(["--mount", "--pid", "--fork", "--ipc", "--uts", "sh", "-c", script]).arg(root);
    process.args(&command.argv).env_clear().envs(command.env.clone());
    let output = process.output()?;
    let status = output.status.code().unwrap_or(-1);
    if status != 0 {
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        eprintln!("{text}{}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(status)
}

fn run(root: &Path, argv: &[&str]) -> String {
    let path = "/usr/sbin:/usr/bin:/sbin:/bin";
    let output = Process::new("chroot")
        .arg(root)
        .args(argv)
        .env_clear()
        .env("PATH", path)
        .env("LC_ALL", "C")
        .output();
    let output = output.unwrap();
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.status.success(), "{argv:?}: {text}");
    text
}

fn request() -> Request {
    let mut files = Vec::new();
    for folder in ["/etc/apt/sources.list.d", "/etc/apt"] {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let name = entry.file_name().into_string().unwrap();
            if name.ends_with(".list") || name.ends_with(".sources") {
                files.push((name, std::fs::read_to_string(entry.path()).unwrap()));
            }
        }
    }
    let wanted = std::env::var("ANYARCH_TEST_PACKAGES");
    let wanted = wanted.unwrap_or_else(|_| "python3 python3-pip ca-certificates".to_owned());
    Request {
        sources: host_sources(&files, "bookworm").unwrap(),
        architecture: "amd64".to_owned(),
        packages: wanted.split_whitespace().map(str::to_owned).collect(),
        recommends: false,
    }
}

fn build(resolution: &Resolution, request: &Request, packages: &dyn Packages, path: &Path) {
    let root = Root::open(path).unwrap();
    let start = Instant::now();
    unpack(resolution, packages, &root, &|_| {}).unwrap();
    eprintln!("unpack    {:.2?}", start.elapsed());
    write_sources(&root, &request.sources).unwrap();
    let start = Instant::now();
    let mut run = |command| chroot(path, &command);
    configure(&root, resolution, DEFAULT_EPOCH, &mut run, &|_| {}).unwrap();
    eprintln!("configure {:.2?}", start.elapsed());
    clean(&root, DEFAULT_EPOCH).unwrap();
}

/// Every entry of a tree: path, type, mode, owner and content digest.
fn listing(root: &Path) -> String {
    let script = "cd \"$0\" && find . ! -type f -printf '%p %y %m %U:%G %l\\n' | sort && \
        find . -type f -printf '%p %y %m %U:%G\\n' | sort && find . -type f -print0 | sort -z | xargs -0 sha256sum";
    let output = Process::new("sh").args(["-c", script]).arg(root).output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn python_base_is_complete_and_repeatable_needs_root_and_network() {
    if std::env::var_os("ANYARCH_TEST_SKIP_NETWORK").is_some() {
        return;
    }
    let request = request();
    let (store, http) = (common::Store::new(), Http::default());
    let start = Instant::now();
    let resolution = resolve(&request, &http, &store, SystemTime::now(), &|_| {}).unwrap();
    eprintln!("resolve   {:.2?}, {} packages", start.elapsed(), resolution.packages.len());
    let again = resolve(&request, &http, &store, SystemTime::now(), &|_| {}).unwrap();
    assert_eq!(again, resolution);
    let start = Instant::now();
    download(&resolution, &request.sources, &http, &store, 8, &|_| {}).unwrap();
    eprintln!("download  {:.2?}, {} bytes", start.elapsed(), resolution.download_size());

    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (folder.path().join("first"), folder.path().join("second"));
    for path in [&first, &second] {
        std::fs::create_dir(path).unwrap();
        build(&resolution, &request, &store, path);
    }
    if let Some(kept) = std::env::var_os("ANYARCH_TEST_KEEP") {
        let status = Process::new("cp").arg("-a").arg(&first).arg(kept).status().unwrap();
        assert!(status.success());
    }
    let (one, two) = (listing(&first), listing(&second));
    let differences: Vec<_> =
        one.lines().zip(two.lines()).filter(|(a, b)| a != b).take(20).collect();
    assert!(one == two, "{differences:#?}");

    assert_eq!(run(&first, &["dpkg", "--audit"]), "");
    assert_eq!(run(&first, &["dpkg", "--verify"]), "");
    run(&first, &["apt-get", "check"]);
    let installed =
        run(&first, &["dpkg-query", "-W", "-f", "${Package} ${Version} ${Architecture}\n"]);
    let expected: String = resolution
        .packages
        .iter()
        .map(|p| format!("{} {} {}\n", p.name, p.version, p.architecture))
        .collect();
    assert_eq!(installed, expected);
    assert!(run(&first, &["python3", "-m", "pip", "--version"]).starts_with("pip "));
}
