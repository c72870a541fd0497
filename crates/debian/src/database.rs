//! dpkg's database (`/var/lib/dpkg`) as dpkg leaves it after unpacking, and apt's list of automatic packages.
//!
//! `status`, `info/*` (format 1: packages that are `Multi-Arch: same` carry their architecture in file names),
//! `triggers/*`. Paragraphs and lists in, files in the root out.

use std::collections::BTreeMap;
use std::path::Path;

use anyarch_layer::Root;

use crate::control::{Paragraph, Paragraphs};
use crate::deb::Deb;
use crate::error::DebianError;
use crate::resolution::Resolution;

/// Where the database is in a root.
pub(crate) const ADMIN_DIR: &str = "/var/lib/dpkg";

/// A configuration file of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Conffile {
    /// Absolute path.
    pub(crate) path: String,
    /// MD5 of the file when it is in its place, `newconffile` while it waits as `.dpkg-new`.
    pub(crate) hash: String,
}

/// What dpkg knows of one unpacked package.
#[derive(Debug, Clone)]
pub(crate) struct Unpacked {
    pub(crate) control: Paragraph,
    pub(crate) conffiles: Vec<Conffile>,
    /// Paths as `info/*.list` has them, in the order of the archive.
    pub(crate) files: Vec<String>,
    /// Lines of `info/*.md5sums` when the package brings none.
    pub(crate) md5sums: Option<String>,
}

impl Unpacked {
    pub(crate) fn name(&self) -> &str {
        self.control.get("Package").unwrap_or("")
    }

    /// `libc6:amd64` for `Multi-Arch: same`, else the bare name: how dpkg names files and triggers.
    pub(crate) fn qualified_name(&self) -> String {
        qualified_name(&self.control)
    }

    /// The paragraph for `status`.
    fn status(&self) -> Paragraph {
        let mut status = Paragraph::default();
        status.set("Package", self.name());
        status.set("Status", "install ok unpacked");
        for (name, value) in self.control.fields().filter(|(name, _)| *name != "Package") {
            status.set(name, value);
        }
        if !self.conffiles.is_empty() {
            let lines: Vec<String> =
                self.conffiles.iter().map(|c| format!("\n {} {}", c.path, c.hash)).collect();
            status.set("Conffiles", lines.concat());
        }
        status
    }
}

pub(crate) fn qualified_name(control: &Paragraph) -> String {
    let name = control.get("Package").unwrap_or("");
    match control.get("Architecture") {
        Some(architecture) if control.get("Multi-Arch") == Some("same") => {
            format!("{name}:{architecture}")
        }
        _ => name.to_owned(),
    }
}

/// Folders and fixed files of an empty database.
pub(crate) fn create(root: &Root) -> Result<(), DebianError> {
    for folder in ["info", "triggers", "updates", "alternatives"] {
        let path = format!("{ADMIN_DIR}/{folder}");
        root.create_dir_all(Path::new(&path), 0o755, 0, 0)
            .map_err(DebianError::root("make", &path))?;
    }
    write(root, &format!("{ADMIN_DIR}/info/format"), b"1\n", 0o644)?;
    write(root, &format!("{ADMIN_DIR}/triggers/Unincorp"), b"", 0o644)?;
    write(root, &format!("{ADMIN_DIR}/triggers/Lock"), b"", 0o600)
}

/// The control files of a package, without `control` and with the lists that dpkg makes.
pub(crate) fn write_info(root: &Root, unpacked: &Unpacked, deb: &Deb) -> Result<(), DebianError> {
    let base = format!("{ADMIN_DIR}/info/{}", unpacked.qualified_name());
    for (name, file) in &deb.files {
        write(root, &format!("{base}.{name}"), &file.content, file.mode)?;
    }
    if let Some(md5sums) = &unpacked.md5sums {
        write(root, &format!("{base}.md5sums"), md5sums.as_bytes(), 0o644)?;
    }
    Ok(())
}

/// `info/*.list` and `status` of all packages, and the triggers that they are interested in.
pub(crate) fn write_status(
    root: &Root,
    packages: &[Unpacked],
    triggers: &[String],
) -> Result<(), DebianError> {
    let mut sorted: Vec<&Unpacked> = packages.iter().collect();
    sorted.sort_by_key(|package| package.qualified_name());
    let mut status = String::new();
    for package in sorted {
        let mut list = package.files.join("\n");
        list.push('\n');
        let path = format!("{ADMIN_DIR}/info/{}.list", package.qualified_name());
        write(root, &path, list.as_bytes(), 0o644)?;
        status.push_str(&package.status().to_string());
        status.push('\n');
    }
    write(root, &format!("{ADMIN_DIR}/status"), status.as_bytes(), 0o644)?;
    write_triggers(root, packages, triggers)
}

