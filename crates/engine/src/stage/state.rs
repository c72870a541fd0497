//! One stage: applies its instructions to a tree and its configuration.

use std::collections::BTreeMap;

use anyarch_dockerfile::{
    Add, Command, Copy, Healthcheck, Instruction, Kind, Lexer, MountKind, Network, ResolvedMount,
    Run, Security, Sharing,
};
use anyarch_oci::{ContainerConfig, Digest, Empty, Healthcheck as HealthConfig, Platform};
use anyarch_plan::is_remote;

use super::reader::Reader;
use super::{Bases, DEFAULT_PATH, HistoryItem, Lowered, absolute, unknown_name};
use crate::error::BuildError;
use crate::event::{Origin, StepId};
use crate::git::GitUrl;
use crate::graph::BuildGraph;
use crate::named::Named;
use crate::op::{CacheSharing, CopyFrom, CopyOp, ExecOp, MountOp, Op};

/// A build argument with its value.
#[derive(Clone, Debug)]
pub(super) struct BuildArg {
    name: String,
    value: String,
    /// Whether it was declared after any ENV of its name, and so is what the stage sees.
    hides_env: bool,
}

/// A stage while its instructions are applied.
pub(super) struct State<'a> {
    graph: &'a mut BuildGraph,
    reader: &'a Reader<'a>,
    pub(super) tree: Lowered,
    platform: Platform,
    at: usize,
    /// Build arguments in scope, in order of declaration; at first those of the stage built on.
    pub(super) args: Vec<BuildArg>,
    cmd_set: bool,
}

