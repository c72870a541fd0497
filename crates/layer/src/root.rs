//! An open directory as the root of a tree: paths resolve as in a chroot and never leave it.
//!
//! Every path goes through `openat2(RESOLVE_IN_ROOT)`: `/` and `..` stop at the root, symbolic
//! links resolve against it, and a link that somebody swaps in meanwhile still cannot lead out.
//! Paths may begin with `/` or not; both mean the root.
//!
//! Needs `/proc` for modes and extended attributes (the kernel has no other way for them on paths
//! that must not be followed).

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags};

use crate::dir::Dir;
use crate::error::LayerError;
use crate::metadata::{Kind, Metadata, Time};
use crate::xattr::Xattrs;

/// As many symbolic links as the kernel follows in one path.
const MAX_LINKS: usize = 40;

/// An open directory every path operation of which stays inside.
#[derive(Debug)]
pub struct Root {
    dir: Dir,
    path: PathBuf,
    /// Owners that cannot be set are left as they come out.
    lenient: bool,
}

impl Root {
    /// Opens the directory at `path` (an ordinary path of this process) as a root.
    pub fn open(path: &Path) -> Result<Root, LayerError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(CWD, path, flags, Mode::empty())
            .map_err(|error| LayerError::io("open the directory", path)(error.into()))?;
        Ok(Root { dir: Dir::new(fd), path: path.to_path_buf(), lenient: false })
    }

    /// Opens a directory of this tree as a root of its own.
    pub fn subroot(&self, path: &Path) -> Result<Root, LayerError> {
        let dir = self.dir(path).map_err(LayerError::io("open the directory", path))?;
        Ok(Root { dir, path: self.path.join(relative(path)), lenient: self.lenient })
    }

    /// The same root, in which owners that do not exist here are left as they come out: for a user
    /// namespace that maps a single id.
    pub fn leaving_owners(self, lenient: bool) -> Root {
        Root { lenient, ..self }
    }

    /// The path that the root was opened by, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Metadata of a file, symbolic links followed inside the root.
    pub fn metadata(&self, path: &Path) -> Result<Metadata, LayerError> {
        let read = || {
            let fd = self.openat2(path, OFlags::PATH, Mode::empty())?;
            let flags = rustix::fs::AtFlags::EMPTY_PATH;
            let statx = rustix::fs::statx(&fd, "", flags, rustix::fs::StatxFlags::BASIC_STATS)?;
            Ok(Metadata::from_statx(&statx))
        };
        read().map_err(LayerError::io("read the metadata of", path))
    }

    /// Metadata of a file, a symbolic link at the end not followed.
    pub fn symlink_metadata(&self, path: &Path) -> Result<Metadata, LayerError> {
        self.at("read the metadata of", path, |dir, name| dir.metadata(name))
    }

    /// Whether something is there, a symbolic link at the end not followed.
    pub fn exists(&self, path: &Path) -> bool {
        self.symlink_metadata(path).is_ok()
    }

    /// The target of a symbolic link, as written in it.
    pub fn read_link(&self, path: &Path) -> Result<PathBuf, LayerError> {
        self.at("read the link", path, |dir, name| dir.read_link(name)).map(PathBuf::from)
    }

    /// Names in a directory (followed), sorted by bytes.
    pub fn read_dir(&self, path: &Path) -> Result<Vec<OsString>, LayerError> {
        let read = || {
            let mut names = self.dir(path)?.names()?;
            names.sort_unstable();
            Ok(names)
        };
        read().map_err(LayerError::io("list", path))
    }

    /// Opens a regular file for reading, symbolic links followed inside the root.
    pub fn open_file(&self, path: &Path) -> Result<File, LayerError> {
        let open = || {
            let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
            let file = File::from(self.openat2(path, flags, Mode::empty())?);
            if !file.metadata()?.is_file() {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
            }
            Ok(file)
        };
        open().map_err(LayerError::io("open", path))
    }

    /// The whole content of a regular file; meant for small ones.
    pub fn read(&self, path: &Path) -> Result<Vec<u8>, LayerError> {
        let mut content = Vec::new();
        let mut file = self.open_file(path)?;
        file.read_to_end(&mut content).map_err(LayerError::io("read", path))?;
        Ok(content)
    }

    /// Extended attributes that belong to the tree (see [`Xattrs`]), links not followed.
    pub fn xattrs(&self, path: &Path) -> Result<Xattrs, LayerError> {
        self.at("read the attributes of", path, |dir, name| dir.xattrs(name))
    }

    /// The path inside the root (beginning with `/`) without symbolic links that `path` leads to.
    ///
    /// What does not exist is kept as named, so the result may be made. Fails when links go round
    /// in a circle, or below something that is not a directory.
    pub fn resolve(&self, path: &Path) -> Result<PathBuf, LayerError> {
        let mut resolved = PathBuf::from("/");
        let mut ahead: Vec<OsString> = components(path);
        let mut links = 0;
        while let Some(name) = ahead.pop() {
            if name == ".." {
                resolved.pop();
                continue;
            }
            let next = resolved.join(&name);
            match self.symlink_metadata(&next) {
                Ok(metadata) if metadata.is_symlink() => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(LayerError::io("resolve", path)(io::Error::from_raw_os_error(
                            40,
                        )));
                    }
                    let target = self.read_link(&next)?;
                    if target.is_absolute() {
                        resolved = PathBuf::from("/");
                    }
                    ahead.extend(components(&target));
                }
                Ok(_) => resolved = next,
                Err(error) if error.is_not_found() => resolved = next,
                Err(error) => return Err(error),
            }
        }
        Ok(resolved)
    }

    /// Makes a directory and the missing ones above it, each with this mode and owner.
    ///
    /// Directories that exist stay as they are; symbolic links to directories are followed.
    pub fn create_dir_all(
        &self,
        path: &Path,
        mode: u32,
        uid: u32,
        gid: u32,
    ) -> Result<(), LayerError> {
        self.create_missing_dirs(path, mode, uid, gid).map(|_| ())
    }

    /// As [`Root::create_dir_all`]; returns the directories made, outermost first.
    pub fn create_missing_dirs(
        &self,
        path: &Path,
        mode: u32,
        uid: u32,
        gid: u32,
    ) -> Result<Vec<PathBuf>, LayerError> {
        if self.dir(path).is_ok() {
            return Ok(Vec::new());
        }
        let mut made = Vec::new();
        let mut current = PathBuf::from("/");
        for component in self.resolve(path)?.components() {
            let Component::Normal(name) = component else { continue };
            current.push(name);
            match self.at("make the directory", &current, |dir, name| dir.create_dir(name, 0o700)) {
                Ok(()) => {
                    self.set_owner(&current, uid, gid)?;
                    self.set_mode(&current, mode)?;
                    made.push(current.clone());
                }
                Err(LayerError::Io { source, .. })
                    if source.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        // What exists may not be a directory: say so with the kernel's words.
        self.dir(path).map_err(LayerError::io("make the directory", path))?;
        Ok(made)
    }

    /// Makes one directory, which must not exist.
    pub fn create_dir(&self, path: &Path, mode: u32) -> Result<(), LayerError> {
        self.at("make the directory", path, |dir, name| {
            dir.create_dir(name, mode)?;
            dir.set_mode(name, mode)
        })
    }

    /// Makes a new regular file, open for writing, with exactly this mode; it must not exist.
    pub fn create_file(&self, path: &Path, mode: u32) -> Result<File, LayerError> {
        self.at("make", path, |dir, name| {
            let file = dir.create_file(name, 0o600)?;
            rustix::fs::fchmod(&file, Mode::from_raw_mode(mode))?;
            Ok(file)
        })
    }

    /// Replaces what is at `path` (a file or a link, not followed) by a file with this content.
    pub fn write(&self, path: &Path, content: &[u8], mode: u32) -> Result<(), LayerError> {
        if self.exists(path) {
            self.remove_file(path)?;
        }
        let mut file = self.create_file(path, mode)?;
        io::Write::write_all(&mut file, content).map_err(LayerError::io("write", path))
    }

    /// Makes a symbolic link; `target` is stored as it is.
    pub fn symlink(&self, target: &Path, path: &Path) -> Result<(), LayerError> {
        self.at("make the link", path, |dir, name| dir.symlink(target.as_os_str(), name))
    }

    /// Makes `path` another name of the file `existing`, which is not followed.
    pub fn hard_link(&self, existing: &Path, path: &Path) -> Result<(), LayerError> {
        let (from, from_name) =
            self.parent(existing).map_err(LayerError::io("open the directory of", existing))?;
        self.at("make the hard link", path, |dir, name| dir.hard_link(name, &from, &from_name))
    }

    /// Makes a character or block device; needs real root, except for 0:0 (an overlayfs whiteout).
    pub fn create_device(
        &self,
        path: &Path,
        kind: Kind,
        mode: u32,
        device: (u32, u32),
    ) -> Result<(), LayerError> {
        let file_type = match kind {
            Kind::BlockDevice => FileType::BlockDevice,
            _ => FileType::CharacterDevice,
        };
        self.at("make the device", path, |dir, name| {
            dir.make_node(name, file_type, mode, device)?;
            if device == (0, 0) { Ok(()) } else { dir.set_mode(name, mode) }
        })
    }

    /// Makes a named pipe.
    pub fn create_fifo(&self, path: &Path, mode: u32) -> Result<(), LayerError> {
        self.at("make the named pipe", path, |dir, name| {
            dir.make_node(name, FileType::Fifo, mode, (0, 0))?;
            dir.set_mode(name, mode)
        })
    }

    /// Sets owner and group, links not followed. The kernel clears setuid bits and capabilities.
    pub fn set_owner(&self, path: &Path, uid: u32, gid: u32) -> Result<(), LayerError> {
        let (dir, name) =
            self.parent(path).map_err(LayerError::io("open the directory of", path))?;
        self.owner_set(dir.set_owner(&name, uid, gid), path, uid, gid)
    }

    /// As [`Root::set_owner`] for a file of this tree that is open; `path` is for messages.
    pub fn set_file_owner(
        &self,
        file: &File,
        path: &Path,
        uid: u32,
        gid: u32,
    ) -> Result<(), LayerError> {
        self.owner_set(std::os::unix::fs::fchown(file, Some(uid), Some(gid)), path, uid, gid)
    }

    fn owner_set(
        &self,
        result: io::Result<()>,
        path: &Path,
        uid: u32,
        gid: u32,
    ) -> Result<(), LayerError> {
        match result {
            // The answer to an id that the user namespace does not map.
            Err(source) if self.lenient && source.kind() == io::ErrorKind::InvalidInput => Ok(()),
            result => result.map_err(|source| LayerError::Owner {
                path: path.to_path_buf(),
                uid,
                gid,
                source,
            }),
        }
    }

    /// Sets the permission bits (low 12); does nothing to a symbolic link.
    pub fn set_mode(&self, path: &Path, mode: u32) -> Result<(), LayerError> {
        self.at("set the mode of", path, |dir, name| dir.set_mode(name, mode))
    }

    /// Sets the modification time, links not followed.
    pub fn set_mtime(&self, path: &Path, mtime: Time) -> Result<(), LayerError> {
        self.at("set the times of", path, |dir, name| dir.set_mtime(name, mtime))
    }

    /// Sets one extended attribute, links not followed.
    pub fn set_xattr(&self, path: &Path, key: &OsStr, value: &[u8]) -> Result<(), LayerError> {
        let (dir, name) =
            self.parent(path).map_err(LayerError::io("open the directory of", path))?;
        dir.set_xattr(&name, key, value).map_err(|source| LayerError::Xattr {
            path: path.to_path_buf(),
            name: key.to_string_lossy().into_owned(),
            source,
        })
    }

    /// Removes one extended attribute, links not followed.
    pub fn remove_xattr(&self, path: &Path, key: &OsStr) -> Result<(), LayerError> {
        self.at("remove an attribute of", path, |dir, name| dir.remove_xattr(name, key))
    }

    /// Removes a file, link, device or pipe; links not followed.
    pub fn remove_file(&self, path: &Path) -> Result<(), LayerError> {
        self.at("remove", path, |dir, name| dir.remove_file(name))
    }

    /// Removes whatever is at `path` with all below it, links not followed; false when nothing was.
    pub fn remove_all(&self, path: &Path) -> Result<bool, LayerError> {
        match self.at("remove", path, |dir, name| dir.remove_all(name)) {
            Err(error) if error.is_not_found() => Ok(false),
            other => other,
        }
    }

    /// Renames within the root, replacing a file at `to`; links at the end not followed.
    pub fn rename(&self, from: &Path, to: &Path) -> Result<(), LayerError> {
        let (target, target_name) =
            self.parent(to).map_err(LayerError::io("open the directory of", to))?;
        self.at("rename", from, |dir, name| dir.rename(name, &target, &target_name))
    }

    /// Opens a directory, symbolic links followed inside the root.
    pub(crate) fn dir(&self, path: &Path) -> io::Result<Dir> {
        Ok(Dir::new(self.openat2(path, OFlags::PATH | OFlags::DIRECTORY, Mode::empty())?))
    }

    /// The directory that holds the last component of `path`, and that component; `.` for the root.
    pub(crate) fn parent(&self, path: &Path) -> io::Result<(Dir, OsString)> {
        match relative(path).components().next_back() {
            Some(Component::Normal(name)) => {
                let parent = path.parent().unwrap_or(Path::new(""));
                Ok((self.dir(parent)?, name.to_os_string()))
            }
            _ => Ok((self.dir(path)?, OsString::from("."))),
        }
    }

    fn at<T>(
        &self,
        operation: &'static str,
        path: &Path,
        act: impl FnOnce(&Dir, &OsStr) -> io::Result<T>,
    ) -> Result<T, LayerError> {
        let run = || {
            let (dir, name) = self.parent(path)?;
            act(&dir, &name)
        };
        run().map_err(LayerError::io(operation, path))
    }

    fn openat2(&self, path: &Path, flags: OFlags, mode: Mode) -> io::Result<std::os::fd::OwnedFd> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        // The kernel answers EAGAIN when a rename anywhere raced with a `..`.
        for _ in 0..128 {
            match rustix::fs::openat2(self.dir.fd(), path, flags | OFlags::CLOEXEC, mode, resolve) {
                Err(rustix::io::Errno::AGAIN) => std::thread::yield_now(),
                other => return Ok(other?),
            }
        }
        Err(rustix::io::Errno::AGAIN.into())
    }
}

