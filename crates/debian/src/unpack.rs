//! The packages of a resolution into an empty root, as dpkg would unpack them, without running anything.
//!
//! Packages are decompressed in parallel and extracted one after the other in a fixed order, so the result does
//! not depend on the number of cores. Maintainer scripts, `preinst` included, are left to [`crate::configure`],
//! as in debootstrap and mmdebstrap, which extract the base first and run its scripts afterwards. Diversions
//! that a `preinst` would make are therefore too late for files of the packages of this resolution; two
//! packages with the same file are an error unless one replaces the other.

use std::collections::BTreeSet;
use std::path::Path;

use anyarch_layer::Root;

use crate::control::Paragraph;
use crate::database::{self, Conffile, Unpacked};
use crate::deb::Deb;
use crate::error::DebianError;
use crate::extract::{Extraction, Wishes};
use crate::fetch::Packages;
use crate::order::order;
use crate::pipeline;
use crate::resolution::{Progress, Resolution, Selected};
use crate::source::Source;

/// Links of merged /usr that every architecture has (usrmerge(7)).
const MERGED: [&str; 3] = ["bin", "sbin", "lib"];

/// Unpacks all packages into `root`, which should be empty.
///
/// Afterwards dpkg's database says `install ok unpacked` for each. Configuration files of the base (essential
/// and required packages and what they need) are in place, so that its scripts find them as debootstrap's do;
/// those of other packages wait as `.dpkg-new`. The root itself gets mode 0755 and owner 0:0.
pub fn unpack(
    resolution: &Resolution,
    packages: &dyn Packages,
    root: &Root,
    on: &(dyn Fn(Progress) + Sync),
) -> Result<(), DebianError> {
    unpack_some(resolution, packages, root, &|_| true, on)
}

/// Unpacks as [`unpack`] does, but only the files and links whose absolute path `keep` accepts; folders all.
///
/// dpkg's database names the others too, as if they had been removed later.
pub fn unpack_some(
    resolution: &Resolution,
    packages: &dyn Packages,
    root: &Root,
    keep: &dyn Fn(&str) -> bool,
    on: &(dyn Fn(Progress) + Sync),
) -> Result<(), DebianError> {
    let mut all = Vec::new();
    for selected in &resolution.packages {
        all.push(open(selected, packages)?);
    }
    let controls: Vec<&Paragraph> = all.iter().map(|deb| &deb.control).collect();
    let order = order(&controls, &resolution.architecture);
    // base-files first: it decides modes and owners of the folders that all packages share.
    let mut sequence = order.sequence.clone();
    sequence.sort_by_key(|n| {
        resolution.packages.get(*n).is_none_or(|selected| selected.name != "base-files")
    });

    prepare(root, &resolution.architecture)?;
    database::create(root)?;
    let mut extraction = Extraction::new(root, &resolution.architecture, keep);
    let (mut unpacked, mut triggers) = (Vec::new(), Vec::new());
    let threads = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    let open_data = |position: usize| {
        let number = sequence.get(position).copied().unwrap_or(0);
        // Opened again here: a set of packages may be larger than the number of files a process may open.
        let file =
            resolution.packages.get(number).and_then(|selected| packages.open(&selected.sha256));
        let (deb, file) = all.get(number).zip(file).ok_or(std::io::ErrorKind::NotFound)?;
        deb.data(file)
    };
    let count = sequence.len();
    pipeline::in_order(count, threads, &open_data, &mut |position, data| {
        let Some(number) = sequence.get(position) else { return Ok(()) };
        let Some(deb) = all.get(*number) else { return Ok(()) };
        let name = deb.control.get("Package").unwrap_or("").to_owned();
        on(Progress::Unpacking { package: name, number: position + 1, of: count });
        let in_base = order.base.contains(number);
        unpacked.push(one(&mut extraction, deb, data, !in_base)?);
        triggers.push(deb.text("triggers"));
        Ok::<(), DebianError>(())
    })?;
    let extraction = extraction.finish()?;
    for (number, lost) in &extraction.lost {
        if let Some(package) = unpacked.get_mut(*number) {
            package.files.retain(|file| !lost.contains(file));
        }
    }
    database::write_status(root, &unpacked, &triggers)?;
    database::write_automatic(root, resolution)
}

/// Opens a selected package and checks that it is the one selected.
fn open(selected: &Selected, packages: &dyn Packages) -> Result<Deb, DebianError> {
    let mut file = packages.open(&selected.sha256).ok_or_else(|| DebianError::NotDownloaded {
        package: selected.name.clone(),
        digest: selected.sha256.clone(),
    })?;
    let deb = Deb::open(&selected.name, &mut file)?;
    let fields = [
        ("Package", &selected.name),
        ("Version", &selected.version),
        ("Architecture", &selected.architecture),
    ];
    for (field, expected) in fields {
        let actual = deb.control.get(field).unwrap_or("");
        if actual != expected {
            return Err(DebianError::Package {
                package: selected.name.clone(),
                reason: format!("its `{field}` is `{actual}`, the index says `{expected}`"),
            });
        }
    }
    Ok(deb)
}

