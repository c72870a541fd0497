//! [`PlanFile`] → [`Plan`]: what the values mean together, with every finding at its place.
//!
//! Leaves out what needs a disk: whether the Dockerfiles and contexts exist.

mod arches;
mod bases;
mod clashes;
mod flavors;
mod indexes;
mod project;

use std::ops::Range;

use crate::diagnostic::{Diagnostic, nearest};
use crate::file::{PlanFile, Soundness, Text};
use crate::plan::Plan;

/// Checks the meaning of a file; warnings go into [`Plan::warnings`].
///
/// A file for which [`crate::parse`] found something is never a plan: then the error holds only
/// what was found in addition, which may be nothing.
pub fn check(file: &PlanFile) -> Result<Plan, Vec<Diagnostic>> {
    if file.soundness == Soundness::NotToml {
        return Err(Vec::new());
    }
    let mut found = Vec::new();
    let project = project::project(&file.project, &mut found);
    let sources = project::sources(&file.debian, &mut found);
    let bases = bases::bases(&file.bases, file.soundness == Soundness::Sound, &mut found);
    let (flavors, members) = flavors::flavors(&file.flavors, &mut found);
    let complete = file.soundness == Soundness::Sound && !found.iter().any(Diagnostic::is_error);
    let indexes = indexes::indexes(&file.indexes, &members, complete, &mut found);
    let tags = project::tags(&file.tags);
    let mut plan = Plan {
        project,
        sources,
        bases,
        flavors,
        members,
        tags,
        indexes,
        warnings: Vec::new(),
        local_tags: Vec::new(),
        line_starts: file.line_starts.clone(),
    };
    if complete {
        let mut clashing = clashes::names(&plan, &mut found);
        plan.local_tags = clashes::tags(&plan, &mut clashing, &mut found);
        arches::arches(&plan, &mut found);
    }
    found.sort_by_key(|finding| finding.span.start);
    if file.soundness == Soundness::Sound && !found.iter().any(Diagnostic::is_error) {
        plan.warnings = found;
        Ok(plan)
    } else {
        Err(found)
    }
}

/// Names of flavors, tiers, bases and indexes: lower case, so that they fit tags and references.
fn name(what: &str, name: &Text, found: &mut Vec<Diagnostic>) {
    let separator = |c: char| matches!(c, '-' | '_' | '.');
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || separator(c);
    let text = name.value.as_str();
    let good = !text.is_empty()
        && text.len() <= 60
        && text.chars().all(fits)
        && !text.starts_with(separator)
        && !text.ends_with(separator);
    if good {
        return;
    }
    let finding = Diagnostic::error(
        "bad-name",
        &name.span,
        format!("`{text}` cannot be the name of {what}"),
        "expected a-z, 0-9, and `-`, `_` or `.` between them",
    );
    let lower: String =
        text.to_lowercase().chars().map(|c| if fits(c) { c } else { '-' }).collect();
    let lower = lower.trim_matches(separator);
    found.push(if lower.is_empty() || lower.len() > 60 {
        finding.with_hint("names become parts of tags: give it 1 to 60 characters")
    } else {
        finding.with_hint(format!("names become parts of tags; try `{lower}`"))
    });
}

/// Whether a name is a target of every plan already.
fn is_reserved(name: &str) -> bool {
    name == "all" || name == "publish" || name.starts_with("publish-")
}

fn reserved(what: &str, name: &Text) -> Diagnostic {
    let message = format!("{what} cannot be named `{}`", name.value);
    let label = "the name of a target already";
    Diagnostic::error("reserved-name", &name.span, message, label)
        .with_hint("`all` and `publish-…` are targets of every plan")
}

/// "did you mean `x`?", or another label when nothing is near.
fn did_you_mean<'k>(
    text: &str,
    known: impl IntoIterator<Item = &'k str>,
    otherwise: &str,
) -> String {
    match nearest(text, known) {
        Some(near) => format!("did you mean `{near}`?"),
        None => otherwise.to_owned(),
    }
}

/// A path that must stay usable on another machine.
fn path(what: &str, text: &str, span: &Range<usize>, found: &mut Vec<Diagnostic>) {
    if text.contains('\0') {
        found.push(Diagnostic::error(
            "bad-path",
            span,
            format!("{what} holds a zero byte"),
            "not a path",
        ));
    } else if text.starts_with('/') {
        found.push(
            Diagnostic::warning(
                "absolute-path",
                span,
                format!("{what} is an absolute path"),
                "exists on this machine only",
            )
            .with_hint("write it relative to the folder of the plan"),
        );
    }
}
