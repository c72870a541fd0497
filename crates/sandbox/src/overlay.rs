//! Directories stacked into one by overlayfs, mounted for as long as a value lives.
//!
//! Attributes are kept in `user.overlay.*` for every user, so a snapshot that root made can be used
//! by an ordinary user and the other way round. Needs the private mount namespace of
//! [`enter`](crate::enter).

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, UnmountFlags, fsconfig_create,
    fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, unmount,
};
use rustix::thread::UnshareFlags;

use crate::error::SandboxError;
use crate::mountapi;

/// Longest value that fsconfig(2) takes as a string.
const MAX_OPTION: usize = 255;

/// Options besides the directories. `nofollow` is overlayfs's strictest redirect mode and the only
/// one it allows together with `userxattr`: no redirect is made or followed.
const OPTIONS: [(&str, &str); 3] =
    [("redirect_dir", "nofollow"), ("metacopy", "off"), ("index", "off")];

/// An overlay, or a read-only view of one directory, mounted at a path. Dropping it unmounts.
#[derive(Debug)]
#[must_use = "dropping it unmounts"]
pub struct OverlayMount {
    target: Option<PathBuf>,
    work: Option<PathBuf>,
}

impl OverlayMount {
    /// Stacks `lowers` (topmost first, at least one) with a writable `(upper, work)` pair on top,
    /// at `target`. `upper` and `work` are on one file system, and `work` is empty or was used with
    /// the same upper before. Without a writable pair the result is read-only.
    ///
    /// Writes are not synced by the kernel (`volatile`): who keeps `upper` syncs it.
    ///
    /// # Errors
    /// [`SandboxError::Mount`] with the kernel's message.
    pub fn mount(
        lowers: &[PathBuf],
        writable: Option<(&Path, &Path)>,
        target: &Path,
    ) -> Result<OverlayMount, SandboxError> {
        let operation = match (lowers, writable) {
            ([_], None) => "mount a read-only view at",
            _ => "mount an overlay at",
        };
        let place = rustix::fs::open(target, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
        place
            .map_err(io::Error::from)
            .and_then(|place| match (lowers, writable) {
                ([], _) => {
                    Err(io::Error::new(io::ErrorKind::InvalidInput, "no lower directory was given"))
                }
                ([only], None) => attach_view(only, &place),
                _ => attach_overlay(lowers, writable, &place),
            })
            .map_err(|source| SandboxError::Mount { operation, path: target.to_owned(), source })?;
        Ok(OverlayMount {
            target: Some(target.to_owned()),
            work: writable.map(|(_, work)| work.to_owned()),
        })
    }

    /// Where it is mounted.
    pub fn target(&self) -> &Path {
        self.target.as_deref().unwrap_or(Path::new(""))
    }

    /// Unmounts it; a process that still uses it keeps it alive, unseen, until it ends.
    ///
    /// # Errors
    /// [`SandboxError::Mount`], for example when something else unmounted it.
    pub fn unmount(mut self) -> Result<(), SandboxError> {
        self.detach()
    }

    fn detach(&mut self) -> Result<(), SandboxError> {
        let Some(target) = self.target.take() else {
            return Ok(());
        };
        unmount(&target, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW).map_err(|error| {
            SandboxError::Mount { operation: "unmount", path: target, source: error.into() }
        })?;
        // The mark of an overlay that was not synced; with it the same pair cannot be mounted again.
        if let Some(work) = &self.work {
            fs::remove_dir_all(work.join("work/incompat/volatile")).ok();
        }
        Ok(())
    }
}

impl Drop for OverlayMount {
    fn drop(&mut self) {
        // Nothing to tell anyone: the namespace takes what is left.
        self.detach().ok();
    }
}

fn attach_view(directory: &Path, place: &OwnedFd) -> io::Result<()> {
    let mount = mountapi::clone_tree(directory)?;
    mountapi::restrict(mount.as_fd(), MountAttrFlags::MOUNT_ATTR_RDONLY, true)?;
    mountapi::attach(mount.as_fd(), place.as_fd())
}

fn attach_overlay(
    lowers: &[PathBuf],
    writable: Option<(&Path, &Path)>,
    place: &OwnedFd,
) -> io::Result<()> {
    match stack(lowers, writable) {
        Ok(mount) => mountapi::attach(mount.as_fd(), place.as_fd()),
        Err(Error::NoLowerAppend) => stack_old(lowers, writable, place),
        Err(Error::Io(error)) => Err(error),
    }
}

enum Error {
    /// The kernel is older than 6.7 and has no `lowerdir+`.
    NoLowerAppend,
    Io(io::Error),
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Error {
        Error::Io(error)
    }
}

impl From<Errno> for Error {
    fn from(error: Errno) -> Error {
        Error::Io(error.into())
    }
}

/// With one option for each lower directory, so that no length limit is met.
fn stack(lowers: &[PathBuf], writable: Option<(&Path, &Path)>) -> Result<OwnedFd, Error> {
    let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    let context = context.as_fd();
    fsconfig_set_flag(context, "userxattr")?;
    for (key, value) in OPTIONS {
        fsconfig_set_string(context, key, value)?;
    }
    let mut opened = Vec::new();
    for (number, lower) in lowers.iter().enumerate() {
        let lower = short(lower, &mut opened)?;
        match fsconfig_set_string(context, "lowerdir+", &*lower) {
            Err(Errno::INVAL) if number == 0 && lower.is_dir() => return Err(Error::NoLowerAppend),
            Err(error) => return Err(mountapi::explained(context, error).into()),
            Ok(()) => {}
        }
    }
    if let Some((upper, work)) = writable {
        for (key, path) in [("upperdir", upper), ("workdir", work)] {
            let path = short(path, &mut opened)?;
            fsconfig_set_string(context, key, &*path)
                .map_err(|error| mountapi::explained(context, error))?;
        }
        fsconfig_set_flag(context, "volatile")?;
    }
    fsconfig_create(context).map_err(|error| mountapi::explained(context, error))?;
    Ok(fsmount(context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?)
}

/// The path, or one of a descriptor of it where it is too long for an option.
fn short(path: &Path, opened: &mut Vec<OwnedFd>) -> io::Result<PathBuf> {
    if path.as_os_str().as_bytes().len() <= MAX_OPTION {
        return Ok(path.to_owned());
    }
    let directory = open_directory(path)?;
    let short = format!("/proc/self/fd/{}", directory.as_raw_fd());
    opened.push(directory);
    Ok(short.into())
}

fn open_directory(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

/// With mount(2), whose options share one page: every directory is named by the number of a
/// descriptor, relative to `/proc/self/fd`, so a page holds some 800 of them.
fn stack_old(
    lowers: &[PathBuf],
    writable: Option<(&Path, &Path)>,
    place: &OwnedFd,
) -> io::Result<()> {
    let opened: Vec<OwnedFd> =
        lowers.iter().map(|lower| open_directory(lower)).collect::<io::Result<_>>()?;
    let numbers: Vec<String> = opened.iter().map(|fd| fd.as_raw_fd().to_string()).collect();
    let mut options = format!("userxattr,lowerdir={}", numbers.join(":"));
    for (key, value) in OPTIONS {
        options.push_str(&format!(",{key}={value}"));
    }
    let mut kept = Vec::new();
    if let Some((upper, work)) = writable {
        for (key, path) in [("upperdir", upper), ("workdir", work)] {
            let directory = open_directory(path)?;
            options.push_str(&format!(",{key}={}", directory.as_raw_fd()));
            kept.push(directory);
        }
        options.push_str(",volatile");
    }
    let options = std::ffi::CString::new(options)?;
    let target = format!("/proc/self/fd/{}", place.as_raw_fd());
    let mount = || -> io::Result<()> {
        // SAFETY: FS gives this thread, made for this alone, a working directory of its own.
        unsafe { rustix::thread::unshare_unsafe(UnshareFlags::FS)? };
        rustix::process::chdir("/proc/self/fd")?;
        let data = Some(options.as_c_str());
        let flags = MountFlags::empty();
        Ok(rustix::mount::mount("overlay", target.as_str(), "overlay", flags, data)?)
    };
    std::thread::scope(|scope| {
        let mounted = scope.spawn(mount).join();
        mounted.unwrap_or_else(|_| Err(io::Error::other("the mounting thread panicked")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The way of old kernels, tried on whatever kernel this is. As another user than root, set
    /// `ANYARCH_TEST_SKIP_ROOT=1` to leave it out.
    #[test]
    fn old_kernels_stack_many_directories_too_needs_root() {
        if std::env::var_os("ANYARCH_TEST_SKIP_ROOT").is_some() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| {
            let path = dir.path().join(name);
            fs::create_dir(&path).unwrap();
            path
        };
        let lowers: Vec<PathBuf> = (0..200)
            .map(|number| {
                let lower = path(&format!("a-directory-with-quite-a-long,name:{number}"));
                fs::write(lower.join(format!("file{number}")), "").unwrap();
                lower
            })
            .collect();
        let (upper, work, target) = (path("upper"), path("work"), path("target"));
        // A mount namespace for this thread alone.
        // SAFETY: NEWNS concerns only this thread of the test.
        unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS).unwrap() };
        rustix::mount::mount_change(
            "/",
            rustix::mount::MountPropagationFlags::REC
                | rustix::mount::MountPropagationFlags::PRIVATE,
        )
        .unwrap();
        let place = open_directory(&target).unwrap();
        stack_old(&lowers, Some((&upper, &work)), &place).unwrap();
        assert_eq!(fs::read_dir(&target).unwrap().count(), 200);
        fs::write(target.join("new"), "").unwrap();
        assert!(upper.join("new").exists());
    }
}
