//! The command line of anyarch: arguments and environment into calls of the other crates, their
//! events and results into text and an exit code.
//!
//! The only crate that reads the environment and the arguments, prints, and picks exit codes.
//! Knows no digest arithmetic and no ordering: which steps there are, and in which order they
//! run, is the engine's business.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod app;
mod args;
mod checks;
mod diagnostic;
mod exit;
mod failure;
mod fetch;
mod files;
mod findings;
mod git;
mod global;
mod host;
mod interrupt;
mod lent;
mod lock_file;
mod output;
mod publication;
mod registries;
mod rehearsal;
mod report;
mod single;
mod text;
mod tree;
mod verb;
mod version;
mod workshop;

fn main() -> std::process::ExitCode {
    // Where this process is one that the sandbox started, it never comes back from here.
    anyarch_sandbox::init();
    app::run(std::env::args_os())
}
