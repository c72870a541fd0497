//! dpkg's database of a tree (dpkg(1), "FILES"): whose a file is, in which version, and what it was
//! when it was installed.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyarch_layer::Root;

use super::{Package, Sum, as_listed};

const INFO: &str = "/var/lib/dpkg/info";
const STATUS: &str = "/var/lib/dpkg/status";

/// The database of one tree.
pub(crate) struct Dpkg<'a> {
    root: &'a Root,
    packages: Vec<Package>,
    /// Position in `packages` → what its files in `/var/lib/dpkg/info` begin with.
    stems: Vec<String>,
    /// Listed path → position in `packages`.
    owners: HashMap<PathBuf, usize>,
    /// Position in `packages` → listed path → MD5 sum in hexadecimal; read when asked for.
    sums: Mutex<HashMap<usize, HashMap<PathBuf, String>>>,
}

impl Dpkg<'_> {
    /// Reads the database; `None` where the tree has none.
    pub(super) fn read(root: &Root) -> Option<Dpkg<'_>> {
        let status = root.read(Path::new(STATUS)).ok()?;
        let mut by_stem: HashMap<String, (String, String)> = HashMap::new();
        for (name, version, architecture) in paragraphs(&String::from_utf8_lossy(&status)) {
            by_stem.insert(format!("{name}:{architecture}"), (name.clone(), version.clone()));
            by_stem.insert(name.clone(), (name, version));
        }
        let (mut packages, mut stems, mut owners) = (Vec::new(), Vec::new(), HashMap::new());
        for file in root.read_dir(Path::new(INFO)).ok()? {
            let Some(stem) = file.to_str().and_then(|file| file.strip_suffix(".list")) else {
                continue;
            };
            let Some((name, version)) = by_stem.get(stem) else { continue };
            let Ok(list) = root.read(&Path::new(INFO).join(&file)) else { continue };
            let number = packages.len();
            packages.push(Package { name: name.clone(), version: version.clone() });
            stems.push(stem.to_owned());
            for path in String::from_utf8_lossy(&list).lines() {
                owners.insert(PathBuf::from(path), number);
            }
        }
        Some(Dpkg { root, packages, stems, owners, sums: Mutex::default() })
    }

    /// The package that a file (its path without symbolic links) belongs to, and the MD5 sum that
    /// it was installed with.
    pub(super) fn owner(&self, path: &Path) -> Option<(&Package, Sum)> {
        let mut listed = as_listed(path);
        let (listed, number) =
            listed.find_map(|path| self.owners.get(&path).map(|number| (path, *number)))?;
        let package = self.packages.get(number)?;
        let mut sums = self.sums.lock().unwrap_or_else(PoisonError::into_inner);
        let of_package = sums.entry(number).or_insert_with(|| self.read_sums(number));
        of_package.get(&listed).map(|sum| (package, Sum::Md5(sum.clone())))
    }

    fn read_sums(&self, number: usize) -> HashMap<PathBuf, String> {
        let Some(stem) = self.stems.get(number) else { return HashMap::new() };
        let path = Path::new(INFO).join(format!("{stem}.md5sums"));
        let text = self.root.read(&path).unwrap_or_default();
        String::from_utf8_lossy(&text)
            .lines()
            .filter_map(|line| line.split_once("  "))
            .map(|(sum, path)| (Path::new("/").join(path), sum.to_owned()))
            .collect()
    }

    /// What the tree has.
    pub(super) fn packages(&self) -> &[Package] {
        &self.packages
    }
}

/// The names of all packages that a tree has; none where it has no database.
pub fn installed(root: &Root) -> BTreeSet<String> {
    let status = root.read(Path::new(STATUS)).unwrap_or_default();
    let packages = paragraphs(&String::from_utf8_lossy(&status));
    packages.into_iter().map(|(name, _, _)| name).collect()
}

/// Name, version and architecture of every package in the text of a status file that has files.
fn paragraphs(text: &str) -> Vec<(String, String, String)> {
    let mut found = Vec::new();
    for paragraph in text.split("\n\n") {
        let field = |name: &str| {
            paragraph
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
                .map(|value| value.trim().to_owned())
        };
        let unpacked = field("Status").is_some_and(|status| {
            !status.ends_with(" not-installed") && !status.ends_with(" config-files")
        });
        if let (true, Some(name), Some(version), Some(architecture)) =
            (unpacked, field("Package"), field("Version"), field("Architecture"))
        {
            found.push((name, version, architecture));
        }
    }
    found
}

/// Whether two versions are of the same source: the same, but for a number of a rebuild without
/// changes (Debian developers reference, "binary-only non-maintainer upload": `+b1`).
pub(super) fn same_source(a: &str, b: &str) -> bool {
    let source = |version: &str| -> usize {
        match version.rfind("+b") {
            Some(at)
                if version.len() > at + 2
                    && version.bytes().skip(at + 2).all(|byte| byte.is_ascii_digit()) =>
            {
                at
            }
            _ => version.len(),
        }
    };
    a.get(..source(a)) == b.get(..source(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rebuilds_without_changes_are_the_same_source() {
        assert!(same_source("3.4-1+b6", "3.4-1+b7"));
        assert!(same_source("3.4-1", "3.4-1+b7"));
        assert!(same_source("1:2+b1-1", "1:2+b1-1"));
        for (a, b) in
            [("3.4-1", "3.4-2"), ("3.4-1+deb12u1", "3.4-1"), ("3.4+bar", "3.4"), ("1+b", "1")]
        {
            assert!(!same_source(a, b), "{a} {b}");
        }
    }

    #[test]
    fn files_have_owners_before_and_after_the_merge() {
        let folder = tempfile::tempdir().unwrap();
        let info = folder.path().join("var/lib/dpkg/info");
        std::fs::create_dir_all(&info).unwrap();
        let status = "Package: tar\nStatus: install ok unpacked\nArchitecture: arm64\nVersion: 1.34\n \
            more\n\nPackage: gone\nStatus: deinstall ok config-files\nVersion: 1\nArchitecture: all\n";
        std::fs::write(folder.path().join("var/lib/dpkg/status"), status).unwrap();
        std::fs::write(info.join("tar:arm64.list"), "/.\n/bin\n/bin/tar\n/usr/sbin/rmt\n").unwrap();
        std::fs::write(info.join("tar:arm64.md5sums"), "abc  bin/tar\n").unwrap();
        std::fs::write(info.join("gone.list"), "/bin/gone\n").unwrap();
        let root = Root::open(folder.path()).unwrap();
        let database = Dpkg::read(&root).unwrap();
        for path in ["/bin/tar", "/usr/bin/tar"] {
            let (package, sum) = database.owner(Path::new(path)).unwrap();
            assert_eq!((package.name.as_str(), package.version.as_str()), ("tar", "1.34"));
            assert_eq!(sum, Sum::Md5("abc".to_owned()));
        }
        assert!(database.owner(Path::new("/usr/sbin/rmt")).is_none(), "it has no sum");
        assert!(database.owner(Path::new("/bin/gone")).is_none());
        assert_eq!(installed(&root), ["tar".to_owned()].into());
    }

    #[test]
    fn a_tree_without_database_has_none() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Dpkg::read(&Root::open(folder.path()).unwrap()).is_none());
    }
}
