//! The edges between the crates, held against the map in `docs/ARCHITECTURE.md`.
//!
//! Asks cargo what the manifests say, without network. An edge that is not in [`MAP`] fails here
//! before it becomes a habit; a new one is a decision, made in both places.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Each crate and those of ours that it may depend on (without `dev-dependencies`).
const MAP: &[(&str, &[&str])] = &[
    ("oci", &[]),
    ("dockerfile", &[]),
    ("sandbox", &[]),
    ("handler", &[]),
    ("twin", &["handler", "layer"]),
    ("http", &[]),
    ("plan", &["oci"]),
    ("layer", &["oci"]),
    ("store", &["oci"]),
    ("debian", &["oci", "layer"]),
    ("registry", &["oci", "store", "http"]),
    ("credentials", &[]),
    (
        "engine",
        &["oci", "dockerfile", "plan", "sandbox", "layer", "store", "debian", "handler", "twin"],
    ),
    ("testkit", &["oci", "store", "registry", "http"]),
    (
        "cli",
        &[
            "oci",
            "dockerfile",
            "plan",
            "sandbox",
            "layer",
            "store",
            "http",
            "registry",
            "credentials",
            "debian",
            "engine",
        ],
    ),
];

/// Crates of others that only some of ours may name.
const RESERVED: &[(&str, &[&str])] = &[
    ("libc", &["sandbox"]),
    ("rustix", &["sandbox", "layer", "store"]),
    ("reqwest", &["http"]),
    ("rustls", &["http", "registry"]),
    ("tokio-rustls", &["registry"]),
    ("bcrypt", &["registry"]),
    ("rcgen", &["testkit"]),
    ("hyper", &["registry"]),
    ("axum", &["registry", "testkit"]),
    ("tokio", &["http", "registry", "testkit"]),
    ("pgp", &["debian", "testkit"]),
    ("clap", &["cli"]),
    ("indicatif", &["cli"]),
    ("anstream", &["cli"]),
    ("signal-hook", &["cli"]),
];

/// Crates of others that must not be reached, however far away, from the crates named.
const OUT_OF_REACH: &[(&[&str], &[&str])] = &[
    (
        &[
            "oci",
            "dockerfile",
            "plan",
            "sandbox",
            "layer",
            "store",
            "debian",
            "handler",
            "twin",
            "engine",
        ],
        &["reqwest", "hyper", "axum", "rustls", "tokio", "clap", "indicatif", "anstream"],
    ),
    (&["oci", "dockerfile", "plan"], &["rustix", "libc", "tempfile"]),
    (&["credentials"], &["reqwest", "hyper", "axum", "rustls", "tokio", "clap", "anstream"]),
    (&["http", "registry"], &["clap", "indicatif", "anstream", "anyarch-plan", "anyarch-sandbox"]),
];

/// All that the nouns of the specifications may lean on.
const OF_OCI: &[&str] = &["serde", "serde_json", "sha2", "thiserror"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn cargo(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO")).args(arguments).current_dir(root()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// What each of our crates depends on directly, without `dev-dependencies`, by its short name.
fn direct() -> BTreeMap<String, BTreeSet<String>> {
    let text = cargo(&["metadata", "--offline", "--no-deps", "--format-version", "1"]);
    let metadata: Value = serde_json::from_str(&text).unwrap();
    let packages = metadata["packages"].as_array().unwrap().iter();
    let names = |package: &Value| {
        let dependencies = package["dependencies"].as_array().unwrap().iter();
        dependencies
            .filter(|dependency| dependency["kind"] != "dev")
            .map(|dependency| dependency["name"].as_str().unwrap().to_owned())
            .collect()
    };
    packages.map(|package| (short(package["name"].as_str().unwrap()), names(package))).collect()
}

/// Everything that a crate needs to be built for this machine, by cargo's names.
fn reached(name: &str) -> BTreeSet<String> {
    let package = format!("anyarch-{name}");
    let edges = ["--edges", "normal,build", "--prefix", "none", "--format", "{p}"];
    let text = cargo(&[&["tree", "--offline", "--package", package.as_str()], &edges[..]].concat());
    text.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

fn short(name: &str) -> String {
    name.strip_prefix("anyarch-").unwrap_or(name).to_owned()
}

/// Every Rust file of a crate.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

#[test]
fn our_crates_depend_on_each_other_as_the_map_says() {
    let direct = direct();
    let mapped: BTreeSet<&str> = MAP.iter().map(|(name, _)| *name).collect();
    assert_eq!(direct.keys().map(String::as_str).collect::<BTreeSet<_>>(), mapped, "the crates");
    for (name, allowed) in MAP {
        for dependency in &direct[*name] {
            let Some(ours) = dependency.strip_prefix("anyarch-") else { continue };
            assert!(allowed.contains(&ours), "{name} must not depend on {ours}");
        }
    }
}

#[test]
fn crates_of_others_stay_where_they_belong() {
    let direct = direct();
    for (reserved, owners) in RESERVED {
        for (name, dependencies) in &direct {
            let allowed = owners.contains(&name.as_str()) || !dependencies.contains(*reserved);
            assert!(allowed, "{name} must not depend on {reserved}: {owners:?} may");
        }
        let used = direct.values().any(|dependencies| dependencies.contains(*reserved));
        assert!(used, "nothing depends on {reserved} any more");
    }
    for dependency in &direct["oci"] {
        assert!(OF_OCI.contains(&dependency.as_str()), "oci must not depend on {dependency}");
    }
}

#[test]
fn what_must_not_be_known_cannot_be_reached() {
    for (names, forbidden) in OUT_OF_REACH {
        for name in *names {
            let reached = reached(name);
            assert!(reached.contains(&format!("anyarch-{name}")), "cargo tree of {name}");
            let found: Vec<_> =
                forbidden.iter().filter(|other| reached.contains(**other)).collect();
            assert!(found.is_empty(), "{name} reaches {found:?}");
        }
    }
}

#[test]
fn only_the_sandbox_and_the_handler_are_unsafe() {
    // Put together here, so that this file does not hold what it looks for.
    let lint = ["unsafe", "code"].join("_");
    let workspace = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    assert!(workspace.contains(&format!("{lint} = \"deny\"")), "the lint of the workspace");
    let words = ["{", "fn", "impl", "extern", "trait"].map(|next| ["unsafe", next].join(" "));
    for (name, _) in MAP {
        let folder = root().join("crates").join(name);
        let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
        assert!(manifest.contains("[lints]\nworkspace = true"), "{name} must inherit the lints");
        let files = sources(&folder);
        let mut found = files.iter().filter(|path| {
            let text = fs::read_to_string(path).unwrap();
            text.contains(&lint) || words.iter().any(|word| text.contains(word.as_str()))
        });
        let first = found.next();
        let allowed = ["sandbox", "handler"].contains(name);
        assert_eq!(first.is_some(), allowed, "unsafe code in {name}: {first:?}");
    }
}
