//! The reasons for which a step runs.

use std::fmt;

use anyarch_oci::Digest;
use serde::Serialize;

use crate::event::StepInfo;

/// A step, and why it would run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ExplainedStep {
    /// The step.
    #[serde(flatten)]
    pub step: StepInfo,
    /// Why it would run; none where its result is known.
    pub reasons: Vec<Reason>,
}

/// Why a step has to run: what is other than in the last build of its tier.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "reason", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Reason {
    /// The tier was never built with this store.
    NeverBuilt,
    /// The last build had no such step.
    NewInstruction,
    /// The instruction reads otherwise.
    Instruction {
        /// How it read.
        was: String,
    },
    /// A build argument or an environment variable has another value.
    Variable {
        /// Its name.
        name: String,
        /// The value that it had, if it was set.
        was: Option<String>,
        /// The value that it has, if it is set.
        now: Option<String>,
    },
    /// Something else that the step is done with, such as its user.
    Setting {
        /// What.
        what: String,
        /// What it was.
        was: String,
        /// What it is.
        now: String,
    },
    /// Files of the build context, of a named one or of the network, by path or URL.
    Files {
        /// Those that have another content, mode or link target.
        changed: Vec<String>,
        /// Those that were not there.
        added: Vec<String>,
        /// Those that are no longer there.
        removed: Vec<String>,
    },
    /// What the step takes from another stage or image is other than it was.
    Taken,
    /// Packages of a base.
    Packages {
        /// Those in another version: `NAME: VERSION, was VERSION`.
        changed: Vec<String>,
        /// Those that were not chosen, as `NAME VERSION`.
        added: Vec<String>,
        /// Those that are no longer chosen, as `NAME VERSION`.
        removed: Vec<String>,
    },
    /// The image that a `FROM` names is another one.
    Image {
        /// Digest of the manifest that it was.
        was: Digest,
        /// Digest of the manifest that it is.
        now: Digest,
    },
    /// The layers of an image are not in the store.
    NotPulled,
    /// What the step is done to is other than it was: its base, or the result of a step below.
    Parent,
    /// A step that it needs has to run, so what it is done to is not known yet.
    Below {
        /// That step.
        step: String,
    },
    /// Nothing changed, but the result is no longer in the store.
    Gone,
}

/// How many names of one list are shown; the rest is counted.
const SHOWN: usize = 10;
/// How long a value may be that is shown.
const WIDTH: usize = 100;

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::NeverBuilt => f.write_str("never built in this store"),
            Reason::NewInstruction => f.write_str("the instruction is new"),
            Reason::Instruction { was } => {
                write!(f, "the instruction changed; it was `{}`", cut(was))
            }
            Reason::Variable { name, was: Some(was), now: Some(now) } => {
                write!(f, "{name} changed from `{}` to `{}`", cut(was), cut(now))
            }
            Reason::Variable { name, now: Some(now), .. } => {
                write!(f, "{name} is set now, to `{}`", cut(now))
            }
            Reason::Variable { name, was, .. } => {
                write!(f, "{name} is no longer set; it was `{}`", cut(was.as_deref().unwrap_or("")))
            }
            Reason::Setting { what, was, now } => {
                write!(f, "{what} changed from `{}` to `{}`", cut(was), cut(now))
            }
            Reason::Files { changed, added, removed } => {
                lists(f, [("changed", changed), ("new", added), ("removed", removed)])
            }
            Reason::Taken => f.write_str("what it takes from another stage or image changed"),
            Reason::Packages { changed, added, removed } => lists(
                f,
                [("other versions", changed), ("new packages", added), ("no longer", removed)],
            ),
            Reason::Image { was, now } => {
                write!(f, "the image is {} now; it was {}", now.short(), was.short())
            }
            Reason::NotPulled => f.write_str("its layers are not in the store"),
            Reason::Parent => f.write_str("what it is done to is other than it was"),
            Reason::Below { step } => write!(f, "it needs `{}`, which has to run", cut(step)),
            Reason::Gone => f.write_str("its result is no longer in the store"),
        }
    }
}

/// `changed: a, b; new: c and 3 more`.
fn lists(f: &mut fmt::Formatter<'_>, lists: [(&str, &Vec<String>); 3]) -> fmt::Result {
    let mut between = "";
    for (what, names) in lists.iter().filter(|(_, names)| !names.is_empty()) {
        let shown: Vec<&str> = names.iter().take(SHOWN).map(String::as_str).collect();
        write!(f, "{between}{what}: {}", shown.join(", "))?;
        if names.len() > SHOWN {
            write!(f, " and {} more", names.len() - SHOWN)?;
        }
        between = "; ";
    }
    Ok(())
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(WIDTH) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_sentences_of_bounded_length() {
        let many: Vec<String> = (0..12).map(|number| format!("f{number}")).collect();
        let files = Reason::Files { changed: many, added: vec!["x".into()], removed: vec![] };
        let said = "changed: f0, f1, f2, f3, f4, f5, f6, f7, f8, f9 and 2 more; new: x";
        assert_eq!(files.to_string(), said);
        let was = Reason::Instruction { was: "ä".repeat(200) }.to_string();
        assert_eq!(was.matches('ä').count(), WIDTH);
        let set = Reason::Variable { name: "A".into(), was: None, now: Some("1".into()) };
        assert_eq!(set.to_string(), "A is set now, to `1`");
    }
}
