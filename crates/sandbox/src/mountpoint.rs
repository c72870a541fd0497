//! Missing mount points: made in a root before a run, gone after it.
//!
//! What the run left untouched is removed and the times of the directories around it are put back,
//! so a comparison of the trees before and after sees nothing. On an overlay the removal leaves no
//! whiteout, because the file only ever existed on the writable side; what can remain there is a
//! copy of a directory that held one (`/etc`), equal to the directory below in everything.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Stat, Timespec, Timestamps, UTIME_OMIT};

use crate::error::{At, Failure};
use crate::rooted::{self, Kind, Make};

/// The mount points made for one run, in the order they were made. Dropping it removes them.
#[derive(Default)]
pub(crate) struct MountPoints(Vec<Made>);

struct Made {
    parent: OwnedFd,
    name: OsString,
    kind: Kind,
    /// Modification time of the parent before and after.
    before: Timespec,
    after: Timespec,
}

impl MountPoints {
    /// Makes `path` inside `root`, with the directories that lead to it, unless it is there.
    pub(crate) fn ensure(
        &mut self,
        root: BorrowedFd<'_>,
        path: &Path,
        kind: Kind,
    ) -> Result<(), Failure> {
        rooted::ensure(root, path, kind, self)
            .at(|| format!("make the mount point {}", path.display()))
    }

    /// Removes what was made and is still as it was made.
    pub(crate) fn remove(&mut self) -> Result<(), Failure> {
        let mut result = Ok(());
        while let Some(made) = self.0.pop() {
            let name = made.name.clone();
            let removed = made.remove().at(|| format!("remove the mount point {}", name.display()));
            result = result.and(removed);
        }
        result
    }
}

impl Drop for MountPoints {
    fn drop(&mut self) {
        // Only on the way out of another error, which is the one to report.
        self.remove().ok();
    }
}

impl Make for MountPoints {
    fn make(&mut self, parent: OwnedFd, name: &OsStr, kind: Kind) -> io::Result<()> {
        // `parent` is a look-up descriptor; times are read and set through a real one.
        let parent = rustix::fs::openat(
            &parent,
            ".",
            rustix::fs::OFlags::RDONLY
                | rustix::fs::OFlags::DIRECTORY
                | rustix::fs::OFlags::CLOEXEC,
            rustix::fs::Mode::empty(),
        )?;
        let before = modified(&rustix::fs::fstat(&parent)?);
        rooted::make(parent.as_fd(), name, kind)?;
        let after = modified(&rustix::fs::fstat(&parent)?);
        self.0.push(Made { parent, name: name.to_owned(), kind, before, after });
        Ok(())
    }
}

impl Made {
    fn remove(self) -> io::Result<()> {
        let now = modified(&rustix::fs::fstat(&self.parent)?);
        let untouched =
            match rustix::fs::statat(&self.parent, &self.name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => match (self.kind, FileType::from_raw_mode(stat.st_mode)) {
                    (Kind::File, FileType::RegularFile) => stat.st_size == 0,
                    (Kind::Directory, FileType::Directory) => true, // rmdir refuses a full one
                    _ => false,
                },
                Err(rustix::io::Errno::NOENT) => false,
                Err(error) => return Err(error.into()),
            };
        if !untouched {
            return Ok(());
        }
        let flags = match self.kind {
            Kind::Directory => AtFlags::REMOVEDIR,
            Kind::File => AtFlags::empty(),
        };
        match rustix::fs::unlinkat(&self.parent, &self.name, flags) {
            // The process put something into it through another path: then it is the process's.
            Err(rustix::io::Errno::NOTEMPTY) => return Ok(()),
            other => other?,
        }
        let time = if now == self.after { self.before } else { now };
        let times = Timestamps {
            last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT as _ },
            last_modification: time,
        };
        Ok(rustix::fs::futimens(&self.parent, &times)?)
    }
}

fn modified(stat: &Stat) -> Timespec {
    Timespec { tv_sec: stat.st_mtime as _, tv_nsec: stat.st_mtime_nsec as _ }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, symlink};

    fn root(dir: &Path) -> OwnedFd {
        rooted::locate(fs::File::open(dir).unwrap().as_fd(), Path::new("/")).unwrap()
    }

    fn listing(dir: &Path) -> Vec<String> {
        fn walk(dir: &Path, top: &Path, out: &mut Vec<String>) {
            let meta = fs::symlink_metadata(dir).unwrap();
            out.push(format!(
                "{} {:o} {}.{}",
                dir.strip_prefix(top).unwrap().display(),
                meta.mode(),
                meta.mtime(),
                meta.mtime_nsec()
            ));
            if meta.is_dir() {
                for entry in fs::read_dir(dir).unwrap() {
                    walk(&entry.unwrap().path(), top, out);
                }
            }
        }
        let mut out = Vec::new();
        walk(dir, dir, &mut out);
        out.sort();
        out
    }

    #[test]
    fn made_points_vanish_with_their_traces() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("etc")).unwrap();
        symlink("../run/resolve/stub.conf", dir.path().join("etc/resolv.conf")).unwrap();
        symlink("/../../../../outside", dir.path().join("etc/hosts")).unwrap();
        let before = listing(dir.path());

        let mut points = MountPoints::default();
        let root = root(dir.path());
        for (path, kind) in [
            ("/proc", Kind::Directory),
            ("/etc/resolv.conf", Kind::File),
            ("/etc/hosts", Kind::File),
            ("/a/b/c", Kind::File),
            ("/a/b/d", Kind::Directory),
            ("/a/b/d", Kind::Directory),
        ] {
            points.ensure(root.as_fd(), Path::new(path), kind).unwrap();
        }
        assert!(dir.path().join("run/resolve/stub.conf").is_file());
        assert!(dir.path().join("outside").is_file());
        assert!(dir.path().join("a/b/c").is_file() && dir.path().join("a/b/d").is_dir());
        points.remove().unwrap();
        assert_eq!(listing(dir.path()), before);
    }

    #[test]
    fn what_was_used_stays() {
        let dir = tempfile::tempdir().unwrap();
        let mut points = MountPoints::default();
        let root = root(dir.path());
        points.ensure(root.as_fd(), Path::new("/a/file"), Kind::File).unwrap();
        points.ensure(root.as_fd(), Path::new("/b"), Kind::Directory).unwrap();
        fs::write(dir.path().join("a/file"), "kept").unwrap();
        fs::write(dir.path().join("b/other"), "kept").unwrap();
        points.remove().unwrap();
        assert_eq!(fs::read_to_string(dir.path().join("a/file")).unwrap(), "kept");
        assert!(dir.path().join("b/other").is_file());
    }

    #[test]
    fn loops_and_files_in_the_way_are_errors() {
        let dir = tempfile::tempdir().unwrap();
        symlink("loop", dir.path().join("loop")).unwrap();
        fs::write(dir.path().join("file"), "").unwrap();
        let root = root(dir.path());
        let mut points = MountPoints::default();
        let mut errno = |path: &str, kind| {
            points
                .ensure(root.as_fd(), Path::new(path), kind)
                .unwrap_err()
                .source
                .raw_os_error()
                .unwrap()
        };
        assert_eq!(errno("/loop/x", Kind::File), libc::ELOOP);
        assert_eq!(errno("/file/x", Kind::File), libc::ENOTDIR);
        assert_eq!(errno("/file", Kind::Directory), libc::ENOTDIR);
    }
}
