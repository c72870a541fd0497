//! The inner user namespace of a run: every id of the outer one, under the same number.
//!
//! What it is good for: in it the sandbox may register handlers of its own (see
//! [`emulation`](crate::emulation)), also when the outer one is the machine's. Owners read the same
//! on both sides.

use std::fs::{self, File};
use std::io::{self, Read, Write};

use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, WaitOptions, waitpid};
use rustix::thread::UnshareFlags;

use crate::error::{At, FOREIGN_NAMESPACE, Failure};
use crate::inside::leave;
use crate::subid::identity;

/// The maps of a process, as they are read and written.
const MAPS: [&str; 2] = ["uid_map", "gid_map"];

/// Moves pid 1 into new user and mount namespaces, in which it has every capability again. Needs
/// one thread, and the `/proc` of the sandbox in its place. Takes the next pid and gives it back.
///
/// Where groups may not be set (a namespace with one id), the kernel hands that on by itself.
pub(crate) fn enter() -> Result<(), Failure> {
    let mut maps = Vec::new();
    for name in MAPS {
        let path = format!("/proc/self/{name}");
        let map = fs::read_to_string(&path).at(|| format!("read {path}"))?;
        maps.push((format!("/proc/1/{name}"), identity(&map)));
    }
    let (wait, go) = pipe_with(PipeFlags::CLOEXEC).at(|| "make a pipe".into())?;
    // SAFETY: pid 1 has one thread here, so the child may use everything that it may; it leaves
    // with `_exit` and never returns from here.
    let pid = unsafe { libc::fork() };
    if pid < 0 {
        return Err(io::Error::last_os_error()).at(|| "start a helper process".into());
    }
    if pid == 0 {
        drop(go);
        let mut byte = [0];
        // End of file: pid 1 has failed, and reports that itself.
        if File::from(wait).read_exact(&mut byte).is_err() {
            leave(0);
        }
        let written = maps.iter().try_for_each(|(path, map)| fs::write(path, map));
        leave(written.err().map_or(0, |error| error.raw_os_error().unwrap_or(libc::EIO)));
    }
    let flags = UnshareFlags::NEWUSER | UnshareFlags::NEWNS;
    // SAFETY: memory and descriptors stay as they are, and no other thread is left behind.
    unsafe { rustix::thread::unshare_unsafe(flags) }.at(|| FOREIGN_NAMESPACE.into())?;
    File::from(go).write_all(&[1]).at(|| "start a helper process".into())?;
    let status = loop {
        match waitpid(Pid::from_raw(pid), WaitOptions::empty()) {
            Err(Errno::INTR) => {}
            other => break other.at(|| "wait for a helper process".into())?,
        }
    };
    match status.and_then(|(_, status)| status.exit_status()) {
        Some(0) => Ok(()),
        // Its exit code is the kernel's error number.
        code => Err(io::Error::from_raw_os_error(code.unwrap_or(libc::EIO)))
            .at(|| "map the ids of the user namespace for foreign programs".into()),
    }
}
