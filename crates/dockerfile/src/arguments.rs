//! The instructions that are a list of words: ARG, ENV, LABEL, EXPOSE, VOLUME, SHELL and FROM.

use crate::ast::{ArgDef, Command};
use crate::diagnostic::Diagnostic;
use crate::instruction::{From, Reader, Statement};
use crate::words::{Token, by_blanks, by_quotes, split_keyword};

impl Reader<'_> {
    pub(crate) fn arg(&mut self, statement: &Statement<'_>) -> Option<Vec<ArgDef>> {
        let words = by_quotes(statement.rest, self.escape);
        if words.is_empty() {
            self.missing(statement, "a name");
            return None;
        }
        let mut definitions = Vec::new();
        for word in words {
            let (name, default) = match word.text.split_once('=') {
                Some((name, default)) => (name, Some(default.to_owned())),
                None => (word.text.as_str(), None),
            };
            if name.is_empty() {
                self.blank_name(statement.keyword, &word);
                return None;
            }
            definitions.push(ArgDef { name: name.to_owned(), default });
        }
        Some(definitions)
    }

    pub(crate) fn blank_name(&mut self, keyword: &str, word: &Token) {
        let at = self.line.place(word.range.clone());
        let message = format!("a name of {keyword} cannot be empty");
        self.report(Diagnostic::error("blank-name", at, message).label("no name before `=`"));
    }

    /// `name=value ...`, or the old `name value`.
    pub(crate) fn pairs(&mut self, statement: &Statement<'_>) -> Option<Vec<(String, String)>> {
        let words = by_quotes(statement.rest, self.escape);
        let Some(first) = words.first() else {
            self.missing(statement, "a name and a value");
            return None;
        };
        if !first.text.contains('=') {
            let (name, value) = split_keyword(statement.rest);
            if value.text.is_empty() {
                self.missing(statement, "a value");
                return None;
            }
            return Some(vec![(name.text.to_owned(), value.text.to_owned())]);
        }
        let mut pairs = Vec::new();
        for word in &words {
            let Some((name, value)) = word.text.split_once('=') else {
                let at = self.line.place(word.range.clone());
                let message =
                    format!("`{}` of {} is no `name=value`", word.text, statement.keyword);
                self.report(
                    Diagnostic::error("missing-equals", at, message)
                        .label("no `=`")
                        .hint("put a value with blanks in double quotes"),
                );
                return None;
            };
            if name.is_empty() {
                self.blank_name(statement.keyword, word);
                return None;
            }
            pairs.push((name.to_owned(), value.to_owned()));
        }
        Some(pairs)
    }

    pub(crate) fn expose(&mut self, statement: &Statement<'_>) -> Option<Vec<String>> {
        let mut ports: Vec<String> =
            by_blanks(statement.rest).into_iter().map(|token| token.text).collect();
        if ports.is_empty() {
            self.missing(statement, "a port");
            return None;
        }
        ports.sort();
        Some(ports)
    }

    pub(crate) fn volume(&mut self, statement: &Statement<'_>) -> Option<Vec<String>> {
        let (words, _) = self.list(statement)?;
        if words.is_empty() || words.iter().any(|word| word.trim().is_empty()) {
            self.missing(statement, "a path");
            return None;
        }
        Some(words.iter().map(|word| word.trim().to_owned()).collect())
    }

    pub(crate) fn shell(&mut self, statement: &Statement<'_>) -> Option<Vec<String>> {
        match self.command(statement)? {
            Command::Exec(argv) if argv.is_empty() => {
                self.missing(statement, "a program");
                None
            }
            Command::Exec(argv) => Some(argv),
            Command::Shell(_) => {
                let at = self.line.place(statement.rest.range());
                self.report(
                    Diagnostic::error("shell-not-json", at, "SHELL needs the exec form")
                        .label("no JSON array of strings")
                        .hint(r#"write for example `SHELL ["/bin/bash", "-c"]`"#),
                );
                None
            }
        }
    }

    pub(crate) fn from(&mut self, statement: &Statement<'_>) -> Option<From> {
        let words = by_blanks(statement.rest);
        let (base, named) = match &words[..] {
            [] => {
                self.missing(statement, "a base image");
                return None;
            }
            [base] => (base, None),
            [base, r#as, name] if r#as.text.eq_ignore_ascii_case("as") => {
                (base, Some((r#as, name)))
            }
            [_, second, ..] => {
                let at = self.line.place(second.range.start..statement.rest.range().end);
                self.report(
                    Diagnostic::error(
                        "too-many-arguments",
                        at,
                        "FROM takes one argument, or three with AS",
                    )
                    .label("not `AS name`"),
                );
                return None;
            }
        };
        let as_span = named.map(|(r#as, _)| self.line.place(r#as.range.clone()));
        let name = named.map(|(_, token)| {
            let mut word = self.word(token);
            word.text = word.text.to_lowercase();
            let valid = word.starts_with(|c: char| c.is_ascii_lowercase())
                && word.chars().all(|c| matches!(c, 'a'..='z' | '0'..='9' | '-' | '_' | '.'));
            if !valid {
                let message = format!("`{}` cannot be the name of a stage", token.text);
                self.report(
                    Diagnostic::error("invalid-stage-name", word.span.clone(), message)
                        .label("must be letters, digits, `-`, `_` and `.`, with a letter first"),
                );
            }
            word
        });
        let platform = statement.flags.one("platform").cloned();
        Some(From { base: self.word(base), name, as_span, platform })
    }
}
