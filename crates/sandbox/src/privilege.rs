//! Puts the calling program into a mount namespace of its own, and, for an ordinary user, into a
//! user namespace in which it is user 0.
//!
//! Reads the subordinate ids of the user; mounts nothing.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::mount::{MountPropagationFlags, mount_change};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, WaitOptions};
use rustix::thread::{CapabilitySet, UnshareFlags};

use crate::error::{At, Failure, SandboxError};
use crate::execute::default_signals;
use crate::subid::{Range, mapped_ids, mapping, ranges, user_name};

/// What this program may do after [`enter`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Privilege {
    /// The real root: every id exists.
    Root,
    /// Root of a user namespace that maps this many ids, from 0.
    UserRange {
        /// Number of ids, such as 65537.
        ids: u32,
    },
    /// Root of a user namespace in which no other id exists. Runs pretend that changes of owner
    /// and of user succeed: files that a step gives to others stay root's, and a step's `USER`
    /// runs as root. A program that checks afterwards notices: apt wants
    /// `APT::Sandbox::User "root"` here.
    UserSingle,
}

/// What [`enter`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entered {
    /// What this program may do now.
    pub privilege: Privilege,
    /// What a person should know, with the remedy.
    pub warnings: Vec<String>,
}

/// Moves this program into a private mount namespace, and an ordinary user into a user namespace
/// with the ranges of `/etc/subuid` and `/etc/subgid` (own id → 0, ranges → 1 and up).
///
/// Mounts made afterwards are seen by no other program and vanish with this one. Must be called
/// while there is one thread.
///
/// # Errors
/// [`SandboxError::UserNamespaces`] names the kernel setting that forbids user namespaces;
/// [`SandboxError::Enter`] anything else.
pub fn enter() -> Result<Entered, SandboxError> {
    if is_root() {
        unshare(UnshareFlags::NEWNS)
            .at(|| "create a mount namespace".into())
            .map_err(Failure::enter)?;
        keep_mounts_to_ourselves().map_err(Failure::enter)?;
        return Ok(Entered { privilege: current().map_err(Failure::enter)?, warnings: Vec::new() });
    }
    let mut warnings = Vec::new();
    let outside = Outside::start(&mut warnings).map_err(Failure::enter)?;
    if let Err(error) = unshare(UnshareFlags::NEWUSER | UnshareFlags::NEWNS) {
        drop(outside);
        return Err(SandboxError::UserNamespaces { switch: switch(), source: error });
    }
    outside.map(&mut warnings).map_err(blame_switch)?;
    keep_mounts_to_ourselves().map_err(blame_switch)?;
    Ok(Entered { privilege: current().map_err(Failure::enter)?, warnings })
}

/// What this process may do now, read from its own id map.
pub(crate) fn current() -> Result<Privilege, Failure> {
    let map = fs::read_to_string("/proc/self/uid_map").at(|| "read /proc/self/uid_map".into())?;
    let groups =
        fs::read_to_string("/proc/self/gid_map").at(|| "read /proc/self/gid_map".into())?;
    Ok(match mapped_ids(&map).min(mapped_ids(&groups)) {
        0 | 1 => Privilege::UserSingle,
        ids if ids >= u64::from(u32::MAX) => Privilege::Root,
        ids => Privilege::UserRange { ids: u32::try_from(ids).unwrap_or(u32::MAX) },
    })
}

/// Root that may mount; root of a container without that right counts as an ordinary user.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
        && rustix::thread::capabilities(None)
            .is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_ADMIN))
}

fn unshare(flags: UnshareFlags) -> io::Result<()> {
    // SAFETY: namespaces other than FILES leave memory and descriptors alone; `enter` is called
    // with one thread, so no other thread is left in the old ones.
    unsafe { rustix::thread::unshare_unsafe(flags)? };
    Ok(())
}

/// Nothing mounted here is seen outside. What the host unmounts goes away here as well, so a long
/// run does not keep the host's disks busy.
fn keep_mounts_to_ourselves() -> Result<(), Failure> {
    mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::DOWNSTREAM)
        .at(|| "separate the mounts from the host's".into())
}

fn blame_switch(failure: Failure) -> SandboxError {
    match switch() {
        Some(switch) => {
            SandboxError::UserNamespaces { switch: Some(switch), source: failure.source }
        }
        None => failure.enter(),
    }
}

/// The kernel setting that forbids user namespaces to an ordinary user, if one does.
fn switch() -> Option<&'static str> {
    const SWITCHES: [(&str, &str, &str); 3] = [
        ("/proc/sys/user/max_user_namespaces", "0", "user.max_user_namespaces=0"),
        ("/proc/sys/kernel/unprivileged_userns_clone", "0", "kernel.unprivileged_userns_clone=0"),
        (
            "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
            "1",
            "kernel.apparmor_restrict_unprivileged_userns=1",
        ),
    ];
    SWITCHES
        .into_iter()
        .find(|(path, off, _)| fs::read_to_string(path).is_ok_and(|value| value.trim() == *off))
        .map(|(_, _, name)| name)
}

/// Writes the id maps of this process once it is in its user namespace: a helper outside does it
/// where there are ranges (only newuidmap and newgidmap may), else this process maps one id.
struct Outside {
    /// Ids of the user outside; inside they read as the overflow id until the maps are written.
    uid: u32,
    gid: u32,
    helper: Option<Helper>,
}

