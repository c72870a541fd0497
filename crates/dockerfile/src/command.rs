//! The instructions with flags of their own: RUN, COPY, ADD and HEALTHCHECK.

use std::time::Duration;

use crate::ast::{Add, Command, Copy, Healthcheck, Heredoc};
use crate::csv::fields;
use crate::diagnostic::Diagnostic;
use crate::flags;
use crate::heredoc;
use crate::instruction::{Reader, Statement};
use crate::lexer::Lexer;
use crate::mount::Mount;
use crate::run::{Device, Network, Run, Security};
use crate::span::Word;
use crate::units::{parse_bool, parse_duration};
use crate::words::{Slice, split_keyword};

/// The shortest interval that a runtime accepts.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(1);

struct Files {
    sources: Vec<Word>,
    heredocs: Vec<Heredoc>,
    destination: Word,
}

impl Reader<'_> {
    pub(crate) fn run(&mut self, statement: &Statement<'_>) -> Option<Run> {
        let command = self.command(statement)?;
        let mut mounts = Vec::new();
        for word in statement.flags.many("mount") {
            let mount = Mount { text: word.text.clone(), span: word.span.clone() };
            match mount.check(&Lexer::new(self.escape)) {
                Ok(()) => mounts.push(mount),
                Err(error) => {
                    // Without quotes and continuations the field can be pointed at.
                    let exact = word.span.len() == word.text.len();
                    let field =
                        word.span.start + error.field.start..word.span.start + error.field.end;
                    let at = if exact { field } else { word.span.clone() };
                    let mut diagnostic = Diagnostic::error("invalid-mount", at, error.to_string())
                        .label(error.problem.to_string());
                    diagnostic.hint = error.hint();
                    self.report(diagnostic);
                }
            }
        }
        let network = self.choice(
            statement,
            "network",
            &[("default", Network::Default), ("none", Network::None), ("host", Network::Host)],
        );
        let security = self.choice(
            statement,
            "security",
            &[("sandbox", Security::Sandbox), ("insecure", Security::Insecure)],
        );
        let mut devices = Vec::new();
        for word in statement.flags.many("device") {
            match device(word) {
                Ok(device) => devices.push(device),
                Err(label) => {
                    let message = format!("cannot use `--device={word}` of RUN");
                    self.report(
                        Diagnostic::error("invalid-flag-value", word.span.clone(), message)
                            .label(label),
                    );
                }
            }
        }
        let heredocs = std::mem::take(&mut self.heredocs);
        Some(Run {
            command,
            heredocs,
            mounts,
            network,
            security: security.unwrap_or_default(),
            devices,
        })
    }

    /// The value of a flag that takes one of a few words.
    fn choice<T: Clone>(
        &mut self,
        statement: &Statement<'_>,
        flag: &str,
        choices: &[(&str, T)],
    ) -> Option<T> {
        let word = statement.flags.one(flag)?;
        let found = choices.iter().find(|(name, _)| *name == word.as_str());
        if found.is_none() {
            let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
            let message =
                format!("`{word}` is no value for flag `--{flag}` of {}", statement.keyword);
            self.report(
                Diagnostic::error("invalid-flag-value", word.span.clone(), message)
                    .label(format!("must be one of {}", names.join(", ")))
                    .suggest(word, &names),
            );
        }
        found.map(|(_, value)| value.clone())
    }

    pub(crate) fn copy(&mut self, statement: &Statement<'_>) -> Option<Copy> {
        let Files { sources, heredocs, destination } = self.files(statement)?;
        let flags = &statement.flags;
        let from = flags.one("from").cloned();
        if let Some(from) = from.as_ref().filter(|from| from.contains('$')) {
            self.report(
                Diagnostic::error(
                    "variable-in-from",
                    from.span.clone(),
                    "`--from` of COPY takes no variables",
                )
                .label("variable")
                .hint("name the image in a stage (`FROM $IMAGE AS name`) and copy from that stage"),
            );
        }
        Some(Copy {
            sources,
            heredocs,
            destination,
            from,
            chown: flags.text("chown"),
            chmod: flags.text("chmod"),
            link: flags.switch("link").unwrap_or(false),
            parents: flags.switch("parents").unwrap_or(false),
            exclude: flags.many("exclude").map(|word| word.text.clone()).collect(),
        })
    }

    pub(crate) fn add(&mut self, statement: &Statement<'_>) -> Option<Add> {
        let Files { sources, heredocs, destination } = self.files(statement)?;
        let flags = &statement.flags;
        Some(Add {
            sources,
            heredocs,
            destination,
            chown: flags.text("chown"),
            chmod: flags.text("chmod"),
            link: flags.switch("link").unwrap_or(false),
            exclude: flags.many("exclude").map(|word| word.text.clone()).collect(),
            checksum: flags.text("checksum"),
            keep_git_dir: flags.switch("keep-git-dir"),
            unpack: flags.switch("unpack"),
        })
    }

    /// Sources and destination; sources that open a heredoc are files given in place.
    fn files(&mut self, statement: &Statement<'_>) -> Option<Files> {
        let (words, json) = self.list(statement)?;
        let Some((destination, words)) =
            words.split_last().filter(|(_, sources)| !sources.is_empty())
        else {
            self.missing(statement, "at least one source and a destination");
            return None;
        };
        if !json {
            words.iter().for_each(|word| self.warn_of_late_flag(statement.keyword, word));
        }
        let opened = std::mem::take(&mut self.heredocs);
        let opening = |word: &Word| if json { None } else { heredoc::parse_word(word) };
        if opening(destination).is_some() {
            let message = format!("the destination of {} cannot be a heredoc", statement.keyword);
            self.report(
                Diagnostic::error("heredoc-destination", destination.span.clone(), message)
                    .label("no path"),
            );
            return None;
        }
        let mut files =
            Files { sources: Vec::new(), heredocs: Vec::new(), destination: destination.clone() };
        for word in words {
            // Of several heredocs with one name the last one's body counts.
            let body = opening(word)
                .and_then(|open| opened.iter().rfind(|heredoc| heredoc.name == open.name));
            match body {
                Some(heredoc) => files.heredocs.push(heredoc.clone()),
                None => files.sources.push(word.clone()),
            }
        }
        Some(files)
    }

    /// A flag behind the first word is a path to BuildKit, which is hardly ever meant.
    fn warn_of_late_flag(&mut self, keyword: &str, word: &Word) {
        let flag = word.split('=').next().unwrap_or_default();
        if flags::known(keyword).iter().any(|(name, _)| flag.strip_prefix("--") == Some(*name)) {
            let message = format!("`{flag}` behind the first path of {keyword} is no flag");
            let at = word.span.start..word.span.start + flag.len();
            self.report(
                Diagnostic::warning("late-flag", at, message)
                    .label("taken as a path")
                    .hint(format!("flags stand right behind {keyword}")),
            );
        }
    }

    pub(crate) fn healthcheck(&mut self, statement: &Statement<'_>) -> Option<Healthcheck> {
        let (kind, rest) = split_keyword(statement.rest);
        let rest: Slice<'_> = rest.trim();
        if kind.text.eq_ignore_ascii_case("NONE") {
            if !rest.text.is_empty() {
                let at = self.line.place(rest.range());
                self.report(
                    Diagnostic::error(
                        "too-many-arguments",
                        at,
                        "HEALTHCHECK NONE takes no arguments",
                    )
                    .label("too much"),
                );
                return None;
            }
            return Some(Healthcheck::None);
        }
        if !kind.text.eq_ignore_ascii_case("CMD") {
            if kind.text.is_empty() {
                self.missing(statement, "`CMD` or `NONE`");
            } else {
                let at = self.line.place(kind.range());
                let message = format!("unknown kind `{}` of HEALTHCHECK", kind.text);
                self.report(
                    Diagnostic::error("healthcheck-kind", at, message)
                        .label("must be `CMD` or `NONE`"),
                );
            }
            return None;
        }
        let command = match self.exec_form(statement.keyword, rest).ok()? {
            Some(argv) => Command::Exec(argv),
            None => Command::Shell(rest.text.to_owned()),
        };
        if matches!(&command, Command::Exec(argv) if argv.is_empty()) || rest.text.is_empty() {
            self.missing(statement, "a command after CMD");
            return None;
        }
        Some(Healthcheck::Check {
            command,
            interval: self.interval(statement, "interval"),
            timeout: self.interval(statement, "timeout"),
            start_period: self.interval(statement, "start-period"),
            start_interval: self.interval(statement, "start-interval"),
            retries: self.retries(statement),
        })
    }

    fn interval(&mut self, statement: &Statement<'_>, flag: &str) -> Option<Duration> {
        let word = statement.flags.one(flag).filter(|word| !word.is_empty())?;
        let label = match parse_duration(word) {
            Some(Duration::ZERO) => return None,
            Some(duration) if duration >= SHORTEST_INTERVAL => return Some(duration),
            Some(_) => "must be at least 1ms",
            None => "must be a duration such as `30s` or `1m30s`",
        };
        self.bad_value(word, flag, label);
        None
    }

    fn retries(&mut self, statement: &Statement<'_>) -> Option<u32> {
        let word = statement.flags.one("retries").filter(|word| !word.is_empty())?;
        let retries = word
            .strip_prefix('+')
            .unwrap_or(word)
            .parse::<i32>()
            .ok()
            .and_then(|n| u32::try_from(n).ok());
        if retries.is_none() {
            self.bad_value(word, "retries", "must be a number, not negative");
        }
        retries
    }

    fn bad_value(&mut self, word: &Word, flag: &str, label: &str) {
        let message = format!("`{word}` is no value for flag `--{flag}` of HEALTHCHECK");
        self.report(
            Diagnostic::error("invalid-flag-value", word.span.clone(), message).label(label),
        );
    }
}

/// Reads `name[,required[=true]]` or `name=...,...`.
fn device(word: &Word) -> Result<Device, String> {
    let mut device = Device { name: String::new(), required: false };
    for (field, _) in fields(word).ok_or("quotes do not match")? {
        let (key, value) =
            field.split_once('=').map_or((field.as_str(), None), |(key, value)| (key, Some(value)));
        match (key.to_lowercase().as_str(), value) {
            ("required", None) => device.required = true,
            ("required", Some(value)) => {
                device.required =
                    parse_bool(value).ok_or("`required` must be `true` or `false`")?;
            }
            ("name", Some(value)) if device.name.is_empty() => device.name = value.to_owned(),
            ("name", Some(_)) => return Err("the name is given twice".to_owned()),
            // The first word that is no key names the device; CDI names hold `=`.
            _ if device.name.is_empty() => device.name = field,
            _ => return Err(format!("unknown field `{field}`")),
        }
    }
    if device.name.is_empty() { Err("the device has no name".to_owned()) } else { Ok(device) }
}
