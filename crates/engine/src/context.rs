//! Build contexts: a directory, less what its ignore file excludes, and digests of what a COPY
//! takes from it.
//!
//! A file counts by its path, type, mode, extended attributes, link target, content, and by which
//! other names it has; times and owners do not, so touching a file or checking it out again changes
//! nothing.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyarch_dockerfile::{IgnoreFile, path_match};
use anyarch_layer::copy::Choice;
use anyarch_layer::{Kind, Metadata, Root};
use anyarch_oci::{Digest, Hasher};

use crate::error::{BuildError, Context as _};

/// Unpacks a build context that comes as a tar archive, compressed in whatever known way.
///
/// # Errors
/// When it is no archive, or has entries that lead out of the folder.
pub fn unpack_context(archive: impl Read + Send, folder: &Path) -> Result<(), BuildError> {
    let what = || "the context is not a tar archive that can be unpacked".to_owned();
    let (_, plain) = anyarch_layer::decode::decode(archive).context(what)?;
    let to = Root::open(folder).context(what)?.leaving_owners(true);
    let options = anyarch_layer::ExtractOptions {
        ignore_owner: true,
        ..anyarch_layer::ExtractOptions::default()
    };
    let all = &mut |_: &_| anyarch_layer::Decision::Extract;
    anyarch_layer::Extractor::new(&to, options).extract(plain, all).context(what)?;
    Ok(())
}

/// A path that a source word means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// As the word names it: the last part is the name that the copy gets.
    pub(crate) named: String,
    /// Where that leads when symbolic links are followed.
    pub(crate) path: String,
    /// The directory below which its parents count (`--parents`): what is before `/./` in the word.
    pub(crate) pivot: String,
}

/// A source word without its pivot mark, and the directory before the mark.
pub(crate) fn split_pivot(source: &str) -> (String, String) {
    match source.split_once("/./") {
        Some((pivot, rest)) => {
            let pivot = clean(pivot);
            (format!("{pivot}/{rest}"), pivot)
        }
        None => (source.to_owned(), String::new()),
    }
}

/// A build context that was walked once.
pub(crate) struct BuildContext {
    directory: PathBuf,
    ignore: Option<(String, IgnoreFile)>,
    root: Root,
    /// What is in it, by path relative to its root, with `/`; the root itself is not listed.
    entries: BTreeMap<String, Metadata>,
    /// Paths that are not UTF-8, as far as they can be shown.
    unnamed: Vec<String>,
}

impl BuildContext {
    /// Walks a directory. `ignore` is an ignore file's name and text.
    ///
    /// # Errors
    /// When the directory is not there or cannot be read, or the ignore file has a bad pattern.
    pub(crate) fn open(
        directory: &Path,
        ignore: Option<(&str, &str)>,
    ) -> Result<BuildContext, BuildError> {
        let what = || format!("failed to read the build context {}", directory.display());
        let ignore = match ignore {
            None => None,
            Some((name, text)) => {
                let file = IgnoreFile::parse(text).map_err(|error| {
                    BuildError::input(format!("{name} is not valid")).because(error)
                })?;
                Some((name.to_owned(), file))
            }
        };
        let root = Root::open(directory).context(what)?;
        let mut context = BuildContext {
            directory: directory.to_owned(),
            ignore,
            root,
            entries: BTreeMap::new(),
            unnamed: Vec::new(),
        };
        context.walk("").context(what)?;
        Ok(context)
    }

    fn walk(&mut self, folder: &str) -> Result<(), anyarch_layer::LayerError> {
        for name in self.root.read_dir(Path::new(folder))? {
            let shown = name.to_string_lossy();
            let path =
                if folder.is_empty() { shown.into_owned() } else { format!("{folder}/{shown}") };
            if name.to_str().is_none() {
                if !self.ignores(&path, false) {
                    self.unnamed.push(path);
                }
                continue;
            }
            let metadata = self.root.symlink_metadata(Path::new(&path))?;
            let excluded = self.ignores(&path, metadata.is_dir());
            let enter = match &self.ignore {
                Some((_, ignore)) if excluded => ignore.may_reinclude_below(&path),
                _ => true,
            };
            if metadata.is_dir() && enter {
                self.walk(&path)?;
            }
            if !excluded && metadata.kind != Kind::Socket {
                self.entries.insert(path, metadata);
            }
        }
        Ok(())
    }

