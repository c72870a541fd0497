//! One logical line to one instruction.
//!
//! Splits the line the way the keyword asks for and checks what can be checked without knowing
//! variables, the build context or other stages.

use std::ops::Range;

use crate::ast::{Command, Heredoc, Instruction, Kind};
use crate::diagnostic::Diagnostic;
use crate::flags::Flags;
use crate::source::LogicalLine;
use crate::span::{Span, Word};
use crate::words::{Json, Slice, Token, by_blanks, json_array, split_flags, split_keyword};

const KEYWORDS: &[&str] = &[
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// A line that was read.
pub(crate) enum Parsed {
    From(From),
    Instruction(Instruction),
}

/// A `FROM` line.
pub(crate) struct From {
    pub(crate) base: Word,
    pub(crate) name: Option<Word>,
    /// Where `AS` is written.
    pub(crate) as_span: Option<Range<usize>>,
    pub(crate) platform: Option<Word>,
}

/// Whether heredocs of this line are the builder's to read: RUN, COPY and ADD, not in exec form.
pub(crate) fn takes_heredocs(line: &str) -> bool {
    let (mut keyword, mut rest) = split_keyword(Slice::new(line));
    if keyword.text.eq_ignore_ascii_case("ONBUILD") {
        (keyword, rest) = split_keyword(split_flags(rest).1);
    }
    let takes = ["RUN", "COPY", "ADD"].iter().any(|name| keyword.text.eq_ignore_ascii_case(name));
    takes && !matches!(json_array(split_flags(rest).1.text), Json::Strings(_))
}

/// Reads one line; `None` where it cannot be used, which is then reported.
pub(crate) fn parse(
    line: &LogicalLine,
    span: Span,
    heredocs: Vec<Heredoc>,
    escape: char,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Parsed> {
    let (keyword, rest) = split_keyword(Slice::new(&line.text));
    let mut reader = Reader { line, span, heredocs, escape, diagnostics };
    reader.statement(keyword, rest, false)
}

/// What the readers of instructions share: the line, and where to report.
pub(crate) struct Reader<'a> {
    pub(crate) line: &'a LogicalLine,
    span: Span,
    pub(crate) heredocs: Vec<Heredoc>,
    pub(crate) escape: char,
    pub(crate) diagnostics: &'a mut Vec<Diagnostic>,
}

/// An instruction's name, its place, its flags and what comes after them.
pub(crate) struct Statement<'a> {
    pub(crate) keyword: &'static str,
    pub(crate) at: Range<usize>,
    pub(crate) flags: Flags,
    pub(crate) rest: Slice<'a>,
}

