//! What holds for any text.

use std::ops::Range;

use anyarch_dockerfile::{
    Dockerfile, IgnoreFile, Instruction, Kind, Lexer, Word, parse, parse_trigger, path_match,
};
use proptest::prelude::*;

/// Text that looks enough like a Dockerfile to get past the first character.
fn dockerfile() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        prop::sample::select(vec![
            "FROM ",
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
            "\"",
            "'",
            "\\",
            "`",
            "\n",
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

/// All places that a parsed file names.
fn places(file: &Dockerfile) -> Vec<Range<usize>> {
    let mut places = Vec::new();
    let stages = file.stages.iter();
    places.extend(
        stages.clone().flat_map(|stage| [stage.span.bytes.clone(), stage.base_span.clone()]),
    );
    let instructions = file.meta_args.iter().chain(stages.flat_map(|stage| &stage.instructions));
    instructions.for_each(|instruction| instruction_places(instruction, &mut places));
    places
}

fn instruction_places(instruction: &Instruction, places: &mut Vec<Range<usize>>) {
    places.push(instruction.span.bytes.clone());
    let mut words = |words: &[Word]| places.extend(words.iter().map(|word| word.span.clone()));
    match &instruction.kind {
        Kind::Copy(copy) => {
            words(&copy.sources);
            words(copy.from.as_slice());
        }
        Kind::Add(add) => words(&add.sources),
        Kind::Run(run) => places.extend(run.mounts.iter().map(|mount| mount.span.clone())),
        Kind::OnBuild(inner) => instruction_places(inner, places),
        _ => {}
    }
}

fn check_file(text: &str) -> Result<(), TestCaseError> {
    let (file, diagnostics) = parse(text);
    let line_count = text.split_inclusive('\n').count();
    for place in
        places(&file).into_iter().chain(diagnostics.iter().map(|finding| finding.span.clone()))
    {
        // `get` refuses places outside the text, turned round or inside a character.
        prop_assert!(text.get(place.clone()).is_some(), "{place:?} in {text:?}");
    }
    for stage in &file.stages {
        for instruction in &stage.instructions {
            let lines = &instruction.span.lines;
            prop_assert!(
                *lines.start() >= 1 && lines.start() <= lines.end() && *lines.end() <= line_count
            );
        }
    }
    prop_assert!(!file.stages.is_empty() || diagnostics.iter().any(|finding| finding.is_error()));
    let _ = parse_trigger(text);
    Ok(())
}

proptest! {
    #[test]
    fn any_text_parses_to_places_inside_it(text in any::<String>()) {
        check_file(&text)?;
    }

    #[test]
    fn text_like_a_dockerfile_parses_to_places_inside_it(text in dockerfile()) {
        check_file(&text)?;
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
    fn any_word_expands_or_fails(word in "(\\$|\\{|\\}|[a:?+#%/*'\"\\\\ -]|\\PC){0,24}", value in any::<Option<String>>()) {
        for lexer in [Lexer::new('\\'), Lexer::new('`'), Lexer::for_heredoc()] {
            let one = lexer.expand(&word, &mut |_| value.clone());
            let many = lexer.expand_words(&word, &mut |_| value.clone());
            prop_assert_eq!(one.is_ok(), many.is_ok());
        }
    }

    #[test]
    fn any_pattern_matches_or_fails(pattern in "([*?!/.a\\[\\]^\\\\-]|\\PC){0,16}", name in "([a/.]|\\PC){0,16}") {
        let single = path_match(&pattern, &name);
        if let Ok(file) = IgnoreFile::from_patterns([pattern.as_str()]) {
            let answer = file.excludes(&name, true);
            prop_assert_eq!(answer, file.excludes(&name, false));
            prop_assert!(single.is_ok() || pattern.contains('/') || pattern.starts_with('!') || pattern != pattern.trim());
        }
    }

    #[test]
    fn without_two_stars_ignoring_a_name_is_matching_it(pattern in "[a-c?\\[\\]^]{1,6}", name in "[a-c]{1,5}") {
        if let Ok(expected) = path_match(&pattern, &name) {
            prop_assert_eq!(IgnoreFile::from_patterns([pattern.as_str()]).unwrap().excludes(&name, false), expected);
        }
    }

    /// The promise that walkers rely on: below a directory that is left out, and of which the
    /// file says that nothing comes back, every path is left out.
    #[test]
    fn a_closed_directory_stays_closed(
        lines in prop::collection::vec("!?(\\*\\*|\\*|a|b|ab)(/(\\*\\*|\\*|a|b)){0,2}", 1..6),
        directory in "(a|b|ab)(/(a|b)){0,1}",
        below in "(a|b|c)(/(a|b)){0,2}",
    ) {
        let file = IgnoreFile::parse(&lines.join("\n")).unwrap();
        if file.excludes(&directory, true) && !file.may_reinclude_below(&directory) {
            let path = format!("{directory}/{below}");
            prop_assert!(file.excludes(&path, false), "{path}");
        }
    }
}
