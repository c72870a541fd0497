//! Parser directives: `# syntax=`, `# escape=` and `# check=` at the very head of the file.

use std::ops::Range;

use crate::ast::Directives;
use crate::checks::Options;
use crate::diagnostic::Diagnostic;
use crate::source::Line;
use crate::span::Word;

/// Reads directives until a line is none; after that `# escape=` is a comment like any other.
pub(crate) struct DirectiveReader {
    pub(crate) directives: Directives,
    seen: Vec<&'static str>,
    done: bool,
}

impl DirectiveReader {
    pub(crate) fn new() -> Self {
        Self { directives: Directives::default(), seen: Vec::new(), done: false }
    }

    /// Looks at the next line of the file.
    pub(crate) fn line(&mut self, line: Line<'_>, diagnostics: &mut Vec<Diagnostic>) {
        if self.done {
            return;
        }
        let line = line.trim_start();
        let Some((key, value)) = split(line.text) else {
            self.done = true;
            return;
        };
        let name =
            ["syntax", "escape", "check"].into_iter().find(|name| name.eq_ignore_ascii_case(key));
        let Some(name) = name else {
            self.done = true;
            return;
        };
        if self.seen.contains(&name) {
            let message = format!("parser directive `{name}` is given twice");
            diagnostics.push(
                Diagnostic::error("duplicate-directive", line.span(), message).label("second use"),
            );
            return;
        }
        self.seen.push(name);
        match (name, value) {
            ("syntax", value) => self.directives.syntax = Some(value.to_owned()),
            ("check", value) => self.check(line, value, diagnostics),
            (_, "\\") => self.directives.escape = '\\',
            (_, "`") => self.directives.escape = '`',
            (_, value) => {
                let start = place(line, value).start;
                let message = format!("`{value}` cannot be the escape character");
                diagnostics.push(
                    Diagnostic::error("invalid-escape", start..start + value.len(), message)
                        .label("must be a backslash or a backtick"),
                );
            }
        }
    }

    /// Options that cannot be read are an error, as with BuildKit.
    fn check(&mut self, line: Line<'_>, value: &str, diagnostics: &mut Vec<Diagnostic>) {
        let span = place(line, value);
        let (_, faults) = Options::parse(value);
        diagnostics.extend(faults.iter().filter(|fault| fault.is_error()).map(|fault| {
            let span = span.start + fault.place.start..span.start + fault.place.end;
            fault.diagnostic(span)
        }));
        self.directives.check = Some(Word { text: value.to_owned(), span });
    }
}

/// Where the value, which ends the line but for blanks, stands in the file.
fn place(line: Line<'_>, value: &str) -> Range<usize> {
    let start = line.start + line.text.rfind(value).unwrap_or(0);
    start..start + value.len()
}

/// Whether a line can be a directive, where it stands at the head of the file.
pub(crate) fn is_directive(line: &str) -> bool {
    split(line.trim_start()).is_some_and(|(key, _)| {
        ["syntax", "escape", "check"].iter().any(|name| name.eq_ignore_ascii_case(key))
    })
}

/// `# key = value` to key and value.
fn split(text: &str) -> Option<(&str, &str)> {
    let (key, value) = text.strip_prefix('#')?.trim_start().split_once('=')?;
    let (key, value) = (key.trim_end(), value.trim());
    let valid = key.starts_with(|c: char| c.is_ascii_alphabetic())
        && key.chars().all(|c| c.is_ascii_alphanumeric());
    (valid && !value.is_empty()).then_some((key, value))
}
