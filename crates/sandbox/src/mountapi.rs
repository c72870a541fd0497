//! The kernel's descriptor-based mount calls, in the few forms needed here.
//!
//! A detached mount is a descriptor; it is attached to a place that is a descriptor too, so no
//! path is looked up twice. Knows nothing of what is mounted why.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::CWD;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create,
    fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, move_mount, open_tree,
};

/// One option of a file system.
pub(crate) enum Opt<'a> {
    Flag(&'a str),
    Set(&'a str, &'a str),
}

/// A new file system, not attached anywhere yet.
pub(crate) fn new_mount(
    kind: &str,
    options: &[Opt<'_>],
    attributes: MountAttrFlags,
) -> io::Result<OwnedFd> {
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    for option in options {
        match option {
            Opt::Flag(key) => fsconfig_set_flag(context.as_fd(), *key)?,
            Opt::Set(key, value) => fsconfig_set_string(context.as_fd(), *key, *value)?,
        }
    }
    fsconfig_create(context.as_fd()).map_err(|error| explained(context.as_fd(), error))?;
    Ok(fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)?)
}

/// The kernel's error with the message that it left in the file system context, if any.
pub(crate) fn explained(context: BorrowedFd<'_>, error: rustix::io::Errno) -> io::Error {
    let mut text = [0u8; 512];
    let cause = io::Error::from(error);
    match rustix::io::read(context, &mut text) {
        Ok(length) => {
            let text = String::from_utf8_lossy(&text[..length]);
            io::Error::new(cause.kind(), format!("{cause} ({})", text.trim()))
        }
        Err(_) => cause,
    }
}

/// A copy of what is mounted at `path` and below, not attached anywhere yet.
pub(crate) fn clone_tree(path: &Path) -> io::Result<OwnedFd> {
    Ok(open_tree(
        CWD,
        path,
        OpenTreeFlags::OPEN_TREE_CLONE
            | OpenTreeFlags::OPEN_TREE_CLOEXEC
            | OpenTreeFlags::AT_RECURSIVE,
    )?)
}

/// A copy of the mount that `place` lies on, with `place` as its top and without what is mounted
/// below.
pub(crate) fn clone_one(place: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    Ok(open_tree(
        place,
        "",
        OpenTreeFlags::OPEN_TREE_CLONE
            | OpenTreeFlags::OPEN_TREE_CLOEXEC
            | OpenTreeFlags::AT_EMPTY_PATH,
    )?)
}

/// Attaches a detached mount at `place`.
pub(crate) fn attach(mount: BorrowedFd<'_>, place: BorrowedFd<'_>) -> io::Result<()> {
    Ok(move_mount(
        mount,
        "",
        place,
        "",
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH,
    )?)
}

/// Adds attributes such as read-only to a mount, and to those below it when `recursive`.
pub(crate) fn restrict(
    mount: BorrowedFd<'_>,
    attributes: MountAttrFlags,
    recursive: bool,
) -> io::Result<()> {
    /// `struct mount_attr` of linux/mount.h.
    #[repr(C)]
    struct MountAttr {
        attr_set: u64,
        attr_clr: u64,
        propagation: u64,
        userns_fd: u64,
    }
    let attr = MountAttr {
        attr_set: u64::from(attributes.bits()),
        attr_clr: 0,
        propagation: 0,
        userns_fd: 0,
    };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is a NUL-terminated constant, `attr` is a live mount_attr of the size given,
    // and the kernel only reads both.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attr,
            size_of::<MountAttr>(),
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
