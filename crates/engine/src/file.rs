//! Puts files into a tree: COPY, ADD, WORKDIR.

use std::path::{Path, PathBuf};

use anyarch_dockerfile::IgnoreFile;
use anyarch_layer::archive::Reader;
use anyarch_layer::copy::{self, Choice, CopyOptions};
use anyarch_layer::{ExtractOptions, Extractor, Metadata, Root, Time, decode};
use anyarch_oci::Digest;
use anyarch_plan::is_remote;

use crate::chain::Chain;
use crate::context::{BuildContext, Files, Found, split_pivot};
use crate::engine::Session;
use crate::error::{BuildError, Context};
use crate::op::CopyOp;
use crate::remote::Remote;
use crate::stage::absolute;
use crate::users::file_owner;

/// Where a copy takes its files from.
pub(crate) enum Origin<'a> {
    /// A build context.
    Context(&'a BuildContext),
    /// The tree that a step left.
    Tree(&'a Chain),
}

impl Origin<'_> {
    /// Digest of what these source words take in without what is excluded, for the cache key; the files
    /// of a context are listed.
    pub(crate) fn digest(
        &self,
        sources: &[&str],
        exclude: &IgnoreFile,
        files: &mut Files,
    ) -> Result<String, BuildError> {
        match self {
            Origin::Tree(chain) => {
                Ok(chain.id().map_or_else(|| "empty".to_owned(), ToString::to_string))
            }
            Origin::Context(context) => {
                let mut all = String::new();
                for source in sources.iter().copied() {
                    let found = context.find(source)?;
                    all.push_str(&format!(
                        "{source}\0{}\n",
                        context.digest(&found, exclude, files)?
                    ));
                }
                Ok(Digest::sha256(all.as_bytes()).to_string())
            }
        }
    }
}

