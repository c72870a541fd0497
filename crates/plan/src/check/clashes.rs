//! Names that would mean two things: short targets and tags.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::diagnostic::{Diagnostic, nearest};
use crate::names::{Blame, Name, build_names, publish_names};
use crate::plan::{Plan, TagTemplate};
use crate::publish::{flavor_tags, image_tags, index_tags};
use crate::tags::{LocalTags, VARIABLES, render_local};
use crate::target::Selection;
use crate::template::{Rendered, TemplateError};

/// A version to try the templates with; it is as good as any other.
const TRIAL_VERSION: &str = "v0.0.0";

/// Reports short names that two rules give to different tiers.
pub(super) fn names(plan: &Plan, found: &mut Vec<Diagnostic>) {
    let build = build_names(plan);
    let mut reported: Vec<String> = Vec::new();
    clash(plan, &build, "", &mut reported, found);
    clash(plan, &publish_names(plan), "publish-", &mut reported, found);
}

fn clash(
    plan: &Plan,
    names: &[Name],
    prefix: &str,
    reported: &mut Vec<String>,
    found: &mut Vec<Diagnostic>,
) {
    let mut first: BTreeMap<&str, &Name> = BTreeMap::new();
    for name in names {
        let Some(earlier) = first.get(name.name.as_str()) else {
            first.insert(&name.name, name);
            continue;
        };
        let same = earlier.members == name.members
            && crate::target::same_tiers(plan, &name.members, &earlier.tier, &name.tier);
        // One clash is reported once, however many names follow from it.
        if same || reported.contains(&name.name) || earlier.origin == name.origin {
            continue;
        }
        reported.push(name.name.clone());
        let span = span(plan, &name.origin.blame, &earlier.origin.blame);
        let (this, other) = (&name.origin.words, &earlier.origin.words);
        found.push(
            Diagnostic::error(
                "clashing-target",
                &span,
                format!("the target `{prefix}{}` would be both {other} and {this}", name.name),
                "needs another name",
            )
            .with_hint(
                "short targets are made from the names of flavors, tiers and indexes; rename one",
            ),
        );
    }
}

/// Renders every tag the plan can give: reports bad templates and tags with two meanings; returns
/// the local tags by member and tier.
pub(super) fn tags(plan: &Plan, found: &mut Vec<Diagnostic>) -> Vec<Vec<LocalTags>> {
    let mut trial = Trial { plan, found, bad: Vec::new() };
    let mut local = Uses::default();
    let mut published = Uses::default();
    let mut by_member = Vec::new();
    for (at, member) in plan.members.iter().enumerate() {
        let mut by_tier = Vec::new();
        for (tier, of) in member.tiers.iter().enumerate() {
            let selection = Selection { member: at, tier };
            let blame = Blame::Flavor(member.flavor.clone());
            let tags = trial.keep(&blame, render_local(plan, &selection)).unwrap_or_default();
            let image = format!("`{}`", selection.canonical(plan));
            for tag in &tags.exact {
                trial.note(&mut local, "local", tag, &image, &blame);
            }
            let flavor = format!("tier `{}` of flavor `{}`", of.name, member.flavor);
            for tag in &tags.gathered {
                trial.note(&mut local, "local", tag, &flavor, &blame);
            }
            by_tier.push(tags);
            // Without a version too, so that nothing is left to go wrong later.
            for version in [None, Some(TRIAL_VERSION)] {
                let tags = trial.keep(&blame, image_tags(plan, &selection, version));
                trial.note_all(&mut published, tags, &image, &blame);
            }
        }
        by_member.push(by_tier);
    }
    for flavor in plan.flavors.iter().filter(|flavor| plan.members_of(&flavor.name).len() > 1) {
        let blame = Blame::Flavor(flavor.name.clone());
        let tags = trial.keep(&blame, flavor_tags(plan, &flavor.name, Some(TRIAL_VERSION)));
        trial.note_all(&mut published, tags, &format!("flavor `{}`", flavor.name), &blame);
    }
    for index in &plan.indexes {
        let blame = Blame::Index(index.name.clone());
        let tags = trial.keep(&blame, index_tags(plan, &index.name, Some(TRIAL_VERSION)));
        trial.note_all(&mut published, tags, &format!("index `{}`", index.name), &blame);
    }
    by_member
}

