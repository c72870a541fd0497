//! The name of a program that was emulated → why it was.
//!
//! Made where twins are proven, asked when the programs of the tree have run.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyarch_layer::Root;

use crate::tally::logged;

/// Where a program may lie that was started by its name.
const FOLDERS: [&str; 4] = ["/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin"];

/// Why programs of one tree are emulated.
#[derive(Debug, Default)]
pub(crate) struct Why {
    /// The tree, for links such as `python3`.
    tree: PathBuf,
    /// Where no program has a twin: why.
    all: Option<String>,
    /// By name.
    unproven: BTreeMap<String, String>,
    /// Names of those that have twins.
    proven: BTreeSet<String>,
}

impl Why {
    /// One reason for every program.
    pub(crate) fn all(reason: &str) -> Why {
        Why { all: Some(reason.to_owned()), ..Why::default() }
    }

    /// As twins were proven for a tree, of which those named in `proven` will be used.
    pub(crate) fn proven(
        tree: &Path,
        twins: &anyarch_twin::Twins,
        proven: BTreeSet<String>,
    ) -> Why {
        let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
        let unproven = twins.unproven.iter();
        let unproven = unproven
            .filter_map(|program| Some((name(&program.path)?, program.reason.to_string())))
            .collect();
        let all = twins.nothing.as_ref().map(ToString::to_string);
        Why { tree: tree.to_owned(), all, unproven, proven }
    }

    /// Why a program was emulated, by its name as the handler logs it.
    pub(crate) fn of(&self, name: &str) -> String {
        if let Some(reason) = &self.all {
            return reason.clone();
        }
        let names = std::iter::once(name.to_owned()).chain(self.target(name));
        for name in names {
            if let Some((_, reason)) = self.unproven.iter().find(|(known, _)| logged(known) == name)
            {
                return reason.clone();
            }
            if self.proven.iter().any(|known| logged(known) == name) {
                return "what it was called with, or a file that was changed".to_owned();
            }
        }
        "not among the programs that have twins".to_owned()
    }

    /// The name of the program that a link points to.
    fn target(&self, name: &str) -> Option<String> {
        let root = Root::open(&self.tree).ok()?;
        let path = FOLDERS.iter().map(|folder| Path::new(folder).join(name));
        let path =
            path.filter(|path| root.exists(path)).find_map(|path| root.resolve(&path).ok())?;
        Some(logged(&path.file_name()?.to_string_lossy()).to_owned())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use anyarch_handler::write::Table;
    use anyarch_twin::{Reason, Twins, Unproven};

    use super::*;

    fn twins() -> Twins {
        let path = PathBuf::from("/usr/bin/python3.11");
        let unproven = vec![Unproven { path, reason: Reason::NoLibrary("libz.so.1".to_owned()) }];
        Twins { table: Table::default(), files: Vec::new(), unproven, nothing: None }
    }

    #[test]
    fn each_program_has_its_reason() {
        let tree = tempfile::tempdir().unwrap();
        let bin = tree.path().join("usr/bin");
        std::fs::create_dir_all(&bin).unwrap();
        std::fs::write(bin.join("python3.11"), "").unwrap();
        symlink("python3.11", bin.join("python3")).unwrap();
        let proven = ["dash", "a-program-with-quite-a-long-name"].map(str::to_owned).into();
        let why = Why::proven(tree.path(), &twins(), proven);
        let lacks = "the native tree lacks its library libz.so.1";
        assert_eq!([why.of("python3.11"), why.of("python3")], [lacks, lacks]);
        let called = "what it was called with, or a file that was changed";
        assert_eq!([why.of("dash"), why.of("a-program-with-quite-a-l")], [called, called]);
        assert_eq!(why.of("bash"), "not among the programs that have twins");
    }

    #[test]
    fn one_reason_may_be_that_of_all() {
        assert_eq!(Why::all("the build is without twins").of("sh"), "the build is without twins");
        let twins = Twins { nothing: Some(Reason::NoDatabase), ..twins() };
        let why = Why::proven(Path::new("/nowhere"), &twins, BTreeSet::new());
        let none = "its tree has no package database, or the native one another";
        assert_eq!(why.of("python3.11"), none);
    }
}
