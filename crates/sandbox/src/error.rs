//! What can go wrong, by object and operation, with what a person can do about it.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

/// A failure to enter a namespace, to mount, or to run a process.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SandboxError {
    /// The kernel lets this user create no user namespace.
    #[error("failed to create a user namespace{}", .switch.map(|switch| format!(": {switch}")).unwrap_or_default())]
    UserNamespaces {
        /// The kernel setting that forbids it, as `name=value`, where it could be told.
        switch: Option<&'static str>,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A step of entering the private namespaces failed.
    #[error("failed to {operation}")]
    Enter {
        /// What was done.
        operation: String,
        /// The cause.
        source: io::Error,
    },
    /// Something could not be mounted or unmounted outside a run.
    #[error("failed to {operation} {}", path.display())]
    Mount {
        /// What was done, such as `mount an overlay at`.
        operation: &'static str,
        /// The path it was done to.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A step of preparing or supervising a run failed in the calling program.
    #[error("failed to {operation}")]
    Prepare {
        /// What was done.
        operation: String,
        /// The cause.
        source: io::Error,
    },
    /// A step of setting up the sandbox failed inside it, before the process started.
    #[error("failed to {operation} in the sandbox")]
    Setup {
        /// What was done.
        operation: String,
        /// The cause.
        source: io::Error,
    },
    /// This machine has no way to run programs of a foreign platform.
    #[error("failed to find a way to run programs of {platform} (Linux {kernel})")]
    NoEmulation {
        /// The platform, such as `linux/arm64`.
        platform: &'static str,
        /// Release of the running kernel.
        kernel: String,
        /// What the kernel answered to the best of the ways.
        source: io::Error,
    },
    /// An emulator could not be registered with the kernel.
    #[error("failed to register an emulator for {platform} (Linux {kernel})")]
    Emulation {
        /// The platform, such as `linux/arm64`.
        platform: &'static str,
        /// Release of the running kernel.
        kernel: String,
        /// The cause.
        source: io::Error,
    },
    /// The program could not be started.
    #[error("failed to run {}: {reason}", program.display())]
    Exec {
        /// The program as it was given in `argv[0]`.
        program: OsString,
        /// Why.
        reason: ExecFailure,
    },
    /// The supervising process of the sandbox was killed from outside, with everything in it.
    #[error("the sandbox was killed from outside ({how})")]
    Killed {
        /// What is known of it, such as `signal 9`.
        how: String,
    },
    /// The run was cancelled; its processes are gone.
    #[error("cancelled")]
    Cancelled,
}

/// Why a program could not be started.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExecFailure {
    /// There is no such file, or none of that name in `PATH`.
    #[error("no such file{}", searched.as_ref().map(|path| format!(" in PATH ({path})")).unwrap_or_default())]
    NotFound {
        /// The search path, when the program was looked up in it.
        searched: Option<String>,
    },
    /// The file is there, but the program that its first line or its ELF header names is not.
    #[error("its interpreter {interpreter} does not exist")]
    MissingInterpreter {
        /// Path of the missing interpreter or dynamic loader.
        interpreter: String,
    },
    /// The file may not be executed.
    #[error("permission denied")]
    PermissionDenied,
    /// It is a directory.
    #[error("it is a directory")]
    IsDirectory,
    /// The kernel does not know the format of the file.
    #[error("exec format error{}", machine.as_ref().map(|machine| format!(" (a program for {machine})")).unwrap_or_default())]
    ExecFormat {
        /// The machine named in its ELF header, when it is an ELF file.
        machine: Option<String>,
    },
    /// Something else.
    #[error("{}", io::Error::from_raw_os_error(*errno))]
    Other {
        /// The kernel's error number.
        errno: i32,
    },
}

impl ExecFailure {
    /// The exit code that Docker and shells give: 127 when something is missing, else 126.
    pub fn exit_code(&self) -> i32 {
        match self {
            ExecFailure::NotFound { .. } | ExecFailure::MissingInterpreter { .. } => 127,
            _ => 126,
        }
    }
}

