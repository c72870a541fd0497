//! Starts this executable again as pid 1 of new namespaces.
//!
//! Uses clone(2) with a stack of its own and shared memory until the exec (as posix_spawn does), so
//! the cost does not grow with the memory of the calling program, and other threads may run.

use std::ffi::{CStr, CString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use rustix::process::{Pid, Signal, WaitIdOptions, WaitIdStatus, pidfd_send_signal};

/// `argv[0]` of a process that [`init`](crate::init) takes over.
pub(crate) const ARGV0: &CStr = c"anyarch-sandbox-init";

/// Descriptors of the new process. Standard ones that are absent are inherited.
pub(crate) struct Descriptors<'a> {
    pub(crate) standard: [Option<BorrowedFd<'a>>; 3],
    /// Kept open across the exec under their own numbers, which become the arguments.
    pub(crate) kept: [BorrowedFd<'a>; 3],
}

/// Pid 1 of a sandbox. Dropping it kills the whole sandbox and waits for its end.
pub(crate) struct Child {
    pid: libc::pid_t,
    pidfd: OwnedFd,
    reaped: bool,
}

impl Child {
    /// Starts this executable in new pid, mount, ipc and uts namespaces, and in a new network
    /// namespace when `own_network`. It is killed when the calling thread ends.
    pub(crate) fn start(descriptors: &Descriptors<'_>, own_network: bool) -> io::Result<Child> {
        let numbers = descriptors
            .kept
            .iter()
            .map(|fd| CString::new(fd.as_raw_fd().to_string()))
            .collect::<Result<Vec<_>, _>>()?;
        let mut argv: Vec<*const libc::c_char> = vec![ARGV0.as_ptr()];
        argv.extend(numbers.iter().map(|number| number.as_ptr()));
        argv.push(ptr::null());
        let envp: [*const libc::c_char; 1] = [ptr::null()];
        let mut start = Start {
            argv: argv.as_ptr(),
            envp: envp.as_ptr(),
            standard: descriptors.standard.map(|fd| fd.map_or(-1, |fd| fd.as_raw_fd())),
            kept: descriptors.kept.map(|fd| fd.as_raw_fd()),
            errno: 0,
        };
        let mut flags = libc::CLONE_VM
            | libc::CLONE_VFORK
            | libc::CLONE_PIDFD
            | libc::CLONE_NEWPID
            | libc::CLONE_NEWNS
            | libc::CLONE_NEWIPC
            | libc::CLONE_NEWUTS
            | libc::SIGCHLD;
        if own_network {
            flags |= libc::CLONE_NEWNET;
        }
        let mut stack: Vec<MaybeUninit<u128>> = vec![MaybeUninit::uninit(); 4096]; // 64 KiB
        let mut pidfd: RawFd = -1;
        let signals = BlockedSignals::new()?;
        // SAFETY: the stack is 64 KiB, aligned to 16 bytes, given by its end, and lives past the
        // call, since CLONE_VFORK suspends this thread until the child has executed or exited.
        // `start` and what it points to live as long; the child only makes system calls. Signals
        // are blocked, so no handler of this program runs in the child.
        let pid = unsafe {
            libc::clone(
                child,
                stack.as_mut_ptr_range().end.cast(),
                flags,
                (&raw mut start).cast(),
                &raw mut pidfd,
            )
        };
        let error = io::Error::last_os_error();
        drop(signals);
        if pid < 0 {
            return Err(error);
        }
        let child = Child {
            pid,
            // SAFETY: clone with CLONE_PIDFD succeeded, so it is a new descriptor that we own.
            pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) },
            reaped: false,
        };
        if start.errno != 0 {
            return Err(io::Error::from_raw_os_error(start.errno)); // dropping reaps it
        }
        Ok(child)
    }

    /// Its number, as this program sees it; another process may have it after the end.
    pub(crate) fn pid(&self) -> libc::pid_t {
        self.pid
    }

    /// Becomes readable when pid 1, and with it everything in the sandbox, has ended.
    pub(crate) fn pidfd(&self) -> BorrowedFd<'_> {
        use std::os::fd::AsFd;
        self.pidfd.as_fd()
    }

    /// Kills everything in the sandbox; [`wait`](Child::wait) returns soon after.
    pub(crate) fn kill(&self) {
        // Fails only when it is gone already.
        pidfd_send_signal(&self.pidfd, Signal::KILL).ok();
    }

    /// Waits for the end of pid 1; how it ended, in words, if the kernel still knows.
    pub(crate) fn wait(&mut self) -> io::Result<String> {
        let status = loop {
            match rustix::process::waitid(
                rustix::process::WaitId::PidFd(self.pidfd()),
                WaitIdOptions::EXITED,
            ) {
                Err(rustix::io::Errno::INTR) => {}
                // SIGCHLD is ignored in this program: the kernel has reaped it.
                Err(rustix::io::Errno::CHILD) => break None,
                other => break other?,
            }
        };
        self.reaped = true;
        Ok(status.map_or_else(|| "of unknown cause".into(), |status| how(&status)))
    }
}

