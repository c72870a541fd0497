//! What two images differ in, as lines for people, without what is meant to differ.
//!
//! What is meant to differ everywhere is here and in `docs/compatibility.md`; what differs in one
//! case stands in the case.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::image::Image;
use crate::tree::{File, Tree};

/// The time that anyarch is told to build with; no file of an image is younger.
pub const EPOCH: u64 = 1_600_000_000;

/// Fields of a container's configuration that anyarch does not write: for Windows only.
const NOT_OURS: [&str; 1] = ["ArgsEscaped"];

/// Everything in which anyarch's image is not what it must be. Files of the context have one of
/// `context_times` with docker.
pub fn differences(docker: &Image, ours: &Image, context_times: &BTreeSet<u64>) -> Vec<String> {
    let mut lines = Vec::new();
    let mut compare = |what: &str, docker: &str, ours: &str| {
        if docker != ours {
            let shown =
                |text: &str| if text.is_empty() { "nothing".to_owned() } else { text.to_owned() };
            lines.push(format!("{what}: docker {}, anyarch {}", shown(docker), shown(ours)));
        }
    };
    let (theirs, mine) = (settings(&docker.config), settings(&ours.config));
    let keys: BTreeSet<&String> = theirs.iter().chain(&mine).map(|(key, _)| key).collect();
    for key in keys {
        let of = |all: &[(String, String)]| {
            all.iter()
                .find(|(own, _)| own == key)
                .map(|(_, value)| value.clone())
                .unwrap_or_default()
        };
        compare(key, &of(&theirs), &of(&mine));
    }
    let (theirs, mine) = (history(docker), history(ours));
    for at in 0..theirs.len().max(mine.len()) {
        let of = |all: &[String]| all.get(at).cloned().unwrap_or_default();
        compare(&format!("history {at}"), &of(&theirs), &of(&mine));
    }
    let paths: BTreeSet<&String> = docker.tree.paths().chain(ours.tree.paths()).collect();
    for path in paths {
        match (docker.tree.get(path), ours.tree.get(path)) {
            (Some(theirs), None) => compare(&format!("/{path}"), &line(theirs), ""),
            (None, Some(mine)) => compare(&format!("/{path}"), "", &line(mine)),
            (Some(theirs), Some(mine)) => {
                let fields = fields(&docker.tree, path, theirs).into_iter();
                let own = self::fields(&ours.tree, path, mine);
                for ((name, theirs), (_, mine)) in fields.zip(own) {
                    compare(&format!("/{path} {name}"), &theirs, &mine);
                }
                let time = match context_times.contains(&theirs.mtime) {
                    true => EPOCH,
                    false => theirs.mtime.min(EPOCH),
                };
                compare(&format!("/{path} mtime"), &time.to_string(), &mine.mtime.to_string());
            }
            (None, None) => {}
        }
    }
    lines
}

/// What an image has more than the base that it was built on, as lines.
pub fn additions(base: &Image, image: &Image) -> Vec<String> {
    let known = settings(&base.config);
    let mut lines: Vec<String> = settings(&image.config)
        .into_iter()
        .filter(|setting| !known.contains(setting))
        .map(|(key, value)| format!("{key}: {value}"))
        .collect();
    let before = history(base);
    lines.extend(
        history(image).into_iter().skip(before.len()).map(|entry| format!("history: {entry}")),
    );
    for path in base.tree.paths().filter(|path| image.tree.get(path).is_none()) {
        lines.push(format!("/{path}: gone"));
    }
    for path in image.tree.paths() {
        let file = image.tree.get(path).unwrap();
        let same = base.tree.get(path).is_some_and(|known| {
            fields(&base.tree, path, known) == fields(&image.tree, path, file)
        });
        if !same {
            let names = image.tree.names_of(path);
            let first = names.iter().find(|name| *name < &path.as_str());
            let also = first.map(|name| format!(" same as /{name}")).unwrap_or_default();
            lines.push(format!("/{path}: {}{also}", line(file)));
        }
    }
    lines
}

/// The settings of an image: all but its layers, their history and the time. What is empty is not
/// there.
fn settings(config: &Value) -> Vec<(String, String)> {
    let none = Map::new();
    let all = config.as_object().unwrap_or(&none).iter();
    let own = all.filter(|(key, _)| {
        !["config", "rootfs", "history", "created", "moby.buildkit.buildinfo.v1"]
            .contains(&key.as_str())
    });
    let container = config["config"].as_object().unwrap_or(&none).iter();
    let container = container.filter(|(key, _)| !NOT_OURS.contains(&key.as_str()));
    own.chain(container)
        .filter(|(_, value)| !is_empty(value))
        .map(|(key, value)| (key.clone(), value.to_string()))
        .collect()
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(values) => values.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Number(_) | Value::Bool(true) => false,
    }
}

/// The history, one line an entry: the instruction, whether it left anything, and for RUN what ran.
/// BuildKit writes the other instructions as it understood them, anyarch as they stand there; and it
/// keeps layers without anything in them.
fn history(image: &Image) -> Vec<String> {
    let none = Vec::new();
    let entries = image.config["history"].as_array().unwrap_or(&none);
    let mut layers = image.filled.iter();
    entries
        .iter()
        .map(|entry| {
            let text = entry["created_by"].as_str().unwrap_or_default();
            let empty = entry["empty_layer"] == true || layers.next() == Some(&false);
            let author = entry["author"].as_str().unwrap_or_default();
            let text = text.strip_suffix(" # buildkit").unwrap_or(text).replace('\n', "\\n");
            let keyword = text.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
            let text = if keyword == "RUN" { &text } else { &keyword };
            format!("{text}{}{author}", if empty { " (no layer)" } else { "" })
        })
        .collect()
}

/// What is compared of a file besides its time.
fn fields(tree: &Tree, path: &str, file: &File) -> Vec<(&'static str, String)> {
    let device = file.device.map(|(major, minor)| format!("{major}:{minor}"));
    vec![
        ("type", file.kind.to_owned()),
        ("mode", format!("{:04o}", file.mode)),
        ("owner", format!("{}:{}", file.owner.0, file.owner.1)),
        ("size", file.size.to_string()),
        ("content", file.content.clone()),
        ("target", file.target.clone()),
        ("device", device.unwrap_or_default()),
        ("names", tree.names_of(path).join(" ")),
        ("attributes", attributes(file)),
    ]
}

/// A file in one line.
fn line(file: &File) -> String {
    let mut text = format!("{} {:04o} {}:{}", file.kind, file.mode, file.owner.0, file.owner.1);
    match file.kind {
        "file" => text.push_str(&format!(" {}", file.content)),
        "link" => text.push_str(&format!(" -> {}", file.target)),
        _ => {}
    }
    if let Some((major, minor)) = file.device {
        text.push_str(&format!(" {major}:{minor}"));
    }
    match attributes(file) {
        attributes if attributes.is_empty() => text,
        attributes => format!("{text} {attributes}"),
    }
}

/// The extended attributes of a file.
fn attributes(file: &File) -> String {
    let shown = file.xattrs.iter().map(|(name, value)| format!("{name}={value}"));
    shown.collect::<Vec<_>>().join(" ")
}
