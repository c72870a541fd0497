//! The example's Makefile is a facade: every name of it is a target of the example's plan.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::Path;

use anyarch_plan::{publish, target};

const MAKEFILE: &str = include_str!("../../../examples/mcp-ragex/Makefile");

/// Every name that the example's users know.
const NAMES: &str = "cpu amd64 arm64 cuda cpu-amd64 cpu-arm64 cuda-amd64 cpu-base cpu-ml arm64-base arm64-ml \
     cuda-base cuda-ml publish publish-cpu publish-amd64 publish-arm64 publish-cuda publish-base-amd64 \
     publish-base-arm64 publish-base-cuda";

/// Names of make with the arguments of anyarch that they stand for.
fn lines() -> Vec<(&'static str, Vec<&'static str>)> {
    let line = |line: &'static str| {
        let (name, command) = line.split_once(": ; $(run) ")?;
        let command = command.split(" ## ").next()?;
        Some((name, command.split_whitespace().filter(|word| !word.starts_with('$')).collect()))
    };
    MAKEFILE.lines().filter_map(line).collect()
}

fn plan() -> anyarch_plan::Plan {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/mcp-ragex");
    let text = std::fs::read_to_string(folder.join("anyarch.toml")).unwrap();
    anyarch_plan::read(&text).unwrap()
}

#[test]
fn every_known_name_is_a_line_of_the_makefile() {
    let lines = lines();
    for name in NAMES.split_whitespace() {
        assert!(lines.iter().any(|(known, _)| *known == name), "{name} has no line");
        assert!(
            MAKEFILE.contains(&format!(" {name} ")) || MAKEFILE.contains(&format!(" {name}\n"))
        );
    }
}

#[test]
fn every_line_of_the_makefile_names_a_target_of_the_plan() {
    let plan = plan();
    for (name, words) in lines() {
        match words.split_first() {
            Some((&"build", targets)) => {
                let targets: Vec<String> = targets.iter().map(|name| (*name).to_owned()).collect();
                assert!(!target::select(&plan, &targets, None).unwrap().is_empty(), "{name}");
            }
            Some((&"publish", targets)) => {
                let targets: Vec<String> = targets.iter().map(|name| (*name).to_owned()).collect();
                let published = publish::select(&plan, &targets, Some("v1.0.0"), None).unwrap();
                assert!(!published.images.is_empty(), "{name}");
            }
            Some((&("release" | "check"), _)) => {}
            other => panic!("{name}: {other:?}"),
        }
    }
}