fn how(status: &WaitIdStatus) -> String {
    match (status.terminating_signal(), status.exit_status()) {
        (Some(signal), _) => format!("signal {signal}"),
        (None, Some(code)) => format!("exit code {code}"),
        (None, None) => "of unknown cause".into(),
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if !self.reaped {
            self.kill();
            self.wait().ok();
        }
    }
}

/// What the new process needs, in memory it shares with its parent until the exec.
struct Start {
    argv: *const *const libc::c_char,
    envp: *const *const libc::c_char,
    standard: [RawFd; 3],
    kept: [RawFd; 3],
    errno: libc::c_int,
}

/// The new process up to its exec: system calls only, nothing that allocates or locks.
extern "C" fn child(start: *mut libc::c_void) -> libc::c_int {
    let start = start.cast::<Start>();
    // SAFETY: the parent keeps `start` alive and does not touch it while this runs (CLONE_VFORK);
    // every pointer in it is valid and NUL-terminated as execve wants; all calls are
    // async-signal-safe. On failure the error number is left for the parent.
    unsafe {
        let failed = libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0) < 0
            || (0..3).any(|number: RawFd| {
                let fd = (&(*start).standard)[number as usize];
                fd >= 0 && libc::dup2(fd, number) < 0
            })
            || (*start).kept.iter().any(|fd| libc::fcntl(*fd, libc::F_SETFD, 0) < 0);
        if !failed {
            libc::execve(c"/proc/self/exe".as_ptr(), (*start).argv, (*start).envp);
        }
        (*start).errno = *libc::__errno_location();
        libc::_exit(127)
    }
}

/// All signals blocked in this thread, until dropped.
struct BlockedSignals(libc::sigset_t);

impl BlockedSignals {
    fn new() -> io::Result<BlockedSignals> {
        let mut all = MaybeUninit::<libc::sigset_t>::uninit();
        let mut old = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: sigfillset initialises `all`; pthread_sigmask reads it and initialises `old`.
        unsafe {
            libc::sigfillset(all.as_mut_ptr());
            match libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), old.as_mut_ptr()) {
                0 => Ok(BlockedSignals(old.assume_init())),
                errno => Err(io::Error::from_raw_os_error(errno)),
            }
        }
    }
}

impl Drop for BlockedSignals {
    fn drop(&mut self) {
        // SAFETY: the set was filled by the kernel in `new`.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.0, ptr::null_mut()) };
    }
}

/// The process group in the foreground of the terminal on standard input, put back when dropped.
pub(crate) struct Foreground(Pid);

impl Foreground {
    /// None when standard input is no terminal, or not ours.
    pub(crate) fn remember() -> Option<Foreground> {
        rustix::termios::tcgetpgrp(rustix::stdio::stdin()).ok().map(Foreground)
    }
}

impl Drop for Foreground {
    fn drop(&mut self) {
        // A program in the background that sets the foreground group is stopped unless SIGTTOU is
        // blocked.
        if let Ok(_blocked) = BlockedSignals::new() {
            rustix::termios::tcsetpgrp(rustix::stdio::stdin(), self.0).ok();
        }
    }
}
