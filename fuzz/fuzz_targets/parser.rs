//! Any text as a Dockerfile.
#![no_main]

#[path = "../../crates/dockerfile/tests/suite/checks/mod.rs"]
mod checks;
#[allow(dead_code, reason = "the tests use more of it")]
#[path = "../../crates/dockerfile/tests/suite/render.rs"]
mod render;

libfuzzer_sys::fuzz_target!(|text: &str| checks::parser::any_text(text));
