//! `anyarch check`: finds mistakes in the plan and in the Dockerfiles that it names.

use std::ops::Range;
use std::path::{Path, PathBuf};

use anyarch_dockerfile::checks::Checked;
use anyarch_dockerfile::{Dockerfile, Kind};
use anyarch_plan::{Plan, Tier};
use clap::ValueEnum;

use crate::checks::{self, CheckedTier, Subject};
use crate::diagnostic::{Finding, Severity};
use crate::failure::Failure;
use crate::findings::Findings;
use crate::global::Global;
use crate::{files, output};

/// Find mistakes in the plan and in the Dockerfiles that it names
///
/// Dockerfiles get the build checks of BuildKit under the same names, and a few more (docs/checks.md
/// lists them). Shows every finding with its source line. Ends with 2 where one of them is an error.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Plans (*.toml) and Dockerfiles to check; without any, the plan of this folder
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Take warnings for errors, as `# check=error=true` in a Dockerfile does
    #[arg(long)]
    error: bool,
    /// How the findings are given
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    format: Format,
    /// The same as --format json
    #[arg(long, conflicts_with = "format")]
    json: bool,
}

/// How findings are given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// With their source lines, on standard error.
    #[default]
    Human,
    /// One JSON object on standard output.
    Json,
    /// Annotations of GitHub's workflows, on standard output.
    Github,
}

/// Carries it out.
pub(crate) fn run(args: &Args, global: &Global) -> Result<(), Failure> {
    let mut findings = Findings::default();
    if args.files.is_empty() {
        plan(global, &mut findings)?;
    }
    for path in &args.files {
        if path.extension().is_some_and(|extension| extension == "toml") {
            let global = Global { plan: path.clone(), ..global.clone() };
            plan(&global, &mut findings)?;
        } else {
            dockerfile(path, &mut findings)?;
        }
    }
    if args.error {
        findings.promote();
    }
    let format = if args.json { Format::Json } else { args.format };
    conclude(&findings, format, global)
}

/// Gives the findings, and ends with an error where one of them is one.
pub(crate) fn conclude(
    findings: &Findings,
    format: Format,
    global: &Global,
) -> Result<(), Failure> {
    match format {
        Format::Human => {
            findings.say();
            if !global.quiet {
                output::say(&format!("{}\n", findings.summary()));
            }
        }
        Format::Json => output::print_json(&findings.json())?,
        Format::Github => {
            let workspace = std::env::var_os("GITHUB_WORKSPACE").map(PathBuf::from);
            output::print(&findings.github(workspace.as_deref()))?;
        }
    }
    match findings.counts() {
        (0, _) => Ok(()),
        _ => Err(Failure::Findings),
    }
}

/// Checks one Dockerfile, taken to be in its build context.
fn dockerfile(path: &Path, findings: &mut Findings) -> Result<(), Failure> {
    let source = files::read(path)?;
    let context = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let (ignore, bad_ignore_file) = checks::ignore_file(path, context);
    let subject = Subject {
        source: &source,
        ignore: ignore.as_ref(),
        context: Some(context),
        build_args: Default::default(),
        is_planned: false,
    };
    let checked = subject.check(&|_| None)?;
    findings.merge(source, checked.findings.into_iter().map(Finding::from).collect());
    if let Some((source, finding)) = bad_ignore_file {
        findings.merge(source, vec![finding]);
    }
    Ok(())
}

/// Checks a plan and the files that it names.
fn plan(global: &Global, findings: &mut Findings) -> Result<(), Failure> {
    let source = files::read_plan(global)?;
    let (plan, mut found) = files::check_plan(&source.text);
    let Some(plan) = plan else {
        findings.add(source, found);
        return Ok(());
    };
    let mut named = Findings::default();
    for checked in checks::tiers(global, &plan)? {
        for finding in tier(global, &plan, checked, &mut named) {
            if !found.contains(&finding) {
                found.push(finding);
            }
        }
    }
    found.extend(unused_dockerfiles(global, &plan));
    findings.add(source, found);
    findings.append(named);
    Ok(())
}

/// Adds the files of one tier; what is wrong with their names belongs to the plan.
fn tier(
    global: &Global,
    plan: &Plan,
    checked: CheckedTier,
    findings: &mut Findings,
) -> Vec<Finding> {
    let mut found = Vec::new();
    let selection = &checked.selection;
    let Some(tier) =
        plan.members.get(selection.member).and_then(|member| member.tiers.get(selection.tier))
    else {
        return found;
    };
    let context = tier.context.as_deref().unwrap_or(&plan.project.context);
    let folder = files::beside_plan(global, context);
    if !folder.is_dir() {
        found.push(error(
            "missing-context",
            &tier.span,
            format!("the build context `{context}` of tier `{}` is not a folder", tier.name),
        ));
    } else {
        ignore_files(&folder, checked.bad_ignore_file, findings);
    }
    let path = files::beside_plan(global, &tier.dockerfile);
    if !path.is_file() {
        let missing = format!("there is no Dockerfile `{}`", tier.dockerfile);
        let hint = "paths are relative to the folder of the plan".to_owned();
        let finding = error("missing-dockerfile", &tier.dockerfile_span, missing);
        found.push(Finding { hint: Some(hint), ..finding });
        return found;
    }
    match checked.dockerfile {
        Ok((source, checked)) => {
            found.extend(unknown_stage(tier, &checked.file));
            let loose = if selection.tier > 0 { not_chained(&checked) } else { None };
            let of_file = checked.findings.into_iter().map(Finding::from).chain(loose);
            findings.merge(source, of_file.collect());
        }
        Err(Failure::Error(report)) => {
            found.push(error("unreadable-dockerfile", &tier.dockerfile_span, report.message));
        }
        Err(_) => {}
    }
    found
}

