//! Archive entries to files under a [`Root`].
//!
//! Nothing an archive says reaches outside of the root: names with `..` are refused, a leading `/`
//! is dropped, and links on the way resolve as in a chroot. Of entries of one name the last wins,
//! whatever its type. Missing directories are made with mode 0755, owned by root, with the time of
//! the entry that needs them; directories of the root that are merely written into keep their time.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use rustix::fs::FileType;

use crate::archive::{Entry, EntryKind, Reader};
use crate::dir::Dir;
use crate::error::LayerError;
use crate::metadata::{Metadata, Time};
use crate::pending::Pending;
use crate::root::Root;
use crate::unpacked::Unpacked;
use crate::xattr::{self, Xattrs};

/// What to do with device nodes; named pipes are always made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Devices {
    /// Make them; where the kernel does not permit it, fail and name the entry.
    #[default]
    Create,
    /// Fail on the first one.
    Refuse,
    /// Leave them out.
    Skip,
}

/// What to do when something that is no directory is in the way of an entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Existing {
    /// Replace it, directories with all their content included.
    #[default]
    Replace,
    /// Keep it and leave the entry out.
    Keep,
    /// Fail.
    Refuse,
}

/// How an archive is unpacked.
#[derive(Clone, Debug, Default)]
pub struct ExtractOptions {
    /// Directory under the root that the archive's names are relative to.
    pub prefix: PathBuf,
    /// Owner and group for everything, instead of the archive's.
    pub owner: Option<(u32, u32)>,
    /// Leave owners as they come out when they cannot be set.
    pub ignore_owner: bool,
    /// Device nodes.
    pub devices: Devices,
    /// What to do about files that are there already.
    pub existing: Existing,
    /// Keep a symbolic link to a directory where the archive has a directory, as dpkg does.
    pub keep_directory_links: bool,
}

/// What a hook decides about one entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Unpack it.
    Extract,
    /// Leave it out.
    Skip,
    /// Unpack it under this name (relative to the prefix as the archive's names are).
    Rename(PathBuf),
    /// Stop with [`LayerError::Refused`] for this reason.
    Refuse(String),
}

/// What was unpacked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extracted {
    /// Entries unpacked.
    pub entries: u64,
    /// Bytes of file content.
    pub bytes: u64,
}

/// Unpacks entries one after the other; [`Extractor::finish`] must follow.
#[derive(Debug)]
pub struct Extractor<'a> {
    root: &'a Root,
    options: ExtractOptions,
    pending: Pending,
    /// Set when `.wh.` names mean deletions.
    unpacked: Option<Unpacked>,
    current: Option<Parent>,
    done: Extracted,
}

/// The directory that the last entry went into, kept open for the next.
#[derive(Clone, Debug)]
struct Parent {
    /// As named, and free of symbolic links.
    named: PathBuf,
    resolved: PathBuf,
    dir: Arc<Dir>,
    /// Whether it has a default ACL, which new files would inherit.
    inherits: bool,
}

