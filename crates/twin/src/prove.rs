//! The tree of a step and that of its native sibling → the programs that have twins.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyarch_handler::layout::Identity;
use anyarch_handler::write::{Entry, Interpreter, Table, Variable};
use anyarch_layer::Root;

use crate::data::{Data, Interpret, Patch, PlatformNames, Program};
use crate::dpkg::{self, Database};
use crate::elf::{self, Looked, Needs};
use crate::patch;

/// Where programs lie.
const PROGRAM_DIRECTORIES: [&str; 4] = ["/usr/bin", "/usr/sbin", "/bin", "/sbin"];
/// As many files and directories as the handler looks at for one program.
const MAX_DEPENDENCIES: usize = 256;
/// How deep a directory is watched for new files.
const MAX_DEPTH: usize = 4;
/// The C library that knows all options of the loader and functions of the shim that are used.
const OLDEST_LIBC: (u32, u32) = (2, 34);
/// Where libraries lie that came without a package.
const LOCAL_LIBRARIES: &str = "/usr/local/lib";
/// With fewer modules beside it, a program without a package proves nothing.
const FEWEST_MODULES: usize = 20;
const PRELOAD: &str = "/etc/ld.so.preload";
const CONFIG: &str = "/etc/ld.so.conf";
const CONFIG_PARTS: &str = "/etc/ld.so.conf.d";

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
}

/// A program that will be emulated although the table has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unproven {
    /// The program.
    pub path: PathBuf,
    /// Why.
    pub reason: Reason,
}

/// Why a program is emulated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The twin's tree has no such program.
    NoTwin,
    /// It belongs to no package, on one side at least.
    Unpackaged(PathBuf),
    /// The package has other versions.
    OtherVersion {
        /// Its name.
        package: String,
        /// Version on the step's side.
        foreign: String,
        /// Version on the twin's side.
        native: String,
    },
    /// A file is not as its package installed it.
    Changed(PathBuf),
    /// A library of the twin cannot be found.
    NoLibrary(String),
    /// The twin is static, so it cannot be run with libraries of its own.
    Static,
    /// The names of the architectures differ in length, or are not in the program.
    Unpatchable,
    /// Directories of its own modules hold other files than the twin's.
    OtherModules(PathBuf),
    /// The C library of the twin is too old, or unknown.
    OldLibc(String),
    /// Too many files to look at.
    TooManyDependencies,
    /// What the program is to be given cannot be found.
    NoSettings(String),
    /// A file could not be read.
    Unreadable(PathBuf),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::NoTwin => write!(f, "the native tree does not have it"),
            Reason::Unpackaged(path) => write!(f, "{} belongs to no package", path.display()),
            Reason::OtherVersion { package, foreign, native } => {
                write!(f, "package {package} is {foreign} here and {native} natively")
            }
            Reason::Changed(path) => {
                write!(f, "{} is not as its package installed it", path.display())
            }
            Reason::NoLibrary(name) => write!(f, "the native tree lacks its library {name}"),
            Reason::Static => write!(f, "the native program is static"),
            Reason::Unpatchable => write!(f, "its architecture cannot be replaced"),
            Reason::OtherModules(path) => {
                write!(f, "{} holds other modules than natively", path.display())
            }
            Reason::OldLibc(version) => write!(f, "the native C library is {version}"),
            Reason::TooManyDependencies => write!(f, "it needs too many files"),
            Reason::NoSettings(what) => write!(f, "there is no {what}"),
            Reason::Unreadable(path) => write!(f, "{} cannot be read", path.display()),
        }
    }
}

/// Files that were looked at before; to be kept for as long as several trees are proven.
#[derive(Debug, Default)]
pub struct Known(Mutex<HashMap<Identity, Arc<Looked>>>);

impl Known {
    fn look(&self, file: &mut File) -> io::Result<(Identity, Arc<Looked>)> {
        let identity = elf::identity(file)?;
        // The device number of an overlay changes with every mount.
        let key = Identity { dev: 0, ..identity };
        let known =
            |this: &Known| this.0.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        if let Some(looked) = known(self) {
            return Ok((identity, looked));
        }
        let looked = Arc::new(elf::look(file)?.0);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key, looked.clone());
        Ok((identity, looked))
    }
}

