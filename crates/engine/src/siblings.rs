//! A step of a foreign platform → the native tree that the twins of its programs come from.
//!
//! There may be several. The native member's tier below, where this build has it already, costs
//! nothing. The base's packages for this machine, or the image's sibling in its index, have what
//! the step's tree began with. What steps between have installed is in neither: where the step's
//! command names such a program, the packages of a base are extended. Where that does not bring it,
//! and the program may work for long, the steps between are made natively (`prefix`).

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyarch_layer::Root;
use anyarch_sandbox::OverlayMount;
use anyarch_twin::{Data, Wanted};

use crate::base::ResolvedBase;
use crate::chain::Chain;
use crate::engine::Session;
use crate::error::{BuildError, Context};
use crate::foreign::Twins;
use crate::graph::Step;
use crate::op::Op;
use crate::snapshot::make;
use crate::solve::Work;

/// Where twins come from.
#[derive(Debug)]
pub(crate) enum NativeTree {
    /// Packages that were unpacked.
    Folder(PathBuf),
    /// The tree of a step.
    Chain(Chain),
}

impl Session<'_> {
    /// The native tree to take a step's twins from; `tree` is the step's own, mounted. None where
    /// there is no such tree, which is told where it is a failure.
    ///
    /// # Errors
    /// When the build is stopped.
    pub(crate) fn native_tree(
        &self,
        work: &Work<'_>,
        step: &Step,
        sibling: Option<Chain>,
        tree: &Path,
    ) -> Result<Option<NativeTree>, BuildError> {
        if !self.is_foreign(&step.platform) || self.engine.twins == Twins::Off {
            return Ok(None);
        }
        let mut best = sibling.map(NativeTree::Chain);
        let root = root_of(work, step);
        // A tier below is built on the image, and has no less.
        let known = best.is_some() && matches!(root, Op::Image(_));
        if !known {
            let found = self.lacks(best.as_ref(), Wanted::All, step, tree).and_then(|lacks| {
                let found = lacks.then(|| self.native_root_of(work, root, step, tree));
                found.transpose().map(Option::flatten)
            });
            best = self.unless_failed(step, "are emulated, without twins", found)?.or(best);
        }
        if let Some(tree_so_far) = &best {
            let lacks = |natives: &NativeTree| self.lacks(Some(natives), Wanted::Heavy, step, tree);
            let enough = |made: &Chain| Ok(!lacks(&NativeTree::Chain(made.clone()))?);
            let made = lacks(tree_so_far).and_then(|lacks| {
                let made = lacks.then(|| self.native_prefix(work, step, &enough));
                made.transpose().map(Option::flatten)
            });
            let what = "that steps have installed are emulated";
            best = self.unless_failed(step, what, made)?.map(NativeTree::Chain).or(best);
        }
        Ok(best)
    }

    /// The native tree of the base or image that a step's tree began with.
    fn native_root_of(
        &self,
        work: &Work<'_>,
        op: &Op,
        step: &Step,
        tree: &Path,
    ) -> Result<Option<NativeTree>, BuildError> {
        let (id, resolved) = (step.info.id, work.resolved);
        let machine = self.engine.platform();
        match op {
            Op::Debian(op) => {
                let base = resolved.bases.get(&(op.name.clone(), machine));
                let Some(base) = base else { return Ok(None) };
                let data = Data::built_in().context(|| "failed to look for twins".to_owned())?;
                let base = self.native_packages(&data, base, step, tree)?;
                let root = self.native_root(&base, &data.packages(), Some(id))?;
                Ok(Some(NativeTree::Folder(root)))
            }
            Op::Image(op) => {
                let mut foreign = resolved.images.iter();
                let name = foreign.find(|(_, image)| image.op == *op).map(|((name, _), _)| name);
                let native = name.and_then(|name| resolved.images.get(&(name.clone(), machine)));
                let Some(native) = native else { return Ok(None) };
                Ok(Some(NativeTree::Chain(self.pull(id, &native.op)?.0)))
            }
            _ => Ok(None),
        }
    }

    /// The native packages for a step on top of a base: those of the base, and those that steps
    /// between have installed and this one names a program of.
    fn native_packages(
        &self,
        data: &Data,
        base: &ResolvedBase,
        step: &Step,
        tree: &Path,
    ) -> Result<ResolvedBase, BuildError> {
        let has = |name: &&str| base.resolution.packages.iter().any(|known| known.name == *name);
        let text = text_of(step);
        let mut more: BTreeSet<String> = data
            .packages_named_in(&text)
            .into_iter()
            .filter(|name| !has(name))
            .map(str::to_owned)
            .collect();
        if !more.is_empty() {
            let installed = anyarch_twin::installed(&open(tree)?);
            more.retain(|name| installed.contains(name));
        }
        if more.is_empty() { Ok(base.clone()) } else { self.with_packages(base, &more) }
    }

    /// A failure to get twins is told, and no failure of the build.
    fn unless_failed<T>(
        &self,
        step: &Step,
        what: &str,
        result: Result<Option<T>, BuildError>,
    ) -> Result<Option<T>, BuildError> {
        result.or_else(|error| {
            self.check_cancelled()?;
            self.warn_once(&format!("programs of {} {what}: {}", step.platform, error.chain()));
            Ok(None)
        })
    }

    /// Whether the command of a step names a program that its tree has and a native one has not.
    fn lacks(
        &self,
        natives: Option<&NativeTree>,
        wanted: Wanted,
        step: &Step,
        tree: &Path,
    ) -> Result<bool, BuildError> {
        let Some(natives) = natives else { return Ok(true) };
        let text = text_of(step);
        if text.is_empty() {
            return Ok(false);
        }
        let data = Data::built_in().context(|| "failed to look for twins".to_owned())?;
        let target = make(self.fresh("natives"))?;
        let mount = self.mount_natives(natives, &target)?;
        let lacks = anyarch_twin::lacks(&data, &text, wanted, &open(tree)?, &open(&target)?);
        drop(mount);
        // What cannot be removed now goes with the working folder of the process.
        drop(std::fs::remove_dir(target));
        Ok(lacks)
    }

    /// Mounts a native tree at a directory.
    pub(crate) fn mount_natives(
        &self,
        natives: &NativeTree,
        target: &Path,
    ) -> Result<OverlayMount, BuildError> {
        let lowers = match natives {
            NativeTree::Folder(folder) => vec![folder.clone()],
            NativeTree::Chain(chain) => self.lowers(chain)?,
        };
        OverlayMount::mount(&lowers, None, target)
            .context(|| "failed to mount the tree of native programs".to_owned())
    }
}

/// What the step's tree began with.
fn root_of<'a>(work: &'a Work<'_>, step: &'a Step) -> &'a Op {
    let mut first = step;
    while let Some(parent) = first.parent {
        first = work.graph.step(parent);
    }
    &first.op
}

/// The commands of a step.
fn text_of(step: &Step) -> String {
    let Op::Exec(op) = &step.op else { return String::new() };
    let scripts = op.scripts.iter().map(|(_, text)| text.as_str());
    let text: Vec<&str> = op.argv.iter().map(String::as_str).chain(scripts).collect();
    text.join("\n")
}

fn open(tree: &Path) -> Result<Root, BuildError> {
    Root::open(tree).context(|| "failed to open the tree of a step".to_owned())
}
