//! The emulator of a foreign platform: a package of Debian's, chosen while resolving, to one program
//! of it in the host store, made when the first step needs it.
//!
//! The package is for this machine and verified like all others. Of its many emulators only those
//! that the build may need are taken out; the package itself is not kept. The program is a blob that
//! may be executed, and `cache/emulators/PACKAGE-MACHINE` says which one. Knows nothing of running.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyarch_debian::{DebianError, Packages, Request, Resolution, Selected, Source};
use anyarch_oci::{Digest, Platform};
use anyarch_plan::Plan;
use anyarch_sandbox::ForeignPlatform;
use serde::{Deserialize, Serialize};

use crate::base::{PackageEvents, StorePackages, debian_architecture};
use crate::cache;
use crate::engine::Session;
use crate::error::{BuildError, Context};
use crate::event::{Event, StepId};
use crate::lock::{LockFile, LockedEmulator};
use crate::sources::{machine_sources, plan_sources};

/// The packages that may have the emulators. Up to Debian 12 the first has them; later it holds
/// links to the second, which held programs that need libraries before.
const PACKAGES: [&str; 2] = ["qemu-user-static", "qemu-user"];

/// The suite where neither the plan nor the machine names one.
const SUITE: &str = "bookworm";

/// The package with the emulators, chosen.
#[derive(Clone, Debug)]
pub(crate) struct ResolvedEmulator {
    /// The platforms whose emulators this build may need.
    platforms: BTreeSet<Platform>,
    package: Selected,
    resolution: Resolution,
    sources: Vec<Source>,
}

/// Which blob is the emulator, as it is kept.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    /// Path in the package.
    file: String,
    blob: Digest,
    size: u64,
}