impl<'a> Extractor<'a> {
    /// An extractor into `root`.
    pub fn new(root: &'a Root, options: ExtractOptions) -> Extractor<'a> {
        Extractor {
            root,
            options,
            pending: Pending::default(),
            unpacked: None,
            current: None,
            done: Extracted::default(),
        }
    }

    /// An extractor for which `.wh.` names mean deletions (image-spec `layer.md`, "Whiteouts").
    pub(crate) fn of_layer(root: &'a Root, options: ExtractOptions) -> Extractor<'a> {
        Extractor { unpacked: Some(Unpacked::default()), ..Extractor::new(root, options) }
    }

    /// Unpacks a whole uncompressed archive; the hook is asked about each entry.
    pub fn extract(
        mut self,
        archive: impl Read,
        hook: &mut dyn FnMut(&Entry) -> Decision,
    ) -> Result<Extracted, LayerError> {
        let mut reader = Reader::new(archive);
        // A link to a renamed file must find it under its new name.
        let mut renamed: HashMap<PathBuf, PathBuf> = HashMap::new();
        while let Some(mut entry) = reader.next_entry()? {
            match hook(&entry) {
                Decision::Extract => {}
                Decision::Skip => continue,
                Decision::Rename(path) => {
                    renamed.insert(clean(&entry.path)?, path.clone());
                    entry.path = path;
                }
                Decision::Refuse(reason) => {
                    return Err(LayerError::Refused { name: entry.name(), reason });
                }
            }
            if entry.kind == EntryKind::HardLink
                && let Some(target) = clean(&entry.link).ok().and_then(|link| renamed.get(&link))
            {
                entry.link.clone_from(target);
            }
            self.unpack(&entry, &mut reader)?;
        }
        reader.finish()?;
        self.finish()
    }

    /// Unpacks one entry, whose content is next in `reader`; the caller may have changed the entry
    /// (name, owner, mode, time).
    pub fn unpack<R: Read>(
        &mut self,
        entry: &Entry,
        reader: &mut Reader<R>,
    ) -> Result<(), LayerError> {
        let path = self.options.prefix.join(clean(&entry.path)?);
        if self.unpacked.is_some() {
            refuse_below_a_whiteout(entry, &path)?;
        }
        if self.unpacked.is_some()
            && let Some(hidden) =
                path.file_name().and_then(|name| name.as_bytes().strip_prefix(b".wh."))
        {
            return self.whiteout(entry, &path, hidden);
        }
        let Some(name) = path.file_name().map(OsStr::to_os_string) else {
            return self.top(entry);
        };
        let parent = self.parent(&path, entry)?;
        let target = parent.resolved.join(&name);
        if !self.make_room(entry, &parent, &name, &target)? {
            return Ok(());
        }
        match entry.kind {
            EntryKind::Directory => self.directory(entry, &parent, &name, &target)?,
            EntryKind::File => self.file(entry, &parent, &name, reader)?,
            EntryKind::HardLink => self.hard_link(entry, &parent, &name)?,
            _ => self.special(entry, &parent, &name)?,
        }
        if let Some(unpacked) = &mut self.unpacked {
            unpacked.add(&target);
        }
        self.done.entries += 1;
        Ok(())
    }

    /// Gives directories their final modes, attributes and times.
    pub fn finish(self) -> Result<Extracted, LayerError> {
        self.pending.finish(self.root)?;
        Ok(self.done)
    }

    /// The entry for the top directory itself (`./`).
    fn top(&mut self, entry: &Entry) -> Result<(), LayerError> {
        if entry.kind != EntryKind::Directory {
            return Err(LayerError::Outside { name: entry.name() });
        }
        let path = self.root.resolve(&self.options.prefix)?;
        let dir = self.root.dir(&path).map_err(LayerError::io("open the directory", &path))?;
        self.own(entry, &dir, OsStr::new("."))?;
        self.pending.set(&path, entry.mode, entry.mtime, entry.xattrs.clone());
        self.done.entries += 1;
        Ok(())
    }

    /// The directory an entry goes into, made when it is missing.
    fn parent(&mut self, path: &Path, entry: &Entry) -> Result<Parent, LayerError> {
        let named = path.parent().unwrap_or(Path::new(""));
        if let Some(parent) = &self.current
            && parent.named == named
        {
            return Ok(parent.clone());
        }
        let below_a_file = |error| match error {
            LayerError::Io { source, .. } if source.kind() == io::ErrorKind::NotADirectory => {
                LayerError::NotDirectory { name: entry.name(), source }
            }
            other => other,
        };
        let resolved = self.root.resolve(named).map_err(below_a_file)?;
        let dir = match self.root.dir(&resolved) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.make_parents(&resolved, entry.mtime).map_err(below_a_file)?;
                self.root.dir(&resolved)
            }
            other => other,
        };
        let dir =
            dir.map_err(LayerError::io("open the directory", &resolved)).map_err(below_a_file)?;
        let here = OsStr::new(".");
        let read = LayerError::io("read the metadata of", &resolved);
        let (metadata, names) = dir
            .metadata(here)
            .and_then(|metadata| Ok((metadata, xattr::names(&dir.handle(here))?)))
            .map_err(read)?;
        self.pending.keep_mtime(&resolved, metadata.mtime);
        let inherits = names.iter().any(|name| name == "system.posix_acl_default");
        let parent = Parent { named: named.to_path_buf(), resolved, dir: Arc::new(dir), inherits };
        self.current = Some(parent.clone());
        Ok(parent)
    }

    fn make_parents(&mut self, resolved: &Path, mtime: Time) -> Result<(), LayerError> {
        let existing = resolved.ancestors().find(|path| self.root.exists(path));
        if let Some(existing) = existing {
            let metadata = self.root.symlink_metadata(existing)?;
            self.pending.keep_mtime(existing, metadata.mtime);
        }
        let (uid, gid) = match self.options.owner {
            _ if self.options.ignore_owner => {
                (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw())
            }
            owner => owner.unwrap_or((0, 0)),
        };
        for made in self.root.create_missing_dirs(resolved, 0o755, uid, gid)? {
            self.pending.keep_mtime(&made, mtime);
        }
        Ok(())
    }

