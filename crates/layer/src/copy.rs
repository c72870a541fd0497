//! Files of one root to another with the semantics of `COPY`.
//!
//! A directory's content goes into the destination; a file goes to the destination, or into it when
//! it is a directory or is written with a closing slash. Symbolic links on the way, and the source
//! itself, resolve inside their roots; links found while descending are copied as links. Modes,
//! times, attributes and hard links within one source are kept. An existing destination directory
//! keeps its metadata, directories below it take those of the source; whether one that is made takes
//! those of the source is an option. Knows nothing of wildcards,
//! ignore files or archives.

use std::collections::HashMap;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::error::LayerError;
use crate::extract::set_xattrs;
use crate::metadata::{Kind, Metadata, Time};
use crate::mode::ModeChange;
use crate::pending::Pending;
use crate::root::Root;

/// How files are copied.
#[derive(Clone, Debug)]
pub struct CopyOptions {
    /// Owner and group of everything made; none keeps the source's (and root for missing parents).
    pub owner: Option<(u32, u32)>,
    /// Change of the mode of files and directories copied; none keeps the source's.
    pub mode: Option<ModeChange>,
    /// Modification time of everything copied; none keeps the source's.
    pub mtime: Option<Time>,
    /// Whether a source that is a symbolic link means its target (`COPY` does) or itself.
    pub follow: bool,
    /// Whether a source directory's own metadata stay behind, as with `COPY`: a destination that is
    /// made for its content is made as a missing parent is.
    pub content_only: bool,
    /// Leave owners as they come out when they cannot be set.
    pub ignore_owner: bool,
}

impl Default for CopyOptions {
    fn default() -> CopyOptions {
        CopyOptions {
            owner: None,
            mode: None,
            mtime: None,
            follow: true,
            content_only: false,
            ignore_owner: false,
        }
    }
}

/// What a filter decides about one file or directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Copy it, and look into it when it is a directory.
    Copy,
    /// Do not copy it, but look into it: it is made when something in it is copied.
    Descend,
    /// Leave it out with all in it.
    Skip,
}

/// What was copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// Everything that is not a directory.
    pub files: u64,
    /// Bytes of file content.
    pub bytes: u64,
}

/// Copies `src_path` of `src` to `dst_path` of `dst`.
///
/// The filter is asked about everything but the source directory itself, with the path relative to
/// `src_path` (empty when the source is a file).
pub fn copy(
    src: &Root,
    src_path: &Path,
    dst: &Root,
    dst_path: &Path,
    options: &CopyOptions,
    filter: &mut dyn FnMut(&Path, &Metadata) -> Choice,
) -> Result<Copied, LayerError> {
    let from = if options.follow { src.resolve(src_path)? } else { resolve_parent(src, src_path)? };
    let metadata = src.symlink_metadata(&from)?;
    let mut to = dst.resolve(dst_path)?;
    let mut copier = Copier {
        src,
        dst,
        options,
        pending: Pending::default(),
        links: HashMap::new(),
        copied: Copied::default(),
    };
    if metadata.is_dir() {
        copier.parents(&to)?;
        copier.tree(&from, &metadata, &to, filter)?;
    } else {
        let name = src_path.file_name().or(from.file_name()).unwrap_or_default();
        let into = dst_path.as_os_str().as_bytes().ends_with(b"/")
            || dst_path.as_os_str().as_bytes().ends_with(b"/.")
            || dst.symlink_metadata(&to).is_ok_and(|metadata| metadata.is_dir());
        if into {
            to.push(name);
        }
        if filter(Path::new(""), &metadata) == Choice::Copy {
            copier.parents(&to)?;
            copier.leaf(&from, &metadata, &to)?;
        }
    }
    copier.pending.finish(dst)?;
    Ok(copier.copied)
}

/// The path with everything but its last component resolved.
fn resolve_parent(root: &Root, path: &Path) -> Result<PathBuf, LayerError> {
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => Ok(root.resolve(parent)?.join(name)),
        _ => root.resolve(path),
    }
}

struct Copier<'a> {
    src: &'a Root,
    dst: &'a Root,
    options: &'a CopyOptions,
    pending: Pending,
    /// Where a file with several names was copied to first.
    links: HashMap<(u32, u32, u64), PathBuf>,
    copied: Copied,
}

/// A source directory that is being copied.
struct Level {
    from: PathBuf,
    to: PathBuf,
    relative: PathBuf,
    metadata: Metadata,
    above: Option<usize>,
    made: bool,
}

