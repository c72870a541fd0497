//! Entries to tar bytes, in one fixed form.
//!
//! ustar headers without names of users, magic `ustar` version `00`, numbers as zero-padded octal;
//! a pax header before an entry only where ustar cannot say it (long or non-ASCII names, numbers
//! out of range, fractions of seconds, extended attributes), records sorted by key; two zero
//! blocks at the end. The same entries give the same bytes.

use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::header::{self, Block};
use super::{BLOCK, Entry, EntryKind, pax};
use crate::error::LayerError;

/// Name of every pax header entry; readers that know pax never show it.
const PAX_NAME: &[u8] = b"PaxHeaders/entry";
const ZEROS: [u8; 2 * BLOCK] = [0; 2 * BLOCK];

/// Writes a tar archive.
pub struct Writer<W: Write> {
    out: W,
    buffer: Vec<u8>,
}

impl<W: Write> Writer<W> {
    /// A writer of an empty archive.
    pub fn new(out: W) -> Writer<W> {
        Writer { out, buffer: vec![0; 256 * 1024] }
    }

    /// Appends one entry; exactly `entry.size` bytes are taken from `content`.
    ///
    /// Fails with [`LayerError::Changed`] when `content` ends before, and when it has more.
    pub fn append(&mut self, entry: &Entry, content: &mut dyn Read) -> Result<(), LayerError> {
        self.put(&encode(entry))?;
        if entry.kind != EntryKind::File {
            return Ok(());
        }
        let mut left = entry.size;
        loop {
            let want = left.min(self.buffer.len() as u64) as usize;
            // One byte more than announced shows that the file grew.
            let got = content
                .read(&mut self.buffer[..want.max(1)])
                .map_err(LayerError::io("read", &entry.path))?;
            match (left, got) {
                (0, 0) => break,
                (0, _) | (_, 0) => return Err(LayerError::Changed { path: entry.path.clone() }),
                _ => {
                    left -= got as u64;
                    self.out
                        .write_all(&self.buffer[..got])
                        .map_err(|source| LayerError::Write { source })?;
                }
            }
        }
        self.put(&ZEROS[..padding(entry.size)])
    }

    /// Ends the archive with two zero blocks and returns what it was written to.
    pub fn finish(mut self) -> Result<W, LayerError> {
        self.put(&ZEROS)?;
        Ok(self.out)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), LayerError> {
        self.out.write_all(bytes).map_err(|source| LayerError::Write { source })
    }
}

