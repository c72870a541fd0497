//! What is wrong with a plan file, and where: values for the command line to render.
//!
//! Knows nothing of files, lines or colours: a place is a byte range of the text.

use std::ops::Range;

/// How bad a [`Diagnostic`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The plan cannot be used.
    Error,
    /// The plan can be used, but probably does not mean what it says.
    Warning,
}

/// One finding about a plan file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Error or warning.
    pub severity: Severity,
    /// Stable name of the rule: `unknown-key`, `wrong-type`, …
    pub code: &'static str,
    /// The finding in one line, without the place.
    pub message: String,
    /// Bytes of the plan's text that it is about; empty when something is missing altogether.
    pub span: Range<usize>,
    /// A few words for the end of the underline.
    pub label: String,
    /// What a person can do about it.
    pub hint: Option<String>,
}

impl Diagnostic {
    /// An error at `span`.
    pub fn error(
        code: &'static str,
        span: &Range<usize>,
        message: impl Into<String>,
        label: impl Into<String>,
    ) -> Diagnostic {
        Diagnostic {
            severity: Severity::Error,
            code,
            message: message.into(),
            span: span.clone(),
            label: label.into(),
            hint: None,
        }
    }

    /// A warning at `span`.
    pub fn warning(
        code: &'static str,
        span: &Range<usize>,
        message: impl Into<String>,
        label: impl Into<String>,
    ) -> Diagnostic {
        Diagnostic { severity: Severity::Warning, ..Diagnostic::error(code, span, message, label) }
    }

    /// The same finding with advice.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Diagnostic {
        self.hint = Some(hint.into());
        self
    }

    /// Whether the plan cannot be used.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

/// The one of `known` that `text` was probably meant to be: the least edits, letters in the wrong
/// order before wrong letters.
pub(crate) fn nearest<'k>(text: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let text = text.to_lowercase();
    let letters = |text: &str| {
        let mut letters: Vec<char> = text.chars().collect();
        letters.sort_unstable();
        letters
    };
    known
        .into_iter()
        .map(|candidate| {
            let lower = candidate.to_lowercase();
            let distance = strsim::damerau_levenshtein(&text, &lower);
            ((distance, letters(&text) != letters(&lower)), candidate)
        })
        .filter(|((distance, _), candidate)| *distance <= candidate.chars().count().max(3) / 3)
        .min_by_key(|(rank, _)| *rank)
        .map(|(_, candidate)| candidate)
}

/// "`a`, `b` and `c`", for messages that list names.
pub(crate) fn listing<S: AsRef<str>>(names: impl IntoIterator<Item = S>) -> String {
    let quoted: Vec<String> =
        names.into_iter().map(|name| format!("`{}`", name.as_ref())).collect();
    match quoted.split_last() {
        None => "none".to_owned(),
        Some((only, [])) => only.clone(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
    }
}
