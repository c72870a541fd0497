//! Init: waits for the process, reaps the orphans it leaves, passes SIGTERM on.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{FromRawFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use crate::error::{At, Failure};
use crate::inside::leave;
use crate::process::Exit;

/// Waits until `main` ends. A byte on `control` sends it SIGTERM; the closing of `control` ends
/// everything at once. Expects SIGCHLD to be blocked.
pub(crate) fn reap(main: libc::pid_t, control: &OwnedFd) -> Result<Exit, Failure> {
    let deaths = child_signals().at(|| "wait for signals".into())?;
    loop {
        // Before the first wait too: a death from before the descriptor existed is found here.
        if let Some(exit) = collect(main).at(|| "wait for the process".into())? {
            return Ok(exit);
        }
        let mut fds = [PollFd::new(&deaths, PollFlags::IN), PollFd::new(control, PollFlags::IN)];
        match poll(&mut fds, None) {
            Err(Errno::INTR) => continue,
            other => other.at(|| "wait for the process".into())?,
        };
        let (died, asked) = (fds[0].revents(), fds[1].revents());
        if !died.is_empty() {
            // One read empties the queue: signals of one number are not counted.
            let mut info = [0u8; size_of::<libc::signalfd_siginfo>()];
            rustix::io::read(&deaths, &mut info).at(|| "read a signal".into())?;
        }
        if !asked.is_empty() {
            let mut byte = [0];
            match rustix::io::read(control, &mut byte) {
                // SAFETY: `main` is our child and not reaped yet, so the number is still its.
                Ok(1) => drop(unsafe { libc::kill(main, libc::SIGTERM) }),
                _ => leave(1),
            }
        }
    }
}

/// Reaps whatever has ended; how `main` ended, if it is among them.
fn collect(main: libc::pid_t) -> io::Result<Option<Exit>> {
    loop {
        let mut status = 0;
        // SAFETY: waitpid writes one int.
        match unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) } {
            0 => return Ok(None),
            -1 => {
                let error = io::Error::last_os_error();
                if error.raw_os_error() != Some(libc::EINTR) {
                    return Err(error);
                }
            }
            pid if pid == main => {
                return Ok(Some(if libc::WIFSIGNALED(status) {
                    Exit::Signal(libc::WTERMSIG(status))
                } else {
                    Exit::Code(libc::WEXITSTATUS(status))
                }));
            }
            _ => {}
        }
    }
}

/// A descriptor that is readable when a child has ended.
fn child_signals() -> io::Result<OwnedFd> {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigemptyset initialises the set before the others read it; signalfd returns a new
    // descriptor or -1.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        libc::sigaddset(set.as_mut_ptr(), libc::SIGCHLD);
        match libc::signalfd(-1, set.as_ptr(), libc::SFD_CLOEXEC) {
            -1 => Err(io::Error::last_os_error()),
            fd => Ok(OwnedFd::from_raw_fd(fd)),
        }
    }
}
