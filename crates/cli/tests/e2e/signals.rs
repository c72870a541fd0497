//! Ctrl-C and other signals, and several processes at once.

use std::fs;
use std::process::Stdio;

use crate::bench::{Bench, is_alive, signal, wait_until};
use crate::needs;

/// A step that sleeps for this many seconds, a word to find it by.
fn sleeping(word: &str) -> Bench {
    Bench::one(&format!("FROM root\nRUN echo begun; sleep {word} & sleep {word}\n"))
}

fn stops(name: &str, code: i32, word: &str) {
    let bench = sleeping(word);
    let mut child = bench.start(["build"]);
    wait_until("the step sleeps", || is_alive(word));
    signal(&child, name);
    assert_eq!(child.wait().unwrap().code(), Some(code));
    assert!(!is_alive(word), "a process of the step is left");
    bench.assert_clean();
    bench.dockerfile("FROM root\nRUN echo done\n");
    bench.build();
}

#[test]
fn interrupt_ends_the_step_and_leaves_nothing_needs_userns() {
    needs!("userns");
    stops("INT", 130, "4000.1");
}

#[test]
fn terminate_ends_the_step_and_leaves_nothing_needs_userns() {
    needs!("userns");
    stops("TERM", 143, "4000.2");
}

#[test]
fn hangup_ends_the_step_and_leaves_nothing_needs_userns() {
    needs!("userns");
    stops("HUP", 129, "4000.3");
}

#[test]
fn two_builds_of_the_same_run_each_step_once_needs_userns() {
    needs!("userns");
    let bench = Bench::one("FROM root\nRUN sleep 1.04 && cat /proc/sys/kernel/random/uuid > /id\n");
    let start = || {
        let mut command = bench.command(&["build", "--progress", "json"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let children = [start(), start(), start()];
    let done = children.map(|child| bench.done(child.wait_with_output().unwrap()).success());
    let ran: usize = done.iter().map(|done| done.steps_that_ran().len()).sum();
    assert_eq!(ran, 2, "two steps, each once");
    let digests: Vec<_> = done
        .iter()
        .map(|done| done.events_of("result")[0]["result"][0]["digest"].clone())
        .collect();
    assert!(digests.iter().all(|digest| *digest == digests[0]), "{digests:?}");
    bench.assert_clean();
}

#[test]
fn a_waiting_build_goes_on_when_the_first_is_killed_needs_userns() {
    needs!("userns");
    let bench = Bench::one("FROM root\nRUN test -e /model || sleep 1.05; echo done > /done\n");
    let mut first = bench.start(["build"]);
    wait_until("the step sleeps", || is_alive("1.05"));
    let mut second = bench.start(["build"]);
    first.kill().unwrap();
    first.wait().unwrap();
    assert!(second.wait().unwrap().success());
    bench.build();
    bench.assert_clean();
}

#[test]
fn two_stores_at_once_give_one_digest_needs_userns() {
    needs!("userns");
    let bench = Bench::family();
    let start = |store: &str| {
        let mut command = bench.command(&["build", "--quiet"]);
        command.env("ANYARCH_STORE", bench.around().join(store));
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let children = [start("one"), start("two")];
    let [one, two] = children
        .map(|child| bench.done(child.wait_with_output().unwrap()).success().image_digest());
    assert_eq!(one, two);
    for store in ["one", "two"] {
        assert_eq!(fs::read_dir(bench.around().join(store).join("work")).unwrap().count(), 0);
    }
}