impl Copier<'_> {
    fn tree(
        &mut self,
        from: &Path,
        metadata: &Metadata,
        to: &Path,
        filter: &mut dyn FnMut(&Path, &Metadata) -> Choice,
    ) -> Result<(), LayerError> {
        let top = Level {
            from: from.to_path_buf(),
            to: to.to_path_buf(),
            relative: PathBuf::new(),
            metadata: *metadata,
            above: None,
            made: false,
        };
        let mut levels = vec![top];
        self.make(&mut levels, 0)?;
        let mut next = 0;
        while next < levels.len() {
            let (from, to) = (levels[next].from.clone(), levels[next].to.clone());
            for name in self.src.read_dir(&from)? {
                let child = from.join(&name);
                let relative = levels[next].relative.join(&name);
                let metadata = self.src.symlink_metadata(&child)?;
                let choice = filter(&relative, &metadata);
                if choice == Choice::Skip || (choice == Choice::Descend && !metadata.is_dir()) {
                    continue;
                }
                let to = to.join(&name);
                if metadata.is_dir() {
                    levels.push(Level {
                        from: child,
                        to,
                        relative,
                        metadata,
                        above: Some(next),
                        made: false,
                    });
                    if choice == Choice::Copy {
                        let last = levels.len() - 1;
                        self.make(&mut levels, last)?;
                    }
                } else {
                    self.make(&mut levels, next)?;
                    self.leaf(&child, &metadata, &to)?;
                }
            }
            next += 1;
        }
        Ok(())
    }

    /// Makes the destination of a directory, and those above it first.
    fn make(&mut self, levels: &mut [Level], index: usize) -> Result<(), LayerError> {
        let mut missing = vec![index];
        while let Some(above) = missing.last().and_then(|index| levels[*index].above)
            && !levels[above].made
        {
            missing.push(above);
        }
        for index in missing.into_iter().rev() {
            let level = &mut levels[index];
            if !level.made {
                level.made = true;
                self.directory(&level.from, &level.metadata, &level.to, level.above.is_none())?;
            }
        }
        Ok(())
    }

    fn directory(
        &mut self,
        from: &Path,
        metadata: &Metadata,
        to: &Path,
        is_top: bool,
    ) -> Result<(), LayerError> {
        match self.dst.symlink_metadata(to) {
            Ok(existing) if !existing.is_dir() => {
                return Err(LayerError::OverFile { path: to.to_path_buf() });
            }
            Ok(_) if is_top => return Ok(()),
            Ok(_) => {}
            Err(error) if error.is_not_found() && is_top && self.options.content_only => {
                self.make_all(to)?;
                if let Some(mtime) = self.options.mtime {
                    self.pending.keep_mtime(to, mtime);
                }
                return Ok(());
            }
            Err(error) if error.is_not_found() => self.dst.create_dir(to, 0o700)?,
            Err(error) => return Err(error),
        }
        self.own(metadata, to)?;
        self.pending.set(to, self.mode(metadata), self.mtime(metadata), self.src.xattrs(from)?);
        Ok(())
    }

    /// Copies anything but a directory.
    fn leaf(&mut self, from: &Path, metadata: &Metadata, to: &Path) -> Result<(), LayerError> {
        match self.dst.symlink_metadata(to) {
            Ok(existing) if existing.is_dir() => {
                return Err(LayerError::OverDirectory { path: to.to_path_buf() });
            }
            Ok(_) => self.dst.remove_file(to)?,
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error),
        }
        if metadata.links > 1 {
            if let Some(first) = self.links.get(&metadata.identity) {
                self.copied.files += 1;
                return self.dst.hard_link(first, to);
            }
            self.links.insert(metadata.identity, to.to_path_buf());
        }
        match metadata.kind {
            Kind::File => {
                let mut source = self.src.open_file(from)?;
                let mut target = self.dst.create_file(to, 0o600)?;
                self.copied.bytes +=
                    io::copy(&mut source, &mut target).map_err(LayerError::io("copy", to))?;
            }
            Kind::Symlink => self.dst.symlink(&self.src.read_link(from)?, to)?,
            Kind::Fifo => self.dst.create_fifo(to, 0o600)?,
            Kind::CharDevice | Kind::BlockDevice => {
                self.dst.create_device(to, metadata.kind, 0o600, metadata.device)?;
            }
            // A socket without its server is nothing.
            Kind::Socket | Kind::Directory => return Ok(()),
        }
        self.copied.files += 1;
        self.own(metadata, to)?;
        let (dir, name) =
            self.dst.parent(to).map_err(LayerError::io("open the directory of", to))?;
        set_xattrs(&dir, &name, &self.src.xattrs(from)?, to)?;
        if !metadata.is_symlink() {
            dir.set_mode(&name, self.mode(metadata))
                .map_err(LayerError::io("set the mode of", to))?;
        }
        dir.set_mtime(&name, self.mtime(metadata)).map_err(LayerError::io("set the times of", to))
    }

    /// Makes the missing directories above a destination.
    fn parents(&self, to: &Path) -> Result<(), LayerError> {
        to.parent().map_or(Ok(()), |parent| self.make_all(parent))
    }

    /// Makes a directory and those above it, as far as they are missing.
    fn make_all(&self, directory: &Path) -> Result<(), LayerError> {
        let (uid, gid) = match self.options.ignore_owner {
            true => (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw()),
            false => self.options.owner.unwrap_or((0, 0)),
        };
        self.dst.create_dir_all(directory, 0o755, uid, gid)
    }

    fn own(&self, metadata: &Metadata, to: &Path) -> Result<(), LayerError> {
        let (uid, gid) = self.options.owner.unwrap_or((metadata.uid, metadata.gid));
        match self.dst.set_owner(to, uid, gid) {
            Err(LayerError::Owner { .. }) if self.options.ignore_owner => Ok(()),
            other => other,
        }
    }

    fn mtime(&self, metadata: &Metadata) -> Time {
        self.options.mtime.unwrap_or(metadata.mtime)
    }

    fn mode(&self, metadata: &Metadata) -> u32 {
        match &self.options.mode {
            Some(change) => change.apply(metadata.mode, metadata.is_dir()),
            None => metadata.mode,
        }
    }
}

