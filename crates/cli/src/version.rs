//! The version of a publication: given, written in the plan, or the tag on the commit.
//!
//! Also the guard that a versioned publication comes from a clean tree. Asks `git`; without it, or
//! outside of a repository, there is no version and nothing to guard.

use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;

use anyarch_plan::Version;

use crate::failure::Failure;

/// How many dirty files a message names.
const NAMED: usize = 5;

/// The version to publish as; `None` for a publication without one.
///
/// # Errors
/// Where git is there and cannot tell.
pub(crate) fn find(
    given: Option<&str>,
    planned: &Version,
    folder: &Path,
) -> Result<Option<String>, Failure> {
    Ok(match (given, planned) {
        (Some(given), _) => Some(given.to_owned()),
        (None, Version::Literal(literal)) => Some(literal.clone()),
        (None, Version::None) => None,
        (None, Version::Git) => {
            let tags = ["tag", "--points-at", "HEAD", "--sort=-v:refname", "v[0-9]*"];
            git(folder, &tags)?.and_then(|tags| tags.lines().next().map(str::to_owned))
        }
    })
}

/// Refuses a tree with changes that are not committed; staged and untracked files count.
pub(crate) fn demand_clean(version: &str, folder: &Path) -> Result<(), Failure> {
    let Some(status) = git(folder, &["status", "--porcelain", "--untracked-files=all", "."])?
    else {
        return Ok(());
    };
    let changed: Vec<&str> = status.lines().collect();
    if changed.is_empty() {
        return Ok(());
    }
    let mut details = String::new();
    for line in changed.iter().take(NAMED) {
        details.push_str(&format!("    {line}\n"));
    }
    if changed.len() > NAMED {
        details.push_str(&format!("    … and {} more\n", changed.len() - NAMED));
    }
    Err(Failure::refused(format!(
        "version {version} is not published from a tree with uncommitted changes"
    ))
    .details(&details)
    .hint("commit or remove them, so that the version says what is in the images".to_owned()))
}

/// What git says; `None` without git, outside of a repository, or before the first commit.
fn git(folder: &Path, args: &[&str]) -> Result<Option<String>, Failure> {
    let command = || format!("failed to ask `git {}`", args.join(" "));
    let output =
        match Command::new("git").arg("-C").arg(folder).args(args).env("LC_ALL", "C").output() {
            Ok(output) => output,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Failure::failed(command()).because(&error)),
        };
    if output.status.success() {
        return Ok(Some(String::from_utf8_lossy(&output.stdout).into_owned()));
    }
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    let none = ["not a git repository", "malformed object name", "no commits yet"];
    if none.iter().any(|sign| complaint.contains(sign)) {
        return Ok(None);
    }
    let complaint = std::io::Error::other(complaint.trim().to_owned());
    Err(Failure::failed(command())
        .because(&complaint)
        .hint("`version` in [project] or --version says the version without git".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repository() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        run(folder.path(), &["init", "-q"]);
        folder
    }

    fn run(folder: &Path, args: &[&str]) {
        let identity = ["-c", "user.name=t", "-c", "user.email=t@mirror.example"];
        let status =
            Command::new("git").arg("-C").arg(folder).args(identity).args(args).status().unwrap();
        assert!(status.success(), "git {args:?}");
    }

    fn of(folder: &Path) -> Option<String> {
        find(None, &Version::Git, folder).unwrap()
    }

    #[test]
    fn the_highest_tag_on_the_commit_counts() {
        let folder = repository();
        assert_eq!(of(folder.path()), None);
        run(folder.path(), &["commit", "-q", "--allow-empty", "-m", "first"]);
        assert_eq!(of(folder.path()), None);
        for tag in ["v1.9.0", "v1.10.0", "vendor"] {
            run(folder.path(), &["tag", tag]);
        }
        assert_eq!(of(folder.path()).as_deref(), Some("v1.10.0"));
        run(folder.path(), &["commit", "-q", "--allow-empty", "-m", "second"]);
        assert_eq!(of(folder.path()), None);
    }

    #[test]
    fn what_is_given_goes_before_what_is_planned() {
        let folder = tempfile::tempdir().unwrap();
        let literal = Version::Literal("v1".to_owned());
        assert_eq!(find(Some("v2"), &literal, folder.path()).unwrap().as_deref(), Some("v2"));
        assert_eq!(find(None, &literal, folder.path()).unwrap().as_deref(), Some("v1"));
        assert_eq!(find(None, &Version::None, folder.path()).unwrap(), None);
        assert_eq!(of(folder.path()), None, "outside of a repository there is no version");
    }

    #[test]
    fn a_dirty_tree_is_refused_with_its_files() {
        let folder = repository();
        run(folder.path(), &["commit", "-q", "--allow-empty", "-m", "first"]);
        demand_clean("v1", folder.path()).unwrap();
        std::fs::write(folder.path().join("new.txt"), "").unwrap();
        let refused = demand_clean("v1", folder.path()).unwrap_err();
        assert_eq!(refused.exit(), crate::exit::Exit::Refused);
        assert!(refused.render().contains("?? new.txt"), "{}", refused.render());
    }
}
