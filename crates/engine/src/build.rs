//! The trunk: a plan and targets to images in the host store.

use std::path::Path;

use anyarch_oci::{
    Descriptor, ImageIndex, Platform, Raw, Reference, RepositoryName, Tag, media_type,
};
use anyarch_plan::Plan;
use anyarch_plan::target::Selection;
use anyarch_sandbox::Cancel;

use crate::engine::{Engine, Session};
use crate::error::{BuildError, Context, ErrorKind};
use crate::event::{Event, OnEvent, StepId};
use crate::graph::BuildGraph;
use crate::image::{BuiltImage, assemble};
use crate::lock::LockFile;
use crate::named::TreeSource;
use crate::op::Op;
use crate::resolve::{Resolved, ResolvedTier};
use crate::solve::Solved;
use crate::stage::{HistoryItem, Input, Lowered, OutsideName, lower, outside_names};

/// What to build.
pub struct BuildRequest<'a> {
    /// The checked plan.
    pub plan: &'a Plan,
    /// The folder of the plan file; all its paths are relative to it.
    pub directory: &'a Path,
    /// The tiers wanted.
    pub selections: &'a [Selection],
    /// The lock; entries that are missing are added.
    pub lock: &'a mut LockFile,
}

/// Builds the selected tiers and what they need, and gives them their local tags.
///
/// # Errors
/// The first thing that failed; what was finished before it stays in the store and its cache.
pub fn build(
    engine: &Engine,
    request: BuildRequest<'_>,
    on: OnEvent<'_>,
    cancel: &Cancel,
) -> Result<Vec<BuiltImage>, BuildError> {
    let session = Session::new(engine, request.plan.project.source_date_epoch, on, cancel);
    build_in(&session, request).map(|(images, _)| images)
}

/// The same in a session that goes on: the images, and what they were resolved to.
pub(crate) fn build_in(
    session: &Session<'_>,
    request: BuildRequest<'_>,
) -> Result<(Vec<BuiltImage>, Resolved), BuildError> {
    let BuildRequest { plan, directory, selections, lock } = request;
    let (engine, on) = (session.engine, session.on);
    let resolved = session.resolve(plan, directory, selections, lock)?;
    let (graph, tiers) = graph(&resolved, &engine.platform())?;
    on(Event::Graph { steps: graph.steps().iter().map(|step| step.info.clone()).collect() });
    let solved = session.solve(&graph, &resolved);
    let synced = session.sync();
    // What failed first says more than what failed because of it.
    let solved = solved?;
    synced?;
    let mut images = session.images(plan, &resolved, &graph, &tiers, &solved, selections)?;
    session.tag(plan, &mut images)?;
    session.keep_traces(directory, &graph, &resolved, &solved)?;
    session.tell_tally();
    Ok((images, resolved))
}

/// The same without running a step: `None` where something is not built yet. Sets no tags.
pub(crate) fn look_up_in(
    session: &Session<'_>,
    request: BuildRequest<'_>,
) -> Result<Option<(Vec<BuiltImage>, Resolved)>, BuildError> {
    let BuildRequest { plan, directory, selections, lock } = request;
    let session = &session.looking_up();
    let resolved = session.resolve(plan, directory, selections, lock)?;
    let (graph, tiers) = graph(&resolved, &session.engine.platform())?;
    match session.solve(&graph, &resolved) {
        Ok(solved) => {
            let images = session.images(plan, &resolved, &graph, &tiers, &solved, selections)?;
            Ok(Some((images, resolved)))
        }
        Err(error) if error.kind == ErrorKind::NotBuilt => Ok(None),
        Err(error) => Err(error),
    }
}

/// Gives images, the same one for several platforms, further names in the host store: a tag of the
/// image, or of an index over all of them.
pub fn tag_as(
    engine: &Engine,
    images: &mut [BuiltImage],
    names: &[Reference],
) -> Result<(), BuildError> {
    let entries: Vec<Descriptor> = images
        .iter()
        .map(|image| image.descriptor().with_platform(image.platform.clone()))
        .collect();
    for name in names {
        let what = || format!("failed to tag {name}");
        let tag = name.tag.clone().unwrap_or_else(Tag::latest);
        let repository = match &name.registry {
            None => name.repository.clone(),
            Some(registry) => {
                format!("{registry}/{}", name.repository).parse().map_err(|error| {
                    BuildError::input(what()).because(error).hint(
                        "leave the registry out: the name is for the local store only".to_owned(),
                    )
                })?
            }
        };
        let descriptor = match entries.as_slice() {
            [only] => only.clone(),
            several => {
                let index = Raw::encode(ImageIndex::new(several.to_vec())).context(what)?;
                engine.store.put_blob(&index.bytes).context(what)?;
                Descriptor::new(media_type::INDEX, index.digest.clone(), index.size())
            }
        };
        engine.store.tag(&repository, &tag, &descriptor).context(what)?;
        for image in images.iter_mut() {
            image.tags.push(format!("{repository}:{tag}"));
        }
    }
    Ok(())
}

