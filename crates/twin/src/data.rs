//! The table of programs, `twins.toml`, as typed values.

use std::collections::BTreeSet;

use serde::Deserialize;

/// The table that comes with this program.
const BUILT_IN: &str = include_str!("../twins.toml");

/// A table of platforms and programs.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Data {
    pub(crate) platform: Vec<PlatformNames>,
    #[serde(default)]
    pub(crate) file: Vec<GivenFile>,
    pub(crate) program: Vec<Program>,
    #[serde(default)]
    pub(crate) except: Vec<Except>,
}

/// Files that differ between any two runs.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Except {
    pub(crate) path: String,
    pub(crate) reason: String,
}

/// A file that twins are pointed to.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GivenFile {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) variable: Option<String>,
    #[serde(default)]
    pub(crate) before: String,
    pub(crate) text: String,
}

/// What the table is not.
#[derive(Debug)]
pub struct DataError(toml::de::Error);

impl std::fmt::Display for DataError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the table of twins is not valid: {}", self.0)
    }
}

impl std::error::Error for DataError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

/// What a platform is called by whom.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlatformNames {
    /// As OCI writes it: `linux/arm64`.
    pub name: String,
    /// As uname(2) says: `aarch64`.
    pub machine: String,
    /// Debian's multiarch triplet: `aarch64-linux-gnu`.
    pub triplet: String,
    /// Debian's architecture: `arm64`.
    pub debian: String,
    /// Path of the dynamic loader that programs name.
    pub loader: String,
    /// As ELF files say (`e_machine`).
    pub elf: u16,
    /// Whether twins may stand in for its programs.
    pub twins: bool,
}

/// One kind of programs, with all that is to be known of them.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Program {
    #[serde(default)]
    pub(crate) names: Vec<String>,
    #[serde(default)]
    pub(crate) paths: Vec<String>,
    /// What stands for it in commands besides its names.
    #[serde(default)]
    pub(crate) words: Vec<String>,
    pub(crate) packages: Vec<String>,
    #[serde(default)]
    pub(crate) apk: Vec<String>,
    #[serde(default)]
    pub(crate) rpm: Vec<String>,
    pub(crate) reason: String,
    #[serde(default)]
    pub(crate) heavy: bool,
    #[serde(default)]
    pub(crate) beside: Option<String>,
    #[serde(default)]
    pub(crate) shim: bool,
    #[serde(default)]
    pub(crate) arguments: Vec<String>,
    #[serde(default)]
    pub(crate) refuse: Vec<String>,
    #[serde(default)]
    pub(crate) refuse_variables: Vec<String>,
    #[serde(default)]
    pub(crate) patch: Option<Patch>,
    #[serde(default)]
    pub(crate) redirects: Vec<(String, String)>,
    #[serde(default)]
    pub(crate) loads: Vec<(String, String)>,
    #[serde(default)]
    pub(crate) same_trees: Vec<String>,
    #[serde(default)]
    pub(crate) variables: Vec<String>,
    #[serde(default)]
    pub(crate) interpret: Option<Interpret>,
    #[serde(default)]
    pub(crate) shell: bool,
}

/// A program of the table that commands name.
pub(crate) struct Named<'a> {
    pub(crate) program: &'a Program,
    /// By which of its names.
    pub(crate) names: Vec<&'a str>,
    /// Whether by a path, or by a word that stands for one.
    pub(crate) by_path: bool,
}

/// What is replaced in a program and its libraries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Patch {
    /// The name of Debian's architecture.
    DebianArchitecture,
}

/// What an interpreter may run.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Interpret {
    pub(crate) flags: String,
    pub(crate) valued: String,
    #[serde(default)]
    pub(crate) modules: Vec<String>,
    #[serde(default)]
    pub(crate) code: Vec<(String, String)>,
    #[serde(default)]
    pub(crate) scripts: Vec<Vec<String>>,
}

impl Data {
    /// The table that comes with this program.
    ///
    /// # Errors
    /// Never, unless it was built from a damaged one; a test reads it.
    pub fn built_in() -> Result<Data, DataError> {
        toml::from_str(BUILT_IN).map_err(DataError)
    }

    /// The names of a platform such as `linux/arm64`, if the table has it.
    pub fn platform(&self, name: &str) -> Option<&PlatformNames> {
        self.platform.iter().find(|platform| platform.name == name)
    }

    /// Why a file, by its absolute path, may differ between two runs of one step; `None`: it may not.
    pub fn excepted(&self, path: &str) -> Option<&str> {
        let excepted = self.except.iter().find(|except| matches(&except.path, path));
        excepted.map(|except| except.reason.as_str())
    }

    /// Why the table has a program, by its file name.
    pub fn reason(&self, name: &str) -> Option<&str> {
        let named = |program: &&Program| {
            let paths = program.paths.iter().filter_map(|path| path.rsplit('/').next());
            let paths = paths.filter(|name| *name != "*");
            program.names.iter().map(String::as_str).chain(paths).any(|known| matches(known, name))
        };
        self.program.iter().find(named).map(|program| program.reason.as_str())
    }

