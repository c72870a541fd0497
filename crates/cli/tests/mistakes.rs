//! One test for each mistake: what is printed, and the exit code.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub, reason = "tests")]

mod bench;

use bench::{Bench, PLAN};
use snapbox::{IntoData, assert_data_eq, str};

/// The family with one change to its plan.
fn changed(from: &str, to: &str) -> Bench {
    assert!(PLAN.contains(from), "{from}");
    let bench = Bench::family();
    bench.write("anyarch.toml", &PLAN.replace(from, to));
    bench
}

#[test]
fn unknown_key() {
    assert_data_eq!(
        changed("platforms", "platfroms").run(&["check"]),
        str![[r#"
! error: unknown key `platfroms` in `[flavor.cpu]`
!   --> anyarch.toml:11:1
!    |
! 11 | platfroms = ["linux/amd64", "linux/arm64"]
!    | ^^^^^^^^^ did you mean `platforms`?
!    |
!    = hint: known keys here: `platforms`, `accelerator`, `tiers`, `smoke` and `on`
!
! 1 file checked, 1 error
exit 2

"#]]
    );
}

#[test]
fn wrong_type() {
    assert_data_eq!(
        changed("[\"app\", \"selftest\"]", "7").run(&["check"]),
        str![[r#"
! error: `smoke` in `[flavor.cpu]` holds an integer where a list of strings belongs
!   --> anyarch.toml:16:9
!    |
! 16 | smoke = 7
!    |         ^ expected a list of strings, found an integer
!    |
!    = hint: for example `smoke = ["my-app", "--version"]`
!
! 1 file checked, 1 error
exit 2

"#]]
    );
}

#[test]
fn broken_toml() {
    assert_data_eq!(
        changed("name = \"demo\"", "name = \"demo").run(&["plan"]),
        str![[r#"
! error: the plan is not valid TOML: invalid basic string, expected `"`
!  --> anyarch.toml:2:13
!   |
! 2 | name = "demo
!   |             ^ here
!
exit 2

"#]]
    );
}

#[test]
fn missing_dockerfile() {
    assert_data_eq!(
        changed("docker/app/Dockerfile", "docker/app/Dokcerfile").run(&["check"]),
        str![[r#"
! error: there is no Dockerfile `docker/app/Dokcerfile`
!   --> anyarch.toml:14:32
!    |
! 14 |   { name = "app", dockerfile = "docker/app/Dokcerfile", context = "src" },
!    |                                ^^^^^^^^^^^^^^^^^^^^^^^
!    |
!    = hint: paths are relative to the folder of the plan
!
! 4 files checked, 1 error
exit 2

"#]]
    );
}

#[test]
fn missing_context() {
    assert_data_eq!(
        changed("context = \"src\"", "context = \"scr\"").run(&["check"]),
        str![[r#"
! error: the build context `scr` of tier `app` is not a folder
!   --> anyarch.toml:14:3
!    |
! 14 |   { name = "app", dockerfile = "docker/app/Dockerfile", context = "scr" },
!    |   ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
!
! 4 files checked, 1 error
exit 2

"#]]
    );
}

#[test]
fn missing_stage() {
    let bench = changed("context = \"src\"", "target = \"final\"");
    assert_data_eq!(
        bench.run(&["check"]),
        str![[r#"
! error: docker/app/Dockerfile has no stage `final`
!   --> anyarch.toml:14:3
!    |
! 14 |   { name = "app", dockerfile = "docker/app/Dockerfile", target = "final" },
!    |   ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
!    |
!    = hint: its stages have no names: add `AS NAME` to a FROM line
!
! 4 files checked, 1 error
exit 2

"#]]
    );
}

#[test]
fn bad_dockerfile() {
    let bench = Bench::family();
    bench.write("docker/app/Dockerfile", "FROM scratch\nRNU true\nCOPY --form=x a b\n");
    assert_data_eq!(
        bench.run(&["check"]).raw(),
        str![[r#"
! warning[tier-not-chained]: the tier below is not used: this Dockerfile has no `ARG BASE_IMAGE`
!  --> docker/app/Dockerfile:1:6
!   |
! 1 | FROM scratch
!   |      ^^^^^^^ not built from the tier below
!   |
!   = hint: put `ARG BASE_IMAGE` before `FROM ${BASE_IMAGE}`
!
! error: unknown instruction `RNU`
!  --> docker/app/Dockerfile:2:1
!   |
! 2 | RNU true
!   | ^^^ did you mean `RUN`?
!   |
!   = hint: if this continues the line above, end that line with `/`
!
! error: unknown flag `--form` of COPY
!  --> docker/app/Dockerfile:3:6
!   |
! 3 | COPY --form=x a b
!   |      ^^^^^^ did you mean `--from`?
!   |
!   = hint: COPY takes --from, --chown, --chmod, --link, --parents, --exclude
!
! 5 files checked, 2 errors, 1 warning
exit 2

"#]]
    );
}

#[test]
fn bad_ignore_file() {
    let bench = Bench::family();
    bench.write("src/.dockerignore", "*.pyc\n[a-\n");
    assert_data_eq!(
        bench.run(&["check"]),
        str![[r#"
! error: cannot use line 2 of the ignore file
!  --> src/.dockerignore:2:1
!   |
! 2 | [a-
!   | ^^^ malformed pattern `[a-`: a `[` without its `]`, or an empty class
!   |
!   = hint: escape a literal `[`, `*`, `?` or backslash with a backslash
!
! 5 files checked, 1 error
exit 2

"#]]
    );
}

#[test]
fn cyclic_bases() {
    let bench = changed("debian = \"bookworm\"", "from = \"python\"");
    assert_data_eq!(
        bench.run(&["plan"]),
        str![[r#"
! error: base `python` starts from itself: python → python
!  --> anyarch.toml:7:8
!   |
! 7 | from = "python"
!   |        ^^^^^^^^ closes a circle
!   |
!   = hint: one base of the circle needs `debian` instead of `from`
!
exit 2

"#]]
    );
}

#[test]
fn several_files() {
    let bench = Bench::new(&[("a.toml", "[projct]\n"), ("Dockerfile", "FROM\n")]);
    assert_data_eq!(
        bench.run(&["check", "a.toml", "Dockerfile"]),
        str![[r#"
! error: the plan has no `[flavor.NAME]` table
!  --> a.toml:1:1
!   |
! 1 | [projct]
!   | ^ needs `flavor`
!   |
!   = hint: add one that starts with `[flavor.cpu]`
!
! error: unknown key `projct` in the plan
!  --> a.toml:1:2
!   |
! 1 | [projct]
!   |  ^^^^^^ did you mean `project`?
!   |
!   = hint: known keys here: `project`, `sources`, `base`, `flavor`, `tags` and `index`
!
! error: FROM needs a base image
!  --> Dockerfile:1:1
!   |
! 1 | FROM
!   | ^^^^ too few arguments
!
! 2 files checked, 3 errors
exit 2

"#]]
    );
}

#[test]
fn findings_as_json() {
    let text = changed("platforms", "platfroms").run(&["check", "--json"]);
    let json = text.strip_suffix("exit 2\n").unwrap();
    let value: serde_json::Value = serde_json::from_str(json).unwrap();
    assert_eq!(value["errors"], 1);
    let found = &value["findings"][0];
    assert_eq!((&found["file"], &found["line"]), (&"anyarch.toml".into(), &11.into()));
    assert_eq!(found["code"], "unknown-key");
}

#[test]
fn build_checks() {
    let bench = Bench::new(&[("Dockerfile", "FROM scratch as a\nCMD run $me\nLABEL a=$you\n")]);
    assert_data_eq!(
        bench.run(&["check", "Dockerfile"]),
        str![[r#"
! warning[FromAsCasing]: `as` is not in the case of `FROM`
!  --> Dockerfile:1:14
!   |
! 1 | FROM scratch as a
!   |              ^^ write `AS`
!
! warning[JSONArgsRecommended]: CMD in shell form: the shell gets the signals, not the program
!  --> Dockerfile:2:1
!   |
! 2 | CMD run $me
!   | ^^^ runs `/bin/sh -c`
!   |
!   = hint: write CMD as a JSON array; or say with SHELL which shell is meant
!
! warning[UndefinedVar]: nothing has set the variable `you`
!  --> Dockerfile:3:9
!   |
! 3 | LABEL a=$you
!   |         ^^^^ empty
!   |
!   = hint: declare it with `ARG you`, or set it with ENV
!
! 1 file checked, 3 warnings
exit 0

"#]]
    );
    assert!(bench.run(&["check", "--error", "Dockerfile"]).ends_with("3 errors\nexit 2\n"));
    let silenced = bench.run(&["build", "--check", "."]);
    assert!(silenced.contains("UndefinedVar") && silenced.ends_with("exit 0\n"), "{silenced}");
}

#[test]
fn build_checks_of_a_file_that_allows_none() {
    let bench = Bench::new(&[("Dockerfile", "# check=error=true\nFROM scratch as a\nCMD run\n")]);
    assert_data_eq!(
        bench.run(&["build", "-t", "a", "."]),
        str![[r#"
! error: `as` is not in the case of `FROM`
!  --> Dockerfile:2:14
!   |
! 2 | FROM scratch as a
!   |              ^^ write `AS`
!
! error: CMD in shell form: the shell gets the signals, not the program
!  --> Dockerfile:3:1
!   |
! 3 | CMD run
!   | ^^^ runs `/bin/sh -c`
!   |
!   = hint: write CMD as a JSON array; or say with SHELL which shell is meant
!
! error: 2 findings in a Dockerfile that allows none
!   hint: it has `# check=error=true`; `skip=NAME` takes a check out
exit 2

"#]]
    );
    let check = |options: &str| {
        let options = format!("BUILDKIT_DOCKERFILE_CHECK={options}");
        bench.run(&["build", "--call=check", "--build-arg", &options, "."])
    };
    assert!(check("skip=all;error=true").ends_with("no findings\nexit 0\n"));
    assert!(check("skip=FromAsCasing;error=1").ends_with("1 error\nexit 2\n"));
    assert_data_eq!(
        check("skpi=all"),
        str![[r#"
! error: BUILDKIT_DOCKERFILE_CHECK=skpi=all: `skpi` is no option of checks
!   hint: did you mean `skip`?
exit 2

"#]]
    );
}

#[test]
fn a_plan_with_a_dockerfile_that_allows_no_findings() {
    let bench = Bench::scratch();
    bench.write("Dockerfile", "# check=error=true\nFROM scratch AS Files\nCOPY hello /\n");
    for verb in ["build", "publish"] {
        let text = bench.run(&[verb]);
        assert!(text.contains("stage `Files` is not in lower case"), "{text}");
        assert!(text.contains("hint: it has `# check=error=true`"), "{text}");
        assert!(text.ends_with("exit 2\n"), "{text}");
    }
    assert!(!bench.store().exists());
}

#[test]
fn what_a_tier_inherits_is_known() {
    let bench = Bench::family();
    let base = "FROM python\nENV HOME_OF_APP=/opt\nWORKDIR /opt\nSHELL [\"/bin/sh\", \"-c\"]\n";
    bench.write("docker/cpu/Dockerfile.base", base);
    let app = "ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\nCOPY app $HOME_OF_APP\nWORKDIR app\nCMD app\n";
    bench.write("docker/app/Dockerfile", app);
    // The member on arm64 has another tier below, which sets none of it.
    let text = bench.run(&["check"]);
    for (rule, line) in
        [("UndefinedVar", 3), ("WorkdirRelativePath", 4), ("JSONArgsRecommended", 5)]
    {
        assert!(text.contains(&format!("warning[{rule}]")), "{text}");
        assert!(text.contains(&format!("docker/app/Dockerfile:{line}:")), "{text}");
    }
    assert!(text.ends_with("3 warnings\nexit 0\n"), "{text}");
    bench.write("docker/arm64/Dockerfile.base", base);
    assert!(bench.run(&["check"]).ends_with("no findings\nexit 0\n"));
}

#[test]
fn an_unused_dockerfile() {
    let bench = Bench::family();
    bench.write("docker/arm64/Dockerfile.app", "FROM scratch\n");
    bench.write("docker/tools/Dockerfile", "FROM scratch\n");
    assert_data_eq!(
        bench.run(&["check"]),
        str![[r#"
! warning[unused-dockerfile]: no tier names `docker/arm64/Dockerfile.app`, which looks like one of cpu/arm64
!   --> anyarch.toml:11:29
!    |
! 11 | platforms = ["linux/amd64", "linux/arm64"]
!    |                             ^^^^^^^^^^^^^ takes docker/arm64/Dockerfile.base, docker/app/Dockerfile
!    |
!    = hint: name it in `on."…".tier`, or remove it: two recipes drift apart
!
! 5 files checked, 1 warning
exit 0

"#]]
    );
}

#[test]
fn a_directory_copied_before_packages_are_installed() {
    let bench = Bench::family();
    bench.write("src/requirements/base.txt", "a\n");
    let app = "ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\nCOPY requirements /r\nRUN pip install -r /r/base.txt\n";
    bench.write("docker/app/Dockerfile", app);
    assert_data_eq!(
        bench.run(&["check"]),
        str![[r#"
! warning[install-after-copy]: every change in `requirements` runs `pip install` (line 4) again
!  --> docker/app/Dockerfile:3:6
!   |
! 3 | COPY requirements /r
!   |      ^^^^^^^^^^^^ copied before packages are installed
!   |
!   = hint: copy the list that it reads, if there is one, and put the rest of the directory below
!
! 5 files checked, 1 warning
exit 0

"#]]
    );
    bench.write("docker/app/Dockerfile", &format!("# check=skip=install-after-copy\n{app}"));
    assert!(bench.run(&["check"]).ends_with("no findings\nexit 0\n"));
}

#[test]
fn findings_as_annotations() {
    let bench = Bench::new(&[("Dockerfile", "FROM scratch as a\nRUN --x y\n")]);
    assert_data_eq!(
        bench.run(&["check", "--format", "github", "Dockerfile"]),
        str![[r#"
::warning file=Dockerfile,line=1,endLine=1,col=14,endColumn=16,title=FromAsCasing::`as` is not in the case of `FROM`: write `AS`
::error file=Dockerfile,line=2,endLine=2,col=5,endColumn=8,title=unknown-flag::unknown flag `--x` of RUN: unknown flag%0Ahint: RUN takes --mount, --network, --security, --device
exit 2

"#]]
    );
}

#[test]
fn no_plan() {
    assert_data_eq!(
        Bench::new(&[]).run(&["build"]),
        str![[r#"
! error: there is no plan anyarch.toml
!   hint: `anyarch init` writes one from the Dockerfiles of a repository; -C DIR names another folder
exit 2

"#]]
    );
}

#[test]
fn plan_in_a_folder_above() {
    let bench = Bench::family();
    assert_data_eq!(
        bench.run(&["-C", "docker/app", "plan"]),
        str![[r#"
! error: there is no plan anyarch.toml
!   hint: there is one in [DIR]/work: use -C [DIR]/work
exit 2

"#]]
    );
}

#[test]
fn no_such_folder() {
    assert_data_eq!(
        Bench::new(&[]).run(&["-C", "nowhere", "check"]),
        str![[r#"
! error: cannot enter nowhere
!   caused by: No such file or directory (os error 2)
exit 2

"#]]
    );
}

#[test]
fn unknown_verb() {
    assert_data_eq!(
        Bench::new(&[]).run(&["biuld"]),
        str![[r#"
! error: unrecognized subcommand 'biuld'
!
!   tip: a similar subcommand exists: 'build'
!
! Usage: anyarch [OPTIONS] <COMMAND>
!
! For more information, try '--help'.
exit 2

"#]]
    );
}

#[test]
fn unknown_flag() {
    assert_data_eq!(
        Bench::new(&[]).run(&["build", "--platfrom", "x"]),
        str![[r#"
! error: unexpected argument '--platfrom' found
!
!   tip: a similar argument exists: '--platform'
!
! Usage: anyarch build --platform <PLATFORM> [TARGET]...
!
! For more information, try '--help'.
exit 2

"#]]
    );
}

#[test]
fn unknown_target() {
    assert_data_eq!(
        Bench::family().run(&["plan", "cup"]),
        str![[r#"
! error: unknown target `cup`
!   hint: did you mean `cpu`? targets of this plan: cpu, amd64, cpu-amd64, arm64, cpu-arm64, latest, all; and tiers of them, such as cpu-base
exit 2

"#]]
    );
}

#[test]
fn platform_that_the_plan_does_not_list() {
    assert_data_eq!(
        Bench::family().run(&["build", "cpu", "--arch", "riscv64"]),
        str![[r#"
! error: `cpu` has no image for `riscv64`: the plan lists only `linux/amd64` and `linux/arm64`
!   hint: to build it, make line 11 of the plan `platforms = ["linux/amd64", "linux/arm64", "linux/riscv64"]`
exit 2

"#]]
    );
}

#[test]
fn repository_without_registry() {
    let bench = Bench::family();
    assert_data_eq!(
        bench.run(&["publish", "--to", "team/demo", "--dry-run"]),
        str![[r#"
! error: cannot publish to `team/demo`
!   hint: name the registry too, such as registry.example/team/demo
exit 2

"#]]
    );
}

#[test]
fn repository_with_a_tag() {
    let bench = Bench::family();
    assert_data_eq!(
        bench.run(&["publish", "--to", "r.example/demo:v1", "--dry-run"]),
        str![[r#"
! error: cannot publish to `r.example/demo:v1`
!   hint: leave out the tag or digest: the plan says which tags are set
exit 2

"#]]
    );
}

#[test]
fn dirty_tree() {
    let bench = Bench::family();
    let git = |args: &[&str]| {
        let mut command = std::process::Command::new("git");
        let status = command.arg("-C").arg(bench.path("")).args(args).status().unwrap();
        assert!(status.success());
    };
    git(&["init", "-q"]);
    assert_data_eq!(
        bench.run(&["publish", "cpu-amd64"]),
        str![[r#"
! error: version v1.0.0 is not published from a tree with uncommitted changes
!     ?? anyarch.toml
!     ?? docker/app/Dockerfile
!     ?? docker/arm64/Dockerfile.base
!     ?? docker/cpu/Dockerfile.base
!     ?? src/.dockerignore
!     … and 1 more
!   hint: commit or remove them, so that the version says what is in the images
exit 3

"#]]
    );
}

#[test]
fn live_tree_without_terminal() {
    assert_data_eq!(
        Bench::family().run(&["plan", "--progress", "tty"]),
        str![[r#"
! error: `--progress tty` needs a terminal on standard error
!   hint: `--progress plain` works everywhere
exit 2

"#]]
    );
}

#[test]
fn unreadable_lock() {
    let bench = Bench::family();
    bench.write("anyarch.lock", "version = 99\n");
    let text = bench.run(&["lock"]);
    assert_data_eq!(
        text,
        str![[r#"
! error: anyarch.lock has version 99; this anyarch reads version 1
!   hint: take it from version control again, or remove it to have it written anew
exit 2

"#]]
    );
}

#[test]
fn address_in_use() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let text = Bench::new(&[]).run(&["serve", "--addr", &address]);
    assert_data_eq!(
        text.replace(&address, "[ADDRESS]"),
        str![[r#"
! error: failed to listen at [ADDRESS]
!   caused by: Address already in use (os error 98)
!   hint: another program listens there; name another port, or 0 for any that is free
exit 1

"#]]
    );
}

#[test]
fn a_plan_exists_already() {
    assert_data_eq!(
        Bench::family().run(&["init"]),
        str![[r#"
! error: anyarch.toml exists already
!   hint: `anyarch init --stdout` prints the plan that would be written
exit 2

"#]]
    );
}

#[test]
fn nothing_to_write_a_plan_for() {
    assert_data_eq!(
        Bench::new(&[]).run(&["init"]),
        str![[r#"
! error: found no Dockerfile in [DIR]/work
!   hint: files named Dockerfile, Dockerfile.NAME, NAME.Dockerfile or Containerfile count
exit 2

"#]]
    );
}
