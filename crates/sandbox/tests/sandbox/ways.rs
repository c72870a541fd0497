//! Tests with a main of their own, run as root, as a user with ranges of ids, and as a user without.
//! For the tests of the handler too.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use anyarch_sandbox::Privilege;

/// A test: its name and what it does with the privilege it runs under.
pub(crate) type Case = (&'static str, fn(Privilege));

/// Runs the cases that the arguments name; how many failed.
pub(crate) fn run_cases(cases: &[Case], arguments: &[String], privilege: Privilege) -> i32 {
    let filter = arguments.iter().find(|arg| !arg.starts_with('-'));
    let exact = arguments.iter().any(|arg| arg == "--exact");
    let mut failed = 0;
    for (name, case) in cases {
        if filter.is_some_and(
            |filter| if exact { name != filter } else { !name.contains(filter.as_str()) },
        ) {
            continue;
        }
        let passed = std::panic::catch_unwind(|| case(privilege)).is_ok();
        println!("test {name} ... {}", if passed { "ok" } else { "FAILED" });
        failed += i32::from(!passed);
    }
    println!("test result: {failed} failed");
    failed
}

/// Names the cases, as cargo asks for them.
pub(crate) fn list(cases: &[Case]) -> ExitCode {
    cases.iter().for_each(|(name, _)| println!("{name}: test"));
    ExitCode::SUCCESS
}

pub(crate) fn is_root() -> bool {
    fs::read_to_string("/proc/self/status")
        .unwrap()
        .lines()
        .any(|line| line.split_whitespace().take(3).eq(["Uid:", "0", "0"]))
}

/// Runs this executable as root, as a user with ranges, and as a user without.
pub(crate) fn three_ways(arguments: &[String]) -> ExitCode {
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
