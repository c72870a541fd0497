//! What to run, in which root, with what around it.
//!
//! Plain values; the environment of the calling program is never mixed in.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::caps::Capabilities;
use crate::foreign::ForeignPlatform;

/// One process to run in one mounted root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// The root directory, mounted already (an [`OverlayMount`](crate::OverlayMount) target or a
    /// plain directory). Must be writable when mount points are missing in it.
    pub root: PathBuf,
    /// Program and arguments, at least one. A program without a slash is looked up in `PATH` of
    /// `env`, inside the root.
    pub argv: Vec<OsString>,
    /// The whole environment.
    pub env: Vec<(OsString, OsString)>,
    /// Working directory inside the root; must exist.
    pub cwd: PathBuf,
    /// User id inside the root.
    pub uid: u32,
    /// Primary group id inside the root.
    pub gid: u32,
    /// Supplementary group ids inside the root.
    pub groups: Vec<u32>,
    /// Host name that the process sees.
    pub hostname: String,
    /// Network that the process sees.
    pub network: Network,
    /// Further mounts, made in this order after `/proc`, `/sys` and `/dev`. None of them, nor a
    /// mount point made for them, stays in the root.
    pub mounts: Vec<Mount>,
    /// Files that the process sees and the root never holds. Those under `/dev/.anyarch` are
    /// read-only; others may be written by the process, and the result is thrown away.
    pub files: Vec<ProvidedFile>,
    /// Standard input.
    pub stdin: Stdin,
    /// Where standard output and standard error go.
    pub output: Output,
    /// Capabilities that the process may have; a user other than 0 starts without any.
    pub capabilities: Capabilities,
    /// Programs of another machine that the process may start; see [`Foreign`].
    pub foreign: Option<Foreign>,
}

impl Process {
    /// A process run by root in `/` of `root`, with an empty environment but for `PATH`, the
    /// network of the host, no input, and piped output.
    pub fn new(
        root: impl Into<PathBuf>,
        argv: impl IntoIterator<Item = impl Into<OsString>>,
    ) -> Process {
        Process {
            root: root.into(),
            argv: argv.into_iter().map(Into::into).collect(),
            env: vec![("PATH".into(), DEFAULT_PATH.into())],
            cwd: PathBuf::from("/"),
            uid: 0,
            gid: 0,
            groups: Vec::new(),
            hostname: "anyarch".to_owned(),
            network: Network::Host,
            mounts: Vec::new(),
            files: Vec::new(),
            stdin: Stdin::Null,
            output: Output::Pipe,
            capabilities: Capabilities::DOCKER,
            foreign: None,
        }
    }
}

/// The search path when the environment has none, as Docker sets it.
pub(crate) const DEFAULT_PATH: &str =
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Programs of another machine in one run, without anything registered on this one.
///
/// Such a run is in a user namespace of its own, with the same ids. What it cannot do, though the
/// real root could: make device nodes, and what needs a capability over the network (ports below
/// 1024, raw sockets), also over an own one. Needs Linux 6.7
/// ([`foreign_support`](crate::foreign_support) tells).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Foreign {
    /// Whose programs.
    pub platform: &'static ForeignPlatform,
    /// A static executable of this machine, a path outside the root. The kernel starts it for every
    /// program of the platform with its own path, the program's path, and the program's arguments
    /// from `argv[0]` on; the open program is `AT_EXECFD` of its auxiliary vector.
    pub handler: PathBuf,
    /// A directory outside the root, with all that is mounted below it. The process finds it at
    /// [`HIDDEN`], and no listing of a directory shows it (the table of mounts does). Neither devices nor setuid bits work in it; read-only it
    /// is where it is so outside.
    pub hidden: Option<PathBuf>,
}

/// Where a process finds [`Foreign::hidden`]: the entry in `/proc` of a thread, which is none of
/// those that a listing of `/proc` has.
pub const HIDDEN: &str = "/proc/3";

/// The network of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// The interfaces of the host.
    Host,
    /// Only a loopback interface, which is up.
    None,
}

/// Something mounted for one run. Targets are absolute paths, resolved inside the root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mount {
    /// A file or directory of the calling program's view, with everything mounted below it.
    Bind {
        /// Path outside the root.
        source: PathBuf,
        /// Path inside the root.
        target: PathBuf,
        /// Whether the process may only read it.
        read_only: bool,
    },
    /// A new, empty file system in memory.
    Tmpfs {
        /// Path inside the root.
        target: PathBuf,
        /// Limit in bytes; the kernel's default (half of memory) when absent.
        size: Option<u64>,
        /// Permission bits of its top directory, such as `0o1777`.
        mode: u32,
    },
}

impl Mount {
    /// Where it is mounted inside the root.
    pub fn target(&self) -> &PathBuf {
        match self {
            Mount::Bind { target, .. } | Mount::Tmpfs { target, .. } => target,
        }
    }
}

/// A file that the process sees and the root never holds; one that begins with `#!` may be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvidedFile {
    /// Absolute path inside the root, such as `/etc/hosts` or `/dev/.anyarch/ca.crt`.
    pub path: PathBuf,
    /// What it holds.
    pub contents: Vec<u8>,
    /// Permission bits; without, 0755 for what begins like a script and else 0644.
    pub mode: Option<u32>,
    /// User and group id.
    pub owner: (u32, u32),
}

impl ProvidedFile {
    /// A file of root that everybody may read.
    pub fn new(path: impl Into<PathBuf>, contents: impl Into<Vec<u8>>) -> ProvidedFile {
        ProvidedFile { path: path.into(), contents: contents.into(), mode: None, owner: (0, 0) }
    }
}

/// Standard input of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stdin {
    /// `/dev/null`.
    Null,
    /// That of the calling program.
    Inherit,
    /// These bytes, then end of file.
    Bytes(Vec<u8>),
}

/// Where the output of a process goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// To the callback of [`run`](crate::run()), as it is read. The process gets a session of its
    /// own, so that a terminal's Ctrl-C does not reach it.
    Pipe,
    /// To the standard output and error of the calling program. With [`Stdin::Inherit`] on a
    /// terminal, the process becomes its foreground process group and gets its Ctrl-C.
    Inherit,
}

/// Which output a piece of bytes came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It exited with this code, 0 to 255.
    Code(i32),
    /// This signal killed it.
    Signal(i32),
}

impl Exit {
    /// Whether it exited with code 0.
    pub fn success(self) -> bool {
        self == Exit::Code(0)
    }

    /// The code that a shell would give: the exit code, or 128 plus the signal.
    pub fn shell_code(self) -> i32 {
        match self {
            Exit::Code(code) => code,
            Exit::Signal(signal) => 128 + signal,
        }
    }
}
