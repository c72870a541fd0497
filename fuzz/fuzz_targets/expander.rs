//! The first line is the value of every variable (unset where it is empty), the rest is the word.
#![no_main]

#[path = "../../crates/dockerfile/tests/suite/checks/mod.rs"]
mod checks;
#[allow(dead_code, reason = "the tests use more of it")]
#[path = "../../crates/dockerfile/tests/suite/render.rs"]
mod render;

use checks::expander::{OPERATORS, Substitution, agrees_with_the_model, any_word, quoted};

libfuzzer_sys::fuzz_target!(|text: &str| {
    let (value, word) = text.split_once('\n').unwrap_or(("", text));
    let value = (!value.is_empty()).then_some(value);
    any_word(word, value);
    quoted(word);
    // Where the word is of plain characters and patterns, the operators agree with the model.
    let is_plain = |c: char| c.is_alphanumeric() || "._*? ".contains(c);
    let is_short = word.len() < 16 && value.is_none_or(|value| value.len() < 32);
    if !is_short || !word.chars().all(is_plain) {
        return;
    }
    let replacement = word.split(' ').nth(1);
    for operator in OPERATORS {
        // A message or a default may hold anything, but must not begin with another operator.
        let word = word.to_owned();
        agrees_with_the_model(&Substitution { operator, word, replacement: None }, value);
    }
    for operator in ["/", "//"] {
        let pattern = word.split(' ').next().unwrap_or_default().to_owned();
        let replacement = Some(replacement.unwrap_or_default().to_owned());
        let substitution = Substitution { operator, word: pattern, replacement };
        if !substitution.may_match_nothing() {
            agrees_with_the_model(&substitution, value);
        }
    }
});
