//! The last steps before the program: session, user, capabilities, signals, exec.
//!
//! Runs in the forked child of pid 1, inside the finished root.

use std::convert::Infallible;
use std::ffi::{CString, OsStr};
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::ptr;

use rustix::fs::{Access, AtFlags, CWD};
use rustix::process::{Gid, Uid};

use crate::caps;
use crate::diagnose::diagnose;
use crate::error::{At, ExecFailure, Failure};
use crate::privilege::Privilege;
use crate::process::{DEFAULT_PATH, Output, Process, Stdin};
use crate::seccomp;
use crate::wire::Report;

/// Becomes the program; returns only what kept it from that.
pub(crate) fn execute(process: &Process, privilege: Privilege) -> Report {
    match prepare(process, privilege) {
        Err(failure) => Report::Setup(failure),
        Ok(()) => match become_program(process) {
            Err(failure) => Report::Exec(failure),
            Ok(never) => match never {},
        },
    }
}

fn prepare(process: &Process, privilege: Privilege) -> Result<(), Failure> {
    match process.output {
        Output::Pipe => drop(rustix::process::setsid().at(|| "start a session".into())?),
        Output::Inherit => {
            rustix::process::setpgid(None, None).at(|| "start a process group".into())?;
            let stdin = rustix::stdio::stdin();
            if process.stdin == Stdin::Inherit && rustix::termios::isatty(stdin) {
                // Every signal is blocked here, SIGTTOU too. Not our terminal: nothing to take.
                rustix::termios::tcsetpgrp(stdin, rustix::process::getpid()).ok();
            }
        }
    }
    // As root, who may enter directories that the user may not.
    rustix::process::chdir(&process.cwd)
        .at(|| format!("enter the working directory {}", process.cwd.display()))?;
    caps::limit_bounding_set(process.capabilities)?;
    if privilege == Privilege::UserSingle {
        seccomp::pretend_owners().at(|| "install the filter for owners".into())?;
    }
    let groups: Vec<Gid> = process.groups.iter().map(|gid| Gid::from_raw(*gid)).collect();
    rustix::thread::set_thread_groups(&groups)
        .at(|| format!("switch to the groups {:?}", process.groups))?;
    let gid = Gid::from_raw(process.gid);
    rustix::thread::set_thread_res_gid(gid, gid, gid)
        .at(|| format!("switch to group {}", process.gid))?;
    let uid = Uid::from_raw(process.uid);
    rustix::thread::set_thread_res_uid(uid, uid, uid)
        .at(|| format!("switch to user {}", process.uid))?;
    // The filter above may have kept us root.
    caps::limit_thread(process.capabilities, rustix::process::geteuid().as_raw())?;
    unblock_signals();
    Ok(())
}

fn become_program(process: &Process) -> Result<Infallible, ExecFailure> {
    let Some(program) = process.argv.first() else {
        return Err(ExecFailure::NotFound { searched: None });
    };
    let program = find(program, process)?;
    let other = |_| ExecFailure::Other { errno: libc::EINVAL };
    let path = CString::new(program.as_os_str().as_bytes()).map_err(other)?;
    let argv = process
        .argv
        .iter()
        .map(|arg| CString::new(arg.as_bytes()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(other)?;
    let envp = process
        .env
        .iter()
        .map(|(key, value)| CString::new([key.as_bytes(), b"=", value.as_bytes()].concat()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(other)?;
    let (argv, envp) = (pointers(&argv), pointers(&envp));
    // SAFETY: path, argv and envp are NUL-terminated strings, the lists end with a null pointer,
    // and all live until the call returns, which it does only in failure.
    unsafe { libc::execve(path.as_ptr(), argv.as_ptr(), envp.as_ptr()) };
    Err(diagnose(&program, &io::Error::last_os_error()))
}

fn pointers(strings: &[CString]) -> Vec<*const libc::c_char> {
    let ends = std::iter::once(ptr::null());
    strings.iter().map(|text| text.as_ptr()).chain(ends).collect()
}

/// The file that `program` names: itself with a slash, else the first executable one in `PATH`.
fn find(program: &OsStr, process: &Process) -> Result<PathBuf, ExecFailure> {
    if program.is_empty() {
        return Err(ExecFailure::NotFound { searched: None });
    }
    if program.as_bytes().contains(&b'/') {
        return Ok(program.into());
    }
    let path = process
        .env
        .iter()
        .rev()
        .find(|(key, _)| key == "PATH")
        .map_or(OsStr::new(DEFAULT_PATH), |(_, value)| value);
    let mut failure = ExecFailure::NotFound { searched: Some(path.to_string_lossy().into_owned()) };
    for folder in std::env::split_paths(path) {
        let file = Path::new(".").join(folder).join(program);
        let executable = rustix::fs::accessat(CWD, &file, Access::EXEC_OK, AtFlags::EACCESS);
        match std::fs::metadata(&file) {
            Ok(meta) if meta.is_file() => match executable {
                Ok(()) => return Ok(file),
                Err(_) => failure = ExecFailure::PermissionDenied,
            },
            _ => {}
        }
    }
    Err(failure)
}

/// Sets every signal that was ignored or handled back to its default.
pub(crate) fn default_signals() {
    // The kernel's `struct sigaction`, not libc's: no handler, no flags, no mask.
    let default = [0u64; 4];
    for signal in 1..=64 {
        // SAFETY: the action is as large as the kernel reads and installs no code. The raw call
        // also reaches the two signals that libc keeps for itself, which a careless ancestor may
        // have ignored. SIGKILL and SIGSTOP refuse, which is right.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                default.as_ptr(),
                ptr::null_mut::<libc::c_void>(),
                size_of::<u64>(),
            )
        };
    }
}

fn unblock_signals() {
    let mut none = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigemptyset initialises the set that sigprocmask reads.
    unsafe {
        libc::sigemptyset(none.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), ptr::null_mut());
    }
}
