//! What the kernel knows about one file, without its name and content.

use rustix::fs::{FileType, Statx};

/// The type of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// A named pipe.
    Fifo,
    /// A socket; layers do not hold sockets.
    Socket,
}

impl Kind {
    /// The type in words, for messages.
    pub fn name(self) -> &'static str {
        match self {
            Kind::File => "file",
            Kind::Directory => "directory",
            Kind::Symlink => "symbolic link",
            Kind::CharDevice => "character device",
            Kind::BlockDevice => "block device",
            Kind::Fifo => "named pipe",
            Kind::Socket => "socket",
        }
    }

    pub(crate) fn is_device(self) -> bool {
        matches!(self, Kind::CharDevice | Kind::BlockDevice)
    }

    fn from_file_type(file_type: FileType) -> Kind {
        match file_type {
            FileType::Directory => Kind::Directory,
            FileType::Symlink => Kind::Symlink,
            FileType::CharacterDevice => Kind::CharDevice,
            FileType::BlockDevice => Kind::BlockDevice,
            FileType::Fifo => Kind::Fifo,
            FileType::Socket => Kind::Socket,
            _ => Kind::File,
        }
    }
}

/// A point in time: seconds and nanoseconds since 1970-01-01 UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time {
    /// Whole seconds; negative before 1970.
    pub secs: i64,
    /// Nanoseconds after `secs`, less than 1,000,000,000.
    pub nanos: u32,
}

impl Time {
    /// A whole second.
    pub fn from_secs(secs: i64) -> Time {
        Time { secs, nanos: 0 }
    }

    /// The time a layer records: whole seconds, never after `epoch`.
    pub fn clamped(self, epoch: i64) -> Time {
        Time::from_secs(self.secs.min(epoch))
    }
}

/// Metadata of one file, symbolic links not followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// Type.
    pub kind: Kind,
    /// Permission bits with setuid, setgid and sticky: the low 12 bits.
    pub mode: u32,
    /// Numeric owner.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
    /// Length in bytes; of a symbolic link, of its target.
    pub size: u64,
    /// Time of the last change of the content.
    pub mtime: Time,
    /// Major and minor number of a device node; (0, 0) else.
    pub device: (u32, u32),
    /// Number of hard links.
    pub links: u32,
    /// What identifies the file on this machine: device major, minor and inode number.
    pub identity: (u32, u32, u64),
    /// Space taken on disk, in units of 512 bytes.
    pub blocks: u64,
}

impl Metadata {
    /// Whether this is an overlayfs whiteout: a character device 0:0.
    pub fn is_whiteout(&self) -> bool {
        self.kind == Kind::CharDevice && self.device == (0, 0)
    }

    /// Whether this is a directory.
    pub fn is_dir(&self) -> bool {
        self.kind == Kind::Directory
    }

    /// Whether this is a regular file.
    pub fn is_file(&self) -> bool {
        self.kind == Kind::File
    }

    /// Whether this is a symbolic link.
    pub fn is_symlink(&self) -> bool {
        self.kind == Kind::Symlink
    }

    pub(crate) fn from_statx(statx: &Statx) -> Metadata {
        let kind = Kind::from_file_type(FileType::from_raw_mode(u32::from(statx.stx_mode)));
        Metadata {
            kind,
            mode: u32::from(statx.stx_mode) & 0o7777,
            uid: statx.stx_uid,
            gid: statx.stx_gid,
            size: statx.stx_size,
            mtime: Time { secs: statx.stx_mtime.tv_sec, nanos: statx.stx_mtime.tv_nsec },
            device: if kind.is_device() {
                (statx.stx_rdev_major, statx.stx_rdev_minor)
            } else {
                (0, 0)
            },
            links: statx.stx_nlink,
            identity: (statx.stx_dev_major, statx.stx_dev_minor, statx.stx_ino),
            blocks: statx.stx_blocks,
        }
    }
}
