//! The tree of a foreign platform → how its programs are run here: with which handler, and with
//! which twins.
//!
//! For each tree that programs are about to run in, a folder is made with the handler (the emulator
//! and the table of twins in one file) and the hidden directory (the twins' own tree, their shim,
//! the log). It is gone with the [`ForeignTree`]. What the programs do is the same with twins and
//! without; so nothing of this is in a cache key. Which programs have twins is the business of
//! `anyarch-twin`; where the twins' tree comes from is decided in `siblings`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyarch_handler::write::Table;
use anyarch_handler::{HANDLER, image};
use anyarch_layer::Root;
use anyarch_oci::Platform;
use anyarch_sandbox::{
    Emulation, Foreign, ForeignPlatform, HIDDEN, OverlayMount, Support, Usage, foreign_support,
};
use anyarch_twin::{Data, Known, Request};

use crate::base::ResolvedBase;
use crate::emulator::no_emulator;
use crate::engine::Session;
use crate::error::{BuildError, Context};
use crate::event::{Event, StepId};
use crate::resolve::Resolved;
use crate::siblings::NativeTree;
use crate::snapshot::make;
use crate::tally::Tally;
use crate::verify::Allowed;
use crate::why::Why;

/// Enough of an emulator to have all its program headers.
const HEAD: u64 = 4096;

/// Whether native programs stand in for foreign ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Twins {
    /// Where it is proven that the result is the same.
    #[default]
    On,
    /// Never: everything is emulated.
    Off,
    /// As `On`, and every step runs a second time, emulated, and must leave the same files.
    Verify,
}

/// The packages of a base, and the additional ones.
pub(crate) type Extended = (Vec<String>, BTreeSet<String>);

/// What a session knows of foreign programs.
#[derive(Debug, Default)]
pub(crate) struct ForeignState {
    known: Known,
    tally: Mutex<Tally>,
    /// Bases for this machine with more packages.
    pub(crate) extended: Mutex<BTreeMap<Extended, ResolvedBase>>,
    /// Handlers registered with the machine, where the kernel has no other way.
    registered: Mutex<Vec<(Platform, Emulation)>>,
}

/// What is needed for twins.
pub(crate) struct Natives {
    /// Where they come from.
    pub(crate) tree: NativeTree,
    /// The environment that the programs of the step begin with.
    pub(crate) environment: BTreeMap<String, String>,
    /// Which are wanted.
    pub(crate) allowed: Allowed,
}

/// How the programs of one tree are run. Lives as long as programs run in it.
pub(crate) struct ForeignTree<'a> {
    state: &'a ForeignState,
    folder: PathBuf,
    process: Option<Foreign>,
    mount: Option<OverlayMount>,
    why: Why,
    /// What was seen of the processes.
    usage: Mutex<Vec<Usage>>,
}

impl ForeignTree<'_> {
    /// What a process in the tree needs.
    pub(crate) fn process(&self) -> Option<Foreign> {
        self.process.clone()
    }

    /// How many programs ran how so far.
    pub(crate) fn tally(&self) -> Tally {
        let usage = self.usage.lock().unwrap_or_else(PoisonError::into_inner);
        Tally::read(&self.folder.join("hidden/log"), &usage, &self.why)
    }

    /// Takes in what was seen of the processes of a run.
    pub(crate) fn measured(&self, usage: Vec<Usage>) {
        self.usage.lock().unwrap_or_else(PoisonError::into_inner).extend(usage);
    }
}

impl Drop for ForeignTree<'_> {
    fn drop(&mut self) {
        let tally = self.tally();
        self.state.tally.lock().unwrap_or_else(PoisonError::into_inner).add(tally);
        drop(self.mount.take());
        // What cannot be removed now goes with the working folder of the process.
        drop(fs::remove_dir_all(&self.folder));
    }
}

