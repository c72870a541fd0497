//! One package's data into the root, with dpkg's rules for what is already there.
//!
//! - A folder that exists, also through a symbolic link, stays as it is; a link never replaces a folder.
//! - A file of another package is replaced only by a package that `Replaces` that one.
//! - Configuration files of packages outside the base wait as `NAME.dpkg-new` until dpkg configures them.
//! - Files that the caller does not want are passed over, as if somebody had removed them afterwards.
//!
//! Owners, modes and times come from the archive. Every path goes through [`Root`] and stays inside.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsString;
use std::fs::{File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyarch_layer::{Kind, Root, Time};
use md5::{Digest as _, Md5};
use tar::EntryType;

use crate::control::Paragraph;
use crate::error::DebianError;
use crate::relation;

/// The ending of configuration files that are not in their place yet.
pub(crate) const NEW: &str = ".dpkg-new";

/// What the extraction of all packages shares.
pub(crate) struct Extraction<'a> {
    pub(crate) root: &'a Root,
    architecture: String,
    /// Whether a file or link is wanted, by its absolute path.
    keep: &'a dyn Fn(&str) -> bool,
    /// Which package (position) owns a file, by its path without the links of merged /usr.
    owners: HashMap<PathBuf, usize>,
    /// Names, versions and `Replaces` of the packages so far.
    packages: Vec<Paragraph>,
    /// Times of the folders made, set last because files below change them.
    folders: BTreeMap<PathBuf, Time>,
    /// Files that a later package took over, by the package that had them.
    pub(crate) lost: BTreeMap<usize, BTreeSet<String>>,
}

/// What the caller asks of one package.
pub(crate) struct Wishes<'a> {
    /// Absolute paths of configuration files.
    pub(crate) conffiles: &'a BTreeSet<String>,
    /// Whether configuration files wait as `.dpkg-new`.
    pub(crate) defer_conffiles: bool,
    /// Whether digests of all regular files are wanted, not only of configuration files.
    pub(crate) hash_all: bool,
}

/// What one package brought.
#[derive(Default)]
pub(crate) struct Extracted {
    /// Paths for `info/*.list`, in the order of the archive.
    pub(crate) files: Vec<String>,
    /// MD5 of regular files, absolute paths.
    pub(crate) md5: BTreeMap<String, String>,
}

