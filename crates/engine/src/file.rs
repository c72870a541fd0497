//! Puts files into a tree: COPY, ADD, WORKDIR.

use std::path::{Path, PathBuf};

use anyarch_layer::archive::Reader;
use anyarch_layer::copy::{self, Choice, CopyOptions};
use anyarch_layer::{ExtractOptions, Extractor, Metadata, Root, Time, decode};
use anyarch_oci::Digest;

use crate::chain::Chain;
use crate::context::{BuildContext, Found};
use crate::engine::Session;
use crate::error::{BuildError, Context};
use crate::op::CopyOp;
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
    /// Digest of what these source words take in, for the cache key.
    pub(crate) fn digest(&self, sources: &[String]) -> Result<String, BuildError> {
        match self {
            Origin::Tree(chain) => {
                Ok(chain.id().map_or_else(|| "empty".to_owned(), ToString::to_string))
            }
            Origin::Context(context) => {
                let mut all = String::new();
                for source in sources {
                    let found = context.find(source)?;
                    all.push_str(&format!("{source}\0{}\n", context.digest(&found)?));
                }
                Ok(Digest::sha256(all.as_bytes()).to_string())
            }
        }
    }
}

impl Session<'_> {
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
        for source in &op.sources {
            match context {
                Some(context) => sources.extend(context.find(source)?),
                None => sources.extend(find_in_tree(from, source)?),
            }
        }
        let into_directory = op.destination.ends_with('/')
            || sources.len() + op.inline.len() > 1
            || is_directory(&to, &op.destination);
        // A tree's own owners and times are kept; a context's mean nothing inside of an image.
        let options = match context {
            None => CopyOptions { owner, ..options },
            Some(_) => CopyOptions { mtime: Some(Time::from_secs(self.epoch)), ..options },
        };
        for source in &sources {
            let path = Path::new(&source.path);
            let metadata = from.metadata(path).context(what)?;
            if op.add && metadata.is_file() && is_archive(from, path)? {
                unpack(from, path, &to, Path::new(&op.destination), owner, ignore_owner)?;
                continue;
            }
            // A file goes below a directory under its own name and replaces what has that name; only
            // links in the destination as written are followed.
            let target = match !metadata.is_dir() && into_directory {
                true => PathBuf::from(format!("{}/", op.destination)),
                false => PathBuf::from(absolute("/", &op.destination)),
            };
            let mut filter = |below: &Path, _: &Metadata| match context {
                Some(context) => context.choose(&path.join(below).to_string_lossy()),
                None => Choice::Copy,
            };
            let named = Path::new(&source.named);
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

/// Unpacks an archive below a directory, as ADD does.
fn unpack(
    from: &Root,
    path: &Path,
    to: &Root,
    destination: &Path,
    owner: Option<(u32, u32)>,
    ignore_owner: bool,
) -> Result<(), BuildError> {
    let what = || format!("failed to unpack {}", path.display());
    let (_, plain) = decode::decode(from.open_file(path).context(what)?).context(what)?;
    to.create_dir_all(destination, 0o755, 0, 0).context(what)?;
    let prefix = destination.strip_prefix("/").unwrap_or(destination).to_owned();
    let options = ExtractOptions { prefix, owner, ignore_owner, ..ExtractOptions::default() };
    let all = &mut |_: &_| anyarch_layer::Decision::Extract;
    Extractor::new(to, options).extract(plain, all).context(what)?;
    Ok(())
}

/// The paths that a source word means in a tree: itself, or what its pattern matches.
fn find_in_tree(root: &Root, source: &str) -> Result<Vec<Found>, BuildError> {
    let means = |path: String| Found { named: path.clone(), path };
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
    if found.is_empty() { Err(not_found()) } else { Ok(found.into_iter().map(means).collect()) }
}

#[cfg(test)]
mod tests;
