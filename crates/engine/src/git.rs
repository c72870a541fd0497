//! Git repositories as sources of files: what a URL means, and where its files are kept.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use anyarch_oci::Digest;
use anyarch_plan::is_remote;

use crate::engine::Session;
use crate::error::{BuildError, Context};
use crate::event::Event;

/// What the caller provides: a way to repositories.
pub trait Git: Send + Sync {
    /// The commit (hexadecimal) that a branch, a tag or a commit of the repository at `url` names;
    /// without a name, its default branch.
    fn commit(&self, url: &str, name: Option<&str>) -> Result<String, GitError>;

    /// Fills the empty `folder` with the files of a commit and of its submodules; `name` is what the
    /// commit was found under. Keeps no repository there unless `keep` is set.
    fn checkout(
        &self,
        url: &str,
        name: Option<&str>,
        commit: &str,
        keep: bool,
        folder: &Path,
    ) -> Result<(), GitError>;
}

/// Why a repository could not be read.
pub type GitError = Box<dyn Error + Send + Sync>;

/// For engines without repositories: every one is an error.
pub struct NoGit;

impl Git for NoGit {
    fn commit(&self, _: &str, _: Option<&str>) -> Result<String, GitError> {
        Err("this engine has no git".into())
    }

    fn checkout(
        &self,
        _: &str,
        _: Option<&str>,
        _: &str,
        _: bool,
        _: &Path,
    ) -> Result<(), GitError> {
        Err("this engine has no git".into())
    }
}

/// A folder of a repository at a commit: `URL.git#REF:FOLDER` (Dockerfile reference, "Adding files
/// from a Git repository").
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GitUrl {
    /// The repository.
    pub(crate) url: String,
    /// Branch, tag or commit; the default branch where absent.
    pub(crate) name: Option<String>,
    /// Folder below its root, without `/` at its ends; empty for all of it.
    pub(crate) folder: String,
}

impl GitUrl {
    /// Reads a remote source; `None` where it is a file of the web.
    pub(crate) fn parse(source: &str) -> Option<GitUrl> {
        let (url, fragment) = match source.split_once('#') {
            Some((url, fragment)) => (url, fragment),
            None => (source, ""),
        };
        let web = url.starts_with("http://") || url.starts_with("https://");
        let path = url.split('?').next().unwrap_or(url);
        if !is_remote(url) || (web && !path.trim_end_matches('/').ends_with(".git")) {
            return None;
        }
        let (name, folder) = fragment.split_once(':').unwrap_or((fragment, ""));
        let parts = folder.split('/').filter(|part| !part.is_empty() && *part != ".");
        Some(GitUrl {
            url: url.to_owned(),
            name: (!name.is_empty()).then(|| name.to_owned()),
            folder: parts.collect::<Vec<_>>().join("/"),
        })
    }
}

/// Files of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Checkout {
    /// Where they lie: in the store, never to be changed.
    pub(crate) folder: PathBuf,
    /// The commit.
    pub(crate) commit: String,
}

