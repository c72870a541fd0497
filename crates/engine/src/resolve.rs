//! Resolves a plan: every Dockerfile read and parsed, every context walked, every name that comes
//! from outside turned into a digest. Nothing is built.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyarch_dockerfile::{Dockerfile, Kind};
use anyarch_oci::Platform;
use anyarch_plan::target::Selection;
use anyarch_plan::{ContextSource, Plan};

use crate::base::ResolvedBase;
use crate::context::BuildContext;
use crate::emulator::ResolvedEmulator;
use crate::engine::{Fresh, Session};
use crate::error::{BuildError, Context};
use crate::event::Origin;
use crate::images::ResolvedImage;
use crate::lock::LockFile;
use crate::named::{Named, NamedContexts, TreeSource, layout_name};
use crate::stage::{Input, OutsideName, outside_names};

/// A plan whose inputs are all known by digest.
#[derive(Default)]
pub(crate) struct Resolved {
    /// The tiers to build, each after the tier below it.
    pub(crate) tiers: Vec<ResolvedTier>,
    pub(crate) contexts: Vec<BuildContext>,
    /// What the tiers are built from, and for each that is for a foreign platform its native sibling.
    pub(crate) bases: BTreeMap<(String, Platform), ResolvedBase>,
    /// As for the bases.
    pub(crate) images: BTreeMap<(String, Platform), ResolvedImage>,
    /// Bases and images without a native sibling, and why.
    pub(crate) no_sibling: BTreeMap<String, String>,
    /// Platforms that are not this machine's, of tiers that run programs and of what is taken from
    /// outside.
    foreign: BTreeSet<Platform>,
    /// The emulators for them, or why there are none; that is an error once a program of theirs runs.
    emulator: Option<Result<ResolvedEmulator, Arc<BuildError>>>,
}

/// One tier of one member.
pub(crate) struct ResolvedTier {
    /// Which member and tier of the plan.
    pub(crate) selection: Selection,
    /// The member's flavor.
    pub(crate) flavor: String,
    /// For people: `cpu/amd64 base`.
    pub(crate) part: String,
    /// The Dockerfile's name.
    pub(crate) file: String,
    pub(crate) dockerfile: Dockerfile,
    pub(crate) context: usize,
    pub(crate) target: Option<String>,
    pub(crate) build_args: BTreeMap<String, String>,
    pub(crate) platform: Platform,
    /// Name under which `BASE_IMAGE` names the tier below, and its position here.
    pub(crate) below: Option<(String, usize)>,
    /// What further names mean.
    pub(crate) named: NamedContexts,
    /// Stages whose steps run whatever the cache knows.
    pub(crate) fresh: Fresh,
}

impl ResolvedTier {
    /// Whether one of its steps may run a program: files alone need no emulator.
    fn may_run_programs(&self) -> bool {
        let mut instructions = self.dockerfile.stages.iter().flat_map(|stage| &stage.instructions);
        instructions.any(|instruction| matches!(instruction.kind, Kind::Run(_) | Kind::OnBuild(_)))
    }
}

/// Resolves tiers, each after those that it needs.
struct Resolver<'a, 's> {
    session: &'a Session<'s>,
    plan: &'a Plan,
    directory: &'a Path,
    lock: &'a mut LockFile,
    resolved: Resolved,
    /// Contexts by folder and ignore file.
    contexts: BTreeMap<(PathBuf, Option<PathBuf>), usize>,
    /// Tiers that wait for others.
    open: Vec<Selection>,
}

impl Resolver<'_, '_> {
    /// The position of a tier, which is resolved first where it was not yet.
    fn tier(&mut self, selection: Selection) -> Result<usize, BuildError> {
        let known = self.resolved.tiers.iter().position(|tier| tier.selection == selection);
        if let Some(known) = known {
            return Ok(known);
        }
        if self.open.contains(&selection) {
            return Err(BuildError::input(format!(
                "{} takes a context from itself",
                selection.canonical(self.plan)
            ))
            .hint("a `target:` context names a tier that does not need this one".to_owned()));
        }
        self.open.push(selection);
        let member = &self.plan.members[selection.member];
        let below = match selection.tier.checked_sub(1) {
            None => None,
            Some(tier) => {
                let at = self.tier(Selection { tier, ..selection })?;
                let (name, flavor) = (&self.plan.project.name, &member.flavor);
                let tier = &member.tiers[tier].name;
                Some((format!("{name}:{flavor}-{}-{tier}", member.arch()), at))
            }
        };
        let tier = &member.tiers[selection.tier];
        let named = self.named(selection, tier)?;
        let path = self.directory.join(&tier.dockerfile);
        let line = self.plan.line(tier.dockerfile_span.start);
        let dockerfile = read_dockerfile(&path, &tier.dockerfile, line)?;
        let folder = tier.context.as_ref().unwrap_or(&self.plan.project.context);
        let folder = self.directory.join(folder);
        let context = self.context(&folder, ignore_file(&path, &folder))?;
        let mut build_args = tier.build_args.clone();
        if let Some((name, _)) = &below {
            build_args.entry("BASE_IMAGE".to_owned()).or_insert_with(|| name.clone());
        }
        let tier = ResolvedTier {
            selection,
            flavor: member.flavor.clone(),
            part: format!("{member} {}", tier.name),
            file: tier.dockerfile.clone(),
            dockerfile,
            context,
            target: tier.target.clone(),
            build_args,
            platform: member.platform.clone(),
            below,
            named,
            fresh: Fresh::of(&self.session.engine.no_cache, &tier.name),
        };
        let session = self.session;
        session.resolve_names(self.plan, self.directory, &tier, &mut self.resolved, self.lock)?;
        let runs = tier.may_run_programs() || member.smoke.is_some();
        if runs && session.is_foreign(&tier.platform) {
            self.resolved.foreign.insert(tier.platform.clone());
        }
        self.resolved.tiers.push(tier);
        self.open.pop();
        Ok(self.resolved.tiers.len() - 1)
    }

