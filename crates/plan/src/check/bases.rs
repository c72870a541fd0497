//! `[base.NAME]`: suites, packages, and bases on bases.

use std::collections::BTreeMap;

use super::project::{text, texts};
use super::{did_you_mean, name};
use crate::diagnostic::{Diagnostic, listing};
use crate::file::{BaseTable, Text};
use crate::plan::Base;

/// `sound`: whether every value of the file was read, so that a missing one is missing.
pub(super) fn bases(
    tables: &[BaseTable],
    sound: bool,
    found: &mut Vec<Diagnostic>,
) -> BTreeMap<String, Base> {
    for table in tables {
        name("a base", &table.name, found);
        if table.name.value == "scratch" {
            found.push(Diagnostic::error(
                "bad-name",
                &table.name.span,
                "a base cannot be named `scratch`",
                "`FROM scratch` is the empty image",
            ));
        }
        parent(table, tables, sound, found);
        packages(table, found);
    }
    cycles(tables, found);
    tables.iter().map(|table| (table.name.value.clone(), base(table))).collect()
}

fn base(table: &BaseTable) -> Base {
    Base {
        name: table.name.value.clone(),
        from: text(&table.from),
        debian: text(&table.debian),
        packages: texts(&table.packages),
        components: texts(&table.components),
        recommends: table.recommends.unwrap_or(false),
        span: table.name.span.clone(),
        package_spans: table.packages.iter().map(|package| package.span.clone()).collect(),
    }
}

fn parent(table: &BaseTable, tables: &[BaseTable], sound: bool, found: &mut Vec<Diagnostic>) {
    let of = &table.name.value;
    match (&table.from, &table.debian) {
        (None, None) if !sound => {}
        (None, None) => found.push(
            Diagnostic::error(
                "missing-key",
                &table.name.span,
                format!("`[base.{of}]` does not say what it starts from"),
                "needs `debian` or `from`",
            )
            .with_hint("add, for example, `debian = \"bookworm\"`"),
        ),
        (Some(from), Some(_)) => found.push(
            Diagnostic::error(
                "contradiction",
                &from.span,
                format!("`[base.{of}]` starts from both a suite and a base"),
                "either `debian` or `from`",
            )
            .with_hint("the suite is that of the base it starts from: remove `debian`"),
        ),
        (Some(from), None) => {
            let names = || tables.iter().map(|table| table.name.value.as_str());
            if !names().any(|name| name == from.value) {
                let others: Vec<&str> = names().filter(|name| name != of).collect();
                let label = did_you_mean(&from.value, others.iter().copied(), "no such base");
                let message =
                    format!("`[base.{of}]` starts from the unknown base `{}`", from.value);
                let hint = if others.is_empty() {
                    "the plan has no other base; for a Debian suite write `debian = …`".to_owned()
                } else {
                    format!("other bases of this plan: {}", listing(others))
                };
                let finding = Diagnostic::error("unknown-base", &from.span, message, label);
                found.push(finding.with_hint(hint));
            }
        }
        (None, Some(suite)) => {
            let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '/' | '_');
            if !suite.value.chars().all(fits) {
                let message = format!("`{}` is not the name of a suite", suite.value);
                let finding = Diagnostic::error("bad-suite", &suite.span, message, "not a suite");
                found.push(finding.with_hint("for example `debian = \"bookworm\"`"));
            }
        }
    }
}

/// Debian policy 5.6.1: lower case letters, digits, `+`, `-`, `.`, two at least.
fn packages(table: &BaseTable, found: &mut Vec<Diagnostic>) {
    let mut seen: Vec<&str> = Vec::new();
    for package in &table.packages {
        let text = package.value.as_str();
        let fits =
            |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '+' | '-' | '.');
        if text.len() < 2
            || !text.chars().all(fits)
            || !text.starts_with(|c: char| c.is_ascii_alphanumeric())
        {
            found.push(bad_package(package));
        } else if seen.contains(&text) {
            found.push(Diagnostic::warning(
                "duplicate-package",
                &package.span,
                format!("package `{text}` is listed twice in `[base.{}]`", table.name.value),
                "listed before",
            ));
        }
        seen.push(text);
    }
}

fn bad_package(package: &Text) -> Diagnostic {
    let text = package.value.as_str();
    let finding = Diagnostic::error(
        "bad-package",
        &package.span,
        format!("`{text}` is not the name of a Debian package"),
        "expected a-z, 0-9, `+`, `-` and `.`",
    );
    if text.contains(char::is_whitespace) {
        finding.with_hint("one string for each package")
    } else if text.contains(['=', ':', '/']) {
        finding.with_hint("versions are pinned by the lock file, the architecture by the member")
    } else {
        finding.with_hint(format!("perhaps `{}`", text.to_lowercase().replace('_', "-")))
    }
}

/// Reports each cycle once, at the first base of it in the file.
fn cycles(tables: &[BaseTable], found: &mut Vec<Diagnostic>) {
    let next = |at: usize| {
        let from = tables.get(at)?.from.as_ref()?;
        tables.iter().position(|table| table.name.value == from.value)
    };
    let name = |at: usize| tables.get(at).map_or("", |table| table.name.value.as_str());
    for (start, table) in tables.iter().enumerate() {
        let Some(from) = &table.from else { continue };
        let mut path = vec![start];
        let mut at = next(start);
        while let Some(current) = at {
            if path.contains(&current) {
                break;
            }
            path.push(current);
            at = next(current);
        }
        // A cycle through `start`, and `start` is the first of it in the file.
        if at == Some(start) && path.iter().all(|member| *member >= start) {
            let circle: Vec<&str> = path.iter().copied().chain([start]).map(name).collect();
            found.push(
                Diagnostic::error(
                    "cyclic-base",
                    &from.span,
                    format!(
                        "base `{}` starts from itself: {}",
                        table.name.value,
                        circle.join(" → ")
                    ),
                    "closes a circle",
                )
                .with_hint("one base of the circle needs `debian` instead of `from`"),
            );
        }
    }
}