/// Without leading slashes.
pub(crate) fn relative(path: &Path) -> &Path {
    let bytes = path.as_os_str().as_bytes();
    let start = bytes.iter().position(|byte| *byte != b'/').unwrap_or(bytes.len());
    Path::new(OsStr::from_bytes(&bytes[start..]))
}

/// Names and `..` of a path, last first.
fn components(path: &Path) -> Vec<OsString> {
    let meaningful = |component: Component<'_>| match component {
        Component::Normal(name) => Some(name.to_os_string()),
        Component::ParentDir => Some(OsString::from("..")),
        _ => None,
    };
    path.components().rev().filter_map(meaningful).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bench() -> (tempfile::TempDir, Root) {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        std::fs::create_dir_all(root.join("usr/lib")).unwrap();
        std::fs::write(folder.path().join("secret"), "outside").unwrap();
        let root = Root::open(&root).unwrap();
        (folder, root)
    }

    /// Makes directories owned by whoever runs the test.
    fn make_dirs(root: &Root, path: &str, mode: u32) {
        let me = root.metadata(Path::new("")).unwrap();
        root.create_dir_all(Path::new(path), mode, me.uid, me.gid).unwrap();
    }

    #[test]
    fn links_resolve_as_in_a_chroot() {
        let (_folder, root) = bench();
        root.symlink(Path::new("/usr/lib"), Path::new("lib")).unwrap();
        root.write(Path::new("/lib/x"), b"x", 0o644).unwrap();
        assert_eq!(root.read(Path::new("usr/lib/x")).unwrap(), b"x");
        assert_eq!(root.resolve(Path::new("lib/missing/../y")).unwrap(), Path::new("/usr/lib/y"));
    }

    #[test]
    fn dots_and_absolute_links_stay_inside() {
        let (folder, root) = bench();
        root.symlink(Path::new("../../../../secret"), Path::new("up")).unwrap();
        root.symlink(&folder.path().join("secret"), Path::new("absolute")).unwrap();
        for path in ["../secret", "usr/../../secret", "up", "absolute"] {
            assert!(root.read(Path::new(path)).unwrap_err().is_not_found(), "{path}");
        }
        root.write(Path::new("../../escaped"), b"", 0o644).unwrap();
        assert!(!folder.path().join("escaped").exists());
        assert!(root.exists(Path::new("escaped")));
    }

    #[test]
    fn circles_of_links_are_errors() {
        let (_folder, root) = bench();
        root.symlink(Path::new("b"), Path::new("a")).unwrap();
        root.symlink(Path::new("a"), Path::new("b")).unwrap();
        assert!(root.resolve(Path::new("a")).is_err());
        assert!(root.read(Path::new("a")).is_err());
    }

    #[test]
    fn remove_all_takes_the_link_and_not_its_target() {
        let (_folder, root) = bench();
        root.write(Path::new("usr/lib/keep"), b"", 0o644).unwrap();
        make_dirs(&root, "d/e/f", 0o755);
        root.symlink(Path::new("/usr/lib"), Path::new("d/e/link")).unwrap();
        assert!(root.remove_all(Path::new("d")).unwrap());
        assert!(!root.remove_all(Path::new("d")).unwrap());
        assert!(root.exists(Path::new("usr/lib/keep")));
    }

    #[test]
    fn directories_are_made_through_links_that_dangle() {
        let (_folder, root) = bench();
        root.symlink(Path::new("/srv/real"), Path::new("data")).unwrap();
        make_dirs(&root, "data/sub", 0o750);
        assert_eq!(root.metadata(Path::new("srv/real/sub")).unwrap().mode, 0o750);
    }

    #[test]
    fn special_files_are_not_opened() {
        let (_folder, root) = bench();
        root.create_fifo(Path::new("pipe"), 0o600).unwrap();
        assert!(root.open_file(Path::new("pipe")).is_err());
        assert!(root.open_file(Path::new("usr")).is_err());
    }
}
