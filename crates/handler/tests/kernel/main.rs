//! The handler and the shim as the kernel starts them: in real namespaces, as root, as an ordinary
//! user with subordinate ids, and as an ordinary user with one id.
//!
//! Programs of the other machine are headers and nothing else; the emulator and the twins are
//! compiled here from `probe.c` and tell how they were entered, and some twins are this machine's
//! own programs. Started by root, the cases run three times, the ordinary user existing in a private
//! mount namespace only. Needs user namespaces and Linux 6.7: set `ANYARCH_TEST_SKIP_FOREIGN=1` to
//! leave all of it out, `ANYARCH_TEST_SKIP_USERNS=1` to run as root only.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr, missing_docs)]

#[cfg(target_arch = "x86_64")]
mod deciding;
#[cfg(target_arch = "x86_64")]
mod dividing;
#[cfg(target_arch = "x86_64")]
mod entering;
#[cfg(target_arch = "x86_64")]
mod many;
#[cfg(target_arch = "x86_64")]
#[path = "../../../sandbox/tests/sandbox/programs.rs"]
mod programs;
#[cfg(target_arch = "x86_64")]
mod room;
#[cfg(target_arch = "x86_64")]
mod shim;
#[cfg(target_arch = "x86_64")]
mod variables;
#[path = "../../../sandbox/tests/sandbox/ways.rs"]
mod ways;

use std::process::ExitCode;

use anyarch_sandbox::{Privilege, enter};

pub(crate) use self::ways::Case;

fn main() -> ExitCode {
    anyarch_sandbox::init();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let option = |name: &str| arguments.iter().find_map(|arg| arg.strip_prefix(name));
    #[cfg(target_arch = "x86_64")]
    let cases: Vec<Case> = [
        entering::CASES,
        variables::CASES,
        deciding::CASES,
        dividing::CASES,
        shim::CASES,
        many::CASES,
    ]
    .concat();
    #[cfg(not(target_arch = "x86_64"))]
    let cases: Vec<Case> = Vec::new(); // no handler yet
    if arguments.iter().any(|arg| arg == "--list") {
        return ways::list(&cases);
    }
    if std::env::var_os("ANYARCH_TEST_SKIP_FOREIGN").is_some() {
        return ExitCode::SUCCESS;
    }
    if ways::is_root() && option("--as=").is_none() {
        return ways::three_ways(&arguments);
    }
    let entered = enter().unwrap();
    println!("\nas {:?}", entered.privilege);
    match option("--as=") {
        Some("root") => assert_eq!(entered.privilege, Privilege::Root),
        Some("range") => assert_eq!(entered.privilege, Privilege::UserRange { ids: 65_537 }),
        Some("single") => assert_eq!(entered.privilege, Privilege::UserSingle),
        _ => {}
    }
    let failed = ways::run_cases(&cases, &arguments, entered.privilege);
    #[cfg(target_arch = "x86_64")]
    room::clear();
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
