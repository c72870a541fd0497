//! Native roots: some packages of a base for this machine, unpacked but not configured, so that their
//! programs can be run while a foreign sibling of the base is built.
//!
//! `twins/HEX/` is such a root, under the digest of what it was asked for. Nothing in it has run, so it
//! is not a tree that anything is built from: it has dpkg's database, but no accounts, caches or links
//! that maintainer scripts make. It appears by rename, complete; `twins/HEX.boot` is as for snapshots.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::PoisonError;

use anyarch_debian::Request;
use anyarch_layer::Root;
use anyarch_oci::Digest;
use serde::Serialize;

use crate::base::{DOWNLOADS, PackageEvents, ResolvedBase, StorePackages, packages_of};
use crate::engine::Session;
use crate::error::{BuildError, Context};
use crate::event::StepId;
use crate::op::DebianOp;
use crate::snapshot::make;

/// Goes up when the same packages give another root.
const PROCEDURE: u32 = 1;

/// Folders of files that no program needs to run, nor to be found.
const LEFT_OUT: [&str; 9] = [
    "/usr/share/bash-completion/",
    "/usr/share/bug/",
    "/usr/share/doc/",
    "/usr/share/i18n/",
    "/usr/share/info/",
    "/usr/share/lintian/",
    "/usr/share/locale/",
    "/usr/share/man/",
    "/usr/share/zoneinfo/",
];

/// What decides a native root.
#[derive(Serialize)]
struct Key<'a> {
    /// Of the base, as `NAME=VERSION DIGEST`, sorted.
    packages: &'a [String],
    /// By name.
    wanted: BTreeSet<&'a str>,
    procedure: u32,
}

