//! `anyarch check`: finds mistakes in the plan and in the Dockerfiles that it names.

use std::ops::Range;
use std::path::{Path, PathBuf};

use anyarch_dockerfile::{Dockerfile, IgnoreFile, Kind};
use anyarch_plan::{Plan, Tier};

use crate::diagnostic::{Finding, Severity, Source, line_span};
use crate::failure::Failure;
use crate::findings::Findings;
use crate::global::Global;
use crate::{files, output};

/// Find mistakes in the plan and in the Dockerfiles that it names
///
/// Shows every finding with its source line. Ends with 2 where one of them is an error.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Plans (*.toml) and Dockerfiles to check; without any, the plan of this folder
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Give the findings as JSON
    #[arg(long)]
    json: bool,
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
            dockerfile(files::read(path)?, &mut findings);
        }
    }
    if args.json {
        output::print_json(&findings.json())?;
    } else {
        findings.say();
        if !global.quiet {
            output::say(&format!("{}\n", findings.summary()));
        }
    }
    match findings.counts() {
        (0, _) => Ok(()),
        _ => Err(Failure::Findings),
    }
}

/// Checks a plan and the files that it names.
fn plan(global: &Global, findings: &mut Findings) -> Result<(), Failure> {
    let source = files::read_plan(global)?;
    let (plan, mut found) = files::check_plan(&source.text);
    if let Some(plan) = plan {
        let mut named = Findings::default();
        for (index, tier) in plan.members.iter().flat_map(|member| member.tiers.iter().enumerate())
        {
            for finding in tier_files(global, &plan, index, tier, &mut named) {
                if !found.contains(&finding) {
                    found.push(finding);
                }
            }
        }
        findings.add(source, found);
        findings.append(named);
    } else {
        findings.add(source, found);
    }
    Ok(())
}

/// Checks the files of one tier; what is wrong with their names belongs to the plan.
fn tier_files(
    global: &Global,
    plan: &Plan,
    index: usize,
    tier: &Tier,
    findings: &mut Findings,
) -> Vec<Finding> {
    let mut found = Vec::new();
    let context = tier.context.as_deref().unwrap_or(&plan.project.context);
    let folder = files::beside_plan(global, context);
    if !folder.is_dir() {
        found.push(error(
            "missing-context",
            &tier.span,
            format!("the build context `{context}` of tier `{}` is not a folder", tier.name),
        ));
    } else {
        ignore_file(&folder, findings);
    }
    let path = files::beside_plan(global, &tier.dockerfile);
    if !path.is_file() {
        let missing = format!("there is no Dockerfile `{}`", tier.dockerfile);
        let hint = "paths are relative to the folder of the plan".to_owned();
        let finding = error("missing-dockerfile", &tier.dockerfile_span, missing);
        found.push(Finding { hint: Some(hint), ..finding });
        return found;
    }
    match files::read(&path) {
        Ok(source) => {
            let (parsed, _) = anyarch_dockerfile::parse(&source.text);
            found.extend(unknown_stage(tier, &parsed));
            let name = source.name.clone();
            if !findings.has(&name) {
                let loose = if index > 0 { not_chained(&parsed) } else { None };
                dockerfile_with(source, loose, findings);
            }
        }
        Err(Failure::Error(report)) => {
            found.push(error("unreadable-dockerfile", &tier.dockerfile_span, report.message));
        }
        Err(_) => {}
    }
    found
}

fn dockerfile(source: Source, findings: &mut Findings) {
    dockerfile_with(source, None, findings);
}

fn dockerfile_with(source: Source, more: Option<Finding>, findings: &mut Findings) {
    let (_, found) = anyarch_dockerfile::parse(&source.text);
    let found = found.into_iter().map(Finding::from).chain(more).collect();
    findings.add(source, found);
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
fn not_chained(parsed: &Dockerfile) -> Option<Finding> {
    let asks = parsed.meta_args.iter().any(|instruction| {
        matches!(&instruction.kind, Kind::Arg(args)
            if args.iter().any(|arg| arg.name == "BASE_IMAGE"))
    });
    let first = parsed.stages.first().filter(|_| !asks)?;
    Some(Finding {
        severity: Severity::Warning,
        code: "tier-not-chained".to_owned(),
        message: "the tier below is not used: this Dockerfile has no `ARG BASE_IMAGE`".to_owned(),
        span: first.base_span.clone(),
        label: "not built from the tier below".to_owned(),
        hint: Some("put `ARG BASE_IMAGE` before `FROM ${BASE_IMAGE}`".to_owned()),
    })
}

/// Checks the `.dockerignore` of a context, where there is one.
fn ignore_file(folder: &Path, findings: &mut Findings) {
    let path = folder.join(".dockerignore");
    let path = path.strip_prefix(".").unwrap_or(&path);
    if findings.has(&files::shown(path)) || !path.is_file() {
        return;
    }
    let Ok(source) = files::read(path) else { return };
    let found = match IgnoreFile::parse(&source.text) {
        Ok(_) => Vec::new(),
        Err(wrong) => {
            let span = line_span(&source.text, wrong.line).unwrap_or(0..0);
            let finding = error("bad-ignore-pattern", &span, wrong.to_string());
            vec![Finding { label: wrong.source.to_string(), hint: wrong.hint(), ..finding }]
        }
    };
    findings.add(source, found);
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
