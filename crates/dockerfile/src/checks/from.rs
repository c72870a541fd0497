//! What FROM says: `UndefinedArgInFrom`, `RedundantTargetPlatform`,
//! `FromPlatformFlagConstDisallowed`, `InvalidDefaultArgInFrom`.

use super::Found;
use super::reference::is_reference;
use super::scope::{Expansion, Scope, Value};
use crate::ast::Stage;
use crate::diagnostic::Diagnostic;
use crate::lexer::Lexer;
use crate::span::Word;

/// Arguments that are always set (Dockerfile reference, "Automatic platform ARGs").
pub(super) const PLATFORM_ARGS: &[&str] = &[
    "TARGETPLATFORM",
    "TARGETOS",
    "TARGETARCH",
    "TARGETVARIANT",
    "TARGETOSVERSION",
    "TARGETSTAGE",
    "BUILDPLATFORM",
    "BUILDOS",
    "BUILDARCH",
    "BUILDVARIANT",
    "BUILDOSVERSION",
];

/// Names of systems and architectures that `--platform` may hold, as far as they are common.
const SYSTEMS: &[&str] = &["linux", "windows", "darwin", "freebsd", "wasi"];
const ARCHITECTURES: &[(&str, &str)] = &[
    ("386", "386"),
    ("aarch64", "arm64"),
    ("amd64", "amd64"),
    ("arm", "arm"),
    ("arm64", "arm64"),
    ("armhf", "arm"),
    ("i386", "386"),
    ("loong64", "loong64"),
    ("mips64le", "mips64le"),
    ("ppc64le", "ppc64le"),
    ("riscv64", "riscv64"),
    ("s390x", "s390x"),
    ("wasm", "wasm"),
    ("x86-64", "amd64"),
    ("x86_64", "amd64"),
];

/// Looks at a FROM line; gives the expanded name of its base.
pub(super) fn check(
    stage: &Stage,
    globals: &Scope,
    defaults: &Scope,
    lexer: &Lexer,
    found: &mut Found<'_>,
) -> Expansion {
    let base = globals.expand(lexer, &stage.base);
    undeclared(&base, stage, found);
    if let Some(platform) = &stage.platform {
        undeclared(&globals.expand(lexer, platform), stage, found);
        redundant(platform, lexer, found);
        fixed(platform, stage, lexer, found);
    }
    without_arguments(stage, defaults, lexer, found);
    base
}

fn undeclared(word: &Expansion, stage: &Stage, found: &mut Found<'_>) {
    for (name, near) in &word.undefined {
        let place = variable_place(name, &stage.span.bytes, found);
        let message = format!("FROM uses `{name}`, which no ARG above declares");
        let finding = Diagnostic::warning("UndefinedArgInFrom", place, message);
        found.report(match near {
            Some(near) => finding.label(format!("did you mean `{near}`?")),
            None => finding
                .label("empty, whatever --build-arg says")
                .hint(format!("put `ARG {name}` before the first FROM")),
        });
    }
}

/// Where a variable is used in a part of the file.
pub(super) fn variable_place(
    name: &str,
    within: &std::ops::Range<usize>,
    found: &Found<'_>,
) -> std::ops::Range<usize> {
    let part = found.text.get(within.clone()).unwrap_or_default();
    let continues = |rest: &str| rest.starts_with(|c: char| c.is_alphanumeric() || c == '_');
    for opening in [format!("${{{name}"), format!("${name}")] {
        for (at, _) in part.match_indices(&opening) {
            let end = at + opening.len();
            if !continues(&part[end..]) {
                let braced = opening.starts_with("${") && part[end..].starts_with('}');
                return within.start + at..within.start + end + usize::from(braced);
            }
        }
    }
    found.keyword(within)
}

fn redundant(platform: &Word, lexer: &Lexer, found: &mut Found<'_>) {
    let mut scope = Scope::default();
    scope.args.insert("TARGETPLATFORM".to_owned(), Value::Text("\u{1}".to_owned()));
    let word = scope.expand(lexer, platform);
    if word.text.as_deref() == Some("\u{1}") && word.asked.len() == 1 {
        let message = format!("`--platform={platform}` is what FROM does without it");
        found.warn("RedundantTargetPlatform", platform.span.clone(), message, "leave it out");
    }
}

fn fixed(platform: &Word, stage: &Stage, lexer: &Lexer, found: &mut Found<'_>) {
    let word = Scope::default().expand(lexer, platform);
    let Some((system, architecture)) =
        word.text.as_deref().filter(|_| word.asked.is_empty()).and_then(system_and_architecture)
    else {
        return;
    };
    let name = stage.name.as_deref().unwrap_or_default();
    if name.contains(&system) || name.contains(&architecture) {
        return;
    }
    let message = format!("the platform of this stage is always {platform}");
    found.report(
        Diagnostic::warning("FromPlatformFlagConstDisallowed", platform.span.clone(), message)
            .label("whatever platform is built")
            .hint(format!(
                "leave it out, use a variable, or put `{architecture}` in the name of the stage"
            )),
    );
}

/// Reads `linux/amd64`, `linux`, `amd64`; `None` for what is no platform, which fails elsewhere.
fn system_and_architecture(platform: &str) -> Option<(String, String)> {
    let lower = platform.to_lowercase();
    let parts: Vec<&str> = lower.split('/').collect();
    let known = |name: &str| {
        ARCHITECTURES.iter().find(|(alias, _)| *alias == name).map(|(_, name)| (*name).to_owned())
    };
    match parts.as_slice() {
        // The architecture is that of the machine, which is not known here.
        [only] if SYSTEMS.contains(only) => Some(((*only).to_owned(), (*only).to_owned())),
        [only] => Some(("linux".to_owned(), known(only)?)),
        [system, architecture] | [system, architecture, _] if !system.is_empty() => {
            let name = known(architecture).unwrap_or_else(|| (*architecture).to_owned());
            (!name.is_empty()).then(|| ((*system).to_owned(), name))
        }
        _ => None,
    }
}

fn without_arguments(stage: &Stage, defaults: &Scope, lexer: &Lexer, found: &mut Found<'_>) {
    let word = defaults.expand(lexer, &stage.base);
    // A name without variables is the registry's to judge, and one with a platform in it is known
    // only when something is built.
    let Some(text) = word.text.filter(|_| !word.asked.is_empty()) else { return };
    if is_reference(&text) {
        return;
    }
    let name = word.asked.iter().next().map_or("", String::as_str);
    let message = format!("without --build-arg, FROM names no image: `{}`", stage.base);
    let label = match text.as_str() {
        "" => "empty".to_owned(),
        text => format!("`{text}` is no name"),
    };
    found.report(
        Diagnostic::warning("InvalidDefaultArgInFrom", stage.base_span.clone(), message)
            .label(label)
            .hint(format!("give it a default: `ARG {name}=...` before the first FROM")),
    );
}
