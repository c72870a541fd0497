//! Progress as lines: one for each thing that happens, output numbered with its step.

use std::io::Write;

use anyarch_engine::{EmulatedProgram, Event, Outcome, StepId};
use anyarch_oci::PushedBlob;

use super::record::{Counter, Record, State, number};
use crate::text;

/// Counters below this many bytes are reported at their end only.
const LARGE: u64 = 32 << 20;

/// The lines' way out.
pub(crate) struct Plain {
    out: Box<dyn Write + Send>,
    verbose: bool,
}

impl Plain {
    /// Writes to `out`, and with `verbose` also why programs were emulated.
    pub(crate) fn new(out: Box<dyn Write + Send>, verbose: bool) -> Plain {
        Plain { out, verbose }
    }

    /// Shows an event that the record has taken in, and the lines of output that it completed.
    pub(crate) fn show(&mut self, record: &mut Record, event: &Event, lines: &[String]) {
        match event {
            Event::Output { step, .. } | Event::Finished { step, .. } => {
                for line in lines {
                    self.line(&format!("{} {line}", number(*step)));
                }
            }
            Event::SmokeOutput { member, .. } | Event::SmokePassed { member, .. } => {
                for line in lines {
                    self.line(&format!("smoke {member}: {line}"));
                }
            }
            _ => {}
        }
        if let Some(line) = describe(record, event) {
            self.line(&line);
        }
        if let (Event::Emulated { emulated, .. }, true) = (event, self.verbose) {
            reason_lines(emulated).iter().for_each(|line| self.line(line));
        }
    }

    /// Says what was done.
    pub(crate) fn finish(&mut self, summary: Option<&str>) {
        if let Some(summary) = summary {
            self.line(summary);
        }
    }

    /// Writes a line.
    pub(crate) fn line(&mut self, line: &str) {
        // Where nobody reads the lines, the work goes on without them.
        drop(writeln!(self.out, "{}", line.trim_end()).and_then(|()| self.out.flush()));
    }
}

fn describe(record: &mut Record, event: &Event) -> Option<String> {
    Some(match event {
        Event::Resolving { what } => format!("resolving: {what}"),
        Event::Graph { steps } => text::count(steps.len(), "step"),
        Event::Started { step } => {
            let place = record.steps.get(step).and_then(|step| step.info.origin.as_ref());
            let place = place.map(|at| format!(" ({}:{})", at.file, at.line)).unwrap_or_default();
            format!("{} {}{place}", number(*step), title(record, *step))
        }
        Event::Progress { step, what, .. } => {
            let line = record.counter(*step, what).and_then(milestone)?;
            let number = step.map(|step| number(step) + " ").unwrap_or_default();
            format!("{number}{line}")
        }
        Event::Finished { step, outcome, elapsed } => {
            let began = record.steps.get(step).is_some_and(|step| step.state != State::Waiting);
            let (number, time) = (number(*step), text::duration(*elapsed));
            match outcome {
                Outcome::Cached => format!("{number} {}: cached", title(record, *step)),
                Outcome::Ran { bytes: Some(bytes) } => {
                    format!("{number} done in {time}, layer of {}", text::bytes(*bytes))
                }
                Outcome::Ran { bytes: None } => format!("{number} done in {time}, no new layer"),
                Outcome::Failed => format!("{number} failed after {time}"),
                Outcome::Cancelled if !began => return None,
                Outcome::Cancelled => format!("{number} cancelled after {time}"),
            }
        }
        Event::Image { member, tier, digest, size, tags } => {
            let (size, tags) = (text::bytes(*size), tags.join(" "));
            format!("image {member} {tier} {digest} {size} {tags}")
        }
        Event::SmokeStarted { member, command } => {
            format!("smoke {member}: running {}", command.join(" "))
        }
        Event::SmokePassed { member, cached: true, .. } => {
            format!("smoke {member}: passed before")
        }
        Event::SmokePassed { member, elapsed, .. } => {
            format!("smoke {member}: passed in {}", text::duration(*elapsed))
        }
        Event::Pushed { digest, how } => match how {
            PushedBlob::Existed => format!("pushed {digest}: there already"),
            PushedBlob::Mounted => format!("pushed {digest}: mounted"),
            PushedBlob::Uploaded(bytes) => {
                format!("pushed {digest}: {} uploaded", text::bytes(*bytes))
            }
        },
        Event::Tagged { tag, digest } => format!("tagged {tag} -> {digest}"),
        Event::Emulated { native, emulated } => emulated_line(*native, emulated),
        Event::Warning { message } => format!("warning: {message}"),
        _ => return None,
    })
}

/// `[cpu/amd64 base] RUN apt-get update`
fn title(record: &Record, step: StepId) -> String {
    let Some(step) = record.steps.get(&step) else { return String::new() };
    match step.part() {
        part if part.is_empty() => step.info.name.clone(),
        part => format!("[{part}] {}", step.info.name),
    }
}

/// A line where a counter has come to its end, or a large one to its next quarter.
fn milestone(counter: &mut Counter) -> Option<String> {
    let total = counter.total.filter(|total| *total > 0)?;
    let quarters = (counter.done.min(total) as u128 * 4 / u128::from(total)) as u64;
    if quarters <= counter.quarters || (quarters < 4 && total < LARGE) {
        return None;
    }
    counter.quarters = quarters;
    let (what, of) = (&counter.what, counter.amount(total));
    Some(match quarters {
        4 => format!("{what}: {of}"),
        _ => format!("{what}: {} % of {of}", quarters * 25),
    })
}

/// How many of the programs that cost the most are named.
const NAMED: usize = 5;

/// `foreign programs: 2113 ran natively, 140 emulated in 4.2 s (ldconfig 3.1 s, 4 times; …)`
pub(super) fn emulated_line(native: u64, emulated: &[EmulatedProgram]) -> String {
    let sorted = costliest(emulated);
    let named: Vec<String> = sorted
        .iter()
        .take(NAMED)
        .map(|program| {
            let count = match program.count {
                1 => "once".to_owned(),
                count => format!("{count} times"),
            };
            format!("{} {}, {count}", program.name, text::duration(program.time))
        })
        .collect();
    let rest = if sorted.len() > NAMED { "; …" } else { "" };
    let total: u64 = emulated.iter().map(|program| program.count).sum();
    let time = emulated.iter().map(|program| program.time).sum();
    match total {
        0 => format!("foreign programs: {native} ran natively"),
        _ => format!(
            "foreign programs: {native} ran natively, {total} emulated in {} ({}{rest})",
            text::duration(time),
            named.join("; ")
        ),
    }
}

/// Those that cost the most first.
fn costliest(emulated: &[EmulatedProgram]) -> Vec<&EmulatedProgram> {
    let mut sorted: Vec<&EmulatedProgram> = emulated.iter().collect();
    sorted.sort_by_key(|program| std::cmp::Reverse((program.time, program.count)));
    sorted
}

/// How many programs have a line that says why.
const EXPLAINED: usize = 20;

/// `  ldconfig: not among the programs that have twins`, for those that cost the most.
pub(super) fn reason_lines(emulated: &[EmulatedProgram]) -> Vec<String> {
    costliest(emulated)
        .iter()
        .take(EXPLAINED)
        .map(|program| format!("  {}: {}", program.name, program.reasons.join("; or ")))
        .collect()
}