impl<'a> State<'a> {
    pub(super) fn new(
        graph: &'a mut BuildGraph,
        reader: &'a Reader<'a>,
        mut tree: Lowered,
        platform: Platform,
        at: usize,
        args: Vec<BuildArg>,
    ) -> State<'a> {
        if tree.config.config.env("PATH").is_none() {
            tree.config.config.set_env("PATH", DEFAULT_PATH);
        }
        State { graph, reader, tree, platform, at, args, cmd_set: false }
    }

    fn config(&mut self) -> &mut ContainerConfig {
        &mut self.tree.config.config
    }

    fn lookup(&self, name: &str) -> Option<String> {
        let arg = self.args.iter().find(|arg| arg.name == name);
        let env = || self.tree.config.config.env(name);
        match arg {
            Some(arg) if arg.hides_env => Some(arg.value.clone()),
            Some(arg) => Some(env().unwrap_or(&arg.value).to_owned()),
            None => env().map(str::to_owned),
        }
    }

    fn expand(&self, word: &str) -> Result<String, BuildError> {
        self.reader
            .lexer
            .expand(word, &mut |name| self.lookup(name))
            .map_err(|error| BuildError::input(format!("failed to expand `{word}`")).because(error))
    }

    pub(super) fn apply(
        &mut self,
        instruction: &Instruction,
        origin: &Origin,
        done: &BTreeMap<usize, Lowered>,
        bases: Bases<'_>,
    ) -> Result<(), BuildError> {
        match &instruction.kind {
            Kind::Run(run) => return self.run(run, instruction, origin, done, bases),
            Kind::Copy(copy) => return self.copy(copy, instruction, origin, done, bases),
            Kind::Add(add) => return self.add(add, instruction, origin),
            Kind::Workdir(path) => return self.workdir(path, origin),
            Kind::Arg(definitions) => {
                for definition in definitions {
                    self.declare(&definition.name, definition.default.as_deref())?;
                }
            }
            Kind::Env(pairs) => {
                let mut values = Vec::new();
                for (name, value) in pairs {
                    values.push((self.expand(name)?, self.expand(value)?));
                }
                for (name, value) in values {
                    self.config().set_env(&name, &value);
                    let shadowed = self.args.iter_mut().filter(|arg| arg.name == name);
                    shadowed.for_each(|arg| arg.hides_env = false);
                }
            }
            Kind::Label(pairs) => {
                for (name, value) in pairs {
                    let (name, value) = (self.expand(name)?, self.expand(value)?);
                    self.config().labels.insert(name, value);
                }
            }
            Kind::User(user) => self.config().user = self.expand(user)?,
            Kind::Expose(ports) => {
                for port in ports {
                    for port in expose(&self.expand(port)?)? {
                        self.config().exposed_ports.insert(port, Empty {});
                    }
                }
            }
            Kind::Volume(paths) => {
                for path in paths {
                    let path = self.expand(path)?;
                    self.config().volumes.insert(path, Empty {});
                }
            }
            Kind::Entrypoint(command) => {
                let argv = self.argv(command);
                let keep_cmd = self.cmd_set;
                let config = self.config();
                config.entrypoint = argv;
                if !keep_cmd {
                    config.cmd = None;
                }
            }
            Kind::Cmd(command) => {
                self.config().cmd = self.argv(command);
                self.cmd_set = true;
            }
            Kind::Shell(shell) => self.config().shell = Some(shell.clone()),
            Kind::StopSignal(signal) => {
                self.config().stop_signal = Some(known_signal(self.expand(signal)?)?);
            }
            Kind::Healthcheck(check) => self.config().healthcheck = Some(self.health(check)),
            Kind::OnBuild(trigger) => {
                let text = trigger.text.clone();
                self.config().on_build.push(text);
                // BuildKit's history does not know of triggers either, until they run.
                return Ok(());
            }
            Kind::Maintainer(name) => self.tree.config.author = Some(name.clone()),
        }
        self.record(instruction.text.clone(), None);
        Ok(())
    }

    /// ARG: a value from the command, else the default, else a global of that name.
    fn declare(&mut self, name: &str, default: Option<&str>) -> Result<(), BuildError> {
        let value = match (self.reader.input.build_args.get(name), default) {
            (Some(given), _) => Some(given.clone()),
            (None, Some(default)) => Some(self.expand(default)?),
            (None, None) => self.reader.globals.get(name).cloned(),
        };
        // Declared again without a value, it keeps the one it has.
        if let Some(value) = value {
            self.args.retain(|arg| arg.name != name);
            self.args.push(BuildArg { name: name.to_owned(), value, hides_env: true });
        }
        Ok(())
    }

    fn argv(&self, command: &Command) -> Option<Vec<String>> {
        let argv = command.argv(&self.shell());
        (!argv.is_empty()).then_some(argv)
    }

    fn shell(&self) -> Vec<String> {
        let own = self.tree.config.config.shell.clone();
        own.unwrap_or_else(|| vec!["/bin/sh".to_owned(), "-c".to_owned()])
    }

    fn health(&self, check: &Healthcheck) -> HealthConfig {
        let nanos = |time: &Option<std::time::Duration>| {
            time.map(|time| i64::try_from(time.as_nanos()).unwrap_or(i64::MAX))
                .filter(|nanos| *nanos != 0)
        };
        match check {
            Healthcheck::None => {
                HealthConfig { test: vec!["NONE".to_owned()], ..HealthConfig::default() }
            }
            Healthcheck::Check {
                command,
                interval,
                timeout,
                start_period,
                start_interval,
                retries,
            } => {
                let test = match command {
                    Command::Shell(text) => vec!["CMD-SHELL".to_owned(), text.clone()],
                    Command::Exec(argv) => {
                        std::iter::once("CMD".to_owned()).chain(argv.iter().cloned()).collect()
                    }
                };
                HealthConfig {
                    test,
                    interval: nanos(interval),
                    timeout: nanos(timeout),
                    start_period: nanos(start_period),
                    start_interval: nanos(start_interval),
                    retries: retries.map(i64::from).filter(|retries| *retries != 0),
                    extra: BTreeMap::new(),
                }
            }
        }
    }

    fn run(
        &mut self,
        run: &Run,
        instruction: &Instruction,
        origin: &Origin,
        done: &BTreeMap<usize, Lowered>,
        bases: Bases<'_>,
    ) -> Result<(), BuildError> {
        if run.security == Security::Insecure {
            return Err(BuildError::input("RUN --security=insecure is refused")
                .hint("steps run with the default set of capabilities only".to_owned()));
        }
        if !run.devices.is_empty() {
            return Err(not_run("RUN --device"));
        }
        let invocation = run.invocation(&self.shell());
        let op = Op::Exec(ExecOp {
            argv: invocation.argv.clone(),
            env: self.step_variables(),
            proxies: self.reader.proxies(),
            cwd: absolute("/", &self.tree.config.config.working_dir),
            user: self.tree.config.config.user.clone(),
            isolated: run.network == Some(Network::None),
            scripts: invocation
                .script
                .into_iter()
                .map(|script| (script.path, script.content))
                .collect(),
            mounts: self.mounts(run, done, bases)?,
        });
        let mut created_by = "RUN ".to_owned();
        if !self.args.is_empty() {
            created_by.push_str(&format!("|{} ", self.args.len()));
            for BuildArg { name, value, .. } in &self.args {
                created_by.push_str(&format!("{name}={value} "));
            }
        }
        created_by.push_str(&invocation.argv.join(" "));
        self.add_step(op, instruction.text.clone(), created_by, origin);
        Ok(())
    }

    /// What a RUN step sees: variables of the image and build arguments.
    fn step_variables(&self) -> BTreeMap<String, String> {
        let entries = self.tree.config.config.env.iter().filter_map(|entry| entry.split_once('='));
        let mut all: BTreeMap<String, String> =
            entries.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        for BuildArg { name, value, hides_env } in &self.args {
            if *hides_env || !all.contains_key(name) {
                all.insert(name.clone(), value.clone());
            }
        }
        all
    }

    fn workdir(&mut self, path: &str, origin: &Origin) -> Result<(), BuildError> {
        let path = self.expand(path)?;
        let path = absolute(&self.tree.config.config.working_dir, &path);
        self.config().working_dir.clone_from(&path);
        let text = format!("WORKDIR {path}");
        let user = self.tree.config.config.user.clone();
        self.add_step(Op::Mkdir { path, user }, text.clone(), text, origin);
        Ok(())
    }

    fn copy(
        &mut self,
        copy: &Copy,
        instruction: &Instruction,
        origin: &Origin,
        done: &BTreeMap<usize, Lowered>,
        bases: Bases<'_>,
    ) -> Result<(), BuildError> {
        let from = self.copy_from(copy.from.as_ref().map(|from| from.as_str()), done, bases)?;
        let words: Vec<&str> = copy.sources.iter().map(|word| word.as_str()).collect();
        let op = CopyOp {
            from,
            sources: self.paths(&words)?,
            inline: self.inline(&copy.heredocs)?,
            destination: self.destination(&copy.destination)?,
            chown: copy.chown.as_deref().map(|text| self.expand(text)).transpose()?,
            chmod: copy.chmod.as_deref().map(|text| self.expand(text)).transpose()?,
            add: false,
            link: copy.link,
            parents: copy.parents,
            exclude: self.expand_all(&copy.exclude)?,
            checksum: None,
            keep_git_dir: false,
            unpack: None,
        };
        self.add_copy("COPY", op, instruction, origin);
        Ok(())
    }

    /// What `--from` or `from=` names; without one, the build context.
    fn copy_from(
        &self,
        name: Option<&str>,
        done: &BTreeMap<usize, Lowered>,
        bases: Bases<'_>,
    ) -> Result<CopyFrom, BuildError> {
        let Some(name) = name else { return Ok(CopyFrom::Context(self.reader.input.context)) };
        if let Some(Named::Folder(number)) = self.reader.named(name) {
            return Ok(CopyFrom::Context(number));
        }
        let stage = self.reader.stage_before(name, self.at).and_then(|at| done.get(&at).cloned());
        let tree = stage
            .or_else(|| bases(name, self.reader.input.platform))
            .ok_or_else(|| unknown_name(name))?;
        Ok(CopyFrom::Step(tree.step))
    }

    fn mounts(
        &self,
        run: &Run,
        done: &BTreeMap<usize, Lowered>,
        bases: Bases<'_>,
    ) -> Result<Vec<MountOp>, BuildError> {
        let mut mounts = Vec::new();
        for mount in &run.mounts {
            let resolved = mount
                .resolve(&self.reader.lexer, &mut |name| self.lookup(name))
                .map_err(|error| BuildError::input("RUN --mount is not valid").because(error))?;
            mounts.push(self.mount(&resolved, done, bases)?);
        }
        Ok(mounts)
    }

    /// One mount, with the defaults of the Dockerfile reference ("RUN --mount").
    fn mount(
        &self,
        mount: &ResolvedMount,
        done: &BTreeMap<usize, Lowered>,
        bases: Bases<'_>,
    ) -> Result<MountOp, BuildError> {
        let target = mount
            .target
            .as_ref()
            .map(|target| absolute(&self.tree.config.config.working_dir, target));
        let needed = || {
            target.clone().ok_or_else(|| {
                BuildError::input(format!("RUN --mount=type={} needs a target", mount.kind.name()))
            })
        };
        let owner = (mount.uid.unwrap_or(0), mount.gid.unwrap_or(0));
        let from = mount.from.as_deref();
        let source = absolute("/", mount.source.as_deref().unwrap_or("/"));
        Ok(match mount.kind {
            MountKind::Bind => MountOp::Bind {
                from: self.copy_from(from, done, bases)?,
                source,
                target: needed()?,
                writable: !mount.read_only,
            },
            MountKind::Tmpfs => MountOp::Tmpfs { target: needed()?, size: mount.size },
            MountKind::Cache => {
                let target = needed()?;
                let first = match from {
                    Some(_) => Some((self.copy_from(from, done, bases)?, source)),
                    None => None,
                };
                MountOp::Cache {
                    id: mount.id.clone().unwrap_or_else(|| target.clone()),
                    from: first,
                    target,
                    sharing: match mount.sharing {
                        None | Some(Sharing::Shared) => CacheSharing::Shared,
                        Some(Sharing::Private) => CacheSharing::Private,
                        Some(Sharing::Locked) => CacheSharing::Locked,
                    },
                    writable: !mount.read_only,
                    mode: mount.mode.unwrap_or(0o755),
                    owner,
                }
            }
            MountKind::Secret => {
                let last = |path: &String| path.rsplit('/').next().unwrap_or_default().to_owned();
                let named = mount.id.clone().or_else(|| mount.source.as_ref().map(last));
                let id = named.or_else(|| target.as_ref().map(last)).unwrap_or_default();
                let usual = || format!("/run/secrets/{id}");
                MountOp::Secret {
                    target: match (&target, &mount.env) {
                        (Some(target), _) => Some(target.clone()),
                        (None, None) => Some(usual()),
                        (None, Some(_)) => None,
                    },
                    variable: mount.env.clone(),
                    required: mount.required,
                    mode: mount.mode.unwrap_or(0o400),
                    owner,
                    id,
                }
            }
            MountKind::Ssh => MountOp::Ssh {
                id: mount.id.clone().unwrap_or_else(|| "default".to_owned()),
                target,
                required: mount.required,
                mode: mount.mode.unwrap_or(0o600),
                owner,
            },
        })
    }

    fn add(
        &mut self,
        add: &Add,
        instruction: &Instruction,
        origin: &Origin,
    ) -> Result<(), BuildError> {
        let words: Vec<&str> = add.sources.iter().map(|word| word.as_str()).collect();
        let sources = self.paths(&words)?;
        let is_git = |source: &String| GitUrl::parse(source).is_some();
        let checksum = add.checksum.as_deref().map(|text| self.expand(text)).transpose()?;
        if let Some(checksum) = &checksum {
            let [source] = sources.as_slice() else {
                return Err(BuildError::input("ADD --checksum needs exactly one source, a URL"));
            };
            check_checksum(checksum, source)?;
        }
        let keep_git_dir = add.keep_git_dir.unwrap_or(false);
        if keep_git_dir && !sources.iter().any(is_git) {
            return Err(BuildError::input("ADD --keep-git-dir is for git repositories").hint(
                "a repository is URL.git, or begins with git@, ssh:// or git://".to_owned(),
            ));
        }
        let op = CopyOp {
            from: CopyFrom::Context(self.reader.input.context),
            sources,
            inline: self.inline(&add.heredocs)?,
            destination: self.destination(&add.destination)?,
            chown: add.chown.as_deref().map(|text| self.expand(text)).transpose()?,
            chmod: add.chmod.as_deref().map(|text| self.expand(text)).transpose()?,
            add: true,
            link: add.link,
            parents: false,
            exclude: self.expand_all(&add.exclude)?,
            checksum,
            keep_git_dir,
            unpack: add.unpack,
        };
        self.add_copy("ADD", op, instruction, origin);
        Ok(())
    }

    fn expand_all(&self, words: &[String]) -> Result<Vec<String>, BuildError> {
        words.iter().map(|word| self.expand(word)).collect()
    }

    /// Source words after expansion. A word stays one path, whatever blanks are in it.
    fn paths(&self, words: &[&str]) -> Result<Vec<String>, BuildError> {
        let expand = |word: &&str| match self.expand(word)? {
            path if path.is_empty() => {
                Err(BuildError::input(format!("the source `{word}` is empty"))
                    .hint("give its variable a value, or write `.` for everything".to_owned()))
            }
            path => Ok(path),
        };
        words.iter().map(expand).collect()
    }

    fn inline(
        &self,
        heredocs: &[anyarch_dockerfile::Heredoc],
    ) -> Result<Vec<(String, String)>, BuildError> {
        let mut files = Vec::new();
        for heredoc in heredocs {
            let body = heredoc.body();
            let body = if heredoc.expand { self.expand_body(&body)? } else { body };
            files.push((heredoc.name.clone(), body));
        }
        Ok(files)
    }

    fn expand_body(&self, body: &str) -> Result<String, BuildError> {
        Lexer::for_heredoc()
            .expand(body, &mut |name| self.lookup(name))
            .map_err(|error| BuildError::input("failed to expand a heredoc").because(error))
    }

    fn destination(&self, word: &str) -> Result<String, BuildError> {
        let text = self.expand(word)?;
        let directory = text.ends_with('/') || text == ".";
        let mut path = absolute(&self.tree.config.config.working_dir, &text);
        if directory && path != "/" {
            path.push('/');
        }
        Ok(path)
    }

    fn add_copy(&mut self, keyword: &str, op: CopyOp, instruction: &Instruction, origin: &Origin) {
        let inline = op.inline.iter().map(|(name, _)| name);
        let names = op.sources.iter().chain(inline);
        let mut created_by = keyword.to_owned();
        if let Some(chown) = &op.chown {
            created_by.push_str(&format!(" --chown={chown}"));
        }
        if let Some(chmod) = &op.chmod {
            created_by.push_str(&format!(" --chmod={chmod}"));
        }
        for name in names {
            created_by.push_str(&format!(" {name}"));
        }
        created_by.push_str(&format!(" {}", op.destination));
        self.add_step(Op::Copy(op), instruction.text.clone(), created_by, origin);
    }

    fn add_step(&mut self, op: Op, name: String, created_by: String, origin: &Origin) {
        let part = self.reader.input.part;
        // Continued lines keep their indentation in the text; people read one line.
        let name = name.split_whitespace().collect::<Vec<_>>().join(" ");
        let step =
            self.graph.add(op, self.tree.step, &self.platform, name, part, Some(origin.clone()));
        self.tree.step = Some(step);
        self.record(created_by, Some(step));
    }

    fn record(&mut self, created_by: String, step: Option<StepId>) {
        self.tree.history.push(HistoryItem::Ours { created_by, step });
    }
}

