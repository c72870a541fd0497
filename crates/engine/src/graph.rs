//! The build graph: steps that know their parents. Equal steps are one step, so tiers and members
//! share what they have in common.

use std::collections::HashMap;

use anyarch_oci::Platform;

use crate::event::{Origin, StepId, StepInfo};
use crate::op::{CopyFrom, Op};

/// One node: an operation on the tree that its parent leaves.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    /// What is done.
    pub op: Op,
    /// Whose tree it is done to; `None` is the empty tree.
    pub parent: Option<StepId>,
    /// What the tree is for.
    pub platform: Platform,
    /// For people.
    pub info: StepInfo,
    /// Whether it runs whatever the cache knows.
    pub fresh: bool,
    /// For a foreign platform: the step of a native member whose tree the twins may be taken from.
    pub sibling: Option<StepId>,
}

/// Steps in an order in which they can run: parents and inputs have lower numbers.
#[derive(Debug, Default)]
pub(crate) struct BuildGraph {
    steps: Vec<Step>,
    known: HashMap<(Op, Option<StepId>, Platform), StepId>,
    /// What was asked for since it was last taken, in order: new steps and known ones.
    asked: Vec<StepId>,
}

impl BuildGraph {
    /// Adds a step, or finds the equal one; `part` says for people what it belongs to.
    pub(crate) fn add(
        &mut self,
        op: Op,
        parent: Option<StepId>,
        platform: &Platform,
        name: String,
        part: &str,
        origin: Option<Origin>,
    ) -> StepId {
        let key = (op, parent, platform.clone());
        if let Some(&id) = self.known.get(&key) {
            let parts = &mut self.steps[id.0].info.parts;
            if !parts.iter().any(|known| known == part) {
                parts.push(part.to_owned());
            }
            self.asked.push(id);
            return id;
        }
        let id = StepId(self.steps.len());
        let info = StepInfo { id, name, parts: vec![part.to_owned()], origin };
        let (op, parent, platform) = key.clone();
        self.steps.push(Step { op, parent, platform, info, fresh: false, sibling: None });
        self.known.insert(key, id);
        self.asked.push(id);
        id
    }

    /// The steps that were added or found since this was last asked, in order.
    pub(crate) fn take_asked(&mut self) -> Vec<StepId> {
        std::mem::take(&mut self.asked)
    }

    /// Lets the steps from this number on run whatever the cache knows.
    pub(crate) fn set_fresh(&mut self, from: usize) {
        for step in self.steps.iter_mut().skip(from) {
            step.fresh = true;
        }
    }

    /// Names the step whose tree has the twins for these steps, unless they have one.
    pub(crate) fn set_sibling(&mut self, steps: impl Iterator<Item = StepId>, sibling: StepId) {
        for StepId(step) in steps {
            self.steps[step].sibling = self.steps[step].sibling.or(Some(sibling));
        }
    }

    /// All steps, parents first.
    pub(crate) fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// One step.
    pub(crate) fn step(&self, id: StepId) -> &Step {
        &self.steps[id.0]
    }

    /// The steps whose results a step needs.
    pub(crate) fn needs(&self, id: StepId) -> impl Iterator<Item = StepId> + '_ {
        let step = self.step(id);
        let inputs = step.op.takes_from().into_iter().filter_map(|from| match from {
            CopyFrom::Step(input) => input,
            CopyFrom::Context(_) => None,
        });
        step.parent.into_iter().chain(inputs)
    }
}
