//! What every verb is given: flags of the whole program, settled against the environment.

use std::env;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use anyarch_sandbox::Cancel;
use anyarch_store::Store;

use crate::args::{GlobalArgs, Progress};
use crate::failure::Failure;

/// Name of the plan where the command line gives none.
pub(crate) const PLAN: &str = "anyarch.toml";

/// The flags of the whole program, settled.
#[derive(Clone)]
pub(crate) struct Global {
    /// The plan file, relative to the current folder.
    pub(crate) plan: PathBuf,
    /// The folder of the host store, where it was named or a home folder is known.
    pub(crate) store: Option<PathBuf>,
    /// The folder that it would be in without a flag or variable.
    pub(crate) default_store: Option<PathBuf>,
    /// The file with settings of registries, where it was named.
    pub(crate) registries: Option<PathBuf>,
    /// How progress is shown; never `Auto`.
    pub(crate) progress: Progress,
    /// Nothing but results, warnings and errors.
    pub(crate) quiet: bool,
    /// Every line of output and every cached step.
    pub(crate) verbose: bool,
    /// Set by the first Ctrl-C.
    pub(crate) cancel: Cancel,
}

impl Global {
    /// Settles the flags. Enters `-C DIR`, so that all other paths are relative to it.
    pub(crate) fn settle(args: GlobalArgs) -> Result<Global, Failure> {
        if let Some(directory) = &args.directory {
            env::set_current_dir(directory).map_err(|error| {
                Failure::usage(format!("cannot enter {}", directory.display())).because(&error)
            })?;
        }
        let progress = match args.progress {
            Progress::Auto if has_terminal() => Progress::Tty,
            Progress::Auto => Progress::Plain,
            Progress::Tty if !has_terminal() => {
                return Err(Failure::usage("`--progress tty` needs a terminal on standard error")
                    .hint("`--progress plain` works everywhere".to_owned()));
            }
            chosen => chosen,
        };
        Ok(Global {
            plan: args.plan.unwrap_or_else(|| PathBuf::from(PLAN)),
            store: args.store.or_else(default_store),
            default_store: default_store(),
            registries: args.registries,
            progress,
            quiet: args.quiet,
            verbose: args.verbose,
            cancel: Cancel::new(),
        })
    }

    /// Whether progress is a live tree.
    pub(crate) fn shows_tree(&self) -> bool {
        self.progress == Progress::Tty && !self.quiet
    }

    /// The folder of the plan file: what paths in the plan are relative to.
    pub(crate) fn plan_directory(&self) -> PathBuf {
        match self.plan.parent() {
            Some(parent) if parent != Path::new("") => parent.to_owned(),
            _ => PathBuf::from("."),
        }
    }

    /// The folder of the host store.
    pub(crate) fn store_path(&self) -> Result<&Path, Failure> {
        self.store.as_deref().ok_or_else(|| {
            Failure::usage("no folder for the host store")
                .hint("HOME is not set: name a folder with --store or ANYARCH_STORE".to_owned())
        })
    }

    /// Opens the host store, made where it does not exist.
    pub(crate) fn open_store(&self) -> Result<Store, Failure> {
        Ok(Store::open(self.store_path()?)?)
    }
}

/// Whether standard error is a terminal that can move its cursor.
fn has_terminal() -> bool {
    let dumb = env::var_os("TERM").is_none_or(|term| term == "dumb" || term.is_empty());
    std::io::stderr().is_terminal() && !dumb
}

/// `anyarch` in the XDG data folder.
fn default_store() -> Option<PathBuf> {
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_DATA_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/share")))
        .map(|data| data.join("anyarch"))
}
