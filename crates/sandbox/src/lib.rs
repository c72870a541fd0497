//! Runs one process in one mounted root, as root or as an ordinary user.
//!
//! What it does: puts the calling program into a private mount namespace ([`enter`]), mounts
//! overlays there ([`OverlayMount`]), and runs processes in new pid, mount, ipc and uts namespaces
//! ([`run`]). Depends on Linux 5.12 or newer (overlayfs, `openat2`, `mount_setattr`), on `rustix`
//! and `libc`, and on nothing of ours. It must never know of images, layers, plans, Dockerfiles or
//! registries, reads no environment variable, and prints nothing.
//!
//! The order in a program is: [`init`] as the first statement of `main`, [`enter`] while there is
//! still one thread, then [`run`] from any thread, any number at a time.
//!
//! How a run is built (design, "Sandbox"):
//! 1. The calling thread creates the missing mount points in the root and remembers them.
//! 2. It clones a child into new namespaces; the child executes `/proc/self/exe` again with a
//!    private `argv[0]`, and [`init`] takes over there. That child is pid 1 of the namespace.
//! 3. Pid 1 mounts `/proc`, `/sys`, `/dev`, the given mounts and files, makes the root its root,
//!    forks the process and stays to reap orphans.
//! 4. When the process ends, pid 1 ends, and with it everything in the namespace; the calling
//!    thread drains the output, removes the mount points it made and returns the exit.
//!
//! Programs of other machines run through a handler that is registered for one run and seen by
//! that run alone ([`Foreign`]); what older kernels offer instead, [`foreign_support`] says.
//!
//! Everything mounted lives in the private mount namespace of this program, and every process of a
//! run dies with the thread that called [`run`]: a `kill -9` leaves neither mounts nor processes.
#![cfg_attr(test, allow(clippy::unwrap_used))]
// The one crate that talks to the kernel where the type system cannot check it: clone, prctl,
// mount_setattr, seccomp, fork. Every block says why it is sound.
#![allow(unsafe_code)]

mod cancel;
mod caps;
mod devices;
mod diagnose;
mod emulation;
mod error;
mod execute;
mod foreign;
mod foreigners;
mod inside;
mod mountapi;
mod mountpoint;
mod overlay;
mod parked;
mod privilege;
mod process;
mod reap;
mod rooted;
mod run;
mod seccomp;
mod spawn;
mod subid;
mod support;
mod usage;
mod userns;
mod wire;

pub use cancel::Cancel;
pub use caps::Capabilities;
pub use emulation::Emulation;
pub use error::{ExecFailure, SandboxError};
pub use foreign::ForeignPlatform;
pub use overlay::OverlayMount;
pub use privilege::{Entered, Privilege, enter};
pub use process::{
    Exit, Foreign, HIDDEN, Mount, Network, Output, Process, ProvidedFile, Stdin, Stream,
};
pub use run::{run, run_measured};
pub use support::{Support, foreign_support};
pub use usage::Usage;

/// Takes over when this process was started as the inside of a sandbox; returns at once otherwise.
///
/// Must be the first statement of `main`, before any other thread exists: in a sandbox child it
/// never returns.
pub fn init() {
    inside::take_over();
}
