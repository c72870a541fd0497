//! Trees as lists of entries, and two trees as a list of differences.
//!
//! Used by tests, by `verify` and, entry by entry, to decide what a layer records.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::dir::Dir;
use crate::error::LayerError;
use crate::metadata::{Kind, Metadata, Time};
use crate::root::Root;

/// Calls `visit` for everything below the root, directories before their content, names sorted by
/// bytes; paths are relative to the root.
pub fn walk(
    root: &Root,
    visit: &mut dyn FnMut(&Path, &Metadata) -> Result<(), LayerError>,
) -> Result<(), LayerError> {
    let mut ahead = sorted_down(root, Path::new(""))?;
    while let Some(path) = ahead.pop() {
        let metadata = root.symlink_metadata(&path)?;
        visit(&path, &metadata)?;
        if metadata.is_dir() {
            ahead.extend(sorted_down(root, &path)?);
        }
    }
    Ok(())
}

/// The children of a directory, last first.
fn sorted_down(root: &Root, path: &Path) -> Result<Vec<PathBuf>, LayerError> {
    Ok(root.read_dir(path)?.into_iter().rev().map(|name| path.join(name)).collect())
}

/// What counts as a difference.
#[derive(Clone, Copy, Debug)]
pub struct CompareOptions {
    /// How modification times are compared.
    pub mtime: CompareTime,
    /// Whether owners are compared.
    pub owner: bool,
}

/// How modification times are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompareTime {
    /// Not at all.
    Ignore,
    /// To the nanosecond.
    Exact,
    /// As a layer with this epoch records them: whole seconds, none later than the epoch.
    Clamped(i64),
}

impl Default for CompareOptions {
    fn default() -> CompareOptions {
        CompareOptions { mtime: CompareTime::Exact, owner: true }
    }
}

/// One difference of two trees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Path relative to both roots; empty for the roots themselves.
    pub path: PathBuf,
    /// What differs.
    pub what: What,
}

/// What differs; where it matters, as it is in the left and in the right tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// Only the left tree has it.
    OnlyLeft(Kind),
    /// Only the right tree has it.
    OnlyRight(Kind),
    /// Types.
    Kind(Kind, Kind),
    /// Permission bits.
    Mode(u32, u32),
    /// Owner and group.
    Owner((u32, u32), (u32, u32)),
    /// Lengths of files.
    Size(u64, u64),
    /// Modification times.
    Mtime(Time, Time),
    /// Numbers of device nodes.
    Device((u32, u32), (u32, u32)),
    /// Targets of symbolic links.
    Target(OsString, OsString),
    /// Extended attributes whose values differ, or that only one side has.
    Xattrs(Vec<OsString>),
    /// Content of files of the same length; offset of the first byte that differs.
    Content(u64),
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}: ", self.path.display())?;
        match &self.what {
            What::OnlyLeft(kind) => write!(f, "{} only on the left", kind.name()),
            What::OnlyRight(kind) => write!(f, "{} only on the right", kind.name()),
            What::Kind(left, right) => write!(f, "{} against {}", left.name(), right.name()),
            What::Mode(left, right) => write!(f, "mode {left:04o} against {right:04o}"),
            What::Owner(left, right) => {
                write!(f, "owner {}:{} against {}:{}", left.0, left.1, right.0, right.1)
            }
            What::Size(left, right) => write!(f, "{left} bytes against {right}"),
            What::Mtime(left, right) => {
                write!(
                    f,
                    "time {}.{:09} against {}.{:09}",
                    left.secs, left.nanos, right.secs, right.nanos
                )
            }
            What::Device(left, right) => {
                write!(f, "device {}:{} against {}:{}", left.0, left.1, right.0, right.1)
            }
            What::Target(left, right) => {
                write!(f, "link to {} against {}", left.display(), right.display())
            }
            What::Xattrs(names) => {
                let names: Vec<_> = names.iter().map(|name| name.to_string_lossy()).collect();
                write!(f, "attributes {}", names.join(", "))
            }
            What::Content(offset) => write!(f, "content from byte {offset}"),
        }
    }
}

