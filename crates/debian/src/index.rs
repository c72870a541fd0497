//! The indexes of an archive: a [`Source`] to its verified list of packages.
//!
//! `InRelease` is verified by signature, everything below it by digest and size. Fetches through the caller.

use std::io::{BufReader, Read};
use std::time::SystemTime;

use anyarch_oci::Digest;

use crate::control::{Paragraph, Paragraphs};
use crate::date;
use crate::decompress::{Compression, decompress};
use crate::error::DebianError;
use crate::fetch::{Fetch, Packages, fetch_small, obtain};
use crate::release::{IndexFile, Release};
use crate::resolution::{IndexPin, Progress};
use crate::signature::{DEBIAN_ARCHIVE_KEYS, Keyring};
use crate::source::Source;
use crate::version::Version;

/// Largest `InRelease` that is read.
const RELEASE_LIMIT: u64 = 16 << 20;
/// Largest package index that is read, compressed and not.
const INDEX_LIMIT: u64 = 1 << 30;

/// A package of an index: what resolving and downloading need.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) name: Box<str>,
    pub(crate) version: Version,
    pub(crate) all: bool,
    pub(crate) multi_arch: MultiArch,
    pub(crate) essential: bool,
    pub(crate) priority: Priority,
    pub(crate) depends: Option<Box<str>>,
    pub(crate) pre_depends: Option<Box<str>>,
    pub(crate) recommends: Option<Box<str>>,
    pub(crate) conflicts: Option<Box<str>>,
    pub(crate) breaks: Option<Box<str>>,
    pub(crate) provides: Option<Box<str>>,
    pub(crate) filename: Box<str>,
    pub(crate) size: u64,
    pub(crate) sha256: Digest,
    /// Position of the source.
    pub(crate) source: usize,
}

/// `Multi-Arch` (policy and wiki "Multiarch"); matters for `name:any` relations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MultiArch {
    No,
    Same,
    Foreign,
    Allowed,
}

/// Policy 2.5; the order is that of importance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Priority {
    Required,
    Important,
    Standard,
    Optional,
}

/// Fetches and verifies the indexes of one source. An archive that has its components for other
/// architectures only, as security archives do, has no packages.
pub(crate) fn load(
    source: &Source,
    position: usize,
    architecture: &str,
    fetch: &dyn Fetch,
    packages: &dyn Packages,
    now: SystemTime,
    on: &(dyn Fn(Progress) + Sync),
) -> Result<(IndexPin, Vec<Record>), DebianError> {
    let base = format!("{}/dists/{}", source.uri, source.suite);
    let url = format!("{base}/InRelease");
    on(Progress::Index { url: url.clone() });
    let signed = fetch_small(fetch, &url, RELEASE_LIMIT)?;
    let trusted = source.signed_by.as_deref().unwrap_or(DEBIAN_ARCHIVE_KEYS);
    let text = Keyring::parse(trusted)
        .and_then(|keyring| keyring.verify(&signed, now))
        .map_err(|source| DebianError::Signature { url: url.clone(), source })?;
    let release = Release::parse(&text)
        .and_then(|release| release.check(&source.suite, now).map(|()| release))
        .map_err(|source| DebianError::Release { url: url.clone(), source })?;
    let mut records = Vec::new();
    for component in &source.components {
        let mut folders = vec![format!("{component}/binary-{architecture}")];
        if release.separate_all {
            folders.push(format!("{component}/binary-all"));
        }
        for (number, folder) in folders.iter().enumerate() {
            match choose(&release, folder) {
                Some((path, file, compression)) => {
                    let index = Index { base: &base, path, file, compression, release: &release };
                    let open = index.open(fetch, packages, on)?;
                    read(open, &format!("{base}/{path}"), architecture, position, &mut records)?;
                }
                None if number > 0 => {}
                // As for apt: an archive that has the component for others only has nothing to say.
                None if has(&release, component) => {}
                None => {
                    return Err(DebianError::NoIndex {
                        url,
                        component: component.clone(),
                        architecture: architecture.to_owned(),
                    });
                }
            }
        }
    }
    let pin = IndexPin {
        suite: source.suite.clone(),
        digest: Digest::sha256(&signed),
        date: date::display(release.date),
    };
    Ok((pin, records))
}

/// One `Packages` file, as the Release file announces it.
struct Index<'a> {
    base: &'a str,
    path: &'a str,
    file: &'a IndexFile,
    compression: Compression,
    release: &'a Release,
}

/// Whether an archive has a component for any architecture.
fn has(release: &Release, component: &str) -> bool {
    let begin = format!("{component}/binary-");
    let from = std::ops::Bound::Included(begin.clone());
    let mut files = release.files.range((from, std::ops::Bound::Unbounded));
    files.next().is_some_and(|(path, _)| path.starts_with(&begin))
}