/// Counts the ignore file of a context as read, and adds what is wrong with one.
fn ignore_files(
    folder: &Path,
    bad: Option<(crate::diagnostic::Source, Finding)>,
    findings: &mut Findings,
) {
    if let Some((source, finding)) = bad {
        findings.merge(source, vec![finding]);
        return;
    }
    let path = folder.join(".dockerignore");
    let path = path.strip_prefix(".").unwrap_or(&path);
    if path.is_file()
        && let Ok(source) = files::read(path)
    {
        findings.merge(source, Vec::new());
    }
}

/// A tier that names a stage which its Dockerfile does not have.
fn unknown_stage(tier: &Tier, parsed: &Dockerfile) -> Option<Finding> {
    let wanted = tier.target.as_ref()?;
    let number = wanted.parse::<usize>().ok().filter(|number| *number < parsed.stages.len());
    let names: Vec<&str> = parsed.stages.iter().filter_map(|stage| stage.name.as_deref()).collect();
    if number.is_some() || names.iter().any(|name| name.eq_ignore_ascii_case(wanted)) {
        return None;
    }
    let message = format!("{} has no stage `{wanted}`", tier.dockerfile);
    let hint = match names.as_slice() {
        [] => "its stages have no names: add `AS NAME` to a FROM line".to_owned(),
        names => format!("its stages: {}", names.join(", ")),
    };
    Some(Finding { hint: Some(hint), ..error("unknown-stage", &tier.span, message) })
}

/// A tier above the first whose Dockerfile never asks for the image below it.
fn not_chained(checked: &Checked) -> Option<Finding> {
    const RULE: &str = "tier-not-chained";
    let asks = checked.file.meta_args.iter().any(|instruction| {
        matches!(&instruction.kind, Kind::Arg(args)
            if args.iter().any(|arg| arg.name == "BASE_IMAGE"))
    });
    let wanted = !asks && checked.options.wants(RULE);
    let first = checked.file.stages.first().filter(|_| wanted)?;
    Some(Finding {
        severity: if checked.options.error { Severity::Error } else { Severity::Warning },
        code: RULE.to_owned(),
        message: "the tier below is not used: this Dockerfile has no `ARG BASE_IMAGE`".to_owned(),
        span: first.base_span.clone(),
        label: "not built from the tier below".to_owned(),
        hint: Some("put `ARG BASE_IMAGE` before `FROM ${BASE_IMAGE}`".to_owned()),
    })
}

/// Dockerfiles for an architecture of the plan, by a part of their path, that no tier names: what is
/// built with them elsewhere is not what the plan builds.
fn unused_dockerfiles(global: &Global, plan: &Plan) -> Vec<Finding> {
    let tiers = || plan.members.iter().flat_map(|member| &member.tiers);
    let is_used = |path: &str| {
        tiers()
            .any(|tier| Path::new(&tier.dockerfile).components().eq(Path::new(path).components()))
    };
    let folder = global.plan_directory();
    let mut all = Vec::new();
    // What cannot be searched is no Dockerfile of ours.
    if super::init::search(&folder, &folder, &mut all).is_err() {
        return Vec::new();
    }
    all.sort();
    let unused = all.iter().map(|(path, _)| path.as_str()).filter(|path| !is_used(path));
    unused
        .filter_map(|path| {
            let parts = || path.split(['/', '.', '-', '_']);
            let member =
                plan.members.iter().find(|member| parts().any(|part| part == member.arch()))?;
            let taken: Vec<&str> =
                member.tiers.iter().map(|tier| tier.dockerfile.as_str()).collect();
            Some(Finding {
                severity: Severity::Warning,
                code: "unused-dockerfile".to_owned(),
                message: format!("no tier names `{path}`, which looks like one of {member}"),
                span: member.span.clone(),
                label: format!("takes {}", taken.join(", ")),
                hint: Some(
                    "name it in `on.\"…\".tier`, or remove it: two recipes drift apart".to_owned(),
                ),
            })
        })
        .collect()
}

fn error(code: &str, span: &Range<usize>, message: String) -> Finding {
    Finding {
        severity: Severity::Error,
        code: code.to_owned(),
        message,
        span: span.clone(),
        label: String::new(),
        hint: None,
    }
}