fn not_run(what: &str) -> BuildError {
    BuildError::input(format!("{what} is not supported yet"))
        .hint("this version parses the whole language but does not run this part of it".to_owned())
}

/// Refuses a checksum that no file or commit can have.
fn check_checksum(checksum: &str, source: &str) -> Result<(), BuildError> {
    if !is_remote(source) {
        return Err(BuildError::input("ADD --checksum needs exactly one source, a URL"));
    }
    if GitUrl::parse(source).is_some() {
        let hexadecimal = checksum.bytes().all(|byte| byte.is_ascii_hexdigit());
        return match hexadecimal && (7..=64).contains(&checksum.len()) {
            true => Ok(()),
            false => Err(BuildError::input("ADD --checksum is not a commit")
                .hint("of a repository it is a commit: 40 hexadecimal digits".to_owned())),
        };
    }
    checksum.parse::<Digest>().map(drop).map_err(|error| {
        BuildError::input("ADD --checksum is not a digest")
            .because(error)
            .hint("expected sha256: and 64 hexadecimal digits".to_owned())
    })
}

/// Names of signals without `SIG`, besides the real-time ones.
const SIGNALS: &str = "ABRT ALRM BUS CHLD CLD CONT FPE HUP ILL INT IO IOT KILL PIPE POLL PROF PWR QUIT \
     SEGV STKFLT STOP SYS TERM TRAP TSTP TTIN TTOU URG USR1 USR2 VTALRM WINCH XCPU XFSZ";

