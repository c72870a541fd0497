//! What is known into the live region of a terminal: a tree of what runs, and a line that counts.
//!
//! Pure: the same record at the same time in the same size gives the same lines. Knows nothing of
//! cursors.

use std::time::Duration;

use anstyle::{AnsiColor, Style};
use anyarch_engine::{Event, Outcome, StepId};

use super::record::{Counter, Record, State, Step};
use crate::text;

const SPINNER: [&str; 8] = ["⣾", "⣽", "⣻", "⢿", "⡿", "⣟", "⣯", "⣷"];
/// Time between two of its pictures.
const TURN: u128 = 100;
/// How many counters of one step are shown; the others are summed up.
const COUNTERS: usize = 3;
const BAR: usize = 20;

const DIM: Style = Style::new().dimmed();
const BOLD: Style = Style::new().bold();
const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default();
const NOTICE: Style = AnsiColor::Yellow.on_default();
const BUSY: Style = AnsiColor::Cyan.on_default();

/// Width and height of the terminal, in characters.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Area {
    pub(crate) width: usize,
    pub(crate) height: usize,
}

/// The lines of the live region, the oldest work first, with colours.
pub(crate) fn lines(record: &Record, now: Duration, area: Area, stopping: bool) -> Vec<String> {
    let spinner = SPINNER[(now.as_millis() / TURN) as usize % SPINNER.len()];
    let mut lines = Vec::new();
    if let Some(resolving) = &record.resolving {
        lines.push(row(spinner, &resolving.what, now.saturating_sub(resolving.since), area));
    }
    counters(&record.counters, "  ", &mut lines);
    let mut part = None;
    for step in record.steps.values() {
        let State::Running(since) = step.state else { continue };
        let here = step.part();
        if part.as_ref() != Some(&here) && !here.is_empty() {
            lines.push(paint(BOLD, &here));
        }
        part = Some(here);
        running(step, spinner, now.saturating_sub(since), area, &mut lines);
    }
    for (member, smoke) in record.smokes.iter().filter(|(_, smoke)| !smoke.passed) {
        let what = format!("smoke {member}: {}", smoke.command);
        lines.push(row(spinner, &what, now.saturating_sub(smoke.since), area));
        output(smoke.tail.last(), &mut lines);
    }
    let room = area.height.saturating_sub(3).max(1);
    if lines.len() > room {
        let hidden = lines.len() - room;
        lines.truncate(room);
        lines.push(paint(DIM, &format!("  … {}", text::count(hidden, "more line"))));
    }
    lines.push(status(record, now, stopping));
    lines.iter().map(|line| fit(line, area)).collect()
}

/// The one line that a step leaves when it ends; none for what never ran.
pub(crate) fn finished(record: &Record, step: StepId, area: Area) -> Option<String> {
    let step = record.steps.get(&step)?;
    let State::Finished(outcome, elapsed) = &step.state else { return None };
    let (mark, end) = match outcome {
        Outcome::Ran { bytes: Some(bytes) } => (paint(GOOD, "✔"), text::bytes(*bytes)),
        Outcome::Ran { bytes: None } => (paint(GOOD, "✔"), String::new()),
        Outcome::Failed => (paint(BAD, "✘"), "failed".to_owned()),
        Outcome::Cancelled => (paint(DIM, "■"), "cancelled".to_owned()),
        Outcome::Cached => (paint(DIM, "="), "cached".to_owned()),
    };
    let what = match step.part() {
        part if part.is_empty() => step.info.name.clone(),
        part => format!("{}  {}", paint(BOLD, &part), step.info.name),
    };
    let right = format!("{:>9}  {end:>9}", text::duration(*elapsed));
    Some(between(&format!("{mark} {what}"), &right, area))
}

/// The line that a smoke command leaves when it has passed.
pub(crate) fn smoked(member: &str, elapsed: Duration, cached: bool, area: Area) -> String {
    let end = if cached { "before" } else { "" };
    let right = format!("{:>9}  {end:>9}", text::duration(elapsed));
    between(&format!("{} {}  smoke passed", paint(GOOD, "✔"), paint(BOLD, member)), &right, area)
}