impl Session<'_> {
    /// Whether programs of a platform cannot run on this machine by themselves.
    pub(crate) fn is_foreign(&self, platform: &Platform) -> bool {
        platform.architecture != self.engine.platform().architecture
    }

    /// Prepares running programs in a mounted tree of a foreign platform; `None` for a platform of
    /// this machine. Without `twins` everything is emulated.
    ///
    /// # Errors
    /// Where the kernel has no way to run such programs, or there is no emulator.
    pub(crate) fn foreign_tree(
        &self,
        resolved: &Resolved,
        platform: &Platform,
        step: Option<StepId>,
        tree: &Path,
        twins: Option<Natives>,
    ) -> Result<Option<ForeignTree<'_>>, BuildError> {
        if !self.is_foreign(platform) {
            return Ok(None);
        }
        let what = || format!("failed to prepare running programs of {platform}");
        let row = ForeignPlatform::find(&platform.normalized().to_string())
            .ok_or_else(|| no_emulator(platform))?;
        let folder = make(self.fresh("foreign"))?;
        let mut foreign = ForeignTree {
            state: &self.foreign,
            folder,
            process: None,
            mount: None,
            why: Why::default(),
            usage: Mutex::default(),
        };
        let emulator = |this: &Self| -> Result<PathBuf, BuildError> {
            let emulator = resolved.emulator()?.ok_or_else(|| no_emulator(platform))?;
            this.emulator(emulator, platform, step)
        };
        match foreign_support(row) {
            Support::PerNamespace => {
                let emulator = emulator(self)?;
                let handler = self.handler(&mut foreign, &emulator, platform, tree, twins)?;
                let hidden = Some(foreign.folder.join("hidden"));
                foreign.process = Some(Foreign { platform: row, handler, hidden });
            }
            Support::Host { interpreter } => {
                self.warn_once(&format!(
                    "programs of {platform} are run by the machine's own handler, {}, without twins",
                    interpreter.display()
                ));
            }
            Support::RootRegistration => {
                let mut registered =
                    self.foreign.registered.lock().unwrap_or_else(PoisonError::into_inner);
                if !registered.iter().any(|(known, _)| known == platform) {
                    let file = File::open(emulator(self)?).context(what)?;
                    let emulation = Emulation::register(row, &file).context(what)?;
                    registered.push((platform.clone(), emulation));
                }
            }
            Support::None { reason } => return Err(reason).context(what),
        }
        Ok(Some(foreign))
    }

    /// Makes the handler of a tree and its hidden directory; the handler's path.
    fn handler(
        &self,
        foreign: &mut ForeignTree<'_>,
        emulator: &Path,
        platform: &Platform,
        tree: &Path,
        twins: Option<Natives>,
    ) -> Result<PathBuf, BuildError> {
        let what = || format!("failed to prepare running programs of {platform}");
        let hidden = make(foreign.folder.join("hidden"))?;
        let log = File::create(hidden.join("log")).context(what)?;
        // Whoever a step's programs run as, they may add to it.
        log.set_permissions(fs::Permissions::from_mode(0o666)).context(what)?;
        if HANDLER.is_empty() {
            foreign.why = Why::all("this machine has no twins");
            return Ok(emulator.to_owned());
        }
        foreign.why = Why::all(match self.engine.twins {
            Twins::Off => "the build is without twins",
            _ => "there is no native tree to take twins from",
        });
        let mut table = Table { log: format!("{HIDDEN}/log"), ..Table::default() };
        if let Some(Natives { tree: twins, environment, allowed }) =
            twins.filter(|_| self.engine.twins != Twins::Off)
        {
            let data = Data::built_in().context(what)?;
            let names = |platform: &Platform| data.platform(&platform.normalized().to_string());
            if let (Some(native), Some(names)) = (names(&self.engine.platform()), names(platform)) {
                let target = make(hidden.join("root"))?;
                let mount = self.mount_natives(&twins, &target)?;
                let (foreign_root, native_root) =
                    (Root::open(tree).context(what)?, Root::open(&target).context(what)?);
                let request = Request {
                    data: &data,
                    native,
                    foreign: names,
                    foreign_root: &foreign_root,
                    native_root: &native_root,
                    environment: &environment,
                    hidden: HIDDEN,
                };
                let proven = anyarch_twin::prove(&request, &self.foreign.known);
                foreign.mount = Some(mount);
                for (name, content) in &proven.files {
                    write_program(&hidden.join(name), content).context(what)?;
                }
                let names = proven.table.entries.iter().map(|entry| entry.name.clone()).collect();
                foreign.why = match &allowed {
                    Allowed::All => Why::proven(tree, &proven, names),
                    Allowed::Only(_) => Why::all("run again to compare"),
                };
                table = proven.table;
                table.entries.retain(|entry| allowed.has(&entry.name));
            }
        }
        let handler = foreign.folder.join("handler");
        join(emulator, &anyarch_handler::write::write(&table), &handler)
            .map_err(|error| error.in_context(what()))?;
        Ok(handler)
    }

    /// Says how many programs ran how, where there were any of a foreign platform.
    pub(crate) fn tell_tally(&self) {
        let tally = self.foreign.tally.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(event) = tally.event() {
            (self.on)(event);
        }
    }

    pub(crate) fn warn_once(&self, message: &str) {
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        if warned.insert(message.to_owned()) {
            (self.on)(Event::Warning { message: message.to_owned() });
        }
    }
}

fn write_program(path: &Path, content: &[u8]) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o755).open(path)?;
    file.write_all(content)?;
    file.set_permissions(fs::Permissions::from_mode(0o755))
}

/// Writes the emulator with the handler and its table to a new file.
fn join(emulator: &Path, table: &[u8], to: &Path) -> Result<(), BuildError> {
    let what = || format!("failed to write {}", to.display());
    fs::copy(emulator, to).context(what)?;
    let mut file = OpenOptions::new().read(true).write(true).open(to).context(what)?;
    let length = file.metadata().context(what)?.len();
    let mut head = Vec::new();
    (&file).take(HEAD).read_to_end(&mut head).context(what)?;
    let image = image::join(&head, length, HANDLER, table).context(what)?;
    file.write_all_at(&image.head, 0).context(what)?;
    file.seek(SeekFrom::Start(image.tail_offset)).context(what)?;
    file.write_all(&image.tail).context(what)?;
    file.set_permissions(fs::Permissions::from_mode(0o755)).context(what)
}
