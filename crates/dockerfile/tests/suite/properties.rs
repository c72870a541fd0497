//! What holds for any text: the checks, with generated input.

use anyarch_dockerfile::{IgnoreFile, Lexer, parse, parse_trigger, path_match};
use proptest::prelude::*;

use crate::checks::expander::{OPERATORS, Substitution};
use crate::checks::ignore::Rule;
use crate::checks::{expander, ignore, parser};

/// Text that looks enough like a Dockerfile to get past the first character.
fn dockerfile() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        prop::sample::select(vec![
            "FROM ",
            "FROM a\n",
            "RUN ",
            "COPY ",
            "ADD ",
            "ENV ",
            "ARG ",
            "LABEL ",
            "ONBUILD ",
            "HEALTHCHECK ",
            "SHELL ",
            "CMD ",
            "VOLUME ",
            "EXPOSE ",
            "USER ",
            "NONE",
            " AS ",
            "--from=",
            "--mount=type=",
            "--device=",
            "--link",
            "--",
            "<<",
            "<<-",
            "EOF",
            "\nEOF\n",
            "\"",
            "'",
            "\\",
            "`",
            "\n",
            "\\\n",
            "\r\n",
            "\t",
            " ",
            "# escape=`\n",
            "#",
            "[",
            "]",
            "[\"a\", ",
            ",",
            "=",
            "$",
            "${",
            "}",
            "é",
            "\u{feff}",
            "\u{2028}",
            "a",
            "1s",
        ])
        .prop_map(str::to_owned),
        "\\PC{0,4}",
    ];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

/// A substitution that reads the same to a shell: no character with a meaning of its own.
fn substitution() -> impl Strategy<Value = Substitution> {
    let trim = prop::sample::select(&OPERATORS[6..]);
    let plain = (prop::sample::select(&OPERATORS[..6]), "[a-cé_ ./]{0,4}");
    let pattern = "[a-cé./*?]{0,5}";
    prop_oneof![
        plain.prop_map(|(operator, word)| Substitution { operator, word, replacement: None }),
        (trim, pattern).prop_map(|(operator, word)| Substitution {
            operator,
            word,
            replacement: None
        }),
        (prop::sample::select(vec!["/", "//"]), "[a-cé.*?]{1,5}", "[a-cx_.]{0,3}").prop_map(
            |(operator, word, replacement)| Substitution {
                operator,
                word,
                replacement: Some(replacement)
            }
        ),
    ]
}

/// No value, no text, or text of the characters that patterns are made of.
fn value() -> impl Strategy<Value = Option<String>> {
    prop::option::of("[a-cé./]{0,7}")
}

fn rule() -> impl Strategy<Value = Rule> {
    let piece = prop_oneof![
        4 => Just("a"), 4 => Just("b"), 2 => Just("*"), 1 => Just("?"),
        1 => Just("[a-b]"), 1 => Just("[^a]"), 1 => Just("\\a"), 1 => Just("c.d"),
    ];
    let part = prop_oneof![
        1 => Just("**".to_owned()),
        5 => prop::collection::vec(piece, 1..3)
            .prop_map(|pieces| pieces.concat())
            .prop_filter("two stars in a word", |part| !part.contains("**")),
    ];
    (any::<bool>(), prop::collection::vec(part, 1..4))
        .prop_map(|(include, parts)| Rule { include, parts })
}

fn path() -> impl Strategy<Value = String> {
    "(a|b|ab|c.d|ba)(/(a|b|ab|c.d|aa)){0,3}"
}