    fn ignores(&self, path: &str, is_dir: bool) -> bool {
        self.ignore.as_ref().is_some_and(|(_, ignore)| ignore.excludes(path, is_dir))
    }

    /// The root, for copying.
    pub(crate) fn root(&self) -> &Root {
        &self.root
    }

    /// Whether a path (relative, with `/`) is part of the context; directories above parts are.
    pub(crate) fn has(&self, path: &str) -> bool {
        path.is_empty() || self.entries.contains_key(path) || self.below(path).next().is_some()
    }

    /// What a copy does with a path below its source.
    pub(crate) fn choose(&self, path: &str) -> Choice {
        if self.entries.contains_key(path.trim_end_matches('/')) {
            Choice::Copy
        } else if self.below(path).next().is_some() {
            Choice::Descend
        } else {
            Choice::Skip
        }
    }

    /// Everything below a directory.
    fn below<'a>(&'a self, folder: &str) -> impl Iterator<Item = (&'a String, &'a Metadata)> {
        let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        self.entries.range(prefix.clone()..).take_while(move |(path, _)| path.starts_with(&prefix))
    }

    /// The paths that one source word of a COPY means, sorted. Symbolic links are followed inside
    /// the context, the last one too.
    ///
    /// # Errors
    /// When a path is not there; the hint says whether it is ignored. A pattern may match nothing.
    pub(crate) fn find(&self, source: &str) -> Result<Vec<Found>, BuildError> {
        let (_, pivot) = split_pivot(source);
        let clean = clean(source);
        let is_pattern = clean.contains(['*', '?', '[']);
        let mut found: Vec<Found> = Vec::new();
        if is_pattern {
            for path in self.entries.keys() {
                let matches = path_match(&clean, path).map_err(|error| {
                    BuildError::input(format!("`{source}` is not a valid pattern")).because(error)
                })?;
                if matches {
                    found.push(self.follow(path, &pivot));
                }
            }
            if let Some(lost) = found.iter().find(|found| !self.has(&found.path)) {
                return Err(BuildError::input(format!(
                    "`{source}` matches the link {}, which leads to nothing in the build context",
                    lost.named
                ))
                .hint("exclude the link by .dockerignore, or mend it".to_owned()));
            }
        } else {
            found.extend(Some(self.follow(&clean, &pivot)).filter(|found| self.has(&found.path)));
        }
        let inside =
            |path: &String| found.iter().any(|found| Path::new(path).starts_with(&found.path));
        if let Some(path) = self.unnamed.iter().find(|path| inside(path)) {
            return Err(BuildError::input(format!(
                "the name of {path} in the build context is not UTF-8"
            ))
            .hint("rename the file, or exclude it by .dockerignore".to_owned()));
        }
        if found.is_empty() && !is_pattern {
            let ignored = self.ignore.as_ref().filter(|_| self.root.exists(Path::new(&clean)));
            let hint = match ignored {
                Some((name, _)) => format!("it is there, but {name} excludes it"),
                None if source.split('/').any(|part| part == "..") => format!(
                    "`..` does not lead out of the build context {}; move it up to copy more",
                    self.directory.display()
                ),
                None => {
                    format!("paths are relative to the build context {}", self.directory.display())
                }
            };
            return Err(BuildError::input(format!(
                "`{source}` was not found in the build context"
            ))
            .hint(hint));
        }
        Ok(found)
    }

    fn follow(&self, named: &str, pivot: &str) -> Found {
        // Links that go round in a circle are as good as a path to nothing.
        let path = match self.root.resolve(Path::new(named)) {
            Ok(path) => path.to_string_lossy().trim_start_matches('/').to_owned(),
            Err(_) => named.to_owned(),
        };
        Found { named: named.to_owned(), path, pivot: pivot.to_owned() }
    }

    /// Digest of everything that the given paths hold without what is excluded, and of the names that
    /// the copies get; each file is listed with its own digest.
    pub(crate) fn digest(
        &self,
        found: &[Found],
        exclude: &IgnoreFile,
        files: &mut Files,
    ) -> Result<Digest, BuildError> {
        let mut hasher = Hasher::new();
        let mut names = Names::new();
        let mut take = |hasher: &mut Hasher, path: &str, metadata: &Metadata| {
            let digest = self.entry_digest(path, metadata, &mut names)?;
            hasher.update(format!("{path}\0{}\n", digest.hex()).as_bytes());
            files.insert(path.to_owned(), digest.to_string());
            Ok::<(), BuildError>(())
        };
        for Found { named, path, .. } in found {
            hasher.update(format!("{named}\0").as_bytes());
            if let Some(metadata) = self.entries.get(path) {
                take(&mut hasher, path, metadata)?;
            }
            if self.entries.get(path).is_none_or(Metadata::is_dir) {
                for (below, metadata) in self.below(path) {
                    let shown = below.strip_prefix(path.as_str()).unwrap_or(below);
                    if exclude.excludes(shown.trim_start_matches('/'), metadata.is_dir()) {
                        continue;
                    }
                    take(&mut hasher, below, metadata)?;
                }
            }
        }
        Ok(hasher.finish())
    }

    fn entry_digest(
        &self,
        path: &str,
        metadata: &Metadata,
        names: &mut Names,
    ) -> Result<Digest, BuildError> {
        let what = || format!("failed to read {path} of the build context");
        let mut hasher = Hasher::new();
        hasher.update(format!("{}\0{:o}\0", metadata.kind.name(), metadata.mode).as_bytes());
        match metadata.kind {
            Kind::File => hasher
                .update(digest_file(&self.root, Path::new(path)).context(what)?.hex().as_bytes()),
            Kind::Symlink => {
                let target = self.root.read_link(Path::new(path)).context(what)?;
                hasher.update(target.as_os_str().as_bytes());
            }
            _ => {}
        }
        for (name, value) in self.root.xattrs(Path::new(path)).context(what)? {
            hasher.update(format!("\0{}\0", value.len()).as_bytes());
            hasher.update(name.as_bytes());
            hasher.update(b"\0");
            hasher.update(&value);
        }
        // A copy keeps hard links, so which names are one file shows in the layer.
        if metadata.links > 1 && !metadata.is_dir() {
            let first = names.entry(metadata.identity).or_insert_with(|| path.to_owned());
            hasher.update(format!("\0link\0{first}").as_bytes());
        }
        Ok(hasher.finish())
    }
}

