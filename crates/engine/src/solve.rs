//! Runs the graph: every step whose inputs are known is looked up in the cache or run, several at
//! once, and leaves a chain of layers.
//!
//! The layer of a step is written right after the step, not at the end, because the keys of the
//! steps above hold its diff ID: that is what lets an identical result cut the rebuilding off.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use anyarch_dockerfile::IgnoreFile;
use anyarch_oci::Digest;

use crate::base::ResolvedBase;
use crate::cache::{self, KeyParts, Record};
use crate::chain::Chain;
use crate::context::Files;
use crate::engine::Session;
use crate::error::{BuildError, Context, ErrorKind, io_hint};
use crate::event::{Event, Outcome, StepId, Stream, Unit};
use crate::exec::{ended_badly, shorten};
use crate::file::{Origin, exclude_of};
use crate::foreign::{NativeTree, Natives, Twins};
use crate::graph::{BuildGraph, Step};
use crate::op::{CopyFrom, ImageOp, Op};
use crate::remote::Remote;
use crate::resolve::Resolved;
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

/// How one step went.
struct Done {
    chain: Chain,
    cached: bool,
    key: Option<Digest>,
}

/// What a step works on.
#[derive(Default)]
pub(crate) struct Inputs {
    pub(crate) parent: Chain,
    /// The trees that it copies or mounts from, by step.
    pub(crate) trees: BTreeMap<StepId, Chain>,
    /// Where twins of its programs may be taken from.
    pub(crate) sibling: Option<Chain>,
    /// What it works on where that is the empty tree.
    nothing: Chain,
}

impl Inputs {
    /// The trees that a step needs, once all of them are there.
    pub(crate) fn of(step: &Step, chain: &dyn Fn(StepId) -> Chain) -> Inputs {
        let trees = step.op.takes_from().into_iter().filter_map(|from| match from {
            CopyFrom::Step(from) => from.map(|from| (from, chain(from))),
            CopyFrom::Context(_) => None,
        });
        Inputs {
            parent: step.parent.map(chain).unwrap_or_default(),
            trees: trees.collect(),
            ..Inputs::default()
        }
    }

    fn origin<'a>(&'a self, resolved: &'a Resolved, from: CopyFrom) -> Origin<'a> {
        match from {
            CopyFrom::Context(number) => Origin::Context(&resolved.contexts[number]),
            CopyFrom::Step(step) => {
                let tree = step.and_then(|step| self.trees.get(&step));
                Origin::Tree(tree.unwrap_or(&self.nothing))
            }
        }
    }

    /// What the step is done to: a linked copy is made on nothing, and its layer laid on whatever is
    /// below.
    fn below(&self, op: &Op) -> &Chain {
        if is_linked(op) { &self.nothing } else { &self.parent }
    }

    /// The tree that a step leaves, from the result that is kept of it.
    pub(crate) fn place(&self, op: &Op, result: Chain) -> Chain {
        if is_linked(op) { self.parent.on_top(&result) } else { result }
    }
}

fn is_linked(op: &Op) -> bool {
    matches!(op, Op::Copy(copy) if copy.link)
}