impl Outside {
    fn start(warnings: &mut Vec<String>) -> Result<Outside, Failure> {
        let uid = rustix::process::geteuid().as_raw();
        let gid = rustix::process::getegid().as_raw();
        let name = fs::read_to_string("/etc/passwd").ok().and_then(|text| user_name(&text, uid));
        let read = |path: &str| -> Vec<Range> {
            let text = fs::read_to_string(path).unwrap_or_default();
            ranges(&text, name.as_deref(), uid)
        };
        let (users, groups) = (read("/etc/subuid"), read("/etc/subgid"));
        let mut helper = None;
        if users.is_empty() || groups.is_empty() {
            let who = name.unwrap_or_else(|| uid.to_string());
            warnings.push(format!(
                "user {who} has no subordinate ids, so every file of a step belongs to root: as \
                 root, usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {who}"
            ));
        } else if let (Some(users_tool), Some(groups_tool)) = (find("newuidmap"), find("newgidmap"))
        {
            helper = Some(Helper::start(&[
                (users_tool, mapping(uid, &users)),
                (groups_tool, mapping(gid, &groups)),
            ])?);
        } else {
            warnings.push(
                "newuidmap and newgidmap are not installed, so every file of a step belongs to \
                 root: install the package uidmap"
                    .into(),
            );
        }
        Ok(Outside { uid, gid, helper })
    }

    fn map(self, warnings: &mut Vec<String>) -> Result<(), Failure> {
        if let Some(helper) = self.helper {
            match helper.finish()? {
                None => return Ok(()),
                Some(message) => warnings.push(format!(
                    "the subordinate ids could not be used ({message}), so every file of a step \
                     belongs to root: check /etc/subuid, /etc/subgid and that newuidmap is setuid"
                )),
            }
        }
        write("/proc/self/setgroups", "deny")?;
        write("/proc/self/gid_map", &format!("0 {} 1", self.gid))?;
        // newuidmap may have done its part before newgidmap failed; a map is written once.
        let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
        if mapped_ids(&map) == 0 {
            write("/proc/self/uid_map", &format!("0 {} 1", self.uid))?;
        }
        Ok(())
    }
}

fn write(path: &str, text: &str) -> Result<(), Failure> {
    fs::write(path, text).at(|| format!("write {path}"))
}

/// A program in the usual places, `/run/wrappers/bin` being NixOS's for setuid programs.
fn find(program: &str) -> Option<PathBuf> {
    ["/usr/bin", "/run/wrappers/bin", "/bin", "/usr/local/bin", "/usr/sbin"]
        .into_iter()
        .map(|folder| Path::new(folder).join(program))
        .find(|path| path.is_file())
}

/// A forked process that stays in the namespaces of the host and runs commands on this one.
struct Helper {
    pid: Pid,
    go: OwnedFd,
    answer: OwnedFd,
}

impl Helper {
    /// Forks a process that waits, then runs each command with this process's id as its first
    /// argument.
    fn start(commands: &[(PathBuf, Vec<String>)]) -> Result<Helper, Failure> {
        let pipe = || pipe_with(PipeFlags::CLOEXEC).at(|| "make a pipe".into());
        let (wait, go) = pipe()?;
        let (answer, tell) = pipe()?;
        let target = std::process::id().to_string();
        // SAFETY: the caller of `enter` promises that there is one thread, so the child may use
        // everything that this process may; it leaves with `_exit` and never returns from here.
        let pid = unsafe { libc::fork() };
        if pid < 0 {
            return Err(io::Error::last_os_error()).at(|| "start a helper process".into());
        }
        if pid == 0 {
            drop((go, answer));
            // Where this program ignores SIGCHLD, the helper could not wait for its commands.
            default_signals();
            let mut byte = [0];
            // End of file: this process's parent gave up.
            if File::from(wait).read(&mut byte).is_ok_and(|length| length == 1) {
                let failed = commands
                    .iter()
                    .find_map(|(program, arguments)| run(program, &target, arguments));
                if let Some(message) = failed {
                    File::from(tell).write_all(message.as_bytes()).ok();
                }
            }
            // SAFETY: `_exit` takes a number; nothing of the parent's is flushed or dropped.
            unsafe { libc::_exit(0) };
        }
        match Pid::from_raw(pid) {
            Some(pid) => Ok(Helper { pid, go, answer }),
            None => Err(io::Error::from_raw_os_error(libc::ESRCH)).at(|| "start a helper".into()),
        }
    }

    /// Lets it run its commands and waits; the message of the one that failed, if one did.
    fn finish(self) -> Result<Option<String>, Failure> {
        let Helper { pid, go, answer } = self;
        File::from(go).write_all(&[1]).at(|| "start newuidmap".into())?;
        let mut message = String::new();
        File::from(answer)
            .read_to_string(&mut message)
            .at(|| "read the answer of newuidmap".into())?;
        // With SIGCHLD ignored the kernel has reaped it already.
        rustix::process::waitpid(Some(pid), WaitOptions::empty()).ok();
        let message = message.trim();
        Ok((!message.is_empty()).then(|| message.to_owned()))
    }
}

/// Runs one mapping program; its complaint when it failed.
fn run(program: &Path, target: &str, arguments: &[String]) -> Option<String> {
    match Command::new(program).arg(target).args(arguments).output() {
        Ok(output) if output.status.success() => None,
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ");
            Some(if text.is_empty() {
                format!("{} failed: {}", program.display(), output.status)
            } else {
                text
            })
        }
        Err(error) => Some(format!("{}: {error}", program.display())),
    }
}