impl Session<'_> {
    /// Chooses the package with the emulators for these platforms: that of the lock file where it has
    /// one, else by the archive's index.
    ///
    /// The suite is that of a base of the plan, else the machine's: which one it is does not matter to
    /// what emulated programs do.
    pub(crate) fn resolve_emulator(
        &self,
        plan: &Plan,
        directory: &Path,
        platforms: BTreeSet<Platform>,
        lock: &mut LockFile,
    ) -> Result<ResolvedEmulator, BuildError> {
        let machine = self.engine.platform();
        let architecture = debian_architecture(&machine)?;
        let sources = |suite: &str| match plan_sources(plan, directory, suite, &["main".to_owned()])
        {
            Ok(named) if named.is_empty() => machine_sources(&self.engine.host, suite),
            named => named,
        };
        if let Some(known) = lock.find_emulator(&machine.to_string()) {
            let sources = sources(&known.suite)?;
            let has = |suite: &String| sources.iter().any(|source| source.suite == *suite);
            let package = known.resolution.packages.first().cloned();
            if let Some(package) = package
                && known.resolution.indexes.iter().all(|index| has(&index.suite))
            {
                let resolution = known.resolution.clone();
                return Ok(ResolvedEmulator { platforms, package, resolution, sources });
            }
        }
        let what = || "failed to choose the package of the emulator".to_owned();
        let suite = match plan.bases.keys().find_map(|name| plan.base_suite(name)) {
            Some(suite) => suite.to_owned(),
            None => anyarch_debian::host_suites(&self.engine.host.apt_sources)
                .context(what)?
                .into_iter()
                .next()
                .unwrap_or_else(|| SUITE.to_owned()),
        };
        (self.on)(Event::Resolving { what: format!("emulator ({suite} {architecture})") });
        let sources = sources(&suite)?;
        let request = Request {
            sources: sources.clone(),
            architecture: architecture.to_owned(),
            packages: PACKAGES.map(str::to_owned).to_vec(),
            recommends: false,
        };
        let events = PackageEvents::new(self, None);
        let mut resolution = anyarch_debian::find(
            &request,
            &*self.engine.fetch,
            &StorePackages(self.store()),
            SystemTime::now(),
            &|progress| events.tell(progress),
        )
        .map_err(|error| {
            let hint = match &error {
                DebianError::UnknownPackage { .. } | DebianError::NoIndex { .. } => Some(format!(
                    "programs of foreign platforms need Debian's package {} for {architecture}: \
                     name an archive that has it",
                    PACKAGES[0]
                )),
                other => other.hint(),
            };
            BuildError::failed(what()).hint(hint).because(error)
        })?;
        // What holds only links, or programs that need libraries, is the smaller one.
        resolution.packages.sort_by_key(|package| std::cmp::Reverse(package.size));
        resolution.packages.truncate(1);
        let package = resolution.packages.first().cloned();
        let package = package.ok_or_else(|| BuildError::failed(what()))?;
        lock.put_emulator(LockedEmulator {
            platform: machine.to_string(),
            suite,
            resolution: resolution.clone(),
        });
        Ok(ResolvedEmulator { platforms, package, resolution, sources })
    }

    /// The emulator of a platform as a file that can be executed, downloading the package where no
    /// run before has taken it out.
    ///
    /// # Errors
    /// Where there is no emulator for the platform, or the package cannot be had.
    pub(crate) fn emulator(
        &self,
        emulator: &ResolvedEmulator,
        platform: &Platform,
        step: Option<StepId>,
    ) -> Result<PathBuf, BuildError> {
        let machine = machine(platform).ok_or_else(|| no_emulator(platform))?;
        if let Some(path) = self.kept_emulator(emulator, machine)? {
            return Ok(path);
        }
        let _lock = self.lock(&format!("emulator-{}", emulator.package.sha256.hex()))?;
        if let Some(path) = self.kept_emulator(emulator, machine)? {
            return Ok(path);
        }
        self.take_out(emulator, machine, step)?;
        self.kept_emulator(emulator, machine)?.ok_or_else(|| {
            let package = &emulator.package;
            BuildError::failed(format!("failed to find the emulator for {platform}")).because(
                format!(
                    "package {} {} has none of {}",
                    package.name,
                    package.version,
                    files(machine).join(", ")
                ),
            )
        })
    }

    /// The emulator that an earlier run took out of the package.
    fn kept_emulator(
        &self,
        emulator: &ResolvedEmulator,
        machine: &str,
    ) -> Result<Option<PathBuf>, BuildError> {
        let kept: Option<Kept> = cache::read(self.store(), &self.record(emulator, machine))?;
        let Some(kept) = kept else { return Ok(None) };
        if self.store().blob_size(&kept.blob) != Some(kept.size) {
            return Ok(None);
        }
        let path = self.store().blob_path(&kept.blob);
        let what = || format!("failed to make {} a program", path.display());
        if fs::metadata(&path).context(what)?.permissions().mode() & 0o7777 != 0o755 {
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).context(what)?;
        }
        Ok(Some(path))
    }

    /// Downloads the package and takes out of it the emulator of a machine, and others that the build
    /// may need.
    fn take_out(
        &self,
        emulator: &ResolvedEmulator,
        machine: &'static str,
        step: Option<StepId>,
    ) -> Result<(), BuildError> {
        let aside = Aside { kept: StorePackages(self.store()), path: self.fresh("package") };
        let events = PackageEvents::new(self, step);
        anyarch_debian::download(
            &emulator.resolution,
            &emulator.sources,
            &*self.engine.fetch,
            &aside,
            1,
            &|progress| events.tell(progress),
        )
        .context(|| "failed to download the package of the emulator".to_owned())?;
        let mut wanted: BTreeSet<&str> =
            emulator.platforms.iter().filter_map(self::machine).collect();
        wanted.insert(machine);
        for machine in wanted {
            self.check_cancelled()?;
            let what = || format!("failed to take the emulator of {machine} out of its package");
            let files = files(machine);
            let names: Vec<&str> = files.iter().map(String::as_str).collect();
            let mut ingest = self.store().ingest().context(what)?;
            let file = anyarch_debian::extract_file(&emulator.package, &aside, &names, &mut ingest)
                .context(what)?;
            let Some(file) = file else { continue };
            let (blob, size) = ingest.commit(None).context(what)?;
            self.store()
                .write_json(&self.record(emulator, machine), &Kept { file, blob, size })
                .context(what)?;
        }
        Ok(())
    }

    fn record(&self, emulator: &ResolvedEmulator, machine: &str) -> PathBuf {
        let name = format!("{}-{machine}", emulator.package.sha256.hex());
        self.store().root().join("cache/emulators").join(name)
    }
}

/// QEMU's name of the machine that a platform's programs are for.
pub(crate) fn machine(platform: &Platform) -> Option<&'static str> {
    ForeignPlatform::find(&platform.normalized().to_string()).map(|row| row.machine)
}

/// Where in the package the emulator may be.
fn files(machine: &str) -> [String; 2] {
    [format!("usr/bin/qemu-{machine}-static"), format!("usr/bin/qemu-{machine}")]
}

pub(crate) fn no_emulator(platform: &Platform) -> BuildError {
    let known = anyarch_oci::KNOWN_PLATFORMS.iter().copied();
    let known: Vec<&str> = known.filter(|name| ForeignPlatform::find(name).is_some()).collect();
    BuildError::input(format!("no emulator is known for programs of {platform}"))
        .hint(format!("foreign platforms that can be built are {}", known.join(", ")))
}

