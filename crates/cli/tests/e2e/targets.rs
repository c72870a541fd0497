//! Every target of the specification, section 4, built and published: afterwards exactly its tags are
//! there, each with exactly its members in their order.

use snapbox::data::Inline;
use snapbox::{assert_data_eq, str};

use crate::bench::{ARCH, Bench};
use crate::family::{DebianRegistry, family, in_registry, in_store};
use crate::needs;

/// The local tags after `anyarch build` with these arguments.
#[track_caller]
fn built(bench: &Bench, args: &str) -> String {
    let command: Vec<&str> = ["build", "--quiet"].into_iter().chain(args.split(' ')).collect();
    bench.finish(&mut bench.command(&command)).success();
    in_store(bench, "mcp-ragex")
}

/// The local tags that each of several command lines leaves in a store of its own.
#[track_caller]
fn all_build(lines: &[&str], wanted: Inline) {
    for args in lines {
        assert_data_eq!(built(&family(), args), wanted.clone());
    }
}

/// What `anyarch publish` with these arguments adds, to the embedded registry and to Debian's; both
/// must be the same. Publishing after building makes no local tag.
#[track_caller]
fn published(args: &str) -> String {
    let bench = family();
    bench.run(["build", "--quiet", "all", "*:base"]).success();
    let before = in_store(&bench, "mcp-ragex");
    let registry = DebianRegistry::start();
    let to = format!("{}/team/mcp-ragex", registry.host());
    let publish = |more: &[&str]| {
        let words = args.split(' ').filter(|word| !word.is_empty());
        let command: Vec<&str> =
            ["publish", "--quiet"].into_iter().chain(words).chain(more.iter().copied()).collect();
        bench.finish(&mut bench.command(&command)).success();
    };
    publish(&["--to", &to]);
    let there = in_registry(&to);
    assert_eq!(in_store(&bench, "mcp-ragex"), before);
    publish(&[]);
    let after = in_store(&bench, "mcp-ragex");
    let new = after.lines().filter(|line| !before.lines().any(|known| known == *line));
    assert_eq!(new.fold(String::new(), |text, line| text + line + "\n"), there);
    assert_eq!(after.lines().count(), before.lines().count() + there.lines().count());
    there
}

