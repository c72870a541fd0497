//! The tar format: entries to bytes ([`Writer`]) and bytes to entries ([`Reader`]).
//!
//! Writes ustar with pax records only where ustar cannot say it; reads ustar, pax, GNU (long
//! names, sparse files) and v7. Knows nothing of layers, whiteouts or file systems.

mod header;
mod pax;
mod reader;
mod sparse;
mod writer;

use std::path::PathBuf;

use crate::metadata::Time;
use crate::xattr::Xattrs;

pub use reader::Reader;
pub use writer::Writer;

/// Size of a tar block in bytes.
pub(crate) const BLOCK: usize = 512;

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EntryKind {
    /// A regular file, its content follows.
    File,
    /// Another name of a file that came before in the archive (or is in the tree already).
    HardLink,
    /// A symbolic link.
    Symlink,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// A directory.
    Directory,
    /// A named pipe.
    Fifo,
}

/// One member of an archive without its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Name as in the archive, without a directory's closing slash.
    pub path: PathBuf,
    /// What it is.
    pub kind: EntryKind,
    /// Permission bits with setuid, setgid and sticky: the low 12 bits.
    pub mode: u32,
    /// Numeric owner.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
    /// Length of a regular file in bytes, holes included; 0 for everything else.
    pub size: u64,
    /// Modification time.
    pub mtime: Time,
    /// Target of a symbolic or hard link; empty for everything else.
    pub link: PathBuf,
    /// Major and minor number of a device node.
    pub device: (u32, u32),
    /// Extended attributes by full name.
    pub xattrs: Xattrs,
}

impl Entry {
    /// An entry with this name and kind, owned by root, mode 0755 for a directory and 0644 else,
    /// of 1970-01-01.
    pub fn new(path: impl Into<PathBuf>, kind: EntryKind) -> Entry {
        Entry {
            path: path.into(),
            kind,
            mode: if kind == EntryKind::Directory { 0o755 } else { 0o644 },
            uid: 0,
            gid: 0,
            size: 0,
            mtime: Time::default(),
            link: PathBuf::new(),
            device: (0, 0),
            xattrs: Xattrs::new(),
        }
    }

    /// The name for messages.
    pub fn name(&self) -> String {
        self.path.display().to_string()
    }
}