impl Session<'_> {
    /// Brings the files of a repository into the store. The commit is asked for each time, its files
    /// once.
    pub(crate) fn check_out(&self, source: &GitUrl, keep: bool) -> Result<Checkout, BuildError> {
        let GitUrl { url, name, folder } = source;
        let what = || format!("failed to read the git repository {url}");
        if folder.split('/').any(|part| part == "..") {
            return Err(BuildError::input(format!("the folder {folder} leads out of {url}")));
        }
        (self.on)(Event::Resolving { what: url.clone() });
        let failed = |error: GitError| BuildError::failed(what()).because(error.to_string());
        let commit = self.engine.git.commit(url, name.as_deref()).map_err(failed)?;
        self.check_cancelled()?;
        let key = Digest::sha256(format!("{url}\0{commit}\0{keep}").as_bytes());
        let place = self.store().root().join("checkouts").join(key.hex());
        let _lock = self.lock(&format!("checkout-{}", key.hex()))?;
        if !place.is_dir() {
            let fresh = self.fresh("checkout");
            fs::create_dir_all(&fresh).context(what)?;
            self.engine
                .git
                .checkout(url, name.as_deref(), &commit, keep, &fresh)
                .map_err(failed)?;
            self.check_cancelled()?;
            let above = self.store().root().join("checkouts");
            fs::create_dir_all(&above).context(what)?;
            fs::rename(&fresh, &place).context(what)?;
        }
        let inside = place.join(folder);
        if !inside.is_dir() {
            return Err(BuildError::input(format!("{url} has no folder {folder} at {commit}")));
        }
        // A link could lead anywhere.
        let real = inside.canonicalize().context(what)?;
        if !real.starts_with(place.canonicalize().context(what)?) {
            return Err(BuildError::input(format!("the folder {folder} leads out of {url}")));
        }
        Ok(Checkout { folder: real, commit })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use anyarch_sandbox::Cancel;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn url(url: &str, name: Option<&str>, folder: &str) -> Option<GitUrl> {
        Some(GitUrl {
            url: url.to_owned(),
            name: name.map(str::to_owned),
            folder: folder.to_owned(),
        })
    }

    #[test]
    fn urls_of_repositories_are_told_from_files() {
        let https = "https://h.example/a.git";
        assert_eq!(GitUrl::parse(https), url(https, None, ""));
        let all = GitUrl::parse("https://h.example/a.git#v1:/sub//dir/");
        assert_eq!(all, url(https, Some("v1"), "sub/dir"));
        assert_eq!(GitUrl::parse("https://h.example/a.git#:sub"), url(https, None, "sub"));
        let ssh = "git@h.example:a";
        assert_eq!(GitUrl::parse("git@h.example:a#main"), url(ssh, Some("main"), ""));
        for file in ["https://h.example/a.tar.gz", "https://h.example/a.git.txt#x", "a.git", "x"] {
            assert_eq!(GitUrl::parse(file), None, "{file}");
        }
    }

    struct Counting(AtomicUsize);

    impl Git for std::sync::Arc<Counting> {
        fn commit(&self, _: &str, name: Option<&str>) -> Result<String, GitError> {
            Ok(format!("commit-of-{}", name.unwrap_or("HEAD")))
        }

        fn checkout(
            &self,
            _: &str,
            _: Option<&str>,
            commit: &str,
            _: bool,
            folder: &Path,
        ) -> Result<(), GitError> {
            self.0.fetch_add(1, Ordering::Relaxed);
            fs::create_dir(folder.join("sub"))?;
            fs::write(folder.join("sub/commit"), commit)?;
            std::os::unix::fs::symlink("/", folder.join("out"))?;
            Ok(())
        }
    }

    #[test]
    fn a_commit_is_checked_out_once_and_folders_stay_inside() {
        let folder = tempfile::tempdir().unwrap();
        let git = std::sync::Arc::new(Counting(AtomicUsize::new(0)));
        let mut engine = testing::engine(folder.path());
        engine.git = Box::new(git.clone());
        let cancel = Cancel::new();
        let session = Session::new(&engine, 0, &|_| {}, &cancel);
        let at = |text: &str| {
            session.check_out(&GitUrl::parse(&format!("git@h.example:a#{text}")).unwrap(), false)
        };
        let found = at("v1:sub").unwrap();
        assert_eq!(fs::read_to_string(found.folder.join("commit")).unwrap(), "commit-of-v1");
        assert_eq!(at("v1:sub").unwrap(), found);
        assert_eq!(git.0.load(Ordering::Relaxed), 1);
        assert!(at("v1:none").unwrap_err().message.contains("has no folder none"));
        for out in ["v1:../x", "v1:out"] {
            assert!(at(out).unwrap_err().message.contains("leads out"), "{out}");
        }
    }
}
