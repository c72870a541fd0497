//! An overlayfs upper directory and its parent to the list of what a layer must say.
//!
//! Entries that equal their parent's (a file that was only touched, say) are not listed; their time
//! is set back to the parent's, so that the snapshot on disk is what a reader of the layer gets.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use crate::dir::Dir;
use crate::error::LayerError;
use crate::metadata::{Kind, Metadata, Time};
use crate::root::Root;
use crate::tree::{self, CompareOptions, CompareTime, Side};
use crate::xattr;

/// What a layer says about one path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Change {
    /// The path is a whiteout, or the mark of an opaque directory.
    Whiteout,
    /// The path is as it is in the upper directory.
    Entry,
}

/// What identifies a file that has several names.
type Identity = (u32, u32, u64);

/// What a layer must say.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// Paths (relative, as bytes) with what is said about them, sorted by bytes.
    pub(crate) list: Vec<(Vec<u8>, Change)>,
    /// Directories that are not written, with the time they get back.
    pub(crate) kept: Vec<(PathBuf, Time)>,
}

/// A directory of the upper tree.
struct Folder {
    path: PathBuf,
    /// Index of the directory above.
    above: usize,
    /// Whether it, or something in it, is written.
    written: bool,
    /// Its time in the parent, if it is a directory there.
    parent_mtime: Option<Time>,
    /// Whether the parent's directory is merged into this one.
    merged: bool,
    /// Whether the parent's entries are hidden although the directory is in both.
    pure: bool,
}

struct Scan<'a> {
    upper: &'a Root,
    parent: Option<&'a Root>,
    options: CompareOptions,
    folders: Vec<Folder>,
    changes: Vec<(Vec<u8>, Change)>,
    /// Names of files with several names, and whether each is written.
    links: HashMap<Identity, Vec<(Vec<u8>, bool, usize)>>,
}

/// Lists what `upper` changes over `parent`.
pub(crate) fn scan(parent: Option<&Root>, upper: &Root, epoch: i64) -> Result<Changes, LayerError> {
    let options = CompareOptions { mtime: CompareTime::Clamped(epoch), owner: true };
    let mut scan = Scan {
        upper,
        parent,
        options,
        folders: Vec::new(),
        changes: Vec::new(),
        links: HashMap::new(),
    };
    scan.top()?;
    let mut next = 0;
    while next < scan.folders.len() {
        scan.folder(next)?;
        next += 1;
    }
    Ok(scan.finish())
}

