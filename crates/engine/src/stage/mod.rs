//! Lowers the stages of one Dockerfile into steps and an image configuration.
//!
//! Pure: names are already resolved (`Bases`), no file is read. What the language allows but this
//! version does not run is an error that names the line.

mod reader;
mod state;

use std::collections::BTreeMap;
use std::path::Path;

use anyarch_dockerfile::{Dockerfile, Instruction, Kind};
use anyarch_oci::{History, ImageConfig, Platform};

use self::reader::Reader;
use self::state::{BuildArg, State};
use crate::engine::Fresh;
use crate::error::BuildError;
use crate::event::{Origin, StepId};
use crate::graph::BuildGraph;
use crate::named::Named;

/// The search path where an image sets none, as in every container tool.
pub(crate) const DEFAULT_PATH: &str =
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A tree and what its image would say about itself.
#[derive(Clone, Debug)]
pub(crate) struct Lowered {
    /// The step that leaves the tree; `None`: the empty tree.
    pub step: Option<StepId>,
    /// Configuration so far; layers and history are filled in when the steps have run.
    pub config: ImageConfig,
    /// How it came about, oldest first.
    pub history: Vec<HistoryItem>,
}

/// One entry of an image's history.
#[derive(Clone, Debug)]
pub(crate) enum HistoryItem {
    /// Taken over from an image that was pulled.
    Inherited(History),
    /// An instruction of ours, with the step it became; `None`: it only changed the configuration.
    Ours {
        /// The instruction.
        created_by: String,
        /// Its step.
        step: Option<StepId>,
    },
}

impl Lowered {
    /// The empty tree for a platform (`FROM scratch`).
    pub(crate) fn scratch(platform: &Platform) -> Lowered {
        let mut config = ImageConfig::new(platform);
        config.config.set_env("PATH", DEFAULT_PATH);
        config.config.working_dir = "/".to_owned();
        Lowered { step: None, config, history: Vec::new() }
    }
}

/// Finds what a `FROM` or `--from` names, when it is neither a stage nor `scratch`.
pub(crate) type Bases<'a> = &'a dyn Fn(&str, &Platform) -> Option<Lowered>;

/// One Dockerfile and all that decides how it is read.
pub(crate) struct Input<'a> {
    /// Its name, for messages.
    pub file: &'a str,
    /// Its content.
    pub dockerfile: &'a Dockerfile,
    /// Values for ARG.
    pub build_args: &'a BTreeMap<String, String>,
    /// Stage to build; the last where `None`.
    pub target: Option<&'a str>,
    /// What the image is for.
    pub platform: &'a Platform,
    /// What the machine is.
    pub build_platform: &'a Platform,
    /// Number of the build context.
    pub context: usize,
    /// What names mean besides stages and what is known outside, in lower case.
    pub named: &'a BTreeMap<String, Named>,
    /// The stages whose steps run whatever the cache knows.
    pub fresh: &'a Fresh,
    /// For people: what the steps belong to.
    pub part: &'a str,
}

/// A name that a Dockerfile takes from outside: an image, a base of the plan, another tier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OutsideName {
    /// The name after expansion.
    pub name: String,
    /// The platform wanted.
    pub platform: Platform,
    /// Where it is named.
    pub origin: Origin,
}

/// Everything that the needed stages take from outside, in order of appearance.
pub(crate) fn outside_names(input: &Input<'_>) -> Result<Vec<OutsideName>, BuildError> {
    let reader = Reader::new(input)?;
    let mut names = Vec::new();
    for at in reader.needed()? {
        let stage = &input.dockerfile.stages[at];
        let (base, platform) = reader.from(stage)?;
        if base != "scratch" && reader.is_outside(&base, at) {
            names.push(OutsideName {
                name: base,
                platform,
                origin: reader.origin(stage.span.lines.start()),
            });
        }
        for instruction in &stage.instructions {
            for from in takes_from(instruction) {
                if reader.is_outside(&from, at) {
                    let origin = reader.origin(instruction.span.lines.start());
                    let platform = input.platform.clone();
                    names.push(OutsideName { name: from, platform, origin });
                }
            }
        }
    }
    Ok(names)
}