    /// Clears the place of an entry; false when the entry is to be left out.
    fn make_room(
        &mut self,
        entry: &Entry,
        parent: &Parent,
        name: &OsStr,
        target: &Path,
    ) -> Result<bool, LayerError> {
        let existing = match parent.dir.metadata(name) {
            Ok(existing) => existing,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
            Err(error) => return Err(LayerError::io("read the metadata of", target)(error)),
        };
        if entry.kind == EntryKind::Directory {
            if existing.is_dir() {
                return Ok(true);
            }
            let leads_to_dir =
                || self.root.metadata(target).is_ok_and(|metadata| metadata.is_dir());
            if self.options.keep_directory_links && existing.is_symlink() && leads_to_dir() {
                return Ok(false);
            }
        }
        match self.options.existing {
            Existing::Replace => {}
            Existing::Keep => return Ok(false),
            Existing::Refuse => return Err(LayerError::Exists { name: entry.name() }),
        }
        if entry.kind == EntryKind::HardLink && self.is_same_file(entry, &existing)? {
            return Ok(false);
        }
        parent.dir.remove_all(name).map_err(LayerError::io("replace", target))?;
        if existing.is_dir() || existing.is_symlink() {
            self.pending.forget(target);
            self.current = None;
        }
        Ok(true)
    }