proptest! {
    #[test]
    fn any_text_parses_to_places_inside_it(text in any::<String>()) {
        parser::any_text(&text);
    }

    #[test]
    fn text_like_a_dockerfile_parses_to_places_inside_it(text in dockerfile()) {
        parser::any_text(&text);
    }

    #[test]
    fn an_instruction_read_back_is_the_same(words in prop::collection::vec("[a-z/.$*]{1,6}", 2..5), tabs in any::<bool>()) {
        let tail = if tabs { "<<-E /d\n\tx\n\tE" } else { "<<E /d\nx $y\nE" };
        let text = format!("FROM a\nCOPY {} {tail}\n", words.join(" "));
        let (file, _) = parse(&text);
        let instruction = &file.stages[0].instructions[0];
        let (again, findings) = parse_trigger(&instruction.source());
        prop_assert!(findings.is_empty());
        let again = again.unwrap();
        prop_assert_eq!(again.kind.heredocs(), instruction.kind.heredocs());
        prop_assert_eq!(again.text, instruction.text.clone());
    }

    #[test]
    fn text_without_special_characters_expands_to_itself(text in r#"[^$'"\\]*"#) {
        let lexer = Lexer::new('\\');
        prop_assert_eq!(lexer.expand(&text, &mut |_| None).unwrap(), text.clone());
        let words: Vec<_> = text.split_whitespace().map(str::to_owned).collect();
        prop_assert_eq!(lexer.expand_words(&text, &mut |_| None).unwrap(), words);
    }

    #[test]
    fn any_word_expands_or_fails(word in "(\\$|\\{|\\}|[a:?+#%/*'\"\\\\ `-]|\\PC){0,24}", value in any::<Option<String>>()) {
        expander::any_word(&word, value.as_deref());
    }

    #[test]
    fn quotes_protect_any_text(text in "(\\$|\\{|['\"\\\\ `\n]|\\PC){0,16}") {
        expander::quoted(&text);
    }

    #[test]
    fn substitutions_agree_with_the_model(substitution in substitution(), value in value()) {
        // A pattern of stars alone also replaces nothing by something, which the model leaves open.
        prop_assume!(substitution.replacement.is_none() || !substitution.may_match_nothing());
        expander::agrees_with_the_model(&substitution, value.as_deref());
    }

    #[test]
    fn any_pattern_matches_or_fails(pattern in "([*?!/.a\\[\\]^\\\\-]|\\PC){0,16}", name in "([a/.]|\\PC){0,16}") {
        ignore::any_file(&pattern, &name, "a");
        if IgnoreFile::from_patterns([pattern.as_str()]).is_ok() {
            let single = path_match(&pattern, &name);
            prop_assert!(single.is_ok() || pattern.contains('/') || pattern.starts_with('!') || pattern != pattern.trim());
        }
    }

    #[test]
    fn without_two_stars_ignoring_a_name_is_matching_it(pattern in "[a-c?\\[\\]^]{1,6}", name in "[a-c]{1,5}") {
        if let Ok(expected) = path_match(&pattern, &name) {
            prop_assert_eq!(IgnoreFile::from_patterns([pattern.as_str()]).unwrap().excludes(&name, false), expected);
        }
    }

    #[test]
    fn ignore_files_agree_with_the_model(rules in prop::collection::vec((rule(), 0usize..4), 1..6), path in path()) {
        ignore::agrees_with_the_model(&rules, &path);
    }

    #[test]
    fn a_closed_directory_stays_closed(
        rules in prop::collection::vec((rule(), 0usize..4), 1..6),
        directory in path(),
        below in path(),
    ) {
        let text: String = rules.iter().map(|(rule, style)| rule.line(*style) + "\n").collect();
        ignore::any_file(&text, &directory, &below);
    }

    #[test]
    fn a_closed_directory_stays_closed_with_stars_in_words(
        lines in prop::collection::vec("!?(\\*\\*|\\*|a|b|ab)(/(\\*\\*|\\*|a|b|a\\*\\*b|\\*\\*a)){0,2}", 1..6),
        directory in path(),
        below in path(),
    ) {
        ignore::any_file(&lines.join("\n"), &directory, &below);
    }
}

/// The shell itself as the model, for many substitutions in one run of it.
#[test]
fn substitutions_agree_with_bash() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut cases = Vec::new();
    let mut script = String::new();
    while cases.len() < 2000 {
        let pair = (substitution(), value()).new_tree(&mut runner).unwrap().current();
        let (substitution, value) = &pair;
        // bash has its own idea of what an empty match is.
        if substitution.replacement.is_some() && substitution.may_match_nothing() {
            continue;
        }
        let set = value.as_ref().map_or("unset x".to_owned(), |value| format!("x='{value}'"));
        // In a subshell, which `?` ends.
        let text = substitution.text();
        script.push_str(&format!("{set}; (printf '%s' \"{text}\") 2>/dev/null; echo \"|$?\"\n"));
        cases.push(pair);
    }
    let output = std::process::Command::new("bash")
        .env("LC_ALL", "C.UTF-8")
        .args(["--norc", "-c", &script])
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), cases.len(), "{}", String::from_utf8_lossy(&output.stderr));
    for ((substitution, value), line) in cases.iter().zip(lines) {
        let text = substitution.text();
        let ours = Lexer::new('\\').expand(&text, &mut |_| value.clone());
        let (expected, status) = line.rsplit_once('|').unwrap();
        match ours {
            Ok(ours) => assert_eq!((ours.as_str(), "0"), (expected, status), "{text} of {value:?}"),
            Err(error) => assert_ne!(status, "0", "{text} of {value:?}: {error}"),
        }
    }
}