/// Packages of the store, and one that is only lent: it goes to the working folder.
struct Aside<'a> {
    kept: StorePackages<'a>,
    path: PathBuf,
}

impl Packages for Aside<'_> {
    fn open(&self, digest: &Digest) -> Option<File> {
        self.kept.open(digest).or_else(|| File::open(&self.path).ok())
    }

    fn ingest(
        &self,
        _digest: &Digest,
        _size: u64,
        write: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<File> {
        // Not under its name before it is complete and verified.
        let unfinished = self.path.with_extension("part");
        let mut file = File::create(&unfinished)?;
        let written = write(&mut file).and_then(|()| fs::rename(&unfinished, &self.path));
        if written.is_err() {
            // What stays of it goes with the working folder of the process.
            drop(fs::remove_file(&unfinished));
        }
        written?;
        File::open(&self.path)
    }
}

impl Drop for Aside<'_> {
    fn drop(&mut self) {
        // It is not there where the store had the package or the download failed.
        drop(fs::remove_file(&self.path));
    }
}

#[cfg(test)]
mod tests {
    use anyarch_sandbox::Cancel;
    use anyarch_testkit::DebianArchive;
    use anyarch_testkit::debian::{Entry, Package};

    use super::*;
    use crate::engine::Engine;
    use crate::testing;

    const ARM64: &str = "linux/arm64";

    fn platform(text: &str) -> Platform {
        text.parse().unwrap()
    }

    fn both() -> BTreeSet<Platform> {
        [platform(ARM64), platform("linux/riscv64")].into()
    }

    fn bench(archive: &DebianArchive) -> (tempfile::TempDir, Engine, Plan) {
        testing::planned(archive, ARM64, "[base.small]\ndebian = \"test\"\n")
    }

    fn filler() -> Vec<u8> {
        anyarch_testkit::random_bytes(1, 50_000)
    }

    /// As in Debian 12: the static ones are the larger package.
    fn separate() -> Vec<Package> {
        let arm64 = Entry::program("usr/bin/qemu-aarch64-static", "arm64");
        let riscv64 = Entry::program("usr/bin/qemu-riscv64-static", "riscv64");
        let filler = Entry::file("usr/bin/qemu-xtensa-static", filler());
        vec![
            Package::new("qemu-user", "1").entry(Entry::program("usr/bin/qemu-aarch64", "dynamic")),
            Package::new("qemu-user-static", "1")
                .field("Depends", "gone")
                .entry(arm64)
                .entry(riscv64)
                .entry(filler),
        ]
    }

    /// As in Debian 13: the one is links to the other.
    fn merged() -> Vec<Package> {
        vec![
            Package::new("qemu-user-static", "2")
                .entry(Entry::link("usr/bin/qemu-aarch64-static", "qemu-aarch64")),
            Package::new("qemu-user", "2")
                .entry(Entry::program("usr/bin/qemu-aarch64", "arm64"))
                .entry(Entry::file("usr/bin/qemu-xtensa", filler())),
        ]
    }

    fn downloads(archive: &DebianArchive) -> usize {
        archive.take_log().iter().filter(|(path, _)| path.contains("/pool/")).count()
    }

    #[test]
    fn emulators_are_taken_out_of_their_package_once() {
        let archive = DebianArchive::start(&separate());
        let (folder, engine, plan) = bench(&archive);
        let cancel = Cancel::new();
        let session = Session::new(&engine, 0, &|_| {}, &cancel);
        let mut lock = LockFile::default();
        let resolve =
            |lock: &mut LockFile| session.resolve_emulator(&plan, folder.path(), both(), lock);
        let emulator = resolve(&mut lock).unwrap();
        assert_eq!(downloads(&archive), 0);
        let paths: Vec<PathBuf> = std::thread::scope(|scope| {
            let ask = |name: &'static str| {
                let (session, emulator) = (&session, &emulator);
                scope.spawn(move || session.emulator(emulator, &platform(name), None).unwrap())
            };
            let threads = [ARM64, "linux/riscv64", ARM64, "linux/arm64/v8"].map(ask);
            threads.map(|thread| thread.join().unwrap()).into()
        });
        assert_eq!(downloads(&archive), 1);
        let text = |path: &Path| fs::read_to_string(path).unwrap();
        assert_eq!([0, 1, 2, 3].map(|n| text(&paths[n])), ["arm64", "riscv64", "arm64", "arm64"]);
        assert_eq!(fs::metadata(&paths[0]).unwrap().permissions().mode() & 0o7777, 0o755);
        let blobs = fs::read_dir(engine.store.root().join("blobs/sha256")).unwrap();
        let sizes: Vec<u64> = blobs.map(|blob| blob.unwrap().metadata().unwrap().len()).collect();
        assert!(sizes.iter().all(|size| *size < 50_000), "the package stays: {sizes:?}");

