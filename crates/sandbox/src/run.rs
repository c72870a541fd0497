//! The outside of a run: prepares the root, starts the sandbox, passes output on, waits.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};

use crate::cancel::Cancel;
use crate::error::{At, Failure, SandboxError};
use crate::mountpoint::MountPoints;
use crate::process::{Exit, Mount, Network, Output, Process, Stdin, Stream};
use crate::rooted::Kind;
use crate::spawn::{Child, Descriptors, Foreground};
use crate::usage::{INTERVAL, Sampler, Usage};
use crate::wire::{self, Report};

/// How long a cancelled process may take to end after SIGTERM.
const GRACE: Duration = Duration::from_secs(2);

/// Paths that are mounted in every run.
pub(crate) const ALWAYS: [&str; 3] = ["/proc", "/sys", "/dev"];

/// Runs one process and waits for its end, calling `on_output` with each piece of its output in
/// the order in which it is read (with [`Output::Pipe`]).
///
/// The run ends when the process itself ends; what it left in the background is killed. Mount
/// points made for the run are removed again. May be called from several threads at once, on
/// different roots; the sandbox lives no longer than the calling thread.
///
/// # Errors
/// [`SandboxError::Exec`] when the program could not be started, [`SandboxError::Cancelled`] after
/// `cancel` (SIGTERM to the process, two seconds, then SIGKILL to everything), others when the
/// sandbox could not be built. A process that fails is no error, but an [`Exit`].
pub fn run(
    process: &Process,
    on_output: &mut dyn FnMut(Stream, &[u8]),
    cancel: &Cancel,
) -> Result<Exit, SandboxError> {
    run_with(process, on_output, cancel, None)
}

/// The same, and how much processor time its processes took, as far as they lived long enough to be
/// seen (see [`Usage`]).
///
/// # Errors
/// As [`run`].
pub fn run_measured(
    process: &Process,
    on_output: &mut dyn FnMut(Stream, &[u8]),
    cancel: &Cancel,
) -> Result<(Exit, Vec<Usage>), SandboxError> {
    let mut usage = Vec::new();
    let exit = run_with(process, on_output, cancel, Some(&mut usage))?;
    Ok((exit, usage))
}

fn run_with(
    process: &Process,
    on_output: &mut dyn FnMut(Stream, &[u8]),
    cancel: &Cancel,
    usage: Option<&mut Vec<Usage>>,
) -> Result<Exit, SandboxError> {
    if cancel.is_cancelled() {
        return Err(SandboxError::Cancelled);
    }
    let mut points = MountPoints::default();
    make_mount_points(process, &mut points).map_err(Failure::prepare)?;
    let foreground = match (&process.stdin, process.output) {
        (Stdin::Inherit, Output::Inherit) => Foreground::remember(),
        _ => None,
    };
    let outcome = Running::start(process)
        .and_then(|running| running.watch(on_output, cancel, usage))
        .map_err(Failure::prepare);
    drop(foreground);
    let removed = points.remove().map_err(Failure::prepare);
    let outcome = outcome?;
    removed?;
    outcome.verdict(process)
}

