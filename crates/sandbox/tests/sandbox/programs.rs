//! This machine's own programs in a tree. For the tests of the handler too.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Copies programs to `/bin` of a root, and the libraries that they need to where they lie here.
pub(crate) fn copy(programs: &[&str], root: &Path) {
    fs::create_dir_all(root.join("bin")).unwrap();
    let mut libraries = BTreeSet::new();
    for program in programs {
        let from = ["/bin", "/usr/bin"]
            .iter()
            .map(|folder| Path::new(folder).join(program))
            .find(|path| path.exists())
            .unwrap();
        fs::copy(&from, root.join("bin").join(program)).unwrap();
        let output = Command::new("ldd").arg(&from).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let words = text.split_whitespace().filter(|word| word.starts_with('/'));
        libraries.extend(words.map(PathBuf::from));
    }
    for library in libraries {
        let to = root.join(library.strip_prefix("/").unwrap());
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(&library, &to).unwrap();
    }
}
