//! A small archive in memory with a signed index, and a fetcher whose connections break on demand.

use std::collections::BTreeMap;
use std::io::{Cursor, Read};
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use anyarch_debian::{Fetch, FetchError, Fetched, Request, Source};
use anyarch_oci::Digest;

use anyarch_testkit::debian::{Package, SigningKey, compress};

/// When the archive's index is dated: 2024-01-01.
pub(crate) const DATE: &str = "Mon, 01 Jan 2024 00:00:00 UTC";

/// One day after [`DATE`].
pub(crate) fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_704_067_200 + 86_400)
}

/// Files by URL, and how they misbehave.
pub(crate) struct Archive {
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    /// Bytes after which every connection breaks.
    pub(crate) break_after: Option<usize>,
    /// Requests so far: URL and offset.
    pub(crate) requests: Mutex<Vec<(String, u64)>>,
    /// Whether the server knows ranges.
    pub(crate) ranges: bool,
    pub(crate) key: SigningKey,
}

pub(crate) const BASE: &str = "http://mirror.example/debian";

impl Archive {
    /// Publishes packages as suite `test`, component `main`, architecture amd64.
    pub(crate) fn new(packages: &[Package]) -> Archive {
        let mut archive = Archive {
            files: BTreeMap::new(),
            break_after: None,
            requests: Mutex::default(),
            ranges: true,
            key: SigningKey::new(1),
        };
        archive.publish("test", packages, "");
        archive
    }

    /// Publishes a suite; `extra` goes into its Release file.
    pub(crate) fn publish(&mut self, suite: &str, packages: &[Package], extra: &str) {
        let mut index = String::new();
        for package in packages {
            let deb = package.build(".xz");
            let digest = Digest::sha256(&deb);
            let path = format!("pool/{}.deb", digest.short());
            let (control, size, hex) = (&package.control, deb.len(), digest.hex());
            index.push_str(&format!("{control}Filename: {path}\nSize: {size}\nSHA256: {hex}\n\n"));
            self.files.insert(format!("{BASE}/{path}"), deb);
        }
        let folder = "main/binary-amd64";
        let base = format!("{BASE}/dists/{suite}");
        let mut sums = String::new();
        for ending in ["", ".gz", ".xz"] {
            let content = compress(index.as_bytes(), ending);
            let digest = Digest::sha256(&content);
            sums.push_str(&format!(
                " {} {} {folder}/Packages{ending}\n",
                digest.hex(),
                content.len()
            ));
            self.files.insert(format!("{base}/{folder}/by-hash/SHA256/{}", digest.hex()), content);
        }
        let release = format!(
            "Suite: {suite}\nCodename: {suite}\nDate: {DATE}\nAcquire-By-Hash: yes\n{extra}SHA256:\n{sums}"
        );
        self.files.insert(format!("{base}/InRelease"), self.key.sign(&release));
    }

    pub(crate) fn source(&self, suite: &str) -> Source {
        Source {
            uri: BASE.to_owned(),
            suite: suite.to_owned(),
            components: vec!["main".to_owned()],
            signed_by: Some(self.key.public()),
        }
    }

    pub(crate) fn request(&self, packages: &[&str]) -> Request {
        Request {
            sources: vec![self.source("test")],
            architecture: "amd64".to_owned(),
            packages: packages.iter().map(|name| (*name).to_owned()).collect(),
            recommends: false,
        }
    }

    /// The only file whose URL holds `part`.
    pub(crate) fn file(&mut self, part: &str) -> &mut Vec<u8> {
        let mut found: Vec<_> =
            self.files.iter_mut().filter(|(url, _)| url.contains(part)).collect();
        assert_eq!(found.len(), 1, "{part}");
        found.remove(0).1
    }
}

impl Fetch for Archive {
    fn get(&self, url: &str, offset: u64) -> Result<Fetched, FetchError> {
        self.requests.lock().unwrap().push((url.to_owned(), offset));
        let content = self.files.get(url).ok_or(FetchError::NotFound)?;
        let offset = if self.ranges { offset } else { 0 };
        let rest = content[offset as usize..].to_vec();
        let length = Some(rest.len() as u64);
        let limit = self.break_after.filter(|_| url.ends_with(".deb")).unwrap_or(usize::MAX) as u64;
        let breaks = rest.len() as u64 > limit;
        let body: Box<dyn Read + Send> = Box::new(Cursor::new(rest).take(limit));
        Ok(Fetched {
            body: if breaks { Box::new(body.chain(Broken)) } else { body },
            length,
            offset,
        })
    }
}

/// A connection that is reset.
struct Broken;

impl Read for Broken {
    fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
        Err(std::io::ErrorKind::ConnectionReset.into())
    }
}
