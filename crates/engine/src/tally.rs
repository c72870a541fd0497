//! The handler's log and what was seen of processes → how the programs of foreign platforms ran.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyarch_handler::layout::Record;
use anyarch_sandbox::Usage;

use crate::event::{EmulatedProgram, Event};
use crate::why::Why;

/// Longest name of a program that the kernel keeps (`comm` in proc(5)), in bytes.
const COMM: usize = 15;

/// Longest name of a program that the handler logs, in bytes.
const LOGGED: usize = size_of::<Record>() - 8;

/// How many programs ran how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// By their twins, by name.
    pub(crate) native: BTreeMap<String, u64>,
    /// Emulated, by name.
    pub(crate) emulated: BTreeMap<String, u64>,
    /// Processor time of those, as far as it was seen, by name as the kernel keeps it.
    time: BTreeMap<String, Duration>,
    /// Why those were, by name.
    reasons: BTreeMap<String, BTreeSet<String>>,
}

impl Tally {
    /// Counts what a log has, and takes the time of emulated programs from `usage`, and why they were
    /// from `why`.
    pub(crate) fn read(log: &Path, usage: &[Usage], why: &Why) -> Tally {
        let mut tally = Tally::default();
        let mut emulated = BTreeSet::new();
        for record in records(&fs::read(log).unwrap_or_default()) {
            if !record.native {
                emulated.insert((record.pid, comm(&record.name)));
            }
            let kind = if record.native { &mut tally.native } else { &mut tally.emulated };
            *kind.entry(record.name).or_default() += 1;
        }
        for process in usage {
            let name = comm(&process.name);
            if emulated.contains(&(process.pid, name.clone())) {
                *tally.time.entry(name).or_default() += process.time;
            }
        }
        let reason = |name: &String| (name.clone(), [why.of(name)].into());
        tally.reasons = tally.emulated.keys().map(reason).collect();
        tally
    }

    /// Adds another one.
    pub(crate) fn add(&mut self, other: Tally) {
        for (all, new) in [(&mut self.native, other.native), (&mut self.emulated, other.emulated)] {
            for (name, count) in new {
                *all.entry(name).or_default() += count;
            }
        }
        for (name, time) in other.time {
            *self.time.entry(name).or_default() += time;
        }
        for (name, reasons) in other.reasons {
            self.reasons.entry(name).or_default().extend(reasons);
        }
    }

    /// What there is to say; nothing where no program ran.
    pub(crate) fn event(&self) -> Option<Event> {
        let emulated: Vec<EmulatedProgram> = self
            .emulated
            .iter()
            .map(|(name, count)| EmulatedProgram {
                name: name.clone(),
                count: *count,
                time: self.time.get(&comm(name)).copied().unwrap_or_default(),
                reasons: self.reasons.get(name).into_iter().flatten().cloned().collect(),
            })
            .collect();
        let native = self.native.values().sum();
        (native > 0 || !emulated.is_empty()).then_some(Event::Emulated { native, emulated })
    }
}

/// A line of the log.
struct Logged {
    pid: u32,
    native: bool,
    name: String,
}

/// The lines of a log; a last one that was cut short does not count.
fn records(log: &[u8]) -> Vec<Logged> {
    let number = |record: &[u8], at: usize| {
        let bytes = record.get(at..).and_then(|rest| rest.first_chunk());
        bytes.map_or(0, |bytes| u32::from_le_bytes(*bytes))
    };
    let records = log.chunks_exact(size_of::<Record>());
    records
        .map(|record| {
            let name = record.get(8..).unwrap_or_default();
            let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
            Logged {
                pid: number(record, 0),
                native: number(record, 4) == 1,
                name: String::from_utf8_lossy(name).into_owned(),
            }
        })
        .collect()
}

/// A name as the kernel cuts it.
fn comm(name: &str) -> String {
    String::from_utf8_lossy(&name.as_bytes()[..name.len().min(COMM)]).into_owned()
}

/// A name as the handler cuts it.
pub(crate) fn logged(name: &str) -> String {
    String::from_utf8_lossy(&name.as_bytes()[..name.len().min(LOGGED)]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(pid: u32, native: bool, name: &str) -> Vec<u8> {
        let mut out = pid.to_le_bytes().to_vec();
        out.extend(u32::from(native).to_le_bytes());
        out.extend(name.as_bytes());
        out.resize(size_of::<Record>(), 0);
        out
    }

    fn usage(pid: u32, name: &str, millis: u64) -> Usage {
        Usage { pid, name: name.to_owned(), time: Duration::from_millis(millis) }
    }

    #[test]
    fn programs_are_counted_and_the_time_of_emulated_ones_added() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let mut bytes = [
            line(5, true, "dash"),
            line(6, false, "update-mime-database"),
            line(7, false, "update-mime-database"),
            line(6, true, "cat"),
        ]
        .concat();
        bytes.extend(&line(8, true, "sed")[..9]);
        fs::write(&log, bytes).unwrap();
        let seen = [
            usage(6, "update-mime-dat", 300),
            usage(7, "update-mime-dat", 40),
            usage(5, "dash", 70),
            usage(6, "cat", 9),
        ];
        let mut tally = Tally::read(&log, &seen, &Why::all("without twins"));
        assert_eq!(tally.native, [("cat".to_owned(), 1), ("dash".to_owned(), 1)].into());
        tally.add(tally.clone());
        tally.add(Tally::read(&log, &[], &Why::default()));
        let program = EmulatedProgram {
            name: "update-mime-database".to_owned(),
            count: 6,
            time: Duration::from_millis(680),
            reasons: ["not among the programs that have twins", "without twins"]
                .map(str::to_owned)
                .to_vec(),
        };
        assert_eq!(tally.event(), Some(Event::Emulated { native: 6, emulated: vec![program] }));
    }

    #[test]
    fn no_programs_are_nothing_to_speak_of() {
        assert_eq!(Tally::read(Path::new("/nowhere"), &[], &Why::default()).event(), None);
    }
}
