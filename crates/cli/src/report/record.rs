//! What is known so far: every step with its state, the end of its output, its counters.
//!
//! Pure: events and the time in, questions answered. Knows nothing of terminals.

use std::collections::BTreeMap;
use std::time::Duration;

use anyarch_engine::{Event, Outcome, StepId, StepInfo, Unit};
use anyarch_oci::PushedBlob;

use super::tail::Tail;
use super::{FailedStep, Summary};
use crate::text;

/// The memory of a build or publication.
#[derive(Default)]
pub(crate) struct Record {
    /// The steps, in an order in which they could run.
    pub(crate) steps: BTreeMap<StepId, Step>,
    /// What is being found out before steps can start.
    pub(crate) resolving: Option<Running>,
    /// Counters that belong to no step, by what they count.
    pub(crate) counters: Vec<Counter>,
    /// Smoke commands by member.
    pub(crate) smokes: BTreeMap<String, Smoke>,
    /// What has been pushed.
    pub(crate) pushed: Pushed,
    /// How many tags have been set.
    pub(crate) tagged: usize,
}

/// One step.
pub(crate) struct Step {
    pub(crate) info: StepInfo,
    pub(crate) state: State,
    pub(crate) tail: Tail,
    pub(crate) counters: Vec<Counter>,
}

/// Where a step stands.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum State {
    Waiting,
    /// Since when.
    Running(Duration),
    /// How, and how long it took.
    Finished(Outcome, Duration),
}

/// Something that goes on, and since when.
pub(crate) struct Running {
    pub(crate) what: String,
    pub(crate) since: Duration,
}

/// Something countable that goes on.
pub(crate) struct Counter {
    pub(crate) what: String,
    pub(crate) done: u64,
    pub(crate) total: Option<u64>,
    pub(crate) unit: Unit,
    /// How many quarters of it have been reported as lines.
    pub(crate) quarters: u64,
}

/// One smoke command.
pub(crate) struct Smoke {
    pub(crate) command: String,
    pub(crate) since: Duration,
    pub(crate) passed: bool,
    pub(crate) tail: Tail,
}

/// How many blobs came to the destination in which way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pushed {
    pub(crate) existed: usize,
    pub(crate) mounted: usize,
    pub(crate) uploaded: usize,
    pub(crate) bytes: u64,
}

/// How many steps ended in which way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) ran: usize,
    pub(crate) cached: usize,
    pub(crate) failed: usize,
    pub(crate) cancelled: usize,
    pub(crate) running: usize,
    pub(crate) waiting: usize,
}

impl Record {
    /// Takes in an event; gives the lines of output that it completes.
    pub(crate) fn apply(&mut self, event: &Event, now: Duration) -> Vec<String> {
        match event {
            Event::Resolving { what } => {
                self.counters.clear();
                self.resolving = Some(Running { what: what.clone(), since: now });
            }
            Event::Graph { steps } => {
                self.resolving = None;
                self.counters.clear();
                self.steps = steps.iter().map(|info| (info.id, Step::new(info))).collect();
            }
            Event::Started { step } => {
                self.resolving = None;
                if let Some(step) = self.steps.get_mut(step) {
                    step.state = State::Running(now);
                }
            }
            Event::Output { step, stream, bytes } => {
                if let Some(step) = self.steps.get_mut(step) {
                    // What is said after something was counted to its end is the newer of the two.
                    step.counters.retain(|counter| !counter.is_complete());
                    return step.tail.push(*stream, bytes);
                }
            }
            Event::Progress { step, what, done, total, unit } => {
                let counters = match step.and_then(|step| self.steps.get_mut(&step)) {
                    Some(step) => &mut step.counters,
                    None => &mut self.counters,
                };
                count(counters, what, *done, *total, *unit);
            }
            Event::Finished { step, outcome, elapsed } => {
                if let Some(step) = self.steps.get_mut(step) {
                    // What is called off before it began has not ended: it never ran.
                    if step.state == State::Waiting && *outcome == Outcome::Cancelled {
                        return Vec::new();
                    }
                    step.state = State::Finished(outcome.clone(), *elapsed);
                    step.counters.clear();
                    return step.tail.flush();
                }
            }
            Event::SmokeStarted { member, command } => {
                let command = command.join(" ");
                let smoke = Smoke { command, since: now, passed: false, tail: Tail::default() };
                self.smokes.insert(member.clone(), smoke);
            }
            Event::SmokeOutput { member, stream, bytes } => {
                if let Some(smoke) = self.smokes.get_mut(member) {
                    return smoke.tail.push(*stream, bytes);
                }
            }
            Event::SmokePassed { member, .. } => {
                if let Some(smoke) = self.smokes.get_mut(member) {
                    smoke.passed = true;
                    return smoke.tail.flush();
                }
            }
            Event::Pushed { how, .. } => match how {
                PushedBlob::Existed => self.pushed.existed += 1,
                PushedBlob::Mounted => self.pushed.mounted += 1,
                PushedBlob::Uploaded(bytes) => {
                    self.pushed.uploaded += 1;
                    self.pushed.bytes += bytes;
                }
            },
            Event::Tagged { .. } => self.tagged += 1,
            _ => {}
        }
        Vec::new()
    }

