//! Layers to the tree of files that they make, in memory, with all that a layer can say of a file.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use anyarch_oci::Digest;

/// The files of an image.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    names: BTreeMap<String, usize>,
    files: Vec<File>,
}

/// What all names of a file have in common.
#[derive(Clone, Debug)]
pub struct File {
    pub kind: &'static str,
    pub mode: u32,
    pub owner: (u64, u64),
    pub mtime: u64,
    pub size: u64,
    /// The text where it is short, else a digest.
    pub content: String,
    pub target: String,
    pub device: Option<(u32, u32)>,
    pub xattrs: BTreeMap<String, String>,
}

impl Tree {
    /// Applies a layer (image-spec, "Image Layer Filesystem Changeset"); the number of its entries,
    /// without the root.
    pub fn apply(&mut self, layer: &[u8]) -> usize {
        let mut archive = tar::Archive::new(layer);
        let mut new = BTreeSet::new();
        let mut count = 0;
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let path = clean(&entry.path_bytes());
            if path.is_empty() {
                continue;
            }
            count += 1;
            let (folder, name) = path.rsplit_once('/').unwrap_or(("", &path));
            if name == ".wh..wh..opq" {
                self.remove_below(folder, &new);
            } else if let Some(name) = name.strip_prefix(".wh.") {
                let gone = if folder.is_empty() { name.into() } else { format!("{folder}/{name}") };
                self.remove_below(&gone, &new);
                if !new.contains(&gone) {
                    self.names.remove(&gone);
                }
            } else {
                self.add(&path, &mut entry);
                new.insert(path);
            }
        }
        count
    }

    fn remove_below(&mut self, folder: &str, new: &BTreeSet<String>) {
        let prefix = format!("{folder}/");
        self.names.retain(|path, _| !path.starts_with(&prefix) || new.contains(path));
    }

    fn add(&mut self, path: &str, entry: &mut tar::Entry<'_, &[u8]>) {
        let target = entry.link_name_bytes().map(|bytes| String::from_utf8_lossy(&bytes).into());
        let target: String = target.unwrap_or_default();
        let file = match entry.header().entry_type() {
            tar::EntryType::Link => self.names[&clean(target.as_bytes())],
            _ => {
                self.files.push(read_file(entry, target));
                self.files.len() - 1
            }
        };
        if self.files[file].kind != "directory" {
            self.remove_below(path, &BTreeSet::new());
        }
        self.names.insert(path.to_owned(), file);
    }

    pub fn paths(&self) -> impl Iterator<Item = &String> {
        self.names.keys()
    }

    pub fn get(&self, path: &str) -> Option<&File> {
        self.names.get(path).map(|file| &self.files[*file])
    }

    /// All names of the file at a path.
    pub fn names_of(&self, path: &str) -> Vec<&str> {
        let Some(file) = self.names.get(path) else { return Vec::new() };
        self.names
            .iter()
            .filter(|(_, other)| *other == file)
            .map(|(name, _)| name.as_str())
            .collect()
    }
}

/// A path without what means nothing in it.
fn clean(path: &[u8]) -> String {
    let path = String::from_utf8_lossy(path);
    path.split('/').filter(|part| !matches!(*part, "" | ".")).collect::<Vec<_>>().join("/")
}

fn read_file(entry: &mut tar::Entry<'_, &[u8]>, target: String) -> File {
    let mut xattrs = BTreeMap::new();
    if let Some(extensions) = entry.pax_extensions().unwrap() {
        for extension in extensions {
            let extension = extension.unwrap();
            if let Some(name) = extension.key().unwrap().strip_prefix("SCHILY.xattr.") {
                xattrs.insert(name.to_owned(), shown(extension.value_bytes()));
            }
        }
    }
    let header = entry.header().clone();
    let kind = match header.entry_type() {
        tar::EntryType::Directory => "directory",
        tar::EntryType::Symlink => "link",
        tar::EntryType::Fifo => "fifo",
        tar::EntryType::Char => "character device",
        tar::EntryType::Block => "block device",
        _ => "file",
    };
    let mut content = Vec::new();
    entry.read_to_end(&mut content).unwrap();
    let device = kind.ends_with("device").then(|| {
        let number = |number: Option<u32>| number.unwrap_or_default();
        (number(header.device_major().unwrap()), number(header.device_minor().unwrap()))
    });
    File {
        kind,
        mode: header.mode().unwrap() & 0o7777,
        owner: (header.uid().unwrap(), header.gid().unwrap()),
        mtime: header.mtime().unwrap(),
        size: content.len() as u64,
        content: shown(&content),
        target,
        device,
        xattrs,
    }
}

/// Bytes for people: as text where they are short.
fn shown(bytes: &[u8]) -> String {
    match bytes.len() {
        0..500 => format!("\"{}\"", bytes.escape_ascii()),
        _ => Digest::sha256(bytes).to_string(),
    }
}