/// A filter that takes everything.
pub fn everything(_: &Path, _: &Metadata) -> Choice {
    Choice::Copy
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Bench {
        _folder: tempfile::TempDir,
        src: Root,
        dst: Root,
    }

    fn bench() -> Bench {
        let folder = tempfile::tempdir().unwrap();
        let make = |name: &str| {
            std::fs::create_dir(folder.path().join(name)).unwrap();
            Root::open(&folder.path().join(name)).unwrap()
        };
        let (src, dst) = (make("src"), make("dst"));
        for dir in ["app", "app/sub", "app/sub/deep"] {
            src.create_dir(Path::new(dir), 0o750).unwrap();
        }
        for file in ["app/main.py", "app/sub/mod.py", "app/sub/deep/keep.txt"] {
            src.write(Path::new(file), file.as_bytes(), 0o640).unwrap();
            src.set_mtime(Path::new(file), Time::from_secs(1_000_000)).unwrap();
        }
        src.symlink(Path::new("main.py"), Path::new("app/link")).unwrap();
        src.symlink(Path::new("/app"), Path::new("alias")).unwrap();
        src.hard_link(Path::new("app/main.py"), Path::new("app/sub/same.py")).unwrap();
        Bench { _folder: folder, src, dst }
    }

    impl Bench {
        fn copy(&self, from: &str, to: &str) -> Result<Copied, LayerError> {
            self.copy_with(
                from,
                to,
                &CopyOptions { ignore_owner: true, ..CopyOptions::default() },
                &mut everything,
            )
        }

        fn copy_with(
            &self,
            from: &str,
            to: &str,
            options: &CopyOptions,
            filter: &mut dyn FnMut(&Path, &Metadata) -> Choice,
        ) -> Result<Copied, LayerError> {
            copy(&self.src, Path::new(from), &self.dst, Path::new(to), options, filter)
        }

        fn list(&self) -> String {
            let mut list = Vec::new();
            crate::tree::walk(&self.dst, &mut |path, metadata| {
                let sign = if metadata.is_dir() { "/" } else { "" };
                list.push(format!("{}{sign}", path.display()));
                Ok(())
            })
            .unwrap();
            list.join(" ")
        }
    }

    #[test]
    fn a_directory_means_its_content() {
        let bench = bench();
        let copied = bench.copy("app", "/srv/app").unwrap();
        assert_eq!(copied.files, 5);
        assert_eq!(
            bench.list(),
            "srv/ srv/app/ srv/app/link srv/app/main.py srv/app/sub/ srv/app/sub/deep/ srv/app/sub/deep/keep.txt srv/app/sub/mod.py srv/app/sub/same.py"
        );
        let main = bench.dst.symlink_metadata(Path::new("srv/app/main.py")).unwrap();
        assert_eq!((main.mode, main.mtime, main.links), (0o640, Time::from_secs(1_000_000), 2));
        assert_eq!(bench.dst.metadata(Path::new("srv/app")).unwrap().mode, 0o750);
        assert_eq!(bench.dst.metadata(Path::new("srv")).unwrap().mode, 0o755);
    }

    #[test]
    fn an_existing_destination_keeps_its_mode() {
        let bench = bench();
        bench.dst.create_dir(Path::new("app"), 0o711).unwrap();
        bench.dst.create_dir(Path::new("app/sub"), 0o711).unwrap();
        bench.copy("app", "app").unwrap();
        assert_eq!(bench.dst.metadata(Path::new("app")).unwrap().mode, 0o711);
        assert_eq!(bench.dst.metadata(Path::new("app/sub")).unwrap().mode, 0o750);
    }

    #[test]
    fn the_top_directory_keeps_its_metadata_to_itself_on_request() {
        let bench = bench();
        let options =
            CopyOptions { content_only: true, ignore_owner: true, ..CopyOptions::default() };
        bench.copy_with("app", "out", &options, &mut everything).unwrap();
        assert_eq!(bench.dst.metadata(Path::new("out")).unwrap().mode, 0o755);
        assert_eq!(bench.dst.metadata(Path::new("out/sub")).unwrap().mode, 0o750);
    }

    #[test]
    fn a_file_goes_to_or_into_the_destination() {
        let bench = bench();
        bench.copy("app/main.py", "a.py").unwrap();
        bench.copy("app/main.py", "bin/").unwrap();
        bench.copy("app/link", "bin").unwrap();
        assert_eq!(bench.list(), "a.py bin/ bin/link bin/main.py");
        assert!(bench.dst.symlink_metadata(Path::new("bin/link")).unwrap().is_file());
    }

    #[test]
    fn a_linked_source_and_destination_are_followed_inside() {
        let bench = bench();
        bench.dst.create_dir(Path::new("real"), 0o755).unwrap();
        bench.dst.symlink(Path::new("/real"), Path::new("link")).unwrap();
        bench.copy("alias/sub", "link").unwrap();
        assert_eq!(
            bench.list(),
            "link real/ real/deep/ real/deep/keep.txt real/mod.py real/same.py"
        );
    }

    #[test]
    fn files_and_directories_do_not_replace_each_other() {
        let bench = bench();
        bench.dst.write(Path::new("app"), b"", 0o644).unwrap();
        assert!(matches!(bench.copy("app", "app"), Err(LayerError::OverFile { .. })));
        bench.dst.create_dir(Path::new("x"), 0o755).unwrap();
        bench.dst.create_dir(Path::new("x/main.py"), 0o755).unwrap();
        assert!(matches!(bench.copy("app/main.py", "x"), Err(LayerError::OverDirectory { .. })));
    }

    #[test]
    fn a_skipped_directory_is_made_when_something_in_it_is_copied() {
        let bench = bench();
        let options = CopyOptions { ignore_owner: true, ..CopyOptions::default() };
        let mut filter = |path: &Path, _: &Metadata| match path.to_str().unwrap() {
            "sub" | "sub/deep" => Choice::Descend,
            "sub/deep/keep.txt" => Choice::Copy,
            _ => Choice::Skip,
        };
        bench.copy_with("app", "out", &options, &mut filter).unwrap();
        assert_eq!(bench.list(), "out/ out/sub/ out/sub/deep/ out/sub/deep/keep.txt");
        assert_eq!(bench.dst.metadata(Path::new("out/sub")).unwrap().mode, 0o750);
    }

    #[test]
    fn modes_are_changed_on_request() {
        let bench = bench();
        let mode = Some("u=rwX,go=rX".parse().unwrap());
        let options = CopyOptions { mode, ignore_owner: true, ..CopyOptions::default() };
        bench.copy_with("app", "app", &options, &mut everything).unwrap();
        assert_eq!(bench.dst.metadata(Path::new("app/main.py")).unwrap().mode, 0o644);
        assert_eq!(bench.dst.metadata(Path::new("app/sub")).unwrap().mode, 0o755);
    }
}