impl Session<'_> {
    /// Puts a file of the network into a tree: mode 0600 without `--chmod`, as BuildKit does.
    fn put_remote(
        &self,
        digest: &Digest,
        to: &Root,
        target: &Path,
        op: &CopyOp,
        options: &CopyOptions,
    ) -> Result<(), BuildError> {
        let what = || format!("failed to write {}", target.display());
        let blob = self.store().blob_path(digest);
        let (Some(folder), Some(name)) = (blob.parent(), blob.file_name()) else {
            return Err(BuildError::failed(what()));
        };
        let (from, name) = (Root::open(folder).context(what)?, Path::new(name));
        if op.unpack == Some(true) && is_archive(&from, name)? {
            let owner = options.owner.filter(|_| op.chown.is_some());
            return unpack(
                &from,
                name,
                to,
                Path::new(&op.destination),
                owner,
                options.ignore_owner,
            );
        }
        let mode = match &options.mode {
            Some(mode) => mode.clone(),
            None => "0600".parse::<anyarch_layer::ModeChange>().context(what)?,
        };
        let options = CopyOptions { mode: Some(mode), ..options.clone() };
        copy::copy(&from, name, to, target, &options, &mut |_, _| Choice::Copy).context(what)?;
        Ok(())
    }

    /// Makes a directory with its parents, mode 0755, for a user as in `USER`; empty is root.
    pub(crate) fn make_directory(
        &self,
        root: &Path,
        path: &str,
        user: &str,
    ) -> Result<(), BuildError> {
        let what = || format!("failed to create {path}");
        let to = Root::open(root).context(what)?.leaving_owners(self.engine.host.single_id);
        let (uid, gid) = if user.is_empty() { (0, 0) } else { file_owner(&to, user)? };
        to.create_dir_all(Path::new(path), 0o755, uid, gid).context(what)
    }

    /// Carries out a COPY or ADD on a mounted tree.
    pub(crate) fn copy(
        &self,
        root: &Path,
        op: &CopyOp,
        origin: &Origin<'_>,
        remote: &[Remote],
    ) -> Result<(), BuildError> {
        let what = || format!("failed to copy to {}", op.destination);
        let to = Root::open(root).context(what)?.leaving_owners(self.engine.host.single_id);
        let owner = op.chown.as_deref().map(|text| file_owner(&to, text)).transpose()?;
        let mode = op.chmod.as_deref().map(str::parse).transpose().map_err(
            |error: anyarch_layer::ModeChangeError| {
                BuildError::input("--chmod is not valid").because(error)
            },
        )?;
        let ignore_owner = self.engine.host.single_id;
        let options = CopyOptions {
            owner: Some(owner.unwrap_or((0, 0))),
            mode,
            content_only: true,
            ignore_owner,
            ..CopyOptions::default()
        };
        let view;
        let tree;
        let (from, context) = match origin {
            Origin::Context(context) => (context.root(), Some(*context)),
            Origin::Tree(chain) => {
                view = self.view(chain)?;
                tree = Root::open(view.target()).context(what)?;
                (&tree, None)
            }
        };
        let mut sources = Vec::new();
        let mut remote = remote.iter();
        for source in &op.sources {
            if op.add && is_remote(source) {
                sources.extend(remote.next().map(Source::Remote));
                continue;
            }
            let found = match context {
                Some(context) => context.find(source)?,
                None => find_in_tree(from, source)?,
            };
            sources.extend(found.into_iter().map(Source::Local));
        }
        let exclude = exclude_of(op)?;
        let into_directory = op.destination.ends_with('/')
            || sources.len() + op.inline.len() > 1
            || is_directory(&to, &op.destination);
        // A tree's own owners and times are kept; a context's mean nothing inside of an image.
        let options = match context {
            None => CopyOptions { owner, ..options },
            Some(_) => CopyOptions { mtime: Some(Time::from_secs(self.epoch)), ..options },
        };
        for source in &sources {
            let source = match source {
                Source::Local(found) => found,
                Source::Remote(Remote::File { name, digest }) => {
                    let target = match into_directory {
                        true => Path::new(&op.destination).join(name),
                        false => PathBuf::from(absolute("/", &op.destination)),
                    };
                    self.put_remote(digest, &to, &target, op, &options)?;
                    continue;
                }
                Source::Remote(Remote::Git(checkout)) => {
                    let from = Root::open(&checkout.folder).context(what)?;
                    let mut keep = |path: &Path, _: &Metadata| choose(None, &exclude, path, path);
                    let place = Path::new(&op.destination);
                    copy::copy(&from, Path::new(""), &to, place, &options, &mut keep)
                        .context(what)?;
                    continue;
                }
            };
            let path = Path::new(&source.path);
            let metadata = from.metadata(path).context(what)?;
            if op.parents {
                let mut keep = |path: &Path| choose(context, &exclude, path, path);
                let place = (&to, Path::new(&op.destination));
                copy_with_parents(from, source, place, &options, &mut keep)
                    .context(|| format!("failed to copy {} to {}", source.named, op.destination))?;
                continue;
            }
            let unpacks = op.add && op.unpack != Some(false);
            if unpacks && metadata.is_file() && is_archive(from, path)? {
                unpack(from, path, &to, Path::new(&op.destination), owner, ignore_owner)?;
                continue;
            }
            // A file goes below a directory under its own name and replaces what has that name; only
            // links in the destination as written are followed.
            let target = match !metadata.is_dir() && into_directory {
                true => PathBuf::from(format!("{}/", op.destination)),
                false => PathBuf::from(absolute("/", &op.destination)),
            };
            let named = Path::new(&source.named);
            let mut filter = |below: &Path, _: &Metadata| {
                // A file is excluded by its name, what is in a directory by its path below it.
                let shown = match below.as_os_str().is_empty() {
                    true => Path::new(named.file_name().unwrap_or_default()),
                    false => below,
                };
                choose(context, &exclude, &path.join(below), shown)
            };
            copy::copy(from, named, &to, &target, &options, &mut filter)
                .context(|| format!("failed to copy {} to {}", source.named, op.destination))?;
        }
        for (name, text) in &op.inline {
            let target = if into_directory {
                Path::new(&op.destination).join(name)
            } else {
                PathBuf::from(&op.destination)
            };
            write_inline(&to, &target, text, &options).context(what)?;
        }
        Ok(())
    }
}

/// What a source word stands for.
enum Source<'a> {
    /// A path of the origin.
    Local(Found),
    /// Something of the network.
    Remote(&'a Remote),
}

/// The patterns of `--exclude`.
pub(crate) fn exclude_of(op: &CopyOp) -> Result<IgnoreFile, BuildError> {
    IgnoreFile::from_patterns(op.exclude.iter().map(String::as_str))
        .map_err(|error| BuildError::input("--exclude is not a valid pattern").because(error))
}

/// What a copy does with a path of its origin, which patterns know as `shown`.
fn choose(
    context: Option<&BuildContext>,
    exclude: &IgnoreFile,
    path: &Path,
    shown: &Path,
) -> Choice {
    let shown = shown.to_string_lossy();
    if exclude.excludes(&shown, false) {
        return if exclude.may_reinclude_below(&shown) { Choice::Descend } else { Choice::Skip };
    }
    context.map_or(Choice::Copy, |context| context.choose(&path.to_string_lossy()))
}