/// What a step takes in, file by file: path or URL → digest of everything that counts of it.
pub(crate) type Files = BTreeMap<String, String>;

/// The first name met of each file that has several.
type Names = HashMap<(u32, u32, u64), String>;

fn digest_file(root: &Root, path: &Path) -> Result<Digest, anyarch_layer::LayerError> {
    let mut file = root.open_file(path)?;
    let mut hasher = Hasher::new();
    // Reading can only fail as opening can; the layer writer would name the same path.
    copy_into(&mut file, &mut hasher).map_err(|source| anyarch_layer::LayerError::Io {
        operation: "read",
        path: path.to_owned(),
        source,
    })?;
    Ok(hasher.finish())
}

fn copy_into(from: &mut fs::File, hasher: &mut Hasher) -> io::Result<()> {
    let mut buffer = vec![0; 1 << 17];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => hasher.update(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// A source path relative to the context, cleaned. `..` at its top goes no further up (Dockerfile
/// reference, "COPY", on sources that lead out of the context).
fn clean(source: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in source.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn context(files: &[(&str, &str)], ignore: Option<&str>) -> (tempfile::TempDir, BuildContext) {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let context =
            BuildContext::open(folder.path(), ignore.map(|text| (".dockerignore", text))).unwrap();
        (folder, context)
    }

    fn paths(context: &BuildContext, source: &str) -> Vec<String> {
        context.find(source).unwrap().into_iter().map(|found| found.path).collect()
    }

    /// Digest of what a source word means in a folder as it is now.
    fn digest(folder: &tempfile::TempDir, source: &str) -> Digest {
        let context = BuildContext::open(folder.path(), None).unwrap();
        context
            .digest(&context.find(source).unwrap(), &IgnoreFile::default(), &mut Files::new())
            .unwrap()
    }

    #[test]
    fn patterns_and_paths_find_what_is_not_ignored() {
        let (_folder, context) = context(
            &[("a.py", ""), ("b.py", ""), ("src/c.py", ""), ("x.log", "")],
            Some("*.log\n"),
        );
        assert_eq!(paths(&context, "*.py"), ["a.py", "b.py"]);
        assert_eq!(paths(&context, "./src/"), ["src"]);
        assert_eq!(paths(&context, "."), [""]);
        let ignored = context.find("x.log").unwrap_err();
        assert!(ignored.hint.unwrap().contains(".dockerignore excludes it"));
    }

    #[test]
    fn paths_do_not_lead_out() {
        let (_folder, context) = context(&[("a", "")], None);
        assert_eq!(paths(&context, "../a"), ["a"]);
        assert_eq!(paths(&context, "b/../../a"), ["a"]);
        assert!(context.find("../missing").unwrap_err().message.contains("not found"));
    }

    #[test]
    fn a_pattern_may_match_nothing_but_a_path_may_not() {
        let (_folder, context) = context(&[("a", "")], None);
        assert_eq!(paths(&context, "b*"), Vec::<String>::new());
        assert!(context.find("b").unwrap_err().message.contains("not found"));
    }

    #[test]
    fn links_mean_what_they_lead_to_under_their_own_name() {
        let (folder, _) = context(&[("real/a", "1"), ("other", "x")], None);
        let link = |to: &str, at: &str| {
            std::os::unix::fs::symlink(to, folder.path().join(at)).unwrap();
        };
        link("real/a", "la");
        link("real", "ld");
        let context = BuildContext::open(folder.path(), None).unwrap();
        let found = |named: &str, path: &str| Found {
            named: named.into(),
            path: path.into(),
            pivot: String::new(),
        };
        let both = [found("la", "real/a"), found("ld", "real")];
        assert_eq!(context.find("l*").unwrap(), both);
        assert_eq!(context.find("la").unwrap(), both[..1]);
        let (file, directory, pattern) =
            (digest(&folder, "la"), digest(&folder, "ld"), digest(&folder, "l*"));
        fs::write(folder.path().join("real/a"), "2").unwrap();
        assert_ne!(digest(&folder, "la"), file);
        assert_ne!(digest(&folder, "ld"), directory);
        assert_ne!(digest(&folder, "l*"), pattern);
        link("nowhere", "lost");
        let context = BuildContext::open(folder.path(), None).unwrap();
        assert!(context.find("l*").unwrap_err().message.contains("leads to nothing"));
    }

    #[test]
    fn a_name_that_is_not_utf8_is_not_left_out_in_silence() {
        let (folder, _) = context(&[("src/a", "1"), ("other/b", "")], None);
        let name = std::ffi::OsStr::from_bytes(b"src/\xff.txt");
        fs::write(folder.path().join(name), "").unwrap();
        let context = BuildContext::open(folder.path(), None).unwrap();
        assert!(context.find("src").unwrap_err().message.contains("is not UTF-8"));
        assert!(context.find(".").is_err());
        assert_eq!(paths(&context, "other"), ["other"]);
        let ignoring = BuildContext::open(folder.path(), Some((".dockerignore", "**/*.txt\n")));
        assert_eq!(paths(&ignoring.unwrap(), "src"), ["src"]);
    }

    #[test]
    fn digest_follows_hard_links() {
        let (folder, _) = context(&[("src/a", "1"), ("src/b", "1")], None);
        let apart = digest(&folder, "src");
        fs::remove_file(folder.path().join("src/b")).unwrap();
        fs::hard_link(folder.path().join("src/a"), folder.path().join("src/b")).unwrap();
        assert_ne!(digest(&folder, "src"), apart);
    }

    #[test]
    fn digest_follows_content_and_mode_but_not_time() {
        let (folder, _) = context(&[("src/a", "1"), ("other", "x")], None);
        let first = digest(&folder, "src");
        let file = folder.path().join("src/a");
        let again = || digest(&folder, "src");
        fs::write(&file, "1").unwrap();
        fs::write(folder.path().join("other"), "y").unwrap();
        assert_eq!(again(), first, "same content, and a file that is not taken");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        let executable = again();
        assert_ne!(executable, first);
        fs::write(&file, "2").unwrap();
        assert_ne!(again(), executable);
    }
}
