//! Files of both sides → whether they are from the same version of the same thing.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyarch_handler::layout::Identity;
use anyarch_layer::Root;

use super::{Prover, file_name};
use crate::elf::{self, Looked, Needs};
use crate::reason::Reason;

/// How deep a directory is watched for new files.
const MAX_DEPTH: usize = 4;
/// With fewer modules beside it, a program without a package proves nothing.
const FEWEST_MODULES: usize = 20;

impl Prover<'_> {
    /// What the twin of a file needs, if both are from the same version of one package, and as
    /// that installed them. `None` where there is no twin at all.
    pub(super) fn same(
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
        if ours.name != theirs.name || !self.foreign.same_version(&ours.version, &theirs.version) {
            return Err(Reason::OtherVersion {
                package: ours.name.clone(),
                foreign: ours.version.clone(),
                native: theirs.version.clone(),
            });
        }
        if !looked.has(&sum, &|| roots.0.read(&foreign_path).ok()) {
            return Err(Reason::Changed(foreign_path));
        }
        if !twin.has(&twin_sum, &|| roots.1.read(&native_path).ok()) {
            return Err(Reason::Changed(native_path));
        }
        self.native(twin.elf.clone(), &native_path)
    }

    /// What a file of the twins' tree needs, if it is for this machine: a tree may hold others.
    fn native(&self, needs: Option<Needs>, path: &Path) -> Result<Option<Needs>, Reason> {
        match &needs {
            Some(found) if found.machine != self.request.native.elf => {
                Err(Reason::OtherMachine(path.to_owned()))
            }
            _ => Ok(needs),
        }
    }

    /// What the twin of a program that no package owns needs, if the modules beside it are the same
    /// on both sides: then both are the same version of it, built alike.
    pub(super) fn same_beside(&self, path: &Path, folder: &Path) -> Result<Needs, Reason> {
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
    pub(super) fn unpackaged(&self, path: &Path) -> Result<Needs, Reason> {
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
        let looked = self.known.look(&mut file);
        let looked = looked.map_err(|_| Reason::Unreadable(resolved.clone()))?.1;
        self.native(looked.elf.clone(), &resolved)?.ok_or(Reason::NoTwin)
    }

    /// What the handler looks at so that it sees when something at a path has changed.
    pub(super) fn watched(&self, path: &Path) -> (String, Option<Identity>) {
        let identity = self.request.foreign_root.resolve(path).ok().and_then(|resolved| {
            let relative = resolved.strip_prefix("/").unwrap_or(&resolved);
            let real = self.request.foreign_root.path().join(relative);
            std::fs::symlink_metadata(real).ok().map(|meta| elf::identity_of(&meta))
        });
        (path.display().to_string(), identity)
    }

    /// Checks that a directory of modules holds the same files on both sides, and watches it.
    pub(super) fn same_tree(&self, tree: &Path) -> Result<Vec<(String, Option<Identity>)>, Reason> {
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
