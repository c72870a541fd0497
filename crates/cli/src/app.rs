//! One run of the program: parse, settle, carry out a verb, print what went wrong, pick the code.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;

use crate::args::{Cli, Color, Verb};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::global::Global;
use crate::{output, verb};

/// Runs the program with these arguments.
pub(crate) fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map(|place| format!(" ({}:{})", place.file(), place.line()));
        let message = info.payload_as_str().unwrap_or("unknown fault");
        output::say(&format!(
            "internal error: {message}{}\n  hint: this is a fault of anyarch, not of your plan; please report it\n",
            place.unwrap_or_default()
        ));
    }));
    let args: Vec<OsString> = args.into_iter().collect();
    // Nothing of this closure is looked at after a panic but the exit code.
    let attempt = std::panic::AssertUnwindSafe(|| match parse(args) {
        Ok(cli) => match carry_out(cli) {
            Ok(()) => Exit::Done,
            Err(failure) => {
                output::say(&failure.render());
                failure.exit()
            }
        },
        Err(error) => usage(&error),
    });
    std::panic::catch_unwind(attempt).unwrap_or(Exit::Internal).into()
}

/// Parses the arguments; none at all ask for help, whatever the environment sets.
fn parse(args: Vec<OsString>) -> Result<Cli, clap::Error> {
    match args.len() {
        0 | 1 => Cli::try_parse_from(["anyarch", "-h"]),
        _ => Cli::try_parse_from(args),
    }
}

/// Prints what clap has to say: help to standard output, mistakes to standard error.
fn usage(error: &clap::Error) -> Exit {
    let text = error.render().ansi().to_string();
    if error.use_stderr() {
        output::say(&text);
        return Exit::Usage;
    }
    match output::print(&text) {
        Ok(()) => Exit::Done,
        Err(failure) => failure.exit(),
    }
}

fn carry_out(cli: Cli) -> Result<(), Failure> {
    colours(cli.global.color);
    let global = Global::settle(cli.global)?;
    match cli.verb {
        Verb::Build(args) => verb::build::run(&args, &global),
        Verb::Publish(args) => verb::publish::run(&args, &global),
        Verb::Release(args) => verb::release::run(&args, &global),
        Verb::Check(args) => verb::check::run(&args, &global),
        Verb::Plan(args) => verb::plan::run(&args, &global),
        Verb::Why(args) => verb::why::run(&args, &global),
        Verb::Lock(args) => verb::lock::run(&args, &global),
        Verb::Export(args) => verb::export::run(&args, &global),
        Verb::Images(args) => verb::images::run(&args, &global),
        Verb::Tags(args) => verb::tags::run(&args, &global),
        Verb::Serve(args) => verb::serve::run(&args, &global),
        Verb::Init(args) => verb::init::run(&args, &global),
        Verb::Schema(args) => verb::schema::run(&args, &global),
        Verb::Completions(args) => verb::completions::run(&args, &global),
        Verb::Man(args) => verb::man::run(&args, &global),
    }
}

fn colours(color: Color) {
    match color {
        // anstream looks at the terminal, NO_COLOR and CLICOLOR itself.
        Color::Auto => {}
        Color::Always => anstream::ColorChoice::Always.write_global(),
        Color::Never => anstream::ColorChoice::Never.write_global(),
    }
}