/// Extracts one package and writes its control files.
fn one(
    extraction: &mut Extraction<'_>,
    deb: &Deb,
    data: &mut dyn std::io::Read,
    defer_conffiles: bool,
) -> Result<Unpacked, DebianError> {
    let text = deb.text("conffiles");
    // A line with a flag (`remove-on-upgrade /etc/x`) names a file that the package no longer has.
    let paths: Vec<String> = text
        .lines()
        .map(str::trim)
        .filter(|line| line.starts_with('/'))
        .map(str::to_owned)
        .collect();
    let conffiles: BTreeSet<String> = paths.iter().cloned().collect();
    let hash_all = !deb.files.contains_key("md5sums");
    let wishes = Wishes { conffiles: &conffiles, defer_conffiles, hash_all };
    let extracted = extraction.package(&deb.control, data, &wishes)?;
    let hash = |path: &String| match extracted.md5.get(path) {
        Some(md5) if !defer_conffiles => md5.clone(),
        _ => "newconffile".to_owned(),
    };
    let md5sums = hash_all.then(|| {
        let listed = extracted.md5.iter().filter(|(path, _)| !conffiles.contains(*path));
        listed.map(|(path, md5)| format!("{md5}  {}\n", path.trim_start_matches('/'))).collect()
    });
    let unpacked = Unpacked {
        control: deb.control.clone(),
        conffiles: paths.iter().map(|p| Conffile { path: p.clone(), hash: hash(p) }).collect(),
        files: extracted.files,
        md5sums,
    };
    database::write_info(extraction.root, &unpacked, deb)?;
    Ok(unpacked)
}

/// The root's own attributes and the links of merged /usr.
fn prepare(root: &Root, architecture: &str) -> Result<(), DebianError> {
    let fail = |operation, path: &str| DebianError::root(operation, path);
    root.set_mode(Path::new("/"), 0o755).map_err(fail("set the mode of", "/"))?;
    root.set_owner(Path::new("/"), 0, 0).map_err(fail("set the owner of", "/"))?;
    for name in MERGED.iter().chain(library_folders(architecture)) {
        let folder = format!("/usr/{name}");
        root.create_dir_all(Path::new(&folder), 0o755, 0, 0).map_err(fail("make", &folder))?;
        if !root.exists(Path::new(name)) {
            let target = format!("usr/{name}");
            root.symlink(Path::new(&target), Path::new(name))
                .map_err(fail("make the link", name))?;
        }
    }
    Ok(())
}

/// The folder of the dynamic loader that an architecture has beside `lib`; on others the loader is in `lib`.
fn library_folders(architecture: &str) -> &'static [&'static str] {
    match architecture {
        "amd64" | "loong64" | "mips64el" | "ppc64" | "ppc64el" | "sparc64" => &["lib64"],
        "x32" => &["libx32"],
        _ => &[],
    }
}

/// Writes `/etc/apt/sources.list.d/debian.sources` (deb822), so that later steps in the root can use apt.
///
/// Entries trust `debian-archive-keyring`'s keyring, or one written beside them when a source has its own.
pub fn write_sources(root: &Root, sources: &[Source]) -> Result<(), DebianError> {
    let folder = "/etc/apt/sources.list.d";
    root.create_dir_all(Path::new(folder), 0o755, 0, 0)
        .map_err(DebianError::root("make", folder))?;
    let mut text = String::new();
    for (number, source) in sources.iter().enumerate() {
        let mut keyring = "/usr/share/keyrings/debian-archive-keyring.gpg".to_owned();
        if let Some(keys) = &source.signed_by {
            let kind = if keys.starts_with(b"-----BEGIN") { "asc" } else { "gpg" };
            keyring = format!("/etc/apt/keyrings/source-{}.{kind}", number + 1);
            root.create_dir_all(Path::new("/etc/apt/keyrings"), 0o755, 0, 0)
                .map_err(DebianError::root("make", "/etc/apt/keyrings"))?;
            database::write(root, &keyring, keys, 0o644)?;
        }
        let (uri, suite, components) = (&source.uri, &source.suite, source.components.join(" "));
        text.push_str(&format!(
            "Types: deb\nURIs: {uri}\nSuites: {suite}\nComponents: {components}\nSigned-By: {keyring}\n\n"
        ));
    }
    let text = format!("{}\n", text.trim_end());
    database::write(root, &format!("{folder}/debian.sources"), text.as_bytes(), 0o644)
}
