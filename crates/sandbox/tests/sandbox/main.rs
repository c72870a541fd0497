//! Runs of real processes in real namespaces: as root, as an ordinary user with subordinate ids,
//! and as an ordinary user with one id.
//!
//! Started by root, the cases run three times; the ordinary user exists only in a private mount
//! namespace, where files of ours cover `/etc/passwd`, `/etc/subuid` and `/etc/subgid`, so nothing
//! on the machine changes. Started by another user, they run once, as that user. Needs user
//! namespaces; where there are none, set `ANYARCH_TEST_SKIP_USERNS=1` to run as root only.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr, missing_docs)]

mod cases;
mod emulated;
#[cfg(target_arch = "x86_64")]
mod foreign;
mod lifetime;
mod mounts;
mod programs;
mod refusals;
mod room;
mod terminal;
mod ways;

use std::process::ExitCode;

use anyarch_sandbox::{Privilege, enter};

pub(crate) use self::ways::Case;
use self::ways::run_cases;

fn main() -> ExitCode {
    anyarch_sandbox::init();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let option = |name: &str| arguments.iter().find_map(|arg| arg.strip_prefix(name));
    if let Some(folder) = option("--victim=") {
        return lifetime::victim(folder.as_ref());
    }
    if arguments == ["--refused"] {
        return refusals::refused();
    }
    if let Some(script) = option("--inherit=") {
        return terminal::inherit(script, false);
    }
    if let Some(script) = option("--inherit-foreign=") {
        return terminal::inherit(script, true);
    }
    let cases: Vec<Case> = [
        cases::CASES,
        mounts::CASES,
        lifetime::CASES,
        terminal::CASES,
        refusals::CASES,
        emulated::CASES,
        #[cfg(target_arch = "x86_64")]
        foreign::CASES,
    ]
    .concat();
    if arguments.iter().any(|arg| arg == "--list") {
        return ways::list(&cases);
    }
    if ways::is_root() && option("--as=").is_none() {
        return ways::three_ways(&arguments);
    }
    let entered = enter().unwrap();
    println!("\nas {:?}", entered.privilege);
    match option("--as=") {
        Some("root") => assert_eq!(entered.privilege, Privilege::Root),
        Some("range") => {
            assert_eq!(entered.privilege, Privilege::UserRange { ids: 65_537 });
            assert_eq!(entered.warnings, Vec::<String>::new());
        }
        Some("single") => {
            assert_eq!(entered.privilege, Privilege::UserSingle);
            assert!(entered.warnings[0].contains("usermod --add-subuids"));
        }
        _ => {}
    }
    if arguments.iter().any(|arg| arg == "--measure") {
        cases::measure();
        room::clear();
        return ExitCode::SUCCESS;
    }
    let failed = run_cases(&cases, &arguments, entered.privilege);
    room::clear();
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
