//! Dockerfiles written from a model, in every style that means the same: what is read is the model.

use anyarch_dockerfile::{Command, Instruction, Kind, parse};
use proptest::prelude::*;

/// One instruction as a person means it.
#[derive(Debug, Clone, PartialEq)]
enum Line {
    Arg(String, Option<String>),
    Env(Vec<(String, String)>),
    Label(Vec<(String, String)>),
    Run(Vec<String>),
    RunExec(Vec<String>),
    RunHeredoc { body: Vec<String>, expand: bool },
    Copy { from: Option<String>, chown: Option<String>, link: bool, words: Vec<String> },
    Add { checksum: Option<String>, words: Vec<String> },
    Workdir(String),
    User(String),
    Expose(Vec<String>),
    Volume(Vec<String>),
    Cmd(Vec<String>),
    Entrypoint(Vec<String>),
    StopSignal(String),
    OnBuild(Box<Line>),
}

#[derive(Debug, Clone, PartialEq)]
struct Stage {
    base: String,
    name: Option<String>,
    platform: Option<String>,
    lines: Vec<Line>,
}

/// How a file is written down; nothing of it means anything.
#[derive(Debug, Clone)]
struct Style {
    escape: char,
    newline: &'static str,
    /// Decisions, taken one after the other, round and round.
    choices: Vec<u8>,
}

/// Writes words with the decisions of a style.
struct Pen<'a> {
    style: &'a Style,
    at: usize,
    text: String,
}

impl Pen<'_> {
    fn choose(&mut self, of: u8) -> u8 {
        self.at += 1;
        self.style.choices[self.at % self.style.choices.len()] % of
    }

    fn newline(&mut self) {
        self.text.push_str(self.style.newline);
    }

    /// Blank lines and comments between instructions.
    fn pause(&mut self) {
        match self.choose(6) {
            0 => self.newline(),
            1 => {
                self.text.push_str("# RUN nothing \\");
                self.newline();
            }
            2 => {
                self.text.push_str("  #");
                self.newline();
                self.newline();
            }
            _ => {}
        }
    }

    /// What stands between two words: a blank, more of them, or the next line.
    fn gap(&mut self) {
        match self.choose(6) {
            0 => self.text.push_str("  "),
            1 => self.text.push('\t'),
            choice @ 2..=3 => {
                self.text.push(' ');
                self.text.push(self.style.escape);
                self.newline();
                if choice == 3 {
                    self.text.push_str("  # inside");
                    self.newline();
                }
                self.text.push_str("    ");
            }
            _ => self.text.push(' '),
        }
    }

    /// An instruction: its keyword in some case, and its words.
    fn instruction(&mut self, keyword: &str, words: &[String]) {
        self.pause();
        if self.choose(5) == 0 {
            self.text.push_str("  ");
        }
        self.words(keyword, words);
        if self.choose(5) == 0 {
            self.text.push_str(" \t");
        }
        self.newline();
    }

    fn words(&mut self, keyword: &str, words: &[String]) {
        match self.choose(4) {
            0 => self.text.push_str(&keyword.to_lowercase()),
            _ => self.text.push_str(keyword),
        }
        for word in words {
            self.gap();
            self.text.push_str(word);
        }
    }
}

fn write(stages: &[Stage], style: &Style) -> String {
    let mut pen = Pen { style, at: 0, text: String::new() };
    if style.escape != '\\' {
        pen.text.push_str("# escape=");
        pen.text.push(style.escape);
        pen.newline();
    }
    for stage in stages {
        let mut words = Vec::new();
        words.extend(stage.platform.iter().map(|platform| format!("--platform={platform}")));
        words.push(stage.base.clone());
        words.extend(stage.name.iter().flat_map(|name| ["AS".to_owned(), name.clone()]));
        pen.instruction("FROM", &words);
        for line in &stage.lines {
            write_line(&mut pen, line);
        }
    }
    pen.text
}

fn write_line(pen: &mut Pen<'_>, line: &Line) {
    if let Line::RunHeredoc { body, expand } = line {
        let opening = if *expand { "<<END" } else { "<<\"END\"" };
        pen.instruction("RUN", &[opening.to_owned()]);
        for text in body.iter().map(String::as_str).chain(["END"]) {
            pen.text.push_str(text);
            pen.newline();
        }
        return;
    }
    let (keyword, words) = words(line);
    match line {
        Line::OnBuild(inner) => {
            let (trigger, mut rest) = self::words(inner);
            rest.insert(0, trigger.to_owned());
            pen.instruction(keyword, &rest);
        }
        _ => pen.instruction(keyword, &words),
    }
}