    /// The number of a context.
    fn context(&mut self, folder: &Path, ignore: Option<PathBuf>) -> Result<usize, BuildError> {
        let key = (folder.to_owned(), ignore);
        if let Some(&known) = self.contexts.get(&key) {
            return Ok(known);
        }
        let number = self.resolved.contexts.len();
        self.resolved.contexts.push(open_context(folder, key.1.as_deref())?);
        self.contexts.insert(key, number);
        Ok(number)
    }

    /// What the named contexts of a tier mean.
    fn named(
        &mut self,
        selection: Selection,
        tier: &anyarch_plan::Tier,
    ) -> Result<NamedContexts, BuildError> {
        let mut contexts = NamedContexts::default();
        for (name, source) in &tier.contexts {
            let found = self.one_named(selection, source).map_err(|error| {
                let line = self.plan.line(tier.span.start);
                let tier = &tier.name;
                let whose = format!("context `{name}` ({source}) of tier `{tier}`, line {line}");
                let hint = error.hint.clone();
                BuildError::new(error.kind, format!("failed to use the {whose} of the plan"))
                    .hint(hint)
                    .because(error)
            })?;
            let (named, tree) = found;
            contexts.names.insert(name.clone(), named);
            contexts.trees.extend(tree.map(|tree| (name.clone(), tree)));
        }
        Ok(contexts)
    }

    /// What one source is, and for a tree where it comes from.
    fn one_named(
        &mut self,
        selection: Selection,
        source: &ContextSource,
    ) -> Result<(Named, Option<TreeSource>), BuildError> {
        let tree = |tree| Ok((Named::Tree, Some(tree)));
        let folder = match source {
            ContextSource::Image(image) => return tree(TreeSource::Outside(image.clone())),
            ContextSource::OciLayout { folder, tag, digest } => {
                let (tag, digest) = (tag.as_deref(), digest.as_deref());
                let name = layout_name(self.directory, folder, tag, digest);
                return tree(TreeSource::Outside(name));
            }
            ContextSource::Target(target) => {
                return tree(TreeSource::Tier(self.target(selection, target)?));
            }
            ContextSource::Folder(folder) => self.directory.join(folder),
            ContextSource::Remote(url) => self.session.remote_context(url, false)?,
        };
        let ignore = Some(folder.join(".dockerignore")).filter(|path| path.is_file());
        Ok((Named::Folder(self.context(&folder, ignore)?), None))
    }

    /// The tier that `target:NAME` means, for the platform of the member that takes from it.
    fn target(&mut self, from: Selection, name: &str) -> Result<usize, BuildError> {
        let member = &self.plan.members[from.member];
        let arch = (!name.contains('/')).then(|| member.platform.to_string());
        let names = [name.to_owned()];
        let found = anyarch_plan::target::select(self.plan, &names, arch.as_deref());
        let found = found.map_err(|error| {
            let hint = error.hint();
            BuildError::input(format!("`{name}` is no target")).because(error).hint(hint)
        })?;
        match found.as_slice() {
            [one] => self.tier(*one),
            several => Err(BuildError::input(format!("`{name}` means {} targets", several.len()))
                .hint("a context comes from one tier: FLAVOR:TIER".to_owned())),
        }
    }
}