/// Adds the steps of the target stage, and of the stages it needs, to the graph.
pub(crate) fn lower(
    graph: &mut BuildGraph,
    input: &Input<'_>,
    bases: Bases<'_>,
) -> Result<Lowered, BuildError> {
    let reader = Reader::new(input)?;
    let mut done: BTreeMap<usize, Lowered> = BTreeMap::new();
    // The arguments in scope at the end of a stage: those of the stages built on it.
    let mut scopes: BTreeMap<usize, Vec<BuildArg>> = BTreeMap::new();
    let mut last = None;
    for at in reader.needed()? {
        let stage = &input.dockerfile.stages[at];
        let (base, platform) = reader.from(stage)?;
        let origin = reader.origin(stage.span.lines.start());
        let below = reader.stage_before(&base, at);
        let found = match below {
            Some(earlier) => done.get(&earlier).cloned(),
            None if base == "scratch" => Some(Lowered::scratch(&platform)),
            None if matches!(reader.named(&base), Some(Named::Folder(_))) => {
                return Err(BuildError::input(format!(
                    "FROM names the context `{base}`, which is files and no image"
                ))
                .hint(format!("begin with scratch and copy them: COPY --from={base} . /"))
                .at(Some(&origin)));
            }
            None => bases(&base, &platform),
        };
        let tree = found.ok_or_else(|| unknown_name(&base).at(Some(&origin)))?;
        let args = below.and_then(|below| scopes.get(&below)).cloned().unwrap_or_default();
        let begin = graph.steps().len();
        let mut state = State::new(graph, &reader, tree, platform, at, args);
        for text in std::mem::take(&mut state.tree.config.config.on_build) {
            let trigger = trigger(&base, &text).map_err(|error| error.at(Some(&origin)))?;
            state
                .apply(&trigger, &origin, &done, bases)
                .map_err(|error| error.in_context(format!("ONBUILD {text}")).at(Some(&origin)))?;
        }
        for instruction in &stage.instructions {
            let origin = reader.origin(instruction.span.lines.start());
            state
                .apply(instruction, &origin, &done, bases)
                .map_err(|error| error.at(Some(&origin)))?;
        }
        scopes.insert(at, state.args);
        let lowered = state.tree;
        if input.fresh.has(stage.name.as_deref()) {
            graph.set_fresh(begin);
        }
        done.insert(at, lowered.clone());
        last = Some(lowered);
    }
    let mut last = last.ok_or_else(|| BuildError::input(format!("{} has no stage", input.file)))?;
    set_platform(&mut last.config, input.platform);
    Ok(last)
}

/// Reads an ONBUILD trigger of an image.
fn trigger(base: &str, text: &str) -> Result<Instruction, BuildError> {
    let (instruction, diagnostics) = anyarch_dockerfile::parse_trigger(text);
    instruction.ok_or_else(|| {
        let error =
            BuildError::input(format!("the ONBUILD trigger `{text}` of {base} is not valid"));
        match diagnostics.into_iter().find(|diagnostic| diagnostic.is_error()) {
            Some(diagnostic) => error.because(diagnostic.message),
            None => error,
        }
    })
}

/// The image is for the platform that was asked for, whatever machine its last stage is from.
fn set_platform(config: &mut ImageConfig, platform: &Platform) {
    let same = config.os == platform.os && config.architecture == platform.architecture;
    config.os.clone_from(&platform.os);
    config.architecture.clone_from(&platform.architecture);
    if platform.variant.is_some() || !same {
        config.variant.clone_from(&platform.variant);
    }
}

fn unknown_name(name: &str) -> BuildError {
    BuildError::input(format!("nothing is known under the name `{name}`"))
        .hint("name a stage above, a [base] of the plan, or an image reference".to_owned())
}

/// The values of `--from` and of `from=` in mounts. Variables are not allowed in them, as in BuildKit.
fn takes_from(instruction: &Instruction) -> Vec<String> {
    match &instruction.kind {
        Kind::Copy(copy) => copy.from.iter().map(|from| from.as_str().to_owned()).collect(),
        // A mount that is not valid is found out when its instruction is applied.
        Kind::Run(run) => run.mounts.iter().filter_map(anyarch_dockerfile::Mount::from).collect(),
        _ => Vec::new(),
    }
}

/// Joins a path to a working directory and removes `.`, `..` and doubled slashes.
pub(crate) fn absolute(base: &str, path: &str) -> String {
    let joined = Path::new(if base.is_empty() { "/" } else { base }).join(path);
    let mut parts: Vec<&str> = Vec::new();
    for part in joined.to_str().unwrap_or("/").split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests;
