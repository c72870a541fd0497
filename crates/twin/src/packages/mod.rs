//! The package database of a tree: whose a file is, in which version, and what it was when it was
//! installed.
//!
//! Three kinds are read: dpkg's, apk's and rpm's. What they say is all that a proof needs; what
//! their distributions are else like is the business of the table of programs.

mod apk;
mod dpkg;
mod rpm;
mod sqlite;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyarch_layer::Root;

pub use self::dpkg::installed;

/// What a database may have, in bytes; larger ones are made to be too large.
const MOST: u64 = 256 << 20;
/// What a path may have (PATH_MAX of Linux).
const LONGEST_PATH: usize = 4096;

/// Who keeps a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Dpkg,
    Apk,
    Rpm,
}

/// A package that is unpacked or installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Package {
    /// Name.
    pub(crate) name: String,
    /// Version, whole: with epoch and release.
    pub(crate) version: String,
}

/// The digest that a file was installed with, in hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Sum {
    Md5(String),
    Sha1(String),
    Sha256(String),
}

/// The database of one tree.
pub(crate) enum Database<'a> {
    /// dpkg's, whose sums are read when asked for.
    Dpkg(dpkg::Dpkg<'a>),
    /// One that was read whole.
    Read(Kind, Listed),
}

/// All packages of a tree and their files.
#[derive(Debug, Default)]
pub(crate) struct Listed {
    packages: Vec<Package>,
    /// Path → position in `packages`, and the file's digest.
    files: HashMap<PathBuf, (usize, Sum)>,
}

impl Database<'_> {
    /// Reads the database; `None` where the tree has none that can be read.
    pub(crate) fn read(root: &Root) -> Option<Database<'_>> {
        dpkg::Dpkg::read(root)
            .map(Database::Dpkg)
            .or_else(|| apk::read(root).map(|listed| Database::Read(Kind::Apk, listed)))
            .or_else(|| rpm::read(root).map(|listed| Database::Read(Kind::Rpm, listed)))
    }

    /// Whether two versions of a package have the same source.
    pub(crate) fn same_version(&self, a: &str, b: &str) -> bool {
        match self.kind() {
            Kind::Dpkg => dpkg::same_source(a, b),
            Kind::Apk | Kind::Rpm => a == b,
        }
    }

    /// Who keeps it.
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Database::Dpkg(_) => Kind::Dpkg,
            Database::Read(kind, _) => *kind,
        }
    }

    /// The package that a file (its path without symbolic links) belongs to, and the digest that it
    /// was installed with.
    pub(crate) fn owner(&self, path: &Path) -> Option<(&Package, Sum)> {
        match self {
            Database::Dpkg(database) => database.owner(path),
            Database::Read(_, listed) => {
                let (number, sum) = as_listed(path).find_map(|path| listed.files.get(&path))?;
                Some((listed.packages.get(*number)?, sum.clone()))
            }
        }
    }

    /// The version of a package, if the tree has it.
    pub(crate) fn version(&self, name: &str) -> Option<&str> {
        let packages = match self {
            Database::Dpkg(database) => database.packages(),
            Database::Read(_, listed) => &listed.packages,
        };
        let package = packages.iter().find(|package| package.name == name)?;
        Some(&package.version)
    }
}

/// A file that is read whole, unless it is too large for what it is said to be.
fn read(root: &Root, path: &Path) -> Option<Vec<u8>> {
    root.metadata(path).ok().filter(|meta| meta.size <= MOST)?;
    root.read(path).ok()
}

/// A file in a folder, unless no file can have such a name.
fn path_of(folder: &Path, name: &str) -> Option<PathBuf> {
    (folder.as_os_str().len() + name.len() < LONGEST_PATH).then(|| folder.join(name))
}

/// The names that a package may have for a file: as it is, and as before the merge of /usr, where the
/// tree has links.
fn as_listed(path: &Path) -> impl Iterator<Item = PathBuf> {
    let before_merge = path.strip_prefix("/usr").ok().map(|path| Path::new("/").join(path));
    std::iter::once(path.to_owned()).chain(before_merge)
}

/// Bytes in hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
