//! This machine → the way in which it can run programs of a foreign platform.
//!
//! Facts are gathered here once, and a pure function decides. Changes nothing on the machine.

use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, WaitOptions, waitpid};
use rustix::thread::UnshareFlags;

use crate::emulation::{handlers, kernel};
use crate::error::SandboxError;
use crate::foreign::{ForeignPlatform, LENGTH};
use crate::inside::leave;
use crate::privilege::{self, Privilege};

/// Where the machine's own handlers are, if anywhere.
const MACHINE: &str = "/proc/sys/fs/binfmt_misc";

/// How programs of a foreign platform can be run here.
#[derive(Debug)]
pub enum Support {
    /// With [`Foreign`](crate::Foreign) in a [`Process`](crate::Process): Linux 6.7 or newer.
    PerNamespace,
    /// Without anything: the machine has a handler of its own, which also works where there is no
    /// copy of its interpreter (flag F). Runs are made without [`Foreign`](crate::Foreign).
    Host {
        /// What handles them, a path on the machine.
        interpreter: PathBuf,
    },
    /// With an [`Emulation`](crate::Emulation) for as long as there are runs: the real root, on an
    /// older kernel. Runs are made without [`Foreign`](crate::Foreign).
    RootRegistration,
    /// Not at all.
    None {
        /// Why ([`SandboxError::NoEmulation`]), with what a person can do about it.
        reason: SandboxError,
    },
}

/// How programs of `platform` can be run by this program, the best way first. To be called after
/// [`enter`](crate::enter); the kernel is asked once, later calls look for the machine's handlers
/// only.
pub fn foreign_support(platform: &'static ForeignPlatform) -> Support {
    static PER_NAMESPACE: OnceLock<Result<(), Errno>> = OnceLock::new();
    let root =
        privilege::is_root() && privilege::current().is_ok_and(|what| what == Privilege::Root);
    decide(
        platform,
        Facts {
            kernel: kernel(),
            per_namespace: *PER_NAMESPACE.get_or_init(probe),
            root,
            machine: machine_handlers(root),
        },
    )
}

/// What the decision hangs on.
struct Facts {
    /// Release of the kernel.
    kernel: String,
    /// Whether a new user namespace can have handlers of its own.
    per_namespace: Result<(), Errno>,
    /// Whether this program may register handlers with the machine.
    root: bool,
    /// The text of every handler of the machine.
    machine: io::Result<Vec<String>>,
}

fn decide(platform: &'static ForeignPlatform, facts: Facts) -> Support {
    let Facts { kernel, per_namespace, root, machine } = facts;
    let Err(refused) = per_namespace else {
        return Support::PerNamespace;
    };
    let source = match machine {
        Ok(texts) => {
            if let Some(interpreter) = texts.iter().find_map(|text| interpreter(text, platform)) {
                return Support::Host { interpreter };
            }
            if root {
                return Support::RootRegistration;
            }
            refused.into()
        }
        Err(error) if root => error,
        Err(_) => refused.into(),
    };
    Support::None {
        reason: SandboxError::NoEmulation { platform: platform.platform, kernel, source },
    }
}

/// The interpreter of a handler, if it is enabled, was opened at its registration, and takes the
/// programs of `platform` (Documentation/admin-guide/binfmt-misc.rst of Linux).
fn interpreter(text: &str, platform: &ForeignPlatform) -> Option<PathBuf> {
    let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)).map(str::trim);
    let enabled = text.lines().next() == Some("enabled");
    if !enabled || !value("flags:")?.contains('F') {
        return None;
    }
    let offset: usize = value("offset ")?.parse().ok()?;
    let magic = bytes(value("magic ")?)?;
    let mask = match value("mask ") {
        Some(mask) => bytes(mask)?,
        None => vec![0xff; magic.len()],
    };
    let caught = |head: [u8; LENGTH]| {
        magic.iter().zip(&mask).enumerate().all(|(at, (magic, mask))| {
            match offset.checked_add(at).and_then(|at| head.get(at)) {
                Some(byte) => (byte ^ magic) & mask == 0,
                // What follows in the header may be anything.
                None => *mask == 0,
            }
        })
    };
    let both = platform.heads().into_iter().all(caught);
    both.then(|| value("interpreter ").map(PathBuf::from)).flatten()
}