/// A line of output, with its origin, for the lines above.
pub(crate) fn output_line(record: &Record, event: &Event, line: &str) -> String {
    let whose = match event {
        Event::Output { step, .. } | Event::Finished { step, .. } => {
            record.steps.get(step).map(Step::part).unwrap_or_default()
        }
        Event::SmokeOutput { member, .. } | Event::SmokePassed { member, .. } => member.clone(),
        _ => String::new(),
    };
    format!("{}  {line}", paint(DIM, &whose))
}

/// A warning, for the lines above.
pub(crate) fn warning(message: &str) -> String {
    format!("{}: {message}", paint(NOTICE, "warning"))
}

fn running(step: &Step, spinner: &str, time: Duration, area: Area, lines: &mut Vec<String>) {
    lines.push(row(spinner, &step.info.name, time, area));
    if step.counters.is_empty() {
        output(step.tail.last(), lines);
    } else {
        counters(&step.counters, "    ", lines);
    }
}

fn output(last: Option<&str>, lines: &mut Vec<String>) {
    if let Some(last) = last {
        lines.push(paint(DIM, &format!("    {}", last.trim())));
    }
}

fn row(spinner: &str, what: &str, time: Duration, area: Area) -> String {
    let right = paint(DIM, &format!("{:>9}", text::duration(time)));
    between(&format!("{} {what}", paint(BUSY, spinner)), &right, area)
}

/// Each counter on a line; where there are many, the first of them and the sum of the others.
fn counters(counters: &[Counter], indent: &str, lines: &mut Vec<String>) {
    let shown = if counters.len() > COUNTERS { COUNTERS - 1 } else { COUNTERS };
    for counter in counters.iter().take(shown) {
        let bar = counter.total.map(|total| bar(counter.done, total)).unwrap_or_default();
        let amount = match counter.total {
            Some(total) => format!("{} of {}", counter.amount(counter.done), counter.amount(total)),
            None => counter.amount(counter.done),
        };
        lines.push(format!("{indent}{bar}{amount}  {}", shorten(&counter.what)));
    }
    let rest = counters.get(shown..).unwrap_or_default();
    if let [first, ..] = rest {
        let same = || rest.iter().filter(|counter| counter.unit == first.unit);
        let done = first.amount(same().map(|counter| counter.done).sum());
        let total = first.amount(same().filter_map(|counter| counter.total).sum());
        lines.push(format!("{indent}and {} more: {done} of {total}", rest.len()));
    }
}

fn bar(done: u64, total: u64) -> String {
    let full = match total {
        0 => BAR,
        total => (u128::from(done.min(total)) * BAR as u128 / u128::from(total)) as usize,
    };
    format!("{}{}  ", paint(GOOD, &"━".repeat(full)), paint(DIM, &"─".repeat(BAR - full)))
}

/// Digests as people compare them: the first twelve digits.
fn shorten(what: &str) -> String {
    let word = |word: &str| match word.split_once("sha256:") {
        Some((before, hex)) if hex.len() == 64 => format!("{before}sha256:{}…", &hex[..12]),
        _ => word.to_owned(),
    };
    what.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

fn status(record: &Record, now: Duration, stopping: bool) -> String {
    let counts = record.counts();
    let mut parts = Vec::new();
    for (number, what) in
        [(counts.cached, "cached"), (counts.ran, "done"), (counts.running, "running")]
    {
        if number > 0 {
            parts.push(format!("{number} {what}"));
        }
    }
    if counts.waiting > 0 {
        parts.push(format!("{} to go", counts.waiting));
    }
    if record.tagged > 0 {
        parts.push(text::count(record.tagged, "tag") + " set");
    }
    parts.push(text::duration(now));
    let line = paint(DIM, &parts.join(" · "));
    match stopping {
        true => format!("{line}  {}", paint(BAD, "stopping; Ctrl-C again ends at once")),
        false => line,
    }
}

/// Two texts at the two edges; the left one gives way.
fn between(left: &str, right: &str, area: Area) -> String {
    let room = area.width.saturating_sub(console::measure_text_width(right) + 2);
    let left = console::truncate_str(left, room, "…");
    let gap = (room + 1).saturating_sub(console::measure_text_width(&left));
    format!("{left}{}{right}", " ".repeat(gap))
}

fn fit(line: &str, area: Area) -> String {
    console::truncate_str(line, area.width.saturating_sub(1), "…").into_owned()
}

fn paint(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}
