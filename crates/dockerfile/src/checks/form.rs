//! How instructions are written: `NoEmptyContinuation`, `MaintainerDeprecated`,
//! `LegacyKeyValueFormat`, `MultipleInstructionsDisallowed`.

use super::Found;
use crate::ast::{Dockerfile, Instruction, Kind, Stage};
use crate::diagnostic::Diagnostic;
use crate::words::{Slice, split_flags, split_keyword};

pub(super) fn check(file: &Dockerfile, found: &mut Found<'_>) {
    for blank in &file.blank_lines {
        let message = "blank line inside a continued instruction";
        found.report(
            Diagnostic::warning("NoEmptyContinuation", blank.clone(), message)
                .label("the instruction goes on below")
                .hint("remove the line, or make it a comment"),
        );
    }
    for stage in &file.stages {
        for instruction in &stage.instructions {
            match &instruction.kind {
                Kind::Maintainer(_) => maintainer(instruction, found),
                Kind::Env(_) | Kind::Label(_) => legacy(instruction, found),
                _ => {}
            }
        }
        repeats(stage, found);
    }
}

fn maintainer(instruction: &Instruction, found: &mut Found<'_>) {
    let place = found.keyword(&instruction.span.bytes);
    found.report(
        Diagnostic::warning("MaintainerDeprecated", place, "MAINTAINER is deprecated")
            .label("use a label")
            .hint("write `LABEL org.opencontainers.image.authors=...`"),
    );
}

/// `ENV name value`: the first word has no `=`.
fn legacy(instruction: &Instruction, found: &mut Found<'_>) {
    let (Kind::Env(pairs) | Kind::Label(pairs)) = &instruction.kind else { return };
    let (_, rest) = split_keyword(Slice::new(&instruction.text));
    let rest = split_flags(rest).1.text;
    let [(name, _)] = pairs.as_slice() else { return };
    let old = rest
        .strip_prefix(name.as_str())
        .is_some_and(|rest| rest.starts_with(char::is_whitespace) && !name.contains('='));
    if !old {
        return;
    }
    let keyword = instruction.keyword();
    let place = found.place(&instruction.span.bytes, name);
    let message = format!("{keyword} without `=` is the old form");
    found.report(
        Diagnostic::warning("LegacyKeyValueFormat", place, message)
            .label("the rest of the line is the value")
            .hint(format!("write `{keyword} {name}=...`")),
    );
}

/// Instructions of which a later one in the stage takes the effect away.
fn repeats(stage: &Stage, found: &mut Found<'_>) {
    for keyword in ["CMD", "ENTRYPOINT", "HEALTHCHECK"] {
        let mut all =
            stage.instructions.iter().filter(|instruction| instruction.keyword() == keyword);
        all.next_back();
        for overridden in all {
            let place = found.keyword(&overridden.span.bytes);
            let message = format!("{keyword} is given again further down in this stage");
            found.warn("MultipleInstructionsDisallowed", place, message, "has no effect");
        }
    }
}
