//! `anyarch man`: the manual pages.

use std::path::PathBuf;

use clap::CommandFactory;

use crate::args::Cli;
use crate::failure::Failure;
use crate::global::Global;
use crate::output;

/// Print the manual page, or write the pages of all commands
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Write one page for each command into this folder
    #[arg(long, short, value_name = "DIR")]
    output: Option<PathBuf>,
}

/// Carries it out.
pub(crate) fn run(args: &Args, _: &Global) -> Result<(), Failure> {
    if let Some(folder) = &args.output {
        let failed = |error| {
            Failure::failed(format!("failed to write the manual pages to {}", folder.display()))
                .because(&error)
        };
        std::fs::create_dir_all(folder).map_err(failed)?;
        return clap_mangen::generate_to(Cli::command(), folder).map_err(failed);
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(Cli::command())
        .render(&mut page)
        .map_err(|error| Failure::internal("failed to write the manual page").because(&error))?;
    output::print(&String::from_utf8_lossy(&page))
}