/// Bytes from pairs of hexadecimal digits.
fn bytes(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u32>> = text.chars().map(|digit| digit.to_digit(16)).collect();
    let pair = |pair: &[u32]| match pair {
        [high, low] => u8::try_from(high << 4 | low).ok(),
        _ => None,
    };
    digits?.chunks(2).map(pair).collect()
}

/// The text of every handler of the machine; none when handlers are switched off as a whole.
fn machine_handlers(root: bool) -> io::Result<Vec<String>> {
    match read_handlers(Path::new(MACHINE)) {
        // Nothing is mounted there. An ordinary user cannot look further.
        Err(_) if root => {
            let mount = handlers()?;
            read_handlers(Path::new(&format!("/proc/self/fd/{}", mount.as_raw_fd())))
        }
        other => other,
    }
}

fn read_handlers(directory: &Path) -> io::Result<Vec<String>> {
    if fs::read_to_string(directory.join("status"))?.trim() != "enabled" {
        return Ok(Vec::new());
    }
    let mut out = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_name() != "status" && entry.file_name() != "register" {
            // One that is gone by now is none.
            out.extend(fs::read_to_string(entry.path()));
        }
    }
    Ok(out)
}

/// Whether `binfmt_misc` can be mounted in a new user namespace, tried in a process of its own.
fn probe() -> Result<(), Errno> {
    let (answer, tell) = pipe_with(PipeFlags::CLOEXEC)?;
    // SAFETY: other threads may hold locks, so the child only makes system calls, on memory that
    // it has: nothing in `own_handlers` or `write` allocates. It leaves with `_exit`.
    let pid = unsafe { libc::fork() };
    if pid < 0 {
        return Err(Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::AGAIN));
    }
    if pid == 0 {
        let errno = own_handlers().err().map_or(0, Errno::raw_os_error);
        rustix::io::write(&tell, &errno.to_ne_bytes()).ok();
        leave(0);
    }
    drop(tell);
    let mut errno = [0; 4];
    let length = loop {
        match rustix::io::read(&answer, &mut errno) {
            Err(Errno::INTR) => {}
            other => break other?,
        }
    };
    // Where this program ignores SIGCHLD, the kernel has reaped it already.
    while matches!(waitpid(Pid::from_raw(pid), WaitOptions::empty()), Err(Errno::INTR)) {}
    match (length, i32::from_ne_bytes(errno)) {
        (4, 0) => Ok(()),
        (4, errno) => Err(Errno::from_raw_os_error(errno)),
        _ => Err(Errno::IO),
    }
}

