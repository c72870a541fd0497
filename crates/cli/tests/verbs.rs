//! The program as people use it.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub, reason = "tests")]

mod bench;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Stdio;

use bench::Bench;
use snapbox::{assert_data_eq, str};

const VERBS: [&str; 14] = [
    "build",
    "publish",
    "check",
    "plan",
    "why",
    "lock",
    "export",
    "images",
    "tags",
    "serve",
    "init",
    "schema",
    "completions",
    "man",
];

#[test]
fn alone_it_explains_itself() {
    let text = Bench::new(&[]).run(&[]);
    for verb in VERBS {
        assert!(text.contains(&format!("\n  {verb} ")), "{verb} is not in the help");
    }
    assert!(text.contains("Exit codes:") && text.ends_with("exit 0\n"), "{text}");
}

#[test]
fn every_verb_has_help() {
    let bench = Bench::new(&[]);
    for verb in VERBS {
        let text = bench.stdout(&[verb, "--help"]);
        let own = text.split("Global options:").next().unwrap();
        insta::assert_snapshot!(format!("help_{verb}"), own.trim_end());
    }
}

#[test]
fn tags_explains_its_own_verbs() {
    let bench = Bench::new(&[]);
    for verb in ["ls", "prune"] {
        let text = bench.stdout(&["tags", verb, "--help"]);
        let own = text.split("Global options:").next().unwrap();
        insta::assert_snapshot!(format!("help_tags_{verb}"), own.trim_end());
    }
}

#[test]
fn pruning_needs_a_limit() {
    let text = Bench::family().run(&["tags", "prune"]);
    assert!(text.contains("--keep <N>|--older-than <AGE>") && text.ends_with("exit 2\n"), "{text}");
    let text = Bench::family().run(&["tags", "prune", "--older-than", "30"]);
    assert!(text.contains("such as `30d`") && text.ends_with("exit 2\n"), "{text}");
    let text = Bench::family().run(&["tags", "ls", "demo:v1"]);
    assert!(text.contains("cannot look at `demo:v1`") && text.ends_with("exit 2\n"), "{text}");
}

