//! Tag template + variables → tags. The templates are minijinja expressions over a few names.

use std::collections::BTreeMap;

use anyarch_oci::Tag;
use minijinja::{Environment, UndefinedBehavior, Value};
use thiserror::Error;

use crate::plan::TagTemplate;

/// Why a template gives no tag.
#[derive(Debug, Error)]
pub enum TemplateError {
    /// The template itself is wrong, or cannot be evaluated.
    #[error("cannot evaluate the tag template `{template}`: {detail}")]
    Invalid {
        /// The template.
        template: String,
        /// What the template engine says.
        detail: String,
    },
    /// It uses a name that is not one of [`crate::tags::VARIABLES`].
    #[error("the tag template `{template}` uses the unknown variable `{variable}`")]
    UnknownVariable {
        /// The template.
        template: String,
        /// The name.
        variable: String,
    },
    /// What comes out is not a tag.
    #[error("the tag template `{template}` gives `{text}`, which is not a tag")]
    NotATag {
        /// The template.
        template: String,
        /// What came out.
        text: String,
        /// What is wrong with it.
        #[source]
        source: anyarch_oci::ReferenceError,
    },
}

/// What one template gave.
pub(crate) struct Rendered {
    pub(crate) tag: Tag,
    /// Whether the template names the version, so that the tag must never move.
    pub(crate) versioned: bool,
}

/// Values of the variables; those without a value are undefined.
pub(crate) type Variables = BTreeMap<&'static str, Value>;

/// The tag that `template` gives; `None` when it uses the version and there is none, or when
/// nothing comes out.
pub(crate) fn render(
    template: &TagTemplate,
    variables: &Variables,
) -> Result<Option<Rendered>, TemplateError> {
    let source = template.source.as_str();
    let invalid = |error: minijinja::Error| TemplateError::Invalid {
        template: source.to_owned(),
        detail: match error.detail() {
            Some(detail) => detail.to_owned(),
            None => error.kind().to_string(),
        },
    };
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
    environment.set_fuel(Some(10_000));
    let compiled = environment.template_from_str(source).map_err(invalid)?;
    let mut used: Vec<String> = compiled.undeclared_variables(false).into_iter().collect();
    used.sort();
    if let Some(variable) =
        used.iter().find(|name| !crate::tags::VARIABLES.contains(&name.as_str()))
    {
        return Err(TemplateError::UnknownVariable {
            template: source.to_owned(),
            variable: variable.clone(),
        });
    }
    let versioned = used.iter().any(|name| name == "version");
    if versioned && !variables.contains_key("version") {
        return Ok(None);
    }
    let text = compiled.render(variables).map_err(invalid)?;
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    match text.parse::<Tag>() {
        Ok(tag) => Ok(Some(Rendered { tag, versioned })),
        Err(reason) => Err(TemplateError::NotATag {
            template: source.to_owned(),
            text: text.to_owned(),
            source: reason,
        }),
    }
}

/// The tags of several templates, in order, each once.
pub(crate) fn render_all(
    templates: &[TagTemplate],
    variables: &Variables,
) -> Result<Vec<Rendered>, TemplateError> {
    let mut tags: Vec<Rendered> = Vec::new();
    for template in templates {
        if let Some(rendered) = render(template, variables)?
            && !tags.iter().any(|known| known.tag == rendered.tag)
        {
            tags.push(rendered);
        }
    }
    Ok(tags)
}