impl<'a> Extraction<'a> {
    pub(crate) fn new(
        root: &'a Root,
        architecture: &str,
        keep: &'a dyn Fn(&str) -> bool,
    ) -> Extraction<'a> {
        Extraction {
            root,
            architecture: architecture.to_owned(),
            keep,
            owners: HashMap::new(),
            packages: Vec::new(),
            folders: BTreeMap::new(),
            lost: BTreeMap::new(),
        }
    }

    /// Extracts the tar stream of one package; `control` is its control file.
    pub(crate) fn package(
        &mut self,
        control: &Paragraph,
        data: &mut dyn Read,
        wishes: &Wishes<'_>,
    ) -> Result<Extracted, DebianError> {
        let package = control.get("Package").unwrap_or("").to_owned();
        let number = self.packages.len();
        self.packages.push(control.clone());
        let read = |source| DebianError::Read { package: package.clone(), source };
        let mut extracted = Extracted::default();
        {
            let mut archive = tar::Archive::new(&mut *data);
            for entry in archive.entries().map_err(read)? {
                let mut entry = entry.map_err(read)?;
                let path = normalize(&package, &entry.path_bytes())?;
                extracted.files.push(path.clone());
                if path == "/." {
                    continue;
                }
                let mut item = Item { package: &package, number, path: &path, wishes };
                if let Some(md5) = self.entry(&mut item, &mut entry)? {
                    extracted.md5.insert(path, md5);
                }
            }
        }
        // To the end of the stream, where compressors keep their checksums.
        io::copy(data, &mut io::sink()).map_err(read)?;
        Ok(extracted)
    }

    /// Sets the times of all folders made; to be called once, last.
    pub(crate) fn finish(self) -> Result<Self, DebianError> {
        for (path, time) in self.folders.iter().rev() {
            self.root
                .set_mtime(path, *time)
                .map_err(DebianError::root("set the times of", &show(path)))?;
        }
        Ok(self)
    }

    fn entry<R: Read>(
        &mut self,
        item: &mut Item<'_>,
        entry: &mut tar::Entry<'_, R>,
    ) -> Result<Option<String>, DebianError> {
        let malformed =
            |reason: String| DebianError::Package { package: item.package.to_owned(), reason };
        let header = entry.header();
        let bad = |e: io::Error| malformed(format!("{}: {e}", item.path));
        let owner = (header.uid().map_err(bad)?, header.gid().map_err(bad)?);
        let owner = (u32::try_from(owner.0), u32::try_from(owner.1));
        let (Ok(uid), Ok(gid)) = owner else {
            return Err(malformed(format!("{}: owner out of range", item.path)));
        };
        let mode = header.mode().map_err(bad)? & 0o7777;
        let mtime = i64::try_from(header.mtime().map_err(bad)?).unwrap_or(0);
        let attributes = Attributes { mode, uid, gid, mtime: Time::from_secs(mtime) };
        let kind = header.entry_type();
        let link = entry.link_name_bytes().map(|name| name.into_owned());
        let devices = (header.device_major().ok().flatten(), header.device_minor().ok().flatten());
        let path = Path::new(item.path);
        if kind == EntryType::Directory {
            return self.folder(path, &attributes).map(|()| None);
        }
        if !self.may_write(item)? {
            return Ok(None);
        }
        let hash = item.wishes.hash_all || item.wishes.conffiles.contains(item.path);
        if !(self.keep)(item.path) {
            let file =
                matches!(kind, EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse);
            if !(file && hash) {
                return Ok(None);
            }
            return copy(entry, &mut io::sink(), item, true);
        }
        let deferred = item.wishes.defer_conffiles && item.wishes.conffiles.contains(item.path);
        let target =
            if deferred { PathBuf::from(format!("{}{NEW}", item.path)) } else { path.to_owned() };
        if kind == EntryType::Symlink && self.is_folder(&target) {
            return Ok(None);
        }
        self.make_way(&target)?;
        let root = self.root;
        let fail = |operation| DebianError::root(operation, item.path);
        match kind {
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                let file = root.create_file(&target, 0o600).map_err(fail("make"))?;
                return write_file(root, file, entry, &attributes, item, hash);
            }
            EntryType::Link => {
                let name =
                    link.ok_or_else(|| malformed(format!("{}: link without target", item.path)))?;
                let mut existing = normalize(item.package, &name)?;
                if !(self.keep)(&existing) {
                    return Ok(None);
                }
                if item.wishes.defer_conffiles && item.wishes.conffiles.contains(&existing) {
                    existing.push_str(NEW);
                }
                root.hard_link(Path::new(&existing), &target).map_err(fail("link"))?;
                return Ok(None);
            }
            EntryType::Symlink => {
                let name =
                    link.ok_or_else(|| malformed(format!("{}: link without target", item.path)))?;
                let name = OsString::from_vec(name);
                root.symlink(Path::new(&name), &target).map_err(fail("link"))?;
            }
            EntryType::Fifo => root.create_fifo(&target, mode).map_err(fail("make"))?,
            EntryType::Char | EntryType::Block => {
                let kind =
                    if kind == EntryType::Char { Kind::CharDevice } else { Kind::BlockDevice };
                let (Some(major), Some(minor)) = devices else {
                    return Err(malformed(format!("{}: device without numbers", item.path)));
                };
                root.create_device(&target, kind, mode, (major, minor)).map_err(fail("make"))?;
            }
            other => return Err(malformed(format!("{}: entry of type {other:?}", item.path))),
        }
        root.set_owner(&target, uid, gid).map_err(fail("set the owner of"))?;
        root.set_mtime(&target, attributes.mtime).map_err(fail("set the times of"))?;
        Ok(None)
    }

    /// A folder: as it is when it exists, else made.
    fn folder(&mut self, path: &Path, attributes: &Attributes) -> Result<(), DebianError> {
        let fail = |operation| DebianError::root(operation, &show(path));
        match self.root.metadata(path) {
            Ok(metadata) if metadata.is_dir() => return Ok(()),
            Ok(_) => self.root.remove_file(path).map_err(fail("remove"))?,
            Err(error) if error.is_not_found() => self.make_way(path)?,
            Err(error) => return Err(fail("look at")(error)),
        }
        self.root.create_dir(path, attributes.mode).map_err(fail("make"))?;
        self.root
            .set_owner(path, attributes.uid, attributes.gid)
            .map_err(fail("set the owner of"))?;
        // Changing the owner takes setuid and setgid away.
        self.root.set_mode(path, attributes.mode).map_err(fail("set the mode of"))?;
        self.folders.insert(path.to_owned(), attributes.mtime);
        Ok(())
    }

    fn is_folder(&self, path: &Path) -> bool {
        self.root.symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir())
    }

    /// Removes a file in the way and makes missing folders above.
    fn make_way(&self, path: &Path) -> Result<(), DebianError> {
        let fail = |operation| DebianError::root(operation, &show(path));
        match self.root.symlink_metadata(path) {
            Ok(metadata) if metadata.is_dir() => {
                let reason = std::io::Error::from(io::ErrorKind::IsADirectory);
                Err(DebianError::Root {
                    operation: "replace",
                    path: show(path),
                    source: Box::new(reason),
                })
            }
            Ok(_) => self.root.remove_file(path).map_err(fail("remove")),
            Err(error) if error.is_not_found() => {
                let parent = path.parent().unwrap_or(Path::new("/"));
                self.root.create_dir_all(parent, 0o755, 0, 0).map_err(fail("make the folder of"))
            }
            Err(error) => Err(fail("look at")(error)),
        }
    }

    /// Whether this package's file goes there: an error when another package has it without being replaced.
    fn may_write(&mut self, item: &Item<'_>) -> Result<bool, DebianError> {
        let key = merged(item.path);
        let Some(owner) = self.owners.get(&key).copied().filter(|owner| *owner != item.number)
        else {
            self.owners.insert(key, item.number);
            return Ok(true);
        };
        let replaces =
            |newer: usize, older: usize| match (self.packages.get(newer), self.packages.get(older))
            {
                (Some(newer), Some(older)) => replaces(newer, older, &self.architecture),
                _ => false,
            };
        if replaces(item.number, owner) {
            self.lost.entry(owner).or_default().insert(item.path.to_owned());
            self.owners.insert(key, item.number);
            return Ok(true);
        }
        if replaces(owner, item.number) {
            self.lost.entry(item.number).or_default().insert(item.path.to_owned());
            return Ok(false);
        }
        let name =
            |n: usize| self.packages.get(n).and_then(|p| p.get("Package")).unwrap_or("").to_owned();
        Err(DebianError::FileConflict {
            path: item.path.to_owned(),
            first: name(owner),
            second: item.package.to_owned(),
        })
    }
}

