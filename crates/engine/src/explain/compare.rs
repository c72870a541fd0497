//! What is other about a step than in the last build.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::reason::Reason;
use crate::cache::{KeyParts, Layout};
use crate::context::Files;

/// A step as it is now.
pub(super) struct Now<'a> {
    pub(super) name: &'a str,
    pub(super) parts: &'a KeyParts,
    pub(super) files: &'a Files,
    /// Whether what it is done to is known yet.
    pub(super) knows_parent: bool,
    /// Whether all that it takes in is known yet.
    pub(super) knows_input: bool,
}

/// Everything that differs; `name` and `files` are those of the last build.
pub(super) fn reasons(
    name: &str,
    was: &KeyParts,
    files: Option<&Files>,
    now: &Now<'_>,
) -> Vec<Reason> {
    let mut reasons = operation(name, &was.op, now);
    if was.platform != now.parts.platform {
        reasons.push(setting("the platform", &was.platform, &now.parts.platform));
    }
    if was.input != now.parts.input {
        let listed = files.and_then(|files| difference(files, now.files));
        match listed {
            Some((changed, added, removed)) => {
                reasons.push(Reason::Files { changed, added, removed });
            }
            None if now.knows_input => reasons.push(Reason::Taken),
            None => {}
        }
    }
    reasons.extend(layout(&was.layout, &now.parts.layout));
    if now.knows_parent && was.parent != now.parts.parent {
        reasons.push(Reason::Parent);
    }
    reasons
}

fn setting(what: &str, was: &str, now: &str) -> Reason {
    Reason::Setting { what: what.to_owned(), was: was.to_owned(), now: now.to_owned() }
}

/// What is other about the operation.
fn operation(name: &str, was: &Value, now: &Now<'_>) -> Vec<Reason> {
    let empty = Map::new();
    let fields = |value: &Value| value.as_object().cloned().unwrap_or_else(|| empty.clone());
    let (was, new) = (fields(was), fields(&now.parts.op));
    let mut reasons = Vec::new();
    let reads_otherwise = name != now.name && !now.name.starts_with("base ");
    if reads_otherwise {
        reasons.push(Reason::Instruction { was: name.to_owned() });
    }
    let names: BTreeSet<&String> = was.keys().chain(new.keys()).collect();
    for field in names {
        let (old, value) = (was.get(field), new.get(field));
        if old == value {
            continue;
        }
        match field.as_str() {
            "env" => reasons.extend(variables(&texts(old), &texts(value))),
            "packages" => reasons.extend(packages(old, value)),
            // The text says it already.
            _ if reads_otherwise => {}
            field => reasons.push(setting(&meaning(field), &shown(old), &shown(value))),
        }
    }
    reasons
}

/// What a field of an operation is called for people.
fn meaning(field: &str) -> String {
    match field {
        "argv" => "the command".to_owned(),
        "cwd" => "the working directory".to_owned(),
        "isolated" => "being without network".to_owned(),
        "scripts" | "inline" => "the heredoc".to_owned(),
        "procedure" => "the way in which bases are made".to_owned(),
        "chown" | "chmod" | "link" | "parents" | "exclude" | "unpack" => format!("--{field}"),
        "remote" => "the URL".to_owned(),
        other => format!("the {other}"),
    }
}

fn shown(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(items)) => {
            items.iter().map(|item| shown(Some(item))).collect::<Vec<_>>().join(" ")
        }
        Some(other) => other.to_string(),
    }
}

fn texts(value: Option<&Value>) -> BTreeMap<String, String> {
    let fields = value.and_then(Value::as_object).into_iter().flatten();
    fields.map(|(name, value)| (name.clone(), shown(Some(value)))).collect()
}

fn variables(was: &BTreeMap<String, String>, now: &BTreeMap<String, String>) -> Vec<Reason> {
    let names: BTreeSet<&String> = was.keys().chain(now.keys()).collect();
    let differing = names.into_iter().filter(|name| was.get(*name) != now.get(*name));
    differing
        .map(|name| Reason::Variable {
            name: name.clone(),
            was: was.get(name).cloned(),
            now: now.get(name).cloned(),
        })
        .collect()
}

/// Names in both with another value, in the new one only, in the old one only; `None` where there is
/// no difference.
fn difference(
    was: &BTreeMap<String, String>,
    now: &BTreeMap<String, String>,
) -> Option<(Vec<String>, Vec<String>, Vec<String>)> {
    let missing = |from: &BTreeMap<String, String>, of: &BTreeMap<String, String>| {
        of.keys().filter(|name| !from.contains_key(*name)).cloned().collect::<Vec<_>>()
    };
    let other = |(name, digest): &(&String, &String)| was.get(*name).is_some_and(|d| d != *digest);
    let changed: Vec<String> = now.iter().filter(other).map(|(name, _)| name.clone()).collect();
    let (added, removed) = (missing(was, now), missing(now, was));
    let same = changed.is_empty() && added.is_empty() && removed.is_empty();
    (!same).then_some((changed, added, removed))
}

