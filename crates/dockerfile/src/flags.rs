//! The flags of an instruction (`--name[=value]`): which there are, and their values.

use std::ops::Range;

use crate::diagnostic::Diagnostic;
use crate::source::LogicalLine;
use crate::span::Word;
use crate::words::Token;

/// What kind of value a flag takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Takes {
    /// Nothing, `true` or `false`.
    Switch,
    /// One value, once.
    One,
    /// A value, any number of times.
    Many,
}

/// The flags that the instruction with this keyword knows.
pub(crate) fn known(keyword: &str) -> &'static [(&'static str, Takes)] {
    use Takes::{Many, One, Switch};
    match keyword {
        "FROM" => &[("platform", One)],
        "RUN" => &[("mount", Many), ("network", One), ("security", One), ("device", Many)],
        "COPY" => &[
            ("from", One),
            ("chown", One),
            ("chmod", One),
            ("link", Switch),
            ("parents", Switch),
            ("exclude", Many),
        ],
        "ADD" => &[
            ("chown", One),
            ("chmod", One),
            ("link", Switch),
            ("exclude", Many),
            ("checksum", One),
            ("keep-git-dir", Switch),
            ("unpack", Switch),
        ],
        "HEALTHCHECK" => &[
            ("interval", One),
            ("timeout", One),
            ("start-period", One),
            ("start-interval", One),
            ("retries", One),
        ],
        _ => &[],
    }
}

/// The flags of one instruction.
#[derive(Debug, Default)]
pub(crate) struct Flags {
    values: Vec<(&'static str, Option<Word>)>,
}

impl Flags {
    /// Checks the flags that stand in front of an instruction's words; what is wrong is reported
    /// and left out.
    pub(crate) fn read(
        keyword: &str,
        tokens: &[Token],
        line: &LogicalLine,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Self {
        let known = known(keyword);
        let mut flags = Self::default();
        for token in tokens {
            match flags.read_one(keyword, known, token, line) {
                Ok(flag) => flags.values.push(flag),
                Err(diagnostic) => diagnostics.push(diagnostic),
            }
        }
        flags
    }

    fn read_one(
        &self,
        keyword: &str,
        known: &[(&'static str, Takes)],
        token: &Token,
        line: &LogicalLine,
    ) -> Result<(&'static str, Option<Word>), Diagnostic> {
        let (flag, value) = match token.text.split_once('=') {
            Some((flag, value)) => (flag, Some(value)),
            None => (token.text.as_str(), None),
        };
        let raw = &line.text[token.range.clone()];
        let equals = raw.find('=').unwrap_or(raw.len());
        let flag_span = line.place(token.range.start..token.range.start + equals);
        let value_start = (token.range.start + equals + 1).min(token.range.end);
        let value_span = line.place(value_start..token.range.end);
        let Some((name, takes)) =
            known.iter().find(|(name, _)| flag.strip_prefix("--") == Some(*name))
        else {
            return Err(unknown(keyword, known, flag, flag_span));
        };
        if *takes != Takes::Many && self.values.iter().any(|(seen, _)| seen == name) {
            let message = format!("flag `{flag}` of {keyword} is given twice");
            return Err(Diagnostic::error("duplicate-flag", flag_span, message).label("second use"));
        }
        let problem = match (takes, value) {
            (Takes::Switch, Some("")) | (Takes::One | Takes::Many, None) => {
                let message = format!("flag `{flag}` of {keyword} needs a value");
                Some(
                    Diagnostic::error("missing-flag-value", flag_span, message)
                        .label(format!("write `{flag}=...`")),
                )
            }
            (Takes::Switch, Some(value)) if !is_switch_value(value) => {
                let message = format!("`{value}` is no value for flag `{flag}` of {keyword}");
                let diagnostic =
                    Diagnostic::error("invalid-flag-value", value_span.clone(), message);
                Some(diagnostic.label("must be `true` or `false`"))
            }
            _ => None,
        };
        match problem {
            Some(diagnostic) => Err(diagnostic),
            None => {
                Ok((name, value.map(|value| Word { text: value.to_owned(), span: value_span })))
            }
        }
    }

    /// The value of a flag that takes one.
    pub(crate) fn one(&self, name: &str) -> Option<&Word> {
        self.many(name).next()
    }

    /// As [`Flags::one`], as text.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        self.one(name).map(|word| word.text.clone())
    }

    /// The values of a flag that can be repeated.
    pub(crate) fn many(&self, name: &str) -> impl Iterator<Item = &Word> {
        self.values
            .iter()
            .filter(move |(flag, _)| *flag == name)
            .filter_map(|(_, value)| value.as_ref())
    }

    /// Whether a switch is on or off, where it is given.
    pub(crate) fn switch(&self, name: &str) -> Option<bool> {
        let (_, value) = self.values.iter().find(|(flag, _)| *flag == name)?;
        Some(value.as_ref().is_none_or(|value| value.eq_ignore_ascii_case("true")))
    }
}

fn is_switch_value(value: &str) -> bool {
    value.eq_ignore_ascii_case("true") || value.eq_ignore_ascii_case("false")
}

fn unknown(
    keyword: &str,
    known: &[(&'static str, Takes)],
    flag: &str,
    span: Range<usize>,
) -> Diagnostic {
    let names: Vec<String> = known.iter().map(|(name, _)| format!("--{name}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let diagnostic =
        Diagnostic::error("unknown-flag", span, format!("unknown flag `{flag}` of {keyword}"))
            .label("unknown flag")
            .suggest(flag, &names);
    if names.is_empty() {
        diagnostic.hint(format!(
            "{keyword} takes no flags; write `--` in front of a word that starts with dashes"
        ))
    } else {
        diagnostic.hint(format!("{keyword} takes {}", names.join(", ")))
    }
}
