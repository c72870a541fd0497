//! Runs the graph: every step whose inputs are known is looked up in the cache or run, several at
//! once, and leaves a chain of layers.
//!
//! The layer of a step is written right after the step, not at the end, because the keys of the
//! steps above hold its diff ID: that is what lets an identical result cut the rebuilding off.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use anyarch_oci::Digest;

use crate::base::ResolvedBase;
use crate::cache::{self, Record};
use crate::chain::Chain;
use crate::context::Files;
use crate::engine::Session;
use crate::error::{BuildError, ErrorKind, io_hint};
use crate::event::{Event, Outcome, StepId, Stream};
use crate::exec::{ended_badly, shorten};
use crate::foreign::{Natives, Twins};
use crate::graph::{BuildGraph, Step};
use crate::inputs::{Inputs, Keyed, Origins, input_digest};
use crate::op::Op;
use crate::prefix::Prefixes;
use crate::remote::Remote;
use crate::resolve::Resolved;
use crate::siblings::NativeTree;
use crate::tally::Tally;
use crate::verify::Allowed;

/// What the steps left, by number.
pub(crate) struct Solved {
    chains: Vec<Option<Chain>>,
    keys: Vec<Option<Digest>>,
}

impl Solved {
    /// The tree that a step left; `None` means the empty tree.
    pub(crate) fn chain(&self, step: Option<StepId>) -> Chain {
        step.and_then(|step| self.chains[step.0].clone()).unwrap_or_default()
    }

    /// The key under which the result of a step is kept; none for a pull.
    pub(crate) fn key(&self, step: StepId) -> Option<&Digest> {
        self.keys[step.0].as_ref()
    }
}

/// What is to be solved.
pub(crate) struct Work<'a> {
    pub(crate) graph: &'a BuildGraph,
    pub(crate) resolved: &'a Resolved,
    /// The same for this machine, once a foreign step asks for it; `None` where this is that.
    prefixes: Option<OnceLock<Prefixes>>,
}

impl<'a> Work<'a> {
    /// A build.
    pub(crate) fn of_build(graph: &'a BuildGraph, resolved: &'a Resolved) -> Work<'a> {
        Work { graph, resolved, prefixes: Some(OnceLock::new()) }
    }

    /// Steps that are made for twins' sake, and for whose programs there are none.
    pub(crate) fn of_natives(graph: &'a BuildGraph, resolved: &'a Resolved) -> Work<'a> {
        Work { graph, resolved, prefixes: None }
    }

    /// The steps as they would be for this machine.
    pub(crate) fn prefixes(&self, session: &Session<'_>) -> Result<Option<&Prefixes>, BuildError> {
        let Some(prefixes) = &self.prefixes else { return Ok(None) };
        if let Some(known) = prefixes.get() {
            return Ok(Some(known));
        }
        let new = Prefixes::new(self.resolved, &session.engine.platform())?;
        Ok(Some(prefixes.get_or_init(|| new)))
    }
}

/// How one step went.
pub(crate) struct Done {
    pub(crate) chain: Chain,
    cached: bool,
    key: Option<Digest>,
}

/// How the programs of a step are run.
struct How<'a> {
    /// Where twins come from, for a foreign platform.
    natives: &'a dyn Fn(&Path) -> Result<Option<NativeTree>, BuildError>,
    /// Which of them.
    allowed: &'a Allowed,
    /// Whether what they write is kept from those who listen.
    quiet: bool,
}

/// What the workers share.
struct Progress {
    chains: Vec<Option<Chain>>,
    keys: Vec<Option<Digest>>,
    begun: Vec<bool>,
    failure: Option<BuildError>,
}