/// Bytes from the end of `size` bytes of content to the next block.
pub(super) fn padding(size: u64) -> usize {
    ((BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64) as usize
}

/// The header blocks of an entry.
fn encode(entry: &Entry) -> Vec<u8> {
    let mut records: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    let mut note =
        |key: &str, value: &[u8]| records.push((key.as_bytes().to_vec(), value.to_vec()));

    let mut block = Block::new(type_flag(entry.kind));
    let name = stored_name(entry);
    match split(&name) {
        Some((prefix, rest)) => {
            block.set_bytes(&header::PREFIX, prefix);
            block.set_bytes(&header::NAME, rest);
            if needs_record(&name) {
                note("path", &name);
            }
        }
        None => {
            block.set_bytes(&header::NAME, &name);
            note("path", &name);
        }
    }
    let link = entry.link.as_os_str().as_bytes();
    block.set_bytes(&header::LINK, link);
    if link.len() > 100 || needs_record(link) {
        note("linkpath", link);
    }
    block.set_number(&header::MODE, i64::from(entry.mode & 0o7777));
    if !block.set_number(&header::UID, i64::from(entry.uid)) {
        note("uid", entry.uid.to_string().as_bytes());
    }
    if !block.set_number(&header::GID, i64::from(entry.gid)) {
        note("gid", entry.gid.to_string().as_bytes());
    }
    let size = if entry.kind == EntryKind::File { entry.size } else { 0 };
    if !block.set_number(&header::SIZE, i64::try_from(size).unwrap_or(-1)) {
        note("size", size.to_string().as_bytes());
    }
    if !block.set_number(&header::MTIME, entry.mtime.secs) || entry.mtime.nanos != 0 {
        note("mtime", pax::format_time(entry.mtime).as_bytes());
    }
    block.set_number(&header::DEVICE_MAJOR, i64::from(entry.device.0));
    block.set_number(&header::DEVICE_MINOR, i64::from(entry.device.1));
    block.set_checksum();
    for (key, value) in &entry.xattrs {
        records.push(([b"SCHILY.xattr.", key.as_bytes()].concat(), value.clone()));
    }
    records.sort();
    let mut bytes = pax_header(&records);
    bytes.extend_from_slice(&block.0);
    bytes
}

/// The pax header entry that carries the records; empty without records.
fn pax_header(records: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    if records.is_empty() {
        return Vec::new();
    }
    let content: Vec<u8> =
        records.iter().flat_map(|(key, value)| pax::record(key, value)).collect();
    let mut block = Block::new(b'x');
    block.set_bytes(&header::NAME, PAX_NAME);
    block.set_number(&header::MODE, 0o644);
    for field in
        [&header::UID, &header::GID, &header::MTIME, &header::DEVICE_MAJOR, &header::DEVICE_MINOR]
    {
        block.set_number(field, 0);
    }
    block.set_number(&header::SIZE, content.len() as i64);
    block.set_checksum();
    let mut bytes = block.0.to_vec();
    bytes.extend_from_slice(&content);
    bytes.extend_from_slice(&ZEROS[..padding(content.len() as u64)]);
    bytes
}

fn type_flag(kind: EntryKind) -> u8 {
    match kind {
        EntryKind::File => b'0',
        EntryKind::HardLink => b'1',
        EntryKind::Symlink => b'2',
        EntryKind::CharDevice => b'3',
        EntryKind::BlockDevice => b'4',
        EntryKind::Directory => b'5',
        EntryKind::Fifo => b'6',
    }
}

/// The name as stored: directories end in a slash.
fn stored_name(entry: &Entry) -> Vec<u8> {
    let mut name = entry.path.as_os_str().as_bytes().to_vec();
    if entry.kind == EntryKind::Directory && !name.ends_with(b"/") {
        name.push(b'/');
    }
    name
}

/// pax records are UTF-8: a non-ASCII name gets one, a name that is not UTF-8 stays raw bytes.
fn needs_record(name: &[u8]) -> bool {
    !name.is_ascii() && Path::new(std::ffi::OsStr::from_bytes(name)).to_str().is_some()
}

/// Prefix and name fields for a name; none when it fits in no split at a slash.
fn split(name: &[u8]) -> Option<(&[u8], &[u8])> {
    if name.len() <= 100 {
        return Some((b"", name));
    }
    // The leftmost slash that leaves a short enough name; a directory's own slash stays in it.
    let first = name.len().checked_sub(101)?;
    let slash = (first..name.len().saturating_sub(1).min(156)).find(|at| name[*at] == b'/')?;
    if slash == 0 || slash + 1 == name.len() {
        return None;
    }
    Some((&name[..slash], &name[slash + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_split_at_a_slash() {
        let name = [vec![b'a'; 60], b"/".to_vec(), vec![b'b'; 60]].concat();
        assert_eq!(split(&name).unwrap(), (&vec![b'a'; 60][..], &vec![b'b'; 60][..]));
        assert_eq!(split(&[b'a'; 100]).unwrap().1.len(), 100);
        assert_eq!(split(&[b'a'; 101]), None);
        let directory = [vec![b'a'; 100], b"/".to_vec()].concat();
        assert_eq!(split(&directory), None, "an empty name field would be lost");
        let deep = [vec![b'a'; 155], b"/".to_vec(), vec![b'b'; 100]].concat();
        assert_eq!(split(&deep).unwrap().0.len(), 155);
        let too_deep = [vec![b'a'; 156], b"/".to_vec(), vec![b'b'; 99]].concat();
        assert_eq!(split(&too_deep), None);
    }

    #[test]
    fn content_that_grows_or_shrinks_is_an_error() {
        let mut entry = Entry::new("x", EntryKind::File);
        entry.size = 3;
        for content in [&b"ab"[..], b"abcd"] {
            let mut writer = Writer::new(Vec::new());
            let error = writer.append(&entry, &mut &content[..]).unwrap_err();
            assert!(matches!(error, LayerError::Changed { .. }), "{error}");
        }
    }
}
