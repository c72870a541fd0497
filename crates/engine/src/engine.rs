//! The engine: what every build shares. Store, machine, and the ways to packages and images.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use anyarch_debian::Fetch;
use anyarch_oci::{ImageSource, Platform};
use anyarch_sandbox::Cancel;
use anyarch_store::{Lock, Store, StoreError};

use crate::cache::Layout;
use crate::error::{BuildError, Context};
use crate::event::OnEvent;
use crate::foreign::{ForeignState, Twins};
use crate::git::Git;
use crate::host::Host;

/// How long to wait for another process before asking again.
const RETRY: Duration = Duration::from_millis(20);

/// What builds share.
pub struct Engine {
    /// The host store.
    pub store: Store,
    /// What the machine lends to steps.
    pub host: Host,
    /// Gets URLs.
    pub fetch: Box<dyn Fetch + Send + Sync>,
    /// Gets git repositories.
    pub git: Box<dyn Git>,
    /// Where images named in FROM come from when the host store has none of that name.
    pub images: Box<dyn ImageSource>,
    /// Whether native programs stand in for those of foreign platforms.
    pub twins: Twins,
    /// Which steps run whatever the cache knows.
    pub no_cache: NoCache,
}

/// Which steps run whatever the cache knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum NoCache {
    /// None.
    #[default]
    Nothing,
    /// Those of the stages, and of the tiers, with these names.
    Named(Vec<String>),
    /// All.
    Everything,
}

/// The stages of one tier whose steps run whatever the cache knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fresh {
    all: bool,
    stages: Vec<String>,
}

impl Fresh {
    /// Those of a tier.
    pub(crate) fn of(no_cache: &NoCache, tier: &str) -> Fresh {
        match no_cache {
            NoCache::Nothing => Fresh::default(),
            NoCache::Everything => Fresh { all: true, stages: Vec::new() },
            NoCache::Named(names) => {
                let all = names.iter().any(|name| name == tier);
                Fresh { all, stages: names.clone() }
            }
        }
    }

    /// Whether all steps are, those of the base too.
    pub(crate) fn all(&self) -> bool {
        self.all
    }

    /// Whether the steps of a stage are among them.
    pub(crate) fn has(&self, stage: Option<&str>) -> bool {
        let named = |stage: &str| self.stages.iter().any(|name| name.eq_ignore_ascii_case(stage));
        self.all || stage.is_some_and(named)
    }
}

/// One build while it runs.
pub(crate) struct Session<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) on: OnEvent<'a>,
    pub(crate) cancel: &'a Cancel,
    /// Latest time of any file, seconds since 1970.
    pub(crate) epoch: i64,
    /// Snapshots made by this build that are not known to be on disk.
    pub(crate) unsynced: Mutex<Vec<PathBuf>>,
    /// What is known of programs of foreign platforms.
    pub(crate) foreign: ForeignState,
    /// Whether steps are looked up only, and none runs.
    pub(crate) look_up: bool,
    /// Whether its steps are made for the sake of foreign ones.
    pub(crate) for_twins: bool,
    /// Warnings that were given and need not be given again.
    pub(crate) warned: Mutex<BTreeSet<String>>,
}

impl<'a> Session<'a> {
    pub(crate) fn new(
        engine: &'a Engine,
        epoch: i64,
        on: OnEvent<'a>,
        cancel: &'a Cancel,
    ) -> Session<'a> {
        Session {
            engine,
            on,
            cancel,
            epoch,
            unsynced: Mutex::default(),
            foreign: ForeignState::default(),
            look_up: false,
            for_twins: false,
            warned: Mutex::default(),
        }
    }
}

impl<'a> Session<'a> {
    /// A session that runs nothing, tells nothing of its steps, and whose failing look-ups stop nobody.
    pub(crate) fn looking_up(&self) -> Session<'a> {
        Session { look_up: true, ..Session::new(self.engine, self.epoch, &|_| {}, self.cancel) }
    }
}

impl Session<'_> {
    pub(crate) fn store(&self) -> &Store {
        &self.engine.store
    }

    pub(crate) fn layout(&self) -> Layout {
        Layout {
            epoch: self.epoch,
            compression: "gzip".to_owned(),
            root_owns_all: self.engine.host.single_id,
        }
    }

    /// Takes a lock of the store, waiting for its holder unless the build is stopped.
    pub(crate) fn lock(&self, name: &str) -> Result<Lock, BuildError> {
        self.wait_for(name, Store::try_lock)
    }

    /// The same together with others that share it.
    pub(crate) fn lock_shared(&self, name: &str) -> Result<Lock, BuildError> {
        self.wait_for(name, Store::try_lock_shared)
    }

    fn wait_for(
        &self,
        name: &str,
        attempt: fn(&Store, &str) -> Result<Option<Lock>, StoreError>,
    ) -> Result<Lock, BuildError> {
        let what = || format!("failed to take the lock {name} of the store");
        loop {
            if let Some(lock) = attempt(self.store(), name).context(what)? {
                return Ok(lock);
            }
            self.check_cancelled()?;
            std::thread::sleep(RETRY);
        }
    }

    /// A new path in this process's working folder.
    pub(crate) fn fresh(&self, kind: &str) -> PathBuf {
        self.store().work().fresh(kind)
    }
}

impl Engine {
    /// The platform of this machine.
    pub fn platform(&self) -> Platform {
        Platform::host()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::testing;

    #[test]
    fn waiting_for_another_process_ends_when_the_build_is_stopped() {
        let folder = tempfile::tempdir().unwrap();
        let engine = testing::engine(folder.path());
        let _held = Store::open(folder.path()).unwrap().lock("step").unwrap();
        let cancel = Cancel::new();
        let session = Session::new(&engine, 0, &|_| {}, &cancel);
        cancel.cancel();
        assert_eq!(session.lock("step").unwrap_err().kind, ErrorKind::Cancelled);
        assert!(session.lock("free").is_ok());
    }
}
