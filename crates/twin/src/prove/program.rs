//! One program of the table → its entry for the handler.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use anyarch_handler::write::{Entry, Interpreter};

use super::library::{CONFIG, CONFIG_PARTS, Library, usual_folders};
use super::{PRELOAD, Prover, file_name};
use crate::data::{Interpret, Patch, Program};
use crate::packages::Kind;
use crate::patch;
use crate::reason::Reason;

/// As many files and directories as the handler looks at for one program.
const MAX_DEPENDENCIES: usize = 256;
/// The C library that knows all options of the loader and functions of the shim that are used.
const OLDEST_LIBC: (u32, u32) = (2, 34);

impl Prover<'_> {
    /// The entry of one program, `None` where it is no program of the platform.
    pub(super) fn program(
        &mut self,
        program: &Program,
        path: &Path,
    ) -> Result<Option<Entry>, Reason> {
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
            (same, _) => {
                let needs = same?.ok_or(Reason::NoTwin)?;
                self.check_package(program, path)?;
                (needs, false)
            }
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

    /// Checks that the program is the one that the table means, and not another of the same name.
    fn check_package(&self, program: &Program, path: &Path) -> Result<(), Reason> {
        let known = match self.foreign.kind() {
            Kind::Dpkg => &program.packages,
            Kind::Apk => &program.apk,
            Kind::Rpm => &program.rpm,
        };
        let owner = self.foreign.owner(path).map(|(package, _)| package.name.clone());
        match owner {
            Some(owner) if !known.contains(&owner) => Err(Reason::OtherPackage(owner)),
            _ => Ok(()),
        }
    }

    fn check_libc(&self) -> Result<(), Reason> {
        let glibc = ["libc6", "glibc"].into_iter().find_map(|name| self.native.version(name));
        let other = || match self.native.version("musl") {
            Some(_) => "musl",
            None => "unknown",
        };
        let version = glibc.unwrap_or_else(other);
        let mut numbers = version.split(['.', '-', '+']).map(|part| part.parse::<u32>());
        match (numbers.next(), numbers.next()) {
            (Some(Ok(major)), Some(Ok(minor))) if (major, minor) >= OLDEST_LIBC => Ok(()),
            _ => Err(Reason::OldLibc(version.to_owned())),
        }
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
