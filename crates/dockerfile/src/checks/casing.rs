//! `StageNameCasing`, `FromAsCasing`, `ConsistentInstructionCasing`.

use std::ops::Range;

use super::Found;
use crate::ast::Dockerfile;

pub(super) fn check(file: &Dockerfile, found: &mut Found<'_>) {
    for stage in &file.stages {
        let Some((r#as, name)) = &stage.name_spans else { continue };
        stage_name(name, found);
        from_as(&found.keyword(&stage.span.bytes), r#as, found);
    }
    instructions(file, found);
}

fn stage_name(place: &Range<usize>, found: &mut Found<'_>) {
    let name = found.written(place).to_owned();
    let lower = name.to_lowercase();
    if name != lower {
        let message = format!("the name of stage `{name}` is not in lower case");
        found.warn("StageNameCasing", place.clone(), message, &format!("write `{lower}`"));
    }
}

fn from_as(from: &Range<usize>, place: &Range<usize>, found: &mut Found<'_>) {
    let (from, written) = (found.written(from), found.written(place).to_owned());
    let wanted = match case(from) {
        Some(Case::Lower) => "as",
        Some(Case::Upper) => "AS",
        // A mixed FROM is the finding, not its AS.
        None => return,
    };
    if written != wanted {
        let message = format!("`{written}` is not in the case of `{from}`");
        found.warn("FromAsCasing", place.clone(), message, &format!("write `{wanted}`"));
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Case {
    Lower,
    Upper,
}

/// The case of a keyword that is in one.
fn case(word: &str) -> Option<Case> {
    if word.chars().all(|c| c.is_ascii_lowercase()) {
        Some(Case::Lower)
    } else {
        word.chars().all(|c| c.is_ascii_uppercase()).then_some(Case::Upper)
    }
}

/// All keywords of stages in the case of most of them; upper case where there are as many.
fn instructions(file: &Dockerfile, found: &mut Found<'_>) {
    let mut places = Vec::new();
    for stage in &file.stages {
        places.push(found.keyword(&stage.span.bytes));
        let spans = stage.instructions.iter().map(|instruction| &instruction.span.bytes);
        places.extend(spans.map(|span| found.keyword(span)));
    }
    let count =
        |wanted| places.iter().filter(|place| case(found.written(place)) == Some(wanted)).count();
    let (wanted, words) = if count(Case::Lower) > count(Case::Upper) {
        (Case::Lower, "lower case")
    } else {
        (Case::Upper, "upper case")
    };
    for place in places {
        let written = found.written(&place).to_owned();
        if case(&written) != Some(wanted) {
            let message = format!("`{written}` is not in {words}, as most instructions here are");
            let right = match wanted {
                Case::Lower => written.to_lowercase(),
                Case::Upper => written.to_uppercase(),
            };
            let label = format!("write `{right}`");
            found.warn("ConsistentInstructionCasing", place, message, &label);
        }
    }
}
