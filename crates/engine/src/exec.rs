//! Runs a process in a tree: RUN steps, smoke commands, the maintainer scripts of a base.
//!
//! The process sees the machine's name resolution, proxies, certificates and package sources; none
//! of that is recorded.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyarch_layer::Root;
use anyarch_sandbox::{
    Exit, Network, Process, ProvidedFile, SandboxError, Stream as SandboxStream,
};

use crate::engine::Session;
use crate::error::{BuildError, Context};
use crate::event::Stream;
use crate::foreign::ForeignTree;
use crate::mounts::Mounts;
use crate::op::ExecOp;
use crate::trust;
use crate::users::process_identity;

/// Name of the machine inside of steps, the same everywhere.
const HOSTNAME: &str = "anyarch";

/// Gets output as it is written.
pub(crate) type OnOutput<'a> = &'a mut dyn FnMut(Stream, &[u8]);

impl Session<'_> {
    /// Runs a process in a mounted tree and waits for it. `foreign` is how, where the tree is for
    /// another platform than this machine's.
    pub(crate) fn execute(
        &self,
        root: &Path,
        op: &ExecOp,
        mounts: &Mounts,
        foreign: Option<&ForeignTree<'_>>,
        output: OnOutput<'_>,
    ) -> Result<Exit, BuildError> {
        let what = || format!("failed to run `{}`", shorten(&op.argv.join(" ")));
        let tree = Root::open(root).context(what)?;
        let identity = process_identity(&tree, &op.user)?;
        let mut files = vec![
            provided("/etc/resolv.conf", self.engine.host.resolv_conf.clone()),
            provided(
                "/etc/hosts",
                format!(
                    "127.0.0.1\tlocalhost {HOSTNAME}\n::1\tlocalhost ip6-localhost ip6-loopback\n"
                )
                .into_bytes(),
            ),
        ];
        files.extend(
            op.scripts.iter().map(|(path, text)| provided(path, text.clone().into_bytes())),
        );
        let mut env = self.environment(&tree, op, identity.home.as_deref(), &mut files);
        env.extend(mounts.env.iter().cloned());
        files.extend(mounts.files.iter().cloned());
        // As runc does: a working directory that is not there is made.
        let cwd = Path::new(&op.cwd);
        if !tree.exists(cwd) {
            tree.create_dir_all(cwd, 0o755, 0, 0).context(what)?;
        }
        drop(tree);

        let mut process = Process::new(root, op.argv.iter().map(OsString::from));
        process.env = env.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        process.cwd = PathBuf::from(&op.cwd);
        (process.uid, process.gid, process.groups) = (identity.uid, identity.gid, identity.groups);
        process.hostname = HOSTNAME.to_owned();
        process.network = if op.isolated { Network::None } else { Network::Host };
        process.files = files;
        process.mounts = mounts.mounts.clone();
        process.foreign = foreign.and_then(ForeignTree::process);
        let mut on_output = |stream: SandboxStream, bytes: &[u8]| {
            let stream = match stream {
                SandboxStream::Stdout => Stream::Stdout,
                SandboxStream::Stderr => Stream::Stderr,
            };
            output(stream, bytes);
        };
        let result = match foreign {
            None => anyarch_sandbox::run(&process, &mut on_output, self.cancel),
            Some(foreign) => anyarch_sandbox::run_measured(&process, &mut on_output, self.cancel)
                .map(|(exit, usage)| {
                    foreign.measured(usage);
                    exit
                }),
        };
        match result {
            Err(SandboxError::Cancelled) => Err(BuildError::cancelled()),
            result => result.context(what),
        }
    }

    /// The environment that the programs of a step begin with.
    pub(crate) fn step_environment(
        &self,
        root: &Path,
        op: &ExecOp,
    ) -> Result<BTreeMap<String, String>, BuildError> {
        let tree = Root::open(root).context(|| "failed to open the tree of a step".to_owned())?;
        let identity = process_identity(&tree, &op.user)?;
        Ok(self.environment(&tree, op, identity.home.as_deref(), &mut Vec::new()))
    }

    /// The environment of a process; adds the files that it names.
    fn environment(
        &self,
        tree: &Root,
        op: &ExecOp,
        home: Option<&str>,
        files: &mut Vec<ProvidedFile>,
    ) -> BTreeMap<String, String> {
        let mut env = op.env.clone();
        env.entry("PATH".to_owned()).or_insert_with(|| crate::stage::DEFAULT_PATH.to_owned());
        env.entry("HOME".to_owned()).or_insert_with(|| home.unwrap_or("/").to_owned());
        env.entry("SOURCE_DATE_EPOCH".to_owned()).or_insert_with(|| self.epoch.to_string());
        for (name, value) in &op.proxies {
            env.entry(name.clone()).or_insert_with(|| value.clone());
        }
        self.lend(tree, &mut env, files);
        env
    }

    /// Adds what the machine lends: proxies, certificates, package sources.
    fn lend(&self, tree: &Root, env: &mut BTreeMap<String, String>, files: &mut Vec<ProvidedFile>) {
        let host = &self.engine.host;
        for (name, value) in &host.proxies {
            env.entry(name.clone()).or_insert_with(|| value.clone());
        }
        if let Some(bundle) =
            host.ca_bundle.as_deref().filter(|bundle| trust::adds_to(bundle, tree))
        {
            files.push(provided(trust::BUNDLE_PATH, bundle.to_vec()));
            for name in trust::VARIABLES {
                env.entry((*name).to_owned()).or_insert_with(|| trust::BUNDLE_PATH.to_owned());
            }
        }
        if let Some(apt) = self.apt_files(tree) {
            files.extend(apt);
            env.entry("APT_CONFIG".to_owned()).or_insert_with(|| APT_CONFIG_PATH.to_owned());
        }
    }

    /// Package sources for a tree that has apt but names none of its own: the machine's.
    fn apt_files(&self, tree: &Root) -> Option<Vec<ProvidedFile>> {
        if !tree.exists(Path::new("usr/bin/apt-get")) || has_own_sources(tree) {
            return None;
        }
        let release = tree.read(Path::new("etc/os-release")).ok()?;
        let release = String::from_utf8_lossy(&release);
        let suite = release
            .lines()
            .find_map(|line| line.strip_prefix("VERSION_CODENAME="))?
            .trim_matches('"');
        let sources = crate::sources::machine_sources(&self.engine.host, suite).ok()?;
        let mut list = String::new();
        for source in &sources {
            list.push_str(&format!(
                "deb {} {} {}\n",
                source.uri,
                source.suite,
                source.components.join(" ")
            ));
        }
        let mut config = format!("Dir::Etc::sourcelist \"{APT_LIST_PATH}\";\n");
        if self.engine.host.single_id {
            // There is no other user to drop to.
            config.push_str("APT::Sandbox::User \"root\";\n");
        }
        Some(vec![
            provided(APT_LIST_PATH, list.into_bytes()),
            provided(APT_CONFIG_PATH, config.into_bytes()),
        ])
    }
}

