//! For tests: an engine on a store of its own, without packages, images or a sandbox; plain HTTP for
//! those that have an archive.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;

use anyarch_debian::{Fetch, FetchError, Fetched};
use anyarch_oci::{Descriptor, EndpointError, ImageSource, Reference};
use anyarch_store::Store;
use anyarch_testkit::DebianArchive;

use crate::engine::{Engine, NoCache};
use crate::foreign::Twins;
use crate::git::NoGit;
use crate::host::Host;

struct Nothing;

impl Fetch for Nothing {
    fn get(&self, _: &str, _: u64) -> Result<Fetched, FetchError> {
        Err(FetchError::NotFound)
    }
}

fn nothing<T>(reference: &Reference) -> Result<T, EndpointError> {
    let message = format!("{reference} is nowhere");
    Err(EndpointError { message, hint: None, not_found: true, source: None })
}

impl ImageSource for Nothing {
    fn manifest(&self, reference: &Reference) -> Result<(Descriptor, Vec<u8>), EndpointError> {
        nothing(reference)
    }

    fn blob(
        &self,
        reference: &Reference,
        _: &Descriptor,
        _: u64,
    ) -> Result<Box<dyn Read + Send>, EndpointError> {
        nothing(reference)
    }
}

/// An engine whose store is in a folder. Owners are left as they come out, as for any user.
pub(crate) fn engine(folder: &Path) -> Engine {
    Engine {
        store: Store::open(folder).unwrap(),
        host: Host {
            cores: 1,
            single_id: true,
            boot_id: "this boot".to_owned(),
            ..Host::default()
        },
        fetch: Box::new(Nothing),
        images: Box::new(Nothing),
        twins: Twins::On,
        git: Box::new(NoGit),
        no_cache: NoCache::Nothing,
    }
}

/// HTTP without encryption, one connection a request.
struct Http;

impl Fetch for Http {
    fn get(&self, url: &str, offset: u64) -> Result<Fetched, FetchError> {
        get(url, offset)
            .map_err(|error| FetchError::Failed(error.into()))?
            .ok_or(FetchError::NotFound)
    }
}

fn get(url: &str, offset: u64) -> std::io::Result<Option<Fetched>> {
    let (host, path) = url.trim_start_matches("http://").split_once('/').unwrap();
    let port = if host.contains(':') { "" } else { ":80" };
    let mut stream = TcpStream::connect(format!("{host}{port}"))?;
    let range = if offset > 0 { format!("Range: bytes={offset}-\r\n") } else { String::new() };
    write!(stream, "GET /{path} HTTP/1.1\r\nHost: {host}\r\n{range}Connection: close\r\n\r\n")?;
    let mut reader = BufReader::new(stream);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        if line.trim().is_empty() {
            break;
        }
        head.push(line.trim().to_ascii_lowercase());
    }
    let status = head.first().and_then(|line| line.split(' ').nth(1)).unwrap_or("");
    let length = head.iter().find_map(|line| line.strip_prefix("content-length:"));
    let length = length.map(|length| length.trim().parse().unwrap());
    let body = Box::new(reader.take(length.unwrap_or(u64::MAX)));
    match status {
        "200" => Ok(Some(Fetched { body, length, offset: 0 })),
        "206" => Ok(Some(Fetched { body, length, offset })),
        "404" => Ok(None),
        other => Err(std::io::Error::other(format!("status {other}"))),
    }
}

/// A folder with the keyring of an archive, and an engine whose store is in it.
pub(crate) fn engine_with(archive: &DebianArchive) -> (tempfile::TempDir, Engine) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("keys.gpg"), archive.keyring()).unwrap();
    let mut engine = engine(&folder.path().join("store"));
    engine.fetch = Box::new(Http);
    (folder, engine)
}

/// The table of a plan that names the archive.
pub(crate) fn sources(archive: &DebianArchive) -> String {
    let uri = archive.uri();
    format!(
        "[sources]\ndebian = [{{ uri = {uri:?}, suites = [\"test\"], signed-by = \"keys.gpg\" }}]\n"
    )
}

/// An engine on an archive, and a plan that has its packages and this table.
pub(crate) fn planned(
    archive: &DebianArchive,
    platform: &str,
    table: &str,
) -> (tempfile::TempDir, Engine, anyarch_plan::Plan) {
    let (folder, engine) = engine_with(archive);
    (folder, engine, plan(platform, &(sources(archive) + table)))
}

/// An engine with the archives of this machine, for tests that need the network.
pub(crate) fn networked() -> (tempfile::TempDir, Engine) {
    let folder = tempfile::tempdir().unwrap();
    let mut engine = engine(folder.path());
    engine.fetch = Box::new(Http);
    engine.host.apt_sources = apt_sources();
    (folder, engine)
}

/// The apt sources of this machine.
fn apt_sources() -> Vec<(String, String)> {
    let mut files = Vec::new();
    for folder in ["/etc/apt", "/etc/apt/sources.list.d"] {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let name = entry.file_name().into_string().unwrap();
            if name.ends_with(".list") || name.ends_with(".sources") {
                files.push((name, std::fs::read_to_string(entry.path()).unwrap()));
            }
        }
    }
    files
}

/// A plan with one tier, from a Dockerfile of that name, and these tables.
pub(crate) fn plan(platform: &str, tables: &str) -> anyarch_plan::Plan {
    let text = format!(
        "[project]\nname = \"demo\"\n{tables}\n[flavor.cpu]\nplatforms = [\"{platform}\"]\n\
         tiers = [{{ name = \"base\", dockerfile = \"Dockerfile\" }}]\n"
    );
    anyarch_plan::read(&text).unwrap()
}
