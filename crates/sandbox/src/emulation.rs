//! A handler and a foreign platform → a registration in the kernel, for the user namespace of this
//! process.
//!
//! The kernel (6.7 and newer) keeps a `binfmt_misc` for each user namespace. It is mounted here
//! detached, so it has no path that anyone could see. The handler is opened at registration (flag
//! F), so the roots of runs need no copy of it. Flag P keeps `argv[0]`. Flag C (and O, which it
//! implies) takes user and rights from the foreign program, so that setuid works as natively.
//!
//! Two use it: pid 1 of a run with [`Foreign`](crate::Foreign) programs, in a namespace of its own;
//! and the calling program, for the real root of a kernel that has but one `binfmt_misc`.

use std::fmt::Write;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::fs::{Mode, OFlags, openat};
use rustix::mount::MountAttrFlags;

use crate::error::SandboxError;
use crate::foreign::ForeignPlatform;
use crate::mountapi::new_mount;

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
    /// For the real root the whole machine gets the handler, for as long as the result lives; a
    /// `kill -9` leaves it there until someone removes it or the machine starts anew. So this is for
    /// kernels on which there is no other way
    /// ([`Support::RootRegistration`](crate::Support::RootRegistration)); all others have
    /// [`Foreign`](crate::Foreign).
    ///
    /// # Errors
    /// [`SandboxError::Emulation`]: as an ordinary user on a kernel older than 6.7, on one without
    /// `binfmt_misc`, when this program has registered a handler for the platform already
    /// (`AlreadyExists`), or when `emulator` cannot be executed.
    pub fn register(
        platform: &'static ForeignPlatform,
        emulator: &File,
    ) -> Result<Emulation, SandboxError> {
        register(platform, emulator).map_err(|source| SandboxError::Emulation {
            platform: platform.platform,
            kernel: kernel(),
            source,
        })
    }
}

impl Drop for Emulation {
    fn drop(&mut self) {
        // Fails only when it is gone already; with the last mount it goes in any case.
        write(&self.mount, &self.name, b"-1").ok();
    }
}

/// Release of the running kernel.
pub(crate) fn kernel() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

/// The `binfmt_misc` of this user namespace, detached.
pub(crate) fn handlers() -> io::Result<OwnedFd> {
    let safe = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    new_mount("binfmt_misc", &[], safe)
}

/// Registers `emulator` in the user namespace of this process.
pub(crate) fn register(platform: &ForeignPlatform, emulator: &File) -> io::Result<Emulation> {
    let mount = handlers()?;
    let name = name(platform);
    let line = line(platform, &name, &format!("/proc/self/fd/{}", emulator.as_raw_fd()));
    // A process that another thread starts right now holds every open file until it is another
    // program, that of the emulator's writer too; the kernel takes no file that can be written.
    let mut left = 200;
    while let Err(error) = write(&mount, "register", line.as_bytes()) {
        if error.kind() != io::ErrorKind::ExecutableFileBusy || left == 0 {
            return Err(error);
        }
        left -= 1;
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    Ok(Emulation { mount, name })
}

/// Another one for each process, so that two of them with one `binfmt_misc` do not meet.
fn name(platform: &ForeignPlatform) -> String {
    format!("anyarch-{}-{}", platform.machine, std::process::id())
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
            line(platform, "anyarch-s390x", "/proc/self/fd/7"),
            r":anyarch-s390x:M::\x7f\x45\x4c\x46\x02\x02\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x16:\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xfe\xff\xff:/proc/self/fd/7:POCF"
        );
    }
}
