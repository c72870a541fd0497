//! What the loader loads for a program, each library proven.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyarch_handler::layout::Identity;
use anyarch_layer::Root;

use super::Prover;
use crate::elf::Needs;
use crate::reason::Reason;

/// Where libraries lie that came without a package.
const LOCAL_LIBRARIES: &str = "/usr/local/lib";
pub(super) const CONFIG: &str = "/etc/ld.so.conf";
pub(super) const CONFIG_PARTS: &str = "/etc/ld.so.conf.d";

/// A library that is the same on both sides.
#[derive(Debug)]
pub(super) struct Library {
    pub(super) name: String,
    /// Path on the twin's side, without symbolic links.
    pub(super) path: PathBuf,
    needs: Needs,
    /// What the handler looks at.
    pub(super) dependencies: Vec<(String, Option<Identity>)>,
}

impl Prover<'_> {
    /// Everything that the loader will load for a program, each proven.
    pub(super) fn closure(
        &mut self,
        needs: &Needs,
        beside: bool,
    ) -> Result<Vec<Arc<Library>>, Reason> {
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
        let folder = place.parent().unwrap_or(Path::new("/")).join("glibc-hwcaps");
        for kind in self.request.native_root.read_dir(&folder).unwrap_or_default() {
            let better = folder.join(kind).join(name);
            if self.request.native_root.exists(&better) {
                return Err(Reason::Hwcaps(better));
            }
        }
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
}

/// The directories in which the loader of a tree looks before the usual ones (ldconfig(8)).
pub(super) fn configured_folders(root: &Root) -> Vec<PathBuf> {
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

/// Where the loader looks when nothing else is said (ld.so(8)), as Debian builds it.
pub(super) fn usual_folders(triplet: &str) -> Vec<PathBuf> {
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