    fn directory(
        &mut self,
        entry: &Entry,
        parent: &Parent,
        name: &OsStr,
        target: &Path,
    ) -> Result<(), LayerError> {
        match parent.dir.create_dir(name, 0o700) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(LayerError::io("make the directory", target)(error));
            }
            _ => {}
        }
        self.own(entry, &parent.dir, name)?;
        self.pending.set(target, entry.mode, entry.mtime, entry.xattrs.clone());
        Ok(())
    }

    fn file<R: Read>(
        &mut self,
        entry: &Entry,
        parent: &Parent,
        name: &OsStr,
        reader: &mut Reader<R>,
    ) -> Result<(), LayerError> {
        let mut file =
            parent.dir.create_file(name, 0o600).map_err(LayerError::io("make", &entry.path))?;
        self.done.bytes += reader.copy_to(&mut file, &entry.path)?;
        self.own(entry, &parent.dir, name)?;
        self.attributes(entry, parent, name)?;
        rustix::fs::fchmod(&file, rustix::fs::Mode::from_raw_mode(entry.mode))
            .map_err(|error| LayerError::io("set the mode of", &entry.path)(error.into()))?;
        self.time(entry, parent, name)
    }

    /// Symbolic links, devices and named pipes.
    fn special(&mut self, entry: &Entry, parent: &Parent, name: &OsStr) -> Result<(), LayerError> {
        let kind = match entry.kind {
            EntryKind::Symlink => {
                parent
                    .dir
                    .symlink(entry.link.as_os_str(), name)
                    .map_err(LayerError::io("make the link", &entry.path))?;
                self.own(entry, &parent.dir, name)?;
                return self.time(entry, parent, name);
            }
            EntryKind::CharDevice => FileType::CharacterDevice,
            EntryKind::BlockDevice => FileType::BlockDevice,
            _ => FileType::Fifo,
        };
        if kind != FileType::Fifo {
            match self.options.devices {
                Devices::Create => {}
                Devices::Skip => return Ok(()),
                Devices::Refuse => {
                    return Err(LayerError::Device { name: entry.name(), source: None });
                }
            }
        }
        parent.dir.make_node(name, kind, 0o600, entry.device).map_err(|source| {
            match source.kind() {
                io::ErrorKind::PermissionDenied if kind != FileType::Fifo => {
                    LayerError::Device { name: entry.name(), source: Some(source) }
                }
                _ => LayerError::io("make", &entry.path)(source),
            }
        })?;
        self.own(entry, &parent.dir, name)?;
        self.attributes(entry, parent, name)?;
        parent
            .dir
            .set_mode(name, entry.mode)
            .map_err(LayerError::io("set the mode of", &entry.path))?;
        self.time(entry, parent, name)
    }

    fn hard_link(
        &mut self,
        entry: &Entry,
        parent: &Parent,
        name: &OsStr,
    ) -> Result<(), LayerError> {
        let fail = |source| LayerError::LinkTarget {
            name: entry.name(),
            target: entry.link.display().to_string(),
            source,
        };
        let (from, from_name) = self.link_target(entry)?.map_err(fail)?;
        parent.dir.hard_link(name, &from, &from_name).map_err(fail)
    }

    fn is_same_file(&self, entry: &Entry, existing: &Metadata) -> Result<bool, LayerError> {
        let target = self.link_target(entry)?.and_then(|(dir, name)| dir.metadata(&name));
        Ok(target.is_ok_and(|target| target.identity == existing.identity))
    }

    fn link_target(&self, entry: &Entry) -> Result<io::Result<(Dir, OsString)>, LayerError> {
        let target = clean(&entry.link)
            .map_err(|_| LayerError::Outside { name: entry.link.display().to_string() })?;
        Ok(self.root.parent(&self.options.prefix.join(target)))
    }

    fn own(&self, entry: &Entry, dir: &Dir, name: &OsStr) -> Result<(), LayerError> {
        let (uid, gid) = self.options.owner.unwrap_or((entry.uid, entry.gid));
        match dir.set_owner(name, uid, gid) {
            Err(source) if !self.options.ignore_owner => {
                Err(LayerError::Owner { path: entry.path.clone(), uid, gid, source })
            }
            _ => Ok(()),
        }
    }

    fn attributes(&self, entry: &Entry, parent: &Parent, name: &OsStr) -> Result<(), LayerError> {
        if parent.inherits {
            let present = parent
                .dir
                .xattrs(name)
                .map_err(LayerError::io("read the attributes of", &entry.path))?;
            for inherited in present.keys() {
                parent
                    .dir
                    .remove_xattr(name, inherited)
                    .map_err(LayerError::io("remove an attribute of", &entry.path))?;
            }
        }
        set_xattrs(&parent.dir, name, &entry.xattrs, &entry.path)
    }

    fn time(&self, entry: &Entry, parent: &Parent, name: &OsStr) -> Result<(), LayerError> {
        parent
            .dir
            .set_mtime(name, entry.mtime)
            .map_err(LayerError::io("set the times of", &entry.path))
    }

    /// A `.wh.` name: hides what is below, never what this layer unpacked.
    fn whiteout(&mut self, entry: &Entry, path: &Path, hidden: &[u8]) -> Result<(), LayerError> {
        let named = path.parent().unwrap_or(Path::new(""));
        let Some(unpacked) = &self.unpacked else { return Ok(()) };
        let directory = match self.root.resolve(named) {
            Ok(directory) => directory,
            // Below a file there is nothing to hide.
            Err(LayerError::Io { source, .. }) if source.kind() == io::ErrorKind::NotADirectory => {
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        match self.root.symlink_metadata(&directory) {
            Ok(metadata) if metadata.is_dir() => {
                self.pending.keep_mtime(&directory, metadata.mtime)
            }
            _ => return Ok(()),
        }
        if hidden == b".wh..opq" {
            unpacked.hide_below(self.root, &directory)?;
        } else if hidden.starts_with(b".wh.") {
            // Bookkeeping of aufs, which means nothing elsewhere.
            return Ok(());
        } else if hidden.is_empty() || hidden == b"." || hidden == b".." {
            return Err(LayerError::Outside { name: entry.name() });
        } else {
            unpacked.hide(self.root, &directory.join(OsStr::from_bytes(hidden)))?;
        }
        self.current = None;
        self.done.entries += 1;
        Ok(())
    }
}

/// Below the name of a deletion there can be nothing, except for the bookkeeping of aufs.
fn refuse_below_a_whiteout(entry: &Entry, path: &Path) -> Result<(), LayerError> {
    let mut parents = path.parent().into_iter().flat_map(Path::components);
    let is_deletion = |component: Component<'_>| {
        let name = component.as_os_str().as_bytes();
        name.starts_with(b".wh.") && !name.starts_with(b".wh..wh.")
    };
    match parents.any(is_deletion) {
        false => Ok(()),
        true => Err(LayerError::Refused {
            name: entry.name(),
            reason: "it lies below a name that means a deletion".to_owned(),
        }),
    }
}

/// Sets attributes of a file that has none yet.
pub(crate) fn set_xattrs(
    dir: &Dir,
    name: &OsStr,
    xattrs: &Xattrs,
    path: &Path,
) -> Result<(), LayerError> {
    for (key, value) in xattrs {
        dir.set_xattr(name, key, value).map_err(|source| LayerError::Xattr {
            path: path.to_path_buf(),
            name: key.to_string_lossy().into_owned(),
            source,
        })?;
    }
    Ok(())
}

/// A name relative to the top, without `.`; names with `..` are refused.
fn clean(path: &Path) -> Result<PathBuf, LayerError> {
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => {
                return Err(LayerError::Outside { name: path.display().to_string() });
            }
            _ => {}
        }
    }
    Ok(clean)
}
