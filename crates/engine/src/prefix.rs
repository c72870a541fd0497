//! Native prefixes: the steps below a foreign step, made for this machine, for the sake of its twins.
//!
//! The Dockerfiles of foreign members are lowered a second time for the machine's platform, into a
//! graph of their own, and each step is paired with the one that the same line became there. These
//! steps run when a foreign step asks for them, and not before; they are cached like any other, so
//! that a native member with the same beginning shares them. They belong to no image.

use std::collections::{BTreeMap, HashMap};
use std::mem::discriminant;
use std::sync::{Mutex, PoisonError};

use anyarch_oci::Platform;

use crate::build::lower_tier;
use crate::chain::Chain;
use crate::engine::{Fresh, Session};
use crate::error::BuildError;
use crate::event::{Event, Outcome, StepId, Unit};
use crate::graph::{BuildGraph, Step};
use crate::inputs::Inputs;
use crate::resolve::Resolved;
use crate::solve::Work;
use crate::stage::{Input, Lowered};

/// The steps of foreign members as they would be for this machine.
#[derive(Default)]
pub(crate) struct Prefixes {
    graph: BuildGraph,
    /// Step of the build → step of `graph`.
    pairs: HashMap<StepId, StepId>,
    /// What the steps of `graph` left that were asked for; `None`: they failed, which was told.
    done: Mutex<BTreeMap<StepId, Option<Chain>>>,
}

impl Prefixes {
    /// Lowers every tier for this machine. What cannot be, such as a tier on an image that is for
    /// one platform only, has no native steps.
    pub(crate) fn new(resolved: &Resolved, machine: &Platform) -> Result<Prefixes, BuildError> {
        let mut prefixes = Prefixes::default();
        // Lowering is the same each time, so these are the numbers that the build has.
        let mut ours = BuildGraph::default();
        let mut tiers: Vec<Lowered> = Vec::new();
        let mut natives: Vec<Option<Lowered>> = Vec::new();
        let fresh = Fresh::default();
        for tier in &resolved.tiers {
            let input = tier.input(machine);
            let below = |at: usize| tiers.get(at).cloned();
            let lowered = lower_tier(&mut ours, resolved, tier, &input, &below)?;
            tiers.push(lowered);
            let foreign = ours.take_asked();
            let below = |at: usize| natives.get(at).cloned().flatten();
            let input = Input { platform: machine, fresh: &fresh, ..input };
            let theirs = &mut prefixes.graph;
            natives.push(lower_tier(theirs, resolved, tier, &input, &below).ok());
            let native = theirs.take_asked();
            let alike = |(a, b): (&StepId, &StepId)| {
                let (a, b) = (ours.step(*a), theirs.step(*b));
                a.info.origin == b.info.origin && discriminant(&a.op) == discriminant(&b.op)
            };
            if foreign.len() == native.len() && foreign.iter().zip(&native).all(alike) {
                prefixes.pairs.extend(foreign.into_iter().zip(native));
            }
        }
        Ok(prefixes)
    }
}

impl Session<'_> {
    /// The tree below a foreign step as the same lines make it natively, or as far as is `enough`;
    /// `None` where they cannot, or failed before. What has not run yet runs, told as the progress
    /// of the foreign step.
    ///
    /// # Errors
    /// When a native step fails.
    pub(crate) fn native_prefix(
        &self,
        work: &Work<'_>,
        step: &Step,
        enough: &dyn Fn(&Chain) -> Result<bool, BuildError>,
    ) -> Result<Option<Chain>, BuildError> {
        let Some(prefixes) = work.prefixes(self)? else { return Ok(None) };
        let native = step.parent.and_then(|parent| prefixes.pairs.get(&parent));
        let Some(native) = native else { return Ok(None) };
        let mut below: Vec<StepId> =
            std::iter::successors(Some(*native), |step| prefixes.graph.step(*step).parent)
                .collect();
        below.reverse();
        // A Dockerfile may name a platform: what stands on that is as foreign as the step itself.
        let foreign = |step: &StepId| self.is_foreign(&prefixes.graph.step(*step).platform);
        if below.iter().any(foreign) {
            return Ok(None);
        }
        let what = |step: StepId| format!("natively: {}", prefixes.graph.step(step).info.name);
        let count = |native: StepId, done: u64| Event::Progress {
            step: Some(step.info.id),
            what: what(native),
            done,
            total: Some(1),
            unit: Unit::Items,
        };
        let tell = |event: Event| match event {
            Event::Started { step } => (self.on)(count(step, 0)),
            Event::Finished { step, outcome: Outcome::Ran { .. }, .. } => (self.on)(count(step, 1)),
            Event::Warning { .. } => (self.on)(event),
            // The rest is about steps that nobody was told of.
            _ => {}
        };
        let session = Session {
            for_twins: true,
            ..Session::new(self.engine, self.epoch, &tell, self.cancel)
        };
        let natives = Work::of_natives(&prefixes.graph, work.resolved);
        let make = || -> Result<Option<Chain>, BuildError> {
            let mut chain = None;
            for step in below {
                chain = session.native_step(prefixes, &natives, step)?;
                match &chain {
                    Some(chain) if !enough(chain)? => {}
                    _ => break,
                }
            }
            Ok(chain)
        };
        let made = make();
        let synced = session.sync();
        // What failed first says more than what failed because of it.
        made.and_then(|made| synced.map(|()| made)).map_err(|error| {
            let name = &step.info.name;
            error.in_context(format!("failed to make natively what is below `{name}`"))
        })
    }

    /// One native step, after those that it needs.
    fn native_step(
        &self,
        prefixes: &Prefixes,
        work: &Work<'_>,
        id: StepId,
    ) -> Result<Option<Chain>, BuildError> {
        let done = || prefixes.done.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = done().get(&id) {
            return Ok(known.clone());
        }
        let mut needs = BTreeMap::new();
        for need in work.graph.needs(id) {
            let Some(chain) = self.native_step(prefixes, work, need)? else { return Ok(None) };
            needs.insert(need, chain);
        }
        let inputs =
            Inputs::of(work.graph.step(id), &|need| needs.get(&need).cloned().unwrap_or_default());
        let result = self.attempt(work, id, &inputs).map(|made| made.chain);
        done().insert(id, result.as_ref().ok().cloned());
        result.map(Some)
    }
}