/// Looks for every program of the table in both trees.
///
/// A tree without a package database, or whose loader is configured to load more into every
/// program, proves nothing: the result is then empty.
pub fn prove(request: &Request<'_>, known: &Known) -> Twins {
    let mut twins = Twins {
        table: Table {
            log: format!("{}/log", request.hidden),
            machine: request.foreign.machine.clone(),
            ..Table::default()
        },
        files: Vec::new(),
        unproven: Vec::new(),
    };
    let databases = Database::read(request.foreign_root).zip(Database::read(request.native_root));
    let Some((foreign, native)) = databases.filter(|_| request.foreign.twins) else {
        return twins;
    };
    if request.foreign_root.exists(Path::new(PRELOAD)) {
        return twins;
    }
    let mut prover = Prover {
        request,
        known,
        foreign,
        native,
        library_folders: configured_folders(request.foreign_root),
        libraries: HashMap::new(),
        files: BTreeMap::new(),
        variables: Vec::new(),
    };
    let (mut seen, mut done) = (BTreeSet::new(), BTreeSet::new());
    for program in &request.data.program {
        for path in candidates(program, request.foreign_root) {
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

/// The paths, without symbolic links, under which a tree may have a program.
fn candidates(program: &Program, root: &Root) -> Vec<PathBuf> {
    let named = program.names.iter().flat_map(|name| {
        PROGRAM_DIRECTORIES.iter().map(move |folder| Path::new(folder).join(name))
    });
    let mut paths: Vec<PathBuf> = named.filter(|path| root.exists(path)).collect();
    for pattern in &program.paths {
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

/// The directories in which the loader of a tree looks before the usual ones (ldconfig(8)).
fn configured_folders(root: &Root) -> Vec<PathBuf> {
    let parts = root.read_dir(Path::new(CONFIG_PARTS)).unwrap_or_default();
    let parts = parts.iter().map(|name| Path::new(CONFIG_PARTS).join(name));
    let mut folders = Vec::new();
    for file in std::iter::once(PathBuf::from(CONFIG)).chain(parts) {
        let text = root.read(&file).unwrap_or_default();
        for line in String::from_utf8_lossy(&text).lines() {
            let line = line.split('#').next().unwrap_or("").trim();
            if line.starts_with('/') {
                folders.push(PathBuf::from(line));
            }
        }
    }
    folders.sort();
    folders.dedup();
    folders
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

/// A library that is the same on both sides.
#[derive(Debug)]
struct Library {
    name: String,
    /// Path on the twin's side, without symbolic links.
    path: PathBuf,
    needs: Needs,
    /// What the handler looks at.
    dependencies: Vec<(String, Option<Identity>)>,
}

impl Prover<'_> {
    /// The entry of one program, `None` where it is no program of the platform.
    fn program(&mut self, program: &Program, path: &Path) -> Result<Option<Entry>, Reason> {
        let unreadable = || Reason::Unreadable(path.to_owned());
        let mut file = match self.request.foreign_root.open_file(path) {
            Ok(file) => file,
            Err(_) => return Ok(None), // a directory, or a link to nowhere
        };
        let setuid = file.metadata().is_ok_and(|meta| meta.permissions().mode() & 0o6000 != 0);
        let (identity, looked) = self.known.look(&mut file).map_err(|_| unreadable())?;
        if looked.elf.is_none() || setuid {
            return Ok(None);
        }
        self.check_libc()?;
        let (needs, beside) = match (self.same(path, path, &looked), &program.beside) {
            (Err(Reason::Unpackaged(_)), Some(beside)) => {
                let folder = self.expand(beside, path)?;
                (self.same_beside(path, Path::new(&folder))?, true)
            }
            (same, _) => (same?.ok_or(Reason::NoTwin)?, false),
        };
        let loader = needs.loader.clone().ok_or(Reason::Static)?;
        let libraries = self.closure(&needs, beside)?;

        let mut entry = Entry {
            identity,
            name: file_name(path),
            loader: self.in_twin(Path::new(&loader)).ok_or(Reason::NoLibrary(loader))?,
            shim: program.shim.then(|| format!("{}/shim.so", self.request.hidden)),
            refused: program.refuse.clone(),
            refused_variables: program.refuse_variables.clone(),
            shell: program.shell,
            ..Entry::default()
        };
        let mut folders: Vec<String> = Vec::new();
        entry.program = match program.patch {
            None => self.in_twin(path).ok_or(Reason::NoTwin)?,
            Some(Patch::DebianArchitecture) => {
                folders.push(format!("{}/patched/lib", self.request.hidden));
                self.patched(path, &libraries)?
            }
        };
        for library in &libraries {
            let folder = library.path.parent().unwrap_or(Path::new("/"));
            let folder = format!("{}/root{}", self.request.hidden, folder.display());
            if !folders.contains(&folder) {
                folders.push(folder);
            }
        }
        // Also for what is loaded later, such as modules for names of hosts and users.
        for folder in usual_folders(&self.request.native.triplet) {
            if let Some(folder) = self.in_twin(&folder).filter(|folder| !folders.contains(folder)) {
                folders.push(folder);
            }
        }
        entry.library_path = folders.join(":");
        entry.dependencies = vec![
            (PRELOAD.to_owned(), None),
            self.watched(Path::new(CONFIG)),
            self.watched(Path::new(CONFIG_PARTS)),
        ];
        entry.dependencies.extend(libraries.iter().flat_map(|l| l.dependencies.iter().cloned()));
        for tree in &program.same_trees {
            let tree = self.expand(tree, path)?;
            entry.dependencies.extend(self.same_tree(Path::new(&tree))?);
        }
        if entry.dependencies.len() > MAX_DEPENDENCIES {
            return Err(Reason::TooManyDependencies);
        }
        for argument in &program.arguments {
            entry.arguments.push(self.expand(argument, path)?);
        }
        for (from, to) in &program.redirects {
            entry.redirects.push((self.expand(from, path)?, self.expand(to, path)?));
        }
        for (from, to) in &program.loads {
            entry.loads.push((self.expand(from, path)?, self.expand(to, path)?));
        }
        for variable in &program.variables {
            let given = self.expand(variable, path)?;
            let at = self.variables.iter().position(|known| *known == given);
            let at = at.unwrap_or_else(|| {
                self.variables.push(given);
                self.variables.len() - 1
            });
            entry.variables |= 1 << at;
        }
        entry.interpreter = program.interpret.as_ref().map(interpreter);
        Ok(Some(entry))
    }

    fn check_libc(&self) -> Result<(), Reason> {
        let version = self.native.version("libc6").unwrap_or("unknown");
        let mut numbers = version.split(['.', '-', '+']).map(|part| part.parse::<u32>());
        match (numbers.next(), numbers.next()) {
            (Some(Ok(major)), Some(Ok(minor))) if (major, minor) >= OLDEST_LIBC => Ok(()),
            _ => Err(Reason::OldLibc(version.to_owned())),
        }
    }

    /// What the twin of a file needs, if both are from the same version of one package, and as
    /// that installed them. `None` where there is no twin at all.
    fn same(
        &self,
        foreign: &Path,
        native: &Path,
        looked: &Looked,
    ) -> Result<Option<Needs>, Reason> {
        let roots = (self.request.foreign_root, self.request.native_root);
        let Ok(native_path) = roots.1.resolve(native) else { return Ok(None) };
        let Ok(mut file) = roots.1.open_file(&native_path) else { return Ok(None) };
        let twin = self.known.look(&mut file);
        let (_, twin) = twin.map_err(|_| Reason::Unreadable(native_path.clone()))?;
        let foreign_path =
            roots.0.resolve(foreign).map_err(|_| Reason::Unreadable(foreign.to_owned()))?;
        let unpackaged = |path: &Path| Reason::Unpackaged(path.to_owned());
        let (ours, sum) =
            self.foreign.owner(&foreign_path).ok_or_else(|| unpackaged(&foreign_path))?;
        let (theirs, twin_sum) =
            self.native.owner(&native_path).ok_or_else(|| unpackaged(&native_path))?;
        if ours.name != theirs.name || !dpkg::same_source(&ours.version, &theirs.version) {
            return Err(Reason::OtherVersion {
                package: ours.name.clone(),
                foreign: ours.version.clone(),
                native: theirs.version.clone(),
            });
        }
        if looked.md5 != sum {
            return Err(Reason::Changed(foreign_path));
        }
        if twin.md5 != twin_sum {
            return Err(Reason::Changed(native_path));
        }
        Ok(twin.elf.clone())
    }

    /// What the twin of a program that no package owns needs, if the modules beside it are the same
    /// on both sides: then both are the same version of it, built alike.
    fn same_beside(&self, path: &Path, folder: &Path) -> Result<Needs, Reason> {
        let (ours, theirs) = (self.request.foreign_root, self.request.native_root);
        let other = || Reason::OtherModules(folder.to_owned());
        let is_module = |module: &PathBuf| {
            let name = module.file_name().unwrap_or_default().to_string_lossy();
            let installed = module.components().any(|part| {
                ["site-packages", "dist-packages", "__pycache__"]
                    .iter()
                    .any(|name| part.as_os_str() == *name)
            });
            // The settings of the build differ, as they must.
            name.ends_with(".py") && !name.starts_with("_sysconfigdata") && !installed
        };
        let modules = |root: &Root| -> BTreeSet<PathBuf> {
            files(root, folder, &mut Vec::new()).into_iter().filter(is_module).collect()
        };
        let names = modules(ours);
        if names.len() < FEWEST_MODULES || names != modules(theirs) {
            return Err(other());
        }
        let mut paths: Vec<PathBuf> = names.iter().map(|name| folder.join(name)).collect();
        // The number of the patch level, where there are headers.
        let headers = Path::new("/usr/local/include").join(file_name(path)).join("patchlevel.h");
        if ours.exists(&headers) || theirs.exists(&headers) {
            paths.push(headers);
        }
        for path in paths {
            let sum = |root: &Root| {
                let mut file = root.open_file(&path).ok()?;
                Some(self.known.look(&mut file).ok()?.1.md5.clone())
            };
            match (sum(ours), sum(theirs)) {
                (Some(a), Some(b)) if a == b => {}
                _ => return Err(other()),
            }
        }
        self.unpackaged(path)
    }

    /// What a file of the twin's tree needs that no package owns there either.
    fn unpackaged(&self, path: &Path) -> Result<Needs, Reason> {
        let root = self.request.native_root;
        let resolved = root.resolve(path).map_err(|_| Reason::NoTwin)?;
        if let Some((package, _)) = self.native.owner(&resolved) {
            return Err(Reason::OtherVersion {
                package: package.name.clone(),
                foreign: "not installed".to_owned(),
                native: package.version.clone(),
            });
        }
        let mut file = root.open_file(&resolved).map_err(|_| Reason::NoTwin)?;
        let looked = self.known.look(&mut file).map_err(|_| Reason::Unreadable(resolved))?.1;
        looked.elf.clone().ok_or(Reason::NoTwin)
    }

    /// Everything that the loader will load for a program, each proven.
    fn closure(&mut self, needs: &Needs, beside: bool) -> Result<Vec<Arc<Library>>, Reason> {
        let mut found: Vec<Arc<Library>> = Vec::new();
        let mut ahead: Vec<(String, Vec<String>)> =
            needs.libraries.iter().map(|name| (name.clone(), needs.run_paths.clone())).collect();
        while let Some((name, run_paths)) = ahead.pop() {
            if found.iter().any(|library| library.name == name) {
                continue;
            }
            let library = self.library(&name, &run_paths, beside)?;
            ahead.extend(
                library
                    .needs
                    .libraries
                    .iter()
                    .map(|name| (name.clone(), library.needs.run_paths.clone())),
            );
            found.push(library);
        }
        Ok(found)
    }

    /// One library. `beside`: of a program that no package owns, whose own libraries may be
    /// unpackaged as well.
    fn library(
        &mut self,
        name: &str,
        run_paths: &[String],
        beside: bool,
    ) -> Result<Arc<Library>, Reason> {
        let mut usual = usual_folders(&self.request.native.triplet);
        if beside {
            usual.push(PathBuf::from(LOCAL_LIBRARIES));
        }
        let place = run_paths
            .iter()
            .map(PathBuf::from)
            .chain(usual)
            .map(|folder| folder.join(name))
            .find(|path| self.request.native_root.metadata(path).is_ok())
            .ok_or_else(|| Reason::NoLibrary(name.to_owned()))?;
        let key = (place, beside);
        if let Some(known) = self.libraries.get(&key) {
            return known.clone();
        }
        let result = self.prove_library(name, &key.0, beside).map(Arc::new);
        self.libraries.insert(key, result.clone());
        result
    }

    fn prove_library(&self, name: &str, place: &Path, beside: bool) -> Result<Library, Reason> {
        let (native, foreign) = (self.request.native, self.request.foreign);
        let is_loader = Path::new(&native.loader).file_name().is_some_and(|file| file == name);
        let counterpart = match is_loader {
            true => PathBuf::from(&foreign.loader),
            false => {
                let path = place.to_string_lossy().replace(&native.triplet, &foreign.triplet);
                PathBuf::from(path)
            }
        };
        let missing = || Reason::NoLibrary(name.to_owned());
        let mut file = self.request.foreign_root.open_file(&counterpart).map_err(|_| missing())?;
        let unreadable = || Reason::Unreadable(counterpart.clone());
        let (identity, looked) = self.known.look(&mut file).map_err(|_| unreadable())?;
        let needs = match self.same(&counterpart, place, &looked) {
            Err(Reason::Unpackaged(_)) if beside && place.starts_with(LOCAL_LIBRARIES) => {
                self.unpackaged(place)?
            }
            same => same?.ok_or_else(missing)?,
        };
        let mut dependencies = vec![(counterpart.display().to_string(), Some(identity))];
        let own = counterpart.parent().and_then(|own| self.request.foreign_root.resolve(own).ok());
        for folder in &self.library_folders {
            // One of the usual ones is named by libc's own configuration.
            let same = self.request.foreign_root.resolve(folder).ok() == own;
            let name = counterpart.file_name().unwrap_or_default();
            let path = folder.join(name);
            if same || usual_folders(&foreign.triplet).contains(folder) {
                continue;
            }
            if self.request.foreign_root.exists(&path) {
                return Err(Reason::Unpackaged(path));
            }
            dependencies.push((path.display().to_string(), None));
        }
        let path = self.request.native_root.resolve(place).map_err(|_| missing())?;
        Ok(Library { name: name.to_owned(), path, needs, dependencies })
    }

    /// A path of the twin's tree, without symbolic links, as the programs of the step see it.
    fn in_twin(&self, path: &Path) -> Option<String> {
        let resolved = self.request.native_root.resolve(path).ok()?;
        self.request
            .native_root
            .exists(&resolved)
            .then(|| format!("{}/root{}", self.request.hidden, resolved.display()))
    }

    /// Puts a program and its libraries, with the architecture replaced, among the files; the
    /// program's path.
    fn patched(&mut self, path: &Path, libraries: &[Arc<Library>]) -> Result<String, Reason> {
        let mut count = 0;
        for library in libraries {
            let (bytes, replaced) = self.replaced(&library.path)?;
            if replaced > 0 {
                self.files.insert(format!("patched/lib/{}", library.name), bytes);
            }
            count += replaced;
        }
        let (bytes, replaced) = self.replaced(path)?;
        if count + replaced == 0 {
            return Err(Reason::Unpatchable);
        }
        if replaced == 0 {
            return self.in_twin(path).ok_or(Reason::NoTwin);
        }
        let name = format!("patched{}", path.display());
        self.files.insert(name.clone(), bytes);
        Ok(format!("{}/{name}", self.request.hidden))
    }

    fn replaced(&self, path: &Path) -> Result<(Vec<u8>, usize), Reason> {
        let bytes = self.request.native_root.read(path);
        let mut bytes = bytes.map_err(|_| Reason::Unreadable(path.to_owned()))?;
        let (from, to) = (&self.request.native.debian, &self.request.foreign.debian);
        let count = patch::architecture(&mut bytes, from, to).ok_or(Reason::Unpatchable)?;
        Ok((bytes, count))
    }

    /// What the handler looks at so that it sees when something at a path has changed.
    fn watched(&self, path: &Path) -> (String, Option<Identity>) {
        let identity = self.request.foreign_root.resolve(path).ok().and_then(|resolved| {
            let relative = resolved.strip_prefix("/").unwrap_or(&resolved);
            let real = self.request.foreign_root.path().join(relative);
            std::fs::symlink_metadata(real).ok().map(|meta| elf::identity_of(&meta))
        });
        (path.display().to_string(), identity)
    }

    /// Checks that a directory of modules holds the same files on both sides, and watches it.
    fn same_tree(&self, tree: &Path) -> Result<Vec<(String, Option<Identity>)>, Reason> {
        let (native, foreign) = (self.request.native, self.request.foreign);
        let twin = PathBuf::from(tree.to_string_lossy().replace(&foreign.triplet, &native.triplet));
        let mut folders = vec![tree.to_owned()];
        let ours = files(self.request.foreign_root, tree, &mut folders);
        let theirs = files(self.request.native_root, &twin, &mut Vec::new());
        if ours != theirs {
            return Err(Reason::OtherModules(tree.to_owned()));
        }
        let depth = |folder: &PathBuf| folder.components().count() - tree.components().count();
        Ok(folders
            .iter()
            .filter(|folder| depth(folder) <= MAX_DEPTH)
            .map(|folder| self.watched(folder))
            .collect())
    }

    fn expand(&self, text: &str, path: &Path) -> Result<String, Reason> {
        let (native, foreign) = (self.request.native, self.request.foreign);
        let mut text = text
            .replace("{name}", &file_name(path))
            .replace("{native}", &native.triplet)
            .replace("{foreign}", &foreign.triplet)
            .replace("{machine}", &foreign.machine)
            .replace("{debian}", &foreign.debian)
            .replace("{hidden}", self.request.hidden)
            .replace("{root}", &format!("{}/root", self.request.hidden));
        if text.contains("{sysconfigdata}") {
            text = text.replace("{sysconfigdata}", &self.sysconfigdata(path)?);
        }
        Ok(text)
    }

    /// The module in which a Python keeps the settings of its build (sysconfig,
    /// `_get_sysconfigdata_name`), for the foreign platform.
    fn sysconfigdata(&self, path: &Path) -> Result<String, Reason> {
        let triplet = &self.request.foreign.triplet;
        let prefix = path.parent().and_then(Path::parent).unwrap_or(Path::new("/usr"));
        let library = prefix.join("lib").join(file_name(path));
        let name = format!("_sysconfigdata__linux_{triplet}");
        match self.request.foreign_root.exists(&library.join(format!("{name}.py"))) {
            true => Ok(name),
            false => Err(Reason::NoSettings(format!("{name} in {}", library.display()))),
        }
    }
}

/// Relative paths of all files below a directory, and its directories; empty where there is none.
fn files(root: &Root, tree: &Path, folders: &mut Vec<PathBuf>) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut ahead = vec![tree.to_owned()];
    while let Some(folder) = ahead.pop() {
        for name in root.read_dir(&folder).unwrap_or_default() {
            let path = folder.join(name);
            if root.symlink_metadata(&path).is_ok_and(|meta| meta.is_dir()) {
                folders.push(path.clone());
                ahead.push(path);
            } else {
                found.insert(path.strip_prefix(tree).unwrap_or(&path).to_owned());
            }
        }
    }
    found
}

/// Where the loader looks when nothing else is said (ld.so(8)), as Debian builds it.
fn usual_folders(triplet: &str) -> Vec<PathBuf> {
    [
        format!("/lib/{triplet}"),
        format!("/usr/lib/{triplet}"),
        "/lib".into(),
        "/usr/lib".into(),
        "/lib64".into(),
        "/usr/lib64".into(),
    ]
    .iter()
    .map(PathBuf::from)
    .collect()
}

fn file_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn interpreter(rule: &Interpret) -> Interpreter {
    let scripts = rule
        .scripts
        .iter()
        .filter_map(|script| Some((script.first()?.clone(), script.get(1).cloned())))
        .collect();
    Interpreter {
        flags: rule.flags.clone(),
        valued: rule.valued.clone(),
        modules: rule.modules.clone(),
        code: rule.code.clone(),
        scripts,
    }
}