const APT_CONFIG_PATH: &str = "/dev/.anyarch/apt.conf";
const APT_LIST_PATH: &str = "/dev/.anyarch/sources.list";

fn has_own_sources(tree: &Root) -> bool {
    let listed = tree.read(Path::new("etc/apt/sources.list")).is_ok_and(|text| {
        String::from_utf8_lossy(&text).lines().any(|line| line.trim_start().starts_with("deb"))
    });
    let parts = tree.read_dir(Path::new("etc/apt/sources.list.d")).unwrap_or_default();
    listed
        || parts.iter().any(|name| {
            name.to_str().is_some_and(|name| name.ends_with(".list") || name.ends_with(".sources"))
        })
}

fn provided(path: &str, contents: Vec<u8>) -> ProvidedFile {
    ProvidedFile::new(path, contents)
}

/// The error of a process that ended badly.
pub(crate) fn ended_badly(what: &str, exit: Exit) -> BuildError {
    let how = match exit {
        Exit::Code(code) => format!("exit code {code}"),
        Exit::Signal(signal) => format!("signal {signal}"),
    };
    let error = BuildError::failed(format!("{what} failed: {how}"));
    match exit {
        Exit::Code(127) => error.hint(
            "127 means that a command was not found: is its package installed in an earlier step?"
                .to_owned(),
        ),
        Exit::Code(137) | Exit::Signal(9) => {
            error.hint("the process was killed, often because memory ran out".to_owned())
        }
        _ => error,
    }
}

/// The first line of a command, cut to a readable length.
pub(crate) fn shorten(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    match line.char_indices().nth(100) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None if line.len() < text.trim_end().len() => format!("{line} …"),
        None => line.to_owned(),
    }
}
