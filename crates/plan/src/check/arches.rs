//! Tags that name an architecture which is not that of their images.

use std::ops::Range;

use anyarch_oci::{KNOWN_PLATFORMS, Platform};

use super::clashes::{TRIAL_VERSION, span};
use crate::diagnostic::{Diagnostic, listing};
use crate::names::Blame;
use crate::plan::{Member, Plan, TagTemplate};
use crate::tags::{of_flavor, of_image, of_index};
use crate::target::Selection;
use crate::template::{Variables, render};

/// Renders every tag the plan can give, and warns of those that lie about the architecture.
/// Templates that do not render are reported elsewhere.
pub(super) fn arches(plan: &Plan, found: &mut Vec<Diagnostic>) {
    let mut trial = Trial { plan, found };
    let tags = &plan.tags;
    for (at, member) in plan.members.iter().enumerate() {
        let blame = Blame::Flavor(member.flavor.clone());
        for tier in 0..member.tiers.len() {
            let selection = Selection { member: at, tier };
            let last = tier + 1 == member.tiers.len();
            let published = if last { &tags.publish } else { &tags.publish_tier };
            let variables = of_image(plan, &selection, Some(TRIAL_VERSION));
            trial.tags("local", &tags.local, &variables, &[member], &blame);
            trial.tags("published", published, &variables, &[member], &blame);
            let flavor = members(plan, &plan.members_of(&member.flavor));
            trial.tags("local", &tags.gathered, &variables, &flavor, &blame);
        }
    }
    for flavor in &plan.flavors {
        let blame = Blame::Flavor(flavor.name.clone());
        let variables = of_flavor(plan, &flavor.name, Some(TRIAL_VERSION));
        let members = members(plan, &plan.members_of(&flavor.name));
        trial.tags("published", &tags.publish_flavor, &variables, &members, &blame);
    }
    for index in &plan.indexes {
        let blame = Blame::Index(index.name.clone());
        let variables = of_index(plan, &index.name, Some(TRIAL_VERSION));
        let members = members(plan, &index.members);
        trial.tags("published", &tags.index, &variables, &members, &blame);
    }
}

fn members<'p>(plan: &'p Plan, places: &[usize]) -> Vec<&'p Member> {
    places.iter().filter_map(|at| plan.members.get(*at)).collect()
}

struct Trial<'p, 'f> {
    plan: &'p Plan,
    found: &'f mut Vec<Diagnostic>,
}

impl Trial<'_, '_> {
    /// Looks at the tags that `members` are found under.
    fn tags(
        &mut self,
        kind: &str,
        templates: &[TagTemplate],
        variables: &Variables,
        members: &[&Member],
        blame: &Blame,
    ) {
        for template in templates {
            let Ok(Some(rendered)) = render(template, variables) else { continue };
            let tag = rendered.tag.as_str();
            let named: Vec<(&str, Platform)> = tag.split('-').filter_map(architecture).collect();
            let Some((name, _)) = named.first() else { continue };
            let is_named = |member: &Member| {
                named.iter().any(|(name, platform)| {
                    platform.architecture == member.platform.architecture
                        && (*name == platform.architecture || *platform == member.platform)
                })
            };
            let others: Vec<String> = members
                .iter()
                .filter(|member| !is_named(member))
                .map(ToString::to_string)
                .collect();
            if !others.is_empty() {
                let place = (template.span.clone(), span(self.plan, blame, &Blame::Nothing));
                let shown = tag.replace(TRIAL_VERSION, "VERSION");
                let message = format!(
                    "the {kind} tag `{shown}` names {name}, and is for {}",
                    listing(others)
                );
                self.warn(place, message);
            }
        }
    }

    /// One warning for each place, which is the template where the plan has one.
    fn warn(&mut self, place: (Option<Range<usize>>, Range<usize>), message: String) {
        let (span, hint) = match place {
            (Some(template), _) => (template, "write `{{ arch }}` in the template"),
            (None, name) => (name, "rename it, or change the templates in `[tags]`"),
        };
        if !self.found.iter().any(|finding| finding.span == span) {
            let label = "another architecture";
            self.found
                .push(Diagnostic::warning("misleading-tag", &span, message, label).with_hint(hint));
        }
    }
}

/// The architecture that a part of a tag names, by whatever name: `arm64`, `aarch64`, `armv7`.
fn architecture(part: &str) -> Option<(&str, Platform)> {
    let known = KNOWN_PLATFORMS.iter().filter_map(|text| text.parse::<Platform>().ok());
    let mut known = known.filter(|platform| platform.short_arch() == part);
    let named = known.next().or_else(|| format!("linux/{part}").parse().ok())?;
    let is_known = KNOWN_PLATFORMS.contains(&named.to_string().as_str());
    is_known.then_some((part, named))
}
