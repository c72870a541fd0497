//! Findings about several files, printed or given as JSON.

use crate::diagnostic::{Finding, Severity, Source, line_and_column, render};
use crate::failure::Failure;
use crate::output;
use crate::text;

/// Findings by file, in the order in which the files were read.
#[derive(Default)]
pub(crate) struct Findings(Vec<(Source, Vec<Finding>)>);

/// A finding as `check --json` gives it.
#[derive(serde::Serialize)]
struct Item<'a> {
    file: &'a str,
    line: usize,
    column: usize,
    end_line: usize,
    end_column: usize,
    severity: Severity,
    code: &'a str,
    message: &'a str,
    label: &'a str,
    hint: Option<&'a str>,
}

impl Findings {
    /// Adds a file with what was found in it.
    pub(crate) fn add(&mut self, source: Source, mut found: Vec<Finding>) {
        found.sort_by_key(|finding| finding.span.start);
        self.0.push((source, found));
    }

    /// Adds the files of `others`.
    pub(crate) fn append(&mut self, others: Findings) {
        self.0.extend(others.0);
    }

    /// Whether a file of that name was read already.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(source, _)| source.name == name)
    }

    /// How many files were read.
    pub(crate) fn files(&self) -> usize {
        self.0.len()
    }

    /// How many errors and how many warnings there are.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let all = || self.0.iter().flat_map(|(_, found)| found);
        let errors = all().filter(|finding| finding.is_error()).count();
        (errors, all().count() - errors)
    }

    /// Prints every finding with its source line to standard error.
    pub(crate) fn say(&self) {
        for (source, found) in &self.0 {
            for finding in found {
                output::say(&render(source, finding));
            }
        }
    }

    /// Prints the findings; an error where one of them is one.
    pub(crate) fn settle(&self) -> Result<(), Failure> {
        self.say();
        match self.counts() {
            (0, _) => Ok(()),
            _ => Err(Failure::Findings),
        }
    }

    /// All of it as one JSON value.
    pub(crate) fn json(&self) -> serde_json::Value {
        let (errors, warnings) = self.counts();
        let items: Vec<Item<'_>> = self
            .0
            .iter()
            .flat_map(|(source, found)| found.iter().map(|finding| item(source, finding)))
            .collect();
        let files: Vec<&str> = self.0.iter().map(|(source, _)| source.name.as_str()).collect();
        serde_json::json!({
            "files": files, "errors": errors, "warnings": warnings, "findings": items,
        })
    }

    /// `3 files, 1 error, 2 warnings`
    pub(crate) fn summary(&self) -> String {
        let (errors, warnings) = self.counts();
        let files = text::count(self.files(), "file");
        match (errors, warnings) {
            (0, 0) => format!("{files} checked, no findings"),
            (0, _) => format!("{files} checked, {}", text::count(warnings, "warning")),
            (_, 0) => format!("{files} checked, {}", text::count(errors, "error")),
            _ => format!(
                "{files} checked, {}, {}",
                text::count(errors, "error"),
                text::count(warnings, "warning")
            ),
        }
    }
}

fn item<'a>(source: &'a Source, finding: &'a Finding) -> Item<'a> {
    let (line, column) = line_and_column(&source.text, finding.span.start);
    let (end_line, end_column) = line_and_column(&source.text, finding.span.end);
    Item {
        file: &source.name,
        line,
        column,
        end_line,
        end_column,
        severity: finding.severity,
        code: &finding.code,
        message: &finding.message,
        label: &finding.label,
        hint: finding.hint.as_deref(),
    }
}