impl Reader<'_> {
    fn statement(
        &mut self,
        keyword: Slice<'_>,
        rest: Slice<'_>,
        in_onbuild: bool,
    ) -> Option<Parsed> {
        let at = self.line.place(keyword.range());
        let Some(name) = KEYWORDS.iter().find(|name| name.eq_ignore_ascii_case(keyword.text))
        else {
            self.unknown(keyword.text, at);
            return None;
        };
        if in_onbuild && matches!(*name, "ONBUILD" | "FROM" | "MAINTAINER") {
            let message = format!("ONBUILD cannot trigger {name}");
            self.report(
                Diagnostic::error("onbuild-trigger", at, message).label("not allowed here"),
            );
            return None;
        }
        let (tokens, rest) = split_flags(rest);
        let before = self.errors();
        let flags = Flags::read(name, &tokens, self.line, self.diagnostics);
        let statement = Statement { keyword: name, at: at.clone(), flags, rest };
        if *name == "FROM" {
            return self.from(&statement).map(Parsed::From);
        }
        let kind = self.kind(statement)?;
        if self.errors() > before {
            return None;
        }
        let tail = &self.line.text[keyword.range().end..];
        // A trigger is recorded as it is written, and starts where its own keyword does.
        let keyword = if in_onbuild { keyword.text } else { name };
        let text = format!("{keyword}{}", tail.trim_end());
        let span = Span {
            bytes: at.start..self.span.bytes.end.max(at.start),
            lines: self.span.lines.clone(),
        };
        Some(Parsed::Instruction(Instruction { span, text, kind }))
    }

    fn kind(&mut self, statement: Statement<'_>) -> Option<Kind> {
        Some(match statement.keyword {
            "ARG" => Kind::Arg(self.arg(&statement)?),
            "ENV" => Kind::Env(self.pairs(&statement)?),
            "LABEL" => Kind::Label(self.pairs(&statement)?),
            "RUN" => Kind::Run(self.run(&statement)?),
            "COPY" => Kind::Copy(self.copy(&statement)?),
            "ADD" => Kind::Add(self.add(&statement)?),
            "WORKDIR" => Kind::Workdir(self.text(&statement)?),
            "USER" => Kind::User(self.text(&statement)?),
            "STOPSIGNAL" => Kind::StopSignal(self.text(&statement)?),
            "EXPOSE" => Kind::Expose(self.expose(&statement)?),
            "VOLUME" => Kind::Volume(self.volume(&statement)?),
            "ENTRYPOINT" => Kind::Entrypoint(self.command(&statement)?),
            "CMD" => Kind::Cmd(self.command(&statement)?),
            "SHELL" => Kind::Shell(self.shell(&statement)?),
            "HEALTHCHECK" => Kind::Healthcheck(self.healthcheck(&statement)?),
            "ONBUILD" => Kind::OnBuild(Box::new(self.onbuild(&statement)?)),
            _ => Kind::Maintainer(self.text(&statement)?),
        })
    }

    fn unknown(&mut self, word: &str, at: Range<usize>) {
        let diagnostic =
            Diagnostic::error("unknown-instruction", at, format!("unknown instruction `{word}`"))
                .label("unknown instruction")
                .suggest(&word.to_uppercase(), KEYWORDS);
        let hint =
            format!("if this continues the line above, end that line with `{}`", self.escape);
        self.report(diagnostic.hint(hint));
    }

    pub(crate) fn report(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    fn errors(&self) -> usize {
        self.diagnostics.iter().filter(|diagnostic| diagnostic.is_error()).count()
    }

    /// Reports that `statement` lacks `what`.
    pub(crate) fn missing(&mut self, statement: &Statement<'_>, what: &str) {
        let message = format!("{} needs {what}", statement.keyword);
        self.report(
            Diagnostic::error("missing-argument", statement.at.clone(), message)
                .label("too few arguments"),
        );
    }

    pub(crate) fn word(&self, token: &Token) -> Word {
        Word { text: token.text.clone(), span: self.line.place(token.range.clone()) }
    }

    /// The rest of the line as one argument.
    fn text(&mut self, statement: &Statement<'_>) -> Option<String> {
        if statement.rest.text.is_empty() {
            self.missing(statement, "an argument");
            return None;
        }
        Some(statement.rest.text.to_owned())
    }

    /// The rest of the line in exec form, if it is in it. `Err` where it is an array of other
    /// things, which is reported; a broken array is reported as a warning.
    pub(crate) fn exec_form(
        &mut self,
        keyword: &str,
        rest: Slice<'_>,
    ) -> Result<Option<Vec<String>>, ()> {
        match json_array(rest.text) {
            Json::Strings(words) => Ok(Some(words)),
            Json::OtherValues => {
                let message = format!("the array of {keyword} may hold strings only");
                let at = self.line.place(rest.range());
                self.report(
                    Diagnostic::error("json-not-strings", at, message)
                        .label("put every word in double quotes"),
                );
                Err(())
            }
            Json::No { fault: None } => Ok(None),
            Json::No { fault: Some(fault) } => {
                let length = rest.text[fault..].chars().next().map_or(0, char::len_utf8);
                let at = rest.at + fault;
                let message = format!("{keyword} looks like the exec form, but is no valid JSON");
                let mut diagnostic =
                    Diagnostic::warning("json-form", self.line.place(at..at + length), message)
                        .label("not JSON from here on; the text is taken as the shell form");
                if rest.text.contains('\'') {
                    diagnostic = diagnostic.hint("JSON strings stand in double quotes");
                } else if rest.text.trim_end_matches([']', ' ']).ends_with(',') {
                    diagnostic = diagnostic.hint("JSON has no comma before the closing bracket");
                }
                self.report(diagnostic);
                Ok(None)
            }
        }
    }

    /// Words of an array, or between blanks.
    pub(crate) fn list(&mut self, statement: &Statement<'_>) -> Option<(Vec<Word>, bool)> {
        let rest = statement.rest;
        Some(match self.exec_form(statement.keyword, rest).ok()? {
            Some(words) => {
                let span = self.line.place(rest.range());
                (words.into_iter().map(|text| Word { text, span: span.clone() }).collect(), true)
            }
            None => (by_blanks(rest).iter().map(|token| self.word(token)).collect(), false),
        })
    }

    /// Shell or exec form.
    pub(crate) fn command(&mut self, statement: &Statement<'_>) -> Option<Command> {
        if statement.rest.text.is_empty() {
            self.missing(statement, "a command");
            return None;
        }
        Some(match self.exec_form(statement.keyword, statement.rest).ok()? {
            Some(argv) => Command::Exec(argv),
            None => Command::Shell(statement.rest.text.to_owned()),
        })
    }

    fn onbuild(&mut self, statement: &Statement<'_>) -> Option<Instruction> {
        if statement.rest.text.is_empty() {
            self.missing(statement, "an instruction");
            return None;
        }
        let (keyword, rest) = split_keyword(statement.rest);
        match self.statement(keyword, rest, true)? {
            Parsed::Instruction(instruction) => Some(instruction),
            Parsed::From(_) => None,
        }
    }
}
