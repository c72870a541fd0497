//! Plan + selection → tags: the variables of the templates, the default templates, local tags.
//!
//! Published tags are made in [`crate::publish`] from the same variables.

use minijinja::Value;

use crate::plan::{Plan, TagTemplate, TagTemplates};
use crate::target::Selection;
use crate::template::{TemplateError, Variables, render_all};

/// Names that a template may use.
///
/// | name | value |
/// |---|---|
/// | `name` | the project's name |
/// | `flavor`, `arch`, `tier` | of the image |
/// | `version` | the published version; a template that uses it gives nothing without one |
/// | `registry` | host of the project's repository; empty without one |
/// | `accelerator` | of the flavor; empty without one |
/// | `last` | whether the tier is the last of its chain |
/// | `plain` | whether the architecture alone stands for this flavor |
/// | `single` | whether the flavor has one platform only |
/// | `index` | name of the index |
pub const VARIABLES: &[&str] = &[
    "name",
    "flavor",
    "arch",
    "tier",
    "version",
    "registry",
    "accelerator",
    "last",
    "plain",
    "single",
    "index",
];

/// Local tags of one built tier.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LocalTags {
    /// Tags of the one image: `cpu-arm64-dev`.
    pub exact: Vec<String>,
    /// Tags of an index over the architectures built so far: `cpu-dev`.
    pub gathered: Vec<String>,
}

/// The local tags of a selection; none when the selection is not of this plan.
pub fn local(plan: &Plan, selection: &Selection) -> LocalTags {
    plan.local_tags
        .get(selection.member)
        .and_then(|tiers| tiers.get(selection.tier))
        .cloned()
        .unwrap_or_default()
}

/// The templates of a plan without `[tags]`.
pub fn defaults() -> TagTemplates {
    let templates = |sources: &[&str]| {
        let template = |source: &&str| TagTemplate { source: (*source).to_owned(), span: None };
        sources.iter().map(template).collect::<Vec<_>>()
    };
    TagTemplates {
        local: templates(&[
            "{{ flavor }}-{{ arch }}-{{ 'dev' if last else tier }}",
            "{% if plain %}{{ arch }}-{{ 'dev' if last else tier }}{% endif %}",
        ]),
        gathered: templates(&["{{ flavor }}-{{ 'dev' if last else tier }}"]),
        publish: templates(&[
            "{% if not accelerator %}latest-{% endif %}{{ flavor }}-{{ arch }}",
            "{{ version }}-{{ flavor }}-{{ arch }}",
        ]),
        publish_flavor: templates(&["{% if accelerator %}{{ flavor }}-latest{% endif %}"]),
        publish_tier: templates(&[
            "{{ flavor }}-{{ tier }}{% if not (accelerator and single) %}-{{ arch }}{% endif %}-{{ version }}",
        ]),
        index: templates(&[
            "{{ index }}",
            "{{ version }}{% if index != 'latest' %}-{{ index | replace('latest-', '') }}{% endif %}",
        ]),
    }
}

/// Local tags that `templates` give to an image.
pub(crate) fn render_local(
    plan: &Plan,
    selection: &Selection,
    templates: &[TagTemplate],
) -> Result<Vec<String>, TemplateError> {
    let tags = render_all(templates, &of_image(plan, selection, None))?;
    Ok(tags.into_iter().map(|rendered| rendered.tag.to_string()).collect())
}

/// Variables of one image.
pub(crate) fn of_image(plan: &Plan, selection: &Selection, version: Option<&str>) -> Variables {
    let mut variables = of_project(plan, version);
    if let Some(member) = plan.members.get(selection.member) {
        variables.extend(of_flavor(plan, &member.flavor, version));
        let arch = member.arch();
        variables.insert("plain", (plan.plain_flavor(&arch) == Some(&member.flavor)).into());
        variables.insert("arch", arch.into());
        variables.insert("last", (selection.tier + 1 == member.tiers.len()).into());
        if let Some(tier) = member.tiers.get(selection.tier) {
            variables.insert("tier", tier.name.as_str().into());
        }
    }
    variables
}

/// Variables of a whole flavor.
pub(crate) fn of_flavor(plan: &Plan, flavor: &str, version: Option<&str>) -> Variables {
    let mut variables = of_project(plan, version);
    let accelerator = plan.flavor(flavor).and_then(|flavor| flavor.accelerator.as_deref());
    variables.insert("flavor", flavor.into());
    variables.insert("accelerator", accelerator.unwrap_or_default().into());
    variables.insert("single", (plan.members_of(flavor).len() == 1).into());
    variables
}

/// Variables of an index.
pub(crate) fn of_index(plan: &Plan, index: &str, version: Option<&str>) -> Variables {
    let mut variables = of_project(plan, version);
    variables.insert("index", index.into());
    variables
}

fn of_project(plan: &Plan, version: Option<&str>) -> Variables {
    let repository = plan.project.repository.as_deref().unwrap_or_default();
    let registry = repository.split_once('/').map(|(host, _)| host).unwrap_or_default();
    let mut variables = Variables::from([
        ("name", Value::from(plan.project.name.as_str())),
        ("registry", Value::from(registry)),
    ]);
    if let Some(version) = version {
        variables.insert("version", version.into());
    }
    variables
}
