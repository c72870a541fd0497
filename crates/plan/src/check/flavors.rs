//! `[flavor.NAME]` → flavors and members: platforms parsed, overrides applied to the tiers.

use std::collections::BTreeMap;

use anyarch_oci::Platform;

use super::project::{text, texts};
use super::{did_you_mean, is_reserved, name, path, reserved};
use crate::context::ContextSource;
use crate::diagnostic::{Diagnostic, listing};
use crate::file::{FlavorTable, OnTable, Spanned, Text, TierTable};
use crate::plan::{Flavor, Member, Tier};
use crate::platforms;

pub(super) fn flavors(
    tables: &[FlavorTable],
    found: &mut Vec<Diagnostic>,
) -> (Vec<Flavor>, Vec<Member>) {
    let mut flavors = Vec::new();
    let mut members = Vec::new();
    for table in tables {
        flavor_name(&table.name, found);
        if let Some(accelerator) = &table.accelerator {
            name("an accelerator", accelerator, found);
        }
        let platforms = platforms(table, found);
        tiers(table, found);
        smoke(table.smoke.as_ref(), found);
        let overrides = overrides(table, &platforms, found);
        let flavor = Flavor {
            name: table.name.value.clone(),
            accelerator: text(&table.accelerator),
            span: table.name.span.clone(),
            platforms_span: table
                .platforms
                .as_ref()
                .map_or_else(|| table.name.span.clone(), |list| list.span.clone()),
        };
        for (platform, written) in &platforms {
            let on = overrides.iter().find(|(of, _)| of == platform).map(|(_, on)| *on);
            members.push(member(table, platform, written, on, found));
        }
        flavors.push(flavor);
    }
    (flavors, members)
}

fn flavor_name(of: &Text, found: &mut Vec<Diagnostic>) {
    name("a flavor", of, found);
    if is_reserved(&of.value) {
        found.push(reserved("a flavor", of));
    }
}

fn platforms<'t>(table: &'t FlavorTable, found: &mut Vec<Diagnostic>) -> Vec<(Platform, &'t Text)> {
    let Some(list) = &table.platforms else { return Vec::new() };
    if list.value.is_empty() {
        let message = format!("flavor `{}` has no platforms", table.name.value);
        found.push(
            Diagnostic::error("no-platforms", &list.span, message, "needs one at least")
                .with_hint("for example `platforms = [\"linux/amd64\"]`"),
        );
    }
    let mut platforms: Vec<(Platform, &Text)> = Vec::new();
    for written in &list.value {
        let Some(platform) = platform(written, found) else { continue };
        match platforms.iter().find(|(known, _)| *known == platform) {
            Some((_, first)) => {
                let message = format!("flavor `{}` lists `{platform}` twice", table.name.value);
                let label = format!("same as `{}`", first.value);
                found.push(Diagnostic::error("duplicate-platform", &written.span, message, label));
            }
            None => platforms.push((platform, written)),
        }
    }
    platforms
}

fn platform(written: &Text, found: &mut Vec<Diagnostic>) -> Option<Platform> {
    match platforms::parse(&written.value) {
        Ok(platform) => Some(platform),
        Err((reason, near)) => {
            let label = near.map_or(reason.clone(), |near| format!("did you mean `{near}`?"));
            let message = format!("`{}` is not a platform", written.value);
            let finding = Diagnostic::error("bad-platform", &written.span, message, &label);
            found.push(if label == reason { finding } else { finding.with_hint(reason) });
            None
        }
    }
}

fn tiers(table: &FlavorTable, found: &mut Vec<Diagnostic>) {
    let Some(list) = &table.tiers else { return };
    let flavor = &table.name.value;
    if list.value.is_empty() {
        let message = format!("flavor `{flavor}` has no tiers");
        found.push(
            Diagnostic::error("no-tiers", &list.span, message, "needs one at least").with_hint(
                "for example `tiers = [{ name = \"app\", dockerfile = \"Dockerfile\" }]`",
            ),
        );
    }
    let mut seen: Vec<&str> = Vec::new();
    for (position, tier) in list.value.iter().enumerate() {
        if let Some(of) = &tier.name {
            name("a tier", of, found);
            if is_reserved(&of.value) {
                found.push(reserved("a tier", of));
            }
            if seen.contains(&of.value.as_str()) {
                found.push(
                    Diagnostic::error(
                        "duplicate-tier",
                        &of.span,
                        format!("flavor `{flavor}` has two tiers named `{}`", of.value),
                        "used before",
                    )
                    .with_hint("a tier is named once; what differs by platform goes under `on`"),
                );
            }
            seen.push(&of.value);
        }
        settings(tier, position > 0, found);
    }
}

