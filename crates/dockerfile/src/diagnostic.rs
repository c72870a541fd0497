//! What is wrong with a Dockerfile, with its place and what would be right.

use std::ops::Range;

/// How bad a diagnostic is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The file builds, but probably not as meant.
    Warning,
    /// The file must not be built.
    Error,
}

/// One finding about a Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Whether the file can still be built.
    pub severity: Severity,
    /// A stable name of the rule, in kebab case.
    pub code: &'static str,
    /// What is wrong, naming the object.
    pub message: String,
    /// The bytes of the text it is about, on character boundaries.
    pub span: Range<usize>,
    /// A few words to stand under the marked bytes.
    pub label: String,
    /// What a person can do about it.
    pub hint: Option<String>,
}

impl Diagnostic {
    /// Whether this finding forbids building the file.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    pub(crate) fn error(
        code: &'static str,
        span: Range<usize>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            severity: Severity::Error,
            code,
            message: message.into(),
            span,
            label: String::new(),
            hint: None,
        }
    }

    pub(crate) fn warning(
        code: &'static str,
        span: Range<usize>,
        message: impl Into<String>,
    ) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, span, message) }
    }

    pub(crate) fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Says `did you mean ...?` when one of `candidates` is close to `word`.
    pub(crate) fn suggest(self, word: &str, candidates: &[&str]) -> Self {
        match closest(word, candidates) {
            Some(best) => self.label(format!("did you mean `{best}`?")),
            None => self,
        }
    }
}

/// The candidate that `word` most likely stands for, if any is close enough.
pub(crate) fn closest<'a>(word: &str, candidates: &[&'a str]) -> Option<&'a str> {
    let limit = 1 + word.chars().count() / 4;
    let lower = word.to_lowercase();
    candidates
        .iter()
        .map(|candidate| {
            (strsim::damerau_levenshtein(&lower, &candidate.to_lowercase()), *candidate)
        })
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::closest;

    #[test]
    fn close_words_are_found_and_far_ones_are_not() {
        let names = ["RUN", "COPY", "ENTRYPOINT"];
        assert_eq!(closest("RNU", &names), Some("RUN"));
        assert_eq!(closest("entrypiont", &names), Some("ENTRYPOINT"));
        assert_eq!(closest("apt-get", &names), None);
    }
}
