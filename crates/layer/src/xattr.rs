//! Extended attributes: which of them belong to a tree, and their values.
//!
//! Recorded and restored: `user.*`, `security.capability` and POSIX ACLs. Left out, because they
//! belong to the machine and not to the tree: overlayfs' own (`user.overlay.*`, `trusted.*`) and
//! labels of the host's security policy (`security.selinux`, `security.ima`, ...).

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// Attributes by full name, sorted; only those that belong to a tree (see the module's head).
pub type Xattrs = BTreeMap<OsString, Vec<u8>>;

/// Name of overlayfs' mark for a directory that hides what is below it in the parent.
pub(crate) const OPAQUE: &str = "user.overlay.opaque";
/// The same mark when overlayfs was mounted without `userxattr`.
pub(crate) const OPAQUE_TRUSTED: &str = "trusted.overlay.opaque";
/// overlayfs' mark for a directory that stands for one of another name.
pub(crate) const REDIRECT: &str = "user.overlay.redirect";
/// overlayfs' mark for a file whose content lies in the parent.
pub(crate) const METACOPY: &str = "user.overlay.metacopy";

/// Whether an attribute belongs to the tree rather than to the machine it lies on.
pub(crate) fn belongs(name: &OsStr) -> bool {
    let name = name.as_bytes();
    (name.starts_with(b"user.") && !name.starts_with(b"user.overlay."))
        || matches!(
            name,
            b"security.capability" | b"system.posix_acl_access" | b"system.posix_acl_default"
        )
}

/// The attributes of a file that belong to its tree; `path` is not followed.
pub(crate) fn list(path: &OsStr) -> io::Result<Xattrs> {
    let mut found = Xattrs::new();
    for name in names(path)? {
        if belongs(&name)
            && let Some(value) = get(path, &name)?
        {
            found.insert(name, value);
        }
    }
    Ok(found)
}

/// Names of all attributes; empty where the file system has none.
pub(crate) fn names(path: &OsStr) -> io::Result<Vec<OsString>> {
    let mut size = 1024;
    loop {
        let mut list = vec![0u8; size];
        match rustix::fs::llistxattr(path, &mut list[..]) {
            Ok(length) => {
                list.truncate(length);
                let names = list.split(|byte| *byte == 0).filter(|name| !name.is_empty());
                return Ok(names.map(|name| OsString::from_vec(name.to_vec())).collect());
            }
            Err(rustix::io::Errno::RANGE) if size < 1 << 20 => size *= 8,
            Err(rustix::io::Errno::NOTSUP) => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        }
    }
}

/// One attribute's value; none when there is no such attribute.
pub(crate) fn get(path: &OsStr, name: &OsStr) -> io::Result<Option<Vec<u8>>> {
    let mut size = 256;
    loop {
        let mut value = vec![0u8; size];
        match rustix::fs::lgetxattr(path, name, &mut value[..]) {
            Ok(length) => {
                value.truncate(length);
                return Ok(Some(value));
            }
            Err(rustix::io::Errno::RANGE) if size < 1 << 20 => size *= 16,
            Err(rustix::io::Errno::NODATA | rustix::io::Errno::NOTSUP) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
    }
}
