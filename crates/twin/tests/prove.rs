//! Which programs get an entry, on trees made for it.
//!
//! Native programs are this machine's dash and its C library; the foreign ones are copies that say
//! they are for another machine. Both trees have a package database.
#![cfg(target_arch = "x86_64")]
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyarch_layer::Root;
use anyarch_twin::{Data, Known, Reason, Request, Twins, Wanted, lacks, prove};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest, Md5};
use sha1::Sha1;

const NATIVE: &str = "x86_64-linux-gnu";
const FOREIGN: &str = "aarch64-linux-gnu";
const HIDDEN: &str = "/proc/3";

/// A tree with packages in it.
struct Tree {
    folder: tempfile::TempDir,
    foreign: bool,
    /// Whether the database is apk's, and not dpkg's.
    apk: bool,
    packages: BTreeMap<String, (String, Vec<PathBuf>)>,
}

impl Tree {
    fn new(foreign: bool) -> Tree {
        let folder = tempfile::tempdir().unwrap();
        let mut tree = Tree { folder, foreign, apk: false, packages: BTreeMap::new() };
        let loader =
            if foreign { "/lib/ld-linux-aarch64.so.1" } else { "/lib64/ld-linux-x86-64.so.2" };
        tree.program("libc6", "2.36-9", loader);
        tree.program("libc6", "2.36-9", &format!("/lib/{}/libc.so.6", tree.triplet()));
        tree
    }

    /// A tree of apk's, with this C library.
    fn of_apk(foreign: bool, libc: &str) -> Tree {
        let folder = tempfile::tempdir().unwrap();
        let mut tree = Tree { folder, foreign, apk: true, packages: BTreeMap::new() };
        let loader =
            if foreign { "/lib/ld-linux-aarch64.so.1" } else { "/lib64/ld-linux-x86-64.so.2" };
        tree.program(libc, "2.41-r3", loader);
        tree.program(libc, "2.41-r3", "/lib/libc.so.6");
        tree
    }