/// Keyword and words of what is no heredoc.
fn words(line: &Line) -> (&'static str, Vec<String>) {
    let pairs = |pairs: &[(String, String)]| {
        pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>()
    };
    let json = |words: &[String]| vec![serde_json::to_string(words).unwrap()];
    match line {
        Line::Arg(name, None) => ("ARG", vec![name.clone()]),
        Line::Arg(name, Some(value)) => ("ARG", vec![format!("{name}={value}")]),
        Line::Env(list) => ("ENV", pairs(list)),
        Line::Label(list) => ("LABEL", pairs(list)),
        Line::Run(words) => ("RUN", words.clone()),
        Line::RunExec(words) => ("RUN", json(words)),
        Line::RunHeredoc { .. } => ("RUN", Vec::new()),
        Line::Copy { from, chown, link, words } => {
            let mut all = Vec::new();
            all.extend(from.iter().map(|from| format!("--from={from}")));
            all.extend(chown.iter().map(|chown| format!("--chown={chown}")));
            all.extend(link.then(|| "--link".to_owned()));
            all.extend(words.clone());
            ("COPY", all)
        }
        Line::Add { checksum, words } => {
            let mut all = Vec::new();
            all.extend(checksum.iter().map(|sum| format!("--checksum={sum}")));
            all.extend(words.clone());
            ("ADD", all)
        }
        Line::Workdir(path) => ("WORKDIR", vec![path.clone()]),
        Line::User(user) => ("USER", vec![user.clone()]),
        Line::Expose(ports) => ("EXPOSE", ports.clone()),
        Line::Volume(paths) => ("VOLUME", json(paths)),
        Line::Cmd(argv) => ("CMD", json(argv)),
        Line::Entrypoint(argv) => ("ENTRYPOINT", json(argv)),
        Line::StopSignal(signal) => ("STOPSIGNAL", vec![signal.clone()]),
        Line::OnBuild(_) => ("ONBUILD", Vec::new()),
    }
}

/// What was read, as the model says it.
fn read(instruction: &Instruction) -> Line {
    let texts = |words: &[anyarch_dockerfile::Word]| {
        words.iter().map(|word| word.text.clone()).collect::<Vec<_>>()
    };
    let argv = |command: &Command| match command {
        Command::Exec(argv) => argv.clone(),
        Command::Shell(text) => panic!("not in exec form: {text}"),
    };
    match &instruction.kind {
        Kind::Arg(list) => Line::Arg(list[0].name.clone(), list[0].default.clone()),
        Kind::Env(list) => Line::Env(list.clone()),
        Kind::Label(list) => Line::Label(list.clone()),
        Kind::Run(run) => match (&run.command, &run.heredocs[..]) {
            (_, [heredoc]) => Line::RunHeredoc {
                body: heredoc.body().lines().map(str::to_owned).collect(),
                expand: heredoc.expand,
            },
            (Command::Exec(argv), _) => Line::RunExec(argv.clone()),
            // Blanks between words belong to the shell's text, and a style adds some.
            (Command::Shell(text), _) => {
                Line::Run(text.split_whitespace().map(str::to_owned).collect())
            }
        },
        Kind::Copy(copy) => Line::Copy {
            from: copy.from.as_ref().map(|from| from.text.clone()),
            chown: copy.chown.clone(),
            link: copy.link,
            words: [texts(&copy.sources), vec![copy.destination.text.clone()]].concat(),
        },
        Kind::Add(add) => Line::Add {
            checksum: add.checksum.clone(),
            words: [texts(&add.sources), vec![add.destination.text.clone()]].concat(),
        },
        Kind::Workdir(path) => Line::Workdir(path.clone()),
        Kind::User(user) => Line::User(user.clone()),
        Kind::Expose(ports) => Line::Expose(ports.clone()),
        Kind::Volume(paths) => Line::Volume(paths.clone()),
        Kind::Cmd(command) => Line::Cmd(argv(command)),
        Kind::Entrypoint(command) => Line::Entrypoint(argv(command)),
        Kind::StopSignal(signal) => Line::StopSignal(signal.clone()),
        Kind::OnBuild(inner) => Line::OnBuild(Box::new(read(inner))),
        kind => panic!("the model has no {}", kind.keyword()),
    }
}

/// A word without a meaning of its own, in either escape style.
fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-z0-9/._$-]{0,5}[a-z]",
        1 => Just("$HOME".to_owned()),
        1 => Just("&&".to_owned()),
        1 => Just("größe".to_owned()),
        1 => Just("a#b".to_owned()),
    ]
    .prop_filter("would be a flag", |word| !word.starts_with("--"))
}

fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        "[a-z0-9$./:-]{1,6}",
        "\"[a-z  $=]{0,6}\"",
        "'[a-z \"=]{0,6}'",
        Just("${A:-b}".to_owned()),
    ]
}

fn line() -> impl Strategy<Value = Line> {
    let name = || "[A-Z][A-Z0-9_]{0,3}";
    let words = |range: std::ops::Range<usize>| prop::collection::vec(word(), range);
    let pairs = || prop::collection::vec((name(), value()), 1..3);
    let argv = || prop::collection::vec("[a-z \"\\\\\té]{0,6}", 1..4);
    let body = prop::collection::vec("[a-z #$<\\\\]{0,6}", 0..4);
    let flat = prop_oneof![
        (name(), prop::option::of(value())).prop_map(|(name, value)| Line::Arg(name, value)),
        pairs().prop_map(Line::Env),
        pairs().prop_map(Line::Label),
        words(1..5).prop_map(Line::Run),
        argv().prop_map(Line::RunExec),
        (
            prop::option::of("[a-z]{1,4}"),
            prop::option::of("[0-9]{1,4}"),
            any::<bool>(),
            words(2..5)
        )
            .prop_map(|(from, chown, link, words)| Line::Copy { from, chown, link, words }),
        (prop::option::of("sha256:[0-9a-f]{64}"), words(2..4))
            .prop_map(|(checksum, words)| Line::Add { checksum, words }),
        word().prop_map(Line::Workdir),
        "[a-z]{1,4}(:[a-z]{1,4})?".prop_map(Line::User),
        prop::collection::btree_set("[1-9][0-9]{0,3}/(tcp|udp)", 1..3)
            .prop_map(|ports| Line::Expose(ports.into_iter().collect())),
        argv()
            .prop_filter("a volume needs a name", |all| all
                .iter()
                .all(|one| !one.trim().is_empty()))
            // As in BuildKit, blanks around a path are not of it.
            .prop_map(|all| Line::Volume(all.iter().map(|one| one.trim().to_owned()).collect())),
        argv().prop_map(Line::Cmd),
        argv().prop_map(Line::Entrypoint),
        "SIG[A-Z]{3}".prop_map(Line::StopSignal),
    ]
    .boxed();
    prop_oneof![
        8 => flat.clone(),
        1 => (body, any::<bool>()).prop_map(|(body, expand)| Line::RunHeredoc { body, expand }),
        1 => flat.prop_map(|line| Line::OnBuild(Box::new(line))),
    ]
}

fn stage() -> impl Strategy<Value = Stage> {
    let base = prop_oneof![
        Just("scratch".to_owned()),
        "[a-z]{1,5}(/[a-z]{1,5})?(:[a-z0-9.]{1,4})?",
        Just("${BASE}-slim".to_owned()),
    ];
    let name = prop::option::of("[a-z][a-z0-9._-]{0,4}");
    let platform = prop::option::of(Just("linux/arm64".to_owned()));
    (base, name, platform, prop::collection::vec(line(), 0..8))
        .prop_map(|(base, name, platform, lines)| Stage { base, name, platform, lines })
}

fn style() -> impl Strategy<Value = Style> {
    let newline = prop::sample::select(vec!["\n", "\r\n"]);
    let escape = prop::sample::select(vec!['\\', '`']);
    (escape, newline, prop::collection::vec(any::<u8>(), 1..40))
        .prop_map(|(escape, newline, choices)| Style { escape, newline, choices })
}

proptest! {
    #[test]
    fn what_is_written_is_read_in_every_style(
        stages in prop::collection::vec(stage(), 1..4),
        style in style(),
    ) {
        let text = write(&stages, &style);
        let (file, findings) = parse(&text);
        // Warnings are of the model: two stages of one name, a CMD given twice.
        prop_assert!(!findings.iter().any(|finding| finding.is_error()), "{findings:?} in\n{text}");
        prop_assert_eq!(file.directives.escape, style.escape);
        prop_assert!(file.meta_args.is_empty());
        let read: Vec<Stage> = file.stages.iter().map(|stage| Stage {
            base: stage.base.clone(),
            name: stage.name.clone(),
            platform: stage.platform.as_ref().map(|word| word.as_str().to_owned()),
            lines: stage.instructions.iter().map(read).collect(),
        }).collect();
        prop_assert_eq!(read, stages, "{}", text);
        crate::checks::parser::any_text(&text);
    }
}
