//! A root for tests, made of the host's own programs and their libraries, and ways to use it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyarch_sandbox::{Cancel, Exit, OverlayMount, Process, SandboxError, Stream, run};

use crate::programs;

const PROGRAMS: [&str; 21] = [
    "sh", "cat", "ls", "id", "env", "sleep", "true", "mkdir", "stat", "chown", "mv", "rm", "touch",
    "head", "wc", "mknod", "grep", "ln", "chmod", "readlink", "find",
];

static BASE: OnceLock<PathBuf> = OnceLock::new();

/// Removes the directory that [`base`] made, at the end of the program.
pub(crate) fn clear() {
    if let Some(base) = BASE.get() {
        fs::remove_dir_all(base.parent().unwrap()).unwrap();
    }
}

/// A read-only directory with a shell and a few programs in `/bin`, and nothing else but `/etc`.
pub(crate) fn base() -> &'static Path {
    BASE.get_or_init(|| {
        // Removed by `clear`.
        let base = tempfile::tempdir().unwrap().keep().join("base");
        fs::create_dir(&base).unwrap();
        programs::copy(&PROGRAMS, &base);
        fs::create_dir(base.join("etc")).unwrap();
        fs::write(base.join("etc/passwd"), "root:x:0:0::/:/bin/sh\n").unwrap();
        base
    })
}

/// A writable overlay over [`base`], gone when dropped.
pub(crate) struct Room {
    pub(crate) root: PathBuf,
    pub(crate) upper: PathBuf,
    pub(crate) folder: tempfile::TempDir,
    mount: Option<OverlayMount>,
}

impl Room {
    pub(crate) fn new() -> Room {
        Room::over(&[])
    }

    /// With further lower directories on top of the base, topmost first.
    pub(crate) fn over(lowers: &[PathBuf]) -> Room {
        let folder = tempfile::tempdir().unwrap();
        let [root, upper, work] = ["root", "upper", "work"].map(|name| {
            let path = folder.path().join(name);
            fs::create_dir(&path).unwrap();
            path
        });
        let mut lowers = lowers.to_vec();
        lowers.push(base().to_owned());
        let mount = OverlayMount::mount(&lowers, Some((&upper, &work)), &root).unwrap();
        Room { root, upper, folder, mount: Some(mount) }
    }

    pub(crate) fn process(&self, argv: &[&str]) -> Process {
        let mut process = Process::new(&self.root, argv.iter().copied());
        process.env = vec![("PATH".into(), "/bin".into())];
        process
    }

    pub(crate) fn shell(&self, script: &str) -> Process {
        self.process(&["sh", "-c", script])
    }

    /// Runs a script and returns its trimmed standard output; it must succeed.
    pub(crate) fn sh(&self, script: &str) -> String {
        said(&self.shell(script))
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        if let Some(mount) = self.mount.take() {
            mount.unmount().unwrap();
        }
    }
}

/// What a process wrote and how it ended.
pub(crate) struct Done {
    pub(crate) exit: Result<Exit, SandboxError>,
    pub(crate) out: Vec<u8>,
    pub(crate) err: Vec<u8>,
}

pub(crate) fn done(process: &Process, cancel: &Cancel) -> Done {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let exit = run(
        process,
        &mut |stream, bytes| match stream {
            Stream::Stdout => out.extend_from_slice(bytes),
            Stream::Stderr => err.extend_from_slice(bytes),
        },
        cancel,
    );
    Done { exit, out, err }
}

/// The trimmed standard output of a process that must succeed.
pub(crate) fn said(process: &Process) -> String {
    let Done { exit, out, err } = done(process, &Cancel::new());
    let exit =
        exit.unwrap_or_else(|error| panic!("{error} {:?}", std::error::Error::source(&error)));
    assert_eq!(
        exit,
        Exit::Code(0),
        "{}{}",
        String::from_utf8_lossy(&out),
        String::from_utf8_lossy(&err)
    );
    String::from_utf8(out).unwrap().trim_end().to_owned()
}

/// Everything below a directory: path, type and mode, owner, size, modification time.
pub(crate) fn tree(top: &Path) -> Vec<String> {
    fn walk(path: &Path, top: &Path, out: &mut Vec<String>) {
        let meta = fs::symlink_metadata(path).unwrap();
        let size = if meta.is_dir() { 0 } else { meta.size() };
        out.push(format!(
            "/{} {:o} {}:{} {size} {}.{:09}",
            path.strip_prefix(top).unwrap().display(),
            meta.mode(),
            meta.uid(),
            meta.gid(),
            meta.mtime(),
            meta.mtime_nsec()
        ));
        if meta.is_dir() {
            for entry in fs::read_dir(path).unwrap() {
                walk(&entry.unwrap().path(), top, out);
            }
        }
    }
    let mut out = Vec::new();
    walk(top, top, &mut out);
    out.sort();
    out
}
