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
pub(super) const TRIAL_VERSION: &str = "v0.0.0";

/// Pairs of things whose names clash; each is reported once, however many names follow from it.
pub(super) type Clashing = Vec<(Blame, Blame)>;

/// Reports short names that two rules give to different tiers.
pub(super) fn names(plan: &Plan, found: &mut Vec<Diagnostic>) -> Clashing {
    let mut clashing = Clashing::new();
    clash(plan, &build_names(plan), "", &mut clashing, found);
    clash(plan, &publish_names(plan), "publish-", &mut clashing, found);
    clashing
}

fn clash(
    plan: &Plan,
    names: &[Name],
    prefix: &str,
    clashing: &mut Clashing,
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
        if same || !is_new(clashing, &earlier.origin.blame, &name.origin.blame) {
            continue;
        }
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

fn is_new(clashing: &mut Clashing, one: &Blame, other: &Blame) -> bool {
    let known = clashing.iter().any(|(a, b)| (a == one && b == other) || (a == other && b == one));
    if !known {
        clashing.push((one.clone(), other.clone()));
    }
    !known
}

/// Renders every tag the plan can give: reports bad templates and tags with two meanings; returns
/// the local tags by member and tier.
pub(super) fn tags(
    plan: &Plan,
    clashing: &mut Clashing,
    found: &mut Vec<Diagnostic>,
) -> Vec<Vec<LocalTags>> {
    let mut trial = Trial { plan, found, clashing, bad: Vec::new() };
    let mut local = Uses::default();
    let mut published = Uses::default();
    let mut by_member = Vec::new();
    for (at, member) in plan.members.iter().enumerate() {
        let mut by_tier = Vec::new();
        for (tier, of) in member.tiers.iter().enumerate() {
            let selection = Selection { member: at, tier };
            let blame = Blame::Flavor(member.flavor.clone());
            let mut render = |templates: &[TagTemplate]| {
                let rendered = render_local(plan, &selection, templates);
                trial.keep(&blame, rendered).unwrap_or_default()
            };
            let tags = LocalTags {
                exact: render(&plan.tags.local),
                gathered: render(&plan.tags.gathered),
            };
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
type Uses = BTreeMap<String, (String, Blame)>;

struct Trial<'p, 'f> {
    plan: &'p Plan,
    found: &'f mut Vec<Diagnostic>,
    clashing: &'f mut Clashing,
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
        let Some((earlier, other)) = uses.get(tag) else {
            uses.insert(tag.to_owned(), (what.to_owned(), blame.clone()));
            return;
        };
        if earlier == what || !is_new(self.clashing, blame, other) {
            return;
        }
        // One flavor against itself: then a template leaves out what tells its images apart.
        let template = if blame == other { templates(self.plan, kind) } else { None };
        let (span, label, hint) = match template {
            Some(span) => (span, "not enough in it", "add what differs: flavor, arch or tier"),
            None => (
                span(self.plan, blame, other),
                "needs another name",
                "rename one of the two, or change the templates in `[tags]`",
            ),
        };
        let shown = tag.replace(TRIAL_VERSION, "VERSION");
        let message = format!("the {kind} tag `{shown}` would be both {earlier} and {what}");
        self.found.push(Diagnostic::error("clashing-tag", &span, message, label).with_hint(hint));
    }
}

/// Place of the first template of that kind in the file.
fn templates(plan: &Plan, kind: &str) -> Option<Range<usize>> {
    let tags = &plan.tags;
    let lists = if kind == "local" {
        vec![&tags.local, &tags.gathered]
    } else {
        vec![&tags.publish, &tags.publish_flavor, &tags.publish_tier]
    };
    lists.into_iter().flatten().find_map(|template| template.span.clone())
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
    .find(|template| template.source == source)
    .and_then(|template| template.span.clone())
}

pub(super) fn span(plan: &Plan, blame: &Blame, other: &Blame) -> Range<usize> {
    let of = |blame: &Blame| match blame {
        Blame::Flavor(name) => plan.flavor(name).map(|flavor| flavor.span.clone()),
        Blame::Index(name) => {
            plan.indexes.iter().find(|index| index.name == *name).map(|index| index.span.clone())
        }
        Blame::Nothing => None,
    };
    of(blame).or_else(|| of(other)).unwrap_or(0..0)
}