#[test]
fn cpu_needs_userns() {
    needs!("userns");
    all_build(
        &["cpu", "cpu --arch amd64", "amd64", "cpu-amd64", "cpu/amd64", "cpu/amd64:app"],
        str![[r#"
amd64-dev: cpu/amd64:app (linux/amd64)
cpu-amd64-dev: cpu/amd64:app (linux/amd64)
cpu-dev: [cpu/amd64:app (linux/amd64)]

"#]],
    );
}

#[test]
fn arm64_needs_userns() {
    needs!("userns");
    all_build(
        &["arm64", "cpu-arm64", "cpu --arch arm64", "cpu/arm64", "*/arm64"],
        str![[r#"
arm64-dev: cpu/arm64:app (linux/arm64)
cpu-arm64-dev: cpu/arm64:app (linux/arm64)
cpu-dev: [cpu/arm64:app (linux/arm64)]

"#]],
    );
}

#[test]
fn cuda_needs_userns() {
    needs!("userns");
    all_build(
        &["cuda", "cuda-amd64", "cuda --arch amd64"],
        str![[r#"
cuda-amd64-dev: cuda/amd64:app (linux/amd64)
cuda-dev: [cuda/amd64:app (linux/amd64)]

"#]],
    );
}

#[test]
fn cpu_base_needs_userns() {
    needs!("userns");
    all_build(
        &["cpu-base", "cpu-base --arch amd64", "amd64-base", "cpu:base"],
        str![[r#"
amd64-base: cpu/amd64:base (linux/amd64)
cpu-amd64-base: cpu/amd64:base (linux/amd64)
cpu-base: [cpu/amd64:base (linux/amd64)]

"#]],
    );
}

#[test]
fn cpu_ml_needs_userns() {
    needs!("userns");
    all_build(
        &["cpu-ml", "cpu-ml --arch amd64", "amd64-ml", "cpu/amd64:ml"],
        str![[r#"
amd64-ml: cpu/amd64:ml (linux/amd64)
cpu-amd64-ml: cpu/amd64:ml (linux/amd64)
cpu-ml: [cpu/amd64:ml (linux/amd64)]

"#]],
    );
}

#[test]
fn arm64_base_needs_userns() {
    needs!("userns");
    all_build(
        &["arm64-base", "cpu-base --arch arm64", "cpu-arm64-base"],
        str![[r#"
arm64-base: cpu/arm64:base (linux/arm64)
cpu-arm64-base: cpu/arm64:base (linux/arm64)
cpu-base: [cpu/arm64:base (linux/arm64)]

"#]],
    );
}

#[test]
fn arm64_ml_needs_userns() {
    needs!("userns");
    all_build(
        &["arm64-ml", "cpu-ml --arch arm64", "cpu-arm64-ml"],
        str![[r#"
arm64-ml: cpu/arm64:ml (linux/arm64)
cpu-arm64-ml: cpu/arm64:ml (linux/arm64)
cpu-ml: [cpu/arm64:ml (linux/arm64)]

"#]],
    );
}

#[test]
fn cuda_base_needs_userns() {
    needs!("userns");
    all_build(
        &["cuda-base", "cuda:base"],
        str![[r#"
cuda-amd64-base: cuda/amd64:base (linux/amd64)
cuda-base: [cuda/amd64:base (linux/amd64)]

"#]],
    );
}

#[test]
fn cuda_ml_needs_userns() {
    needs!("userns");
    all_build(
        &["cuda-ml", "cuda/amd64:ml"],
        str![[r#"
cuda-amd64-ml: cuda/amd64:ml (linux/amd64)
cuda-ml: [cuda/amd64:ml (linux/amd64)]

"#]],
    );
}

#[test]
fn all_needs_userns() {
    needs!("userns");
    all_build(
        &["all", "*", "*/*", "cpu/* cuda"],
        str![[r#"
amd64-dev: cpu/amd64:app (linux/amd64)
arm64-dev: cpu/arm64:app (linux/arm64)
cpu-amd64-dev: cpu/amd64:app (linux/amd64)
cpu-arm64-dev: cpu/arm64:app (linux/arm64)
cpu-dev: [cpu/amd64:app (linux/amd64), cpu/arm64:app (linux/arm64)]
cuda-amd64-dev: cuda/amd64:app (linux/amd64)
cuda-dev: [cuda/amd64:app (linux/amd64)]

"#]],
    );
}

#[test]
fn bases_by_pattern_needs_userns() {
    needs!("userns");
    all_build(
        &["*:base"],
        str![[r#"
amd64-base: cpu/amd64:base (linux/amd64)
arm64-base: cpu/arm64:base (linux/arm64)
cpu-amd64-base: cpu/amd64:base (linux/amd64)
cpu-arm64-base: cpu/arm64:base (linux/arm64)
cpu-base: [cpu/amd64:base (linux/amd64), cpu/arm64:base (linux/arm64)]
cuda-amd64-base: cuda/amd64:base (linux/amd64)
cuda-base: [cuda/amd64:base (linux/amd64)]

"#]],
    );
}

#[test]
fn gathered_tags_hold_what_was_built_so_far_needs_userns() {
    needs!("userns");
    let bench = family();
    built(&bench, "arm64");
    let both = built(&bench, "amd64");
    assert_data_eq!(
        both.clone(),
        str![[r#"
amd64-dev: cpu/amd64:app (linux/amd64)
arm64-dev: cpu/arm64:app (linux/arm64)
cpu-amd64-dev: cpu/amd64:app (linux/amd64)
cpu-arm64-dev: cpu/arm64:app (linux/arm64)
cpu-dev: [cpu/amd64:app (linux/amd64), cpu/arm64:app (linux/arm64)]

"#]]
    );
    // Which was built last makes no difference, nor does building one of them anew.
    assert_eq!(built(&bench, "arm64"), both);
    bench.write("src/app", "changed\n");
    assert_eq!(built(&bench, "arm64"), both);
}

#[test]
fn platform_that_the_plan_lacks_is_refused_with_the_line_to_add_needs_userns() {
    needs!("userns");
    let bench = family();
    assert_data_eq!(
        bench.fails(["build", "cuda", "--arch", "arm64"]),
        str![[r#"
error: `cuda` has no image for `arm64`: the plan lists only `linux/[ARCH]`
  hint: to build it, make line 13 of the plan `platforms = ["linux/[ARCH]", "linux/arm64"]`
exit 2

"#]]
    );
    assert_eq!(in_store(&bench, "mcp-ragex"), "");
}

#[test]
fn that_line_is_all_that_a_new_member_takes_needs_userns() {
    needs!("userns");
    let bench = family();
    let said = bench.fails(["build", "cuda", "--arch", "arm64"]).replace("[ARCH]", ARCH);
    let line = said.split('`').find(|text| text.starts_with("platforms =")).unwrap();
    let number: usize =
        said.split(" line ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    let plan = std::fs::read_to_string(bench.path("anyarch.toml")).unwrap();
    let mut lines: Vec<&str> = plan.lines().collect();
    lines[number - 1] = line;
    bench.write("anyarch.toml", lines.join("\n") + "\n");
    assert_data_eq!(
        built(&bench, "cuda --arch arm64"),
        str![[r#"
cuda-arm64-dev: cuda/arm64:app (linux/arm64)
cuda-dev: [cuda/arm64:app (linux/arm64)]

"#]]
    );
    assert_data_eq!(
        in_embedded_after_publishing(&bench, "cuda"),
        str![[r#"
cuda-amd64: cuda/amd64:app (linux/amd64)
cuda-arm64: cuda/arm64:app (linux/arm64)
cuda-latest: [cuda/amd64:app (linux/amd64 with cuda), cuda/arm64:app (linux/arm64 with cuda)]
v1.0.0-cuda-amd64: cuda/amd64:app (linux/amd64)
v1.0.0-cuda-arm64: cuda/arm64:app (linux/arm64)

"#]]
    );
}

#[test]
fn another_architecture_is_one_word_of_the_plan_needs_userns() {
    needs!("userns");
    let bench = family();
    bench.replace(
        "anyarch.toml",
        r#"["linux/amd64", "linux/arm64"]"#,
        r#"["linux/amd64", "linux/arm64", "linux/riscv64"]"#,
    );
    assert_data_eq!(
        built(&bench, "riscv64"),
        str![[r#"
cpu-dev: [cpu/riscv64:app (linux/riscv64)]
cpu-riscv64-dev: cpu/riscv64:app (linux/riscv64)
riscv64-dev: cpu/riscv64:app (linux/riscv64)

"#]]
    );
    assert_data_eq!(
        in_embedded_after_publishing(&bench, "publish-cpu"),
        str![[r#"
latest-cpu: [cpu/amd64:app (linux/amd64), cpu/arm64:app (linux/arm64)]
latest-cpu-amd64: cpu/amd64:app (linux/amd64)
latest-cpu-arm64: cpu/arm64:app (linux/arm64)
latest-cpu-riscv64: cpu/riscv64:app (linux/riscv64)
v1.0.0-cpu: [cpu/amd64:app (linux/amd64), cpu/arm64:app (linux/arm64)]
v1.0.0-cpu-amd64: cpu/amd64:app (linux/amd64)
v1.0.0-cpu-arm64: cpu/arm64:app (linux/arm64)
v1.0.0-cpu-riscv64: cpu/riscv64:app (linux/riscv64)

"#]]
    );
}

/// The tags in the embedded registry that are no local ones.
#[track_caller]
fn in_embedded_after_publishing(bench: &Bench, target: &str) -> String {
    bench.run(["publish", "--quiet", target, "--version", "v1.0.0"]).success();
    let tags = in_store(bench, "mcp-ragex");
    let local = |line: &&str| !line.contains("-dev:");
    tags.lines().filter(local).fold(String::new(), |text, line| text + line + "\n")
}

#[test]
fn publish_amd64_needs_userns_and_docker_registry() {
    needs!("userns", "docker_registry");
    assert_data_eq!(
        published("publish-amd64 --version v1.0.0"),
        str![[r#"
latest-cpu-amd64: cpu/amd64:app (linux/amd64)
v1.0.0-cpu-amd64: cpu/amd64:app (linux/amd64)

"#]]
    );
}

#[test]
fn publish_arm64_needs_userns_and_docker_registry() {
    needs!("userns", "docker_registry");
    assert_data_eq!(
        published("publish-arm64 --version v1.0.0"),
        str![[r#"
latest-cpu-arm64: cpu/arm64:app (linux/arm64)
v1.0.0-cpu-arm64: cpu/arm64:app (linux/arm64)

"#]]
    );
}

#[test]
fn publish_cuda_needs_userns_and_docker_registry() {
    needs!("userns", "docker_registry");
    assert_data_eq!(
        published("publish-cuda --version v1.0.0"),
        str![[r#"
cuda-amd64: cuda/amd64:app (linux/amd64)
cuda-latest: cuda/amd64:app (linux/amd64)
v1.0.0-cuda-amd64: cuda/amd64:app (linux/amd64)

"#]]
    );
}

#[test]
fn publish_cpu_needs_userns_and_docker_registry() {
    needs!("userns", "docker_registry");
    assert_data_eq!(
        published("publish-cpu --version v1.0.0"),
        str![[r#"
latest-cpu: [cpu/amd64:app (linux/amd64), cpu/arm64:app (linux/arm64)]
latest-cpu-amd64: cpu/amd64:app (linux/amd64)
latest-cpu-arm64: cpu/arm64:app (linux/arm64)
v1.0.0-cpu: [cpu/amd64:app (linux/amd64), cpu/arm64:app (linux/arm64)]
v1.0.0-cpu-amd64: cpu/amd64:app (linux/amd64)
v1.0.0-cpu-arm64: cpu/arm64:app (linux/arm64)

"#]]
    );
}

#[test]
fn publish_everything_needs_userns_and_docker_registry() {
    needs!("userns", "docker_registry");
    assert_data_eq!(
        published("--version v1.0.0"),
        str![[r#"
cuda-amd64: cuda/amd64:app (linux/amd64)
cuda-latest: cuda/amd64:app (linux/amd64)
latest: [cpu/amd64:app (linux/amd64), cpu/arm64:app (linux/arm64), cuda/amd64:app (linux/amd64 with cuda)]
latest-cpu: [cpu/amd64:app (linux/amd64), cpu/arm64:app (linux/arm64)]
latest-cpu-amd64: cpu/amd64:app (linux/amd64)
latest-cpu-arm64: cpu/arm64:app (linux/arm64)
v1.0.0: [cpu/amd64:app (linux/amd64), cpu/arm64:app (linux/arm64), cuda/amd64:app (linux/amd64 with cuda)]
v1.0.0-cpu: [cpu/amd64:app (linux/amd64), cpu/arm64:app (linux/arm64)]
v1.0.0-cpu-amd64: cpu/amd64:app (linux/amd64)
v1.0.0-cpu-arm64: cpu/arm64:app (linux/arm64)
v1.0.0-cuda-amd64: cuda/amd64:app (linux/amd64)

"#]]
    );
}

#[test]
fn publish_bases_needs_userns_and_docker_registry() {
    needs!("userns", "docker_registry");
    for (target, wanted) in [
        (
            "publish-base-amd64",
            str![[r#"
cpu-base-amd64-v1.0.0: cpu/amd64:base (linux/amd64)

"#]],
        ),
        (
            "publish-base-arm64",
            str![[r#"
cpu-base-arm64-v1.0.0: cpu/arm64:base (linux/arm64)

"#]],
        ),
        (
            "publish-base-cuda",
            str![[r#"
cuda-base-v1.0.0: cuda/amd64:base (linux/amd64)

"#]],
        ),
    ] {
        assert_data_eq!(published(&format!("{target} --version v1.0.0")), wanted);
    }
}

#[test]
fn without_a_version_there_are_no_tags_with_one_needs_userns_and_docker_registry() {
    needs!("userns", "docker_registry");
    assert_data_eq!(
        published(""),
        str![[r#"
cuda-amd64: cuda/amd64:app (linux/amd64)
cuda-latest: cuda/amd64:app (linux/amd64)
latest: [cpu/amd64:app (linux/amd64), cpu/arm64:app (linux/arm64), cuda/amd64:app (linux/amd64 with cuda)]
latest-cpu: [cpu/amd64:app (linux/amd64), cpu/arm64:app (linux/arm64)]
latest-cpu-amd64: cpu/amd64:app (linux/amd64)
latest-cpu-arm64: cpu/arm64:app (linux/arm64)

"#]]
    );
}

#[test]
fn members_published_one_by_one_make_the_same_indexes_needs_userns() {
    needs!("userns");
    let (bench, at_once) = (family(), family());
    for target in ["publish-arm64", "publish-cuda", "publish-amd64", "publish-cpu", "publish"] {
        bench.run(["publish", "--quiet", target, "--version", "v1.0.0"]).success();
    }
    at_once.run(["publish", "--quiet", "--version", "v1.0.0"]).success();
    assert_eq!(in_store(&bench, "mcp-ragex"), in_store(&at_once, "mcp-ragex"));
}
