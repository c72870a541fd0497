//! How long processes and mounts live: cancellation, orphans, a killed caller.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use anyarch_sandbox::{Cancel, Exit, Privilege, SandboxError, Stream, enter, run};

use crate::Case;
use crate::emulated::foreign;
use crate::room::{Room, done, said};

pub(crate) const CASES: &[Case] = &[
    ("what_stays_in_the_background_is_killed", what_stays_in_the_background_is_killed),
    ("orphans_are_reaped", orphans_are_reaped),
    ("cancelling_asks_first", cancelling_asks_first),
    ("cancelling_kills_a_deep_tree", cancelling_kills_a_deep_tree),
    ("a_cancelled_token_runs_nothing", a_cancelled_token_runs_nothing),
    ("killing_the_caller_leaves_nothing", killing_the_caller_leaves_nothing),
];

/// Whether any process of this machine has `mark` in its command line.
pub(crate) fn alive(mark: &str) -> bool {
    fs::read_dir("/proc").unwrap().any(|entry| {
        let line = fs::read(entry.unwrap().path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(mark)
    })
}

/// A number of seconds that no other test sleeps.
pub(crate) fn mark(number: u32) -> String {
    format!("{}{number}", 1_000_000 + std::process::id())
}

fn what_stays_in_the_background_is_killed(_: Privilege) {
    let room = Room::new();
    let mark = mark(1);
    assert_eq!(room.sh(&format!("sleep {mark} & (sleep {mark} &) ; echo done")), "done");
    assert!(!alive(&mark));
}

fn orphans_are_reaped(_: Privilege) {
    let room = Room::new();
    let script = "i=0; while [ $i -lt 300 ]; do (true & true &); i=$((i+1)); done; \
                  while [ $(ls -d /proc/[0-9]* | wc -l) -gt 4 ]; do sleep 0.01; done; echo reaped";
    assert_eq!(room.sh(script), "reaped");
}

fn cancelling_asks_first(_: Privilege) {
    let room = Room::new();
    let cancel = Cancel::new();
    let mut said = Vec::new();
    let process =
        room.shell("trap 'echo bye; exit 3' TERM; echo ready; while :; do sleep 0.01; done");
    let ended = run(
        &process,
        &mut |_, bytes| {
            said.extend_from_slice(bytes);
            cancel.cancel();
        },
        &cancel,
    );
    assert!(matches!(ended, Err(SandboxError::Cancelled)), "{ended:?}");
    assert_eq!(String::from_utf8_lossy(&said), "ready\nbye\n");
}

fn cancelling_kills_a_deep_tree(_: Privilege) {
    let room = Room::new();
    let cancel = Cancel::new();
    let mark = mark(2);
    let script = format!(
        "trap '' TERM; sh -c \"trap '' TERM; (sleep {mark} & sleep {mark}) & sh -c 'sleep {mark}'\" & echo ready; wait; wait"
    );
    let ended = run(&room.shell(&script), &mut |_, _| cancel.cancel(), &cancel);
    assert!(matches!(ended, Err(SandboxError::Cancelled)), "{ended:?}");
    assert!(!alive(&mark));
    assert_eq!(room.sh("echo again"), "again");
}

fn a_cancelled_token_runs_nothing(_: Privilege) {
    let room = Room::new();
    let cancel = Cancel::new();
    cancel.cancel();
    let done = done(&room.shell("touch /ran"), &cancel);
    assert!(matches!(done.exit, Err(SandboxError::Cancelled)));
    assert!(!room.root.join("ran").exists());
}

/// The caller that is killed: enters namespaces of its own, runs something long, says so.
pub(crate) fn victim(folder: &Path) -> ExitCode {
    // Already root of its namespaces when a test starts it.
    enter().unwrap();
    let room = Room::new();
    let mark = fs::read_to_string(folder.join("mark")).unwrap();
    println!("{}", room.root.display());
    let mut process = room.shell(&format!("(sleep {mark} &); echo ready; sleep {mark}"));
    if let Ok(handler) = fs::read_to_string(folder.join("handler")) {
        process = foreign(process, handler.into(), Some(folder));
    }
    let ended = run(
        &process,
        &mut |stream, bytes| {
            if stream == Stream::Stdout {
                print!("{}", String::from_utf8_lossy(bytes));
            }
        },
        &Cancel::new(),
    );
    if ended.is_ok_and(Exit::success) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn killing_the_caller_leaves_nothing(_: Privilege) {
    kill_the_caller(None);
}

/// Kills a caller in the middle of a run, one with a handler of foreign programs if one is given.
pub(crate) fn kill_the_caller(handler: Option<&Path>) {
    let folder = tempfile::tempdir().unwrap();
    let mark = mark(if handler.is_some() { 4 } else { 3 });
    if let Some(handler) = handler {
        fs::write(folder.path().join("handler"), handler.to_str().unwrap()).unwrap();
    }
    fs::write(folder.path().join("mark"), &mark).unwrap();
    let mut caller = Command::new(std::env::current_exe().unwrap())
        .arg(format!("--victim={}", folder.path().display()))
        .stdout(Stdio::piped())
        .env("TMPDIR", folder.path())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(caller.stdout.take().unwrap()).lines();
    let root = lines.next().unwrap().unwrap();
    assert_eq!(lines.next().unwrap().unwrap(), "ready");
    assert!(alive(&mark));
    caller.kill().unwrap();
    caller.wait().unwrap();
    // The kernel ends the namespace on its own time; a test runner's limit is the only one.
    while alive(&mark) {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(!Path::new(&root).join("bin").exists());
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(&root));
    assert_eq!(said(&Room::new().process(&["true"])), "");
}
