//! Reads the files that people write: the plan, Dockerfiles. Names in messages are as written.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyarch_plan::{Plan, Tier};

use crate::diagnostic::{Finding, Source};
use crate::failure::Failure;
use crate::findings::Findings;
use crate::global::{Global, PLAN};

/// Reads a text file.
pub(crate) fn read(path: &Path) -> Result<Source, Failure> {
    let name = shown(path);
    match fs::read(path) {
        Ok(bytes) => match String::from_utf8(bytes) {
            Ok(text) => Ok(Source { name, text }),
            Err(error) => {
                let at = error.utf8_error().valid_up_to();
                let line = error.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count() + 1;
                Err(Failure::usage(format!("{name} is not UTF-8 text (line {line})")))
            }
        },
        Err(error) => Err(Failure::usage(format!("failed to read {name}")).because(&error)),
    }
}

/// A path from the root on.
pub(crate) fn absolute(path: &Path) -> Result<String, Failure> {
    let absolute = std::path::absolute(path).map_err(|error| {
        Failure::usage(format!("failed to find {}", path.display())).because(&error)
    })?;
    let absolute = absolute.into_os_string().into_string();
    absolute.map_err(|_| Failure::usage(format!("the path {} is not UTF-8", path.display())))
}

/// Reads the plan that the flags name.
pub(crate) fn read_plan(global: &Global) -> Result<Source, Failure> {
    match fs::metadata(&global.plan) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let name = shown(&global.plan);
            Err(Failure::usage(format!("there is no plan {name}")).hint(advice(global)))
        }
        Ok(found) if found.is_dir() => {
            Err(Failure::usage(format!("the plan {} is a folder", shown(&global.plan)))
                .hint(format!("name the file in it: --plan {}", shown(&global.plan.join(PLAN)))))
        }
        _ => read(&global.plan),
    }
}

/// Where a plan might come from: a folder above, or `init`.
fn advice(global: &Global) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    if global.plan == Path::new(PLAN)
        && let Some(above) = here.ancestors().skip(1).find(|folder| folder.join(PLAN).is_file())
    {
        return format!("there is one in {}: use -C {0}", above.display());
    }
    "`anyarch init` writes one from the Dockerfiles of a repository; -C DIR names another folder"
        .to_owned()
}

/// Reads and checks the plan; findings are printed, and errors among them end the verb.
pub(crate) fn load_plan(global: &Global) -> Result<Plan, Failure> {
    let source = read_plan(global)?;
    let (plan, found) = check_plan(&source.text);
    let mut findings = Findings::default();
    findings.add(source, found);
    findings.settle()?;
    plan.ok_or_else(|| Failure::internal("the plan has neither meaning nor errors"))
}

/// The meaning of a plan where it has one, and every finding.
pub(crate) fn check_plan(text: &str) -> (Option<Plan>, Vec<Finding>) {
    let (file, mut found) = anyarch_plan::parse(text);
    let plan = match anyarch_plan::check(&file) {
        Ok(plan) => {
            found.extend(plan.warnings.iter().cloned());
            Some(plan)
        }
        Err(more) => {
            found.extend(more);
            None
        }
    };
    found.dedup();
    let broken = found.iter().any(anyarch_plan::Diagnostic::is_error);
    (plan.filter(|_| !broken), found.into_iter().map(Finding::from).collect())
}

/// A path of the plan, as a person in the current folder would write it.
pub(crate) fn beside_plan(global: &Global, path: &str) -> PathBuf {
    match global.plan_directory() {
        here if here == Path::new(".") => PathBuf::from(path),
        folder => folder.join(path),
    }
}

/// A path in a message.
pub(crate) fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// Reads the Dockerfile of a tier.
pub(crate) fn read_dockerfile(global: &Global, tier: &Tier) -> Result<Source, Failure> {
    let path = beside_plan(global, &tier.dockerfile);
    read(&path)
}
