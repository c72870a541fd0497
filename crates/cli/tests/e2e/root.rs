//! A small root of the machine's own programs and their libraries, for `COPY rootfs/ /`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

const PROGRAMS: [&str; 24] = [
    "sh", "cat", "ls", "id", "env", "sleep", "true", "false", "mkdir", "stat", "chown", "rm",
    "touch", "head", "wc", "ln", "chmod", "readlink", "sed", "dd", "cp", "mv", "sort", "yes",
];

/// Path in the root and content, all of mode 0755.
pub fn programs() -> &'static [(PathBuf, Vec<u8>)] {
    static PROGRAMS_AND_LIBRARIES: OnceLock<Vec<(PathBuf, Vec<u8>)>> = OnceLock::new();
    PROGRAMS_AND_LIBRARIES.get_or_init(|| {
        let mut files = Vec::new();
        let mut libraries = BTreeSet::new();
        for program in PROGRAMS {
            let from = ["/bin", "/usr/bin"].map(|folder| Path::new(folder).join(program));
            let from = from.iter().find(|path| path.exists()).unwrap();
            files.push((Path::new("bin").join(program), fs::read(from).unwrap()));
            let output = Command::new("ldd").arg(from).output().unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            let paths = text.split_whitespace().filter(|word| word.starts_with('/'));
            libraries.extend(paths.map(PathBuf::from));
        }
        for library in libraries {
            let content = fs::read(&library).unwrap();
            files.push((library.strip_prefix("/").unwrap().to_owned(), content));
        }
        files
    })
}
