//! Bases of the plan: roots made from Debian packages.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use anyarch_debian::{DebianError, Packages, Progress, Request, Resolution, Source};
use anyarch_layer::Root;
use anyarch_oci::{Digest, Platform};
use anyarch_plan::Plan;
use anyarch_store::Store;

use crate::engine::Session;
use crate::error::{BuildError, Context};
use crate::event::{Event, OnEvent, StepId, Stream, Unit};
use crate::exec::OnOutput;
use crate::foreign::ForeignTree;
use crate::lock::{LockFile, LockedBase, LockedRequest};
use crate::mounts::Mounts;
use crate::op::{DebianOp, ExecOp};
use crate::sources::{kept_sources, machine_sources, plan_sources};
use crate::tally::Tally;

/// Goes up when the same packages give another root.
const PROCEDURE: u32 = 1;

/// How many packages are downloaded at once.
pub(crate) const DOWNLOADS: usize = 6;

/// A base whose packages are chosen.
#[derive(Clone, Debug)]
pub(crate) struct ResolvedBase {
    pub(crate) op: DebianOp,
    pub(crate) resolution: Resolution,
    pub(crate) sources: Vec<Source>,
}

/// Debian's name of a platform's architecture (Debian policy, "Architecture specification strings").
pub(crate) fn debian_architecture(platform: &Platform) -> Result<&'static str, BuildError> {
    match (platform.os.as_str(), platform.architecture.as_str(), platform.variant.as_deref()) {
        ("linux", "amd64", _) => Ok("amd64"),
        ("linux", "arm64", _) => Ok("arm64"),
        ("linux", "386", _) => Ok("i386"),
        ("linux", "arm", Some("v5" | "v6")) => Ok("armel"),
        ("linux", "arm", _) => Ok("armhf"),
        ("linux", "ppc64le", _) => Ok("ppc64el"),
        ("linux", "mips64le", _) => Ok("mips64el"),
        ("linux", "riscv64", _) => Ok("riscv64"),
        ("linux", "s390x", _) => Ok("s390x"),
        ("linux", "loong64", _) => Ok("loong64"),
        _ => Err(BuildError::input(format!("Debian has no architecture for {platform}"))),
    }
}

impl Session<'_> {
    /// Chooses the packages of a base: those of the lock file where it has them, else by the
    /// archive's index.
    pub(crate) fn resolve_base(
        &self,
        plan: &Plan,
        directory: &Path,
        name: &str,
        platform: &Platform,
        lock: &mut LockFile,
    ) -> Result<ResolvedBase, BuildError> {
        let request = locked_request(plan, name)?;
        let architecture = debian_architecture(platform)?;
        let named = plan_sources(plan, directory, &request.suite, &request.components)?;
        let kept = kept_sources(&named);
        let sources = if named.is_empty() {
            machine_sources(&self.engine.host, &request.suite)?
        } else {
            named
        };
        let known = lock.find(name, &platform.to_string(), &request).cloned();
        let resolution = match known {
            Some(resolution) => resolution,
            None => {
                (self.on)(Event::Resolving {
                    what: format!("packages of {name} ({} {architecture})", request.suite),
                });
                let wanted = Request {
                    sources: sources.clone(),
                    architecture: architecture.to_owned(),
                    packages: request.packages.clone(),
                    recommends: request.recommends,
                };
                let resolution = self
                    .choose_packages(&wanted)
                    .context(|| format!("failed to choose the packages of base `{name}`"))?;
                lock.put(LockedBase {
                    name: name.to_owned(),
                    platform: platform.to_string(),
                    request,
                    resolution: resolution.clone(),
                });
                resolution
            }
        };
        let op = DebianOp {
            name: name.to_owned(),
            architecture: architecture.to_owned(),
            packages: packages_of(&resolution),
            sources: kept,
            procedure: PROCEDURE,
        };
        Ok(ResolvedBase { op, resolution, sources })
    }

    /// Chooses packages by the archive's index, for a whole root.
    pub(crate) fn choose_packages(&self, request: &Request) -> Result<Resolution, DebianError> {
        let events = PackageEvents::new(self, None);
        anyarch_debian::resolve(
            request,
            &*self.engine.fetch,
            &StorePackages(self.store()),
            SystemTime::now(),
            &|progress| events.tell(progress),
        )
    }

    /// Makes the root of a base in a mounted, empty tree. `foreign` prepares running its scripts, once
    /// the packages are unpacked.
    pub(crate) fn bootstrap<'s>(
        &self,
        step: StepId,
        base: &ResolvedBase,
        root: &Path,
        foreign: &dyn Fn(&Path) -> Result<Option<ForeignTree<'s>>, BuildError>,
        output: OnOutput<'_>,
    ) -> Result<Tally, BuildError> {
        let what = |doing: &str| format!("failed to {doing} base `{}`", base.op.name);
        let packages = StorePackages(self.store());
        let events = PackageEvents::new(self, Some(step));
        let progress = |progress: Progress| events.tell(progress);
        anyarch_debian::download(
            &base.resolution,
            &base.sources,
            &*self.engine.fetch,
            &packages,
            DOWNLOADS,
            &progress,
        )
        .context(|| what("download"))?;
        self.check_cancelled()?;
        let tree =
            Root::open(root).context(|| what("open"))?.leaving_owners(self.engine.host.single_id);
        anyarch_debian::unpack(&base.resolution, &packages, &tree, &progress)
            .context(|| what("unpack"))?;
        self.check_cancelled()?;
        let foreign = foreign(root)?;
        let mut run = |command: anyarch_debian::Command| {
            let op = ExecOp {
                argv: command.argv,
                env: command.env.into_iter().collect(),
                proxies: std::collections::BTreeMap::new(),
                cwd: "/".to_owned(),
                user: String::new(),
                isolated: true,
                scripts: Vec::new(),
                mounts: Vec::new(),
            };
            let exit = self.execute(root, &op, &Mounts::default(), foreign.as_ref(), output)?;
            Ok(exit.shell_code())
        };
        anyarch_debian::configure(&tree, &base.resolution, self.epoch, &mut run, &progress)
            .context(|| what("configure"))?;
        anyarch_debian::clean(&tree, self.epoch).context(|| what("clean"))?;
        if !base.op.sources.is_empty() {
            anyarch_debian::write_sources(&tree, &base.sources)
                .context(|| what("write the sources of"))?;
        }
        Ok(foreign.as_ref().map(ForeignTree::tally).unwrap_or_default())
    }

    pub(crate) fn check_cancelled(&self) -> Result<(), BuildError> {
        if self.cancel.is_cancelled() { Err(BuildError::cancelled()) } else { Ok(()) }
    }
}