impl Session<'_> {
    /// Resolves the tiers that the selections need.
    pub(crate) fn resolve(
        &self,
        plan: &Plan,
        directory: &Path,
        selections: &[Selection],
        lock: &mut LockFile,
    ) -> Result<Resolved, BuildError> {
        let mut resolver = Resolver {
            session: self,
            plan,
            directory,
            lock,
            resolved: Resolved::default(),
            contexts: BTreeMap::new(),
            open: Vec::new(),
        };
        for selection in selections {
            resolver.tier(*selection)?;
        }
        let Resolver { mut resolved, lock, .. } = resolver;
        // Of a platform that has none, the step that runs a program says so.
        let known = |platform: &&Platform| crate::emulator::machine(platform).is_some();
        let foreign: BTreeSet<Platform> = resolved.foreign.iter().filter(known).cloned().collect();
        if !foreign.is_empty() {
            let emulator = self.resolve_emulator(plan, directory, foreign, lock);
            self.check_cancelled()?;
            resolved.emulator = Some(emulator.map_err(Arc::new));
        }
        Ok(resolved)
    }

    /// Resolves what a tier takes from outside.
    fn resolve_names(
        &self,
        plan: &Plan,
        directory: &Path,
        tier: &ResolvedTier,
        resolved: &mut Resolved,
        lock: &mut LockFile,
    ) -> Result<(), BuildError> {
        let build_platform = self.engine.platform();
        for name in outside_names(&tier.input(&build_platform))? {
            self.check_cancelled()?;
            let OutsideName { name, platform, origin } = name;
            let Some(name) = tier.outside(name) else { continue };
            let key = (name.clone(), platform.clone());
            let known = resolved.bases.contains_key(&key) || resolved.images.contains_key(&key);
            if known {
                continue;
            }
            let foreign = self.is_foreign(&platform);
            let native = (name.clone(), build_platform.clone());
            if plan.bases.contains_key(&name) {
                let base = self
                    .resolve_base(plan, directory, &name, &platform, lock)
                    .map_err(|error| error.at(Some(&origin)))?;
                resolved.bases.insert(key, base);
                if foreign && !resolved.bases.contains_key(&native) {
                    let sibling = self.resolve_base(plan, directory, &name, &native.1, lock);
                    match self.unless_cancelled(sibling)? {
                        Ok(sibling) => drop(resolved.bases.insert(native, sibling)),
                        Err(why) => drop(resolved.no_sibling.insert(name, why)),
                    }
                }
            } else {
                let image = self
                    .resolve_image(plan, &name, &platform)
                    .map_err(|error| error.at(Some(&origin)))?;
                resolved.images.insert(key, image);
                if foreign && !resolved.images.contains_key(&native) {
                    let sibling = self.resolve_image(plan, &name, &native.1).and_then(|image| {
                        match image.config.architecture == native.1.architecture {
                            true => Ok(image),
                            false => Err(BuildError::failed("the image is for one platform only")),
                        }
                    });
                    match self.unless_cancelled(sibling)? {
                        Ok(sibling) => drop(resolved.images.insert(native, sibling)),
                        Err(why) => drop(resolved.no_sibling.insert(name, why)),
                    }
                }
            }
            if foreign {
                resolved.foreign.insert(platform);
            }
        }
        Ok(())
    }

    /// What may fail without failing the build: a reason, in one line, in place of the error.
    fn unless_cancelled<T>(
        &self,
        result: Result<T, BuildError>,
    ) -> Result<Result<T, String>, BuildError> {
        self.check_cancelled()?;
        Ok(result.map_err(|error| error.chain()))
    }
}

impl Resolved {
    /// The emulators for the foreign platforms of this build; `None` where it has no such platform.
    ///
    /// # Errors
    /// Why there are none.
    pub(crate) fn emulator(&self) -> Result<Option<&ResolvedEmulator>, BuildError> {
        match &self.emulator {
            Some(Ok(emulator)) => Ok(Some(emulator)),
            Some(Err(error)) => {
                Err(BuildError::new(error.kind, "there is no emulator for foreign platforms")
                    .hint(error.hint.clone())
                    .because(Arc::clone(error)))
            }
            None => Ok(None),
        }
    }
}

impl ResolvedTier {
    /// How the stage reader takes it.
    pub(crate) fn input<'a>(&'a self, build_platform: &'a Platform) -> Input<'a> {
        Input {
            file: &self.file,
            dockerfile: &self.dockerfile,
            build_args: &self.build_args,
            target: self.target.as_deref(),
            platform: &self.platform,
            build_platform,
            context: self.context,
            named: &self.named.names,
            fresh: &self.fresh,
            part: &self.part,
        }
    }

    /// How what a name of its Dockerfile means is known outside; `None` for another tier.
    pub(crate) fn outside(&self, name: String) -> Option<String> {
        match self.named.tree(&name) {
            Some(TreeSource::Outside(outside)) => Some(outside.clone()),
            Some(TreeSource::Tier(_)) => None,
            None => {
                let below = self.below.as_ref().is_some_and(|(below, _)| *below == name);
                (!below).then_some(name)
            }
        }
    }
}