/// A signal as it is written, if it is one: a number, or a name with or without `SIG`.
fn known_signal(text: String) -> Result<String, BuildError> {
    let name = text.to_ascii_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    let real_time = |name: &str, sign: char| {
        let offset = name.strip_prefix(sign).map_or(Some(0), |number| number.parse().ok());
        (name.is_empty() || name.starts_with(sign)) && offset.is_some_and(|offset: u8| offset < 16)
    };
    let known = match text.parse::<u8>() {
        Ok(number) => number > 0,
        Err(_) => {
            SIGNALS.split_whitespace().any(|known| known == name)
                || name.strip_prefix("RTMIN").is_some_and(|rest| real_time(rest, '+'))
                || name.strip_prefix("RTMAX").is_some_and(|rest| real_time(rest, '-'))
        }
    };
    match known {
        true => Ok(text),
        false => Err(BuildError::input(format!("STOPSIGNAL `{text}` is no signal"))
            .hint("expected a name such as SIGTERM, or a number such as 15".to_owned())),
    }
}

/// Ports of one EXPOSE word: `80`, `53/udp`, `8000-8003/tcp`.
fn expose(word: &str) -> Result<Vec<String>, BuildError> {
    let bad = || {
        BuildError::input(format!("EXPOSE has a bad port `{word}`"))
            .hint("expected PORT, PORT/tcp, PORT/udp or FIRST-LAST".to_owned())
    };
    let (ports, protocol) = word.split_once('/').unwrap_or((word, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    if !["tcp", "udp", "sctp"].contains(&protocol.as_str()) {
        return Err(bad());
    }
    let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
    let first: u16 = first.parse().map_err(|_| bad())?;
    let last: u16 = last.parse().map_err(|_| bad())?;
    if first > last {
        return Err(bad());
    }
    Ok((first..=last).map(|port| format!("{port}/{protocol}")).collect())
}
