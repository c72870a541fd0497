//! BuildKit's build checks under the same names, and some of ours: a Dockerfile to findings.
//!
//! Every check is a warning, unless the file says `# check=error=true`. Knows the text and what
//! [`Facts`] tells; what an image of a registry sets is not known here, and then only variables that
//! look like a mistyped known one are found to be undefined. Triggers of ONBUILD are not looked at.

mod casing;
mod description;
mod expose;
mod floating;
mod form;
mod from;
mod ignored;
mod install;
mod names;
mod options;
mod reference;
mod rule;
mod scope;
mod secrets;
mod stages;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

pub use options::{Fault, Options};
pub use rule::{RULES, Rule, find};

use crate::ast::Dockerfile;
use crate::diagnostic::{Diagnostic, Severity};
use crate::ignore::IgnoreFile;
use crate::parser::parse;

/// What is known besides the text of the Dockerfile.
pub struct Facts<'a> {
    /// Values for ARG.
    pub build_args: &'a BTreeMap<String, String>,
    /// Whether the build arguments are always the same, as those of a plan: then they count as
    /// defaults of ARG.
    pub args_are_fixed: bool,
    /// What an image that FROM names leaves to what is built on it; `None` where that is unknown.
    pub base: &'a dyn Fn(&str) -> Option<Inherited>,
    /// The ignore file of the build context.
    pub ignore: Option<&'a IgnoreFile>,
    /// Whether a path of the build context is a directory.
    pub is_dir: &'a dyn Fn(&str) -> bool,
    /// Options in the place of those that the file has.
    pub options: Option<&'a Options>,
}

impl Facts<'_> {
    /// What to say where nothing is known.
    pub fn none() -> Facts<'static> {
        static NO_ARGS: BTreeMap<String, String> = BTreeMap::new();
        Facts {
            build_args: &NO_ARGS,
            args_are_fixed: false,
            base: &|_| None,
            ignore: None,
            is_dir: &|_| false,
            options: None,
        }
    }
}

/// What an image or stage leaves to what is built on it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inherited {
    /// Variables of its environment, with their values where they are known.
    pub env: BTreeMap<String, Option<String>>,
    /// Whether there may be more variables.
    pub more_env: bool,
    /// Whether SHELL was used.
    pub shell: bool,
    /// Whether an absolute WORKDIR was used.
    pub workdir: bool,
}

/// A Dockerfile that was checked.
#[derive(Debug, Clone)]
pub struct Checked {
    /// What was parsed.
    pub file: Dockerfile,
    /// Errors of the language, and findings of checks, in the order of their places.
    pub findings: Vec<Diagnostic>,
    /// What each stage leaves to what is built on it.
    pub stages: Vec<Inherited>,
    /// The options that counted.
    pub options: Options,
}

/// Parses and checks a Dockerfile.
///
/// With `error=true` findings of checks are errors.
pub fn check(text: &str, facts: &Facts<'_>) -> Checked {
    let (file, mut findings) = parse(text);
    let (own, faults) = match &file.directives.check {
        Some(word) => Options::parse(word),
        None => (Options::default(), Vec::new()),
    };
    let options = facts.options.cloned().unwrap_or(own);
    let mut found = Found { text, findings: Vec::new() };
    casing::check(&file, &mut found);
    names::check(&file, &mut found);
    form::check(&file, &mut found);
    description::check(&file, &mut found);
    let stages = stages::check(&file, facts, &mut found);
    findings.extend(found.findings);
    findings.retain(|finding| finding.is_error() || options.wants(finding.code));
    if options.error {
        findings.iter_mut().for_each(|finding| finding.severity = Severity::Error);
    }
    if let Some(word) = &file.directives.check {
        let doubts = faults.iter().filter(|fault| !fault.is_error());
        findings.extend(doubts.map(|fault| {
            let start = word.span.start;
            fault.diagnostic(start + fault.place.start..start + fault.place.end)
        }));
    }
    findings.sort_by_key(|finding| (finding.span.start, finding.code));
    Checked { file, findings, stages, options }
}

/// Where checks report.
struct Found<'t> {
    text: &'t str,
    findings: Vec<Diagnostic>,
}

impl Found<'_> {
    fn warn(&mut self, rule: &'static str, span: Range<usize>, message: String, label: &str) {
        self.report(Diagnostic::warning(rule, span, message).label(label));
    }

    fn report(&mut self, finding: Diagnostic) {
        self.findings.push(finding);
    }

    /// Where `what` first stands in a part of the file; the first word of the part if it does not.
    fn place(&self, within: &Range<usize>, what: &str) -> Range<usize> {
        let part = self.text.get(within.clone()).unwrap_or_default();
        match part.find(what).filter(|_| !what.is_empty()) {
            Some(at) => within.start + at..within.start + at + what.len(),
            None => self.keyword(within),
        }
    }

    /// The keyword that an instruction begins with.
    fn keyword(&self, within: &Range<usize>) -> Range<usize> {
        let part = self.text.get(within.clone()).unwrap_or_default();
        let length = part.find(char::is_whitespace).unwrap_or(part.len());
        within.start..within.start + length
    }

    fn written(&self, span: &Range<usize>) -> &str {
        self.text.get(span.clone()).unwrap_or_default()
    }
}

/// The known name that a name was probably meant to be: at most two letters apart, case counts.
fn suggestion(name: &str, known: &BTreeSet<String>) -> Option<String> {
    known
        .iter()
        .map(|candidate| (strsim::levenshtein(name, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= 2 && *distance < candidate.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate.clone())
}