/// Chooses the packages of every base that the selections need, and the emulators where they are for
/// foreign platforms, without building anything.
pub fn lock(
    engine: &Engine,
    request: BuildRequest<'_>,
    on: OnEvent<'_>,
    cancel: &Cancel,
) -> Result<(), BuildError> {
    let BuildRequest { plan, directory, selections, lock } = request;
    let session = Session::new(engine, plan.project.source_date_epoch, on, cancel);
    let resolved = session.resolve(plan, directory, selections, lock)?;
    // Only steps that run need it, and this machine may not be the one that runs them.
    if let Err(error) = resolved.emulator() {
        on(Event::Warning { message: error.chain() });
    }
    Ok(())
}

/// The steps of all tiers, and where each tier ends.
pub(crate) fn graph(
    resolved: &Resolved,
    build_platform: &Platform,
) -> Result<(BuildGraph, Vec<Lowered>), BuildError> {
    let mut graph = BuildGraph::default();
    let mut tiers: Vec<Lowered> = Vec::new();
    for tier in &resolved.tiers {
        let first = graph.steps().len();
        let below = |at: usize| tiers.get(at).cloned();
        let lowered = lower_tier(&mut graph, resolved, tier, &tier.input(build_platform), &below)?;
        if tier.fresh.all() {
            graph.set_fresh(first);
        }
        if let Some(sibling) = sibling(resolved, &tiers, tier, build_platform) {
            let added = graph.take_asked().into_iter().filter(|step| step.0 >= first);
            graph.set_sibling(added, sibling);
        }
        tiers.push(lowered);
    }
    Ok((graph, tiers))
}

/// Adds the steps of one tier for the platform of `input`. `below` gives other tiers, by position,
/// for that platform.
pub(crate) fn lower_tier(
    graph: &mut BuildGraph,
    resolved: &Resolved,
    tier: &ResolvedTier,
    input: &Input<'_>,
    below: &dyn Fn(usize) -> Option<Lowered>,
) -> Result<Lowered, BuildError> {
    let names = outside_names(input)?
        .into_iter()
        .filter_map(|name| Some(OutsideName { name: tier.outside(name.name)?, ..name }));
    let outside = outside(graph, resolved, &names.collect::<Vec<_>>(), &tier.part);
    let bases = |name: &str, platform: &Platform| {
        let lower = tier.below.as_ref().filter(|(lower, _)| lower == name).map(|(_, at)| *at);
        let (name, other) = match tier.named.tree(name) {
            Some(TreeSource::Outside(outside)) => (outside.as_str(), None),
            Some(TreeSource::Tier(at)) => (name, Some(*at)),
            None => (name, lower),
        };
        match other {
            Some(at) if platform == input.platform => below(at),
            _ => outside
                .iter()
                .find(|(known, of, _)| known == name && of == platform)
                .map(|(_, _, tree)| tree.clone()),
        }
    };
    // What pairs steps of two platforms looks at the Dockerfile's own only.
    graph.take_asked();
    lower(graph, input, &bases)
}

/// Where the native member of the same flavor ends below a foreign tier, if this build makes it.
fn sibling(
    resolved: &Resolved,
    tiers: &[Lowered],
    tier: &ResolvedTier,
    build_platform: &Platform,
) -> Option<StepId> {
    let below = tier.selection.tier.checked_sub(1)?;
    let native = |other: &ResolvedTier| {
        other.platform.architecture == build_platform.architecture
            && other.flavor == tier.flavor
            && other.selection.tier == below
    };
    if native(tier) || tier.platform.architecture == build_platform.architecture {
        return None;
    }
    let found = resolved.tiers.iter().zip(tiers).find(|(other, _)| native(other))?;
    found.1.step
}

/// The bases and images that a tier takes from outside, as steps.
fn outside(
    graph: &mut BuildGraph,
    resolved: &Resolved,
    names: &[OutsideName],
    part: &str,
) -> Vec<(String, Platform, Lowered)> {
    let named = |name: &str, platform: &Platform| {
        names.iter().any(|wanted| wanted.name == name && wanted.platform == *platform)
    };
    let mut trees = Vec::new();
    for ((name, platform), base) in resolved.bases.iter().filter(|((n, p), _)| named(n, p)) {
        let suite = base.resolution.indexes.first().map_or("", |index| index.suite.as_str());
        let text = format!("base {name}: {} packages of {suite}", base.op.packages.len());
        let step = graph.add(Op::Debian(base.op.clone()), None, platform, text.clone(), part, None);
        let mut tree = Lowered::scratch(platform);
        tree.step = Some(step);
        tree.config.config.cmd = Some(vec!["bash".to_owned()]);
        tree.history.push(HistoryItem::Ours { created_by: text, step: Some(step) });
        trees.push((name.clone(), platform.clone(), tree));
    }
    for ((name, platform), image) in resolved.images.iter().filter(|((n, p), _)| named(n, p)) {
        let text = format!("FROM {}", image.op.reference);
        let step = graph.add(Op::Image(image.op.clone()), None, platform, text, part, None);
        let mut config = image.config.clone();
        let history =
            std::mem::take(&mut config.history).into_iter().map(HistoryItem::Inherited).collect();
        trees.push((name.clone(), platform.clone(), Lowered { step: Some(step), config, history }));
    }
    trees
}