/// `triggers/File` for paths, `triggers/NAME` for names; `texts` are the packages' `triggers` files.
fn write_triggers(root: &Root, packages: &[Unpacked], texts: &[String]) -> Result<(), DebianError> {
    let (mut paths, mut names) = (String::new(), BTreeMap::<&str, String>::new());
    for (package, text) in packages.iter().zip(texts) {
        for line in text.lines().map(|line| line.split('#').next().unwrap_or("").trim()) {
            let mut words = line.split_whitespace();
            let suffix = match words.next() {
                Some("interest" | "interest-await") => "",
                Some("interest-noawait") => "/noawait",
                _ => continue,
            };
            let Some(trigger) = words.next() else { continue };
            let interested = format!("{}{suffix}\n", package.qualified_name());
            if trigger.starts_with('/') {
                paths.push_str(&format!("{trigger} {interested}"));
            } else if !trigger.contains('/') {
                names.entry(trigger).or_default().push_str(&interested);
            }
        }
    }
    write(root, &format!("{ADMIN_DIR}/triggers/File"), paths.as_bytes(), 0o644)?;
    for (trigger, interested) in names {
        write(root, &format!("{ADMIN_DIR}/triggers/{trigger}"), interested.as_bytes(), 0o644)?;
    }
    Ok(())
}

/// `/var/lib/apt/extended_states`: which packages are there only because others need them.
pub(crate) fn write_automatic(root: &Root, resolution: &Resolution) -> Result<(), DebianError> {
    let automatic = resolution.packages.iter().filter(|package| package.automatic);
    let text: String = automatic
        .map(|package| {
            let architecture = &resolution.architecture;
            format!(
                "Package: {}\nArchitecture: {architecture}\nAuto-Installed: 1\n\n",
                package.name
            )
        })
        .collect();
    if text.is_empty() {
        return Ok(());
    }
    root.create_dir_all(Path::new("/var/lib/apt"), 0o755, 0, 0)
        .map_err(DebianError::root("make", "/var/lib/apt"))?;
    write(root, "/var/lib/apt/extended_states", text.as_bytes(), 0o644)
}

/// The entries of `status`.
pub(crate) fn read_status(root: &Root) -> Result<Vec<Paragraph>, DebianError> {
    let path = format!("{ADMIN_DIR}/status");
    let text = root.read(Path::new(&path)).map_err(DebianError::root("read", &path))?;
    Paragraphs::new(text.as_slice())
        .collect::<Result<_, _>>()
        .map_err(|source| DebianError::Control { object: path, source })
}

/// Writes a file of the root, new or in place of an old one, owned by root.
pub(crate) fn write(root: &Root, path: &str, content: &[u8], mode: u32) -> Result<(), DebianError> {
    root.write(Path::new(path), content, mode).map_err(DebianError::root("write", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unpacked(control: &str) -> Unpacked {
        Unpacked {
            control: Paragraph::parse(control).unwrap().unwrap(),
            conffiles: vec![Conffile { path: "/etc/a".into(), hash: "newconffile".into() }],
            files: vec!["/.".into(), "/etc".into(), "/etc/a".into()],
            md5sums: None,
        }
    }

    #[test]
    fn status_and_lists_are_as_dpkg_writes_them() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::open(folder.path()).unwrap();
        create(&root).unwrap();
        let packages =
            [unpacked("Package: lib\nVersion: 1\nArchitecture: amd64\nMulti-Arch: same\n")];
        let triggers = "# c\ninterest-noawait /usr/lib\ninterest ldconfig\nactivate x\n".to_owned();
        write_status(&root, &packages, &[triggers]).unwrap();
        let read = |path: &str| std::fs::read_to_string(folder.path().join(path)).unwrap();
        assert_eq!(
            read("var/lib/dpkg/status"),
            "Package: lib\nStatus: install ok unpacked\nVersion: 1\nArchitecture: amd64\nMulti-Arch: same\n\
             Conffiles:\n /etc/a newconffile\n\n"
        );
        assert_eq!(read("var/lib/dpkg/info/lib:amd64.list"), "/.\n/etc\n/etc/a\n");
        assert_eq!(read("var/lib/dpkg/triggers/File"), "/usr/lib lib:amd64/noawait\n");
        assert_eq!(read("var/lib/dpkg/triggers/ldconfig"), "lib:amd64\n");
        assert_eq!(read_status(&root).unwrap().len(), 1);
    }
}
