//! Why a `--mount` flag cannot be used, and what to do about it.

use std::ops::Range;

use crate::expand_error::ExpandError;

/// The keys of all mount types.
pub(crate) const KEYS: &[&str] = &[
    "type",
    "from",
    "source",
    "src",
    "target",
    "dst",
    "destination",
    "readonly",
    "ro",
    "readwrite",
    "rw",
    "id",
    "sharing",
    "required",
    "size",
    "mode",
    "uid",
    "gid",
    "env",
];

/// A mount that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot use `--mount={mount}`: {problem}")]
pub struct MountError {
    /// The flag's value.
    pub mount: String,
    /// The bytes of the value that are at fault.
    pub field: Range<usize>,
    /// What is wrong.
    #[source]
    pub problem: MountProblem,
}

/// What is wrong with a mount.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MountProblem {
    /// The value is not a list of fields: a quote is missing or out of place.
    #[error("quotes do not match")]
    Quotes,
    /// A key that no mount has.
    #[error("unknown key `{key}`")]
    UnknownKey {
        /// The key.
        key: String,
        /// The key that may be meant.
        suggestion: Option<&'static str>,
    },
    /// A key without a value.
    #[error("`{0}` needs a value")]
    MissingValue(String),
    /// A value that the key does not take.
    #[error("`{value}` is no value for `{key}`")]
    InvalidValue {
        /// The key.
        key: String,
        /// The value, expanded.
        value: String,
        /// The value that may be meant.
        suggestion: Option<&'static str>,
    },
    /// A key that mounts of this type do not have.
    #[error("`{key}` does not apply to a {kind} mount")]
    NotForKind {
        /// The key.
        key: &'static str,
        /// The mount's type.
        kind: &'static str,
    },
    /// A secret without a name.
    #[error("a secret mount needs `id`, `source` or `target`")]
    UnnamedSecret,
    /// A secret with two names.
    #[error("a secret mount takes `id` or `source`, not both")]
    TwoNames,
    /// A variable in `from`.
    #[error("`from` takes no variables")]
    VariableInFrom,
    /// A value cannot be expanded.
    #[error(transparent)]
    Expand(ExpandError),
}

impl MountError {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match &self.problem {
            MountProblem::UnknownKey { suggestion: Some(word), .. }
            | MountProblem::InvalidValue { suggestion: Some(word), .. } => {
                Some(format!("did you mean `{word}`?"))
            }
            MountProblem::UnknownKey { .. } => Some(format!("the keys are {}", KEYS.join(", "))),
            MountProblem::VariableInFrom => Some(
                "name the image in a stage (`FROM $IMAGE AS name`) and mount from that stage"
                    .to_owned(),
            ),
            MountProblem::Expand(error) => error.hint(),
            _ => None,
        }
    }
}