impl Session<'_> {
    /// The images of the selected tiers.
    fn images(
        &self,
        plan: &Plan,
        resolved: &Resolved,
        graph: &BuildGraph,
        tiers: &[Lowered],
        solved: &Solved,
        selections: &[Selection],
    ) -> Result<Vec<BuiltImage>, BuildError> {
        let mut images = Vec::new();
        let mut all: Vec<_> = resolved.tiers.iter().zip(tiers).collect();
        // One tier may have waited for another; people see them as the plan has them.
        all.sort_by_key(|(tier, _)| tier.selection);
        for (tier, lowered) in all {
            if !selections.contains(&tier.selection) {
                continue;
            }
            let member = &plan.members[tier.selection.member];
            let layers_of = |step| solved.chain(step);
            let parent_of = |step| graph.step(step).parent;
            let (manifest, config, chain) =
                assemble(self.store(), lowered, &layers_of, &parent_of, self.epoch)?;
            images.push(BuiltImage {
                selection: tier.selection,
                member: member.to_string(),
                tier: member.tiers[tier.selection.tier].name.clone(),
                platform: tier.platform.clone(),
                manifest,
                config,
                chain,
                tags: Vec::new(),
            });
        }
        Ok(images)
    }

    /// Gives every image its local tags: exact ones, and those that gather the architectures
    /// built so far.
    fn tag(&self, plan: &Plan, images: &mut [BuiltImage]) -> Result<(), BuildError> {
        let what = || "failed to tag the images".to_owned();
        let repository = local_repository(plan)?;
        let _lock = self.lock("tags")?;
        for image in images.iter_mut() {
            let descriptor = image.descriptor().with_platform(image.platform.clone());
            for tag in anyarch_plan::tags::local(plan, &image.selection).exact {
                self.store().tag(&repository, &parse_tag(&tag)?, &descriptor).context(what)?;
                image.tags.push(format!("{repository}:{tag}"));
            }
        }
        for image in images.iter_mut() {
            for gathered in anyarch_plan::tags::local(plan, &image.selection).gathered {
                self.gather(plan, &repository, image.selection, &gathered)?;
                image.tags.push(format!("{repository}:{gathered}"));
            }
            (self.on)(Event::Image {
                member: image.member.clone(),
                tier: image.tier.clone(),
                digest: image.manifest.digest.clone(),
                size: image.size(),
                tags: image.tags.clone(),
            });
        }
        Ok(())
    }

    /// Points a tag at an index of all that has been built under it, in the order of the plan.
    fn gather(
        &self,
        plan: &Plan,
        repository: &RepositoryName,
        selection: Selection,
        tag: &str,
    ) -> Result<(), BuildError> {
        let what = || format!("failed to gather {repository}:{tag}");
        let tier = &plan.members[selection.member].tiers[selection.tier].name;
        let mut entries: Vec<Descriptor> = Vec::new();
        for (at, member) in plan.members.iter().enumerate() {
            let Some(tier_at) = member.tiers.iter().position(|known| known.name == *tier) else {
                continue;
            };
            let local = anyarch_plan::tags::local(plan, &Selection { member: at, tier: tier_at });
            if !local.gathered.iter().any(|known| known == tag) {
                continue;
            }
            let Some(exact) = local.exact.first() else { continue };
            entries.extend(self.store().resolve(repository, &parse_tag(exact)?).context(what)?);
        }
        let index = Raw::encode(ImageIndex::new(entries)).context(what)?;
        self.store().put_blob(&index.bytes).context(what)?;
        let descriptor = Descriptor::new(media_type::INDEX, index.digest.clone(), index.size());
        self.store().tag(repository, &parse_tag(tag)?, &descriptor).context(what)
    }
}

/// The repository of the local tags.
pub(crate) fn local_repository(plan: &Plan) -> Result<RepositoryName, BuildError> {
    plan.project.name.parse().map_err(|error| {
        BuildError::input("the project's name is not a repository name").because(error)
    })
}

fn parse_tag(text: &str) -> Result<Tag, BuildError> {
    text.parse().map_err(|error| BuildError::input("a local tag is not valid").because(error))
}
