//! `# check=skip=…;error=true;experimental=…`: which checks run, and whether they forbid the build.

use std::ops::Range;

use super::rule::{self, RULES};
use crate::diagnostic::{Diagnostic, closest};
use crate::units::parse_bool;

/// Which checks run. The default: all that are not experimental, as warnings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    skip: Choice,
    experimental: Choice,
    /// Whether what is found forbids the build (`error=true`).
    pub error: bool,
}

/// Rules named one by one, or all.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Choice {
    All,
    Named(Vec<String>),
}

impl Default for Choice {
    fn default() -> Self {
        Self::Named(Vec::new())
    }
}

impl Choice {
    fn has(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Named(names) => names.iter().any(|known| known == name),
        }
    }
}

/// What is wrong with options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The bytes of the options that it is about.
    pub place: Range<usize>,
    kind: FaultKind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum FaultKind {
    /// No `skip=`, `error=` or `experimental=`.
    Option(String),
    /// `error=` with something that is no boolean.
    Value(String),
    /// A rule that nobody has heard of.
    Rule(String),
    /// `experimental=` with a rule that is none.
    NotExperimental(String),
}

impl Options {
    /// Reads options as they stand behind `# check=`. What is wrong is left out of them.
    pub fn parse(text: &str) -> (Self, Vec<Fault>) {
        let (mut options, mut faults) = (Self::default(), Vec::new());
        let mut at = 0;
        for part in text.split(';') {
            options.part(part, at, &mut faults);
            at += part.len() + 1;
        }
        (options, faults)
    }

    fn part(&mut self, part: &str, at: usize, faults: &mut Vec<Fault>) {
        let fault = |kind| Fault { place: at..at + part.len(), kind };
        let Some((key, value)) = part.split_once('=') else {
            faults.push(fault(FaultKind::Option(part.trim().to_owned())));
            return;
        };
        let value_at = at + key.len() + 1;
        match key.trim() {
            "skip" => self.skip = names(value, value_at, false, faults),
            "experimental" => self.experimental = names(value, value_at, true, faults),
            "error" => match parse_bool(value.trim()) {
                Some(error) => self.error = error,
                None => faults.push(fault(FaultKind::Value(value.trim().to_owned()))),
            },
            key => faults.push(fault(FaultKind::Option(key.to_owned()))),
        }
    }

    /// Whether findings of this rule are wanted. Names that are no rule of ours always are.
    pub fn wants(&self, name: &str) -> bool {
        // As BuildKit has it: what was asked for by name cannot be skipped.
        match rule::find(name) {
            Some(rule) if rule.experimental => self.experimental.has(name),
            _ => !self.skip.has(name),
        }
    }
}

fn names(value: &str, at: usize, experimental: bool, faults: &mut Vec<Fault>) -> Choice {
    if value.trim() == "all" {
        return Choice::All;
    }
    let (mut named, mut at) = (Vec::new(), at);
    for word in value.split(',') {
        let name = word.trim();
        let start = at + (word.len() - word.trim_start().len());
        let place = start..start + name.len();
        match rule::find(name) {
            Some(rule) if experimental && !rule.experimental => {
                faults.push(Fault { place, kind: FaultKind::NotExperimental(name.to_owned()) });
            }
            Some(_) => {}
            None if rule::ELSEWHERE.contains(&name) => {}
            None => faults.push(Fault { place, kind: FaultKind::Rule(name.to_owned()) }),
        }
        named.push(name.to_owned());
        at += word.len() + 1;
    }
    Choice::Named(named)
}

impl Fault {
    /// Whether the options cannot be used, so that the file must not be built.
    pub fn is_error(&self) -> bool {
        matches!(self.kind, FaultKind::Option(_) | FaultKind::Value(_))
    }

    /// As a finding at this place.
    pub fn diagnostic(&self, span: Range<usize>) -> Diagnostic {
        match &self.kind {
            FaultKind::Option(option) => Diagnostic::error(
                "invalid-check-option",
                span,
                format!("`{option}` is no option of checks"),
            )
            .label("not `skip=`, `error=` or `experimental=`")
            .suggest(option, &["skip", "error", "experimental"]),
            FaultKind::Value(value) => Diagnostic::error(
                "invalid-check-option",
                span,
                format!("`{value}` is no value for `error`"),
            )
            .label("must be `true` or `false`"),
            FaultKind::Rule(name) => {
                let known: Vec<&str> = RULES.iter().map(|rule| rule.name).collect();
                let message = format!("there is no check `{name}`");
                let found = Diagnostic::warning("unknown-check", span, message);
                let found = match closest(name, &known) {
                    Some(near) => found.label(format!("did you mean `{near}`?")),
                    None => found.label("has no effect"),
                };
                found.hint("docs/checks.md lists the checks; several are divided by commas")
            }
            FaultKind::NotExperimental(name) => Diagnostic::warning(
                "unknown-check",
                span,
                format!("the check `{name}` is not experimental"),
            )
            .label("runs without being asked for"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> Vec<(String, bool)> {
        let (_, faults) = Options::parse(text);
        faults
            .iter()
            .map(|fault| (text[fault.place.clone()].to_owned(), fault.is_error()))
            .collect()
    }

    #[test]
    fn rules_are_skipped_by_name_or_all() {
        let (options, faults) = Options::parse("skip=StageNameCasing, FromAsCasing;error=true");
        assert!(faults.is_empty() && options.error);
        assert!(!options.wants("StageNameCasing") && !options.wants("FromAsCasing"));
        assert!(options.wants("UndefinedVar"));
        let (options, _) = Options::parse("skip=all");
        assert!(!options.wants("UndefinedVar") && !options.error);
    }

    #[test]
    fn experimental_rules_are_asked_for() {
        let wants = |text: &str, name: &str| Options::parse(text).0.wants(name);
        assert!(!wants("error=false", "CopyIgnoredFile"));
        assert!(wants("experimental=CopyIgnoredFile", "CopyIgnoredFile"));
        assert!(!wants("experimental=CopyIgnoredFile", "InvalidDefinitionDescription"));
        assert!(wants("experimental=all", "InvalidDefinitionDescription"));
        assert!(wants("skip=all;experimental=CopyIgnoredFile", "CopyIgnoredFile"));
    }

    #[test]
    fn faults_have_their_places() {
        assert_eq!(faults("skip=StageNameCase"), [("StageNameCase".to_owned(), false)]);
        assert_eq!(faults("skip=InvalidBaseImagePlatform"), []);
        assert_eq!(faults("experimental=UndefinedVar"), [("UndefinedVar".to_owned(), false)]);
        assert_eq!(
            faults("skpi=all;error=maybe;x"),
            [
                ("skpi=all".to_owned(), true),
                ("error=maybe".to_owned(), true),
                ("x".to_owned(), true)
            ]
        );
    }
}
