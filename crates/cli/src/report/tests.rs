use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyarch_engine::{EmulatedProgram, Event, Origin, Outcome, StepId, StepInfo, Stream, Unit};
use anyarch_oci::{Digest, PushedBlob};
use indicatif::{InMemoryTerm, ProgressDrawTarget};

use super::frame::Area;
use super::{Face, Report, Summary, json, plain, tty};

#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Buffer {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

fn info(id: usize, name: &str, parts: &[&str]) -> StepInfo {
    let origin = Some(Origin { file: "docker/Dockerfile.base".to_owned(), line: id + 1 });
    let parts = parts.iter().map(|part| (*part).to_owned()).collect();
    StepInfo { id: StepId(id), name: name.to_owned(), parts, origin }
}

fn output(id: usize, text: &str) -> Event {
    Event::Output { step: StepId(id), stream: Stream::Stdout, bytes: text.as_bytes().to_vec() }
}

fn progress(step: Option<usize>, what: &str, done: u64, total: u64) -> Event {
    let (step, what, total) = (step.map(StepId), what.to_owned(), Some(total));
    Event::Progress { step, what, done, total, unit: Unit::Bytes }
}

fn finished(id: usize, outcome: Outcome, milliseconds: u64) -> Event {
    Event::Finished { step: StepId(id), outcome, elapsed: Duration::from_millis(milliseconds) }
}

fn graph() -> Event {
    Event::Graph {
        steps: vec![
            info(1, "FROM python", &["cpu/amd64 base", "cuda/amd64 base"]),
            info(2, "RUN apt-get update", &["cpu/amd64 base"]),
            info(3, "COPY src .", &["cpu/amd64 app"]),
            info(4, "RUN true", &["cpu/amd64 app"]),
            info(5, "RUN last", &["cpu/amd64 app"]),
        ],
    }
}

/// A build in which one step is cached, one runs, one downloads, and one fails.
fn build() -> Vec<Event> {
    vec![
        Event::Resolving { what: "reading the index of bookworm".to_owned() },
        progress(None, "index", 1000, 1000),
        graph(),
        finished(1, Outcome::Cached, 0),
        Event::Started { step: StepId(2) },
        output(2, "Get:1 pack"),
        output(2, "ages\nReading"),
        progress(Some(2), "write layer", 10 << 20, 40 << 20),
        progress(Some(2), "write layer", 11 << 20, 40 << 20),
        progress(Some(2), "write layer", 40 << 20, 40 << 20),
        finished(2, Outcome::Ran { bytes: Some(12_345_678) }, 3600),
        Event::Started { step: StepId(3) },
        finished(3, Outcome::Ran { bytes: None }, 20),
        Event::Started { step: StepId(4) },
        finished(5, Outcome::Cancelled, 3),
        output(4, "fatal: no\n"),
        Event::Warning { message: "something odd".to_owned() },
        finished(4, Outcome::Failed, 100),
    ]
}

/// A publication.
fn publish() -> Vec<Event> {
    let digest = || Digest::sha256(b"image");
    let member = || "cpu/amd64".to_owned();
    vec![
        Event::Image {
            member: member(),
            tier: "app".to_owned(),
            digest: digest(),
            size: 99_000_000,
            tags: vec!["demo:cpu-dev".to_owned(), "demo:amd64-dev".to_owned()],
        },
        Event::SmokeStarted { member: member(), command: vec!["app".into(), "selftest".into()] },
        Event::SmokeOutput { member: member(), stream: Stream::Stderr, bytes: b"ok\n".to_vec() },
        Event::SmokePassed {
            member: member(),
            elapsed: Duration::from_millis(1200),
            cached: false,
        },
        Event::Pushed { digest: digest(), how: PushedBlob::Existed },
        Event::Pushed { digest: digest(), how: PushedBlob::Uploaded(5_000_000) },
        Event::Tagged { tag: "demo:latest-cpu".to_owned(), digest: digest() },
    ]
}

fn plain(events: &[Event], summary: Summary) -> String {
    plain_as(false, events, summary)
}

fn plain_as(verbose: bool, events: &[Event], summary: Summary) -> String {
    let buffer = Buffer::default();
    let mut report = Report::of(Face::Plain(plain::Plain::new(Box::new(buffer.clone()), verbose)));
    events.iter().for_each(|event| report.take(event, Duration::ZERO));
    report.finish_at(summary, Duration::from_millis(41_200));
    buffer.text()
}

#[test]
fn plain_build() {
    insta::assert_snapshot!("plain_build", plain(&build(), Summary::Failed));
}

#[test]
fn plain_publish() {
    insta::assert_snapshot!(
        "plain_publish",
        plain(&publish(), Summary::Succeeded { moved_tags: 1 })
    );
}

/// Foreign programs: two that were emulated, for one reason and for two.
fn emulated() -> Event {
    let program = |name: &str, millis, reasons: &[&str]| EmulatedProgram {
        name: name.to_owned(),
        count: 1,
        time: Duration::from_millis(millis),
        reasons: reasons.iter().map(|reason| (*reason).to_owned()).collect(),
    };
    let emulated = vec![program("awk", 5, &["no"]), program("node", 900, &["no", "never"])];
    Event::Emulated { native: 7, emulated }
}

