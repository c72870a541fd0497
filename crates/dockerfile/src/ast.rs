//! The nouns of a parsed Dockerfile: stages, instructions and their arguments.
//!
//! All words are as written, before variable expansion; [`crate::Lexer`] expands them once the
//! environment is known. RUN and its flags are in the `run` and `mount` modules.

use std::ops::Range;
use std::time::Duration;

use crate::run::Run;
use crate::span::{Span, Word};

/// A whole Dockerfile.
#[derive(Debug, Clone, PartialEq)]
pub struct Dockerfile {
    /// Parser directives at the head of the file.
    pub directives: Directives,
    /// The `ARG` instructions before the first `FROM`; `FROM` lines may use them.
    pub meta_args: Vec<Instruction>,
    /// Build stages in file order.
    pub stages: Vec<Stage>,
    /// The first blank line inside of each continued instruction that has one.
    pub blank_lines: Vec<Range<usize>>,
}

/// Parser directives (`# key=value` lines at the head of the file).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directives {
    /// `syntax`: the frontend image that the file asks for.
    pub syntax: Option<String>,
    /// `check`: the options of build checks; [`crate::checks::Options`] reads them.
    pub check: Option<Word>,
    /// `escape`: backslash, or backtick where the file says so.
    pub escape: char,
}

impl Default for Directives {
    fn default() -> Self {
        Self { syntax: None, check: None, escape: '\\' }
    }
}

/// One build stage: a `FROM` line and the instructions up to the next one.
#[derive(Debug, Clone, PartialEq)]
pub struct Stage {
    /// The name given with `AS`, in lower case.
    pub name: Option<String>,
    /// Where the word `AS` is written, and where the name.
    pub name_spans: Option<(Range<usize>, Range<usize>)>,
    /// What the stage is built from, unexpanded: an image, `scratch` or an earlier stage.
    pub base: String,
    /// Where the base is written.
    pub base_span: Range<usize>,
    /// The value of `--platform`, unexpanded.
    pub platform: Option<Word>,
    /// Instructions after the `FROM` line, in file order.
    pub instructions: Vec<Instruction>,
    /// Place of the `FROM` line alone.
    pub span: Span,
}

/// One instruction with its place in the file.
#[derive(Debug, Clone, PartialEq)]
pub struct Instruction {
    /// From the keyword to the end of the instruction, heredoc bodies included.
    pub span: Span,
    /// The instruction on one line: keyword in upper case, the rest as written with
    /// continuations joined and comment lines dropped. Heredoc bodies are not in it.
    pub text: String,
    /// What the instruction says.
    pub kind: Kind,
}

impl Instruction {
    /// The keyword in upper case.
    pub fn keyword(&self) -> &'static str {
        self.kind.keyword()
    }

    /// The instruction with the heredoc bodies that follow it, as it can be parsed again.
    /// This is what an image config stores for an `ONBUILD` trigger.
    pub fn source(&self) -> String {
        let mut source = self.text.clone();
        for heredoc in self.kind.heredocs() {
            source.push('\n');
            source.push_str(&heredoc.content);
            source.push_str(&heredoc.name);
        }
        source
    }
}

/// The instructions of the Dockerfile language, except `FROM`, which opens a [`Stage`].
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// `ARG name[=default] ...`
    Arg(Vec<ArgDef>),
    /// `ENV name=value ...` or `ENV name value`; values unexpanded, quotes included.
    Env(Vec<(String, String)>),
    /// `LABEL name=value ...`; names and values unexpanded, quotes included.
    Label(Vec<(String, String)>),
    /// `RUN ...`
    Run(Run),
    /// `COPY ...`
    Copy(Copy),
    /// `ADD ...`
    Add(Add),
    /// `WORKDIR path`
    Workdir(String),
    /// `USER user[:group]`
    User(String),
    /// `EXPOSE port[-port][/protocol] ...`, sorted as BuildKit records them.
    Expose(Vec<String>),
    /// `VOLUME path ...` or `VOLUME ["path", ...]`
    Volume(Vec<String>),
    /// `ENTRYPOINT ...`; the empty exec form takes the inherited one away.
    Entrypoint(Command),
    /// `CMD ...`; the empty exec form takes the inherited one away.
    Cmd(Command),
    /// `SHELL ["program", "argument", ...]`
    Shell(Vec<String>),
    /// `STOPSIGNAL signal`
    StopSignal(String),
    /// `HEALTHCHECK ...`
    Healthcheck(Healthcheck),
    /// `ONBUILD instruction`
    OnBuild(Box<Instruction>),
    /// `MAINTAINER name` (deprecated)
    Maintainer(String),
}

