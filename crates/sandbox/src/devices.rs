//! The root of a run: the kernel's file systems, a small `/dev`, the given mounts and files; then
//! it becomes `/`.
//!
//! Runs in pid 1, in its private mount namespace, before the process exists. Every target is
//! looked up inside the root, so no symbolic link of an image leads a mount outside.

use std::ffi::OsStr;
use std::fs::Permissions;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::mount::{
    MountAttrFlags as Attr, MountPropagationFlags, UnmountFlags, mount_change, unmount,
};

use crate::error::{At, Failure};
use crate::mountapi::{self, Opt, new_mount};
use crate::privilege::Privilege;
use crate::process::{Mount, Network, Process, ProvidedFile};
use crate::rooted::{self, Kind, Make, locate};
use crate::run::kind_of;

/// Where provided files are read-only, and the only place in `/dev` that is ours.
const PRIVATE: &str = "/dev/.anyarch";

/// Device nodes of the host that a process may use.
const NODES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

const LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];

/// Paths that Docker hides.
const MASKED: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

/// Paths that Docker makes read-only.
const READ_ONLY: [&str; 5] =
    ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

const SAFE: Attr =
    Attr::MOUNT_ATTR_NOSUID.union(Attr::MOUNT_ATTR_NODEV).union(Attr::MOUNT_ATTR_NOEXEC);

/// Nothing that is mounted outside from now on turns up here.
pub(crate) fn separate() -> Result<(), Failure> {
    mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE)
        .at(|| "separate the mounts from the caller's".into())
}

/// Builds the root of `process` and makes it the root of this process. Expects
/// [separate] mounts.
pub(crate) fn enter_root(process: &Process, privilege: Privilege) -> Result<(), Failure> {
    let root = own_root(&process.root)?;
    let root = root.as_fd();
    proc_and_sys(root, process.network)?;
    let files = stage_files(root, process)?;
    dev(root, privilege)?;
    let private = private_directory(root, process)?;
    for mount in &process.mounts {
        add(root, mount).at(|| format!("mount {}", mount.target().display()))?;
    }
    for (path, file) in files {
        place(root, path, Kind::File)
            .and_then(|place| mountapi::attach(file.as_fd(), place.as_fd()))
            .at(|| format!("provide {}", path.display()))?;
    }
    if let Some(private) = private {
        mountapi::restrict(private.as_fd(), Attr::MOUNT_ATTR_RDONLY, false)
            .at(|| format!("make {PRIVATE} read-only"))?;
    }
    pivot(root).at(|| format!("make {} the root", process.root.display()))
}

