//! Findings about a text into source lines with carets.
//!
//! Plan files and Dockerfiles have findings of the same shape; how they look is decided here.

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Severity {
    /// The file cannot be used.
    Error,
    /// The file can be used, but probably not as meant.
    Warning,
}

/// One finding about one text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// How bad it is.
    pub(crate) severity: Severity,
    /// Stable name of the rule.
    pub(crate) code: String,
    /// The finding in one line.
    pub(crate) message: String,
    /// The bytes of the text that it is about.
    pub(crate) span: Range<usize>,
    /// A few words under the marked bytes.
    pub(crate) label: String,
    /// What a person can do.
    pub(crate) hint: Option<String>,
}

/// A text and the name it goes by.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    /// The file, as the command line or the plan names it.
    pub(crate) name: String,
    /// All of it.
    pub(crate) text: String,
}

impl Finding {
    /// Whether the file cannot be used.
    pub(crate) fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

macro_rules! from_diagnostic {
    ($($krate:ident),+) => { $(
        impl From<$krate::Diagnostic> for Finding {
            fn from(found: $krate::Diagnostic) -> Finding {
                let severity = match found.severity {
                    $krate::Severity::Error => Severity::Error,
                    $krate::Severity::Warning => Severity::Warning,
                };
                let $krate::Diagnostic { code, message, span, label, hint, .. } = found;
                Finding { severity, code: code.to_owned(), message, span, label, hint }
            }
        }
    )+ };
}

from_diagnostic!(anyarch_plan, anyarch_dockerfile);

/// The finding with its source line, with colours.
pub(crate) fn render(source: &Source, finding: &Finding) -> String {
    let level = match finding.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let mut title = level.primary_title(&finding.message);
    // The name is what a person needs to silence a warning.
    if finding.severity == Severity::Warning {
        title = title.id(&finding.code);
    }
    let mut group = title.element(snippet(source, &finding.span, &finding.label));
    if let Some(hint) = &finding.hint {
        group = group.element(Level::HELP.with_name("hint").message(hint));
    }
    Renderer::styled().render(&[group]) + "\n\n"
}

/// A place in a text: its line, marked, without a title.
pub(crate) fn render_place(source: &Source, span: &Range<usize>, label: &str) -> String {
    let group =
        annotate_snippets::Group::with_level(Level::ERROR).element(snippet(source, span, label));
    Renderer::styled().render(&[group]) + "\n"
}

fn snippet<'a>(
    source: &'a Source,
    span: &Range<usize>,
    label: &'a str,
) -> Snippet<'a, annotate_snippets::Annotation<'a>> {
    let mut mark = AnnotationKind::Primary.span(within(&source.text, span));
    if !label.is_empty() {
        mark = mark.label(label);
    }
    Snippet::source(&source.text).path(&source.name).annotation(mark)
}

/// The span, moved to where the text has characters.
fn within(text: &str, span: &Range<usize>) -> Range<usize> {
    let start = text.floor_char_boundary(span.start);
    let end = text.ceil_char_boundary(span.end.min(text.len())).max(start);
    start..end
}

/// Line and column of a byte, both counted from 1; columns are characters.
pub(crate) fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let before = &text[..text.floor_char_boundary(offset)];
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (line, column)
}

/// The bytes of a line, counted from 1, without its end; `None` where there is no such line.
pub(crate) fn line_span(text: &str, line: usize) -> Option<Range<usize>> {
    let mut start = 0;
    for (number, content) in text.split_inclusive('\n').enumerate() {
        if number + 1 == line {
            let indent = content.len() - content.trim_start().len();
            let end = content.trim_end().len().max(indent.min(content.len()));
            return Some(start + indent.min(end)..start + end);
        }
        start += content.len();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str, span: Range<usize>, label: &str, hint: Option<&str>) -> String {
        let source = Source { name: "anyarch.toml".to_owned(), text: text.to_owned() };
        let finding = Finding {
            severity: Severity::Error,
            code: "unknown-key".to_owned(),
            message: "unknown key `platfroms`".to_owned(),
            span,
            label: label.to_owned(),
            hint: hint.map(str::to_owned),
        };
        anstream::adapter::strip_str(&render(&source, &finding)).to_string()
    }

    #[test]
    fn a_finding_shows_its_line() {
        let text = "[flavor.cpu]\nplatfroms = []\n";
        insta::assert_snapshot!("finding", shown(text, 13..22, "did you mean `platforms`?", None));
    }

    #[test]
    fn advice_stands_below() {
        let text = "[flavor.cpu]\nplatfroms = []\n";
        insta::assert_snapshot!(
            "finding_with_hint",
            shown(text, 13..22, "", Some("known keys: `platforms`"))
        );
    }

    #[test]
    fn odd_places_do_not_panic() {
        for text in ["", "\n", "é", "a\r\nb", "x\ty", "\u{feff}a"] {
            for start in 0..6 {
                for end in 0..8 {
                    assert!(shown(text, start..end, "here", None).contains("platfroms"));
                }
            }
        }
    }

    #[test]
    fn places_and_lines() {
        let text = "ab\n  cé d\n";
        assert_eq!(line_and_column(text, 0), (1, 1));
        assert_eq!(line_and_column(text, text.find('d').unwrap()), (2, 6));
        assert_eq!(line_span(text, 2).map(|span| &text[span]), Some("cé d"));
        assert_eq!(line_span(text, 3), None);
    }
}
