//! Dockerfiles built by anyarch and by BuildKit, and what they leave compared entry by entry.
//!
//! The cases are text files (`cases/`, format in `case.rs`). Most are built by the docker engine too,
//! whose BuildKit is the measure; those for which that is too old say what the reference demands.
//! `ANYARCH_COMPAT=WORD` runs only the cases with that word in their names. What is meant to differ is
//! listed in `docs/compatibility.md`.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub, reason = "tests")]
#![allow(clippy::print_stderr, reason = "the summary, and what is left out")]

mod case;
mod compare;
mod context;
mod docker;
mod image;
mod server;
mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crate::case::{CONTEXT_TIME, Case, Kind};
use crate::compare::EPOCH;
use crate::docker::Engine;
use crate::image::{Archive, Image};

/// The base images, as cases that are built first and tagged with their names.
const BASES: &str = include_str!("bases.txt");

/// The case files, by name.
const CASES: [(&str, &str); 18] = [
    ("add", include_str!("cases/add.txt")),
    ("arguments", include_str!("cases/arguments.txt")),
    ("combined", include_str!("cases/combined.txt")),
    ("config", include_str!("cases/config.txt")),
    ("copy", include_str!("cases/copy.txt")),
    ("env", include_str!("cases/env.txt")),
    ("from", include_str!("cases/from.txt")),
    ("ignore", include_str!("cases/ignore.txt")),
    ("links", include_str!("cases/links.txt")),
    ("mounts", include_str!("cases/mounts.txt")),
    ("onbuild", include_str!("cases/onbuild.txt")),
    ("owner", include_str!("cases/owner.txt")),
    ("reference", include_str!("cases/reference.txt")),
    ("run", include_str!("cases/run.txt")),
    ("stages", include_str!("cases/stages.txt")),
    ("syntax", include_str!("cases/syntax.txt")),
    ("words", include_str!("cases/words.txt")),
    ("workdir", include_str!("cases/workdir.txt")),
];

fn all_cases() -> Vec<Case> {
    CASES.iter().flat_map(|(file, text)| case::read(file, text)).collect()
}

/// Whether a test is left out, which is said: by `ANYARCH_TEST_SKIP_WHAT=1` for something that it
/// needs, or because the cases name another kind of machine.
fn is_left_out(needs: &[&str]) -> bool {
    if !cfg!(target_arch = "x86_64") {
        eprintln!("left out: the cases are for amd64");
        return true;
    }
    let skipped = |what: &&&str| std::env::var_os(format!("ANYARCH_TEST_SKIP_{what}")).is_some();
    let what = needs.iter().find(skipped);
    if let Some(what) = what {
        eprintln!("left out: needs {what}");
    }
    what.is_some()
}

/// The cases that were asked for.
fn chosen(mut cases: Vec<Case>) -> Vec<Case> {
    if let Ok(word) = std::env::var("ANYARCH_COMPAT") {
        cases.retain(|case| case.name.contains(&word));
    }
    cases
}

#[test]
fn there_are_enough_cases() {
    let cases = all_cases();
    let names: BTreeSet<&String> = cases.iter().map(|case| &case.name).collect();
    assert_eq!(names.len(), cases.len(), "two cases of one name");
    let compared = cases.iter().filter(|case| case.expect.is_none()).count();
    assert!(compared >= 150, "{compared} cases are compared");
}

#[test]
fn dockerfiles_give_what_buildkit_gives_needs_root_and_dockerd() {
    if is_left_out(&["ROOT", "DOCKER"]) {
        return;
    }
    let cases: Vec<Case> =
        chosen(all_cases()).into_iter().filter(|case| case.expect.is_none()).collect();
    let bench = Bench::new(&cases);
    let Some(engine) = Engine::start(&bench.path("docker")) else { return };
    for archive in bench.build_bases().values() {
        engine.done(&["load", "--quiet", "--input", archive.to_str().unwrap()]);
    }
    let builds = in_parallel(&cases, |number, case| bench.build_both(&engine, number, case));
    let saved = bench.save(&engine, &builds);
    let mut report = String::new();
    for ((number, case), build) in cases.iter().enumerate().zip(&builds) {
        let found = match build {
            Build::Wrong(why, said) => {
                if case.differs != [why.clone()] {
                    writeln!(report, "{said}").unwrap();
                }
                vec![why.clone()]
            }
            Build::BothFailed => Vec::new(),
            Build::Images(ours) => {
                let times = context_times(case);
                compare::differences(&saved[&image_name(number)], ours, &times)
            }
        };
        judge(case, &case.differs, &found, &mut report);
    }
    let differ = cases.iter().filter(|case| !case.differs.is_empty()).count();
    let equal = cases.len() - differ;
    eprintln!("compat: {equal} cases equal, {differ} differ as listed; {}", engine.version);
    assert!(report.is_empty(), "\n{report}");
}

