//! `anyarch init`: writes a plan for the Dockerfiles of a repository.

use std::fs;
use std::io::Write;
use std::path::Path;

use anyarch_plan::init::{self, Found};

use crate::failure::Failure;
use crate::files;
use crate::global::Global;
use crate::output;
use crate::text;

/// Folders that are not searched.
const SKIPPED: [&str; 5] = ["node_modules", "target", "vendor", "__pycache__", "venv"];
/// How deep folders are searched.
const DEPTH: usize = 6;

/// Write a plan for the Dockerfiles of this folder
///
/// What it had to guess stands as a comment in the plan. An existing plan is never overwritten.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print the plan instead of writing it
    #[arg(long)]
    stdout: bool,
}

/// Carries it out.
pub(crate) fn run(args: &Args, global: &Global) -> Result<(), Failure> {
    let name = files::shown(&global.plan);
    if !args.stdout && global.plan.symlink_metadata().is_ok() {
        return Err(Failure::usage(format!("{name} exists already"))
            .hint("`anyarch init --stdout` prints the plan that would be written".to_owned()));
    }
    let folder = global.plan_directory();
    let mut dockerfiles = Vec::new();
    search(&folder, &folder, &mut dockerfiles)?;
    dockerfiles.sort();
    if dockerfiles.is_empty() {
        let folder = folder.canonicalize().unwrap_or(folder);
        return Err(Failure::usage(format!("found no Dockerfile in {}", folder.display())).hint(
            "files named Dockerfile, Dockerfile.NAME, NAME.Dockerfile or Containerfile count"
                .to_owned(),
        ));
    }
    let count = text::count(dockerfiles.len(), "Dockerfile");
    let plan = init::plan_text(&Found {
        dockerfiles,
        repository_name: repository_name(&folder),
        repository: None,
    });
    if args.stdout {
        return output::print(&plan);
    }
    let failed = |error| Failure::failed(format!("failed to write {name}")).because(&error);
    let mut file = fs::File::create_new(&global.plan).map_err(failed)?;
    file.write_all(plan.as_bytes()).map_err(failed)?;
    output::say(&format!(
        "wrote {name} for {count}; `anyarch plan` shows what comes of it, `anyarch build` builds it\n"
    ));
    Ok(())
}

/// Collects the Dockerfiles below a folder, as paths relative to `root`, with their texts.
pub(super) fn search(
    root: &Path,
    folder: &Path,
    found: &mut Vec<(String, String)>,
) -> Result<(), Failure> {
    search_below(root, folder, 0, found)
}

fn search_below(
    root: &Path,
    folder: &Path,
    depth: usize,
    found: &mut Vec<(String, String)>,
) -> Result<(), Failure> {
    let failed = |error: &std::io::Error| {
        Failure::failed(format!("failed to search {}", folder.display())).because(error)
    };
    for entry in fs::read_dir(folder).map_err(|error| failed(&error))? {
        let entry = entry.map_err(|error| failed(&error))?;
        let kind = entry.file_type().map_err(|error| failed(&error))?;
        let file_name = entry.file_name();
        // A path that is not text cannot be written in a plan.
        let Some(name) = file_name.to_str() else { continue };
        let path = entry.path();
        if kind.is_dir() {
            let skipped = name.starts_with('.') || SKIPPED.contains(&name);
            if !skipped && depth < DEPTH {
                search_below(root, &path, depth + 1, found)?;
            }
        } else if is_dockerfile(name) && path.is_file() {
            let relative = path.strip_prefix(root).unwrap_or(&path);
            if let Some(relative) = relative.to_str() {
                found.push((relative.to_owned(), files::read(&path)?.text));
            }
        }
    }
    Ok(())
}

fn is_dockerfile(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    if lower.ends_with(".dockerignore") {
        return false;
    }
    let of = |word: &str| {
        lower == word
            || lower.starts_with(&format!("{word}."))
            || lower.ends_with(&format!(".{word}"))
    };
    of("dockerfile") || of("containerfile")
}

/// The folder's name as a repository name.
fn repository_name(folder: &Path) -> String {
    let absolute = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let name = absolute.file_name().map(|name| name.to_string_lossy().to_lowercase());
    let mut clean = String::new();
    for c in name.unwrap_or_default().chars() {
        if c.is_ascii_alphanumeric() {
            clean.push(c);
        } else if !clean.is_empty() && !clean.ends_with('-') {
            clean.push('-');
        }
    }
    match clean.trim_end_matches('-') {
        "" => "app".to_owned(),
        name => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_dockerfiles() {
        for name in
            ["Dockerfile", "Dockerfile.base", "api.Dockerfile", "Containerfile", "dockerfile"]
        {
            assert!(is_dockerfile(name), "{name}");
        }
        for name in
            ["Dockerfile.dockerignore", "my-dockerfile-notes.md", ".dockerignore", "Makefile"]
        {
            assert!(!is_dockerfile(name), "{name}");
        }
    }

    #[test]
    fn a_folder_gives_a_repository_name() {
        let name = |folder: &str| repository_name(Path::new(folder));
        assert_eq!(name("/nonexistent/My App (2)"), "my-app-2");
        assert_eq!(name("/"), "app");
    }
}
