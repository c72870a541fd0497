//! The tree of a step and that of its native sibling → the programs that have twins.

mod library;
mod program;
mod same;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyarch_handler::write::{Table, Variable};
use anyarch_layer::Root;

use self::library::Library;
use crate::data::{Data, PlatformNames};
use crate::known::Known;
use crate::packages::Database;
use crate::reason::{Reason, Unproven};

/// Where programs lie.
const PROGRAM_DIRECTORIES: [&str; 4] = ["/usr/bin", "/usr/sbin", "/bin", "/sbin"];
/// What the loader loads into every program.
const PRELOAD: &str = "/etc/ld.so.preload";

/// What is to be proven.
pub struct Request<'a> {
    /// The table of programs.
    pub data: &'a Data,
    /// The platform of this machine.
    pub native: &'a PlatformNames,
    /// The platform of the step.
    pub foreign: &'a PlatformNames,
    /// The tree of the step, as its programs will see it: mounted already.
    pub foreign_root: &'a Root,
    /// The tree that twins come from.
    pub native_root: &'a Root,
    /// The environment that the step begins with.
    pub environment: &'a BTreeMap<String, String>,
    /// The directory, as the programs of the step see it, in which [`Twins::files`] and, as `root`,
    /// the twins' tree will be.
    pub hidden: &'a str,
}

/// What was proven.
#[derive(Debug)]
pub struct Twins {
    /// The handler's table.
    pub table: Table,
    /// Files for the hidden directory: relative path and content, all executable.
    pub files: Vec<(String, Vec<u8>)>,
    /// Programs of the table that the tree has and that will be emulated, and why.
    pub unproven: Vec<Unproven>,
    /// Why no program at all has a twin, where that was found first.
    pub nothing: Option<Reason>,
}

/// Looks for every program of the table in both trees.
///
/// A tree without a package database, or whose loader is configured to load more into every
/// program, proves nothing: the result then says why, and is empty otherwise.
pub fn prove(request: &Request<'_>, known: &Known) -> Twins {
    let mut twins = Twins {
        table: Table {
            log: format!("{}/log", request.hidden),
            machine: request.foreign.machine.clone(),
            ..Table::default()
        },
        files: Vec::new(),
        unproven: Vec::new(),
        nothing: None,
    };
    if !request.foreign.twins {
        twins.nothing = Some(Reason::OtherPlatform);
        return twins;
    }
    if request.foreign_root.exists(Path::new(PRELOAD)) {
        twins.nothing = Some(Reason::Preload);
        return twins;
    }
    let databases = Database::read(request.foreign_root).zip(Database::read(request.native_root));
    let databases = databases.filter(|(foreign, native)| foreign.kind() == native.kind());
    let Some((foreign, native)) = databases else {
        twins.nothing = Some(Reason::NoDatabase);
        return twins;
    };
    let mut prover = Prover {
        request,
        known,
        foreign,
        native,
        library_folders: library::configured_folders(request.foreign_root),
        libraries: HashMap::new(),
        files: BTreeMap::new(),
        variables: Vec::new(),
    };
    let (mut seen, mut done) = (BTreeSet::new(), BTreeSet::new());
    for program in &request.data.program {
        let names = program.names.iter().map(String::as_str);
        for path in candidates(names, &program.paths, request.foreign_root) {
            if !seen.insert(path.clone()) {
                continue;
            }
            match prover.program(program, &path) {
                Ok(Some(entry)) if done.insert(entry.identity.ino) => {
                    twins.table.entries.push(entry);
                }
                Ok(_) => {}
                Err(reason) => twins.unproven.push(Unproven { path, reason }),
            }
        }
    }
    let original = |given: &String| {
        let name = given.split('=').next().unwrap_or(given);
        request.environment.get(name).map(|value| format!("{name}={value}"))
    };
    twins.table.variables = prover
        .variables
        .iter()
        .map(|given| Variable { given: given.clone(), original: original(given) })
        .collect();
    twins.files = prover.files.into_iter().collect();
    if !twins.table.entries.is_empty() {
        twins.files.push(("shim.so".to_owned(), anyarch_handler::SHIM.to_vec()));
        for file in &request.data.file {
            let before = file.variable.as_ref().and_then(|name| request.environment.get(name));
            let before = before.map(|value| file.before.replace("{}", value)).unwrap_or_default();
            let text = file
                .text
                .replace("{debian}", &request.foreign.debian)
                .replace("{native}", &request.native.triplet)
                .replace("{foreign}", &request.foreign.triplet);
            twins.files.push((file.name.clone(), format!("{before}{text}").into_bytes()));
        }
    }
    twins
}

/// What twins a tree is to have for the commands of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Those of all programs that the commands name.
    All,
    /// Those of programs that may work for long.
    Heavy,
}

/// Whether a text names a program of the table that the step's tree has and the twins' tree has not.
pub fn lacks(
    data: &Data,
    text: &str,
    wanted: Wanted,
    foreign_root: &Root,
    native_root: &Root,
) -> bool {
    data.named_in(text)
        .into_iter()
        .filter(|named| named.program.heavy || wanted == Wanted::All)
        .flat_map(|named| {
            let paths = if named.by_path { named.program.paths.as_slice() } else { &[] };
            candidates(named.names.into_iter(), paths, foreign_root)
        })
        .any(|path| !native_root.exists(&path))
}

/// The paths, without symbolic links, under which a tree may have programs with these names or paths.
fn candidates<'a>(
    names: impl Iterator<Item = &'a str>,
    patterns: &[String],
    root: &Root,
) -> Vec<PathBuf> {
    let named = names.flat_map(|name| {
        PROGRAM_DIRECTORIES.iter().map(move |folder| Path::new(folder).join(name))
    });
    let mut paths: Vec<PathBuf> = named.filter(|path| root.exists(path)).collect();
    for pattern in patterns {
        let pattern = Path::new(pattern);
        let (Some(folder), Some(name)) =
            (pattern.parent(), pattern.file_name().and_then(|name| name.to_str()))
        else {
            continue;
        };
        let Some((begin, end)) = name.split_once('*') else {
            paths.push(pattern.to_owned());
            continue;
        };
        let names = root.read_dir(folder).unwrap_or_default();
        paths.extend(names.iter().filter_map(|name| {
            let name = name.to_str()?;
            (name.len() >= begin.len() + end.len()
                && name.starts_with(begin)
                && name.ends_with(end))
            .then(|| folder.join(name))
        }));
    }
    paths
        .iter()
        .filter_map(|path| root.resolve(path).ok())
        .filter(|path| root.exists(path))
        .collect()
}

struct Prover<'a> {
    request: &'a Request<'a>,
    known: &'a Known,
    foreign: Database<'a>,
    native: Database<'a>,
    /// Directories that go before the usual ones for libraries, on the step's side.
    library_folders: Vec<PathBuf>,
    /// Libraries by the twin's path, once they are proven or not.
    libraries: HashMap<(PathBuf, bool), Result<Arc<Library>, Reason>>,
    files: BTreeMap<String, Vec<u8>>,
    variables: Vec<String>,
}

impl Prover<'_> {
    /// A path of the twin's tree, without symbolic links, as the programs of the step see it.
    fn in_twin(&self, path: &Path) -> Option<String> {
        let resolved = self.request.native_root.resolve(path).ok()?;
        self.request
            .native_root
            .exists(&resolved)
            .then(|| format!("{}/root{}", self.request.hidden, resolved.display()))
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}