/// The packages of a resolution, as `NAME=VERSION DIGEST`, sorted.
pub(crate) fn packages_of(resolution: &Resolution) -> Vec<String> {
    let mut packages: Vec<String> = resolution
        .packages
        .iter()
        .map(|package| format!("{}={} {}", package.name, package.version, package.sha256))
        .collect();
    packages.sort();
    packages
}

fn locked_request(plan: &Plan, name: &str) -> Result<LockedRequest, BuildError> {
    let chain = plan.base_chain(name);
    let suite = plan
        .base_suite(name)
        .ok_or_else(|| BuildError::input(format!("base `{name}` names no Debian suite")))?;
    let mut packages: Vec<String> =
        chain.iter().flat_map(|base| base.packages.iter().cloned()).collect();
    packages.sort();
    packages.dedup();
    let named = chain.iter().rev().find(|base| !base.components.is_empty());
    let components = named.map_or_else(|| vec!["main".to_owned()], |base| base.components.clone());
    let recommends = chain.iter().any(|base| base.recommends);
    Ok(LockedRequest { suite: suite.to_owned(), components, packages, recommends })
}

/// Packages and indexes as blobs of the host store.
pub(crate) struct StorePackages<'a>(pub(crate) &'a Store);

impl Packages for StorePackages<'_> {
    fn open(&self, digest: &Digest) -> Option<File> {
        self.0.blob(digest).ok().flatten().map(|blob| blob.file)
    }

    fn ingest(
        &self,
        digest: &Digest,
        _size: u64,
        write: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<File> {
        let mut ingest = self.0.ingest_with(digest.algorithm()).map_err(io::Error::other)?;
        write(&mut ingest)?;
        ingest.commit(Some(digest)).map_err(io::Error::other)?;
        self.open(digest).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

/// Turns what the package code says into events.
pub(crate) struct PackageEvents<'a> {
    on: OnEvent<'a>,
    step: Option<StepId>,
    done: AtomicU64,
    total: AtomicU64,
}

impl<'a> PackageEvents<'a> {
    pub(crate) fn new(session: &'a Session<'_>, step: Option<StepId>) -> PackageEvents<'a> {
        PackageEvents { on: session.on, step, done: AtomicU64::new(0), total: AtomicU64::new(0) }
    }

    pub(crate) fn tell(&self, progress: Progress) {
        match progress {
            Progress::Index { url } => (self.on)(Event::Resolving { what: format!("index {url}") }),
            Progress::Resolving { available } => {
                (self.on)(Event::Resolving {
                    what: format!("choosing among {available} packages"),
                });
            }
            Progress::Downloading { bytes, .. } => {
                // Packages may come in several rounds, each with a count of its own.
                self.done.store(0, Ordering::Relaxed);
                self.total.store(bytes, Ordering::Relaxed);
                self.counted("download packages", 0, bytes, Unit::Bytes);
            }
            Progress::Bytes(bytes) => {
                let done = self.done.fetch_add(bytes, Ordering::Relaxed) + bytes;
                let total = self.total.load(Ordering::Relaxed);
                if total > 0 {
                    self.counted("download packages", done, total, Unit::Bytes);
                }
            }
            Progress::Downloaded { .. } => {}
            Progress::Unpacking { number, of, .. } => {
                self.counted("unpack packages", number as u64, of as u64, Unit::Items);
            }
            Progress::Configuring { what } => {
                if let Some(step) = self.step {
                    let bytes = format!("configuring {what}\n").into_bytes();
                    (self.on)(Event::Output { step, stream: Stream::Stdout, bytes });
                }
            }
        }
    }

    fn counted(&self, what: &str, done: u64, total: u64, unit: Unit) {
        let what = what.to_owned();
        (self.on)(Event::Progress { step: self.step, what, done, total: Some(total), unit });
    }
}