impl SandboxError {
    /// The exit code that Docker and shells give to a program that could not be started (127 or
    /// 126), for [`SandboxError::Exec`] only.
    pub fn exit_code(&self) -> Option<i32> {
        match self {
            SandboxError::Exec { reason, .. } => Some(reason.exit_code()),
            _ => None,
        }
    }

    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            SandboxError::UserNamespaces { switch, .. } => Some(match switch {
                Some(switch) => match switch.split_once('=') {
                    Some(("user.max_user_namespaces", _)) => {
                        "as root: sysctl user.max_user_namespaces=15000; or run as root".into()
                    }
                    Some(("kernel.unprivileged_userns_clone", _)) => {
                        "as root: sysctl kernel.unprivileged_userns_clone=1; or run as root".into()
                    }
                    Some((name, _)) => format!("as root: sysctl {name}=0; or run as root"),
                    None => "run as root".into(),
                },
                None => "inside a container, start it privileged or with a seccomp profile that \
                         allows unshare; or run as root"
                    .into(),
            }),
            SandboxError::Setup { operation, source }
                if matches!(operation.as_str(), "mount proc" | "mount sysfs")
                    && is_permission(source) =>
            {
                Some(
                    "/proc or /sys of this machine is partly covered (as in a container): start \
                     that container with both unmasked"
                        .into(),
                )
            }
            SandboxError::Setup { operation, source }
                if operation.starts_with("switch to")
                    && source.raw_os_error() == Some(libc::EINVAL) =>
            {
                Some(
                    "that id is outside the ranges of /etc/subuid and /etc/subgid: give this user \
                     at least 65536 ids"
                        .into(),
                )
            }
            SandboxError::NoEmulation { source, .. } | SandboxError::Emulation { source, .. }
                if source.raw_os_error() == Some(libc::ENODEV) =>
            {
                Some("as root: modprobe binfmt_misc".into())
            }
            SandboxError::NoEmulation { .. } => Some(
                "boot Linux 6.7 or newer, or install qemu-user-static and binfmt-support on this \
                 machine, or run as root"
                    .into(),
            ),
            SandboxError::Emulation { source, .. } if is_permission(source) => {
                Some("boot Linux 6.7 or newer, or run as root".into())
            }
            SandboxError::Setup { operation, source } if operation == FOREIGN_NAMESPACE => {
                match source.raw_os_error() {
                    Some(libc::ENOSPC) => {
                        Some("as root: sysctl user.max_user_namespaces=15000".into())
                    }
                    _ => Some(
                        "inside a container, start it privileged or with a seccomp profile that \
                         allows unshare"
                            .into(),
                    ),
                }
            }
            SandboxError::Setup { operation, source }
                if operation.starts_with("register the handler") =>
            {
                match source.raw_os_error() {
                    Some(libc::EPERM) => Some("boot Linux 6.7 or newer".into()),
                    Some(libc::ENODEV) => Some("as root: modprobe binfmt_misc".into()),
                    _ => None,
                }
            }
            SandboxError::Prepare { operation, source }
                if operation.starts_with("make the mount point")
                    && source.raw_os_error() == Some(libc::EROFS) =>
            {
                Some("mount the root with a writable directory on top".into())
            }
            SandboxError::Exec { reason, .. } => match reason {
                ExecFailure::NotFound { searched: Some(_) } => {
                    Some("install it in an earlier step, or give its full path".into())
                }
                ExecFailure::MissingInterpreter { .. } => Some(
                    "install the interpreter; a `\\r` at the end of its name means that the script \
                     has Windows line ends"
                        .into(),
                ),
                ExecFailure::PermissionDenied => {
                    Some("chmod +x it, or check the user that runs it".into())
                }
                ExecFailure::ExecFormat { machine: None } => {
                    Some("a script must begin with `#!` and the path of its interpreter".into())
                }
                _ => None,
            },
            SandboxError::Killed { .. } => {
                Some("if memory ran out, the kernel's log (dmesg) says so".into())
            }
            _ => None,
        }
    }
}

/// The operation by which a run of foreign programs gets its own handlers.
pub(crate) const FOREIGN_NAMESPACE: &str = "create a user namespace for foreign programs";

fn is_permission(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::PermissionDenied
}

/// An operation and its cause: the form in which errors travel inside this crate.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) operation: String,
    pub(crate) source: io::Error,
}

impl Failure {
    pub(crate) fn prepare(self) -> SandboxError {
        SandboxError::Prepare { operation: self.operation, source: self.source }
    }

    pub(crate) fn enter(self) -> SandboxError {
        SandboxError::Enter { operation: self.operation, source: self.source }
    }
}

/// Names the operation of an error.
pub(crate) trait At<T> {
    fn at(self, operation: impl FnOnce() -> String) -> Result<T, Failure>;
}

impl<T, E: Into<io::Error>> At<T> for Result<T, E> {
    fn at(self, operation: impl FnOnce() -> String) -> Result<T, Failure> {
        self.map_err(|error| Failure { operation: operation(), source: error.into() })
    }
}
