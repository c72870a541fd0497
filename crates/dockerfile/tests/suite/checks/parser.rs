//! The parser: places lie in the text, and what means nothing changes nothing.

use std::ops::Range;

use anyarch_dockerfile::{
    Diagnostic, Dockerfile, Instruction, Kind, Severity, Span, Word, parse, parse_trigger,
};

use crate::render::show;

/// All that holds for any text.
pub(crate) fn any_text(text: &str) {
    let (file, findings) = parse(text);
    places_lie_in_the_text(text, &file, &findings);
    instructions_come_in_order(text, &file);
    assert!(
        !file.stages.is_empty() || findings.iter().any(Diagnostic::is_error),
        "neither a stage nor an error: {text:?}"
    );
    instructions_can_be_read_back(text, &file);
    other_line_ends_change_nothing(text);
    comments_change_nothing(text, &file);
    drop(parse_trigger(text));
}

fn places_lie_in_the_text(text: &str, file: &Dockerfile, findings: &[Diagnostic]) {
    let lines = text.split_inclusive('\n').count();
    let of_findings = findings.iter().map(|finding| finding.span.clone());
    for place in places(file).into_iter().chain(of_findings) {
        // `get` refuses places outside the text, turned round or inside a character.
        assert!(text.get(place.clone()).is_some(), "{place:?} in {text:?}");
    }
    assert!(
        findings.is_sorted_by_key(|finding| finding.span.start),
        "findings out of order: {text:?}"
    );
    for span in spans(file) {
        let (first, last) = (*span.lines.start(), *span.lines.end());
        assert!(first >= 1 && first <= last && last <= lines, "lines {first} to {last}: {text:?}");
        assert_eq!(line_of(text, span.bytes.start), first, "{text:?}");
        assert!(line_of(text, span.bytes.end) <= last, "{text:?}");
    }
}

/// The number of the line that a byte is on.
fn line_of(text: &str, at: usize) -> usize {
    1 + text[..at].matches('\n').count()
}

/// `FROM` lines and instructions, in the order in which they should stand in the file.
fn spans(file: &Dockerfile) -> Vec<&Span> {
    let mut spans: Vec<&Span> = file.meta_args.iter().map(|arg| &arg.span).collect();
    for stage in &file.stages {
        spans.push(&stage.span);
        spans.extend(stage.instructions.iter().map(|instruction| &instruction.span));
    }
    spans
}

fn instructions_come_in_order(text: &str, file: &Dockerfile) {
    let spans = spans(file);
    // Arguments before the first FROM are the first instructions, so one list holds them all.
    for pair in spans.windows(2) {
        assert!(pair[0].bytes.end <= pair[1].bytes.start, "{pair:?} in {text:?}");
        assert!(pair[0].lines.end() < pair[1].lines.start(), "{pair:?} in {text:?}");
    }
}

/// All places that a parsed file names.
fn places(file: &Dockerfile) -> Vec<Range<usize>> {
    let mut places: Vec<_> = spans(file).into_iter().map(|span| span.bytes.clone()).collect();
    places.extend(file.stages.iter().map(|stage| stage.base_span.clone()));
    let of_stages = file.stages.iter().flat_map(|stage| &stage.instructions);
    file.meta_args.iter().chain(of_stages).for_each(|one| instruction_places(one, &mut places));
    places
}

fn instruction_places(instruction: &Instruction, places: &mut Vec<Range<usize>>) {
    places.push(instruction.span.bytes.clone());
    let mut words = |words: &[Word]| places.extend(words.iter().map(|word| word.span.clone()));
    match &instruction.kind {
        Kind::Copy(copy) => {
            words(&copy.sources);
            words(copy.from.as_slice());
            words(std::slice::from_ref(&copy.destination));
        }
        Kind::Add(add) => {
            words(&add.sources);
            words(std::slice::from_ref(&add.destination));
        }
        Kind::Run(run) => places.extend(run.mounts.iter().map(|mount| mount.span.clone())),
        Kind::OnBuild(inner) => instruction_places(inner, places),
        _ => {}
    }
}

/// What an image keeps of a trigger means the same when a build reads it.
fn instructions_can_be_read_back(text: &str, file: &Dockerfile) {
    if file.directives.escape != '\\' {
        return;
    }
    for instruction in file.stages.iter().flat_map(|stage| &stage.instructions) {
        let is_trigger = !matches!(instruction.kind, Kind::OnBuild(_) | Kind::Maintainer(_));
        // Blanks of other scripts at the end are cut off, so that a backslash may come to the end.
        if !is_trigger || instruction.text.ends_with('\\') {
            continue;
        }
        let (again, findings) = parse_trigger(&instruction.source());
        let again = again.unwrap_or_else(|| panic!("{findings:?}: {instruction:?} in {text:?}"));
        assert_eq!(again.text, instruction.text, "{text:?}");
        assert_eq!(again.kind.heredocs(), instruction.kind.heredocs(), "{text:?}");
    }
}

fn other_line_ends_change_nothing(text: &str) {
    if text.contains('\r') {
        return;
    }
    // Heredocs keep their line ends, which `show` escapes.
    let unix = outline(text).replace("\\r", "");
    let windows = outline(&text.replace('\n', "\r\n")).replace("\\r", "");
    assert_eq!(unix, windows, "{text:?}");
}

/// A comment in front of any instruction.
fn comments_change_nothing(text: &str, file: &Dockerfile) {
    if text.starts_with('\u{feff}') {
        return;
    }
    let starts: Vec<usize> = spans(file).into_iter().map(|span| *span.lines.start()).collect();
    let mut commented = String::new();
    for (index, line) in text.split_inclusive('\n').enumerate() {
        if starts.contains(&(index + 1)) {
            commented.push_str("  # a note \\\n");
        }
        commented.push_str(line);
    }
    assert_eq!(outline(text), outline(&commented), "{text:?}");
}

/// What a file says without its places, and what was found in it.
pub(crate) fn outline(text: &str) -> String {
    let (file, findings) = parse(text);
    let mut outline = show(&file);
    for finding in findings {
        let mark = if finding.severity == Severity::Error { "error" } else { "warning" };
        outline.push_str(&format!("\n{mark} {}", finding.code));
    }
    outline
}
