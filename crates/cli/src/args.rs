//! The arguments: what clap parses and prints as help.

use std::path::PathBuf;

use anyarch_engine::{NoCache, Twins};
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::exit;
use crate::lent::{SecretArg, SshArg};
use crate::verb;

/// Builds families of container images, for several platforms, without a daemon.
///
/// A plan (`anyarch.toml`) names the members of a family: flavors on platforms, each a chain of
/// Dockerfiles. `build` makes their images in a local store, `publish` pushes them to a registry.
#[derive(Debug, Parser)]
#[command(
    name = "anyarch",
    version,
    after_help = exit::HELP,
    propagate_version = false,
    max_term_width = 100,
    subcommand_value_name = "COMMAND",
    subcommand_required = true,
    disable_help_subcommand = true,
    args_override_self = true,
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: GlobalArgs,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// Flags that every verb takes.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct GlobalArgs {
    /// Work in this folder; other paths are relative to it
    #[arg(short = 'C', value_name = "DIR", global = true)]
    pub(crate) directory: Option<PathBuf>,
    /// The plan file [default: anyarch.toml]
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) plan: Option<PathBuf>,
    /// Folder of images, snapshots and build cache [default: anyarch in the XDG data folder]
    #[arg(long, value_name = "DIR", env = "ANYARCH_STORE", hide_env_values = true, global = true)]
    pub(crate) store: Option<PathBuf>,
    /// File with settings of registries [default: anyarch/registries.toml in the XDG config folder]
    #[arg(
        long,
        value_name = "FILE",
        env = "ANYARCH_REGISTRIES",
        hide_env_values = true,
        global = true
    )]
    pub(crate) registries: Option<PathBuf>,
    /// How progress is shown: a live tree on a terminal, plain lines, or JSON events on standard
    /// output
    #[arg(long, value_name = "HOW", value_enum, default_value_t, global = true)]
    pub(crate) progress: Progress,
    /// When to use colours
    #[arg(long, value_name = "WHEN", value_enum, default_value_t, global = true)]
    pub(crate) color: Color,
    /// Show results, warnings and errors only
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// On a terminal too, show the output of every step and name the steps that are cached; say why
    /// foreign programs were emulated
    #[arg(short, long, global = true)]
    pub(crate) verbose: bool,
}

/// What to build.
#[derive(Clone, Debug, Args)]
#[allow(
    rustdoc::broken_intra_doc_links,
    reason = "the text is the help, and `[:TIER]` means itself"
)]
pub(crate) struct TargetArgs {
    /// FLAVOR[/ARCH][:TIER], a short name such as `cpu-base`, or a pattern such as `*/arm64`;
    /// everything without any
    #[arg(value_name = "TARGET")]
    pub(crate) targets: Vec<String>,
    /// The architecture, where a target leaves it open
    #[arg(long, value_name = "ARCH")]
    pub(crate) arch: Option<String>,
}

/// What steps are lent.
#[derive(Clone, Debug, Args)]
pub(crate) struct StepArgs {
    /// Certificates that steps trust: the machine's where it has some that an image would not
    /// have (auto), the machine's (host), only the image's own (image), or those of a file
    #[arg(long, value_name = "auto|host|image|FILE", default_value = "auto")]
    pub(crate) ca: Ca,
    /// Run every step, whatever the cache knows
    #[arg(long)]
    pub(crate) no_cache: bool,
    /// Run every step of these stages or tiers, whatever the cache knows
    #[arg(long, value_name = "NAME", value_delimiter = ',', conflicts_with = "no_cache")]
    pub(crate) no_cache_filter: Vec<String>,
    /// A secret for steps that mount it: id=NAME,src=FILE or id=NAME,env=VARIABLE
    #[arg(long, value_name = "SECRET")]
    pub(crate) secret: Vec<SecretArg>,
    /// An ssh agent for steps that mount it: `default`, or NAME=SOCKET
    #[arg(long, value_name = "AGENT")]
    pub(crate) ssh: Vec<SshArg>,
    /// Whether native programs stand in for those of foreign platforms where the result is
    /// proven to be the same
    #[arg(long, value_name = "WHEN", value_enum, default_value_t)]
    pub(crate) twins: TwinsArg,
    /// Run every step for a foreign platform twice, with twins and emulated, and compare the files
    #[arg(long, conflicts_with = "twins")]
    pub(crate) verify_twins: bool,
}

/// Whether native programs stand in for foreign ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum TwinsArg {
    /// Where it is proven.
    #[default]
    On,
    /// Never: everything is emulated.
    Off,
}

impl StepArgs {
    /// Which steps run whatever the cache knows.
    pub(crate) fn no_cache(&self) -> NoCache {
        match (self.no_cache, self.no_cache_filter.as_slice()) {
            (true, _) => NoCache::Everything,
            (false, []) => NoCache::Nothing,
            (false, names) => NoCache::Named(names.to_vec()),
        }
    }

    /// How foreign programs are to be run.
    pub(crate) fn twins(&self) -> Twins {
        match (self.verify_twins, self.twins) {
            (true, _) => Twins::Verify,
            (false, TwinsArg::On) => Twins::On,
            (false, TwinsArg::Off) => Twins::Off,
        }
    }
}

/// How progress is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Progress {
    /// `tty` on a terminal, else `plain`.
    #[default]
    Auto,
    /// A live tree.
    Tty,
    /// One line for each thing that happens.
    Plain,
    /// One JSON object on standard output for each thing that happens.
    Json,
}

/// When to use colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless NO_COLOR is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    Build(verb::build::Args),
    Publish(verb::publish::Args),
    Release(verb::release::Args),
    Check(verb::check::Args),
    Plan(verb::plan::Args),
    Why(verb::why::Args),
    Lock(verb::lock::Args),
    Export(verb::export::Args),
    Images(verb::images::Args),
    Tags(verb::tags::Args),
    Serve(verb::serve::Args),
    Init(verb::init::Args),
    Schema(verb::schema::Args),
    Completions(verb::completions::Args),
    Man(verb::man::Args),
}

/// Which certificates steps trust.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Ca {
    /// The machine's, where it has some that an image would not have.
    #[default]
    Auto,
    /// The machine's.
    Host,
    /// The image's own only.
    Image,
    /// Those of a file.
    File(PathBuf),
}

impl std::str::FromStr for Ca {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Ca, Self::Err> {
        Ok(match text {
            "auto" => Ca::Auto,
            "host" => Ca::Host,
            "image" => Ca::Image,
            file => Ca::File(PathBuf::from(file)),
        })
    }
}