/// What tiers and tier overrides have in common.
fn settings(tier: &TierTable, chained: bool, found: &mut Vec<Diagnostic>) {
    for (what, value) in [("the Dockerfile", &tier.dockerfile), ("the context", &tier.context)] {
        if let Some(value) = value {
            path(what, &value.value, &value.span, found);
        }
    }
    for (named, source) in &tier.contexts {
        if let Err(reason) = ContextSource::parse(&source.value) {
            found.push(Diagnostic::error(
                "bad-context",
                &source.span,
                format!("the context `{}` cannot be used: {reason}", named.value),
                "expected a folder, docker-image://, oci-layout://, target: or a URL",
            ));
        }
    }
    for (argument, _) in &tier.build_args {
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let text = argument.value.as_str();
        if text.is_empty()
            || !text.chars().all(word)
            || text.starts_with(|c: char| c.is_ascii_digit())
        {
            found.push(Diagnostic::error(
                "bad-build-arg",
                &argument.span,
                format!("`{text}` cannot be the name of a build argument"),
                "expected letters, digits and `_`",
            ));
        } else if text == "BASE_IMAGE" && chained {
            found.push(
                Diagnostic::error(
                    "reserved-build-arg",
                    &argument.span,
                    "`BASE_IMAGE` is set by the chain and cannot be given",
                    "always the tier before this one",
                )
                .with_hint("remove it, or give it to the first tier, which has none before it"),
            );
        }
    }
}

fn overrides<'t>(
    table: &'t FlavorTable,
    platforms: &[(Platform, &Text)],
    found: &mut Vec<Diagnostic>,
) -> Vec<(Platform, &'t OnTable)> {
    let mut overrides: Vec<(Platform, &OnTable)> = Vec::new();
    let flavor = &table.name.value;
    for on in &table.on {
        smoke(on.smoke.as_ref(), found);
        override_tiers(table, on, found);
        let Some(platform) = platform(&on.platform, found) else { continue };
        if table.platforms.is_some() && !platforms.iter().any(|(known, _)| *known == platform) {
            let listed: Vec<String> = platforms.iter().map(|(p, _)| p.to_string()).collect();
            let label = did_you_mean(
                &on.platform.value,
                listed.iter().map(String::as_str),
                "not in `platforms`",
            );
            let message = format!(
                "flavor `{flavor}` has an override for `{platform}`, which it does not list"
            );
            let hint = format!("its platforms are {}", listing(&listed));
            found.push(
                Diagnostic::error("unlisted-platform", &on.platform.span, message, label)
                    .with_hint(hint),
            );
        } else if overrides.iter().any(|(known, _)| *known == platform) {
            let message = format!("flavor `{flavor}` has two overrides for `{platform}`");
            found.push(Diagnostic::error(
                "duplicate-platform",
                &on.platform.span,
                message,
                "used before",
            ));
        } else {
            overrides.push((platform, on));
        }
    }
    overrides
}

fn override_tiers(table: &FlavorTable, on: &OnTable, found: &mut Vec<Diagnostic>) {
    let Some(list) = &table.tiers else { return };
    let names: Vec<&str> =
        list.value.iter().filter_map(|tier| Some(tier.name.as_ref()?.value.as_str())).collect();
    for tier in &on.tiers {
        let Some(of) = &tier.name else { continue };
        let position = names.iter().position(|name| *name == of.value);
        if position.is_none() {
            let label = did_you_mean(&of.value, names.iter().copied(), "no such tier");
            let message = format!(
                "override for the tier `{}`, which flavor `{}` does not have",
                of.value, table.name.value
            );
            let hint = format!("its tiers are {}", listing(&names));
            found.push(Diagnostic::error("unknown-tier", &of.span, message, label).with_hint(hint));
        }
        settings(tier, position.is_some_and(|position| position > 0), found);
    }
}

