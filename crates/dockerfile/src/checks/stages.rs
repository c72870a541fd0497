//! Goes through the stages with what is known of their variables: `UndefinedVar`,
//! `WorkdirRelativePath`, `JSONArgsRecommended`, and all that looks at expanded words.

use super::scope::{Scope, Value};
use super::{Facts, Found, Inherited, expose, floating, from, ignored, install, secrets};
use crate::ast::{ArgDef, Command, Dockerfile, Heredoc, Instruction, Kind, Stage};
use crate::diagnostic::Diagnostic;
use crate::lexer::Lexer;
use crate::span::Word;

/// Checks all stages, needed or not; gives what each leaves to what is built on it.
pub(super) fn check(file: &Dockerfile, facts: &Facts<'_>, found: &mut Found<'_>) -> Vec<Inherited> {
    let lexer = Lexer::new(file.directives.escape);
    let globals = globals(file, facts, &lexer, true);
    let defaults = self::globals(file, facts, &lexer, facts.args_are_fixed);
    let mut states: Vec<State<'_>> = Vec::new();
    for (at, stage) in file.stages.iter().enumerate() {
        let base = from::check(stage, &globals, &defaults, &lexer, found).text;
        let earlier = base.as_deref().and_then(|base| stage_before(&file.stages[..at], base));
        let mut state = match earlier.and_then(|earlier| states.get(earlier)) {
            Some(below) => below.clone(),
            None => State::on_image(base.as_deref(), facts, &lexer, &globals),
        };
        if let (Some(base), None) = (&base, earlier) {
            floating::check(base, stage, found);
        }
        stage.instructions.iter().for_each(|instruction| state.apply(instruction, found));
        install::check(stage, facts, found);
        states.push(state);
    }
    states.into_iter().map(State::inherited).collect()
}

/// What FROM sees: the platform arguments, and the ARGs before the first FROM.
fn globals(file: &Dockerfile, facts: &Facts<'_>, lexer: &Lexer, with_args: bool) -> Scope {
    let mut scope = Scope::default();
    for name in from::PLATFORM_ARGS {
        scope.args.insert((*name).to_owned(), Value::Unknown);
    }
    let definitions = file.meta_args.iter().filter_map(|instruction| match &instruction.kind {
        Kind::Arg(definitions) => Some(definitions),
        _ => None,
    });
    for definition in definitions.flatten() {
        let given = facts.build_args.get(&definition.name).filter(|_| with_args);
        let value = match (given, &definition.default) {
            (Some(given), _) => Value::Text(given.clone()),
            (None, Some(default)) => {
                scope.expand(lexer, default).text.map_or(Value::Unknown, Value::Text)
            }
            // A platform argument that is declared keeps its value.
            (None, None) if scope.args.contains_key(&definition.name) => continue,
            (None, None) => Value::Unset,
        };
        scope.args.insert(definition.name.clone(), value);
    }
    scope
}

fn stage_before(stages: &[Stage], name: &str) -> Option<usize> {
    let named =
        |stage: &Stage| stage.name.as_deref().is_some_and(|own| own.eq_ignore_ascii_case(name));
    stages
        .iter()
        .rposition(named)
        .or_else(|| name.parse().ok().filter(|number| *number < stages.len()))
}

/// A stage, up to one of its instructions.
#[derive(Clone)]
struct State<'a> {
    facts: &'a Facts<'a>,
    lexer: &'a Lexer,
    globals: &'a Scope,
    scope: Scope,
    /// Whether SHELL was used, here or below.
    shell: bool,
    /// Whether an absolute WORKDIR was used, here or below.
    workdir: bool,
}

impl<'a> State<'a> {
    fn on_image(
        base: Option<&str>,
        facts: &'a Facts<'a>,
        lexer: &'a Lexer,
        globals: &'a Scope,
    ) -> Self {
        let image = match base {
            Some("scratch") => Some(Inherited::default()),
            Some(base) => (facts.base)(base),
            None => None,
        };
        Self {
            facts,
            lexer,
            globals,
            scope: Scope::on_image(image.as_ref()),
            shell: image.as_ref().is_some_and(|image| image.shell),
            workdir: image.as_ref().is_some_and(|image| image.workdir),
        }
    }