/// Every difference of two trees, by path; an entry of different types is not compared further.
pub fn compare(
    left: &Root,
    right: &Root,
    options: &CompareOptions,
) -> Result<Vec<Difference>, LayerError> {
    let mut differences = Vec::new();
    let mut ahead = vec![PathBuf::new()];
    while let Some(path) = ahead.pop() {
        let (l, l_name) =
            left.parent(&path).map_err(LayerError::io("open the directory of", &path))?;
        let (r, r_name) =
            right.parent(&path).map_err(LayerError::io("open the directory of", &path))?;
        let found = match (one_side(&l, &l_name, &path)?, one_side(&r, &r_name, &path)?) {
            (Some(l_meta), Some(r_meta)) => {
                if l_meta.is_dir() && r_meta.is_dir() {
                    let mut names = left.read_dir(&path)?;
                    names.extend(right.read_dir(&path)?);
                    names.sort_unstable_by(|a, b| b.cmp(a));
                    names.dedup();
                    ahead.extend(names.into_iter().map(|name| path.join(name)));
                }
                let left = Side { dir: &l, name: &l_name, metadata: &l_meta };
                let right = Side { dir: &r, name: &r_name, metadata: &r_meta };
                entry(&left, &right, options, false).map_err(LayerError::io("compare", &path))?
            }
            (Some(metadata), None) => vec![What::OnlyLeft(metadata.kind)],
            (None, Some(metadata)) => vec![What::OnlyRight(metadata.kind)],
            (None, None) => Vec::new(),
        };
        differences.extend(found.into_iter().map(|what| Difference { path: path.clone(), what }));
    }
    Ok(differences)
}

fn one_side(dir: &Dir, name: &OsStr, path: &Path) -> Result<Option<Metadata>, LayerError> {
    match dir.metadata(name) {
        Ok(metadata) => Ok(Some(metadata)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(LayerError::io("read the metadata of", path)(error)),
    }
}

/// One of the two entries compared.
pub(crate) struct Side<'a> {
    pub(crate) dir: &'a Dir,
    pub(crate) name: &'a OsStr,
    pub(crate) metadata: &'a Metadata,
}

/// The differences of two entries, cheap ones first; only the first of them when `first` is set.
pub(crate) fn entry(
    left: &Side<'_>,
    right: &Side<'_>,
    options: &CompareOptions,
    first: bool,
) -> io::Result<Vec<What>> {
    let (l, r) = (left.metadata, right.metadata);
    if l.kind != r.kind {
        return Ok(vec![What::Kind(l.kind, r.kind)]);
    }
    let mut found = Vec::new();
    // The mode of a symbolic link means nothing.
    if l.mode != r.mode && l.kind != Kind::Symlink {
        found.push(What::Mode(l.mode, r.mode));
    }
    if options.owner && (l.uid, l.gid) != (r.uid, r.gid) {
        found.push(What::Owner((l.uid, l.gid), (r.uid, r.gid)));
    }
    if l.is_file() && l.size != r.size {
        found.push(What::Size(l.size, r.size));
    }
    if l.device != r.device {
        found.push(What::Device(l.device, r.device));
    }
    let same_time = match options.mtime {
        CompareTime::Ignore => true,
        CompareTime::Exact => l.mtime == r.mtime,
        CompareTime::Clamped(epoch) => l.mtime.clamped(epoch) == r.mtime.clamped(epoch),
    };
    if !same_time {
        found.push(What::Mtime(l.mtime, r.mtime));
    }
    if (first && !found.is_empty()) || l.identity == r.identity {
        return Ok(found);
    }
    if l.is_symlink() {
        let (l_target, r_target) =
            (left.dir.read_link(left.name)?, right.dir.read_link(right.name)?);
        if l_target != r_target {
            found.push(What::Target(l_target, r_target));
        }
    }
    let (l_xattrs, r_xattrs) = (left.dir.xattrs(left.name)?, right.dir.xattrs(right.name)?);
    if l_xattrs != r_xattrs {
        let mut names: Vec<OsString> = l_xattrs.keys().chain(r_xattrs.keys()).cloned().collect();
        names.retain(|name| l_xattrs.get(name) != r_xattrs.get(name));
        names.sort();
        names.dedup();
        found.push(What::Xattrs(names));
    }
    if (!first || found.is_empty())
        && l.is_file()
        && l.size == r.size
        && let Some(offset) = content(left, right)?
    {
        found.push(What::Content(offset));
    }
    Ok(found)
}

/// Offset of the first byte that differs between two files.
fn content(left: &Side<'_>, right: &Side<'_>) -> io::Result<Option<u64>> {
    if left.metadata.size == 0 {
        return Ok(None);
    }
    let (mut left, mut right) = (left.dir.open_file(left.name)?, right.dir.open_file(right.name)?);
    let (mut a, mut b) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    let mut offset = 0;
    loop {
        let (a_len, b_len) = (fill(&mut left, &mut a)?, fill(&mut right, &mut b)?);
        let (a, b) = (&a[..a_len], &b[..b_len]);
        if a != b {
            let same = a.iter().zip(b).take_while(|(a, b)| a == b).count();
            return Ok(Some(offset + same as u64));
        }
        if a_len == 0 {
            return Ok(None);
        }
        offset += a_len as u64;
    }
}

fn fill(file: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(got) => filled += got,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
