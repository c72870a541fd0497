//! The inside of a run: pid 1 of the sandbox, from its start to its end.
//!
//! Runs in the executable of the calling program, started again by [`spawn`](crate::spawn), with
//! one thread, and in a run of foreign programs one more that only sleeps. Builds the root, forks
//! the process, and stays to reap.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::FdFlags;

use crate::devices;
use crate::emulation::Emulation;
use crate::error::{At, Failure};
use crate::execute;
use crate::foreigners::Outside;
use crate::privilege::{self, Privilege};
use crate::process::{Network, Process};
use crate::reap;
use crate::spawn::ARGV0;
use crate::wire::{self, Report};

/// What pid 1 gets from outside.
struct Handed {
    order: OwnedFd,
    report: OwnedFd,
    control: OwnedFd,
}

/// Becomes pid 1 of a sandbox and never returns, if this process was started as one.
pub(crate) fn take_over() {
    let Some(handed) = handed() else {
        return;
    };
    let Handed { order, report, control } = handed;
    let done = match build(order, &control) {
        // The emulation stays registered until the end of this process.
        Ok((process, privilege, _emulation)) => start(&process, privilege, &report, &control),
        Err(failure) => Report::Setup(failure),
    };
    tell(&report, &done);
    leave(0);
}

/// The descriptors named on the command line, if this is pid 1 of a sandbox.
fn handed() -> Option<Handed> {
    let mut arguments = std::env::args_os();
    if arguments.next()?.as_encoded_bytes() != ARGV0.to_bytes()
        || rustix::process::getpid() != rustix::process::Pid::INIT
    {
        return None;
    }
    let mut next = || -> Option<OwnedFd> {
        let number: RawFd = arguments.next()?.to_str()?.parse().ok()?;
        // SAFETY: a process with this name that is pid 1 was started by `spawn`, which left these
        // descriptors open for us and names each once; F_GETFD refuses any that is not open.
        unsafe {
            if number < 3 || libc::fcntl(number, libc::F_GETFD) < 0 {
                return None;
            }
            Some(OwnedFd::from_raw_fd(number))
        }
    };
    Some(Handed { order: next()?, report: next()?, control: next()? })
}

/// Makes this process ready to be pid 1 and builds the root around it.
fn build(
    order: OwnedFd,
    control: &OwnedFd,
) -> Result<(Process, Privilege, Option<Emulation>), Failure> {
    die_with_parent(control)?;
    let mut bytes = Vec::new();
    File::from(order).read_to_end(&mut bytes).at(|| "read the order".into())?;
    let process = wire::decode_process(&bytes).at(|| "read the order".into())?;
    let privilege = privilege::current()?;
    execute::default_signals();
    // Every descriptor but the standard ones stays out of the process.
    close_on_exec()?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    devices::separate()?;
    let outside = process.foreign.as_ref().map(Outside::open).transpose()?;
    devices::enter_root(&process, privilege)?;
    rustix::system::sethostname(process.hostname.as_bytes()).at(|| "set the host name".into())?;
    if process.network == Network::None {
        loopback_up().at(|| "bring the loopback interface up".into())?;
    }
    let emulation = outside.map(Outside::settle).transpose()?;
    // The process cannot look into pid 1, whose executable is the host's.
    // SAFETY: PR_SET_DUMPABLE takes one number.
    unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) };
    Ok((process, privilege, emulation))
}

/// Asks to be killed with the parent, and ends now if the parent has gone already.
fn die_with_parent(control: &OwnedFd) -> Result<(), Failure> {
    // SAFETY: PR_SET_PDEATHSIG takes a signal number.
    if unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0) } < 0 {
        return Err(io::Error::last_os_error()).at(|| "tie the sandbox to its caller".into());
    }
    let mut fds = [PollFd::new(control, PollFlags::IN)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut fds, Some(&now)).at(|| "look for the caller".into())?;
    if fds[0].revents().contains(PollFlags::HUP) {
        leave(1);
    }
    Ok(())
}

fn close_on_exec() -> Result<(), Failure> {
    // SAFETY: CLOSE_RANGE_CLOEXEC closes nothing now, so no descriptor in use goes away.
    let result = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            3 as libc::c_uint,
            libc::c_uint::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error()).at(|| "keep descriptors from the process".into());
    }
    Ok(())
}

/// Forks the process and stays as init until it ends; what is to be reported.
fn start(process: &Process, privilege: Privilege, report: &OwnedFd, control: &OwnedFd) -> Report {
    // SAFETY: no other thread of this process (there may be one that sleeps) holds a lock, so the child may use everything that it may.
    let pid = unsafe { libc::fork() };
    if pid < 0 {
        return Report::Setup(Failure {
            operation: "fork".into(),
            source: io::Error::last_os_error(),
        });
    }
    if pid == 0 {
        let failed = execute::execute(process, privilege);
        tell(report, &failed);
        leave(127);
    }
    match reap::reap(pid, control) {
        Ok(exit) => Report::Exit(exit),
        Err(failure) => Report::Setup(failure),
    }
}

fn tell(report: &OwnedFd, what: &Report) {
    let bytes = wire::encode_report(what);
    // Fails only when the caller has gone, and with it anyone to tell.
    let mut pipe = io::BufWriter::with_capacity(bytes.len(), PipeEnd(report));
    pipe.write_all(&bytes).and_then(|()| pipe.flush()).ok();
}

struct PipeEnd<'a>(&'a OwnedFd);

impl Write for PipeEnd<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::io::write(self.0, bytes)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Ends this process without running anything that was registered for its exit.
pub(crate) fn leave(code: i32) -> ! {
    // SAFETY: `_exit` takes a number and never returns.
    unsafe { libc::_exit(code) }
}

fn loopback_up() -> io::Result<()> {
    let socket = rustix::net::socket(
        rustix::net::AddressFamily::INET,
        rustix::net::SocketType::DGRAM,
        None,
    )?;
    rustix::io::fcntl_setfd(socket.as_fd(), FdFlags::CLOEXEC)?;
    // SAFETY: an all-zero ifreq is valid; the name fits and ends in NUL; the kernel reads the name
    // and the flags only, which is the member of the union that is set.
    unsafe {
        let mut request: libc::ifreq = std::mem::zeroed();
        for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
            *to = *from as libc::c_char;
        }
        request.ifr_ifru.ifru_flags = libc::IFF_UP as libc::c_short;
        if libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &raw const request) < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}