fn read_dockerfile(path: &Path, name: &str, plan_line: usize) -> Result<Dockerfile, BuildError> {
    let text = fs::read_to_string(path).map_err(|error| {
        let missing = error.kind() == io::ErrorKind::NotFound;
        BuildError::input(format!("failed to read the Dockerfile {name}")).because(error).hint(
            missing.then(|| {
                format!(
                    "line {plan_line} of the plan names it; paths are relative to the plan file"
                )
            }),
        )
    })?;
    let (dockerfile, diagnostics) = anyarch_dockerfile::parse(&text);
    match diagnostics.iter().find(|diagnostic| diagnostic.is_error()) {
        None => Ok(dockerfile),
        Some(diagnostic) => {
            let line = text[..diagnostic.span.start.min(text.len())].matches('\n').count() + 1;
            let message = match diagnostic.label.as_str() {
                "" => diagnostic.message.clone(),
                label => format!("{}: {label}", diagnostic.message),
            };
            Err(BuildError::input(message)
                .at(Some(&Origin { file: name.to_owned(), line }))
                .hint(diagnostic.hint.clone()))
        }
    }
}

/// The ignore file of a Dockerfile: its own (`NAME.dockerignore`), else that of the context.
fn ignore_file(dockerfile: &Path, context: &Path) -> Option<PathBuf> {
    let mut own = dockerfile.as_os_str().to_owned();
    own.push(".dockerignore");
    [PathBuf::from(own), context.join(".dockerignore")].into_iter().find(|path| path.is_file())
}

fn open_context(folder: &Path, ignore: Option<&Path>) -> Result<BuildContext, BuildError> {
    if !folder.is_dir() {
        let message = format!("the build context {} is not a folder", folder.display());
        return Err(BuildError::input(message)
            .hint("paths of contexts are relative to the plan file".to_owned()));
    }
    match ignore {
        None => BuildContext::open(folder, None),
        Some(path) => {
            let text = fs::read_to_string(path)
                .context(|| format!("failed to read {}", path.display()))?;
            BuildContext::open(folder, Some((&path.display().to_string(), &text)))
        }
    }
}

#[cfg(test)]
mod tests {
    use anyarch_sandbox::Cancel;
    use anyarch_testkit::DebianArchive;
    use anyarch_testkit::debian::Package;

    use super::*;
    use crate::lock::{LockedBase, LockedRequest};
    use crate::testing;

    /// Resolves a plan with `FROM small` for a platform.
    fn resolved(platform: &str) -> (Resolved, LockFile) {
        let archive = DebianArchive::start(&[Package::new("qemu-user-static", "1")]);
        let (folder, engine) = testing::engine_with(&archive);
        fs::write(folder.path().join("Dockerfile"), "FROM small\nRUN a\n").unwrap();
        let base = "[base.small]\ndebian = \"test\"\npackages = [\"qemu-user-static\"]\n";
        let plan = testing::plan(platform, &format!("{}{base}", testing::sources(&archive)));
        let cancel = Cancel::new();
        let session = Session::new(&engine, 0, &|_| {}, &cancel);
        let mut lock = LockFile::default();
        let resolution = serde_json::json!({
            "architecture": "arm64",
            "indexes": [{ "suite": "test", "digest": anyarch_oci::Digest::sha256(b""), "date": "" }],
            "packages": [],
        });
        lock.put(LockedBase {
            name: "small".to_owned(),
            platform: "linux/arm64".to_owned(),
            request: LockedRequest {
                suite: "test".to_owned(),
                components: vec!["main".to_owned()],
                packages: vec!["qemu-user-static".to_owned()],
                recommends: false,
            },
            resolution: serde_json::from_value(resolution).unwrap(),
        });
        let selections = [Selection { member: 0, tier: 0 }];
        let resolved = session.resolve(&plan, folder.path(), &selections, &mut lock).unwrap();
        (resolved, lock)
    }

    #[test]
    fn foreign_bases_come_with_their_native_sibling_and_emulators() {
        let (resolved, lock) = resolved("linux/arm64");
        let platforms: Vec<String> =
            resolved.bases.keys().map(|(name, platform)| format!("{name} {platform}")).collect();
        assert_eq!(platforms, ["small linux/amd64", "small linux/arm64"]);
        assert!(resolved.no_sibling.is_empty(), "{:?}", resolved.no_sibling);
        assert!(resolved.emulator().unwrap().is_some());
        assert_eq!((lock.base.len(), lock.emulator.len()), (2, 1));
    }

    #[test]
    fn native_bases_come_alone() {
        let (resolved, lock) = resolved("linux/amd64");
        assert!(resolved.bases.len() == 1 && resolved.emulator().unwrap().is_none());
        assert!(lock.emulator.is_empty());
    }
}
