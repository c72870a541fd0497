//! Findings about several files: printed, as JSON, or as annotations of GitHub's workflows.

use std::path::Path;

use anyarch_dockerfile::checks;

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
    explanation: Option<&'static str>,
}

impl Findings {
    /// Adds a file with what was found in it.
    pub(crate) fn add(&mut self, source: Source, mut found: Vec<Finding>) {
        found.sort_by_key(|finding| finding.span.start);
        self.0.push((source, found));
    }

    /// Adds what was found in a file that may have been read before; what is known stays once.
    pub(crate) fn merge(&mut self, source: Source, found: Vec<Finding>) {
        let Some((_, known)) = self.0.iter_mut().find(|(other, _)| other.name == source.name)
        else {
            return self.add(source, found);
        };
        for finding in found {
            if !known.contains(&finding) {
                known.push(finding);
            }
        }
        known.sort_by_key(|finding| finding.span.start);
    }

    /// Makes every warning an error.
    pub(crate) fn promote(&mut self) {
        for finding in self.0.iter_mut().flat_map(|(_, found)| found) {
            finding.severity = Severity::Error;
        }
    }

    /// All findings with their files.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&Source, &Finding)> {
        self.0.iter().flat_map(|(source, found)| found.iter().map(move |finding| (source, finding)))
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
        let errors = self.all().filter(|(_, finding)| finding.is_error()).count();
        (errors, self.all().count() - errors)
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
        let items: Vec<Item<'_>> =
            self.all().map(|(source, finding)| item(source, finding)).collect();
        let files: Vec<&str> = self.0.iter().map(|(source, _)| source.name.as_str()).collect();
        serde_json::json!({
            "files": files, "errors": errors, "warnings": warnings, "findings": items,
        })
    }

    /// One workflow command a finding; paths below `workspace` are relative to it.
    pub(crate) fn github(&self, workspace: Option<&Path>) -> String {
        self.all().map(|(source, finding)| annotation(source, finding, workspace)).collect()
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
        explanation: checks::find(&finding.code).map(|rule| rule.explanation),
    }
}

/// `::warning file=…,line=…,…::message`
fn annotation(source: &Source, finding: &Finding, workspace: Option<&Path>) -> String {
    let command = match finding.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    let item = item(source, finding);
    let absolute = std::path::absolute(&source.name).ok();
    let relative = absolute.as_deref().and_then(|path| path.strip_prefix(workspace?).ok());
    let file = relative.map_or_else(|| source.name.clone(), |path| path.display().to_string());
    let mut message = finding.message.clone();
    if !finding.label.is_empty() {
        message.push_str(&format!(": {}", finding.label));
    }
    if let Some(hint) = &finding.hint {
        message.push_str(&format!("\nhint: {hint}"));
    }
    format!(
        "::{command} file={},line={},endLine={},col={},endColumn={},title={}::{}\n",
        property(&file),
        item.line,
        item.end_line,
        item.column,
        item.end_column,
        property(item.code),
        data(&message),
    )
}

/// Escapes the message of a workflow command.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// Escapes a property of a workflow command.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(severity: Severity) -> Findings {
        let source =
            Source { name: "a,b:c/Dockerfile".to_owned(), text: "FROM a\nCMD x\n".to_owned() };
        let finding = Finding {
            severity,
            code: "JSONArgsRecommended".to_owned(),
            message: "100% of it".to_owned(),
            span: 7..10,
            label: "here".to_owned(),
            hint: Some("do\r\nthis".to_owned()),
        };
        let mut findings = Findings::default();
        findings.merge(source.clone(), vec![finding.clone()]);
        findings.merge(source, vec![finding]);
        findings
    }

    #[test]
    fn annotations_are_escaped() {
        assert_eq!(
            finding(Severity::Warning).github(None),
            "::warning file=a%2Cb%3Ac/Dockerfile,line=2,endLine=2,col=1,endColumn=4,\
             title=JSONArgsRecommended::100%25 of it: here%0Ahint: do%0D%0Athis\n"
        );
        let here = std::path::absolute(".").unwrap();
        let above = here.parent().unwrap();
        let name = here.strip_prefix(above).unwrap().display().to_string();
        let text = finding(Severity::Error).github(Some(above));
        assert!(
            text.starts_with(&format!("::error file={name}/a%2Cb%3Ac/Dockerfile,line=2,")),
            "{text}"
        );
    }

    #[test]
    fn a_finding_that_is_known_stays_once_and_can_be_an_error() {
        let mut findings = finding(Severity::Warning);
        assert_eq!(findings.counts(), (0, 1));
        findings.promote();
        assert_eq!(findings.counts(), (1, 0));
        let json = findings.json();
        assert_eq!(json["findings"][0]["severity"], "error");
        assert!(json["findings"][0]["explanation"].as_str().unwrap().contains("signals"));
    }
}