/// The root as a mount of its own, without device nodes: an image may hold them, and a process run
/// by the real root may make them, but neither opens a disk of the host.
fn own_root(path: &Path) -> Result<OwnedFd, Failure> {
    let open = || -> io::Result<OwnedFd> {
        let below = rustix::fs::open(
            path,
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        let mount = mountapi::clone_one(below.as_fd())?;
        mountapi::restrict(mount.as_fd(), Attr::MOUNT_ATTR_NODEV, false)?;
        mountapi::attach(mount.as_fd(), below.as_fd())?;
        Ok(mount)
    };
    open().at(|| format!("mount the root {}", path.display()))
}

fn proc_and_sys(root: BorrowedFd<'_>, network: Network) -> Result<(), Failure> {
    let proc = new_mount("proc", &[], SAFE).at(|| "mount proc".into())?;
    attach_at(root, "/proc", &proc)?;
    let sys = match network {
        // The devices of the new, empty network; only its owner may mount it.
        Network::None => new_mount("sysfs", &[], SAFE | Attr::MOUNT_ATTR_RDONLY),
        // A user namespace does not own the host's network, so the host's mount is shown.
        Network::Host => mountapi::clone_tree(Path::new("/sys")).and_then(|sys| {
            mountapi::restrict(sys.as_fd(), SAFE | Attr::MOUNT_ATTR_RDONLY, true)?;
            Ok(sys)
        }),
    };
    let sys = sys.at(|| "mount sysfs".into())?;
    attach_at(root, "/sys", &sys)?;
    for path in READ_ONLY {
        let Some(place) = existing(root, path)? else { continue };
        mountapi::clone_one(place.as_fd())
            .and_then(|same| {
                mountapi::restrict(same.as_fd(), SAFE | Attr::MOUNT_ATTR_RDONLY, false)?;
                mountapi::attach(same.as_fd(), place.as_fd())
            })
            .at(|| format!("make {path} read-only"))?;
    }
    for path in MASKED {
        let Some(place) = existing(root, path)? else { continue };
        mask(&place).at(|| format!("hide {path}"))?;
    }
    Ok(())
}

/// A place that this kernel may or may not have.
fn existing(root: BorrowedFd<'_>, path: &str) -> Result<Option<OwnedFd>, Failure> {
    match locate(root, Path::new(path)) {
        Ok(place) => Ok(Some(place)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).at(|| format!("find {path}")),
    }
}

fn mask(place: &OwnedFd) -> io::Result<()> {
    let stat = rustix::fs::fstat(place)?;
    let cover = match rustix::fs::FileType::from_raw_mode(stat.st_mode) {
        rustix::fs::FileType::Directory => {
            new_mount("tmpfs", &[Opt::Set("mode", "755")], SAFE | Attr::MOUNT_ATTR_RDONLY)?
        }
        _ => mountapi::clone_tree(Path::new("/dev/null"))?,
    };
    mountapi::attach(cover.as_fd(), place.as_fd())
}

/// Writes the provided files that lie outside `/dev` into a file system in memory and returns each
/// as a mount. That file system ends up hidden below `/dev`.
fn stage_files<'a>(
    root: BorrowedFd<'_>,
    process: &'a Process,
) -> Result<Vec<(&'a Path, OwnedFd)>, Failure> {
    let outside: Vec<_> =
        process.files.iter().filter(|file| !file.path.starts_with("/dev")).collect();
    if outside.is_empty() {
        return Ok(Vec::new());
    }
    let staging = new_mount(
        "tmpfs",
        &[Opt::Set("mode", "755")],
        Attr::MOUNT_ATTR_NOSUID | Attr::MOUNT_ATTR_NODEV,
    )
    .at(|| "mount tmpfs".into())?;
    attach_at(root, "/dev", &staging)?;
    outside
        .into_iter()
        .enumerate()
        .map(|(number, file)| {
            let name = number.to_string();
            let mount = write_file(staging.as_fd(), OsStr::new(&name), file)
                .and_then(|()| locate(staging.as_fd(), Path::new(&name)))
                .and_then(|file| mountapi::clone_one(file.as_fd()))
                .at(|| format!("provide {}", file.path.display()))?;
            Ok((file.path.as_path(), mount))
        })
        .collect()
}

fn write_file(directory: BorrowedFd<'_>, name: &OsStr, file: &ProvidedFile) -> io::Result<()> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(directory, name, flags, Mode::from_raw_mode(0o600))?;
    fill(fd.into(), file)
}

/// Writes the content, then gives the file its owner and mode.
fn fill(mut place: std::fs::File, file: &ProvidedFile) -> io::Result<()> {
    place.write_all(&file.contents)?;
    if file.owner != (0, 0) {
        std::os::unix::fs::fchown(&place, Some(file.owner.0), Some(file.owner.1))?;
    }
    // What begins like a script may be run.
    let usual = if file.contents.starts_with(b"#!") { 0o755 } else { 0o644 };
    place.set_permissions(Permissions::from_mode(file.mode.unwrap_or(usual)))
}

fn dev(root: BorrowedFd<'_>, privilege: Privilege) -> Result<(), Failure> {
    let options = [Opt::Set("mode", "755"), Opt::Set("size", "64m")];
    let dev = new_mount("tmpfs", &options, Attr::MOUNT_ATTR_NOSUID).at(|| "mount tmpfs".into())?;
    attach_at(root, "/dev", &dev)?;
    let dev = dev.as_fd();
    for node in NODES {
        rooted::make(dev, OsStr::new(node), Kind::File)
            .and_then(|()| {
                let device = mountapi::clone_tree(&Path::new("/dev").join(node))?;
                mountapi::attach(device.as_fd(), locate(dev, Path::new(node))?.as_fd())
            })
            .at(|| format!("bind /dev/{node}"))?;
    }
    for (name, to) in LINKS {
        rustix::fs::symlinkat(to, dev, name).at(|| format!("link /dev/{name}"))?;
    }
    let mut pts =
        vec![Opt::Flag("newinstance"), Opt::Set("ptmxmode", "0666"), Opt::Set("mode", "0620")];
    if privilege != Privilege::UserSingle {
        pts.push(Opt::Set("gid", "5")); // tty, where there is more than one group
    }
    let quiet = Attr::MOUNT_ATTR_NOSUID | Attr::MOUNT_ATTR_NOEXEC;
    let mounts = [
        ("pts", new_mount("devpts", &pts, quiet)),
        ("shm", new_mount("tmpfs", &[Opt::Set("mode", "1777"), Opt::Set("size", "64m")], SAFE)),
        ("mqueue", new_mount("mqueue", &[], SAFE)),
    ];
    for (name, mount) in mounts {
        // A kernel without message queues has nothing to mount.
        if matches!(&mount, Err(error) if error.raw_os_error() == Some(libc::ENODEV)) {
            continue;
        }
        mount
            .and_then(|mount| {
                rooted::make(dev, OsStr::new(name), Kind::Directory)?;
                mountapi::attach(mount.as_fd(), locate(dev, Path::new(name))?.as_fd())
            })
            .at(|| format!("mount /dev/{name}"))?;
    }
    Ok(())
}