#[test]
fn dockerfiles_give_what_the_reference_says_needs_root() {
    if is_left_out(&["ROOT"]) {
        return;
    }
    let cases: Vec<Case> =
        chosen(all_cases()).into_iter().filter(|case| case.expect.is_some()).collect();
    let bench = Bench::new(&cases);
    let bases = bench.build_bases();
    let base = only_image(&bases["base"]);
    let builds = in_parallel(&cases, |number, case| {
        bench.write(number, case);
        bench.build_ours(number, case)
    });
    let mut report = String::new();
    for (case, build) in cases.iter().zip(&builds) {
        let found = match build {
            Ok(image) if case.fails => {
                vec![format!("it must fail, and left\n{:#?}", compare::additions(&base, image))]
            }
            Ok(image) => compare::additions(&base, image),
            Err(_) if case.fails => Vec::new(),
            Err(said) => vec![said.clone()],
        };
        judge(case, case.expect.as_ref().unwrap(), &found, &mut report);
    }
    eprintln!("compat: {} cases as the reference says", cases.len());
    assert!(report.is_empty(), "\n{report}");
}

/// Adds to the report what was found and is not known, and what is known and was not found.
fn judge(case: &Case, known: &[String], found: &[String], report: &mut String) {
    if known == found {
        return;
    }
    writeln!(report, "== {}", case.name).unwrap();
    for line in found.iter().filter(|line| !known.contains(line)) {
        writeln!(report, "+ {line}").unwrap();
    }
    for line in known.iter().filter(|line| !found.contains(line)) {
        writeln!(report, "- {line}").unwrap();
    }
    if report.ends_with(&format!("== {}\n", case.name)) {
        writeln!(report, "the same lines in another order: {found:#?}").unwrap();
    }
}

/// When the files of a case's context were changed.
fn context_times(case: &Case) -> BTreeSet<u64> {
    let stored = |entry: &&case::Entry| !matches!(entry.kind, Kind::Hard(_));
    case.context.iter().filter(stored).map(|entry| entry.mtime).chain([CONTEXT_TIME]).collect()
}

fn image_name(number: usize) -> String {
    format!("case-{number}:latest")
}

fn only_image(archive: &Path) -> Arc<Image> {
    Archive::open(archive).images().into_values().next().unwrap()
}

/// What came of building a case twice.
enum Build {
    /// Ours; docker keeps its own.
    Images(Arc<Image>),
    BothFailed,
    /// One failed, or both, or none although both must; and what was said.
    Wrong(String, String),
}

/// Calls something for each case, on as many threads as there are cores.
fn in_parallel<T: Send>(cases: &[Case], call: impl Fn(usize, &Case) -> T + Sync) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(BTreeMap::new());
    let threads = std::thread::available_parallelism().map_or(1, usize::from).clamp(4, 8);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(case) = cases.get(number) else { return };
                    let result = call(number, case);
                    results.lock().unwrap().insert(number, result);
                }
            });
        }
    });
    results.into_inner().unwrap().into_values().collect()
}

/// A folder with the contexts and a store.
struct Bench {
    folder: tempfile::TempDir,
    address: String,
}

