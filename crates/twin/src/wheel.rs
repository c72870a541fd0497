//! Programs that pip installed: the `dist-info` directories of a tree ("Recording installed projects",
//! PEP 376 and 627) say of which distribution and version a file is, and with which digest it came.

use std::path::{Component, Path, PathBuf};

use anyarch_layer::Root;

/// A file as its distribution recorded it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Recorded {
    /// Name of the distribution.
    pub(crate) name: String,
    /// Its version.
    pub(crate) version: String,
    /// SHA-256 of the file, base64 for URLs without padding.
    pub(crate) sha256: String,
}

/// Looks a program up in the distributions of the Pythons beside it: for `PREFIX/bin/NAME` those in
/// `PREFIX/lib/python3.*`. `None` where none of these names has it.
pub(crate) fn recorded(root: &Root, names: &[String], program: &Path) -> Option<Recorded> {
    let libraries = program.parent()?.parent()?.join("lib");
    let pythons = root.read_dir(&libraries).ok()?.into_iter();
    let pythons = pythons.filter(|name| name.to_string_lossy().starts_with("python3"));
    for python in pythons {
        for site in ["site-packages", "dist-packages"] {
            let site = libraries.join(&python).join(site);
            for folder in root.read_dir(&site).unwrap_or_default() {
                let folder = folder.to_string_lossy().into_owned();
                // `NAME-VERSION.dist-info`; a name has no hyphen there.
                let Some((name, version)) =
                    folder.strip_suffix(".dist-info").and_then(|stem| stem.split_once('-'))
                else {
                    continue;
                };
                if !names.iter().any(|known| known == name) {
                    continue;
                }
                let record = root.read(&site.join(&folder).join("RECORD")).unwrap_or_default();
                let record = String::from_utf8_lossy(&record).into_owned();
                let digest = record.lines().find_map(|line| digest_of(line, &site, program));
                if let Some(sha256) = digest {
                    let (name, version) = (name.to_owned(), version.to_owned());
                    return Some(Recorded { name, version, sha256 });
                }
            }
        }
    }
    None
}

/// The digest in a line of RECORD, if it is about this file.
fn digest_of(line: &str, site: &Path, program: &Path) -> Option<String> {
    let mut fields = line.rsplitn(3, ',');
    let (_size, digest, path) = (fields.next()?, fields.next()?, fields.next()?);
    let digest = digest.strip_prefix("sha256=")?;
    (lexical(&site.join(path)) == program).then(|| digest.to_owned())
}

/// A path without `..`, as text alone has it.
fn lexical(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(out.pop()),
            part => out.push(part),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_in_the_records_beside_them() {
        let folder = tempfile::tempdir().unwrap();
        let site = folder.path().join("usr/local/lib/python3.11/dist-packages");
        let info = site.join("uv-0.9.1.dist-info");
        std::fs::create_dir_all(&info).unwrap();
        std::fs::create_dir_all(site.join("uvloop-1.dist-info")).unwrap();
        let record =
            "../../../bin/uv,sha256=abc-_,123\n../../../bin/uvx,,\nuv/__init__.py,sha256=d,1\n";
        std::fs::write(info.join("RECORD"), record).unwrap();
        let root = Root::open(folder.path()).unwrap();
        let find = |names: &[&str], path: &str| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            recorded(&root, &names, Path::new(path))
        };
        let found = find(&["uv"], "/usr/local/bin/uv").unwrap();
        assert_eq!((found.name.as_str(), found.version.as_str()), ("uv", "0.9.1"));
        assert_eq!(found.sha256, "abc-_");
        // Without a digest, of another distribution, elsewhere.
        assert_eq!(find(&["uv"], "/usr/local/bin/uvx"), None);
        assert_eq!(find(&["uvloop"], "/usr/local/bin/uv"), None);
        assert_eq!(find(&["uv"], "/usr/bin/uv"), None);
    }
}