fn own_handlers() -> Result<(), Errno> {
    let flags = UnshareFlags::NEWUSER | UnshareFlags::NEWNS;
    // SAFETY: the child of a fork has one thread; memory and descriptors stay as they are.
    unsafe { rustix::thread::unshare_unsafe(flags)? };
    let context = fsopen("binfmt_misc", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(&context)?;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Debian's qemu-user-static registers it.
    const QEMU: &str = "enabled\n\
        interpreter /usr/libexec/qemu-binfmt/aarch64-binfmt-P\n\
        flags: POCF\n\
        offset 0\n\
        magic 7f454c460201010000000000000000000200b700\n\
        mask ffffffffffffff00fffffffffffffffffeffffff\n";

    fn arm64() -> &'static ForeignPlatform {
        ForeignPlatform::find("linux/arm64").unwrap()
    }

    fn answer(per_namespace: bool, root: bool, machine: io::Result<&[&str]>) -> String {
        let facts = Facts {
            kernel: "5.15.0".into(),
            per_namespace: if per_namespace { Ok(()) } else { Err(Errno::PERM) },
            root,
            machine: machine.map(|texts| texts.iter().map(|text| (*text).to_owned()).collect()),
        };
        match decide(arm64(), facts) {
            Support::PerNamespace => "per namespace".into(),
            Support::Host { interpreter } => interpreter.display().to_string(),
            Support::RootRegistration => "root registers".into(),
            Support::None { reason } => {
                let source = std::error::Error::source(&reason).unwrap();
                format!("{reason}: {source}; {}", reason.hint().unwrap())
            }
        }
    }

    #[test]
    fn the_best_way_is_taken() {
        let interpreter = "/usr/libexec/qemu-binfmt/aarch64-binfmt-P";
        let missing = || Err(io::Error::from(Errno::NOENT));
        assert_eq!(answer(true, true, Ok(&[QEMU])), "per namespace");
        assert_eq!(answer(true, false, missing()), "per namespace");
        assert_eq!(answer(false, true, Ok(&["enabled\n", QEMU])), interpreter);
        assert_eq!(answer(false, false, Ok(&[QEMU])), interpreter);
        assert_eq!(answer(false, true, Ok(&[])), "root registers");
    }

    #[test]
    fn no_way_is_an_error_with_a_remedy() {
        let none = "failed to find a way to run programs of linux/arm64 (Linux 5.15.0): \
                    Operation not permitted (os error 1); boot Linux 6.7 or newer, or install \
                    qemu-user-static and binfmt-support on this machine, or run as root";
        assert_eq!(answer(false, false, Ok(&[])), none);
        assert_eq!(answer(false, false, Err(io::Error::from(Errno::NOENT))), none);
        assert_eq!(
            answer(false, true, Err(io::Error::from(Errno::NODEV))),
            "failed to find a way to run programs of linux/arm64 (Linux 5.15.0): \
             No such device (os error 19); as root: modprobe binfmt_misc"
        );
    }

    #[test]
    fn handlers_are_read_as_the_kernel_writes_them() {
        let of = |text: &str| interpreter(text, arm64());
        assert!(of(QEMU).is_some());
        assert_eq!(of(&QEMU.replace("enabled", "disabled")), None);
        assert_eq!(of(&QEMU.replace("POCF", "POC")), None);
        assert_eq!(of(&QEMU.replace("200b700", "200f300")), None);
        // Fixed programs only, or none of the position-independent ones.
        assert_eq!(of(&QEMU.replace("feffffff", "ffffffff")), None);
        let lines: Vec<&str> = QEMU.lines().collect();
        assert_eq!(of(&lines[..5].join("\n")), None);
        assert_eq!(of("enabled\ninterpreter /x\nflags: F\nextension .py\n"), None);
        assert_eq!(of(&QEMU.replace("offset 0", "offset 40")), None);
        assert_eq!(interpreter(QEMU, ForeignPlatform::find("linux/riscv64").unwrap()), None);
        for length in 0..QEMU.len() {
            of(&QEMU[..length]);
        }
        for odd in ["7", "zz", "é0"] {
            assert_eq!(of(&QEMU.replace("7f454c", odd)), None, "{odd}");
        }
    }

    #[test]
    fn handlers_of_a_machine_are_files() {
        let dir = tempfile::tempdir().unwrap();
        assert!(read_handlers(dir.path()).is_err());
        for (name, text) in [("status", "enabled\n"), ("register", ""), ("qemu-aarch64", QEMU)] {
            fs::write(dir.path().join(name), text).unwrap();
        }
        assert_eq!(read_handlers(dir.path()).unwrap(), [QEMU]);
        fs::write(dir.path().join("status"), "disabled\n").unwrap();
        assert_eq!(read_handlers(dir.path()).unwrap(), [""; 0]);
    }

    #[test]
    fn a_handler_of_ours_takes_its_platform() {
        let hex =
            |bytes: [u8; 20]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        for platform in ["linux/arm/v7", "linux/s390x", "linux/ppc64le"] {
            let platform = ForeignPlatform::find(platform).unwrap();
            let (magic, mask) = (hex(platform.magic()), hex(platform.mask()));
            let text = format!(
                "enabled\ninterpreter /q\nflags: POCF\noffset 0\nmagic {magic}\nmask {mask}\n"
            );
            assert_eq!(interpreter(&text, platform), Some("/q".into()));
            assert_eq!(interpreter(&text, arm64()), None);
        }
    }
}
