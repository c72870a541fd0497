//! Plans written from Dockerfiles.

use anyarch_plan::init::{Found, plan_text};
use anyarch_plan::read;

const CHAINED: &str = "ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\n";

fn written(name: &str, dockerfiles: &[(&str, &str)]) -> String {
    let dockerfiles =
        dockerfiles.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
    let found = Found { dockerfiles, repository_name: name.to_owned(), repository: None };
    let text = plan_text(&found);
    if let Err(found) = read(&text) {
        panic!("{found:#?}\n{text}");
    }
    text
}

#[test]
fn a_family_by_folders() {
    let family = [
        ("docker/cpu/Dockerfile.base", "FROM python\n"),
        ("docker/cpu/Dockerfile.ml", CHAINED),
        ("docker/arm64/Dockerfile.base", "FROM python\n"),
        ("docker/arm64/Dockerfile.ml", CHAINED),
        ("docker/cuda/Dockerfile.base", "FROM python\n"),
        ("docker/cuda/Dockerfile.ml", CHAINED),
        ("docker/app/Dockerfile", CHAINED),
    ];
    insta::assert_snapshot!(written("mcp-ragex", &family), @r#"
# Written by `anyarch init`. See `anyarch plan` for what comes of it.

[project]
name = "mcp-ragex"
# repository = "registry.example/user/mcp-ragex"  # where `publish` goes
version = "git"

[flavor.cpu]
# guessed: the platforms, from the names of folders and files
# guessed: the order of the tiers, base → ml → app
platforms = ["linux/amd64", "linux/arm64"]
tiers = [
  { name = "base", dockerfile = "docker/cpu/Dockerfile.base" },
  { name = "ml", dockerfile = "docker/cpu/Dockerfile.ml" },
  { name = "app", dockerfile = "docker/app/Dockerfile" },
]
# smoke = ["my-program", "--version"]  # must succeed before an image is published

[flavor.cpu.on."linux/arm64".tier]
base.dockerfile = "docker/arm64/Dockerfile.base"
ml.dockerfile = "docker/arm64/Dockerfile.ml"

[flavor.cuda]
# guessed: the platform; more of them may build as they are
# guessed: the order of the tiers, base → ml → app
platforms = ["linux/amd64"]
accelerator = "cuda"
tiers = [
  { name = "base", dockerfile = "docker/cuda/Dockerfile.base" },
  { name = "ml", dockerfile = "docker/cuda/Dockerfile.ml" },
  { name = "app", dockerfile = "docker/app/Dockerfile" },
]
# smoke = ["my-program", "--version"]  # must succeed before an image is published

[index.latest-cpu]
members = ["cpu/*"]

[index.latest]
members = ["cpu/*", "cuda/*"]
"#);
}

#[test]
fn one_dockerfile() {
    insta::assert_snapshot!(written("My App", &[("Dockerfile", "FROM scratch\n")]), @r#"
# Written by `anyarch init`. See `anyarch plan` for what comes of it.

[project]
# guessed: made to fit, repositories are lower case
name = "my-app"
# repository = "registry.example/user/my-app"  # where `publish` goes
version = "git"

[flavor.cpu]
# guessed: the platform; more of them may build as they are
platforms = ["linux/amd64"]
tiers = [
  { name = "app", dockerfile = "Dockerfile" },
]
# smoke = ["my-program", "--version"]  # must succeed before an image is published

[index.latest-cpu]
members = ["cpu/*"]

[index.latest]
members = ["cpu/*"]
"#);
}

#[test]
fn images_of_their_own() {
    let images = [
        ("api/Dockerfile", "FROM a"),
        ("worker/Dockerfile", "FROM a"),
        ("Dockerfile.cuda", "FROM a"),
    ];
    insta::assert_snapshot!(written("shop", &images), @r#"
# Written by `anyarch init`. See `anyarch plan` for what comes of it.

[project]
name = "shop"
# repository = "registry.example/user/shop"  # where `publish` goes
version = "git"

[flavor.api]
# guessed: the platform; more of them may build as they are
platforms = ["linux/amd64"]
tiers = [
  { name = "app", dockerfile = "api/Dockerfile" },
]
# smoke = ["my-program", "--version"]  # must succeed before an image is published

[flavor.worker]
# guessed: the platform; more of them may build as they are
platforms = ["linux/amd64"]
tiers = [
  { name = "app", dockerfile = "worker/Dockerfile" },
]
# smoke = ["my-program", "--version"]  # must succeed before an image is published

[flavor.cuda]
# guessed: the platform; more of them may build as they are
platforms = ["linux/amd64"]
accelerator = "cuda"
tiers = [
  { name = "app", dockerfile = "Dockerfile.cuda" },
]
# smoke = ["my-program", "--version"]  # must succeed before an image is published

[index.latest-api]
members = ["api/*"]

[index.latest-worker]
members = ["worker/*"]

# guessed: a plain pull of `latest` gets the first flavor
[index.latest]
members = ["api/*", "cuda/*"]
"#);
}

#[test]
fn no_dockerfile() {
    insta::assert_snapshot!(written("", &[]), @r#"
# Written by `anyarch init`. See `anyarch plan` for what comes of it.

[project]
# guessed: made to fit, repositories are lower case
name = "app"
# repository = "registry.example/user/app"  # where `publish` goes
version = "git"

# guessed: no Dockerfile was found; write one and name it here
[flavor.cpu]
platforms = ["linux/amd64"]
tiers = [
  { name = "app", dockerfile = "Dockerfile" },
]
# smoke = ["my-program", "--version"]  # must succeed before an image is published
"#);
}

#[test]
fn any_set_of_dockerfiles_gives_a_sound_plan() {
    let paths = [
        "Dockerfile",
        "Dockerfile.base",
        "docker/cpu/Dockerfile.ml",
        "docker/arm64/Dockerfile.base",
        "base/cuda/Dockerfile",
        "all.Dockerfile",
        "cpu-base-amd64/Dockerfile",
        "publish/x/Dockerfile",
        "ml/ \"Quoted\"\n/Dockerfile",
    ];
    for set in 0..(1_u32 << paths.len()) {
        for chained in [0, set, set & 0b0_1010_1010, set & 0b1_0101_0101] {
            let chosen: Vec<(&str, &str)> = paths
                .iter()
                .enumerate()
                .filter(|(at, _)| set & (1 << at) != 0)
                .map(|(at, path)| {
                    (*path, if chained & (1 << at) != 0 { CHAINED } else { "FROM a\n" })
                })
                .collect();
            written("Ünï/x", &chosen);
        }
    }
}