/// Makes what is missing in the root for the mounts and files of a run, except where they come to
/// lie on another mount.
fn make_mount_points(process: &Process, points: &mut MountPoints) -> Result<(), Failure> {
    let root = rustix::fs::open(
        &process.root,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .at(|| format!("open the root {}", process.root.display()))?;
    let mut covered: Vec<&Path> = Vec::new();
    let mut wanted: Vec<(&Path, Kind)> = Vec::new();
    wanted.extend(ALWAYS.map(|path| (Path::new(path), Kind::Directory)));
    for mount in &process.mounts {
        let kind = match mount {
            Mount::Bind { source, .. } => kind_of(source)?,
            Mount::Tmpfs { .. } => Kind::Directory,
        };
        wanted.push((mount.target(), kind));
    }
    wanted.extend(process.files.iter().map(|file| (file.path.as_path(), Kind::File)));
    for (path, kind) in wanted {
        if !path.is_absolute() {
            return Err(io::Error::from(Errno::INVAL))
                .at(|| format!("mount at {}: the path is not absolute", path.display()));
        }
        if !path.components().any(|part| matches!(part, Component::Normal(_))) {
            return Err(io::Error::from(Errno::BUSY))
                .at(|| format!("mount at {}: it is the root itself", path.display()));
        }
        if !covered.iter().any(|cover| path.starts_with(cover) && path != *cover) {
            points.ensure(root.as_fd(), path, kind)?;
        }
        covered.push(path);
    }
    Ok(())
}

/// Whether a bind mount of `source` needs a directory or a file to lie on.
pub(crate) fn kind_of(source: &Path) -> Result<Kind, Failure> {
    let meta = std::fs::metadata(source)
        .at(|| format!("find the source {} of a mount", source.display()))?;
    Ok(if meta.is_dir() { Kind::Directory } else { Kind::File })
}

/// A sandbox at work and this end of its pipes.
struct Running {
    child: Child,
    /// Written to ask for SIGTERM; its closing ends the sandbox.
    control: OwnedFd,
    report: OwnedFd,
    outputs: Vec<(Stream, OwnedFd)>,
}

/// How a run ended.
struct Outcome {
    report: Vec<u8>,
    how: String,
    cancelled: bool,
}

impl Running {
    fn start(process: &Process) -> Result<Running, Failure> {
        let pipe = || pipe_with(PipeFlags::CLOEXEC).at(|| "make a pipe".into());
        let order = memory_file(c"anyarch-order", &wire::encode_process(process))?;
        let (report, report_in) = pipe()?;
        let (control_in, control) = pipe()?;
        let stdin = match &process.stdin {
            Stdin::Inherit => None,
            Stdin::Bytes(bytes) => Some(memory_file(c"anyarch-stdin", bytes)?),
            Stdin::Null => Some(
                rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
                    .at(|| "open /dev/null".into())?,
            ),
        };
        let mut outputs = Vec::new();
        let mut ends = [None, None];
        if process.output == Output::Pipe {
            for (stream, end) in [Stream::Stdout, Stream::Stderr].into_iter().zip(&mut ends) {
                let (read, write) = pipe()?;
                outputs.push((stream, read));
                *end = Some(write);
            }
        }
        let [stdout, stderr] = &ends;
        let descriptors = Descriptors {
            standard: [
                stdin.as_ref().map(AsFd::as_fd),
                stdout.as_ref().map(AsFd::as_fd),
                stderr.as_ref().map(AsFd::as_fd),
            ],
            kept: [order.as_fd(), report_in.as_fd(), control_in.as_fd()],
        };
        let child = Child::start(&descriptors, process.network == Network::None)
            .at(|| "start the sandbox".into())?;
        for fd in outputs.iter().map(|(_, fd)| fd).chain([&report]) {
            nonblocking(fd.as_fd()).at(|| "prepare a pipe".into())?;
        }
        Ok(Running { child, control, report, outputs })
    }

    /// Passes output on until everything in the sandbox has ended.
    fn watch(
        mut self,
        on_output: &mut dyn FnMut(Stream, &[u8]),
        cancel: &Cancel,
        usage: Option<&mut Vec<Usage>>,
    ) -> Result<Outcome, Failure> {
        let mut sampler = usage.is_some().then(|| Sampler::new(self.child.pid()));
        let mut next_look = Instant::now() + INTERVAL;
        let bell = cancel.bell().at(|| "wait for cancellation".into())?;
        let mut buffer = vec![0; 64 * 1024];
        let mut deadline: Option<Instant> = None;
        let mut cancelled = false;
        loop {
            let mut fds = vec![PollFd::new(&self.child, PollFlags::IN)];
            fds.extend(self.outputs.iter().map(|(_, fd)| PollFd::new(fd, PollFlags::IN)));
            if !cancelled {
                fds.push(PollFd::new(&bell, PollFlags::IN));
            }
            if let Some(sampler) = &mut sampler
                && Instant::now() >= next_look
            {
                sampler.look();
                next_look = Instant::now() + INTERVAL;
            }
            let wake = sampler.is_some().then_some(next_look).into_iter().chain(deadline).min();
            let left = wake.map(|at| timespec(at.saturating_duration_since(Instant::now())));
            match poll(&mut fds, left.as_ref()) {
                Err(Errno::INTR) => continue,
                other => other.at(|| "wait for the sandbox".into())?,
            };
            let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
            drop(fds);
            let ended = ready[0];
            let count = self.outputs.len();
            if !cancelled && ready.get(count + 1) == Some(&true) {
                cancelled = true;
                deadline = Some(Instant::now() + GRACE);
                // Fails only when it has ended already.
                rustix::io::write(&self.control, b"T").ok();
            }
            if deadline.is_some_and(|at| Instant::now() >= at) {
                self.child.kill();
                deadline = None;
            }
            let mut index = 0;
            let mut failed = None;
            self.outputs.retain(|(stream, fd)| {
                index += 1;
                // After the end everything that is left is read, however much.
                match ready[index] || ended {
                    false => true,
                    true => loop {
                        match rustix::io::read(fd, &mut buffer[..]) {
                            Ok(0) => break false,
                            Ok(length) => on_output(*stream, &buffer[..length]),
                            Err(Errno::AGAIN) => break true,
                            Err(Errno::INTR) => continue,
                            Err(error) => {
                                failed = Some(error);
                                break false;
                            }
                        }
                        if !ended {
                            break true;
                        }
                    },
                }
            });
            if let Some(error) = failed {
                return Err(error).at(|| "read the output".into());
            }
            if ended {
                break;
            }
        }
        if let (Some(usage), Some(sampler)) = (usage, sampler) {
            *usage = sampler.finish();
        }
        let how = self.child.wait().at(|| "wait for the sandbox".into())?;
        let mut report = Vec::new();
        match File::from(self.report).read_to_end(&mut report) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            other => drop(other.at(|| "read the report of the sandbox".into())?),
        }
        Ok(Outcome { report, how, cancelled })
    }
}