/// The entry at hand.
struct Item<'a> {
    package: &'a str,
    number: usize,
    path: &'a str,
    wishes: &'a Wishes<'a>,
}

struct Attributes {
    mode: u32,
    uid: u32,
    gid: u32,
    mtime: Time,
}

/// Fills a new file and gives it its attributes; returns its MD5 when asked.
fn write_file(
    root: &Root,
    mut file: File,
    content: &mut impl Read,
    attributes: &Attributes,
    item: &Item<'_>,
    hash: bool,
) -> Result<Option<String>, DebianError> {
    let failed = |operation| {
        move |source: io::Error| DebianError::Root {
            operation,
            path: item.path.to_owned(),
            source: Box::new(source),
        }
    };
    let md5 = copy(content, &mut file, item, hash)?;
    let (uid, gid) = (attributes.uid, attributes.gid);
    root.set_file_owner(&file, Path::new(item.path), uid, gid)
        .map_err(DebianError::root("set the owner of", item.path))?;
    file.set_permissions(Permissions::from_mode(attributes.mode))
        .map_err(failed("set the mode of"))?;
    let since = std::time::Duration::from_secs(u64::try_from(attributes.mtime.secs).unwrap_or(0));
    file.set_modified(std::time::SystemTime::UNIX_EPOCH + since)
        .map_err(failed("set the times of"))?;
    Ok(md5)
}

/// Writes the content of an entry; returns its MD5 when asked.
fn copy(
    content: &mut impl Read,
    out: &mut dyn Write,
    item: &Item<'_>,
    hash: bool,
) -> Result<Option<String>, DebianError> {
    let mut md5 = hash.then(Md5::new);
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = content.read(&mut buffer);
        let read =
            read.map_err(|source| DebianError::Read { package: item.package.to_owned(), source })?;
        let Some(block) = buffer.get(..read).filter(|block| !block.is_empty()) else { break };
        out.write_all(block).map_err(|source| DebianError::Root {
            operation: "write",
            path: item.path.to_owned(),
            source: Box::new(source),
        })?;
        if let Some(md5) = &mut md5 {
            md5.update(block);
        }
    }
    Ok(md5.map(|md5| md5.finalize().iter().map(|byte| format!("{byte:02x}")).collect()))
}

/// Whether `newer` has `Replaces` for `older`.
fn replaces(newer: &Paragraph, older: &Paragraph, architecture: &str) -> bool {
    let name = older.get("Package").unwrap_or("");
    let version = older.get("Version").and_then(|version| version.parse().ok());
    let relations = relation::parse(newer.get("Replaces").unwrap_or(""), architecture);
    relations.unwrap_or_default().iter().flatten().any(|relation| {
        relation.name == name && version.as_ref().is_some_and(|version| relation.accepts(version))
    })
}

/// `./usr/bin/x` to `/usr/bin/x`, `./` to `/.` as dpkg lists it; refuses `..`.
fn normalize(package: &str, bytes: &[u8]) -> Result<String, DebianError> {
    let malformed = |reason: String| DebianError::Package { package: package.to_owned(), reason };
    let text = std::str::from_utf8(bytes)
        .map_err(|_| malformed(format!("`{}` is not UTF-8", String::from_utf8_lossy(bytes))))?;
    let mut path = String::new();
    for part in text.split('/').filter(|part| !matches!(*part, "" | ".")) {
        if part == ".." || part.contains(['\0', '\n']) {
            return Err(malformed(format!("`{text}` is not a path that a package may have")));
        }
        path.push('/');
        path.push_str(part);
    }
    Ok(if path.is_empty() { "/.".to_owned() } else { path })
}

/// A path without the links of merged /usr, so that `/bin/x` and `/usr/bin/x` are one file.
fn merged(path: &str) -> PathBuf {
    let first = path.trim_start_matches('/').split('/').next().unwrap_or("");
    let moved = matches!(first, "bin" | "sbin") || first.starts_with("lib");
    PathBuf::from(if moved { format!("/usr{path}") } else { path.to_owned() })
}

fn show(path: &Path) -> String {
    path.display().to_string()
}
