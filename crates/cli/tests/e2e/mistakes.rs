//! One test for each mistake that shows only when something is built.

use std::fs;

use snapbox::{assert_data_eq, str};

use crate::bench::{ARCH, Bench};
use crate::needs;

/// What a build of the last tier says that must fail.
fn fails(dockerfile: &str) -> String {
    let bench = Bench::one(dockerfile);
    let said = bench.fails(["build", "--quiet"]);
    bench.assert_clean();
    said
}

/// What a family with this text in its plan in the place of another says.
fn fails_with_plan(from: &str, to: &str) -> String {
    let bench = Bench::family();
    bench.replace("anyarch.toml", from, to);
    bench.fails(["build", "--quiet"])
}

#[test]
fn unknown_key() {
    assert_data_eq!(
        fails_with_plan("platforms", "platfroms"),
        str![[r#"
error: unknown key `platfroms` in `[flavor.cpu]`
 --> anyarch.toml:5:1
  |
5 | platfroms = ["linux/[ARCH]"]
  | ^^^^^^^^^ did you mean `platforms`?
  |
  = hint: known keys here: `platforms`, `accelerator`, `tiers`, `smoke` and `on`

exit 2

"#]]
    );
}

#[test]
fn wrong_type() {
    assert_data_eq!(
        fails_with_plan("name = \"demo\"", "name = [\"demo\"]"),
        str![[r#"
error: `name` in `[project]` holds a list where a string belongs
 --> anyarch.toml:2:8
  |
2 | name = ["demo"]
  |        ^^^^^^^^ expected a string, found a list
  |
  = hint: for example `name = "my-app"`

exit 2

"#]]
    );
}

#[test]
fn unknown_target() {
    assert_data_eq!(
        Bench::family().fails(["build", "cup"]),
        str![[r#"
error: unknown target `cup`
  hint: did you mean `cpu`? targets of this plan: cpu, amd64, cpu-amd64, all; and tiers of them, such as cpu-base
exit 2

"#]]
    );
}

#[test]
fn cyclic_bases() {
    let bases = "[base.a]\nfrom = \"b\"\n[base.b]\nfrom = \"a\"\n\n[flavor.cpu]";
    assert_data_eq!(
        fails_with_plan("[flavor.cpu]", bases),
        str![[r#"
error: base `a` starts from itself: a → b → a
 --> anyarch.toml:5:8
  |
5 | from = "b"
  |        ^^^ closes a circle
  |
  = hint: one base of the circle needs `debian` instead of `from`

exit 2

"#]]
    );
}

#[test]
fn missing_dockerfile_needs_userns() {
    needs!("userns");
    assert_data_eq!(
        fails_with_plan("app/Dockerfile", "app/Dokcerfile"),
        str![[r#"
error: failed to read the Dockerfile app/Dokcerfile
  caused by: No such file or directory (os error 2)
  hint: line 9 of the plan names it; paths are relative to the plan file
exit 2

"#]]
    );
}

#[test]
fn context_that_is_not_there_needs_userns() {
    needs!("userns");
    assert_data_eq!(
        fails_with_plan("context = \"app\"", "context = \"aap\""),
        str![[r#"
error: the build context ./aap is not a folder
  hint: paths of contexts are relative to the plan file
exit 2

"#]]
    );
}

#[test]
fn unknown_base_needs_userns() {
    needs!("userns");
    assert_data_eq!(
        fails("FROM root AS one\nFROM localhost:1/nothing:1.0\n"),
        str![[r#"
error: failed to resolve the image localhost:1/nothing:1.0
 --> app/Dockerfile:3:1
  |
3 | FROM localhost:1/nothing:1.0
  | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  caused by: failed to pull localhost:1/nothing:1.0
  caused by: failed to connect for http://localhost:1/v2/nothing/manifests/1.0
  caused by: error sending request
  caused by: client error (Connect)
  caused by: tcp connect error
  caused by: Connection refused (os error 111)
  hint: check that the server is running and that no proxy or firewall is in the way
exit 1

"#]]
    );
}

#[test]
fn base_without_registry_needs_userns() {
    needs!("userns");
    assert_data_eq!(
        fails("FROM pyhton\n"),
        str![[r#"
error: no base, stage or image is known under the name `pyhton`
 --> app/Dockerfile:2:1
  |
2 | FROM pyhton
  | ^^^^^^^^^^^
  hint: define it as [base.NAME] in the plan, or name an image with its registry (HOST/REPOSITORY:TAG)
exit 2

"#]]
    );
}

#[test]
fn unknown_instruction_needs_userns() {
    needs!("userns");
    assert_data_eq!(
        fails("FROM root\nRNU true\n"),
        str![[r#"
error: unknown instruction `RNU`: did you mean `RUN`?
 --> app/Dockerfile:3:1
  |
3 | RNU true
  | ^^^^^^^^
  hint: if this continues the line above, end that line with `/`
exit 2

"#]]
    );
}

#[test]
fn refused_flag_names_its_line_needs_userns() {
    needs!("userns");
    assert_data_eq!(
        fails("FROM root\nRUN --security=insecure true\n"),
        str![[r#"
error: RUN --security=insecure is refused
 --> app/Dockerfile:3:1
  |
3 | RUN --security=insecure true
  | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  hint: steps run with the default set of capabilities only
exit 2

"#]]
    );
}

#[test]
fn missing_file_needs_userns() {
    needs!("userns");
    assert_data_eq!(
        fails("FROM root\nCOPY files/nothing /x\n"),
        str![[r#"
error: `files/nothing` was not found in the build context
 --> app/Dockerfile:3:1
  |
3 | COPY files/nothing /x
  | ^^^^^^^^^^^^^^^^^^^^^
  hint: paths are relative to the build context ./app
exit 2

"#]]
    );
}

#[test]
fn file_out_of_the_context_needs_userns() {
    needs!("userns");
    assert_data_eq!(
        fails("FROM root\nCOPY ../base/Dockerfile /x\n"),
        str![[r#"
error: `../base/Dockerfile` was not found in the build context
 --> app/Dockerfile:3:1
  |
3 | COPY ../base/Dockerfile /x
  | ^^^^^^^^^^^^^^^^^^^^^^^^^^
  hint: `..` does not lead out of the build context ./app; move it up to copy more
exit 2

"#]]
    );
}

#[test]
fn link_out_of_the_context_needs_userns() {
    needs!("userns");
    let bench = Bench::one("FROM root\nCOPY outside/passwd /x\n");
    std::os::unix::fs::symlink("/etc", bench.path("app/outside")).unwrap();
    assert_data_eq!(
        bench.fails(["build", "--quiet"]),
        str![[r#"
error: `outside/passwd` was not found in the build context
 --> app/Dockerfile:3:1
  |
3 | COPY outside/passwd /x
  | ^^^^^^^^^^^^^^^^^^^^^^
  hint: paths are relative to the build context ./app
exit 2

"#]]
    );
}

#[test]
fn ignored_file_needs_userns() {
    needs!("userns");
    let bench = Bench::one("FROM root\nCOPY files/main /x\n");
    bench.write("app/.dockerignore", "files\n");
    assert_data_eq!(
        bench.fails(["build", "--quiet"]),
        str![[r#"
error: `files/main` was not found in the build context
 --> app/Dockerfile:3:1
  |
3 | COPY files/main /x
  | ^^^^^^^^^^^^^^^^^^
  hint: it is there, but ./app/.dockerignore excludes it
exit 2

"#]]
    );
}

#[test]
fn stage_without_the_file_needs_userns() {
    needs!("userns");
    assert_data_eq!(
        fails("FROM root AS one\nFROM root\nCOPY --from=one /nothing /x\n"),
        str![[r#"
error: `/nothing` was not found in the image or stage it is copied from
 --> app/Dockerfile:4:1
  |
4 | COPY --from=one /nothing /x
  | ^^^^^^^^^^^^^^^^^^^^^^^^^^^
  caused by: failed to read the metadata of nothing
  caused by: No such file or directory (os error 2)
exit 1

"#]]
    );
}

#[test]
fn unknown_owner_needs_userns() {
    needs!("userns");
    assert_data_eq!(
        fails("FROM root\nCOPY --chown=nobody files /x\n"),
        str![[r#"
error: user `nobody` is not in /etc/passwd of the image
 --> app/Dockerfile:3:1
  |
3 | COPY --chown=nobody files /x
  | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  hint: create it in an earlier step, or give a number
exit 1

"#]]
    );
}

#[test]
fn unknown_user_needs_userns() {
    needs!("userns");
    assert_data_eq!(
        fails("FROM root\nUSER nobody\nRUN true\n"),
        str![[r#"
error: user `nobody` is not in /etc/passwd of the image
 --> app/Dockerfile:4:1
  |
4 | RUN true
  | ^^^^^^^^
  hint: create it in an earlier step, or give a number
exit 1

"#]]
    );
}

#[test]
fn run_that_fails_shows_step_source_and_output_needs_userns() {
    needs!("userns");
    let text = "FROM root\nRUN echo one && \\\n    echo two >&2 && \\\n    exit 7\n";
    assert_data_eq!(
        fails(text),
        str![[r#"
error: `RUN echo one && echo two >&2 && exit 7` failed: exit code 7
 --> app/Dockerfile:3:1
  |
3 | RUN echo one && /
  | ^^^^^^^^^^^^^^^^^
  the end of the output of step #2:
    one
    two
exit 1

"#]]
    );
}

#[test]
fn run_that_is_killed_needs_userns() {
    needs!("userns");
    assert_data_eq!(
        fails("FROM root\nRUN kill -9 $$\n"),
        str![[r#"
error: `RUN kill -9 $$` failed: signal 9
 --> app/Dockerfile:3:1
  |
3 | RUN kill -9 $$
  | ^^^^^^^^^^^^^^
  hint: the process was killed, often because memory ran out
exit 1

"#]]
    );
}

#[test]
fn command_that_is_not_there_needs_userns() {
    needs!("userns");
    assert_data_eq!(
        fails("FROM root\nRUN apt-get update\n"),
        str![[r#"
error: `RUN apt-get update` failed: exit code 127
 --> app/Dockerfile:3:1
  |
3 | RUN apt-get update
  | ^^^^^^^^^^^^^^^^^^
  the end of the output of step #2:
    /bin/sh: 1: apt-get: not found
  hint: 127 means that a command was not found: is its package installed in an earlier step?
exit 1

"#]]
    );
}

#[test]
fn program_that_is_not_there_needs_userns() {
    needs!("userns");
    assert_data_eq!(
        fails("FROM root\nRUN [\"/opt/nothing\", \"--version\"]\n"),
        str![[r#"
error: failed to run `/opt/nothing --version`
 --> app/Dockerfile:3:1
  |
3 | RUN ["/opt/nothing", "--version"]
  | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  caused by: failed to run /opt/nothing: no such file
exit 1

"#]]
    );
}

#[test]
fn image_without_a_shell_needs_userns() {
    needs!("userns");
    assert_data_eq!(
        fails("FROM scratch\nRUN true\n"),
        str![[r#"
error: failed to run `/bin/sh -c true`
 --> app/Dockerfile:3:1
  |
3 | RUN true
  | ^^^^^^^^
  caused by: failed to run /bin/sh: no such file
exit 1

"#]]
    );
}

#[test]
fn interpreter_that_is_not_there_needs_userns() {
    needs!("userns");
    let text = "FROM root\nCOPY --chmod=755 <<E /x\n#!/usr/bin/nothing\nE\nRUN [\"/x\"]\n";
    assert_data_eq!(
        fails(text),
        str![[r#"
error: failed to run `/x`
 --> app/Dockerfile:6:1
  |
6 | RUN ["/x"]
  | ^^^^^^^^^^
  caused by: failed to run /x: its interpreter /usr/bin/nothing does not exist
  hint: install the interpreter; a `/r` at the end of its name means that the script has Windows line ends
exit 1

"#]]
    );
}

#[test]
fn working_directory_that_is_a_file_needs_userns() {
    needs!("userns");
    assert_data_eq!(
        fails("FROM root\nWORKDIR /etc/passwd\nRUN true\n"),
        str![[r#"
error: failed to create /etc/passwd
 --> app/Dockerfile:3:1
  |
3 | WORKDIR /etc/passwd
  | ^^^^^^^^^^^^^^^^^^^
  caused by: failed to make the directory /etc/passwd
  caused by: Not a directory (os error 20)
exit 1

"#]]
    );
}

#[test]
fn platform_without_emulator_needs_userns() {
    needs!("userns");
    let bench = Bench::family();
    bench.replace("anyarch.toml", &format!("linux/{ARCH}"), "linux/mips64le");
    // Nothing is fetched for a platform that nothing is known of.
    let mut command = bench.command(&["build", "--quiet"]);
    command.env("ANYARCH_DEBIAN_MIRROR", "http://127.0.0.1:9/debian");
    assert_data_eq!(
        bench.finish(&mut command).shown(),
        str![[r#"
error: no emulator is known for programs of linux/mips64le
 --> ml/Dockerfile:3:1
  |
3 | RUN echo model > /model
  | ^^^^^^^^^^^^^^^^^^^^^^^
  hint: foreign platforms that can be built are linux/arm64, linux/arm/v7, linux/riscv64, linux/ppc64le, linux/s390x
exit 2

"#]]
    );
}

#[test]
fn store_that_cannot_be_made_needs_userns() {
    needs!("userns");
    let bench = Bench::family();
    fs::write(bench.store(), "a file").unwrap();
    assert_data_eq!(
        bench.fails(["build", "--quiet"]),
        str![[r#"
error: failed to create [DIR]/store/blobs/sha256
  caused by: Not a directory (os error 20)
exit 1

"#]]
    );
}

#[test]
fn smoke_command_that_fails_needs_userns() {
    needs!("userns");
    let bench = Bench::family();
    let smoke = "[flavor.cpu]\nsmoke = [\"sh\", \"-c\", \"echo not good; exit 4\"]";
    bench.replace("anyarch.toml", "[flavor.cpu]", smoke);
    assert_data_eq!(
        bench.fails(["publish", "--quiet"]),
        str![[r#"
error: the smoke command of cpu/[ARCH] (`sh -c echo not good; exit 4`) failed: exit code 4
  the end of the output of the smoke command of cpu/[ARCH]:
    not good
  hint: nothing was tagged; mend the image or its `smoke` command in the plan
exit 1

"#]]
    );
}
