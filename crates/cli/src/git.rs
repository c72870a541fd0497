//! Git repositories through the `git` program of this machine, with its configuration: credentials,
//! proxies and known hosts are those that the person has for it.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Stdio};

use anyarch_engine::{Git, GitError};

/// The `git` program.
pub(crate) struct GitProgram;

/// What no repository may change: hooks and protocols that run programs, line ends, file names.
const SETTINGS: [&str; 5] = [
    "core.hooksPath=/dev/null",
    "core.autocrlf=false",
    "core.symlinks=true",
    "protocol.ext.allow=never",
    "advice.detachedHead=false",
];

/// Runs `git` and gives its output.
fn git<S: AsRef<OsStr>>(folder: Option<&Path>, args: &[S]) -> Result<String, GitError> {
    let mut command = Command::new("git");
    if let Some(folder) = folder {
        command.current_dir(folder);
    }
    for setting in SETTINGS {
        command.args(["-c", setting]);
    }
    // A question would wait for ever; a repository around the folder is none of ours.
    command.env("GIT_TERMINAL_PROMPT", "0").env_remove("GIT_DIR").env_remove("GIT_WORK_TREE");
    command.args(args).stdin(Stdio::null());
    let output = command.output().map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => GitError::from(
            "the program `git` is needed to read repositories, and it is not on this machine",
        ),
        _ => format!("failed to run git: {error}").into(),
    })?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(if said.is_empty() { format!("git: {}", output.status) } else { said }.into());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether a name is that of a commit: 40 hexadecimal digits, or 64 with SHA-256.
fn is_commit(name: &str) -> bool {
    matches!(name.len(), 40 | 64) && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

impl Git for GitProgram {
    fn commit(&self, url: &str, name: Option<&str>) -> Result<String, GitError> {
        if let Some(commit) = name.filter(|name| is_commit(name)) {
            return Ok(commit.to_ascii_lowercase());
        }
        let name = name.unwrap_or("HEAD");
        let peeled = format!("{name}^{{}}");
        let listed = git(None, &["ls-remote", "--", url, name, &peeled])?;
        let refs: Vec<(&str, &str)> =
            listed.lines().filter_map(|line| line.split_once('\t')).collect();
        // As git itself takes a name: the exact one, a tag, a branch; of a tag, what it points to.
        let wanted = [name.to_owned(), format!("refs/tags/{name}"), format!("refs/heads/{name}")];
        let find = |wanted: &str| refs.iter().find(|(_, known)| *known == wanted);
        let found = wanted
            .iter()
            .find_map(|wanted| find(&format!("{wanted}^{{}}")).or_else(|| find(wanted)));
        found
            .map(|(commit, _)| (*commit).to_owned())
            .ok_or_else(|| format!("it has no branch or tag `{name}`").into())
    }

    fn checkout(
        &self,
        url: &str,
        name: Option<&str>,
        commit: &str,
        keep: bool,
        folder: &Path,
    ) -> Result<(), GitError> {
        let at = Some(folder);
        git(at, &["init", "--quiet", "--template="])?;
        git(at, &["remote", "add", "--", "origin", url])?;
        let fetch = |what: &str| {
            git(at, &["fetch", "--quiet", "--depth=1", "--no-tags", "origin", "--", what])
        };
        // Not every server gives out a commit by its number; the name it was found under does.
        if let Err(error) = fetch(commit) {
            let named = name.filter(|name| !is_commit(name)).ok_or(error)?;
            fetch(named)?;
        }
        git(at, &["checkout", "--quiet", "--detach", commit])?;
        if folder.join(".gitmodules").is_file() {
            git(at, &["submodule", "update", "--quiet", "--init", "--recursive", "--depth=1"])?;
        }
        if !keep {
            std::fs::remove_dir_all(folder.join(".git"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A repository with two commits, a branch and a tag with a message; gives both commits.
    fn repository(folder: &Path) -> [String; 2] {
        let run = |args: &[&str]| {
            let who = ["-c", "user.name=a", "-c", "user.email=a@example"];
            git(Some(folder), &[&who[..], args].concat()).unwrap()
        };
        run(&["init", "--quiet", "--initial-branch=main"]);
        let mut commits = Vec::new();
        for text in ["one", "two"] {
            std::fs::write(folder.join("file"), text).unwrap();
            run(&["add", "."]);
            run(&["commit", "--quiet", "--message", text]);
            commits.push(run(&["rev-parse", "HEAD"]).trim().to_owned());
            if text == "one" {
                run(&["tag", "--annotate", "--message", "first", "v1"]);
            }
        }
        [commits[0].clone(), commits[1].clone()]
    }

    #[test]
    fn names_become_commits_and_commits_files() {
        let from = tempfile::tempdir().unwrap();
        let [one, two] = repository(from.path());
        let url = format!("file://{}", from.path().display());
        let commit = |name| GitProgram.commit(&url, name).unwrap();
        assert_eq!([commit(None), commit(Some("main"))], [two.clone(), two.clone()]);
        assert_eq!([commit(Some("v1")), commit(Some(&one))], [one.clone(), one.clone()]);
        let error = GitProgram.commit(&url, Some("v2")).unwrap_err();
        assert_eq!(error.to_string(), "it has no branch or tag `v2`");

        for (keep, name) in [(false, Some("v1")), (true, None)] {
            let to = tempfile::tempdir().unwrap();
            GitProgram.checkout(&url, name, &commit(name), keep, to.path()).unwrap();
            let text = std::fs::read_to_string(to.path().join("file")).unwrap();
            assert_eq!(text, if keep { "two" } else { "one" });
            assert_eq!(to.path().join(".git").exists(), keep);
        }
    }
}
