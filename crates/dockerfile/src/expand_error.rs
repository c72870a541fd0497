//! Why a word cannot be expanded, and what to do about it.

use crate::pattern::PatternSyntaxError;

/// How deep `${a:-${b:-...}}` may nest.
pub(crate) const MAX_DEPTH: usize = 128;

/// Why a word cannot be expanded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot expand `{word}`: {reason}")]
pub struct ExpandError {
    /// The word as written.
    pub word: String,
    /// What is wrong with it.
    #[source]
    pub reason: ExpandReason,
}

/// What is wrong with a word.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExpandReason {
    /// `${name?message}` of an unset variable, or `${name:?message}` of an empty one.
    #[error("{name}: {message}")]
    Required {
        /// The variable.
        name: String,
        /// The text after the question mark, or a default text.
        message: String,
    },
    /// `${` without its `}`.
    #[error("missing `}}`")]
    MissingBrace,
    /// `${name/pattern` without the second slash.
    #[error("missing `/` in `${{}}`")]
    MissingSlash,
    /// `${}`, `${:...}` or `${{...}}`.
    #[error("bad substitution")]
    BadSubstitution,
    /// A quote that is not closed.
    #[error("no matching {0}")]
    Unterminated(&'static str),
    /// An operator that does not exist.
    #[error("unsupported modifier `{0}` in substitution")]
    UnsupportedModifier(String),
    /// A pattern that cannot be read.
    #[error("invalid pattern `{pattern}` in substitution")]
    InvalidPattern {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        source: PatternSyntaxError,
    },
    /// Substitutions nested too deep.
    #[error("substitutions are nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
}

impl ExpandError {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match &self.reason {
            ExpandReason::Required { name, .. } => Some(format!(
                "set it with `--build-arg {name}=...` and an `ARG {name}` before this line"
            )),
            ExpandReason::MissingBrace
            | ExpandReason::MissingSlash
            | ExpandReason::BadSubstitution => {
                Some("write a literal dollar sign as `\\$`".to_owned())
            }
            ExpandReason::Unterminated(_) => Some("close the quote, or escape it".to_owned()),
            ExpandReason::UnsupportedModifier(_) => Some(
                "the operators are `:-` `-` `:+` `+` `:?` `?` `#` `##` `%` `%%` `/` `//`"
                    .to_owned(),
            ),
            ExpandReason::InvalidPattern { .. } => {
                Some("only `*`, `?` and backslash can be escaped in a pattern".to_owned())
            }
            ExpandReason::TooDeep => None,
        }
    }
}
