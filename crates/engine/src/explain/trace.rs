//! What the last build of each tier was made of: the texts of its steps and their keys, one JSON file
//! a tier, `cache/traces/HEX`.

use std::path::{Path, PathBuf};

use anyarch_oci::Digest;
use serde::{Deserialize, Serialize};

use super::align::align;
use super::reason::Reason;
use crate::cache::{self, Record};
use crate::engine::Session;
use crate::error::{BuildError, Context};
use crate::graph::{BuildGraph, Step};
use crate::op::Op;
use crate::resolve::{Resolved, ResolvedTier};
use crate::solve::Solved;

/// A step of a build that ended well.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Traced {
    /// Its text.
    name: String,
    /// What it was.
    what: What,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum What {
    /// A step with this key.
    Step(Digest),
    /// An image with this manifest.
    Image(Digest),
}

/// What a step was in the last build.
#[derive(Clone, Debug)]
pub(super) enum Past {
    /// There was no build.
    NoBuild,
    /// There was no such step.
    New,
    /// An image.
    Image(Digest),
    /// A step, and what is still known of it.
    Step(String, Option<Box<Record>>),
}

impl Past {
    /// Why the layers of an image are not there.
    pub(super) fn of_image(&self, manifest: &Digest) -> Vec<Reason> {
        match self {
            Past::Image(was) if was != manifest => {
                vec![Reason::Image { was: was.clone(), now: manifest.clone() }]
            }
            Past::NoBuild => vec![Reason::NeverBuilt],
            _ => vec![Reason::NotPulled],
        }
    }
}

/// The steps of a tier, in the order of the graph.
fn steps_of<'a>(graph: &'a BuildGraph, tier: &'a ResolvedTier) -> impl Iterator<Item = &'a Step> {
    graph.steps().iter().filter(|step| step.info.parts.contains(&tier.part))
}

impl Session<'_> {
    fn trace_path(&self, directory: &Path, tier: &ResolvedTier) -> Result<PathBuf, BuildError> {
        let folder = directory
            .canonicalize()
            .context(|| format!("failed to find the folder {}", directory.display()))?;
        let identity = format!("{}\0{}\0{}", folder.display(), tier.part, tier.file);
        let name = Digest::sha256(identity.as_bytes());
        Ok(self.store().root().join("cache/traces").join(name.hex()))
    }

    /// Notes for every tier what this build was made of.
    pub(crate) fn keep_traces(
        &self,
        directory: &Path,
        graph: &BuildGraph,
        resolved: &Resolved,
        solved: &Solved,
    ) -> Result<(), BuildError> {
        for tier in &resolved.tiers {
            let traced = steps_of(graph, tier).filter_map(|step| {
                let what = match &step.op {
                    Op::Image(image) => What::Image(image.manifest.clone()),
                    _ => What::Step(solved.key(step.info.id)?.clone()),
                };
                Some(Traced { name: step.info.name.clone(), what })
            });
            let traced: Vec<Traced> = traced.collect();
            let path = self.trace_path(directory, tier)?;
            let known: Option<Vec<Traced>> = cache::read(self.store(), &path)?;
            if known.as_ref() != Some(&traced) {
                let what = || "failed to write the build cache".to_owned();
                self.store().write_json(&path, &traced).context(what)?;
            }
        }
        Ok(())
    }

    /// For every step what it was in the last build of one of its tiers.
    pub(super) fn past(
        &self,
        directory: &Path,
        graph: &BuildGraph,
        resolved: &Resolved,
    ) -> Result<Vec<Past>, BuildError> {
        let mut past = vec![Past::NoBuild; graph.steps().len()];
        for tier in &resolved.tiers {
            let path = self.trace_path(directory, tier)?;
            let Some(traced): Option<Vec<Traced>> = cache::read(self.store(), &path)? else {
                continue;
            };
            let steps: Vec<&Step> = steps_of(graph, tier).collect();
            let old: Vec<&str> = traced.iter().map(|traced| traced.name.as_str()).collect();
            let new: Vec<&str> = steps.iter().map(|step| step.info.name.as_str()).collect();
            for (step, was) in steps.iter().zip(align(&old, &new)) {
                let entry = &mut past[step.info.id.0];
                // A step that several tiers share is explained by the first that knows it.
                if matches!(entry, Past::NoBuild | Past::New) {
                    *entry = match was {
                        Some(was) => self.remember(&traced[was])?,
                        None => Past::New,
                    };
                }
            }
        }
        Ok(past)
    }

    fn remember(&self, traced: &Traced) -> Result<Past, BuildError> {
        Ok(match &traced.what {
            What::Image(manifest) => Past::Image(manifest.clone()),
            What::Step(key) => {
                let record = cache::record(self.store(), key)?;
                Past::Step(traced.name.clone(), record.map(Box::new))
            }
        })
    }
}