    /// The programs of the table that commands name.
    pub(crate) fn named_in<'a>(&'a self, commands: &str) -> Vec<Named<'a>> {
        let words = program_words(commands);
        let named = |program: &'a Program| {
            let Program { names, paths, words: others, .. } = program;
            let hit = |name: &&String| words.contains(name.as_str());
            let names: Vec<&str> = names.iter().filter(hit).map(String::as_str).collect();
            let mut files = paths.iter().filter_map(|path| path.rsplit('/').next());
            let by_path = others.iter().any(|word| hit(&word))
                || files.any(|file| file != "*" && words.iter().any(|word| matches(file, word)));
            (by_path || !names.is_empty()).then_some(Named { program, names, by_path })
        };
        self.program.iter().filter_map(named).collect()
    }

    /// The Debian packages of those programs of the table that commands name, sorted.
    pub fn packages_named_in(&self, commands: &str) -> Vec<&str> {
        let named = self.named_in(commands);
        let found: BTreeSet<&str> =
            named.iter().flat_map(|named| &named.program.packages).map(String::as_str).collect();
        found.into_iter().collect()
    }

    /// The Debian packages that programs of the table come from, sorted.
    pub fn packages(&self) -> Vec<&str> {
        let mut packages: Vec<&str> =
            self.program.iter().flat_map(|program| &program.packages).map(String::as_str).collect();
        packages.sort_unstable();
        packages.dedup();
        packages
    }
}

/// The words of commands that may be programs: of paths, the file name of those in a `bin` or `sbin`.
fn program_words(commands: &str) -> BTreeSet<&str> {
    let part = |letter: char| letter.is_ascii_alphanumeric() || "-_.+[/".contains(letter);
    commands
        .split(|letter| !part(letter))
        .filter_map(|word| match word.rsplit_once('/') {
            None => Some(word),
            Some((folder, name)) => {
                matches!(folder.rsplit('/').next(), Some("bin" | "sbin")).then_some(name)
            }
        })
        .collect()
}

/// Whether a pattern with at most one `*`, which stands for no slash, is a path.
fn matches(pattern: &str, path: &str) -> bool {
    let Some((begin, end)) = pattern.split_once('*') else { return pattern == path };
    let middle = path.strip_prefix(begin).and_then(|rest| rest.strip_suffix(end));
    middle.is_some_and(|middle| !middle.contains('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_that_comes_along_is_whole() {
        let data = Data::built_in().unwrap();
        assert!(data.platform("linux/amd64").unwrap().twins);
        assert_eq!(data.platform("linux/arm64").unwrap().machine, "aarch64");
        assert!(data.platform("linux/mips").is_none());
        assert!(data.packages().contains(&"coreutils"));
        for program in &data.program {
            assert!(!program.reason.is_empty() && !program.packages.is_empty(), "{program:?}");
            assert!(!program.names.is_empty() || !program.paths.is_empty(), "{program:?}");
            for script in program.interpret.iter().flat_map(|rule| &rule.scripts) {
                assert!(matches!(script.len(), 1 | 2), "{script:?}");
            }
            // Whoever asks for directories of its own architecture does so through the shim.
            assert!(
                (program.redirects.is_empty() && program.loads.is_empty()) || program.shim,
                "{program:?}"
            );
        }
        let mut names: Vec<&String> = data.program.iter().flat_map(|p| &p.names).collect();
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count, "a program is named twice");
    }

    #[test]
    fn few_files_may_differ() {
        let data = Data::built_in().unwrap();
        for path in ["/var/log/dpkg.log", "/var/log/apt/term.log", "/var/cache/apt/pkgcache.bin"] {
            assert!(data.excepted(path).is_some(), "{path}");
        }
        for path in ["/var/log/dpkg.log.1", "/var/log/apt/a/b", "/var/cache/apt", "/etc/passwd"] {
            assert_eq!(data.excepted(path), None, "{path}");
        }
        assert!(data.except.iter().all(|except| !except.reason.is_empty()));
    }

    #[test]
    fn programs_are_found_in_commands() {
        let data = Data::built_in().unwrap();
        assert_eq!(
            data.packages_named_in("set -e; git clone x&&(curl -O y)"),
            ["curl", "git", "libcurl3-gnutls", "libcurl4"]
        );
        assert_eq!(data.packages_named_in("echo digit > .gitignore; legit"), ["coreutils"]);
        for text in ["pip install x", "/opt/x/bin/python3.11 -m venv y", "python3 -V"] {
            assert!(data.packages_named_in(text).contains(&"python3-minimal"), "{text}");
        }
        let named = data.packages_named_in("rm -rf /root/.cache/pip ~/.config/git; cd pip/git");
        assert_eq!(named, ["coreutils"]);
    }

    #[test]
    fn reasons_are_found_by_name() {
        let data = Data::built_in().unwrap();
        assert!(data.reason("python3.11").unwrap().contains("pip"));
        assert!(data.reason("tar").is_some());
        assert_eq!(data.reason("bash"), None);
    }

    #[test]
    fn a_key_that_nobody_knows_is_an_error() {
        let text =
            "platform = []\n[[program]]\nnames = []\npackages = []\nreason = \"\"\nshimm = true\n";
        let error = toml::from_str::<Data>(text).map_err(DataError).unwrap_err();
        assert!(error.to_string().contains("shimm"), "{error}");
    }
}
