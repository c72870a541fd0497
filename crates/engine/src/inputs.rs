//! What a step depends on: the trees and files that it takes in, and the key made of them.

use std::collections::BTreeMap;

use anyarch_dockerfile::IgnoreFile;
use anyarch_oci::Digest;

use crate::cache::KeyParts;
use crate::chain::Chain;
use crate::context::Files;
use crate::engine::Session;
use crate::error::BuildError;
use crate::event::StepId;
use crate::file::{Origin, exclude_of};
use crate::graph::Step;
use crate::op::{CopyFrom, Op};
use crate::remote::Remote;
use crate::resolve::Resolved;

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

    pub(crate) fn origin<'a>(&'a self, resolved: &'a Resolved, from: CopyFrom) -> Origin<'a> {
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
    pub(crate) fn below(&self, op: &Op) -> &Chain {
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
    pub(crate) remote: Vec<Remote>,
}

impl Session<'_> {
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
}

/// Finds where files are taken from.
pub(crate) type Origins<'a> = &'a dyn Fn(CopyFrom) -> Origin<'a>;

/// Digest of what a step takes in besides its parent; `None` where it takes nothing.
pub(crate) fn input_digest(
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
