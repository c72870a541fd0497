//! One Dockerfile without a plan.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use crate::bench::Bench;
use crate::needs;

/// A folder with a small root and a Dockerfile, and no plan.
fn bench(dockerfile: &str) -> Bench {
    let bench = Bench::empty();
    bench.write_root("rootfs");
    bench.write("Dockerfile", dockerfile);
    bench
}

const STAGES: &str = "ARG WORD=none\nFROM scratch AS one\nCOPY rootfs/ /\nENV PATH=/bin\nARG WORD\nRUN echo $WORD > /word\nFROM one AS two\nRUN echo two > /two\n";

#[test]
fn a_dockerfile_is_built_and_tagged_needs_userns() {
    needs!("userns");
    let bench = bench(STAGES);
    let done = bench.run(["build", "-t", "team/app:v1", "-t", "team/app", "."]).success();
    assert!(done.out.contains("team/app:v1 team/app:latest"), "{}", done.out);
    let images = bench.run(["images"]).success().out;
    assert!(images.contains("v1") && images.contains("latest"), "{images}");
    let again = bench.run(["build", "-t", "team/app:v1", "."]).success();
    assert!(again.err.ends_with("nothing to do: everything is up to date\n"), "{}", again.err);
}

#[test]
fn stages_arguments_and_outputs_are_chosen_needs_userns() {
    needs!("userns");
    let bench = bench(STAGES);
    bench
        .run([
            "build",
            "--target",
            "one",
            "--build-arg",
            "WORD=given",
            "-o",
            "type=oci,dest=out.tar",
            "--iidfile",
            "id",
            ".",
        ])
        .success();
    let id = fs::read_to_string(bench.path("id")).unwrap();
    assert!(id.starts_with("sha256:"), "{id}");
    let listing = Command::new("tar").arg("-tf").arg(bench.path("out.tar")).output().unwrap();
    let listing = String::from_utf8(listing.stdout).unwrap();
    assert!(listing.contains(&format!("blobs/sha256/{}", &id[7..])), "{listing}");
}

#[test]
fn several_platforms_make_an_index_needs_userns() {
    needs!("userns");
    let bench = Bench::empty();
    bench.write("Dockerfile", "FROM scratch\nARG TARGETARCH\nCOPY $TARGETARCH /arch\n");
    bench.write("amd64", "amd64");
    bench.write("arm64", "arm64");
    let platforms = "linux/amd64,linux/arm64";
    let done = bench.run(["build", "--platform", platforms, "-t", "app", "."]).success();
    assert_eq!(done.out.lines().count(), 3, "{}", done.out);
    let images = bench.run(["images", "--json"]).success().out;
    let rows: serde_json::Value = serde_json::from_str(&images).unwrap();
    assert_eq!(rows[0]["platforms"].as_array().unwrap().len(), 2, "{rows}");
}

#[test]
fn the_context_may_be_a_tar_archive_on_standard_input_needs_userns() {
    needs!("userns");
    let bench = bench(STAGES);
    let archive =
        Command::new("tar").args(["-cz", "."]).current_dir(bench.path(".")).output().unwrap();
    let mut child = bench
        .command(&["build", "-t", "app", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&archive.stdout).unwrap();
    assert!(child.wait().unwrap().success());
}

#[test]
fn the_dockerfile_may_come_from_standard_input_needs_userns() {
    needs!("userns");
    let bench = bench("not this one");
    let mut child = bench
        .command(&["build", "-f", "-", "-t", "app", "."])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(STAGES.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}

#[test]
fn mistakes_are_told_needs_userns() {
    needs!("userns");
    let bench = bench(STAGES);
    for (args, said) in [
        (vec!["build", "-f", "Dockerfile"], "built with a context"),
        (vec!["build", "-t", "app", "nowhere"], "the context nowhere is not a folder"),
        (vec!["build", "-f", "None", "."], "there is no Dockerfile None"),
        (vec!["build", "--target", "three", "."], "no stage `three`"),
        (vec!["build", "--platform", "plan9/amd64", "."], "plan9"),
        (vec!["build", "-t", "app", "--arch", "arm64", "."], "--platform"),
    ] {
        let output = bench.command(&args).stdin(Stdio::null()).output().unwrap();
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {err}");
        assert!(err.contains(said), "{args:?}: {err}");
    }
}
