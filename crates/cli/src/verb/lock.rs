//! `anyarch lock`: chooses the packages of bases without building anything.

use std::collections::BTreeMap;

use anyarch_engine::{BuildRequest, LockFile, lock};
use anyarch_plan::target;
use serde::Serialize;

use crate::failure::Failure;
use crate::files;
use crate::global::Global;
use crate::lock_file;
use crate::output;
use crate::text;
use crate::workshop::Workshop;

/// Choose the packages of bases and write them to anyarch.lock
///
/// What the lock has already stays as it is, unless --update is given.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Choose everything anew, from the newest index
    #[arg(long)]
    update: bool,
}

/// A package that is not what it was.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Change {
    base: String,
    platform: String,
    package: String,
    before: Option<String>,
    after: Option<String>,
}

/// Carries it out.
pub(crate) fn run(args: &Args, global: &Global) -> Result<(), Failure> {
    let plan = &files::load_plan(global)?;
    let selections = target::select(plan, &[], None)?;
    let directory = &global.plan_directory();
    let mut workshop = Workshop::open_without_sandbox(global)?;
    let (before, after) = workshop.find_out(|engine, entries, on, cancel| {
        let before = entries.clone();
        if args.update {
            *entries = LockFile::default();
        }
        let request = BuildRequest { plan, directory, selections: &selections, lock: entries };
        lock(engine, request, on, cancel)?;
        Ok((before, entries.clone()))
    })?;
    let changes = changes(&before, &after);
    if workshop.report.result(&changes) {
        return Ok(());
    }
    for change in &changes {
        output::print(&format!("{change}\n"))?;
    }
    if !global.quiet {
        let name = files::shown(&lock_file::path(&global.plan));
        let bases = text::count(after.base.len(), "base");
        output::say(&match changes.len() {
            0 => format!("{name} is up to date ({bases})\n"),
            number => {
                format!("wrote {name}: {bases}, {} changed\n", text::count(number, "package"))
            }
        });
    }
    Ok(())
}

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Change { base, platform, package, before, after } = self;
        write!(f, "{base} {platform}: ")?;
        match (before, after) {
            (Some(before), Some(after)) => write!(f, "{package} {before} -> {after}"),
            (None, Some(after)) => write!(f, "{package} {after} (new)"),
            (Some(before), None) => write!(f, "{package} {before} (gone)"),
            (None, None) => write!(f, "{package}"),
        }
    }
}

/// What differs between two locks, sorted.
fn changes(before: &LockFile, after: &LockFile) -> Vec<Change> {
    type Key = (String, String, String);
    let versions = |lock: &LockFile| -> BTreeMap<Key, String> {
        let bases = lock.base.iter().map(|base| (&*base.name, &base.platform, &base.resolution));
        let emulators = lock.emulator.iter();
        let emulators = emulators.map(|entry| ("emulator on", &entry.platform, &entry.resolution));
        let entries = bases.chain(emulators).flat_map(|(name, platform, resolution)| {
            resolution.packages.iter().map(move |package| {
                let key = (name.to_owned(), platform.clone(), package.name.clone());
                (key, package.version.clone())
            })
        });
        entries.collect()
    };
    let (mut before, after) = (versions(before), versions(after));
    let mut changes = Vec::new();
    let mut add = |(base, platform, package): Key, before, after| {
        changes.push(Change { base, platform, package, before, after });
    };
    for (key, version) in after {
        match before.remove(&key) {
            Some(old) if old == version => {}
            old => add(key, old, Some(version)),
        }
    }
    for (key, version) in before {
        add(key, Some(version), None);
    }
    changes.sort_by(|a, b| {
        (&a.base, &a.platform, &a.package).cmp(&(&b.base, &b.platform, &b.package))
    });
    changes
}