#[cfg(test)]
mod tests {
    use anyarch_oci::{Digest, ImageConfig};
    use anyarch_plan::target::Selection;
    use anyarch_sandbox::Cancel;

    use super::*;
    use crate::build::graph;
    use crate::engine::Engine;
    use crate::images::ResolvedImage;
    use crate::lock::LockFile;
    use crate::op::ImageOp;
    use crate::testing;

    /// The build of a Dockerfile for arm64, with images that are for that alone.
    struct Bench {
        engine: Engine,
        resolved: Resolved,
        _folder: tempfile::TempDir,
    }

    fn bench(dockerfile: &str, images: &[&str]) -> Bench {
        let folder = tempfile::tempdir().unwrap();
        let engine = testing::engine(&folder.path().join("store"));
        std::fs::write(folder.path().join("Dockerfile"), "FROM scratch\n").unwrap();
        let plan = testing::plan("linux/arm64", "");
        let cancel = Cancel::new();
        let session = Session::new(&engine, 0, &|_| {}, &cancel);
        let selections = [Selection { member: 0, tier: 0 }];
        let lock = &mut LockFile::default();
        let mut resolved = session.resolve(&plan, folder.path(), &selections, lock).unwrap();
        resolved.tiers[0].dockerfile = anyarch_dockerfile::parse(dockerfile).0;
        let arm: Platform = "linux/arm64".parse().unwrap();
        for name in images {
            let op = ImageOp {
                reference: (*name).to_owned(),
                manifest: Digest::sha256(name.as_bytes()),
                layers: Vec::new(),
            };
            let image = ResolvedImage { op, config: ImageConfig::new(&arm) };
            resolved.images.insert(((*name).to_owned(), arm.clone()), image);
        }
        Bench { engine, resolved, _folder: folder }
    }

    /// The steps of a build, and what is paired with them.
    fn prefixes(bench: &Bench) -> (BuildGraph, Prefixes) {
        let machine = "linux/amd64".parse().unwrap();
        let (graph, _) = graph(&bench.resolved, &machine).unwrap();
        (graph, Prefixes::new(&bench.resolved, &machine).unwrap())
    }

    #[test]
    fn steps_are_paired_line_by_line() {
        let bench = bench(
            "FROM scratch AS build\nARG TARGETARCH\nRUN make $TARGETARCH\n\
             FROM --platform=$BUILDPLATFORM scratch AS tool\nRUN tool\n\
             FROM scratch\nCOPY --from=build /a /a\nCOPY --from=tool /b /b\nRUN use it\n",
            &[],
        );
        let (graph, prefixes) = prefixes(&bench);
        let foreign = |step: &&Step| step.platform.architecture == "arm64";
        let steps: Vec<&Step> = graph.steps().iter().filter(foreign).collect();
        assert_eq!(steps.len(), 4);
        for step in steps {
            let native = prefixes.graph.step(prefixes.pairs[&step.info.id]);
            assert_eq!(native.platform.architecture, "amd64");
            assert_eq!(native.info.origin, step.info.origin);
            let parent = step.parent.map(|parent| prefixes.pairs[&parent]);
            assert_eq!(native.parent, parent, "{}", step.info.name);
        }
        // What is for the machine in both is one step there.
        let natives = prefixes.graph.steps();
        assert_eq!(natives.iter().filter(|step| step.info.name.contains("tool")).count(), 2);
    }

    #[test]
    fn a_tier_that_is_for_one_platform_only_has_no_native_steps() {
        let (graph, known) = prefixes(&bench("FROM scratch\nRUN a\n", &[]));
        assert_eq!((graph.steps().len(), known.pairs.len()), (1, 1));
        let (graph, known) = prefixes(&bench("FROM arm\nRUN a\n", &["arm"]));
        assert_eq!((graph.steps().len(), known.pairs.len()), (2, 0));
    }

    #[test]
    fn what_stands_on_another_platform_is_no_native_prefix() {
        let bench = bench("FROM --platform=linux/arm64 arm\nRUN a\nRUN b\n", &["arm"]);
        let cancel = Cancel::new();
        let session = Session::new(&bench.engine, 0, &|_| {}, &cancel);
        let (graph, _) = prefixes(&bench);
        let work = Work::of_build(&graph, &bench.resolved);
        let last = graph.steps().last().unwrap();
        assert_eq!(session.native_prefix(&work, last, &|_| Ok(true)).unwrap(), None);
    }
}