/// The best form of a folder's `Packages` that the Release file announces.
fn choose<'a>(release: &'a Release, folder: &str) -> Option<(&'a str, &'a IndexFile, Compression)> {
    let forms = [(".xz", Compression::Xz), (".gz", Compression::Gzip), ("", Compression::None)];
    forms.into_iter().find_map(|(suffix, compression)| {
        let (path, file) = release.files.get_key_value(&format!("{folder}/Packages{suffix}"))?;
        Some((path.as_str(), file, compression))
    })
}

impl Index<'_> {
    /// The decompressed text, bounded by the size that the Release file gives for it.
    fn open(
        &self,
        fetch: &dyn Fetch,
        packages: &dyn Packages,
        on: &(dyn Fn(Progress) + Sync),
    ) -> Result<Box<dyn Read + Send>, DebianError> {
        let (digest, size) = (&self.file.digest, self.file.size);
        let plain = format!("{}/{}", self.base, self.path);
        if size > INDEX_LIMIT {
            return Err(DebianError::TooLarge { url: plain, limit: INDEX_LIMIT });
        }
        let mut urls = Vec::new();
        if self.release.by_hash {
            let folder = self.path.rsplit_once('/').map_or("", |(folder, _)| folder);
            urls.push(format!("{}/{folder}/by-hash/SHA256/{}", self.base, digest.hex()));
        }
        urls.push(plain.clone());
        on(Progress::Index { url: plain.clone() });
        let file = obtain(fetch, packages, &urls, digest, size, &|n| on(Progress::Bytes(n)))?;
        let text = self.path.trim_end_matches(".xz").trim_end_matches(".gz");
        let limit = self.release.files.get(text).map_or(INDEX_LIMIT, |file| file.size);
        let open = decompress(file, self.compression)
            .map_err(|source| DebianError::Read { package: plain, source })?;
        Ok(Box::new(open.take(limit.min(INDEX_LIMIT))))
    }
}

/// Reads the packages of an index that are for `architecture`.
fn read(
    text: Box<dyn Read + Send>,
    object: &str,
    architecture: &str,
    source: usize,
    records: &mut Vec<Record>,
) -> Result<(), DebianError> {
    for paragraph in Paragraphs::new(BufReader::with_capacity(256 << 10, text)) {
        let paragraph = paragraph
            .map_err(|source| DebianError::Control { object: object.to_owned(), source })?;
        if matches!(paragraph.get("Architecture"), Some(a) if a == architecture || a == "all") {
            records.push(record(&paragraph, object, source)?);
        }
    }
    Ok(())
}

fn record(paragraph: &Paragraph, object: &str, source: usize) -> Result<Record, DebianError> {
    let name = paragraph.get("Package").unwrap_or("");
    let fail = |field: &'static str, reason: &str| DebianError::Field {
        object: format!("{object}: package `{name}`"),
        field,
        reason: reason.to_owned(),
    };
    let need =
        |field: &'static str| paragraph.get(field).ok_or_else(|| fail(field, "it is missing"));
    let optional = |field: &str| paragraph.get(field).filter(|v| !v.is_empty()).map(Into::into);
    if !crate::relation::is_name(name) {
        return Err(fail("Package", "it is not a package name"));
    }
    let filename = need("Filename")?;
    let filename = filename.strip_prefix("./").unwrap_or(filename);
    if filename.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(fail("Filename", "it is not a path inside the archive"));
    }
    Ok(Record {
        name: name.into(),
        version: need("Version")?
            .parse()
            .map_err(|e: crate::version::VersionError| fail("Version", &e.to_string()))?,
        all: paragraph.get("Architecture") == Some("all"),
        multi_arch: match paragraph.get("Multi-Arch") {
            Some("same") => MultiArch::Same,
            Some("foreign") => MultiArch::Foreign,
            Some("allowed") => MultiArch::Allowed,
            _ => MultiArch::No,
        },
        essential: paragraph.get("Essential") == Some("yes"),
        priority: match paragraph.get("Priority") {
            Some("required") => Priority::Required,
            Some("important") => Priority::Important,
            Some("standard") => Priority::Standard,
            _ => Priority::Optional,
        },
        depends: optional("Depends"),
        pre_depends: optional("Pre-Depends"),
        recommends: optional("Recommends"),
        conflicts: optional("Conflicts"),
        breaks: optional("Breaks"),
        provides: optional("Provides"),
        filename: filename.into(),
        size: need("Size")?.parse().map_err(|_| fail("Size", "it is not a number"))?,
        sha256: format!("sha256:{}", need("SHA256")?)
            .parse()
            .map_err(|_| fail("SHA256", "it is not a SHA-256"))?,
        source,
    })
}