/// The mount at `/dev/.anyarch`, if the run has use for it, still writable; and the provided files
/// in `/dev`, written.
fn private_directory(root: BorrowedFd<'_>, process: &Process) -> Result<Option<OwnedFd>, Failure> {
    let mut private = None;
    if process
        .files
        .iter()
        .map(|file| &file.path)
        .chain(process.mounts.iter().map(Mount::target))
        .any(|path| path.starts_with(PRIVATE))
    {
        let mount = new_mount(
            "tmpfs",
            &[Opt::Set("mode", "755")],
            Attr::MOUNT_ATTR_NOSUID | Attr::MOUNT_ATTR_NODEV,
        )
        .at(|| "mount tmpfs".into())?;
        place(root, Path::new(PRIVATE), Kind::Directory)
            .and_then(|place| mountapi::attach(mount.as_fd(), place.as_fd()))
            .at(|| format!("mount {PRIVATE}"))?;
        private = Some(mount);
    }
    for file in process.files.iter().filter(|file| file.path.starts_with("/dev")) {
        place(root, &file.path, Kind::File)
            .and_then(|_| {
                let flags = OFlags::WRONLY | OFlags::TRUNC;
                let fd = rooted::open_in(root, &file.path, flags, Mode::empty())?;
                fill(fd.into(), file)
            })
            .at(|| format!("provide {}", file.path.display()))?;
    }
    Ok(private)
}

fn add(root: BorrowedFd<'_>, mount: &Mount) -> io::Result<()> {
    match mount {
        Mount::Bind { source, target, read_only } => {
            let kind = kind_of(source).map_err(|failure| failure.source)?;
            let tree = mountapi::clone_tree(source)?;
            let mut attributes = Attr::empty();
            attributes.set(Attr::MOUNT_ATTR_RDONLY, *read_only);
            let device = std::fs::metadata(source)?.file_type();
            // A device that is named is meant; one that lies in a directory is not.
            attributes
                .set(Attr::MOUNT_ATTR_NODEV, !device.is_char_device() && !device.is_block_device());
            if !attributes.is_empty() {
                mountapi::restrict(tree.as_fd(), attributes, true)?;
            }
            mountapi::attach(tree.as_fd(), place(root, target, kind)?.as_fd())
        }
        Mount::Tmpfs { target, size, mode } => {
            let mode = format!("{mode:o}");
            let size = size.map(|size| size.to_string());
            let mut options = vec![Opt::Set("mode", &mode)];
            if let Some(size) = &size {
                options.push(Opt::Set("size", size));
            }
            let attributes = Attr::MOUNT_ATTR_NOSUID | Attr::MOUNT_ATTR_NODEV;
            let tmpfs = new_mount("tmpfs", &options, attributes)?;
            mountapi::attach(tmpfs.as_fd(), place(root, target, Kind::Directory)?.as_fd())
        }
    }
}

/// The place at `path`, made if it is missing: in the root itself the caller has made all places,
/// so here only those that lie on another mount of the run are.
fn place(root: BorrowedFd<'_>, path: &Path, kind: Kind) -> io::Result<OwnedFd> {
    struct Plainly;
    impl Make for Plainly {
        fn make(&mut self, parent: OwnedFd, name: &OsStr, kind: Kind) -> io::Result<()> {
            rooted::make(parent.as_fd(), name, kind)
        }
    }
    match locate(root, path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            rooted::ensure(root, path, kind, &mut Plainly)?;
            locate(root, path)
        }
        other => other,
    }
}

fn attach_at(root: BorrowedFd<'_>, path: &str, mount: &OwnedFd) -> Result<(), Failure> {
    locate(root, Path::new(path))
        .and_then(|place| mountapi::attach(mount.as_fd(), place.as_fd()))
        .at(|| format!("mount {path}"))
}

/// Makes `root` the root and lets go of everything else.
fn pivot(root: BorrowedFd<'_>) -> io::Result<()> {
    rustix::process::fchdir(root)?;
    // The old root comes to lie on the new one, where unmounting takes it away.
    rustix::process::pivot_root(".", ".")?;
    unmount(".", UnmountFlags::DETACH)?;
    rustix::process::chdir("/")?;
    Ok(())
}