impl Kind {
    /// The keyword in upper case.
    pub fn keyword(&self) -> &'static str {
        match self {
            Self::Arg(_) => "ARG",
            Self::Env(_) => "ENV",
            Self::Label(_) => "LABEL",
            Self::Run(_) => "RUN",
            Self::Copy(_) => "COPY",
            Self::Add(_) => "ADD",
            Self::Workdir(_) => "WORKDIR",
            Self::User(_) => "USER",
            Self::Expose(_) => "EXPOSE",
            Self::Volume(_) => "VOLUME",
            Self::Entrypoint(_) => "ENTRYPOINT",
            Self::Cmd(_) => "CMD",
            Self::Shell(_) => "SHELL",
            Self::StopSignal(_) => "STOPSIGNAL",
            Self::Healthcheck(_) => "HEALTHCHECK",
            Self::OnBuild(_) => "ONBUILD",
            Self::Maintainer(_) => "MAINTAINER",
        }
    }

    /// The heredocs of the instruction, in the order their bodies follow it.
    pub fn heredocs(&self) -> &[Heredoc] {
        match self {
            Self::Run(run) => &run.heredocs,
            Self::Copy(copy) => &copy.heredocs,
            Self::Add(add) => &add.heredocs,
            Self::OnBuild(inner) => inner.kind.heredocs(),
            _ => &[],
        }
    }
}

/// One definition of an `ARG` instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArgDef {
    /// The argument's name.
    pub name: String,
    /// The default, unexpanded, quotes included; `None` where there is no `=`.
    pub default: Option<String>,
}

/// A command in one of its two forms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Shell form: text that the stage's `SHELL` runs.
    Shell(String),
    /// Exec form (a JSON array): the argument vector itself.
    Exec(Vec<String>),
}

impl Command {
    /// The argument vector, with `shell` put in front of the shell form.
    pub fn argv(&self, shell: &[String]) -> Vec<String> {
        match self {
            Self::Shell(text) => shell.iter().cloned().chain([text.clone()]).collect(),
            Self::Exec(argv) => argv.clone(),
        }
    }
}

/// A heredoc with its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heredoc {
    /// The delimiter, without quotes; for COPY and ADD also the file's name.
    pub name: String,
    /// Whether variables in the body are expanded: false when the delimiter is quoted.
    pub expand: bool,
    /// Whether leading tabs of each line are dropped (`<<-`); [`Heredoc::body`] drops them.
    pub strip_tabs: bool,
    /// The file descriptor written before `<<`.
    pub fd: Option<u32>,
    /// The lines between the instruction and the delimiter, as written, line ends included.
    pub content: String,
}

impl Heredoc {
    /// The body with the leading tabs of each line removed where `<<-` asks for it.
    pub fn body(&self) -> String {
        if self.strip_tabs {
            self.content.split_inclusive('\n').map(|line| line.trim_start_matches('\t')).collect()
        } else {
            self.content.clone()
        }
    }
}

/// `COPY [flags] source... destination`.
#[derive(Debug, Clone, PartialEq)]
pub struct Copy {
    /// Source paths and patterns, unexpanded; heredocs are in `heredocs`.
    pub sources: Vec<Word>,
    /// Files given in place: each is created under the name of its delimiter.
    pub heredocs: Vec<Heredoc>,
    /// Where to copy to, unexpanded.
    pub destination: Word,
    /// `--from`: a stage (name or number), a named context or an image.
    pub from: Option<Word>,
    /// `--chown`, unexpanded.
    pub chown: Option<String>,
    /// `--chmod`, unexpanded.
    pub chmod: Option<String>,
    /// `--link`: copy without depending on the tree below.
    pub link: bool,
    /// `--parents`: keep the directories of the sources.
    pub parents: bool,
    /// `--exclude` patterns, unexpanded.
    pub exclude: Vec<String>,
}

/// `ADD [flags] source... destination`.
#[derive(Debug, Clone, PartialEq)]
pub struct Add {
    /// Source paths, patterns, URLs and Git repositories, unexpanded.
    pub sources: Vec<Word>,
    /// Files given in place: each is created under the name of its delimiter.
    pub heredocs: Vec<Heredoc>,
    /// Where to put them, unexpanded.
    pub destination: Word,
    /// `--chown`, unexpanded.
    pub chown: Option<String>,
    /// `--chmod`, unexpanded.
    pub chmod: Option<String>,
    /// `--link`: add without depending on the tree below.
    pub link: bool,
    /// `--exclude` patterns, unexpanded.
    pub exclude: Vec<String>,
    /// `--checksum` of a remote source, unexpanded.
    pub checksum: Option<String>,
    /// `--keep-git-dir`, where given.
    pub keep_git_dir: Option<bool>,
    /// `--unpack`, where given; without it local archives are unpacked and remote ones are not.
    pub unpack: Option<bool>,
}

/// `HEALTHCHECK`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Healthcheck {
    /// `HEALTHCHECK NONE`: takes an inherited check away.
    None,
    /// `HEALTHCHECK [flags] CMD ...`
    Check {
        /// The command to run.
        command: Command,
        /// `--interval`; `None` means the runtime's default, as zero does.
        interval: Option<Duration>,
        /// `--timeout`
        timeout: Option<Duration>,
        /// `--start-period`
        start_period: Option<Duration>,
        /// `--start-interval`
        start_interval: Option<Duration>,
        /// `--retries`
        retries: Option<u32>,
    },
}
