//! A run of foreign programs, from the side of pid 1: a user namespace with a handler of its own,
//! and the hidden directory.
//!
//! Two halves, since what lies outside the root has no path any more once the root is entered:
//! [`Outside::open`] before, [`Outside::settle`] after. Nothing is registered on the machine.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::mount::MountAttrFlags as Attr;

use crate::emulation::{self, Emulation, kernel};
use crate::error::{At, Failure};
use crate::mountapi;
use crate::parked;
use crate::process::{Foreign, HIDDEN};
use crate::userns;

/// What a run of foreign programs takes from outside its root.
pub(crate) struct Outside<'a> {
    foreign: &'a Foreign,
    handler: File,
    hidden: Option<OwnedFd>,
}

impl<'a> Outside<'a> {
    /// Opens the handler and the hidden directory. The mounts of this namespace are private
    /// already, so nothing that is mounted outside later turns up in the directory.
    pub(crate) fn open(foreign: &'a Foreign) -> Result<Outside<'a>, Failure> {
        let handler = File::open(&foreign.handler)
            .at(|| format!("open the handler {}", foreign.handler.display()))?;
        let hidden = match &foreign.hidden {
            Some(directory) => Some(
                harmless_tree(directory)
                    .at(|| format!("open the hidden directory {}", directory.display()))?,
            ),
            None => None,
        };
        Ok(Outside { foreign, handler, hidden })
    }

    /// Enters the inner user namespace, registers the handler there, and mounts the hidden
    /// directory. The handler works until the result is dropped.
    pub(crate) fn settle(self) -> Result<Emulation, Failure> {
        userns::enter()?;
        let Foreign { platform, handler, .. } = self.foreign;
        let emulation = emulation::register(platform, &self.handler).at(|| {
            format!(
                "register the handler {} for {} (Linux {})",
                handler.display(),
                platform.platform,
                kernel()
            )
        })?;
        // Also without a hidden directory, so that the process always has the same pid.
        let thread = parked::start().at(|| "start a thread".into())?;
        if HIDDEN != format!("/proc/{thread}") {
            return Err(io::Error::other(format!("the thread has the id {thread}")))
                .at(|| format!("keep {HIDDEN} for the hidden directory"));
        }
        if let Some(hidden) = self.hidden {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            rustix::fs::open(HIDDEN, flags, Mode::empty())
                .map_err(io::Error::from)
                .and_then(|place| mountapi::attach(hidden.as_fd(), place.as_fd()))
                .at(|| format!("mount the hidden directory at {HIDDEN}"))?;
        }
        Ok(emulation)
    }
}

/// What is mounted at a directory and below, without setuid programs and devices.
fn harmless_tree(directory: &Path) -> io::Result<OwnedFd> {
    let tree = mountapi::clone_tree(directory)?;
    let attributes = Attr::MOUNT_ATTR_NOSUID | Attr::MOUNT_ATTR_NODEV;
    mountapi::restrict(tree.as_fd(), attributes, true)?;
    Ok(tree)
}
