//! Processes that share the standard streams of their caller, and its terminal.

use std::process::{Command, ExitCode, Output as Finished};

use anyarch_sandbox::{Cancel, Output, Privilege, Stdin, enter, run};

use crate::Case;
use crate::emulated::{foreign, handler, kernels_are_probed};
use crate::room::{Room, clear};

pub(crate) const CASES: &[Case] = &[
    ("streams_are_shared", streams_are_shared),
    ("the_terminal_is_shared", the_terminal_is_shared),
    ("a_caller_may_ignore_dead_children", a_caller_may_ignore_dead_children),
];

/// A caller that hands its standard streams to a script, one that knows foreign programs if asked.
pub(crate) fn inherit(script: &str, knows_foreign: bool) -> ExitCode {
    enter().unwrap();
    let room = Room::new();
    let mut process = room.shell(script);
    if knows_foreign {
        kernels_are_probed(&room);
        process = foreign(process, handler("one"), None);
    }
    (process.stdin, process.output) = (Stdin::Inherit, Output::Inherit);
    let exit = run(&process, &mut |_, _| panic!("output is not piped"), &Cancel::new()).unwrap();
    drop(room);
    clear();
    // In the foreground again, or this would stop the caller.
    println!("exit {}", exit.shell_code());
    ExitCode::SUCCESS
}

fn text(finished: &Finished) -> String {
    String::from_utf8_lossy(&finished.stdout).replace('\r', "")
}

fn streams_are_shared(_: Privilege) {
    let finished = Command::new("sh")
        .args(["-c", "echo input | \"$@\"", "sh"])
        .arg(std::env::current_exe().unwrap())
        .arg("--inherit=cat; echo error >&2; exit 5")
        .output()
        .unwrap();
    assert_eq!(text(&finished), "input\nexit 5\n");
    assert_eq!(String::from_utf8_lossy(&finished.stderr), "error\n");
}

fn the_terminal_is_shared(_: Privilege) {
    terminal("--inherit");
}

/// The same with a user namespace between the terminal and the process.
pub(crate) fn foreign_programs_share_it() {
    terminal("--inherit-foreign");
    ignoring_dead_children("--inherit-foreign");
}

fn terminal(option: &str) {
    // Fields 5 and 8 of stat: its process group, and the foreground one of its terminal.
    let script = "read -r pid name state ppid group session tty front rest </proc/self/stat; \
                  [ -t 0 ] && [ -t 1 ] && [ $group = $front ] && echo in front; kill -INT $$";
    let command = format!("'{}' '{option}={script}'", std::env::current_exe().unwrap().display());
    let finished = Command::new("script")
        .args(["-qec", &command, "/dev/null"])
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    assert_eq!(text(&finished), "in front\nexit 130\n");
}

fn a_caller_may_ignore_dead_children(_: Privilege) {
    ignoring_dead_children("--inherit");
}

fn ignoring_dead_children(option: &str) {
    let finished = Command::new("sh")
        .args(["-c", "trap '' CHLD; exec \"$@\"", "sh"])
        .arg(std::env::current_exe().unwrap())
        .arg(format!("{option}=true & wait; exit 7"))
        .output()
        .unwrap();
    assert_eq!(text(&finished), "exit 7\n");
}