    fn inherited(self) -> Inherited {
        let text = |value| match value {
            Value::Text(text) => Some(text),
            Value::Unset | Value::Unknown => None,
        };
        Inherited {
            env: self.scope.env.into_iter().map(|(name, value)| (name, text(value))).collect(),
            more_env: self.scope.open,
            shell: self.shell,
            workdir: self.workdir,
        }
    }

    fn apply(&mut self, instruction: &Instruction, found: &mut Found<'_>) {
        let mut seen = Seen { instruction, names: Vec::new() };
        match &instruction.kind {
            Kind::Arg(definitions) => {
                definitions.iter().for_each(|arg| self.declare(arg, &mut seen, found));
            }
            Kind::Env(pairs) => self.env(pairs, &mut seen, found),
            Kind::Label(pairs) => {
                for (name, value) in pairs {
                    self.words([name.as_str(), value.as_str()], &mut seen, found);
                }
            }
            Kind::Run(run) => {
                self.words(run.mounts.iter().map(|mount| mount.text.as_str()), &mut seen, found);
            }
            Kind::Copy(copy) => {
                let flags = copy.chown.iter().chain(&copy.chmod).chain(&copy.exclude);
                self.words(flags.map(String::as_str), &mut seen, found);
                self.sources(&copy.sources, copy.from.is_none(), &mut seen, found);
                self.words([copy.destination.as_str()], &mut seen, found);
                self.heredocs(&copy.heredocs, &mut seen, found);
            }
            Kind::Add(add) => {
                let flags = add.chown.iter().chain(&add.chmod).chain(&add.checksum);
                self.words(flags.chain(&add.exclude).map(String::as_str), &mut seen, found);
                self.sources(&add.sources, true, &mut seen, found);
                self.words([add.destination.as_str()], &mut seen, found);
                self.heredocs(&add.heredocs, &mut seen, found);
            }
            Kind::Workdir(path) => self.workdir(path, &mut seen, found),
            Kind::User(word) | Kind::StopSignal(word) => {
                self.words([word.as_str()], &mut seen, found);
            }
            Kind::Volume(paths) => {
                self.words(paths.iter().map(String::as_str), &mut seen, found);
            }
            Kind::Expose(ports) => self.expose(ports, instruction, found),
            Kind::Cmd(command) | Kind::Entrypoint(command) => {
                self.command(command, instruction, found);
            }
            Kind::Shell(_) => self.shell = true,
            Kind::Healthcheck(_) | Kind::OnBuild(_) | Kind::Maintainer(_) => {}
        }
    }

    /// Expands a word, and reports what it uses and nothing has set.
    fn word(&self, word: &str, seen: &mut Seen<'_>, found: &mut Found<'_>) -> Option<String> {
        let expansion = self.scope.expand(self.lexer, word);
        seen.undefined(expansion.undefined, found);
        expansion.text
    }

