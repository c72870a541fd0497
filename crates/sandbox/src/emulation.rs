//! An emulator and a foreign platform → a handler in the kernel, for the user namespace of this
//! program only.
//!
//! The kernel (6.7 and newer) keeps a `binfmt_misc` for each user namespace. It is mounted here
//! detached, so it has no path that anyone could see. The emulator is opened at registration (flag
//! F), so the roots of runs need no copy of it. Flag P keeps `argv[0]`. Flag C (and O, which it
//! implies) takes user and rights from the foreign program, so that setuid works as natively.
//!
//! For the real root the user namespace is the machine's own, and a handler there would change the
//! machine: that is refused.

use std::fmt::Write;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::fs::{Mode, OFlags, openat};
use rustix::mount::MountAttrFlags;

use crate::error::{Failure, SandboxError};
use crate::foreign::ForeignPlatform;
use crate::mountapi::new_mount;
use crate::privilege::{self, Privilege};

/// A registered handler: until it is dropped, programs of its platform can be run.
#[derive(Debug)]
pub struct Emulation {
    /// The `binfmt_misc` of this user namespace; the kernel forgets handlers when no mount of it
    /// is left.
    mount: OwnedFd,
    /// Name of the handler there.
    name: String,
}

impl Emulation {
    /// Lets every [`run`](crate::run()) of this program start programs of `platform` through
    /// `emulator`, a static executable of this machine that is open for reading. To be called
    /// after [`enter`](crate::enter); one handler for a platform at a time.
    ///
    /// # Errors
    /// [`SandboxError::Emulation`]: as the real root, on a kernel older than 6.7 or one without
    /// `binfmt_misc`, when the platform has a handler already (`AlreadyExists`), or when `emulator`
    /// cannot be executed.
    pub fn register(
        platform: &'static ForeignPlatform,
        emulator: &File,
    ) -> Result<Emulation, SandboxError> {
        let failed = |source| SandboxError::Emulation {
            platform: platform.platform,
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
            source,
        };
        match privilege::current().map_err(Failure::enter)? {
            Privilege::Root => Err(failed(io::Error::new(
                io::ErrorKind::Unsupported,
                "a handler of the real root would change the machine",
            ))),
            _ => register(platform, emulator).map_err(failed),
        }
    }
}

impl Drop for Emulation {
    fn drop(&mut self) {
        // Fails only when it is gone already; with the last mount it goes in any case.
        write(&self.mount, &self.name, b"-1").ok();
    }
}

fn register(platform: &ForeignPlatform, emulator: &File) -> io::Result<Emulation> {
    let safe = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let mount = new_mount("binfmt_misc", &[], safe)?;
    let name = name(platform);
    let line = line(platform, &name, &format!("/proc/self/fd/{}", emulator.as_raw_fd()));
    write(&mount, "register", line.as_bytes())?;
    Ok(Emulation { mount, name })
}

fn name(platform: &ForeignPlatform) -> String {
    format!("anyarch-{}", platform.machine)
}

/// The line that registers a handler (Documentation/admin-guide/binfmt-misc.rst of Linux).
fn line(platform: &ForeignPlatform, name: &str, emulator: &str) -> String {
    let escaped = |bytes: &[u8]| {
        bytes.iter().fold(String::new(), |mut out, byte| {
            // Writing to a string cannot fail.
            write!(out, "\\x{byte:02x}").ok();
            out
        })
    };
    let (magic, mask) = (escaped(&platform.magic()), escaped(&platform.mask()));
    format!(":{name}:M::{magic}:{mask}:{emulator}:POCF")
}

/// Writes to a file of `binfmt_misc`, which takes a command in one piece.
fn write(mount: &OwnedFd, file: &str, command: &[u8]) -> io::Result<()> {
    let file = openat(mount.as_fd(), file, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::write(file, command)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handler_is_one_line() {
        let platform = ForeignPlatform::find("linux/s390x").unwrap();
        assert_eq!(
            line(platform, &name(platform), "/proc/self/fd/7"),
            r":anyarch-s390x:M::\x7f\x45\x4c\x46\x02\x02\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x16:\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xfe\xff\xff:/proc/self/fd/7:POCF"
        );
    }
}
