//! A Dockerfile's text to directives, stages and diagnostics.

use std::ops::Range;

use crate::ast::{Dockerfile, Instruction, Kind, Stage};
use crate::diagnostic::Diagnostic;
use crate::directive::DirectiveReader;
use crate::heredoc;
use crate::instruction::{self, From, Parsed};
use crate::source::{Lines, LogicalLine};
use crate::span::Span;

/// Parses a whole Dockerfile.
///
/// Always gives a Dockerfile; where a diagnostic is an error, what it is about is missing from
/// it, and the file must not be built. Diagnostics come in the order of their places.
pub fn parse(text: &str) -> (Dockerfile, Vec<Diagnostic>) {
    let mut parser = Parser::new();
    parser.read(text);
    parser.finish(text)
}

/// Parses the trigger that an image config stores for an `ONBUILD` instruction.
///
/// Spans count within `text`. `None` where there is an error among the diagnostics, or where the
/// text holds no instruction that may follow `ONBUILD`.
pub fn parse_trigger(text: &str) -> (Option<Instruction>, Vec<Diagnostic>) {
    let mut parser = Parser::new();
    parser.read(text);
    let whole = 0..text.len();
    let mut found = Vec::new();
    for item in parser.items {
        match item {
            (Parsed::Instruction(instruction), _) if !is_forbidden_trigger(&instruction.kind) => {
                found.push(instruction)
            }
            (Parsed::Instruction(_) | Parsed::From(_), span) => parser.diagnostics.push(
                Diagnostic::error(
                    "onbuild-trigger",
                    span.bytes,
                    "this instruction cannot be an ONBUILD trigger",
                )
                .label("not allowed"),
            ),
        }
    }
    if found.len() != 1 && !parser.diagnostics.iter().any(Diagnostic::is_error) {
        let message = format!("an ONBUILD trigger is one instruction, not {}", found.len());
        parser
            .diagnostics
            .push(Diagnostic::error("onbuild-trigger", whole, message).label("trigger"));
    }
    let usable = !parser.diagnostics.iter().any(Diagnostic::is_error);
    (found.pop().filter(|_| usable), parser.diagnostics)
}

fn is_forbidden_trigger(kind: &Kind) -> bool {
    matches!(kind, Kind::OnBuild(_) | Kind::Maintainer(_))
}

struct Parser {
    directives: DirectiveReader,
    items: Vec<(Parsed, Span)>,
    blank_lines: Vec<Range<usize>>,
    diagnostics: Vec<Diagnostic>,
    /// Whether there was a line that could not be used.
    broken: bool,
}

impl Parser {
    fn new() -> Self {
        Self {
            directives: DirectiveReader::new(),
            items: Vec::new(),
            blank_lines: Vec::new(),
            diagnostics: Vec::new(),
            broken: false,
        }
    }

    /// Reads all lines into `items`.
    fn read(&mut self, text: &str) {
        let mut lines = Lines::new(text);
        while let Some(first) = lines.next() {
            self.directives.line(first, &mut self.diagnostics);
            if first.is_comment() {
                continue;
            }
            let escape = self.directives.directives.escape;
            let Some(line) = LogicalLine::read(first, &mut lines, escape) else { continue };
            self.blank_lines.extend(line.blank_lines.first().cloned());
            let mut heredocs = match self.openings(&line) {
                Some(heredocs) => heredocs,
                None => continue,
            };
            let end = match heredoc::read_bodies(&mut heredocs, &mut lines) {
                Ok(end) => end,
                Err(name) => {
                    let at = line.text.find("<<").unwrap_or(0);
                    let length = line.text[at..].split_whitespace().next().map_or(0, str::len);
                    self.diagnostics.push(
                        Diagnostic::error(
                            "unterminated-heredoc",
                            line.place(at..at + length),
                            format!("the heredoc `{name}` has no end"),
                        )
                        .label(format!("no line below is `{name}` alone")),
                    );
                    self.broken = true;
                    continue;
                }
            };
            let span = line.span(end);
            match instruction::parse(&line, span.clone(), heredocs, escape, &mut self.diagnostics) {
                Some(parsed) => self.items.push((parsed, span)),
                None => self.broken = true,
            }
        }
    }

    /// The heredocs that the line opens; `None` where a delimiter is broken, which is reported.
    fn openings(&mut self, line: &LogicalLine) -> Option<Vec<crate::ast::Heredoc>> {
        if !instruction::takes_heredocs(&line.text) {
            return Some(Vec::new());
        }
        match heredoc::openings(&line.text) {
            Ok(heredocs) => Some(heredocs),
            Err(error) => {
                let at = line.text.find("<<").unwrap_or(0);
                let message = format!("cannot read the delimiter of a heredoc: {}", error.reason);
                let place = line.place(at..line.text.trim_end().len().max(at));
                self.diagnostics
                    .push(Diagnostic::error("bad-heredoc", place, message).label("this delimiter"));
                self.broken = true;
                None
            }
        }
    }

    /// Puts what was read into stages.
    fn finish(self, text: &str) -> (Dockerfile, Vec<Diagnostic>) {
        let mut diagnostics = self.diagnostics;
        let mut file = Dockerfile {
            directives: self.directives.directives,
            meta_args: Vec::new(),
            stages: Vec::new(),
            blank_lines: self.blank_lines,
        };
        // After a FROM that could not be read, what follows is no mistake of its own.
        let mut orphan_reported = self.broken;
        let empty = self.items.is_empty() && !self.broken;
        for (item, span) in self.items {
            match (item, file.stages.last_mut()) {
                (Parsed::From(from), _) => {
                    file.stages.push(stage(from, span));
                }
                (Parsed::Instruction(instruction), Some(stage)) => {
                    stage.instructions.push(instruction)
                }
                (Parsed::Instruction(instruction), None)
                    if matches!(instruction.kind, Kind::Arg(_)) =>
                {
                    file.meta_args.push(instruction);
                }
                (Parsed::Instruction(instruction), None) => {
                    if !std::mem::replace(&mut orphan_reported, true) {
                        let keyword = instruction.keyword();
                        let start = instruction.span.bytes.start;
                        diagnostics.push(
                            Diagnostic::error(
                                "from-missing",
                                start..start + keyword.len(),
                                format!("{keyword} stands before the first FROM"),
                            )
                            .label("no stage to belong to")
                            .hint("only ARG, comments and parser directives may stand before FROM"),
                        );
                    }
                }
            }
        }
        if empty {
            diagnostics.push(
                Diagnostic::error(
                    "no-instructions",
                    0..text.len(),
                    "the Dockerfile has no instructions",
                )
                .label("empty"),
            );
        } else if file.stages.is_empty() && !orphan_reported {
            let end = text.trim_end().len();
            diagnostics.push(
                Diagnostic::error("from-missing", end..end, "the Dockerfile has no FROM")
                    .label("no stage up to here")
                    .hint("start the first stage with `FROM image`"),
            );
        }
        diagnostics.sort_by_key(|diagnostic| diagnostic.span.start);
        (file, diagnostics)
    }
}

fn stage(from: From, span: Span) -> Stage {
    Stage {
        name_spans: from.as_span.zip(from.name.as_ref().map(|name| name.span.clone())),
        name: from.name.map(|name| name.text),
        base: from.base.text,
        base_span: from.base.span,
        platform: from.platform,
        instructions: Vec::new(),
        span,
    }
}
