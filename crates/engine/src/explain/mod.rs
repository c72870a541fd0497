//! Why steps have to run: every step is looked up in the cache, and what is missing there is compared
//! with the last build of the same tier.

mod align;
mod compare;
mod reason;
mod trace;

use anyarch_sandbox::Cancel;

pub use self::reason::{ExplainedStep, Reason};

use self::compare::Now;
use self::trace::Past;
use crate::build::{BuildRequest, graph};
use crate::cache;
use crate::chain::Chain;
use crate::engine::{Engine, Session};
use crate::error::BuildError;
use crate::event::{OnEvent, StepId};
use crate::graph::{BuildGraph, Step};
use crate::inputs::{Inputs, Keyed};
use crate::op::Op;
use crate::resolve::Resolved;

/// Tells for every step of the selected tiers, and of what they need, whether it would run and why.
/// Nothing is built; files of the network that an `ADD` names are fetched, because what they hold
/// decides.
///
/// # Errors
/// Whatever would end a build before its first step, and files that are missing.
pub fn explain(
    engine: &Engine,
    request: BuildRequest<'_>,
    on: OnEvent<'_>,
    cancel: &Cancel,
) -> Result<Vec<ExplainedStep>, BuildError> {
    let BuildRequest { plan, directory, selections, lock } = request;
    let session = Session::new(engine, plan.project.source_date_epoch, on, cancel);
    let resolved = session.resolve(plan, directory, selections, lock)?;
    let (graph, _) = graph(&resolved, &engine.platform())?;
    let past = session.past(directory, &graph, &resolved)?;
    let session = session.looking_up();
    Explainer { session: &session, resolved: &resolved, graph: &graph, past }.steps()
}

struct Explainer<'a> {
    session: &'a Session<'a>,
    resolved: &'a Resolved,
    graph: &'a BuildGraph,
    /// For each step the one that it was in the last build.
    past: Vec<Past>,
}

impl Explainer<'_> {
    fn steps(&self) -> Result<Vec<ExplainedStep>, BuildError> {
        // The trees that are known without running anything.
        let mut chains: Vec<Option<Chain>> = Vec::new();
        let mut explained = Vec::new();
        for step in self.graph.steps() {
            self.session.check_cancelled()?;
            let (chain, reasons) = self
                .step(step, &chains)
                .map_err(|error: BuildError| error.at(step.info.origin.as_ref()))?;
            chains.push(chain);
            explained.push(ExplainedStep { step: step.info.clone(), reasons });
        }
        Ok(explained)
    }

    /// The tree that a step leaves, if it is known, and why the step has to run.
    fn step(
        &self,
        step: &Step,
        chains: &[Option<Chain>],
    ) -> Result<(Option<Chain>, Vec<Reason>), BuildError> {
        let past = &self.past[step.info.id.0];
        if let Op::Image(image) = &step.op {
            let (chain, here) = self.session.pull(step.info.id, image)?;
            let reasons = if here { Vec::new() } else { past.of_image(&image.manifest) };
            return Ok((Some(chain), reasons));
        }
        let unknown = self.graph.needs(step.info.id).find(|need| chains[need.0].is_none());
        let inputs = Inputs::of(step, &|id: StepId| chains[id.0].clone().unwrap_or_default());
        let keyed = self.session.key_of(self.resolved, step, &inputs)?;
        let known = cache::find(self.session.store(), &keyed.key)?;
        if let (None, Some(chain)) = (unknown, known) {
            return Ok((Some(inputs.place(&step.op, chain)), Vec::new()));
        }
        let mut reasons = self.reasons(step, past, &keyed, chains)?;
        match unknown {
            Some(_) if reasons == [Reason::NeverBuilt] => {}
            Some(need) => {
                reasons.push(Reason::Below { step: self.graph.step(need).info.name.clone() });
            }
            None if reasons.is_empty() => reasons.push(Reason::Gone),
            None => {}
        }
        Ok((None, reasons))
    }

    /// What is other than it was in the last build.
    fn reasons(
        &self,
        step: &Step,
        past: &Past,
        keyed: &Keyed,
        chains: &[Option<Chain>],
    ) -> Result<Vec<Reason>, BuildError> {
        let (name, record) = match past {
            Past::NoBuild => return Ok(vec![Reason::NeverBuilt]),
            Past::New | Past::Image(_) => return Ok(vec![Reason::NewInstruction]),
            Past::Step(name, record) => (name, record),
        };
        let Some(record) = record else { return Ok(vec![Reason::Gone]) };
        let files = match &record.parts.input {
            Some(input) => cache::files(self.session.store(), input)?,
            None => None,
        };
        let known = |needed: Option<StepId>| needed.is_none_or(|id| chains[id.0].is_some());
        let now = Now {
            name: &step.info.name,
            parts: &keyed.parts,
            files: &keyed.files,
            knows_parent: known(step.parent),
            knows_input: self.graph.needs(step.info.id).all(|need| known(Some(need))),
        };
        Ok(compare::reasons(name, &record.parts, files.as_ref(), &now))
    }
}