#[test]
fn why_programs_were_emulated_is_said_on_demand() {
    let line = "foreign programs: 7 ran natively, 2 emulated in 0.9 s (node 0.9 s, once; awk 0.0 s, once)\n";
    assert_eq!(plain(&[emulated()], Summary::None), line);
    assert_eq!(
        plain_as(true, &[emulated()], Summary::None),
        format!("{line}  node: no; or never\n  awk: no\n")
    );
    let terminal = Terminal::new(true);
    let screen = terminal.after(&[emulated()], 1);
    assert!(screen.contains("\n  node: no; or never\n  awk: no"), "{screen}");
}

#[test]
fn nothing_to_do() {
    let events = [graph()].into_iter().chain((1..6).map(|id| finished(id, Outcome::Cached, 0)));
    let text = plain(&events.collect::<Vec<_>>(), Summary::Succeeded { moved_tags: 0 });
    assert!(text.ends_with("nothing to do: everything is up to date\n"), "{text}");
}

#[test]
fn json_is_an_object_on_each_line() {
    let buffer = Buffer::default();
    let mut report = Report::of(Face::Json(json::Json::new(Box::new(buffer.clone()))));
    build().iter().chain(&publish()).for_each(|event| report.take(event, Duration::ZERO));
    report.finish_at(Summary::Failed, Duration::from_millis(41_200));
    report.result(&["x"]);
    for line in buffer.text().lines() {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(value["event"].is_string(), "{line}");
    }
    insta::assert_snapshot!("json", buffer.text());
}

#[test]
fn the_failed_step_keeps_the_end_of_its_output() {
    let report = Report::of(Face::Plain(plain::Plain::new(Box::new(Buffer::default()), false)));
    build().iter().for_each(|event| report.take(event, Duration::ZERO));
    let step = report.failed_step(None).unwrap();
    assert_eq!((step.info.id, step.tail), (StepId(4), vec!["fatal: no".to_owned()]));
}

struct Terminal {
    term: InMemoryTerm,
    report: Report,
}

impl Terminal {
    fn new(verbose: bool) -> Terminal {
        let area = Area { width: 72, height: 16 };
        let term = InMemoryTerm::new(area.height as u16, area.width as u16);
        let target = ProgressDrawTarget::term_like(Box::new(term.clone()));
        let tty = tty::Tty::new(target, tty::Size::Fixed(area), false, verbose);
        Terminal { term, report: Report::of(Face::Tty(tty)) }
    }

    /// The screen after these events, drawn at this second.
    fn after(&self, events: &[Event], seconds: u64) -> String {
        let now = Duration::from_secs(seconds);
        events.iter().for_each(|event| self.report.take(event, now));
        let inner = self.report.lock();
        if let Face::Tty(tty) = &inner.face {
            tty.draw(&inner.record, now, false);
        }
        self.term.contents()
    }
}

#[test]
fn a_terminal_shows_what_runs_and_collapses_what_is_over() {
    let terminal = Terminal::new(false);
    insta::assert_snapshot!("tty_resolving", terminal.after(&build()[..2], 1));
    insta::assert_snapshot!("tty_output", terminal.after(&build()[2..7], 2));
    insta::assert_snapshot!("tty_progress", terminal.after(&build()[7..8], 4));
    insta::assert_snapshot!("tty_failed", terminal.after(&build()[8..], 5));
    let Terminal { term, mut report } = terminal;
    report.finish_at(Summary::Failed, Duration::from_millis(5100));
    insta::assert_snapshot!("tty_summary", term.contents());
}

#[test]
fn a_terminal_sums_up_many_counters_and_long_output() {
    let terminal = Terminal::new(false);
    let mut events = vec![graph(), Event::Started { step: StepId(2) }];
    events.extend((0..9).map(|n| progress(Some(2), &format!("download p{n}"), n << 20, 40 << 20)));
    insta::assert_snapshot!("tty_many_counters", terminal.after(&events, 3));
    let long = "x".repeat(300);
    let events = [Event::Started { step: StepId(4) }, output(4, &format!("{long}\n"))];
    let screen = terminal.after(&events, 4);
    assert!(screen.lines().all(|line| line.chars().count() < 72), "{screen}");
}

#[test]
fn a_terminal_with_more_work_than_lines_says_so() {
    let terminal = Terminal::new(false);
    let steps = (1..40).map(|id| info(id, "RUN work", &[&format!("part {id}")])).collect();
    let mut events = vec![Event::Graph { steps }];
    events.extend((1..40).map(|id| Event::Started { step: StepId(id) }));
    let screen = terminal.after(&events, 3);
    assert!(screen.contains("… 65 more lines") && screen.contains("39 running"), "{screen}");
    assert!(screen.lines().count() <= 16, "{screen}");
}

#[test]
fn a_terminal_shows_everything_where_that_is_asked_for() {
    let terminal = Terminal::new(true);
    insta::assert_snapshot!("tty_verbose", terminal.after(&build(), 5));
}