/// Copies a source with the directories above it: all of them, or those after `/./` in its name.
fn copy_with_parents(
    from: &Root,
    source: &Found,
    (to, destination): (&Root, &Path),
    options: &CopyOptions,
    keep: &mut dyn FnMut(&Path) -> Choice,
) -> Result<(), anyarch_layer::LayerError> {
    let base = Path::new(&source.pivot);
    let wanted = Path::new(&source.path);
    let mut filter = |below: &Path, _: &Metadata| {
        let path = base.join(below);
        if path.starts_with(wanted) {
            keep(&path)
        } else if wanted.starts_with(&path) {
            Choice::Descend
        } else {
            Choice::Skip
        }
    };
    copy::copy(from, base, to, destination, options, &mut filter)?;
    Ok(())
}

fn write_inline(
    to: &Root,
    target: &Path,
    text: &str,
    options: &CopyOptions,
) -> Result<(), anyarch_layer::LayerError> {
    let (uid, gid) = options.owner.unwrap_or((0, 0));
    if let Some(parent) = target.parent() {
        to.create_dir_all(parent, 0o755, uid, gid)?;
    }
    let mode = options.mode.as_ref().map_or(0o644, |mode| mode.apply(0o644, false));
    if to.exists(target) {
        to.remove_file(target)?;
    }
    to.write(target, text.as_bytes(), mode)?;
    to.set_owner(target, uid, gid)
}

fn is_directory(root: &Root, path: &str) -> bool {
    root.metadata(Path::new(path)).is_ok_and(|metadata| metadata.is_dir())
}

/// Whether a file is a tar archive, compressed in whatever known way.
fn is_archive(root: &Root, path: &Path) -> Result<bool, BuildError> {
    let what = || format!("failed to read {}", path.display());
    let file = root.open_file(path).context(what)?;
    Ok(match decode::decode(file) {
        Ok((_, plain)) => matches!(Reader::new(plain).next_entry(), Ok(Some(_))),
        Err(_) => false,
    })
}

/// Unpacks an archive below a directory, as ADD does: what is in it keeps its owners, `owner` is for
/// directories that are made to hold it.
fn unpack(
    from: &Root,
    path: &Path,
    to: &Root,
    destination: &Path,
    owner: Option<(u32, u32)>,
    ignore_owner: bool,
) -> Result<(), BuildError> {
    let what = || format!("failed to unpack {}", path.display());
    let limit = decode::most_unpacked(from.metadata(path).context(what)?.size);
    let (_, plain) = decode::decode(from.open_file(path).context(what)?).context(what)?;
    let plain = decode::Bounded::new(plain, limit);
    let (uid, gid) = owner.unwrap_or((0, 0));
    to.create_dir_all(destination, 0o755, uid, gid).context(what)?;
    let prefix = destination.strip_prefix("/").unwrap_or(destination).to_owned();
    let options = ExtractOptions { prefix, ignore_owner, ..ExtractOptions::default() };
    let all = &mut |_: &_| anyarch_layer::Decision::Extract;
    Extractor::new(to, options).extract(plain, all).context(what)?;
    Ok(())
}

/// The paths that a source word means in a tree: itself, or what its pattern matches, which may be
/// nothing.
fn find_in_tree(root: &Root, source: &str) -> Result<Vec<Found>, BuildError> {
    let (source, pivot) = split_pivot(source);
    let source = source.as_str();
    let means = |path: String| Found { named: path.clone(), path, pivot: pivot.clone() };
    let clean = absolute("/", source);
    let relative = clean.trim_start_matches('/');
    let not_found = || {
        BuildError::failed(format!(
            "`{source}` was not found in the image or stage it is copied from"
        ))
    };
    if !relative.contains(['*', '?', '[']) {
        return match root.symlink_metadata(Path::new(relative)) {
            Ok(_) => Ok(vec![means(relative.to_owned())]),
            Err(error) => Err(not_found().because(error)),
        };
    }
    let mut found = vec![String::new()];
    for part in relative.split('/') {
        let mut next = Vec::new();
        for folder in &found {
            for name in root.read_dir(Path::new(folder)).unwrap_or_default() {
                let Some(name) = name.to_str() else { continue };
                let matches = anyarch_dockerfile::path_match(part, name).map_err(|error| {
                    BuildError::input(format!("`{source}` is not a valid pattern")).because(error)
                })?;
                if matches {
                    next.push(if folder.is_empty() {
                        name.to_owned()
                    } else {
                        format!("{folder}/{name}")
                    });
                }
            }
        }
        found = next;
    }
    found.sort();
    Ok(found.into_iter().map(means).collect())
}

#[cfg(test)]
mod tests;