impl Bench {
    fn new(cases: &[Case]) -> Bench {
        let folder = tempfile::Builder::new()
            .prefix("anyarch-compat-")
            .permissions(fs::Permissions::from_mode(0o755))
            .tempdir()
            .unwrap();
        let mut files = BTreeMap::new();
        for (number, case) in cases.iter().enumerate() {
            for (name, content) in &case.urls {
                files.insert(format!("/{number}/{name}"), content.clone());
            }
        }
        Bench { folder, address: server::serve(files) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Where the files of a case's `-- url` are.
    fn address(&self, number: usize) -> String {
        format!("{}/{number}", self.address)
    }

    fn context(&self, number: usize) -> PathBuf {
        self.path(&format!("{number}/context"))
    }

    /// The base images as files, by name, with busybox in them.
    fn build_bases(&self) -> BTreeMap<String, PathBuf> {
        let mut bases = BTreeMap::new();
        for base in case::read("bases", BASES) {
            let name = base.name.trim_start_matches("bases: ").to_owned();
            let context = self.path(&format!("bases/{name}"));
            context::write(&base, &context, &self.path("bases"));
            if name == "base" {
                install_busybox(&context.join("root/bin"));
            }
            let archive = self.path(&format!("bases/{name}.tar"));
            let output = self.anyarch(&context, &archive, &["--tag", &name]);
            assert!(output.status.success(), "{name}: {}", said(&output));
            bases.insert(name, archive);
        }
        bases
    }

    /// Runs anyarch on a context, whose image goes into a file.
    fn anyarch(&self, context: &Path, archive: &Path, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_anyarch"))
            .args(["build", "--output", &format!("type=docker,dest={}", archive.display())])
            .args(["--build-arg", &format!("SOURCE_DATE_EPOCH={EPOCH}")])
            .args(args)
            .arg(".")
            .current_dir(context)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.folder.path())
            .env("ANYARCH_STORE", self.path("store"))
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// Puts a case's files down.
    fn write(&self, number: usize, case: &Case) {
        let address = self.address(number);
        let dockerfile = match std::str::from_utf8(&case.dockerfile) {
            Ok(text) => text.replace("{HTTP}", &address).into_bytes(),
            Err(_) => case.dockerfile.clone(),
        };
        let case = Case {
            dockerfile,
            context: case.context.clone(),
            sockets: case.sockets.clone(),
            beside: case.beside.clone(),
            ..Case::default()
        };
        context::write(&case, &self.context(number), &self.path(&format!("{number}/beside")));
    }

    fn args(&self, number: usize, case: &Case) -> Vec<String> {
        let beside = self.path(&format!("{number}/beside")).display().to_string();
        case.args.iter().map(|word| word.replace("{BESIDE}", &beside)).collect()
    }

    fn build_ours(&self, number: usize, case: &Case) -> Result<Arc<Image>, String> {
        let archive = self.path(&format!("{number}/ours.tar"));
        let args = self.args(number, case);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let output = self.anyarch(&self.context(number), &archive, &args);
        match output.status.success() {
            true => Ok(only_image(&archive)),
            false => Err(said(&output)),
        }
    }

    fn build_both(&self, engine: &Engine, number: usize, case: &Case) -> Build {
        self.write(number, case);
        let name = image_name(number);
        let args = self.args(number, case);
        let context = self.context(number).display().to_string();
        // Its cache goes by content, so that a case would get the times of another one's files.
        let mut command =
            vec!["build", "--quiet", "--no-cache", "--network", "none", "--tag", &name];
        command.extend(args.iter().map(String::as_str));
        // Not `.`: docker takes contexts of one name for versions of each other.
        command.push(&context);
        let theirs = engine.run(&self.context(number), &command);
        let ours = self.build_ours(number, case);
        match (theirs.status.success(), ours, case.fails) {
            (true, Ok(image), false) => Build::Images(image),
            (false, Err(_), true) => Build::BothFailed,
            (docker_succeeds, ours, _) => {
                let (docker, ours) = (said(&theirs), ours.err().unwrap_or_default());
                let first = ours
                    .lines()
                    .next()
                    .unwrap_or_default()
                    .replace(&self.address(number), "{HTTP}");
                let why = match (docker_succeeds, first.as_str()) {
                    (true, "") => "both succeed, and must fail".to_owned(),
                    (false, "") => "only docker fails".to_owned(),
                    (true, first) => format!("only anyarch fails: {first}"),
                    (false, _) => "both fail".to_owned(),
                };
                Build::Wrong(why, format!("docker: {docker}\nanyarch: {ours}"))
            }
        }
    }

    /// The images of docker, by name: saved all at once, so that the base is written once.
    fn save(&self, engine: &Engine, builds: &[Build]) -> BTreeMap<String, Arc<Image>> {
        let built =
            builds.iter().enumerate().filter(|(_, build)| matches!(build, Build::Images(_)));
        let names: Vec<String> = built.map(|(number, _)| image_name(number)).collect();
        if names.is_empty() {
            return BTreeMap::new();
        }
        let archive = self.path("docker.tar");
        let mut command = vec!["save", "--output", archive.to_str().unwrap()];
        command.extend(names.iter().map(String::as_str));
        engine.done(&command);
        Archive::open(&archive).images()
    }
}

/// What a program wrote to its standard error, from where it names the error.
fn said(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let at = ["\nfailed to", "\nerror", "error: "].iter().find_map(|words| text.find(words));
    text[at.unwrap_or(0)..].trim().to_owned()
}

/// Puts busybox and a link for each of its programs into a folder.
fn install_busybox(folder: &Path) {
    let busybox =
        ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|path| Path::new(path).exists());
    let busybox =
        busybox.unwrap_or_else(|| panic!("install busybox-static, as scripts/setup does"));
    fs::create_dir_all(folder).unwrap();
    fs::copy(busybox, folder.join("busybox")).unwrap();
    let list = Command::new(busybox).arg("--list").output().unwrap();
    for name in String::from_utf8(list.stdout).unwrap().lines().filter(|name| *name != "busybox") {
        std::os::unix::fs::symlink("busybox", folder.join(name)).unwrap();
    }
}