    fn triplet(&self) -> &'static str {
        if self.foreign { FOREIGN } else { NATIVE }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join(path.trim_start_matches('/'))
    }

    fn write(&self, path: &str, content: &[u8]) {
        fs::create_dir_all(self.at(path).parent().unwrap()).unwrap();
        fs::write(self.at(path), content).unwrap();
        fs::set_permissions(self.at(path), fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// This machine's file of the same use, as one of the tree's platform.
    fn unpackaged(&self, path: &str) {
        let source = match Path::new(path).file_name().unwrap().to_str().unwrap() {
            name if name.starts_with("ld-linux") => "/lib64/ld-linux-x86-64.so.2",
            "libc.so.6" => "/lib/x86_64-linux-gnu/libc.so.6",
            _ => "/bin/sh",
        };
        let mut bytes = fs::read(source).unwrap();
        if self.foreign {
            bytes[18..20].copy_from_slice(&183u16.to_le_bytes());
        }
        self.write(path, &bytes);
    }

    fn program(&mut self, package: &str, version: &str, path: &str) {
        self.unpackaged(path);
        let entry = self.packages.entry(package.into()).or_insert((version.into(), Vec::new()));
        entry.1.push(path.into());
        self.database();
    }

    fn database(&self) {
        if self.apk {
            return self.apk_database();
        }
        let architecture = if self.foreign { "arm64" } else { "amd64" };
        let mut status = String::new();
        for (name, (version, files)) in &self.packages {
            status.push_str(&format!(
                "Package: {name}\nStatus: install ok installed\nArchitecture: {architecture}\n\
                 Version: {version}\n\n"
            ));
            let list: String = files.iter().map(|file| format!("{}\n", file.display())).collect();
            let sums: String = files
                .iter()
                .map(|file| {
                    let bytes = fs::read(self.at(file.to_str().unwrap())).unwrap();
                    let sum: String =
                        Md5::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
                    format!("{sum}  {}\n", file.display().to_string().trim_start_matches('/'))
                })
                .collect();
            self.write(&format!("/var/lib/dpkg/info/{name}.list"), list.as_bytes());
            self.write(&format!("/var/lib/dpkg/info/{name}.md5sums"), sums.as_bytes());
        }
        self.write("/var/lib/dpkg/status", status.as_bytes());
    }
}

impl Tree {
    fn apk_database(&self) {
        let mut text = String::new();
        for (name, (version, files)) in &self.packages {
            text.push_str(&format!("P:{name}\nV:{version}\n"));
            for file in files {
                let bytes = fs::read(self.at(file.to_str().unwrap())).unwrap();
                let (folder, name) = (file.parent().unwrap(), file.file_name().unwrap());
                text.push_str(&format!(
                    "F:{}\nR:{}\nZ:Q1{}\n",
                    folder.display().to_string().trim_start_matches('/'),
                    name.display(),
                    STANDARD.encode(Sha1::digest(&bytes))
                ));
            }
            text.push('\n');
        }
        self.write("/lib/apk/db/installed", text.as_bytes());
    }
}

fn both(path: &str, package: &str, version: &str) -> (Tree, Tree) {
    let (mut foreign, mut native) = (Tree::new(true), Tree::new(false));
    foreign.program(package, version, path);
    native.program(package, version, path);
    (foreign, native)
}

fn proven(foreign: &Tree, native: &Tree) -> Twins {
    let data = Data::built_in().unwrap();
    let (foreign_root, native_root) =
        (Root::open(foreign.folder.path()).unwrap(), Root::open(native.folder.path()).unwrap());
    let environment = [("APT_CONFIG".to_owned(), "/dev/x.conf".to_owned())].into();
    let request = Request {
        data: &data,
        native: data.platform("linux/amd64").unwrap(),
        foreign: data.platform("linux/arm64").unwrap(),
        foreign_root: &foreign_root,
        native_root: &native_root,
        environment: &environment,
        hidden: HIDDEN,
    };
    prove(&request, &Known::default())
}

fn names(twins: &Twins) -> Vec<&str> {
    twins.table.entries.iter().map(|entry| entry.name.as_str()).collect()
}

fn reason(foreign: &Tree, native: &Tree) -> Reason {
    let twins = proven(foreign, native);
    assert_eq!(names(&twins), Vec::<&str>::new());
    twins.unproven.into_iter().next().unwrap().reason
}

#[test]
fn the_same_program_of_the_same_package_has_a_twin() {
    let (foreign, native) = both("/bin/tar", "tar", "1.34");
    let twins = proven(&foreign, &native);
    assert_eq!(names(&twins), ["tar"]);
    let entry = &twins.table.entries[0];
    assert_eq!(entry.program, "/proc/3/root/bin/tar");
    assert_eq!(entry.loader, "/proc/3/root/lib64/ld-linux-x86-64.so.2");
    assert!(entry.library_path.starts_with("/proc/3/root/lib/x86_64-linux-gnu"));
    let watched: Vec<&str> = entry.dependencies.iter().map(|(path, _)| path.as_str()).collect();
    assert!(watched.contains(&"/lib/aarch64-linux-gnu/libc.so.6"), "{watched:?}");
    assert!(watched.contains(&"/etc/ld.so.preload"), "{watched:?}");
    assert!(twins.files.iter().any(|(name, _)| name == "shim.so"));
}

#[test]
fn settings_of_the_step_come_first_in_what_apt_reads() {
    let (foreign, native) = both("/usr/bin/apt-get", "apt", "2.6.1");
    let twins = proven(&foreign, &native);
    assert_eq!(twins.table.variables[0].original.as_deref(), Some("APT_CONFIG=/dev/x.conf"));
    let text = twins.files.iter().find(|(name, _)| name == "apt.conf").unwrap();
    assert_eq!(text.1, b"#include \"/dev/x.conf\";\nAPT::Architecture \"arm64\";\n");
}

#[test]
fn programs_that_the_table_does_not_name_have_none() {
    let (foreign, native) = both("/bin/bash", "bash", "5.2");
    let twins = proven(&foreign, &native);
    assert!(twins.table.entries.is_empty() && twins.unproven.is_empty());
}

#[test]
fn another_version_is_not_the_same() {
    let (foreign, mut native) = both("/bin/tar", "tar", "1.34");
    native.packages.get_mut("tar").unwrap().0 = "1.35".into();
    native.database();
    let versions = ("tar".to_owned(), "1.34".to_owned(), "1.35".to_owned());
    let (package, foreign_version, native_version) = versions;
    assert_eq!(
        reason(&foreign, &native),
        Reason::OtherVersion { package, foreign: foreign_version, native: native_version }
    );
}

#[test]
fn a_program_or_library_that_was_replaced_is_not_the_same() {
    let (foreign, native) = both("/bin/tar", "tar", "1.34");
    let mut bytes = fs::read(foreign.at("/bin/tar")).unwrap();
    bytes.push(0);
    foreign.write("/bin/tar", &bytes);
    assert_eq!(reason(&foreign, &native), Reason::Changed("/bin/tar".into()));

    let (foreign, native) = both("/bin/tar", "tar", "1.34");
    let library = "/lib/aarch64-linux-gnu/libc.so.6";
    let mut bytes = fs::read(foreign.at(library)).unwrap();
    bytes.push(0);
    foreign.write(library, &bytes);
    assert_eq!(reason(&foreign, &native), Reason::Changed(library.into()));
}

#[test]
fn a_library_that_goes_before_the_packaged_one_is_seen() {
    let (foreign, native) = both("/bin/tar", "tar", "1.34");
    foreign.write("/etc/ld.so.conf.d/local.conf", b"# comment\n/opt/lib\n");
    let twins = proven(&foreign, &native);
    let watched = &twins.table.entries[0].dependencies;
    assert!(watched.contains(&("/opt/lib/libc.so.6".to_owned(), None)), "{watched:?}");
    foreign.unpackaged("/opt/lib/libc.so.6");
    assert_eq!(reason(&foreign, &native), Reason::Unpackaged("/opt/lib/libc.so.6".into()));
}

#[test]
fn what_is_loaded_into_every_program_forbids_all_twins() {
    let (foreign, native) = both("/bin/tar", "tar", "1.34");
    foreign.write("/etc/ld.so.preload", b"/lib/x.so\n");
    let twins = proven(&foreign, &native);
    assert!(twins.table.entries.is_empty() && twins.nothing == Some(Reason::Preload));
}

#[test]
fn what_no_package_owns_proves_nothing_by_itself() {
    let (foreign, native) = (Tree::new(true), Tree::new(false));
    foreign.unpackaged("/bin/tar");
    native.unpackaged("/bin/tar");
    assert_eq!(reason(&foreign, &native), Reason::Unpackaged("/bin/tar".into()));
}

#[test]
fn setuid_programs_have_none() {
    let (foreign, native) = both("/usr/sbin/useradd", "passwd", "4.13");
    let mode = fs::Permissions::from_mode(0o4755);
    fs::set_permissions(foreign.at("/usr/sbin/useradd"), mode).unwrap();
    assert!(proven(&foreign, &native).table.entries.is_empty());
}

/// As in the official images of Python: everything in /usr/local, no package.
fn local_python(foreign: bool) -> Tree {
    let tree = Tree::new(foreign);
    tree.unpackaged("/usr/local/bin/python3.12");
    for number in 0..30 {
        let text = format!("value = {number}\n");
        tree.write(&format!("/usr/local/lib/python3.12/m{number}.py"), text.as_bytes());
    }
    let settings = format!("_sysconfigdata__linux_{}.py", tree.triplet());
    tree.write(&format!("/usr/local/lib/python3.12/{settings}"), tree.triplet().as_bytes());
    tree.write("/usr/local/lib/python3.12/site-packages/x.py", tree.triplet().as_bytes());
    tree.write("/usr/local/include/python3.12/patchlevel.h", b"#define PY_VERSION \"3.12.1\"\n");
    tree
}

#[test]
fn python_without_a_package_is_known_by_its_modules() {
    let (foreign, native) = (local_python(true), local_python(false));
    let twins = proven(&foreign, &native);
    assert_eq!(names(&twins), ["python3.12"]);
    let given: Vec<&str> = twins.table.variables.iter().map(|v| v.given.as_str()).collect();
    assert_eq!(
        given,
        [
            "_PYTHON_HOST_PLATFORM=linux-aarch64",
            "_PYTHON_SYSCONFIGDATA_NAME=_sysconfigdata__linux_aarch64-linux-gnu",
            "OPENSSL_MODULES=/proc/3/root/usr/lib/x86_64-linux-gnu/ossl-modules",
            "OPENSSL_ENGINES=/proc/3/root/usr/lib/x86_64-linux-gnu/engines-3",
        ]
    );
    let module = twins.files.iter().find(|(name, _)| name == "AnyarchTwin.pm").unwrap();
    let text = std::str::from_utf8(&module.1).unwrap();
    assert!(text.contains("s/x86_64-linux-gnu/aarch64-linux-gnu/ for @INC"), "{text}");
    let redirects = &twins.table.entries[0].redirects;
    let local = "/usr/local/lib/python3.12/lib-dynload".to_owned();
    assert!(redirects.contains(&(local.clone(), format!("/proc/3/root{local}"))), "{redirects:?}");
}

#[test]
fn other_modules_are_another_python() {
    let other = Reason::OtherModules("/usr/local/lib/python3.12".into());
    for (path, content) in [
        ("/usr/local/lib/python3.12/m7.py", "value = 8\n"),
        ("/usr/local/lib/python3.12/more.py", ""),
        ("/usr/local/include/python3.12/patchlevel.h", "#define PY_VERSION \"3.12.2\"\n"),
    ] {
        let (foreign, native) = (local_python(true), local_python(false));
        native.write(path, content.as_bytes());
        assert_eq!(reason(&foreign, &native), other, "{path}");
    }
}

#[test]
fn a_tree_without_packages_or_of_a_platform_without_twins_proves_nothing() {
    let (foreign, native) = both("/bin/tar", "tar", "1.34");
    fs::remove_file(foreign.at("/var/lib/dpkg/status")).unwrap();
    let twins = proven(&foreign, &native);
    assert!(twins.table.entries.is_empty() && twins.nothing == Some(Reason::NoDatabase));
}

#[test]
fn packages_of_apk_prove_as_well() {
    let both = |libc: &str| {
        let (mut foreign, mut native) = (Tree::of_apk(true, libc), Tree::of_apk(false, libc));
        foreign.program("tar", "1.35-r2", "/usr/bin/tar");
        native.program("tar", "1.35-r2", "/usr/bin/tar");
        (foreign, native)
    };
    let (foreign, native) = both("glibc");
    assert_eq!(names(&proven(&foreign, &native)), ["tar"]);
    let mut bytes = fs::read(foreign.at("/usr/bin/tar")).unwrap();
    bytes.push(0);
    foreign.write("/usr/bin/tar", &bytes);
    assert_eq!(reason(&foreign, &native), Reason::Changed("/usr/bin/tar".into()));

    let (foreign, native) = both("musl");
    assert_eq!(reason(&foreign, &native), Reason::OldLibc("musl".to_owned()));

    // A database of one kind proves nothing to one of another.
    let (foreign, _) = both("glibc");
    let (_, native) = self::both("/usr/bin/tar", "tar", "1.35-r2");
    assert_eq!(proven(&foreign, &native).nothing, Some(Reason::NoDatabase));
}

#[test]
fn a_program_of_a_package_that_the_table_does_not_know_has_none() {
    for (path, package) in
        [("/usr/bin/ls", "rust-coreutils"), ("/usr/bin/tar", "busybox"), ("/usr/bin/git", "got")]
    {
        let (foreign, native) = both(path, package, "1");
        assert_eq!(reason(&foreign, &native), Reason::OtherPackage(package.to_owned()));
    }
}

#[test]
fn what_is_for_another_machine_is_no_twin() {
    // The native tree of a Dockerfile that names a platform may be foreign itself.
    let (foreign, _) = both("/usr/bin/tar", "tar", "1.34");
    assert_eq!(reason(&foreign, &foreign), Reason::OtherMachine("/usr/bin/tar".into()));
}

#[test]
fn a_library_for_some_processors_only_is_not_proven() {
    let (foreign, native) = both("/bin/tar", "tar", "1.34");
    let better = "/lib/x86_64-linux-gnu/glibc-hwcaps/x86-64-v3/libc.so.6";
    native.unpackaged(better);
    assert_eq!(reason(&foreign, &native), Reason::Hwcaps(better.into()));
}

#[test]
fn a_tree_lacks_what_the_commands_name_and_the_other_has() {
    let (foreign, native) = both("/usr/bin/patch", "patch", "2.7");
    foreign.unpackaged("/usr/bin/git");
    let data = Data::built_in().unwrap();
    let lacks = |native: &Tree, text: &str, wanted: Wanted| {
        let root = |tree: &Tree| Root::open(tree.folder.path()).unwrap();
        lacks(&data, text, wanted, &root(&foreign), &root(native))
    };
    assert!(lacks(&native, "cd x && git clone y", Wanted::Heavy));
    // Both have it, or neither; or nobody names it.
    for text in ["patch -p1", "unzip x", "digit", "rm -r /root/git", "git-shell"] {
        assert!(!lacks(&native, text, Wanted::All), "{text}");
    }
    fs::remove_file(native.at("/usr/bin/patch")).unwrap();
    assert!(lacks(&native, "patch -p1", Wanted::All));
    assert!(!lacks(&native, "patch -p1", Wanted::Heavy));
    native.unpackaged("/usr/bin/git");
    assert!(!lacks(&native, "git clone y", Wanted::All));
}