/// Packages are written as `NAME=VERSION DIGEST`.
fn packages(was: Option<&Value>, now: Option<&Value>) -> Option<Reason> {
    let versions = |value: Option<&Value>| -> BTreeMap<String, String> {
        let items = value.and_then(Value::as_array).into_iter().flatten();
        let texts = items.filter_map(Value::as_str);
        texts
            .filter_map(|text| text.split_once('='))
            .map(|(name, version)| (name.to_owned(), version.to_owned()))
            .collect()
    };
    let (was, now) = (versions(was), versions(now));
    let version = |of: &BTreeMap<String, String>, name: &str| {
        let text = of.get(name).map_or("", String::as_str);
        text.split(' ').next().unwrap_or_default().to_owned()
    };
    let (changed, added, removed) = difference(&was, &now)?;
    let both = |name: String| {
        let (old, new) = (version(&was, &name), version(&now, &name));
        match old == new {
            true => format!("{name} {new} with other content"),
            false => format!("{name} {new}, was {old}"),
        }
    };
    let one = |of: &BTreeMap<String, String>, names: Vec<String>| -> Vec<String> {
        names.iter().map(|name| format!("{name} {}", version(of, name))).collect()
    };
    Some(Reason::Packages {
        changed: changed.into_iter().map(both).collect(),
        added: one(&now, added),
        removed: one(&was, removed),
    })
}

fn layout(was: &Layout, now: &Layout) -> Vec<Reason> {
    let mut reasons = Vec::new();
    if was.epoch != now.epoch {
        reasons.push(setting("source-date-epoch", &was.epoch.to_string(), &now.epoch.to_string()));
    }
    if was.compression != now.compression {
        reasons.push(setting("the compression", &was.compression, &now.compression));
    }
    if was.root_owns_all != now.root_owns_all {
        let whose = |all: bool| if all { "root" } else { "whoever they belong to" };
        reasons.push(setting(
            "whose files are",
            whose(was.root_owns_all),
            whose(now.root_owns_all),
        ));
    }
    reasons
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parts(op: Value, input: Option<&str>, parent: &str) -> KeyParts {
        KeyParts {
            op,
            input: input.map(str::to_owned),
            platform: "linux/amd64".to_owned(),
            parent: Some(parent.to_owned()),
            layout: Layout { epoch: 0, compression: "gzip".to_owned(), root_owns_all: false },
        }
    }

    fn said(was: &KeyParts, now: &KeyParts) -> Vec<String> {
        let files = Files::new();
        let now =
            Now { name: "RUN x", parts: now, files: &files, knows_parent: true, knows_input: true };
        reasons("RUN x", was, None, &now).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn equal_steps_have_no_reason() {
        let step = parts(json!({"op": "exec", "argv": ["a"]}), None, "p");
        assert_eq!(said(&step, &step), Vec::<String>::new());
    }

    #[test]
    fn each_part_has_its_own_reason() {
        let was = json!({"op": "exec", "user": "", "env": {"A": "1", "B": "2", "D": "4"}});
        let now = json!({"op": "exec", "user": "app", "env": {"A": "1", "B": "3", "C": "4"}});
        let mut new = parts(now, None, "q");
        new.layout.epoch = 7;
        assert_eq!(
            said(&parts(was, None, "p"), &new),
            [
                "B changed from `2` to `3`",
                "C is set now, to `4`",
                "D is no longer set; it was `4`",
                "the user changed from `` to `app`",
                "source-date-epoch changed from `0` to `7`",
                "what it is done to is other than it was",
            ]
        );
    }

    #[test]
    fn packages_are_compared_by_version() {
        let op = |list: &[&str]| json!({"op": "debian", "packages": list});
        let was = parts(op(&["a=1 sha256:x", "b=1 sha256:y", "c=1 sha256:z"]), None, "p");
        let now = parts(op(&["a=2 sha256:w", "b=1 sha256:q", "d=5 sha256:z"]), None, "p");
        let list = "other versions: a 2, was 1, b 1 with other content; new packages: d 5; \
                    no longer: c 1";
        assert_eq!(said(&was, &now), [list]);
    }

    #[test]
    fn files_are_named_where_they_were_kept() {
        let list = |files: &[(&str, &str)]| -> Files {
            files.iter().map(|(path, digest)| ((*path).into(), (*digest).into())).collect()
        };
        let (was, now) = (list(&[("a", "1"), ("b", "1")]), list(&[("a", "2"), ("c", "1")]));
        let op = json!({"op": "copy"});
        let (before, after) = (parts(op.clone(), Some("i"), "p"), parts(op, Some("j"), "p"));
        let now = Now {
            name: "COPY . .",
            parts: &after,
            files: &now,
            knows_parent: true,
            knows_input: true,
        };
        let said = |files| reasons("COPY . .", &before, files, &now)[0].to_string();
        assert_eq!(said(Some(&was)), "changed: a; new: c; removed: b");
        assert_eq!(said(None), "what it takes from another stage or image changed");
    }
}
