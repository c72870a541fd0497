//! `install-after-copy`: a directory is copied in before packages are installed, so that every
//! edit installs them again.

use std::ops::Range;

use super::{Facts, Found};
use crate::ast::{Command, Instruction, Kind, Stage};
use crate::diagnostic::Diagnostic;
use crate::run::Run;
use crate::span::Word;

/// A directory of the build context that was copied.
struct Copied {
    source: String,
    destination: String,
    span: Range<usize>,
}

pub(super) fn check(stage: &Stage, facts: &Facts<'_>, found: &mut Found<'_>) {
    let mut copied: Vec<Copied> = Vec::new();
    for instruction in &stage.instructions {
        match &instruction.kind {
            Kind::Copy(copy) if copy.from.is_none() => {
                copied.extend(directories(&copy.sources, &copy.destination, facts));
            }
            Kind::Add(add) => copied.extend(directories(&add.sources, &add.destination, facts)),
            Kind::Run(run) => {
                let Some((what, words)) = installs(run) else { continue };
                // One finding for each directory is enough.
                for copy in std::mem::take(&mut copied) {
                    if !takes(&words, &copy) {
                        report(&copy, &what, instruction, found);
                    }
                }
            }
            _ => {}
        }
    }
}

fn report(copy: &Copied, what: &str, run: &Instruction, found: &mut Found<'_>) {
    let line = run.span.lines.start();
    let message = format!("every change in `{}` runs `{what}` (line {line}) again", copy.source);
    found.report(
        Diagnostic::warning("install-after-copy", copy.span.clone(), message)
            .label("copied before packages are installed")
            .hint("copy the list that it reads, if there is one, and put the rest of the directory below"),
    );
}

fn directories(sources: &[Word], destination: &Word, facts: &Facts<'_>) -> Vec<Copied> {
    let whole = |source: &str| {
        source == "."
            || source.ends_with('/')
            || source.ends_with("/.")
            || source.ends_with('*')
            || (!source.contains('$') && (facts.is_dir)(source))
    };
    let sources = sources.iter().filter(|source| !source.contains("://") && whole(source));
    sources
        .map(|source| Copied {
            source: source.text.clone(),
            destination: destination.text.clone(),
            span: source.span.clone(),
        })
        .collect()
}

/// Whether the command takes the whole directory: it names it, and not only a file in it.
fn takes(words: &[String], copy: &Copied) -> bool {
    let directory = copy.destination.trim_end_matches('/');
    !directory.is_empty()
        && words.iter().any(|word| {
            let word = word.trim_matches(['"', '\'', ';']);
            let word = word.rsplit('=').next().unwrap_or(word);
            let word = word.trim_end_matches('*').trim_end_matches('/');
            word == directory
        })
}

/// The commands of a step, each as its words.
fn commands(run: &Run) -> Vec<Vec<String>> {
    let text = match &run.command {
        Command::Shell(text) => {
            let bodies = run.heredocs.iter().map(|heredoc| heredoc.content.as_str());
            std::iter::once(text.as_str()).chain(bodies).collect::<Vec<_>>().join("\n")
        }
        Command::Exec(argv) => argv.join(" "),
    };
    text.split(['\n', ';', '&', '|'])
        .map(|command| command.split_whitespace().map(str::to_owned).collect())
        .collect()
}

/// The command of the step that installs packages from elsewhere: for people, and its words.
fn installs(run: &Run) -> Option<(String, Vec<String>)> {
    commands(run).into_iter().find_map(|command| {
        let words: Vec<&str> = command.iter().map(String::as_str).collect();
        let what = (0..words.len()).find_map(|at| installer(&words[at..]))?;
        Some((what, command))
    })
}

/// Programs that install, with the words that make them do it.
const INSTALLERS: &[(&str, &[&str])] = &[
    ("apk", &["add"]),
    ("apt", &["install"]),
    ("apt-get", &["install"]),
    ("bundle", &["install"]),
    ("cargo", &["fetch"]),
    ("composer", &["install"]),
    ("conda", &["install", "create"]),
    ("dnf", &["install"]),
    ("gem", &["install"]),
    ("mamba", &["install", "create"]),
    ("microdnf", &["install"]),
    ("npm", &["ci", "install"]),
    ("pip", &["install"]),
    ("pip3", &["install"]),
    ("pnpm", &["install"]),
    ("poetry", &["install"]),
    ("yarn", &["install"]),
    ("yum", &["install"]),
    ("zypper", &["install"]),
];

fn installer(words: &[&str]) -> Option<String> {
    let (program, rest) = words.split_first()?;
    let program = program.rsplit('/').next().unwrap_or(program);
    let (name, verbs) = INSTALLERS.iter().find(|(name, _)| *name == program)?;
    let (verb, arguments) = rest
        .iter()
        .position(|word| verbs.contains(word))
        .and_then(|at| Some((rest.get(at)?, rest.get(at + 1..)?)))?;
    // What is installed from the tree itself needs the tree.
    let local = |word: &&str| {
        let word = word.trim_matches(['"', '\'']);
        matches!(word, "." | "-e" | "--editable")
            || word.starts_with("./")
            || word.starts_with(".[")
    };
    let is_package = |word: &&str| {
        [".deb", ".rpm", ".whl", ".apk"].iter().any(|suffix| word.ends_with(suffix))
            && word.contains('/')
    };
    let from_tree = arguments.iter().any(local) && !arguments.contains(&"-r");
    let own = from_tree || arguments.iter().any(is_package);
    (!own).then(|| format!("{name} {verb}"))
}

#[cfg(test)]
mod tests {
    use super::installer;

    fn installs(command: &str) -> Option<String> {
        let words: Vec<&str> = command.split_whitespace().collect();
        (0..words.len()).find_map(|at| installer(&words[at..]))
    }

    #[test]
    fn commands_that_install() {
        for (command, name) in [
            ("pip install -r requirements.txt", "pip install"),
            ("python3 -m pip install --no-deps a", "pip install"),
            ("/venv/bin/pip install a", "pip install"),
            ("npm ci --omit=dev", "npm ci"),
            ("DEBIAN_FRONTEND=x apt-get -y install git", "apt-get install"),
            ("uv pip install a", "pip install"),
        ] {
            assert_eq!(installs(command).as_deref(), Some(name), "{command}");
        }
    }

    #[test]
    fn commands_that_do_not() {
        for command in [
            "pip install .",
            "pip install -e .[dev]",
            "apt-get update",
            "apt-get install -y ./app.deb",
            "pip wheel x",
            "echo pip",
            "make install",
        ] {
            assert_eq!(installs(command), None, "{command}");
        }
    }
}
