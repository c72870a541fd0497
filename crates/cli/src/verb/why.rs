//! `anyarch why`: says what a build would run, and for which reason.

use anyarch_engine::{BuildRequest, ExplainedStep, Reason, explain};
use anyarch_plan::target;
use serde::Serialize;

use crate::args::TargetArgs;
use crate::failure::Failure;
use crate::global::Global;
use crate::workshop::Workshop;
use crate::{files, output, text};

/// Say which steps have to run, and why
///
/// Looks up every step of the targets in the build cache and compares those that are not there with
/// the last build: which file, argument, instruction, package or image changed. Nothing is built.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    targets: TargetArgs,
    /// Give every step with its reasons as JSON
    #[arg(long)]
    json: bool,
}

/// A step as `why --json` gives it.
#[derive(Serialize)]
struct StepView<'a> {
    /// Whether its result is in the cache.
    cached: bool,
    #[serde(flatten)]
    step: &'a ExplainedStep,
    /// The reasons as sentences.
    because: Vec<String>,
}

/// Carries it out.
pub(crate) fn run(args: &Args, global: &Global) -> Result<(), Failure> {
    let plan = &files::load_plan(global)?;
    let selections = target::select(plan, &args.targets.targets, args.targets.arch.as_deref())?;
    let directory = &global.plan_directory();
    let mut workshop = Workshop::open_to_look(global)?;
    let steps = workshop.find_out(|engine, lock, on, cancel| {
        let request = BuildRequest { plan, directory, selections: &selections, lock };
        explain(engine, request, on, cancel)
    })?;
    if args.json {
        let views: Vec<StepView<'_>> = steps
            .iter()
            .map(|step| StepView {
                cached: step.reasons.is_empty(),
                step,
                because: step.reasons.iter().map(Reason::to_string).collect(),
            })
            .collect();
        return output::print_json(&views);
    }
    output::print(&shown(&steps))
}

/// The steps that have to run, by what they are part of.
fn shown(steps: &[ExplainedStep]) -> String {
    let mut parts: Vec<&[String]> = Vec::new();
    for step in steps {
        if !parts.contains(&step.step.parts.as_slice()) {
            parts.push(&step.step.parts);
        }
    }
    let mut shown = String::new();
    for part in parts {
        let own = || steps.iter().filter(|step| step.step.parts == part);
        let to_run: Vec<&ExplainedStep> = own().filter(|step| !step.reasons.is_empty()).collect();
        let title = text::listing(part);
        if to_run.is_empty() {
            shown.push_str(&format!("{title}: nothing has to run\n"));
            continue;
        }
        let verb = if to_run.len() == 1 { "has" } else { "have" };
        let all = text::count(own().count(), "step");
        shown.push_str(&format!("{title}: {} of {all} {verb} to run\n", to_run.len()));
        for ExplainedStep { step, reasons } in to_run {
            let name = console::truncate_str(&step.name, 88, "…");
            let place = step.origin.as_ref().map(|at| format!("{}:{} ", at.file, at.line));
            shown.push_str(&format!("  {}{name}\n", place.unwrap_or_default()));
            for reason in reasons {
                shown.push_str(&format!("      {reason}\n"));
            }
        }
    }
    shown
}
