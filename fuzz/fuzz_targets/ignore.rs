//! The first line is a directory, the second a path below it, the rest is the ignore file.
#![no_main]

#[path = "../../crates/dockerfile/tests/suite/checks/mod.rs"]
mod checks;
#[allow(dead_code, reason = "the tests use more of it")]
#[path = "../../crates/dockerfile/tests/suite/render.rs"]
mod render;

libfuzzer_sys::fuzz_target!(|text: &str| {
    let mut parts = text.splitn(3, '\n');
    let mut part = || parts.next().unwrap_or_default();
    let (directory, below, file) = (part(), part(), part());
    checks::ignore::any_file(file, directory, below);
});