    /// The counter of that name, of a step or of none.
    pub(crate) fn counter(&mut self, step: Option<StepId>, what: &str) -> Option<&mut Counter> {
        let counters = match step.and_then(|step| self.steps.get_mut(&step)) {
            Some(step) => &mut step.counters,
            None => &mut self.counters,
        };
        counters.iter_mut().find(|counter| counter.what == what)
    }

    /// How many steps are where.
    pub(crate) fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for step in self.steps.values() {
            let counter = match &step.state {
                State::Waiting => &mut counts.waiting,
                State::Running(_) => &mut counts.running,
                State::Finished(Outcome::Cached, _) => &mut counts.cached,
                State::Finished(Outcome::Ran { .. }, _) => &mut counts.ran,
                State::Finished(Outcome::Failed, _) => &mut counts.failed,
                State::Finished(Outcome::Cancelled, _) => &mut counts.cancelled,
            };
            *counter += 1;
        }
        counts
    }

    /// What was done, in one line: `3 steps ran, 9 cached, 41.2 s`.
    pub(crate) fn summary(&self, summary: Summary, elapsed: Duration) -> Option<String> {
        let counts = self.counts();
        let tags = match summary {
            Summary::None => return None,
            Summary::Failed => 0,
            Summary::Succeeded { moved_tags } => {
                let pushed = self.pushed.uploaded + self.pushed.mounted;
                let smoked = self.smokes.values().any(|smoke| smoke.passed);
                if counts.ran + pushed + moved_tags == 0 && !smoked {
                    return Some("nothing to do: everything is up to date".to_owned());
                }
                moved_tags
            }
        };
        let mut parts = vec![text::count(counts.ran, "step") + " ran"];
        for (number, what) in [
            (counts.cached, "cached"),
            (counts.failed, "failed"),
            (counts.cancelled, "cancelled"),
            (counts.waiting, "not run"),
        ] {
            if number > 0 {
                parts.push(format!("{number} {what}"));
            }
        }
        let pushed = self.pushed;
        if pushed.uploaded > 0 {
            let bytes = text::bytes(pushed.bytes);
            parts.push(format!("{} uploaded ({bytes})", text::count(pushed.uploaded, "blob")));
        }
        if pushed.mounted > 0 {
            parts.push(format!("{} mounted", text::count(pushed.mounted, "blob")));
        }
        if pushed.existed > 0 {
            parts.push(format!("{} there already", text::count(pushed.existed, "blob")));
        }
        if tags > 0 {
            parts.push(text::count(tags, "tag") + " set");
        }
        parts.push(text::duration(elapsed));
        Some(parts.join(", "))
    }

    /// The step that failed: the one named, or else the first that did.
    pub(crate) fn failed_step(&self, step: Option<StepId>) -> Option<FailedStep> {
        let failed = |step: &&Step| matches!(step.state, State::Finished(Outcome::Failed, _));
        let step = match step {
            Some(step) => self.steps.get(&step),
            None => self.steps.values().find(failed),
        }?;
        let (info, number) = (step.info.clone(), number(step.info.id));
        Some(FailedStep { info, number, tail: step.tail.lines() })
    }

    /// The first smoke command that did not pass, with the end of its output.
    pub(crate) fn failed_smoke(&self) -> Option<(String, Vec<String>)> {
        let (member, smoke) = self.smokes.iter().find(|(_, smoke)| !smoke.passed)?;
        Some((member.clone(), smoke.tail.lines()))
    }
}

/// The number of a step for people, who count from 1.
pub(crate) fn number(step: StepId) -> String {
    format!("#{}", step.0 + 1)
}

impl Step {
    fn new(info: &StepInfo) -> Step {
        let (state, tail) = (State::Waiting, Tail::default());
        Step { info: info.clone(), state, tail, counters: Vec::new() }
    }

    /// What it is part of, in a word: `cpu/amd64 base`, and how many more share it.
    pub(crate) fn part(&self) -> String {
        match self.info.parts.as_slice() {
            [] => String::new(),
            [only] => only.clone(),
            [first, rest @ ..] => format!("{first} +{}", rest.len()),
        }
    }
}

impl Counter {
    /// Whether it has come to its end.
    pub(crate) fn is_complete(&self) -> bool {
        self.total.is_some_and(|total| self.done >= total)
    }

    /// A number in its unit.
    pub(crate) fn amount(&self, number: u64) -> String {
        match self.unit {
            Unit::Bytes => text::bytes(number),
            Unit::Items => number.to_string(),
        }
    }
}

/// Moves the counter of that name; one that is complete makes way for the next.
fn count(counters: &mut Vec<Counter>, what: &str, done: u64, total: Option<u64>, unit: Unit) {
    counters.retain(|counter| !counter.is_complete() || counter.what == what);
    match counters.iter_mut().find(|counter| counter.what == what) {
        Some(counter) => (counter.done, counter.total) = (done, total),
        None => {
            counters.push(Counter { what: what.to_owned(), done, total, unit, quarters: 0 });
        }
    }
}
