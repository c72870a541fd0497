//! `RUN`: its flags, and the process that a RUN step starts.

use crate::ast::{Command, Heredoc};
use crate::heredoc;
use crate::mount::Mount;

/// Where a heredoc that starts with `#!` is put before it is run; the place is outside the image.
pub const SCRIPT_DIRECTORY: &str = "/dev/pipes";

/// `RUN [flags] command`.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// The command; for heredocs the text of the instruction's line (`<<EOF`, `cat <<EOF | sh`).
    /// Use [`Run::invocation`] for what is really run.
    pub command: Command,
    /// The heredocs of the line, in order.
    pub heredocs: Vec<Heredoc>,
    /// `--mount` flags.
    pub mounts: Vec<Mount>,
    /// `--network`, where given.
    pub network: Option<Network>,
    /// `--security`
    pub security: Security,
    /// `--device` flags.
    pub devices: Vec<Device>,
}

/// `RUN --network`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// The builder's default.
    Default,
    /// No network but the loopback.
    None,
    /// The host's network.
    Host,
}

/// `RUN --security`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Security {
    /// The default confinement.
    #[default]
    Sandbox,
    /// All privileges.
    Insecure,
}

/// `RUN --device=name[,required]`: a CDI device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// The device's qualified name, such as `nvidia.com/gpu=0`.
    pub name: String,
    /// Whether the step fails where the device is absent.
    pub required: bool,
}

/// The process that a RUN step starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invocation {
    /// The argument vector.
    pub argv: Vec<String>,
    /// A file that must exist, executable (mode 0755) and read-only, while the process runs.
    pub script: Option<ScriptFile>,
}

/// A script given as a heredoc that starts with `#!`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScriptFile {
    /// Absolute path in the build root, below [`SCRIPT_DIRECTORY`].
    pub path: String,
    /// The script.
    pub content: String,
}

impl Run {
    /// What BuildKit would run, given the stage's shell (`["/bin/sh", "-c"]`).
    ///
    /// A line that is nothing but one heredoc runs the body: through the shell, or as a program
    /// of its own when the body starts with `#!`. On any other line the heredocs are left to
    /// the shell, with their bodies put back below the line. RUN bodies are never expanded by
    /// the builder; the shell does that.
    pub fn invocation(&self, shell: &[String]) -> Invocation {
        let text = match &self.command {
            Command::Exec(argv) => return Invocation { argv: argv.clone(), script: None },
            Command::Shell(text) => text,
        };
        let with_shell = |text: String| shell.iter().cloned().chain([text]).collect();
        let Some(first) = self.heredocs.first() else {
            return Invocation { argv: with_shell(text.clone()), script: None };
        };
        if heredoc::parse_word(text).is_none() {
            let mut script = text.clone();
            for heredoc in &self.heredocs {
                script.push('\n');
                script.push_str(&heredoc.content);
                script.push_str(&heredoc.name);
            }
            return Invocation { argv: with_shell(script), script: None };
        }
        if first.content.starts_with("#!") {
            // A delimiter may hold slashes; the file must not leave the directory.
            let path = format!("{SCRIPT_DIRECTORY}/{}", first.name.replace('/', "_"));
            let script = ScriptFile { path: path.clone(), content: first.body() };
            return Invocation { argv: with_shell(path), script: Some(script) };
        }
        Invocation { argv: with_shell(first.body()), script: None }
    }
}