impl AsFd for Child {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd()
    }
}

impl Outcome {
    fn verdict(self, process: &Process) -> Result<Exit, SandboxError> {
        if self.cancelled {
            return Err(SandboxError::Cancelled);
        }
        let report = wire::decode_report(&self.report)
            .at(|| "read the report of the sandbox".into())
            .map_err(Failure::prepare)?;
        match report {
            Some(Report::Exit(exit)) => Ok(exit),
            Some(Report::Exec(reason)) => Err(SandboxError::Exec {
                program: process.argv.first().cloned().unwrap_or_default(),
                reason,
            }),
            Some(Report::Setup(failure)) => {
                Err(SandboxError::Setup { operation: failure.operation, source: failure.source })
            }
            None => Err(SandboxError::Killed { how: self.how }),
        }
    }
}

/// A file in memory with these bytes, read from its beginning.
fn memory_file(name: &std::ffi::CStr, bytes: &[u8]) -> Result<OwnedFd, Failure> {
    let write = || -> io::Result<OwnedFd> {
        let fd = rustix::fs::memfd_create(name, rustix::fs::MemfdFlags::CLOEXEC)?;
        let mut file = File::from(fd);
        file.write_all(bytes)?;
        file.rewind()?;
        Ok(file.into())
    };
    write().at(|| "make a file in memory".into())
}

fn nonblocking(fd: BorrowedFd<'_>) -> io::Result<()> {
    let flags = rustix::fs::fcntl_getfl(fd)?;
    Ok(rustix::fs::fcntl_setfl(fd, flags | OFlags::NONBLOCK)?)
}

fn timespec(duration: Duration) -> Timespec {
    Timespec { tv_sec: duration.as_secs() as _, tv_nsec: duration.subsec_nanos() as _ }
}
