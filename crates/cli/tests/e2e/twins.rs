//! Foreign platforms: what programs leave is the same with twins and emulated. The cases are in `tests/twins`, a folder
//! each; `bench/verify-twins` builds them all, these tests some of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

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

/// An image for both platforms in the store, and a tier on it.
fn on_an_image() -> Bench {
    let bench = Bench::empty();
    bench.write(
        "anyarch.toml",
        "[project]\nname = \"demo\"\n[base.root]\ndebian = \"bookworm\"\npackages = []\n\
         [flavor.image]\nplatforms = [\"linux/amd64\", \"linux/arm64\"]\n\
         tiers = [{ name = \"root\", dockerfile = \"image\" }]\n\
         [flavor.app]\nplatforms = [\"linux/arm64\"]\n\
         tiers = [{ name = \"use\", dockerfile = \"app\" }]\n",
    );
    bench.write("image", "FROM root\n");
    bench.write("app", app("true"));
    bench.run(["build", "image/amd64", "image/arm64"]).success();
    bench
}

/// Installs a program and uses it.
fn app(install: &str) -> String {
    format!(
        "FROM demo:image-dev\nRUN {install} && apt-get update -qq && apt-get install -y -qq zstd\n\
         RUN zstd -q < /etc/passwd > /1\n"
    )
}

/// How often programs ran emulated, by name, and the steps that ran natively for them.
fn seen(bench: &Bench) -> (BTreeMap<String, u64>, Vec<String>, String) {
    let done = bench.run(["build", "--progress", "json", "app"]).success();
    let events = done.out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let (mut emulated, mut natively) = (BTreeMap::new(), Vec::new());
    for event in events {
        match event["event"].as_str() {
            Some("emulated") => {
                for program in event["emulated"].as_array().unwrap() {
                    let name = program["name"].as_str().unwrap().to_owned();
                    emulated.insert(name, program["count"].as_u64().unwrap());
                }
            }
            Some("progress") if event["done"] == 0 => {
                let what = event["what"].as_str().unwrap();
                natively.extend(what.strip_prefix("natively: ").map(str::to_owned));
            }
            _ => {}
        }
    }
    (emulated, natively, done.shown())
}

#[test]
fn what_steps_install_on_an_image_has_twins_needs_userns_needs_network() {
    needs!("userns", "network");
    if ARCH == "arm64" {
        return; // Twins are for machines that arm64 is foreign to.
    }
    let bench = on_an_image();
    let (emulated, natively, shown) = seen(&bench);
    assert_eq!(emulated.get("zstd"), None, "{shown}");
    let [install] = natively.as_slice() else { panic!("{natively:?}") };
    assert!(install.contains("apt-get install -y -qq zstd"), "{install}");

    // What was made natively is kept, and no more is made than brings the program.
    bench.write("app", app("true") + "RUN zstd -q < /etc/group > /2\n");
    let (emulated, natively, shown) = seen(&bench);
    assert_eq!((emulated.get("zstd"), natively), (None, Vec::new()), "{shown}");

    // Steps that fail natively fail no build.
    bench.write("app", app("test $(uname -m) = aarch64"));
    let (emulated, _, shown) = seen(&bench);
    assert_eq!(emulated.get("zstd"), Some(&1), "{shown}");
    let warning = "programs of linux/arm64 that steps have installed are emulated: failed to make";
    assert!(shown.contains(warning), "{shown}");
}
