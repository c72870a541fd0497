//! `[project]`, `[sources]` and `[tags]`: values that stand alone.

use anyarch_oci::{Reference, RepositoryName, Tag};

use super::path;
use crate::diagnostic::Diagnostic;
use crate::file::{DebianTable, ProjectTable, TagsTable, Text};
use crate::plan::{
    DEFAULT_EPOCH, DebianSource, Project, Sources, TagTemplate, TagTemplates, Version,
};
use crate::tags;

pub(super) fn project(table: &ProjectTable, found: &mut Vec<Diagnostic>) -> Project {
    if let Some(name) = &table.name
        && let Err(error) = name.value.parse::<RepositoryName>()
    {
        let finding = Diagnostic::error(
            "bad-name",
            &name.span,
            format!("`{}` cannot be the project's name: {error}", name.value),
            "not the name of a repository",
        );
        found.push(finding.with_hint("use a-z, 0-9, and `-`, `_`, `.` or `/` between them"));
    }
    if let Some(repository) = &table.repository {
        self::repository(repository, found);
    }
    if let Some(context) = &table.context {
        path("the context", &context.value, &context.span, found);
    }
    Project {
        name: text(&table.name).unwrap_or_default(),
        repository: text(&table.repository),
        version: version(table.version.as_ref(), found),
        context: text(&table.context).unwrap_or_else(|| ".".to_owned()),
        source_date_epoch: table.source_date_epoch.as_ref().map_or(DEFAULT_EPOCH, |e| e.value),
    }
}

fn repository(repository: &Text, found: &mut Vec<Diagnostic>) {
    let text = &repository.value;
    let bad = |reason: String, label: &str| {
        Diagnostic::error("bad-repository", &repository.span, reason, label)
    };
    let finding = match text.parse::<Reference>() {
        Err(error) => {
            let finding =
                bad(format!("`{text}` is not a repository: {error}"), "expected HOST/PATH");
            let lower = text.to_lowercase();
            if lower != *text && lower.parse::<Reference>().is_ok() {
                finding.with_hint(format!("repositories are lower case: `{lower}`"))
            } else {
                finding.with_hint("for example `ghcr.io/user/my-app`")
            }
        }
        Ok(reference) if reference.tag.is_some() || reference.digest.is_some() => {
            bad(format!("`{text}` names one image, not a repository"), "tag or digest not wanted")
                .with_hint("leave the tag out; tags come from `[tags]` and `[index.NAME]`")
        }
        Ok(reference) if reference.registry.is_none() => {
            bad(format!("`{text}` does not say which registry"), "expected HOST/PATH")
                .with_hint(format!("put the registry's host first: `ghcr.io/{text}`"))
        }
        Ok(_) => return,
    };
    found.push(finding);
}

fn version(version: Option<&Text>, found: &mut Vec<Diagnostic>) -> Version {
    match version {
        None => Version::None,
        Some(version) if version.value == "git" => Version::Git,
        Some(version) => {
            if version.value.parse::<Tag>().is_err() {
                let finding = Diagnostic::error(
                    "bad-version",
                    &version.span,
                    format!("the version `{}` cannot be part of a tag", version.value),
                    "expected `git` or a version such as `v1.0.0`",
                );
                let hint = "tags hold letters, digits, `_`, `.` and `-` only";
                found.push(finding.with_hint(hint));
            }
            Version::Literal(version.value.clone())
        }
    }
}

pub(super) fn sources(tables: &[DebianTable], found: &mut Vec<Diagnostic>) -> Sources {
    let mut debian: Vec<DebianSource> = Vec::new();
    for table in tables {
        for uri in [&table.uri, &table.security].into_iter().flatten() {
            self::uri(uri, found);
        }
        let Some(uri) = &table.uri else { continue };
        let source = DebianSource {
            uri: uri.value.trim_end_matches('/').to_owned(),
            suites: texts(&table.suites),
            components: texts(&table.components),
            signed_by: text(&table.signed_by),
            security: table.security.as_ref().map(|s| s.value.trim_end_matches('/').to_owned()),
            span: table.span.clone(),
        };
        if debian
            .iter()
            .any(|known| DebianSource { span: source.span.clone(), ..known.clone() } == source)
        {
            found.push(Diagnostic::warning(
                "duplicate-source",
                &source.span,
                format!("the archive `{}` is listed twice", source.uri),
                "listed before",
            ));
        }
        debian.push(source);
    }
    Sources { debian }
}

fn uri(uri: &Text, found: &mut Vec<Diagnostic>) {
    let known = ["http://", "https://", "file:///"];
    let text = uri.value.as_str();
    let rest = known.iter().find_map(|scheme| text.strip_prefix(scheme));
    if rest.is_some_and(|rest| !rest.is_empty()) && !text.contains(char::is_whitespace) {
        return;
    }
    let finding = Diagnostic::error(
        "bad-uri",
        &uri.span,
        format!("`{text}` is not the address of an archive"),
        "expected http://, https:// or file:///",
    );
    let guess = format!("http://{text}");
    found.push(if text.contains("://") || text.starts_with('/') || text.contains(' ') {
        finding.with_hint("for example `http://mirror.example/debian`")
    } else {
        finding.with_hint(format!("perhaps `{guess}`"))
    });
}

pub(super) fn tags(table: &TagsTable) -> TagTemplates {
    let defaults = tags::defaults();
    let templates = |written: &Option<Vec<Text>>, default: Vec<TagTemplate>| match written {
        Some(written) => written
            .iter()
            .map(|text| TagTemplate { source: text.value.clone(), span: Some(text.span.clone()) })
            .collect(),
        None => default,
    };
    TagTemplates {
        local: templates(&table.local, defaults.local),
        gathered: templates(&table.gathered, defaults.gathered),
        publish: templates(&table.publish, defaults.publish),
        publish_flavor: templates(&table.publish_flavor, defaults.publish_flavor),
        publish_tier: templates(&table.publish_tier, defaults.publish_tier),
        index: templates(&table.index, defaults.index),
    }
}

pub(super) fn text(text: &Option<Text>) -> Option<String> {
    text.as_ref().map(|text| text.value.clone())
}

pub(super) fn texts(texts: &[Text]) -> Vec<String> {
    texts.iter().map(|text| text.value.clone()).collect()
}