#[test]
fn a_family_is_clean() {
    assert_data_eq!(
        Bench::family().run(&["check"]),
        str![[r#"
! 5 files checked, no findings
exit 0

"#]]
    );
}

#[test]
fn the_plan_as_a_tree() {
    assert_data_eq!(
        Bench::family().run(&["plan"]),
        str![[r#"
demo (published to registry.example/team/demo)
├── base python: Debian bookworm with python3
├── cpu/amd64 (linux/amd64)
│   ├── base: docker/cpu/Dockerfile.base
│   │   ├── tags demo:{cpu-amd64-base,amd64-base,cpu-base}
│   │   ├── FROM python
│   │   └── RUN echo cpu
│   ├── app: docker/app/Dockerfile
│   │   ├── tags demo:{cpu-amd64-dev,amd64-dev,cpu-dev}
│   │   ├── FROM ${BASE_IMAGE}
│   │   ├── COPY app /bin/
│   │   └── CMD ["app"]
│   ├── smoke: app selftest
│   └── published as latest-cpu-amd64
├── cpu/arm64 (linux/arm64)
│   ├── base: docker/arm64/Dockerfile.base
│   │   ├── tags demo:{cpu-arm64-base,arm64-base,cpu-base}
│   │   ├── FROM python
│   │   └── RUN echo arm64
│   ├── app: docker/app/Dockerfile
│   │   ├── tags demo:{cpu-arm64-dev,arm64-dev,cpu-dev}
│   │   ├── FROM ${BASE_IMAGE}
│   │   ├── COPY app /bin/
│   │   └── CMD ["app"]
│   ├── smoke: app selftest
│   └── published as latest-cpu-arm64
└── index latest: cpu/amd64 and cpu/arm64
exit 0

"#]]
    );
}

#[test]
fn a_part_of_the_plan() {
    assert_data_eq!(
        Bench::family().run(&["plan", "arm64-base"]),
        str![[r#"
demo (published to registry.example/team/demo)
├── base python: Debian bookworm with python3
└── cpu/arm64 (linux/arm64)
    ├── base: docker/arm64/Dockerfile.base
    │   ├── tags demo:{cpu-arm64-base,arm64-base,cpu-base}
    │   ├── FROM python
    │   └── RUN echo arm64
    └── smoke: app selftest
exit 0

"#]]
    );
}

#[test]
fn the_plan_as_json() {
    let text = Bench::family().stdout(&["plan", "--json"]);
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["members"][1]["member"], "cpu/arm64");
    let base = &value["members"][1]["tiers"][0];
    assert_eq!(base["stages"][0]["steps"][0]["text"], "RUN echo arm64");
    assert_eq!(base["stages"][0]["steps"][0]["line"], 2);
    assert_eq!(value["indexes"][0]["members"][0], "cpu/amd64");
}

#[test]
fn what_would_be_published() {
    assert_data_eq!(
        Bench::family().run(&["publish", "--dry-run"]),
        str![[r#"
would publish to registry.example/team/demo:
cpu/amd64: not built yet
  tag   latest-cpu-amd64
  tag   v1.0.0-cpu-amd64
cpu/arm64: not built yet
  tag   latest-cpu-arm64
  tag   v1.0.0-cpu-arm64
index of cpu/amd64, cpu/arm64: not built yet
  tag   latest
  tag   v1.0.0
in all: 0 blobs (0 B) to send, 0 blobs (0 B) to mount, 0 blobs (0 B) there; 0 tags to set
! resolving: tags of registry.example/team/demo
exit 0

"#]]
    );
}

#[test]
fn a_plan_elsewhere() {
    let bench = Bench::family();
    std::fs::create_dir(bench.path("elsewhere")).unwrap();
    let text = bench.run(&["-C", "elsewhere", "--plan", "../anyarch.toml", "check"]);
    assert_data_eq!(
        text,
        str![[r#"
! 5 files checked, no findings
exit 0

"#]]
    );
}

#[test]
fn the_schema_is_json() {
    let text = Bench::new(&[]).stdout(&["schema"]);
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert!(value["properties"]["flavor"].is_object(), "{text}");
}

#[test]
fn init_writes_a_plan_that_is_clean() {
    let bench = Bench::family();
    std::fs::remove_file(bench.path("anyarch.toml")).unwrap();
    std::fs::remove_file(bench.path("src/app")).unwrap();
    bench.write("app", "");
    let printed = bench.stdout(&["init", "--stdout"]);
    assert!(!bench.path("anyarch.toml").exists());
    assert_data_eq!(
        bench.run(&["init"]),
        str![[r#"
! wrote anyarch.toml for 3 Dockerfiles; `anyarch plan` shows what comes of it, `anyarch build` builds it
exit 0

"#]]
    );
    assert_eq!(std::fs::read_to_string(bench.path("anyarch.toml")).unwrap(), printed);
    let checked = bench.run(&["check"]);
    assert!(checked.ends_with("no findings\nexit 0\n"), "{printed}\n{checked}");
}

#[test]
fn shells_get_completions() {
    let bench = Bench::new(&[]);
    for shell in ["bash", "zsh", "fish"] {
        let script = bench.stdout(&["completions", shell]);
        assert!(VERBS.iter().all(|verb| script.contains(verb)), "{shell}");
    }
}

#[test]
fn manual_pages_name_exit_codes_and_verbs() {
    let bench = Bench::new(&[]);
    let page = bench.stdout(&["man"]);
    assert!(page.contains("Exit codes") && page.contains(".SH"), "{page}");
    bench.stdout(&["man", "--output", "pages"]);
    for verb in VERBS {
        assert!(bench.path(&format!("pages/anyarch-{verb}.1")).is_file(), "{verb}");
    }
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let bench = Bench::new(&[]);
    let mut child = bench
        .command(&["completions", "bash"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!((child.wait().unwrap().code(), said.as_str()), (Some(0), ""));
}

#[test]
fn colours_come_when_asked_for() {
    let bench = Bench::new(&[]);
    let error = |args: &[&str]| bench.command(args).output().unwrap().stderr;
    assert!(!error(&["plan"]).contains(&0x1b));
    assert!(error(&["--color", "always", "plan"]).contains(&0x1b));
}

#[test]
fn an_empty_store_has_no_images() {
    let bench = Bench::new(&[]);
    assert_data_eq!(
        bench.run(&["images"]),
        str![[r#"
REPOSITORY  TAG  DIGEST  PLATFORMS  SIZE
exit 0

"#]]
    );
    assert_eq!(bench.stdout(&["images", "--json"]).trim(), "[]");
}

#[test]
fn the_registry_serves_until_it_is_interrupted() {
    let bench = Bench::new(&[]);
    let mut command = bench.command(&["serve", "--addr", "127.0.0.1:0"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim_end().rsplit("http://").next().unwrap().to_owned();
    let mut stream = TcpStream::connect(&address).unwrap();
    stream.write_all(b"GET /v2/ HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let pid = child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(TcpStream::connect(&address).is_err(), "nobody listens any more");
}

/// Enters the sandbox: needs root or user namespaces.
/// `ANYARCH_TEST_SKIP_USERNS=1` leaves it out.
#[test]
fn a_family_is_built_published_and_exported_needs_userns() {
    if std::env::var_os("ANYARCH_TEST_SKIP_USERNS").is_some() {
        return;
    }
    let bench = Bench::scratch();
    let first = bench.run(&["build"]);
    assert!(first.contains("1 step ran") && first.ends_with("exit 0\n"), "{first}");
    let second = bench.run(&["build"]);
    assert!(second.contains("! nothing to do: everything is up to date\n"), "{second}");
    bench.write("hello", "hello again\n");
    let third = bench.run(&["publish", "--quiet"]);
    assert!(third.starts_with("TAG ") && third.contains("files:latest-cpu-amd64"), "{third}");
    let fourth = bench.run(&["publish"]);
    assert!(fourth.contains("unchanged") && fourth.contains("anyarch serve --store"), "{fourth}");
    assert!(fourth.contains("! nothing to do: everything is up to date\n"), "{fourth}");
    assert_eq!(bench.run(&["images"]).lines().count(), 6, "{}", bench.run(&["images"]));
    bench.stdout(&["export", "cpu", "--output", "oci:layout"]);
    assert!(bench.path("layout/index.json").is_file());
    let events = bench.stdout(&["build", "--progress", "json"]);
    let last = events.lines().last().unwrap();
    let result: serde_json::Value = serde_json::from_str(last).unwrap();
    assert_eq!(result["result"][0]["image"], "cpu/amd64");
}

/// Enters the sandbox: needs root or user namespaces.
/// `ANYARCH_TEST_SKIP_USERNS=1` leaves it out.
#[test]
fn a_step_that_fails_shows_its_line_needs_userns() {
    if std::env::var_os("ANYARCH_TEST_SKIP_USERNS").is_some() {
        return;
    }
    let bench = Bench::scratch();
    bench.write("Dockerfile", "FROM scratch\nCOPY hello /etc/\nRUN [\"/bin/nothing\"]\n");
    let text = bench.run(&["build", "--quiet"]);
    assert!(text.contains(" --> Dockerfile:3:1\n") && text.ends_with("exit 1\n"), "{text}");
    bench.write("Dockerfile", "FROM scratch\nCOPY missing /etc/\n");
    let text = bench.run(&["build", "--quiet"]);
    assert!(text.contains(" --> Dockerfile:2:1\n") && text.ends_with("exit 2\n"), "{text}");
}

/// Enters the sandbox: needs root or user namespaces.
/// `ANYARCH_TEST_SKIP_USERNS=1` leaves it out.
#[test]
fn what_a_killed_run_left_is_removed_needs_userns() {
    if std::env::var_os("ANYARCH_TEST_SKIP_USERNS").is_some() {
        return;
    }
    let bench = Bench::scratch();
    bench.stdout(&["build"]);
    let left = bench.store().join("work/1-left");
    std::fs::create_dir_all(&left).unwrap();
    std::fs::write(left.join("lock"), "").unwrap();
    let text = bench.run(&["build"]);
    assert!(text.contains("! removed what 1 interrupted run had left unfinished\n"), "{text}");
    assert!(!left.exists());
}
