//! Paths inside a root directory that may hold hostile symbolic links.
//!
//! Every look-up treats the root as `/` (openat2 with RESOLVE_IN_ROOT), so neither `..` nor an
//! absolute link leads out.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, openat2, readlinkat, statat};
use rustix::io::Errno;

/// Links followed before a path is taken for a loop, as in the kernel.
const MAX_LINKS: usize = 40;

/// Opens `path` inside `root`.
pub(crate) fn open_in(
    root: BorrowedFd<'_>,
    path: &Path,
    flags: OFlags,
    mode: Mode,
) -> io::Result<OwnedFd> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    loop {
        let opened = openat2(
            root,
            path,
            flags | OFlags::CLOEXEC,
            mode,
            ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
        );
        match opened {
            // The kernel saw a concurrent rename while it looked at `..`.
            Err(Errno::AGAIN | Errno::INTR) => {}
            other => return Ok(other?),
        }
    }
}

/// Opens a place inside `root` for look-ups only, following links in the last component too.
pub(crate) fn locate(root: BorrowedFd<'_>, path: &Path) -> io::Result<OwnedFd> {
    open_in(root, path, OFlags::PATH, Mode::empty())
}

/// What to make where nothing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Directory,
    File,
}

/// Called before and after something is made, with the directory it is made in and its name.
pub(crate) trait Make {
    fn make(&mut self, parent: OwnedFd, name: &OsStr, kind: Kind) -> io::Result<()>;
}

/// Walks `path` inside `root` and makes what is missing: directories on the way, `kind` at the
/// end. A dangling symbolic link is followed, and made is what it names.
pub(crate) fn ensure(
    root: BorrowedFd<'_>,
    path: &Path,
    kind: Kind,
    maker: &mut dyn Make,
) -> io::Result<()> {
    let mut ahead: VecDeque<OsString> = VecDeque::new();
    push_front(&mut ahead, path);
    let mut here = PathBuf::new(); // resolved, without links, relative to the root
    let mut links = 0;
    while let Some(name) = ahead.pop_front() {
        if name == ".." {
            here.pop();
            continue;
        }
        let parent = locate(root, &here)?;
        match statat(&parent, &name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink => {
                links += 1;
                if links > MAX_LINKS {
                    return Err(Errno::LOOP.into());
                }
                let link = readlinkat(&parent, &name, Vec::new())?;
                let link = PathBuf::from(OsString::from_vec(link.into_bytes()));
                if link.is_absolute() {
                    here = PathBuf::new();
                }
                push_front(&mut ahead, &link);
                continue;
            }
            Ok(stat) => {
                let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
                let want_directory = !ahead.is_empty() || kind == Kind::Directory;
                if want_directory && !is_directory {
                    return Err(Errno::NOTDIR.into());
                }
                if !want_directory && is_directory {
                    return Err(Errno::ISDIR.into());
                }
            }
            Err(Errno::NOENT) => {
                let kind = if ahead.is_empty() { kind } else { Kind::Directory };
                maker.make(parent, &name, kind)?;
            }
            Err(error) => return Err(error.into()),
        }
        here.push(&name);
    }
    Ok(())
}

fn push_front(ahead: &mut VecDeque<OsString>, path: &Path) {
    for component in path.components().rev() {
        match component {
            Component::Normal(name) => ahead.push_front(name.to_owned()),
            Component::ParentDir => ahead.push_front("..".into()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
}

/// Makes one file or directory in `parent`, owned by the caller, world-readable whatever the umask.
pub(crate) fn make(parent: BorrowedFd<'_>, name: &OsStr, kind: Kind) -> io::Result<()> {
    let mode = match kind {
        Kind::Directory => {
            let mode = Mode::from_raw_mode(0o755);
            rustix::fs::mkdirat(parent, name, mode)?;
            mode
        }
        Kind::File => {
            let mode = Mode::from_raw_mode(0o644);
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
            drop(rustix::fs::openat(parent, name, flags, mode)?);
            mode
        }
    };
    Ok(rustix::fs::chmodat(parent, name, mode, AtFlags::empty())?)
}
