//! One open directory: file operations by a single name, symbolic links never followed.
//!
//! The building block of [`crate::Root`]: a name holds no `/`, so nothing here can leave the
//! directory. The name `.` means the directory itself. Knows nothing of paths.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, StatxFlags, Timespec, Timestamps, UTIME_OMIT, Uid,
};

use crate::metadata::{Metadata, Time};
use crate::xattr::{self, Xattrs};

/// An open directory (`O_PATH`).
#[derive(Debug)]
pub(crate) struct Dir {
    fd: OwnedFd,
}

impl Dir {
    pub(crate) fn new(fd: OwnedFd) -> Dir {
        Dir { fd }
    }

    pub(crate) fn fd(&self) -> &OwnedFd {
        &self.fd
    }

    pub(crate) fn metadata(&self, name: &OsStr) -> io::Result<Metadata> {
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
        let statx = rustix::fs::statx(&self.fd, name, flags, StatxFlags::BASIC_STATS)?;
        Ok(Metadata::from_statx(&statx))
    }

    pub(crate) fn open_dir(&self, name: &OsStr) -> io::Result<Dir> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(Dir { fd: rustix::fs::openat(&self.fd, name, flags, Mode::empty())? })
    }

    /// Names in the directory, unsorted.
    pub(crate) fn names(&self) -> io::Result<Vec<OsString>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let list = rustix::fs::openat(&self.fd, ".", flags, Mode::empty())?;
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::new(list)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                names.push(OsString::from_vec(name.to_vec()));
            }
        }
        Ok(names)
    }

    pub(crate) fn read_link(&self, name: &OsStr) -> io::Result<OsString> {
        let target = rustix::fs::readlinkat(&self.fd, name, Vec::new())?;
        Ok(OsString::from_vec(target.into_bytes()))
    }

    /// Opens a regular file for reading; anything else is an error (a pipe never blocks).
    pub(crate) fn open_file(&self, name: &OsStr) -> io::Result<File> {
        let flags =
            OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = File::from(rustix::fs::openat(&self.fd, name, flags, Mode::empty())?);
        if !file.metadata()?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        Ok(file)
    }

    /// Makes a new file that must not exist yet.
    pub(crate) fn create_file(&self, name: &OsStr, mode: u32) -> io::Result<File> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(File::from(rustix::fs::openat(&self.fd, name, flags, Mode::from_raw_mode(mode))?))
    }

    pub(crate) fn create_dir(&self, name: &OsStr, mode: u32) -> io::Result<()> {
        Ok(rustix::fs::mkdirat(&self.fd, name, Mode::from_raw_mode(mode))?)
    }

    pub(crate) fn symlink(&self, target: &OsStr, name: &OsStr) -> io::Result<()> {
        Ok(rustix::fs::symlinkat(target, &self.fd, name)?)
    }

    /// Makes `name` another name of `existing` in `from`, which may be a symbolic link itself.
    pub(crate) fn hard_link(&self, name: &OsStr, from: &Dir, existing: &OsStr) -> io::Result<()> {
        Ok(rustix::fs::linkat(&from.fd, existing, &self.fd, name, AtFlags::empty())?)
    }

    /// Makes a device node, a named pipe or a socket file.
    pub(crate) fn make_node(
        &self,
        name: &OsStr,
        kind: FileType,
        mode: u32,
        device: (u32, u32),
    ) -> io::Result<()> {
        let device = rustix::fs::makedev(device.0, device.1);
        Ok(rustix::fs::mknodat(&self.fd, name, kind, Mode::from_raw_mode(mode), device)?)
    }

    pub(crate) fn set_owner(&self, name: &OsStr, uid: u32, gid: u32) -> io::Result<()> {
        // The kernel reads the highest id as "leave alone", so it cannot be given.
        if uid == u32::MAX || gid == u32::MAX {
            return Err(io::Error::from_raw_os_error(22));
        }
        let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
        Ok(rustix::fs::chownat(&self.fd, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// Sets the mode of anything but a symbolic link, whose mode means nothing.
    pub(crate) fn set_mode(&self, name: &OsStr, mode: u32) -> io::Result<()> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.fd, name, flags, Mode::empty())?;
        if self.is_symlink(&file)? {
            return Ok(());
        }
        Ok(rustix::fs::chmod(
            format!("/proc/self/fd/{}", file.as_raw_fd()),
            Mode::from_raw_mode(mode),
        )?)
    }

    fn is_symlink(&self, file: &OwnedFd) -> io::Result<bool> {
        let statx = rustix::fs::statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::TYPE)?;
        Ok(Metadata::from_statx(&statx).is_symlink())
    }

    /// Sets the modification time; the access time is left alone.
    pub(crate) fn set_mtime(&self, name: &OsStr, mtime: Time) -> io::Result<()> {
        let times = Timestamps {
            last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
            last_modification: Timespec { tv_sec: mtime.secs, tv_nsec: mtime.nanos.into() },
        };
        Ok(rustix::fs::utimensat(&self.fd, name, &times, AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// A path by which the kernel reaches `name` without following it (the directory may be moved).
    pub(crate) fn handle(&self, name: &OsStr) -> OsString {
        let mut path = format!("/proc/self/fd/{}/", self.fd.as_raw_fd()).into_bytes();
        path.extend_from_slice(name.as_bytes());
        OsString::from_vec(path)
    }

    pub(crate) fn xattrs(&self, name: &OsStr) -> io::Result<Xattrs> {
        xattr::list(&self.handle(name))
    }

    pub(crate) fn set_xattr(&self, name: &OsStr, key: &OsStr, value: &[u8]) -> io::Result<()> {
        Ok(rustix::fs::lsetxattr(self.handle(name), key, value, rustix::fs::XattrFlags::empty())?)
    }

    pub(crate) fn remove_xattr(&self, name: &OsStr, key: &OsStr) -> io::Result<()> {
        Ok(rustix::fs::lremovexattr(self.handle(name), key)?)
    }

    pub(crate) fn remove_file(&self, name: &OsStr) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(&self.fd, name, AtFlags::empty())?)
    }

    pub(crate) fn remove_dir(&self, name: &OsStr) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(&self.fd, name, AtFlags::REMOVEDIR)?)
    }

    pub(crate) fn rename(&self, name: &OsStr, to: &Dir, new_name: &OsStr) -> io::Result<()> {
        Ok(rustix::fs::renameat(&self.fd, name, &to.fd, new_name)?)
    }

    /// Removes `name` and everything below it, mounts included not; returns false when there is none.
    ///
    /// Uses two descriptors and no recursion, however deep the tree is.
    pub(crate) fn remove_all(&self, name: &OsStr) -> io::Result<bool> {
        let metadata = match self.metadata(name) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        if !metadata.is_dir() {
            self.remove_file(name)?;
            return Ok(true);
        }
        let mut current = self.open_dir(name)?;
        let mut left = current.remove_files()?;
        // Each level above: its identity, the directories left in it, and the one that was entered.
        let mut above: Vec<(Metadata, Vec<OsString>, OsString)> = Vec::new();
        loop {
            if let Some(child) = left.pop() {
                let here = current.metadata(OsStr::new("."))?;
                current = current.open_dir(&child)?;
                above.push((here, std::mem::replace(&mut left, current.remove_files()?), child));
            } else if let Some((parent, parents_left, child)) = above.pop() {
                let up = current.open_dir(OsStr::new(".."))?;
                if up.metadata(OsStr::new("."))?.identity != parent.identity {
                    return Err(io::Error::other("the directory was moved while it was removed"));
                }
                up.remove_dir(&child)?;
                (current, left) = (up, parents_left);
            } else {
                break;
            }
        }
        self.remove_dir(name)?;
        Ok(true)
    }

    /// Removes what is not a directory; returns the directories.
    fn remove_files(&self) -> io::Result<Vec<OsString>> {
        let mut directories = Vec::new();
        for name in self.names()? {
            match self.remove_file(&name) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) if error.kind() == io::ErrorKind::IsADirectory => directories.push(name),
                Err(error) => return Err(error),
            }
        }
        Ok(directories)
    }
}