/// What decides the result of a step.
pub(crate) struct Keyed {
    pub(crate) parts: KeyParts,
    pub(crate) key: Digest,
    /// The files that it takes in.
    pub(crate) files: Files,
    /// Those of the network.
    remote: Vec<Remote>,
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
        let workers = self.engine.host.cores.clamp(1, count.max(1));
        std::thread::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(|| self.work(graph, resolved, &state, &changed));
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
    fn work(
        &self,
        graph: &BuildGraph,
        resolved: &Resolved,
        state: &Mutex<Progress>,
        changed: &Condvar,
    ) {
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
                match next(graph, &now) {
                    Some((step, inputs)) => {
                        let sibling = graph.step(step).sibling;
                        let sibling = sibling.and_then(|native| now.chains[native.0].clone());
                        break (step, Inputs { sibling, ..inputs });
                    }
                    None => now = changed.wait(now).unwrap_or_else(PoisonError::into_inner),
                }
            };
            now.begun[step.0] = true;
            drop(now);
            let result = self.attempt(graph, resolved, step, &inputs);
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
    fn attempt(
        &self,
        graph: &BuildGraph,
        resolved: &Resolved,
        id: StepId,
        inputs: &Inputs,
    ) -> Result<Done, BuildError> {
        let begun = Instant::now();
        let step = graph.step(id);
        // A panic in one step must not leave the others waiting for it for ever.
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            self.find_or_run(graph, resolved, step, inputs)
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
        graph: &BuildGraph,
        resolved: &Resolved,
        step: &Step,
        inputs: &Inputs,
    ) -> Result<Done, BuildError> {
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
        let natives =
            |tree: &Path| self.native_tree(graph, resolved, step, inputs.sibling.clone(), tree);
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

    /// What decides the result of a step that is no pull. Files of the network are fetched for it.
    pub(crate) fn key_of(
        &self,
        resolved: &Resolved,
        step: &Step,
        inputs: &Inputs,
    ) -> Result<Keyed, BuildError> {
        let remote = match &step.op {
            Op::Copy(copy) => self.fetch_remote(copy)?,
            _ => Vec::new(),
        };
        let mut files = Files::new();
        let origins = |from| inputs.origin(resolved, from);
        let input = input_digest(&step.op, &origins, &remote, &mut files)?;
        let below = inputs.below(&step.op);
        let parts = KeyParts::new(&step.op, input, &step.platform, below, self.layout())?;
        Ok(Keyed { key: parts.key()?, parts, files, remote })
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

    /// Brings the layers of an image into the store.
    pub(crate) fn pull(&self, step: StepId, image: &ImageOp) -> Result<(Chain, bool), BuildError> {
        let mut chain = Chain::default();
        let mut known = true;
        for layer in &image.layers {
            self.check_cancelled()?;
            let descriptor = &layer.descriptor;
            let here = self.store().blob_size(&descriptor.digest) == Some(descriptor.size);
            if !here && !self.look_up {
                if known {
                    (self.on)(Event::Started { step });
                }
                known = false;
                self.pull_blob(step, image, descriptor)?;
            }
            chain = chain.with(descriptor.clone(), layer.diff_id.clone());
        }
        Ok((chain, known))
    }

    fn pull_blob(
        &self,
        step: StepId,
        image: &ImageOp,
        blob: &anyarch_oci::Descriptor,
    ) -> Result<(), BuildError> {
        use std::io::{Read, Write};
        let what = || format!("failed to pull layer {} of {}", blob.digest, image.reference);
        let reference = image.reference.parse().map_err(|error: anyarch_oci::ReferenceError| {
            BuildError::input(what()).because(error)
        })?;
        let open = |offset| self.engine.images.blob(&reference, blob, offset).context(what);
        let mut body = open(0)?;
        let mut ingest = self.store().ingest_with(blob.digest.algorithm()).context(what)?;
        let mut buffer = vec![0; 1 << 17];
        // Where the connection broke last: one that brings nothing new is not worth another.
        let mut broke_at = None;
        loop {
            self.check_cancelled()?;
            let count = match body.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(_) if broke_at != Some(ingest.size()) => {
                    broke_at = Some(ingest.size());
                    body = open(ingest.size())?;
                    continue;
                }
                Err(error) => return Err(error).context(what),
            };
            if ingest.size() + count as u64 > blob.size {
                return Err(BuildError::failed(what())
                    .because(format!("more than the {} bytes promised came", blob.size)));
            }
            ingest.write_all(&buffer[..count]).context(what)?;
            (self.on)(Event::Progress {
                step: Some(step),
                what: format!("pull {}", blob.digest.short()),
                done: ingest.size(),
                total: Some(blob.size),
                unit: Unit::Bytes,
            });
        }
        ingest.commit(Some(&blob.digest)).context(what)?;
        Ok(())
    }
}

/// Finds where files are taken from.
pub(crate) type Origins<'a> = &'a dyn Fn(CopyFrom) -> Origin<'a>;

/// Digest of what a step takes in besides its parent; `None` where it takes nothing.
fn input_digest(
    op: &Op,
    origins: Origins<'_>,
    remote: &[Remote],
    files: &mut Files,
) -> Result<Option<String>, BuildError> {
    match op {
        Op::Copy(copy) => {
            let exclude = exclude_of(copy)?;
            let mut all = origins(copy.from).digest(&copy.local(), &exclude, files)?;
            for (source, brought) in copy.remote().zip(remote) {
                let identity = brought.identity();
                all.push_str(&format!("\n{identity}"));
                files.insert(source.to_owned(), identity);
            }
            Ok(Some(all))
        }
        Op::Exec(exec) if !op.takes_from().is_empty() => {
            let mut all = String::new();
            for mount in &exec.mounts {
                if let Some((from, source)) = mount.source() {
                    let none = IgnoreFile::default();
                    let digest = origins(from).digest(&[&source], &none, files)?;
                    all.push_str(&format!("{digest}\n"));
                }
            }
            Ok(Some(Digest::sha256(all.as_bytes()).to_string()))
        }
        _ => Ok(None),
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