/// Tags met so far, and what each was for.
#[derive(Default)]
struct Uses {
    of_tag: BTreeMap<String, (String, Blame)>,
    reported: Vec<String>,
}

struct Trial<'p, 'f> {
    plan: &'p Plan,
    found: &'f mut Vec<Diagnostic>,
    /// Templates reported already.
    bad: Vec<String>,
}

impl Trial<'_, '_> {
    /// The value, or a report of the template that failed.
    fn keep<T>(&mut self, blame: &Blame, result: Result<T, TemplateError>) -> Option<T> {
        let error = match result {
            Ok(value) => return Some(value),
            Err(error) => error,
        };
        let (TemplateError::Invalid { template, .. }
        | TemplateError::UnknownVariable { template, .. }
        | TemplateError::NotATag { template, .. }) = &error;
        if !self.bad.contains(template) {
            self.bad.push(template.clone());
            let span = written(self.plan, template)
                .unwrap_or_else(|| span(self.plan, blame, &Blame::Nothing));
            self.found.push(bad_template(&error, &span));
        }
        None
    }

    fn note_all(
        &mut self,
        uses: &mut Uses,
        tags: Option<Vec<Rendered>>,
        what: &str,
        blame: &Blame,
    ) {
        for rendered in tags.unwrap_or_default() {
            self.note(uses, "published", rendered.tag.as_str(), what, blame);
        }
    }

    fn note(&mut self, uses: &mut Uses, kind: &str, tag: &str, what: &str, blame: &Blame) {
        let Some((earlier, other)) = uses.of_tag.get(tag) else {
            uses.of_tag.insert(tag.to_owned(), (what.to_owned(), blame.clone()));
            return;
        };
        if earlier == what || uses.reported.iter().any(|known| known == tag) {
            return;
        }
        uses.reported.push(tag.to_owned());
        let shown = tag.replace(TRIAL_VERSION, "VERSION");
        self.found.push(
            Diagnostic::error(
                "clashing-tag",
                &span(self.plan, blame, other),
                format!("the {kind} tag `{shown}` would be both {earlier} and {what}"),
                "needs another name",
            )
            .with_hint("rename one of the two, or change the templates in `[tags]`"),
        );
    }
}

fn bad_template(error: &TemplateError, span: &Range<usize>) -> Diagnostic {
    match error {
        TemplateError::Invalid { detail, .. } => {
            Diagnostic::error("bad-template", span, "the tag template is wrong", detail)
        }
        TemplateError::UnknownVariable { variable, .. } => {
            let label = match nearest(variable, VARIABLES.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "no such variable".to_owned(),
            };
            let message = format!("unknown variable `{variable}` in a tag template");
            Diagnostic::error("bad-template", span, message, label)
                .with_hint(format!("known variables: {}", VARIABLES.join(", ")))
        }
        TemplateError::NotATag { text, .. } => {
            let text = text.replace(TRIAL_VERSION, "VERSION");
            let message = format!("the tag template gives `{text}`, which is not a tag");
            Diagnostic::error("bad-template", span, message, "not a tag")
                .with_hint("a tag is at most 128 letters, digits, `_`, `.` and `-`")
        }
    }
}

/// Where a template stands in the file.
fn written(plan: &Plan, source: &str) -> Option<Range<usize>> {
    let tags = &plan.tags;
    [
        &tags.local,
        &tags.gathered,
        &tags.publish,
        &tags.publish_flavor,
        &tags.publish_tier,
        &tags.index,
    ]
    .into_iter()
    .flatten()
    .find(|template: &&TagTemplate| template.source == source)
    .and_then(|template| template.span.clone())
}

fn span(plan: &Plan, blame: &Blame, other: &Blame) -> Range<usize> {
    let of = |blame: &Blame| match blame {
        Blame::Flavor(name) => plan.flavor(name).map(|flavor| flavor.span.clone()),
        Blame::Index(name) => {
            plan.indexes.iter().find(|index| index.name == *name).map(|index| index.span.clone())
        }
        Blame::Nothing => None,
    };
    of(blame).or_else(|| of(other)).unwrap_or(0..0)
}
