//! `InvalidDefinitionDescription`: comments that would be shown as descriptions.

use std::ops::Range;

use super::Found;
use crate::ast::{Dockerfile, Instruction, Kind};

pub(super) fn check(file: &Dockerfile, found: &mut Found<'_>) {
    let arguments = |instruction: &Instruction| match &instruction.kind {
        Kind::Arg(definitions) => {
            Some(definitions.iter().map(|definition| definition.name.clone()).collect::<Vec<_>>())
        }
        _ => None,
    };
    for stage in &file.stages {
        if let Some(name) = &stage.name {
            described("FROM", &stage.span.bytes, std::slice::from_ref(name), found);
        }
    }
    let inside = file.stages.iter().flat_map(|stage| &stage.instructions);
    for instruction in file.meta_args.iter().chain(inside) {
        if let Some(names) = arguments(instruction) {
            described("ARG", &instruction.span.bytes, &names, found);
        }
    }
}

/// Looks at the line above an instruction.
fn described(keyword: &str, span: &Range<usize>, names: &[String], found: &mut Found<'_>) {
    let Some(comment) = comment_above(found.text, span.start) else { return };
    let first = found.written(&comment).split_whitespace().next().unwrap_or_default();
    if names.iter().any(|name| name == first) {
        return;
    }
    let name = match names {
        [name] => name.as_str(),
        _ => "NAME",
    };
    let message = format!("the comment above {keyword} does not begin with `{name}`");
    let label = "shown as the description of what is below";
    found.warn("InvalidDefinitionDescription", comment, message, label);
}

/// The text of the comment on the line right above, where it has one and is no parser directive.
fn comment_above(text: &str, start: usize) -> Option<Range<usize>> {
    let before = text.get(..start)?;
    let line_start = before.rfind('\n').map(|end| end + 1)?;
    let above = before[..line_start].strip_suffix('\n')?;
    let above_start = above.rfind('\n').map_or(0, |end| end + 1);
    let comment = above[above_start..].trim().strip_prefix('#')?.trim();
    if comment.is_empty() || is_directive(text, above_start) {
        return None;
    }
    let at = above_start + above[above_start..].find(comment)?;
    Some(at..at + comment.len())
}

/// Whether the line at this offset belongs to the directives at the head of the file.
fn is_directive(text: &str, line_start: usize) -> bool {
    text[..line_start]
        .lines()
        .chain(text[line_start..].lines().next())
        .all(|line| crate::directive::is_directive(line.trim_start_matches('\u{feff}')))
}