    fn words<'w>(
        &self,
        words: impl IntoIterator<Item = &'w str>,
        seen: &mut Seen<'_>,
        found: &mut Found<'_>,
    ) {
        for word in words {
            self.word(word, seen, found);
        }
    }

    /// ARG: a value from outside, else the default, else that of the ARG before the first FROM.
    fn declare(&mut self, arg: &ArgDef, seen: &mut Seen<'_>, found: &mut Found<'_>) {
        secrets::check("ARG", &arg.name, &seen.instruction.span.bytes, found);
        let value = match (self.facts.build_args.get(&arg.name), &arg.default) {
            (Some(given), _) => Value::Text(given.clone()),
            (None, Some(default)) => {
                let mut scope = self.scope.clone();
                for (name, value) in &self.globals.args {
                    scope.args.entry(name.clone()).or_insert_with(|| value.clone());
                }
                let expansion = scope.expand(self.lexer, default);
                seen.undefined(expansion.undefined, found);
                expansion.text.map_or(Value::Unknown, Value::Text)
            }
            (None, None) => self.globals.args.get(&arg.name).cloned().unwrap_or(Value::Unset),
        };
        self.scope.args.insert(arg.name.clone(), value);
    }

    /// ENV: all values see the environment before it.
    fn env(&mut self, pairs: &[(String, String)], seen: &mut Seen<'_>, found: &mut Found<'_>) {
        let mut values = Vec::new();
        for (name, value) in pairs {
            secrets::check("ENV", name, &seen.instruction.span.bytes, found);
            let name = self.word(name, seen, found);
            let value = self.word(value, seen, found);
            values.extend(name.map(|name| (name, value.map_or(Value::Unknown, Value::Text))));
        }
        self.scope.env.extend(values);
    }

    fn sources(
        &self,
        sources: &[Word],
        from_context: bool,
        seen: &mut Seen<'_>,
        found: &mut Found<'_>,
    ) {
        for source in sources {
            let Some(text) = self.word(source, seen, found) else { continue };
            let remote = text.contains("://") || text.starts_with("git@");
            if let (Some(ignore), true) = (self.facts.ignore, from_context && !remote) {
                let keyword = seen.instruction.keyword();
                ignored::check(keyword, &text, &source.span, ignore, found);
            }
        }
    }

    fn heredocs(&self, heredocs: &[Heredoc], seen: &mut Seen<'_>, found: &mut Found<'_>) {
        let lexer = Lexer::for_heredoc();
        for heredoc in heredocs.iter().filter(|heredoc| heredoc.expand) {
            seen.undefined(self.scope.expand(&lexer, &heredoc.content).undefined, found);
        }
    }

    fn workdir(&mut self, path: &str, seen: &mut Seen<'_>, found: &mut Found<'_>) {
        let expanded = self.word(path, seen, found);
        let relative = expanded.is_some_and(|path| !path.starts_with('/'));
        if relative && !self.workdir {
            let span = &seen.instruction.span.bytes;
            let message = format!("where `WORKDIR {path}` leads depends on the base image");
            found.report(
                Diagnostic::warning("WorkdirRelativePath", found.place(span, path), message)
                    .label("relative")
                    .hint("write an absolute path, or put an absolute WORKDIR before it"),
            );
        }
        self.workdir |= !relative;
    }

    fn expose(&self, ports: &[String], instruction: &Instruction, found: &mut Found<'_>) {
        for port in ports {
            // Undefined variables are no matter here: an empty port fails the build.
            let Some(text) = self.scope.expand(self.lexer, port).text else { continue };
            for word in text.split_whitespace() {
                expose::check(word, &instruction.span.bytes, found);
            }
        }
    }

    fn command(&self, command: &Command, instruction: &Instruction, found: &mut Found<'_>) {
        let Command::Shell(_) = command else { return };
        if self.shell {
            return;
        }
        let keyword = instruction.keyword();
        let place = found.keyword(&instruction.span.bytes);
        let message =
            format!("{keyword} in shell form: the shell gets the signals, not the program");
        found.report(
            Diagnostic::warning("JSONArgsRecommended", place, message)
                .label("runs `/bin/sh -c`")
                .hint(format!(
                    "write {keyword} as a JSON array; or say with SHELL which shell is meant"
                )),
        );
    }
}

/// An instruction, and the undefined variables of it that were reported.
struct Seen<'a> {
    instruction: &'a Instruction,
    names: Vec<String>,
}

impl Seen<'_> {
    fn undefined(&mut self, undefined: Vec<(String, Option<String>)>, found: &mut Found<'_>) {
        for (name, near) in undefined {
            if self.names.contains(&name) {
                continue;
            }
            let place = from::variable_place(&name, &self.instruction.span.bytes, found);
            let message = format!("nothing has set the variable `{name}`");
            let finding = Diagnostic::warning("UndefinedVar", place, message);
            found.report(match near {
                Some(near) => finding.label(format!("did you mean `${near}`?")),
                None => finding
                    .label("empty")
                    .hint(format!("declare it with `ARG {name}`, or set it with ENV")),
            });
            self.names.push(name);
        }
    }
}
