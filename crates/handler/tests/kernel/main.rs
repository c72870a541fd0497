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
mod room;
#[cfg(target_arch = "x86_64")]
mod shim;
#[cfg(target_arch = "x86_64")]
mod variables;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use anyarch_sandbox::{Privilege, enter};

/// A test: its name and what it does with the privilege it runs under.
pub(crate) type Case = (&'static str, fn(Privilege));

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
        cases.iter().for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    if std::env::var_os("ANYARCH_TEST_SKIP_FOREIGN").is_some() {
        return ExitCode::SUCCESS;
    }
    if is_root() && option("--as=").is_none() {
        return three_ways(&arguments);
    }
    let filter = arguments.iter().find(|arg| !arg.starts_with('-'));
    let exact = arguments.iter().any(|arg| arg == "--exact");
    let entered = enter().unwrap();
    println!("\nas {:?}", entered.privilege);
    match option("--as=") {
        Some("root") => assert_eq!(entered.privilege, Privilege::Root),
        Some("range") => assert_eq!(entered.privilege, Privilege::UserRange { ids: 65_537 }),
        Some("single") => assert_eq!(entered.privilege, Privilege::UserSingle),
        _ => {}
    }
    let mut failed = 0;
    for (name, case) in cases {
        if filter.is_some_and(
            |filter| if exact { name != filter } else { !name.contains(filter.as_str()) },
        ) {
            continue;
        }
        let passed = std::panic::catch_unwind(|| case(entered.privilege)).is_ok();
        println!("test {name} ... {}", if passed { "ok" } else { "FAILED" });
        failed += i32::from(!passed);
    }
    #[cfg(target_arch = "x86_64")]
    room::clear();
    println!("test result: {failed} failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn is_root() -> bool {
    fs::read_to_string("/proc/self/status")
        .unwrap()
        .lines()
        .any(|line| line.split_whitespace().take(3).eq(["Uid:", "0", "0"]))
}

/// Runs this executable as root, as a user with ranges, and as a user without.
fn three_ways(arguments: &[String]) -> ExitCode {
    let folder =
        tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o755)).tempdir().unwrap();
    let executable = folder.path().join("tests");
    fs::copy(std::env::current_exe().unwrap(), &executable).unwrap();
    let mut ways = vec!["root"];
    if std::env::var_os("ANYARCH_TEST_SKIP_USERNS").is_none() {
        ways.extend(["range", "single"]);
    }
    let mut passed = true;
    for way in ways {
        let home = folder.path().join(way);
        fs::create_dir(&home).unwrap();
        let mut command = Command::new("unshare");
        command.args(["--mount", "--", "sh", "-e", "-c"]);
        if way == "root" {
            command.arg("exec \"$@\"").arg("sh");
        } else {
            std::os::unix::fs::chown(&home, Some(4242), Some(4242)).unwrap();
            let passwd =
                fs::read_to_string("/etc/passwd").unwrap() + "tester:x:4242:4242::/:/bin/sh\n";
            fs::write(folder.path().join("passwd"), passwd).unwrap();
            let ranges = if way == "range" { "tester:500000:65536\n" } else { "" };
            fs::write(folder.path().join("ranges"), ranges).unwrap();
            let script = format!(
                "cd {}; for f in subuid subgid; do test -e /etc/$f || touch /etc/$f; mount --bind ranges /etc/$f; done; \
                 mount --bind passwd /etc/passwd; exec setpriv --reuid 4242 --regid 4242 --clear-groups \"$@\"",
                folder.path().display()
            );
            command.arg(script).arg("sh");
        }
        command.arg(&executable).arg(format!("--as={way}")).args(arguments);
        command.env("TMPDIR", &home).process_group(0);
        passed &= command.status().unwrap().success();
    }
    if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
