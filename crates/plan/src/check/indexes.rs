//! `[index.NAME]`: members by name, and what a plain pull of the index gets.

use anyarch_oci::Tag;

use super::{did_you_mean, is_reserved, reserved};
use crate::diagnostic::{Diagnostic, listing};
use crate::file::{IndexTable, Text};
use crate::plan::{Index, Member};
use crate::target::matches;

/// `complete`: whether `members` is all that the plan means, so that an unknown name is an error.
pub(super) fn indexes(
    tables: &[IndexTable],
    members: &[Member],
    complete: bool,
    found: &mut Vec<Diagnostic>,
) -> Vec<Index> {
    let mut indexes = Vec::new();
    for table in tables {
        let name = &table.name;
        if name.value.parse::<Tag>().is_err() {
            let message = format!("`{}` cannot be the name of an index", name.value);
            let finding = Diagnostic::error("bad-name", &name.span, message, "not a tag");
            found.push(finding.with_hint("the name is a tag: letters, digits, `_`, `.` and `-`"));
        } else if is_reserved(&name.value) {
            found.push(reserved("an index", name));
        }
        let Some(list) = &table.members else { continue };
        if list.value.is_empty() {
            let message = format!("index `{}` has no members", name.value);
            let finding =
                Diagnostic::error("no-members", &list.span, message, "needs one at least");
            found.push(finding.with_hint("for example `members = [\"cpu/amd64\"]`"));
        }
        let mut chosen: Vec<usize> = Vec::new();
        for written in &list.value {
            let named = if complete { lookup(written, members, found) } else { Vec::new() };
            for at in named {
                let Some(member) = members.get(at) else { continue };
                if chosen.contains(&at) {
                    let message = format!("index `{}` lists `{member}` twice", name.value);
                    let label = "listed before";
                    found.push(Diagnostic::error(
                        "duplicate-member",
                        &written.span,
                        message,
                        label,
                    ));
                    continue;
                }
                plain_pull(&name.value, written, member, &chosen, members, found);
                chosen.push(at);
            }
        }
        indexes.push(Index { name: name.value.clone(), members: chosen, span: name.span.clone() });
    }
    indexes
}

/// The members that `FLAVOR/ARCH`, a pattern, or a flavor with one platform names.
fn lookup(written: &Text, members: &[Member], found: &mut Vec<Diagnostic>) -> Vec<usize> {
    let text = written.value.as_str();
    let (flavor, arch) = text.split_once('/').unwrap_or((text, ""));
    let named: Vec<usize> = members
        .iter()
        .enumerate()
        .filter(|(_, member)| {
            matches(flavor, &member.flavor)
                && (arch.is_empty()
                    || matches(arch, &member.arch())
                    || format!("linux/{arch}") == member.platform.to_string())
        })
        .map(|(at, _)| at)
        .collect();
    let pattern = text.contains(['*', '?']);
    if named.is_empty() {
        let names: Vec<String> = members.iter().map(Member::to_string).collect();
        let label = did_you_mean(text, names.iter().map(String::as_str), "no such member");
        let message = format!("unknown member `{text}`");
        let finding = Diagnostic::error("unknown-member", &written.span, message, label);
        found.push(finding.with_hint(format!("members of this plan: {}", all(members))));
    } else if named.len() > 1 && arch.is_empty() && !pattern {
        let which: Vec<String> =
            named.iter().filter_map(|at| members.get(*at)).map(Member::to_string).collect();
        let message = format!("`{text}` is more than one member: {}", listing(which));
        let label = "which one?";
        let finding = Diagnostic::error("ambiguous-member", &written.span, message, label);
        found.push(finding.with_hint(format!("write `{text}/*` for all of them")));
        return Vec::new();
    }
    named
}

/// Warns when two entries answer to the same platform and the first is not the plain one, or nothing
/// tells the two apart.
fn plain_pull(
    index: &str,
    written: &Text,
    member: &Member,
    before: &[usize],
    members: &[Member],
    found: &mut Vec<Diagnostic>,
) {
    let mut earlier = before
        .iter()
        .filter_map(|at| members.get(*at))
        .filter(|earlier| earlier.platform == member.platform);
    let Some(first) = earlier.next() else { return };
    let platform = &member.platform;
    let finding = |message: String, label: &str| {
        Diagnostic::warning("ambiguous-pull", &written.span, message, label)
    };
    match (&first.accelerator, &member.accelerator) {
        (None, Some(accelerator)) => {
            let Some(same) = earlier.find(|same| same.accelerator == member.accelerator) else {
                return;
            };
            let message = format!(
                "a pull of `{index}` for {accelerator} on {platform} can only get `{same}`"
            );
            found.push(finding(message, "never chosen").with_hint(
                "nothing tells the two apart; give one another `accelerator`, or another index",
            ));
        }
        (Some(accelerator), None) => found.push(
            finding(
                format!("a plain pull of `{index}` on {platform} gets `{first}`, which is for {accelerator}"),
                "never chosen",
            )
            .with_hint(format!("the first match wins: list `{member}` before `{first}`")),
        ),
        _ => found.push(
            finding(
                format!("a plain pull of `{index}` on {platform} can only get `{first}`"),
                "never chosen",
            )
            .with_hint("nothing tells the two apart; give one an `accelerator`, or another index"),
        ),
    }
}

fn all(members: &[Member]) -> String {
    listing(members.iter().map(Member::to_string))
}