fn smoke(smoke: Option<&Spanned<Vec<Text>>>, found: &mut Vec<Diagnostic>) {
    let Some(smoke) = smoke else { return };
    if smoke.value.is_empty() {
        let message = "the smoke command is empty";
        let finding = Diagnostic::error("empty-value", &smoke.span, message, "nothing to run");
        found.push(finding.with_hint("for example `smoke = [\"my-app\", \"--version\"]`"));
    }
    for word in &smoke.value {
        let harmless = |rest: &str| {
            let first = rest.split_whitespace().next().unwrap_or_default();
            matches!(first, "echo" | "true" | ":" | "printf")
        };
        if word.value.split("||").skip(1).any(harmless) {
            let message = "the smoke command cannot fail";
            let label = "`||` hides the failure";
            found.push(
                Diagnostic::warning("smoke-cannot-fail", &word.span, message, label)
                    .with_hint("let the command's own exit status decide"),
            );
        }
    }
}

fn member(
    table: &FlavorTable,
    platform: &Platform,
    written: &Text,
    on: Option<&OnTable>,
    found: &mut Vec<Diagnostic>,
) -> Member {
    let mut tiers = Vec::new();
    for tier in table.tiers.iter().flat_map(|list| &list.value) {
        let Some(of) = &tier.name else { continue };
        let changed = on.and_then(|on| {
            on.tiers.iter().find(|t| t.name.as_ref().is_some_and(|n| n.value == of.value))
        });
        tiers.extend(merge(table, platform, of, tier, changed, found));
    }
    let smoke = on.and_then(|on| on.smoke.as_ref()).or(table.smoke.as_ref());
    Member {
        flavor: table.name.value.clone(),
        platform: platform.clone(),
        accelerator: text(&table.accelerator),
        tiers,
        smoke: smoke.map(|smoke| texts(&smoke.value)),
        span: written.span.clone(),
    }
}

/// A tier with its override for the platform applied.
fn merge(
    table: &FlavorTable,
    platform: &Platform,
    name: &Text,
    tier: &TierTable,
    changed: Option<&TierTable>,
    found: &mut Vec<Diagnostic>,
) -> Option<Tier> {
    let pick = |of: fn(&TierTable) -> Option<&Text>| changed.and_then(of).or_else(|| of(tier));
    let Some(dockerfile) = pick(|tier| tier.dockerfile.as_ref()) else {
        let flavor = &table.name.value;
        found.push(
            Diagnostic::error(
                "missing-key",
                &tier.span,
                format!(
                    "tier `{}` of flavor `{flavor}` has no Dockerfile for {platform}",
                    name.value
                ),
                "needs `dockerfile`",
            )
            .with_hint("add, for example, `dockerfile = \"Dockerfile\"`"),
        );
        return None;
    };
    let mut build_args = BTreeMap::new();
    for (argument, value) in [Some(tier), changed].into_iter().flatten().flat_map(|t| &t.build_args)
    {
        build_args.insert(argument.value.clone(), value.value.clone());
    }
    let mut contexts = BTreeMap::new();
    for (named, source) in [Some(tier), changed].into_iter().flatten().flat_map(|t| &t.contexts) {
        // What cannot be used is a finding already.
        if let Ok(source) = ContextSource::parse(&source.value) {
            contexts.insert(named.value.to_lowercase(), source);
        }
    }
    let owned = |text: Option<&Text>| text.map(|text| text.value.clone());
    Some(Tier {
        name: name.value.clone(),
        dockerfile: dockerfile.value.clone(),
        target: owned(pick(|tier| tier.target.as_ref())),
        build_args,
        context: owned(pick(|tier| tier.context.as_ref())),
        contexts,
        span: tier.span.clone(),
        dockerfile_span: dockerfile.span.clone(),
    })
}
