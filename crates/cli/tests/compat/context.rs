//! The entries of a case to tar archives and to folders.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::case::{CONTEXT_TIME, Case, Entry, Kind};

/// Writes the context of a case, and what is beside it.
pub fn write(case: &Case, context: &Path, beside: &Path) {
    fs::create_dir_all(context).unwrap();
    fs::create_dir_all(beside).unwrap();
    let mut entries = case.context.clone();
    entries.push(Entry { mode: 0o644, ..plain("Dockerfile", Kind::File(case.dockerfile.clone())) });
    let entries = with_parents(entries);
    let mut extract = Command::new("tar");
    extract.args(["--extract", "--preserve-permissions", "--same-owner", "--xattrs"]);
    extract.args(["--xattrs-include=*", "--directory"]).arg(context);
    piped(&mut extract, &tar(&entries));
    for path in &case.sockets {
        drop(UnixListener::bind(context.join(path)).unwrap());
    }
    for (path, content) in &case.beside {
        fs::write(beside.join(path), content).unwrap();
    }
}

fn plain(path: &str, kind: Kind) -> Entry {
    let mtime = CONTEXT_TIME;
    let (path, xattrs) = (path.to_owned(), Default::default());
    Entry { path, kind, mode: 0o755, owner: (0, 0), mtime, xattrs }
}

/// The root and every directory that is implied come first, so that their times are known too.
fn with_parents(entries: Vec<Entry>) -> Vec<Entry> {
    let known: BTreeSet<String> = entries.iter().map(|entry| entry.path.clone()).collect();
    let mut implied = BTreeSet::from([".".to_owned()]);
    for path in &known {
        implied.extend(path.match_indices('/').map(|(at, _)| path[..at].to_owned()));
    }
    let implied = implied.difference(&known).map(|path| plain(path, Kind::Directory));
    implied.chain(entries).collect()
}

/// A tar archive of these entries.
pub fn tar(entries: &[Entry]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for entry in entries {
        append(&mut archive, entry);
    }
    archive.into_inner().unwrap()
}

fn append(archive: &mut tar::Builder<Vec<u8>>, entry: &Entry) {
    let names: Vec<(String, &[u8])> = entry
        .xattrs
        .iter()
        .map(|(name, value)| (format!("SCHILY.xattr.{name}"), value.as_slice()))
        .collect();
    if !names.is_empty() {
        let names = names.iter().map(|(name, value)| (name.as_str(), *value));
        archive.append_pax_extensions(names).unwrap();
    }
    let mut header = tar::Header::new_gnu();
    header.set_mode(entry.mode);
    header.set_uid(entry.owner.0);
    header.set_gid(entry.owner.1);
    header.set_mtime(entry.mtime);
    header.set_size(0);
    let mut content = Vec::new();
    let mut target = None;
    let kind = match &entry.kind {
        Kind::File(text) => {
            content.clone_from(text);
            tar::EntryType::Regular
        }
        Kind::Archive(inside) => {
            content = compressed(&entry.path, tar(inside));
            tar::EntryType::Regular
        }
        Kind::Directory => tar::EntryType::Directory,
        Kind::Link(to) => {
            target = Some(to);
            tar::EntryType::Symlink
        }
        Kind::Hard(to) => {
            target = Some(to);
            tar::EntryType::Link
        }
        Kind::Fifo => tar::EntryType::Fifo,
        Kind::Char(major, minor) => {
            header.set_device_major(*major).unwrap();
            header.set_device_minor(*minor).unwrap();
            tar::EntryType::Char
        }
    };
    header.set_entry_type(kind);
    header.set_size(content.len() as u64);
    // Written as they are: archives may hold names that lead elsewhere.
    let old = header.as_old_mut();
    old.name[..entry.path.len()].copy_from_slice(entry.path.as_bytes());
    if let Some(target) = target {
        old.linkname[..target.len()].copy_from_slice(target.as_bytes());
    }
    header.set_cksum();
    archive.append(&header, &content[..]).unwrap();
}

/// Compressed as the name says.
fn compressed(name: &str, bytes: Vec<u8>) -> Vec<u8> {
    let ending = name.rsplit('.').next().unwrap_or_default();
    match ending {
        "gz" | "tgz" => {
            let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            writer.write_all(&bytes).unwrap();
            writer.finish().unwrap()
        }
        "zst" => zstd::encode_all(&bytes[..], 1).unwrap(),
        "bz2" => piped(&mut Command::new("bzip2"), &bytes),
        "xz" => piped(&mut Command::new("xz"), &bytes),
        _ => bytes,
    }
}

/// What a program makes of its standard input.
fn piped(command: &mut Command, input: &[u8]) -> Vec<u8> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(input).unwrap());
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{command:?}");
        output.stdout
    })
}