impl Session<'_> {
    /// Runs or looks up every step.
    ///
    /// # Errors
    /// The first failure; the other steps that run are stopped then.
    pub(crate) fn solve(
        &self,
        graph: &BuildGraph,
        resolved: &Resolved,
    ) -> Result<Solved, BuildError> {
        let count = graph.steps().len();
        let state = Mutex::new(Progress {
            chains: vec![None; count],
            keys: vec![None; count],
            begun: vec![false; count],
            failure: None,
        });
        let changed = Condvar::new();
        let work = Work::of_build(graph, resolved);
        let workers = self.engine.host.cores.clamp(1, count.max(1));
        std::thread::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(|| self.work(&work, &state, &changed));
            }
        });
        let state = state.into_inner().unwrap_or_else(PoisonError::into_inner);
        for (step, _) in state.begun.iter().enumerate().filter(|(_, begun)| !**begun) {
            self.finished(StepId(step), Outcome::Cancelled, Instant::now());
        }
        match state.failure {
            Some(failure) => Err(failure),
            None => Ok(Solved { chains: state.chains, keys: state.keys }),
        }
    }

    /// One worker: takes the first step that is ready until there is none left.
    fn work(&self, work: &Work<'_>, state: &Mutex<Progress>, changed: &Condvar) {
        loop {
            let mut now = lock(state);
            let (step, inputs) = loop {
                if now.failure.is_none() && self.cancel.is_cancelled() {
                    now.failure = Some(BuildError::cancelled());
                }
                if now.failure.is_some() || now.begun.iter().all(|begun| *begun) {
                    changed.notify_all();
                    return;
                }
                match next(work.graph, &now) {
                    Some((step, mut inputs)) => {
                        let sibling = work.graph.step(step).sibling;
                        inputs.sibling = sibling.and_then(|native| now.chains[native.0].clone());
                        break (step, inputs);
                    }
                    None => now = changed.wait(now).unwrap_or_else(PoisonError::into_inner),
                }
            };
            now.begun[step.0] = true;
            drop(now);
            let result = self.attempt(work, step, &inputs);
            let mut now = lock(state);
            match result {
                Ok(done) => {
                    now.chains[step.0] = Some(done.chain);
                    now.keys[step.0] = done.key;
                }
                Err(error) => {
                    // A stopped neighbour must not hide what stopped it.
                    let first =
                        now.failure.as_ref().is_none_or(|known| known.kind == ErrorKind::Cancelled);
                    if first {
                        now.failure = Some(error);
                    }
                    // What is not built ends this look-up, and nothing else.
                    if !self.look_up {
                        self.cancel.cancel();
                    }
                }
            }
            changed.notify_all();
        }
    }

    /// Looks a step up or runs it, and tells how it went.
    pub(crate) fn attempt(
        &self,
        work: &Work<'_>,
        id: StepId,
        inputs: &Inputs,
    ) -> Result<Done, BuildError> {
        let begun = Instant::now();
        let step = work.graph.step(id);
        // A panic in one step must not leave the others waiting for it for ever.
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            self.find_or_run(work, step, inputs)
        }));
        let result =
            outcome.unwrap_or_else(|_| Err(BuildError::failed("the step hit a bug in the engine")));
        match result {
            Ok(done) => {
                let Done { chain, cached, .. } = &done;
                let added = chain.layers.len() > inputs.parent.layers.len();
                let bytes =
                    chain.layers.last().filter(|_| added).map(|layer| layer.descriptor.size);
                self.finished(
                    id,
                    if *cached { Outcome::Cached } else { Outcome::Ran { bytes } },
                    begun,
                );
                Ok(done)
            }
            Err(mut error) => {
                error.step = Some(id);
                let error = error.at(step.info.origin.as_ref());
                let cancelled = error.kind == ErrorKind::Cancelled;
                self.finished(
                    id,
                    if cancelled { Outcome::Cancelled } else { Outcome::Failed },
                    begun,
                );
                Err(error)
            }
        }
    }

    fn finished(&self, step: StepId, outcome: Outcome, begun: Instant) {
        (self.on)(Event::Finished { step, outcome, elapsed: begun.elapsed() });
    }

    /// The result of a step, known or new.
    fn find_or_run(
        &self,
        work: &Work<'_>,
        step: &Step,
        inputs: &Inputs,
    ) -> Result<Done, BuildError> {
        let resolved = work.resolved;
        if let Op::Image(image) = &step.op {
            let (chain, cached) = self.pull(step.info.id, image)?;
            return Ok(Done { chain, cached, key: None });
        }
        let below = inputs.below(&step.op);
        let Keyed { parts, key, files, remote } = self.key_of(resolved, step, inputs)?;
        let done = |chain: Chain, cached| {
            Ok(Done { chain: inputs.place(&step.op, chain), cached, key: Some(key.clone()) })
        };
        let origins = |from| inputs.origin(resolved, from);
        // What is to be verified runs, whatever is known.
        let runs = matches!(step.op, Op::Exec(_) | Op::Debian(_));
        let verify = runs && self.engine.twins == Twins::Verify && self.is_foreign(&step.platform);
        let runs_anyway = verify || (step.fresh && !self.look_up);
        let find = || if runs_anyway { Ok(None) } else { cache::find(self.store(), &key) };
        if let Some(known) = find()? {
            return done(known, true);
        }
        if self.look_up {
            return Err(BuildError::new(ErrorKind::NotBuilt, "the step has not run yet"));
        }
        // Another process may be at the same step: wait for it, then look again.
        let _lock = self.lock(&format!("step-{}", key.hex()))?;
        if let Some(known) = find()? {
            return done(known, true);
        }
        self.check_cancelled()?;
        (self.on)(Event::Started { step: step.info.id });
        let natives = |tree: &Path| self.native_tree(work, step, inputs.sibling.clone(), tree);
        let run = |allowed: &Allowed, quiet: bool| {
            let how = How { natives: &natives, allowed, quiet };
            self.run_op(resolved, step, (below, &remote), &origins, &how)
        };
        let (chain, tally) = run(&Allowed::All, false)?;
        if verify {
            self.verify(below, (&chain, &tally), &|allowed| run(allowed, true))?;
        }
        if parts.input != input_digest(&step.op, &origins, &remote, &mut Files::new())? {
            // Its result would be kept under the key of other content.
            return Err(BuildError::failed(
                "files of the build context changed while they were copied",
            )
            .hint("run again".to_owned()));
        }
        if let Some(input) = &parts.input {
            cache::keep_files(self.store(), input, &files)?;
        }
        cache::keep(self.store(), &key, &Record { parts, result: chain.clone() })?;
        done(chain, false)
    }

    fn run_op(
        &self,
        resolved: &Resolved,
        step: &Step,
        (parent, remote): (&Chain, &[Remote]),
        origins: Origins<'_>,
        how: &How<'_>,
    ) -> Result<(Chain, Tally), BuildError> {
        let id = step.info.id;
        let mut output = |stream: Stream, bytes: &[u8]| {
            if !how.quiet {
                (self.on)(Event::Output { step: id, stream, bytes: bytes.to_vec() });
            }
        };
        let mut tally = Tally::default();
        let tree = self.mount(parent)?;
        let foreign = |root: &Path, environment: BTreeMap<String, String>| {
            let allowed = how.allowed.clone();
            let twins = (how.natives)(root)?.map(|tree| Natives { tree, environment, allowed });
            self.foreign_tree(resolved, &step.platform, Some(id), root, twins)
        };
        match &step.op {
            Op::Exec(op) => {
                let foreign = match self.is_foreign(&step.platform) {
                    true => foreign(tree.root(), self.step_environment(tree.root(), op)?)?,
                    false => None,
                };
                let mounts = self.prepare_mounts(op, origins)?;
                let exit = self.execute(tree.root(), op, &mounts, foreign.as_ref(), &mut output)?;
                mounts.close(self)?;
                if let Some(foreign) = &foreign {
                    tally = foreign.tally();
                }
                if !exit.success() {
                    let error = ended_badly(&format!("`{}`", shorten(&step.info.name)), exit);
                    return Err(error.hint(self.full_disk_hint()));
                }
            }
            Op::Copy(op) => {
                self.copy(tree.root(), op, &origins(op.from), remote)?;
            }
            Op::Mkdir { path, user } => self.make_directory(tree.root(), path, user)?,
            Op::Debian(op) => {
                let base = find_base(resolved, op)?;
                let foreign = |root: &Path| foreign(root, BTreeMap::new());
                tally = self.bootstrap(id, base, tree.root(), &foreign, &mut output)?;
            }
            Op::Image(_) => return Err(BuildError::failed("an image is pulled, not run")),
        }
        self.check_cancelled()?;
        Ok((self.commit(id, parent, tree)?, tally))
    }

    /// What to do where a process may have failed because the store has no room left.
    fn full_disk_hint(&self) -> Option<String> {
        /// Less than any program needs for a file of its own.
        const NONE: u64 = 1 << 20;
        let left = self.store().free_space().ok()?;
        (left < NONE).then(|| io_hint(&std::io::ErrorKind::StorageFull.into())).flatten()
    }
}

fn find_base<'a>(
    resolved: &'a Resolved,
    op: &crate::op::DebianOp,
) -> Result<&'a ResolvedBase, BuildError> {
    let found = resolved.bases.values().find(|base| base.op == *op);
    found.ok_or_else(|| BuildError::failed(format!("base `{}` was not resolved", op.name)))
}

/// The first step that has not begun and whose needs are all there.
fn next(graph: &BuildGraph, now: &Progress) -> Option<(StepId, Inputs)> {
    let ready = |step: &&Step| {
        !now.begun[step.info.id.0]
            && graph.needs(step.info.id).all(|need| now.chains[need.0].is_some())
    };
    let step = graph.steps().iter().find(ready)?;
    let chain = |id: StepId| now.chains[id.0].clone().unwrap_or_default();
    Some((step.info.id, Inputs::of(step, &chain)))
}

fn lock(state: &Mutex<Progress>) -> MutexGuard<'_, Progress> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
