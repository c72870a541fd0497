//! Foreign platforms: what programs leave is the same with twins and emulated. The cases are in `tests/twins`, a folder
//! each; `bench/verify-twins` builds them all, these tests some of them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::bench::{ARCH, Bench};
use crate::needs;

fn cases() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/twins")
}

/// A project with the plan of all cases, and the files of these.
fn bench(names: &[&str]) -> Bench {
    let bench = Bench::empty();
    bench.write("anyarch.toml", fs::read(cases().join("anyarch.toml")).unwrap());
    for name in names {
        copy(&bench, &cases().join(name), name);
    }
    bench
}

fn copy(bench: &Bench, from: &Path, to: &str) {
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = format!("{to}/{}", entry.file_name().to_str().unwrap());
        if entry.file_type().unwrap().is_dir() {
            copy(bench, &entry.path(), &to);
        } else {
            bench.write(&to, fs::read(entry.path()).unwrap());
            let mode = entry.metadata().unwrap().permissions();
            fs::set_permissions(bench.path(&to), mode).unwrap();
        }
    }
}

#[test]
fn every_case_is_in_the_plan() {
    let entries = fs::read_dir(cases()).unwrap().map(Result::unwrap);
    let folders = entries.filter(|entry| entry.file_type().unwrap().is_dir());
    let folders: BTreeSet<String> =
        folders.map(|entry| entry.file_name().into_string().unwrap()).collect();
    let plan = fs::read_to_string(cases().join("anyarch.toml")).unwrap();
    let names = plan.lines().filter_map(|line| line.strip_prefix("[flavor.")?.strip_suffix(']'));
    assert_eq!(names.map(str::to_owned).collect::<BTreeSet<_>>(), folders);
}

#[test]
fn programs_leave_the_same_files_by_their_twins_needs_userns_needs_network() {
    needs!("userns", "network");
    if ARCH == "arm64" {
        return; // Twins are for machines that arm64 is foreign to.
    }
    let names =
        ["machine", "environment", "shell", "lookups", "signals", "users", "dpkg", "debconf"];
    let bench = bench(&names);
    let mut command = bench.command(&["build", "--verify-twins", "--progress", "plain"]);
    let done = bench.finish(command.args(names)).success();
    let shown = done.shown();
    let tally = shown.lines().find_map(|line| line.strip_prefix("foreign programs: "));
    let native = tally.unwrap().split_once(" ran natively").unwrap().0;
    assert!(native.parse::<u64>().unwrap() > 500, "{shown}");

    // What is emulated, and why, on demand; the base is there already.
    bench.write("machine/Dockerfile", "FROM root\nRUN bash -c :; apt-get --version >/found\n");
    let shown = bench.run(["build", "-v", "--progress", "plain", "machine"]).success().shown();
    for line in [
        "  bash: not among the programs that have twins",
        "  apt-get: what it was called with, or a file that was changed",
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line}: {shown}");
    }
}