impl Session<'_> {
    /// A base that is resolved for this machine, with more packages: those of the archive as it is
    /// now, which need not be the versions that a foreign tree has. What has another version there has
    /// no twin.
    pub(crate) fn with_packages(
        &self,
        base: &ResolvedBase,
        more: &BTreeSet<String>,
    ) -> Result<ResolvedBase, BuildError> {
        let mut known = self.foreign.extended.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (base.op.packages.clone(), more.clone());
        if let Some(base) = known.get(&key) {
            return Ok(base.clone());
        }
        let names = base.resolution.packages.iter().map(|package| package.name.clone());
        let request = Request {
            sources: base.sources.clone(),
            architecture: base.op.architecture.clone(),
            packages: names.chain(more.iter().cloned()).collect(),
            recommends: false,
        };
        let resolution = self
            .choose_packages(&request)
            .context(|| format!("failed to find the native packages of base `{}`", base.op.name))?;
        let op = DebianOp { packages: packages_of(&resolution), ..base.op.clone() };
        let extended = ResolvedBase { op, resolution, sources: base.sources.clone() };
        known.insert(key, extended.clone());
        Ok(extended)
    }

    /// The native root of a base that is resolved for this machine: the packages wanted, as far as the
    /// base has them, and what they need.
    pub(crate) fn native_root(
        &self,
        base: &ResolvedBase,
        wanted: &[&str],
        step: Option<StepId>,
    ) -> Result<PathBuf, BuildError> {
        let what =
            |doing: &str| format!("failed to {doing} the native programs of `{}`", base.op.name);
        let key = Key {
            packages: &base.op.packages,
            wanted: wanted.iter().copied().collect(),
            procedure: PROCEDURE,
        };
        let key = anyarch_oci::canonical_json(&key).context(|| what("name"))?;
        let key = Digest::sha256(&key);
        let place = self.store().root().join("twins").join(&key.hex()[..40]);
        if self.is_sound(&place) {
            return Ok(place);
        }
        let _lock = self.lock(&format!("twin-{}", key.hex()))?;
        if self.is_sound(&place) {
            return Ok(place);
        }
        let packages = StorePackages(self.store());
        let events = PackageEvents::new(self, step);
        let progress = |progress| events.tell(progress);
        let part = anyarch_debian::subset(
            &base.resolution,
            wanted,
            &base.sources,
            &*self.engine.fetch,
            &packages,
            DOWNLOADS,
            &progress,
        )
        .context(|| what("download"))?;
        self.check_cancelled()?;
        let folder = make(self.fresh("twin"))?;
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755))
            .context(|| format!("failed to open {} to every user", folder.display()))?;
        let root = Root::open(&folder)
            .context(|| what("unpack"))?
            .leaving_owners(self.engine.host.single_id);
        let keep = |path: &str| !LEFT_OUT.iter().any(|folder| path.starts_with(folder));
        anyarch_debian::unpack_some(&part, &packages, &root, &keep, &progress)
            .context(|| what("unpack"))?;
        drop(root);
        self.check_cancelled()?;
        make(self.store().root().join("twins"))?;
        self.keep_tree(&folder, place.clone()).context(|| what("keep"))?;
        Ok(place)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::Command;

    use anyarch_plan::Plan;
    use anyarch_sandbox::Cancel;
    use anyarch_testkit::DebianArchive;
    use anyarch_testkit::debian::{Entry, Package};

    use super::*;
    use crate::engine::Engine;
    use crate::lock::LockFile;
    use crate::testing;

    fn base(session: &Session<'_>, plan: &Plan, folder: &Path) -> ResolvedBase {
        let (machine, lock) = (session.engine.platform(), &mut LockFile::default());
        session.resolve_base(plan, folder, "python", &machine, lock).unwrap()
    }

    fn bench() -> (DebianArchive, tempfile::TempDir, Engine, Plan) {
        let archive = DebianArchive::start(&[
            Package::new("tool", "1")
                .field("Depends", "lib, any-data | nothing")
                .script("postinst", "#!/bin/sh\nexit 1\n")
                .entry(Entry::program("usr/bin/tool", "native tool"))
                .entry(Entry::file("usr/share/doc/tool/README", "text")),
            Package::new("lib", "1").entry(Entry::file("usr/lib/lib.so", "library")),
            Package::new("data", "1").field("Provides", "any-data"),
            Package::new("app", "1").field("Depends", "tool").entry(Entry::file("opt/app", "")),
        ]);
        let table = "[base.python]\ndebian = \"test\"\npackages = [\"app\"]\n";
        let (folder, engine, plan) = testing::planned(&archive, "linux/arm64", table);
        (archive, folder, engine, plan)
    }

    #[test]
    fn roots_hold_what_is_wanted_and_what_that_needs() {
        let (archive, folder, engine, plan) = bench();
        let cancel = Cancel::new();
        let session = Session::new(&engine, 0, &|_| {}, &cancel);
        let base = base(&session, &plan, folder.path());
        let wanted = ["tool", "not-in-this-base"];
        let roots: Vec<PathBuf> = std::thread::scope(|scope| {
            let make = |_| scope.spawn(|| session.native_root(&base, &wanted, None).unwrap());
            [0, 1, 2].map(make).map(|thread| thread.join().unwrap()).into()
        });
        assert!(roots.iter().all(|root| *root == roots[0]));
        let text = |path: &str| fs::read_to_string(roots[0].join(path)).unwrap();
        assert_eq!(text("usr/bin/tool") + &text("usr/lib/lib.so"), "native toollibrary");
        assert!(!roots[0].join("usr/share/doc/tool/README").exists());
        assert!(text("var/lib/dpkg/info/tool.list").contains("/usr/share/doc/tool/README\n"));
        let status = text("var/lib/dpkg/status");
        let packages = status.lines().filter_map(|line| line.strip_prefix("Package: "));
        assert_eq!(packages.collect::<Vec<_>>(), ["data", "lib", "tool"]);
        assert!(!roots[0].join("opt").exists());

        // Made once for every run, and without packages again.
        archive.take_log();
        fs::write(roots[0].join("mark"), "").unwrap();
        let other = session.native_root(&base, &["data"], None).unwrap();
        assert_ne!(other, roots[0]);
        assert_eq!(session.native_root(&base, &wanted, None).unwrap(), roots[0]);
        assert!(roots[0].join("mark").exists() && archive.take_log().is_empty());
    }

    #[test]
    fn roots_that_a_crash_may_have_cut_short_are_made_again() {
        let (_archive, folder, mut engine, plan) = bench();
        let cancel = Cancel::new();
        let make = |engine: &Engine, sync: bool| {
            let session = Session::new(engine, 0, &|_| {}, &cancel);
            let base = base(&session, &plan, folder.path());
            let root = session.native_root(&base, &["tool"], None).unwrap();
            if sync {
                session.sync().unwrap();
            }
            root
        };
        let root = make(&engine, false);
        fs::remove_file(root.join("usr/bin/tool")).unwrap();
        engine.host.boot_id = "the next boot".to_owned();
        assert_eq!(make(&engine, true), root);
        assert!(root.join("usr/bin/tool").exists());
        fs::remove_file(root.join("usr/bin/tool")).unwrap();
        engine.host.boot_id = "the boot after".to_owned();
        make(&engine, true);
        assert!(!root.join("usr/bin/tool").exists(), "what is on disk is trusted");
    }

    /// Set `ANYARCH_TEST_SKIP_NETWORK=1` to leave it out.
    #[test]
    fn programs_of_the_archive_run_where_they_are_needs_network() {
        if std::env::var_os("ANYARCH_TEST_SKIP_NETWORK").is_some() {
            return;
        }
        let (folder, engine) = testing::networked();
        let cancel = Cancel::new();
        let session = Session::new(&engine, 0, &|_| {}, &cancel);
        let base_table = "[base.python]\ndebian = \"bookworm\"\npackages = [\"python3\"]\n";
        let plan = testing::plan("linux/arm64", base_table);
        let base = base(&session, &plan, folder.path());
        let wanted = ["coreutils", "tar", "xz-utils", "perl-base", "python3.11-minimal", "git"];
        let root = session.native_root(&base, &wanted, None).unwrap();
        let run = |program: &str, argument: &str| {
            let libraries = fs::read_dir(root.join("usr/lib")).unwrap().flatten();
            let libraries = libraries.map(|entry| entry.path());
            let libraries = libraries.filter(|path| path.join("libc.so.6").exists());
            let libraries = libraries.collect::<Vec<_>>().pop().unwrap();
            let loader = fs::read_dir(&libraries).unwrap().flatten();
            let mut loader =
                loader.filter(|entry| entry.file_name().to_string_lossy().starts_with("ld-linux"));
            let mut command = Command::new(loader.next().unwrap().path());
            command.arg("--library-path").arg(libraries).arg(root.join(program)).arg(argument);
            let output = command.output().unwrap();
            assert!(output.status.success(), "{program}: {output:?}");
            String::from_utf8(output.stdout).unwrap()
        };
        assert!(run("usr/bin/tar", "--version").starts_with("tar (GNU tar)"));
        assert!(run("usr/bin/sort", "--version").starts_with("sort (GNU coreutils)"));
        assert!(run("usr/bin/python3.11", "-V").starts_with("Python 3.11"));
        assert!(!root.join("usr/bin/git").exists(), "the base does not have it");
    }
}