impl Scan<'_> {
    /// The top directory: written only when its mode, owner or attributes differ.
    fn top(&mut self) -> Result<(), LayerError> {
        let path = Path::new("");
        let dot = OsStr::new(".");
        let read = |root: &Root| root.dir(path).and_then(|dir| Ok((dir.metadata(dot)?, dir)));
        let (metadata, dir) = read(self.upper).map_err(LayerError::io("read", path))?;
        let mut parent_mtime = None;
        let differs = match self.parent {
            Some(parent) => {
                let (base, base_dir) = read(parent).map_err(LayerError::io("read", path))?;
                parent_mtime = Some(base.mtime);
                let options = CompareOptions { mtime: CompareTime::Ignore, owner: true };
                let upper = Side { dir: &dir, name: dot, metadata: &metadata };
                let base = Side { dir: &base_dir, name: dot, metadata: &base };
                !tree::entry(&upper, &base, &options, true)
                    .map_err(LayerError::io("compare", path))?
                    .is_empty()
            }
            None => {
                let xattrs =
                    dir.xattrs(dot).map_err(LayerError::io("read the attributes of", path))?;
                (metadata.mode, metadata.uid, metadata.gid) != (0o755, 0, 0) || !xattrs.is_empty()
            }
        };
        if differs {
            self.changes.push((Vec::new(), Change::Entry));
        }
        let merged = self.parent.is_some();
        self.folders.push(Folder {
            path: path.to_path_buf(),
            above: 0,
            written: false,
            parent_mtime,
            merged,
            pure: false,
        });
        Ok(())
    }

    fn folder(&mut self, index: usize) -> Result<(), LayerError> {
        let folder = &self.folders[index];
        let path = folder.path.clone();
        let open =
            |root: &Root| root.dir(&path).map_err(LayerError::io("open the directory", &path));
        let dir = open(self.upper)?;
        let mut base = match self.parent {
            Some(parent) if folder.merged => Some(open(parent)?),
            _ => None,
        };
        let marks = Marks::read(&dir, OsStr::new("."), &path)?;
        let pure = folder.pure || marks.opaque;
        let mut names = dir.names().map_err(LayerError::io("list", &path))?;
        names.sort_unstable();
        if pure && let Some(hidden) = &base {
            let theirs = hidden.names().map_err(LayerError::io("list", &path))?;
            if theirs.iter().any(|name| names.binary_search(name).is_err()) {
                self.record(index, join(&path, OsStr::new(".wh..wh..opq")), Change::Whiteout);
                base = None;
            }
        }
        for name in names {
            self.child(index, &path, &dir, base.as_ref(), &name, pure)?;
        }
        Ok(())
    }

    fn child(
        &mut self,
        index: usize,
        folder: &Path,
        dir: &Dir,
        base: Option<&Dir>,
        name: &OsStr,
        pure: bool,
    ) -> Result<(), LayerError> {
        let path = folder.join(name);
        let read = |dir: &Dir| match dir.metadata(name) {
            Ok(metadata) => Ok(Some(metadata)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(LayerError::io("read the metadata of", &path)(error)),
        };
        let Some(metadata) = read(dir)? else { return Err(LayerError::Changed { path }) };
        let theirs = base.map(read).transpose()?.flatten();
        if metadata.is_whiteout() || metadata.kind == Kind::Socket {
            if metadata.kind == Kind::Socket {
                replace_socket(dir, name, theirs.is_some())
                    .map_err(LayerError::io("remove the socket", &path))?;
            }
            if theirs.is_some() {
                let whiteout = [b".wh.", name.as_bytes()].concat();
                self.record(index, join(folder, OsStr::from_bytes(&whiteout)), Change::Whiteout);
            }
            return Ok(());
        }
        if name.as_bytes().starts_with(b".wh.") {
            return Err(LayerError::ReservedName { path });
        }
        if Marks::read(dir, name, &path)?.redirected {
            return Err(LayerError::Redirected { path });
        }
        let differs = match (base, &theirs) {
            (Some(base), Some(theirs)) => {
                let upper = Side { dir, name, metadata: &metadata };
                let base = Side { dir: base, name, metadata: theirs };
                !tree::entry(&upper, &base, &self.options, true)
                    .map_err(LayerError::io("compare", &path))?
                    .is_empty()
            }
            _ => true,
        };
        let parent_dir = theirs.filter(Metadata::is_dir);
        if metadata.is_dir() {
            self.folders.push(Folder {
                path,
                above: index,
                written: differs,
                parent_mtime: parent_dir.map(|metadata| metadata.mtime),
                merged: parent_dir.is_some(),
                pure,
            });
            return Ok(());
        }
        if !differs && let Some(theirs) = theirs {
            dir.set_mtime(name, theirs.mtime).map_err(LayerError::io("set the times of", &path))?;
        }
        let path = path.into_os_string().into_vec();
        if metadata.links > 1 {
            self.links.entry(metadata.identity).or_default().push((path, differs, index));
        } else if differs {
            self.record(index, path, Change::Entry);
        }
        Ok(())
    }

    fn record(&mut self, folder: usize, path: Vec<u8>, change: Change) {
        self.folders[folder].written = true;
        self.changes.push((path, change));
    }

    fn finish(mut self) -> Changes {
        // A reader may link only to what is in the same layer: one name written, all written.
        for (_, names) in std::mem::take(&mut self.links) {
            if names.iter().any(|(_, differs, _)| *differs) {
                for (path, _, folder) in names {
                    self.record(folder, path, Change::Entry);
                }
            }
        }
        // Directories come after those above them, so one pass from the end reaches all.
        for index in (1..self.folders.len()).rev() {
            if self.folders[index].written {
                let above = self.folders[index].above;
                self.folders[above].written = true;
            }
        }
        let mut changes = Changes { list: self.changes, kept: Vec::new() };
        for (index, folder) in self.folders.into_iter().enumerate() {
            if index > 0 && folder.written {
                changes.list.push((folder.path.into_os_string().into_vec(), Change::Entry));
            } else if let Some(mtime) = folder.parent_mtime {
                changes.kept.push((folder.path, mtime));
            }
        }
        changes.list.sort_unstable();
        changes
    }
}

/// overlayfs' marks on one file.
struct Marks {
    opaque: bool,
    redirected: bool,
}

impl Marks {
    fn read(dir: &Dir, name: &OsStr, path: &Path) -> Result<Marks, LayerError> {
        let handle = dir.handle(name);
        let read = || {
            let names: Vec<OsString> = xattr::names(&handle)?;
            let has = |mark: &str| names.iter().any(|name| name == mark);
            let mark = [xattr::OPAQUE, xattr::OPAQUE_TRUSTED].into_iter().find(|mark| has(mark));
            let opaque = match mark {
                Some(mark) => xattr::get(&handle, OsStr::new(mark))?.as_deref() == Some(b"y"),
                None => false,
            };
            Ok(Marks { opaque, redirected: has(xattr::REDIRECT) || has(xattr::METACOPY) })
        };
        read().map_err(LayerError::io("read the attributes of", path))
    }
}

/// Layers hold no sockets: what the socket replaced is gone, so a whiteout takes its place.
fn replace_socket(dir: &Dir, name: &OsStr, hides: bool) -> io::Result<()> {
    dir.remove_file(name)?;
    if hides {
        dir.make_node(name, rustix::fs::FileType::CharacterDevice, 0, (0, 0))?;
    }
    Ok(())
}

fn join(folder: &Path, name: &OsStr) -> Vec<u8> {
    folder.join(name).into_os_string().into_vec()
}