        // The next run asks nobody, whatever the archive has by then.
        archive.publish(&merged());
        let before = lock.clone();
        let emulator = resolve(&mut lock).unwrap();
        assert_eq!(session.emulator(&emulator, &platform(ARM64), None).unwrap(), paths[0]);
        assert_eq!((archive.take_log(), lock), (vec![], before));
    }

    #[test]
    fn newer_packages_have_other_names() {
        let archive = DebianArchive::start(&merged());
        let (folder, engine, plan) = bench(&archive);
        let cancel = Cancel::new();
        let session = Session::new(&engine, 0, &|_| {}, &cancel);
        let lock = &mut LockFile::default();
        let emulator = session.resolve_emulator(&plan, folder.path(), both(), lock).unwrap();
        let path = session.emulator(&emulator, &platform(ARM64), None).unwrap();
        assert_eq!(fs::read_to_string(path).unwrap(), "arm64");
        let error = session.emulator(&emulator, &platform("linux/riscv64"), None).unwrap_err();
        assert_eq!(
            error.chain(),
            "failed to find the emulator for linux/riscv64: \
             package qemu-user 2 has none of usr/bin/qemu-riscv64-static, usr/bin/qemu-riscv64"
        );
        let error = session.emulator(&emulator, &platform("linux/mips64le"), None).unwrap_err();
        assert_eq!(error.to_string(), "no emulator is known for programs of linux/mips64le");
        assert!(error.hint.unwrap().contains("linux/arm/v7"));
    }

    #[test]
    fn what_cannot_be_had_is_said_with_a_hint() {
        let archive = DebianArchive::start(&[Package::new("other", "1")]);
        let (folder, engine, plan) = bench(&archive);
        let cancel = Cancel::new();
        let session = Session::new(&engine, 0, &|_| {}, &cancel);
        let lock = &mut LockFile::default();
        let mut fail =
            |plan| session.resolve_emulator(plan, folder.path(), both(), lock).unwrap_err();
        let error = fail(&plan);
        assert_eq!(
            error.chain(),
            "failed to choose the package of the emulator: \
             package `qemu-user-static` does not exist for amd64 in test"
        );
        assert!(error.hint.unwrap().contains("name an archive that has it"));
        let error = fail(&testing::plan(ARM64, ""));
        assert!(error.chain().contains("bookworm"), "{}", error.chain());
        assert!(error.hint.unwrap().contains("mirror"));
        archive.publish(&separate());
        let emulator = session.resolve_emulator(&plan, folder.path(), both(), lock).unwrap();
        archive.publish(&[]);
        let error = session.emulator(&emulator, &platform(ARM64), None).unwrap_err();
        assert!(error.chain().starts_with("failed to download the package of the emulator: http"));
        assert!(error.hint.unwrap().contains("resolve again"));
    }

    /// Set `ANYARCH_TEST_SKIP_NETWORK=1` to leave it out.
    #[test]
    fn emulators_of_the_archive_run_needs_network() {
        if std::env::var_os("ANYARCH_TEST_SKIP_NETWORK").is_some() {
            return;
        }
        let (folder, engine) = testing::networked();
        let cancel = Cancel::new();
        let session = Session::new(&engine, 0, &|_| {}, &cancel);
        for suite in ["bookworm", "trixie"] {
            let plan = testing::plan(ARM64, &format!("[base.a]\ndebian = {suite:?}\n"));
            let lock = &mut LockFile::default();
            let emulator = session.resolve_emulator(&plan, folder.path(), both(), lock).unwrap();
            for name in [ARM64, "linux/riscv64"] {
                let path = session.emulator(&emulator, &platform(name), None).unwrap();
                // With nothing around it: a library that it needed would be missing.
                let mut alone = std::process::Command::new("unshare");
                alone.args(["--user", "--map-root-user", "--root"]).arg(path.parent().unwrap());
                let output = alone.arg(Path::new("/").join(path.file_name().unwrap()));
                let output = output.arg("--version").output().unwrap();
                let said = String::from_utf8_lossy(&output.stdout).into_owned();
                assert!(
                    said.contains("version"),
                    "{said}{}",
                    String::from_utf8_lossy(&output.stderr)
                );
            }
        }
    }
}
