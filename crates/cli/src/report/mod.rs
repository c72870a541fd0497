//! The engine's events into what a person or a program sees while it works.
//!
//! [`record`] keeps what is known, three faces show it: a live tree (`tty`), lines (`plain`) and
//! JSON objects (`json`). Says nothing of errors that end the work: those are the verb's.

mod frame;
mod json;
mod plain;
mod record;
mod tail;
mod tty;

use std::io::Write;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anstream::{AutoStream, ColorChoice};
use anyarch_engine::{Event, StepId, StepInfo};
use anyarch_sandbox::Cancel;

use crate::args::Progress;
use crate::global::Global;
use record::Record;

/// How often the live tree moves.
const TICK: Duration = Duration::from_millis(100);

/// A listener to the engine's events, and the memory of what they said.
pub(crate) struct Report {
    inner: Arc<Mutex<Inner>>,
    started: Instant,
    ticker: Option<Ticker>,
}

struct Inner {
    record: Record,
    face: Face,
}

enum Face {
    /// Warnings only.
    Quiet(Box<dyn Write + Send>),
    Plain(plain::Plain),
    Json(json::Json),
    Tty(tty::Tty),
}

/// What to say at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Summary {
    /// How many steps ran and so on; this many tags are new or point elsewhere.
    Succeeded {
        /// Number of such tags.
        moved_tags: usize,
    },
    /// The same, before an error is told.
    Failed,
    /// Nothing.
    None,
}

/// A step that failed, as it is told with the error.
pub(crate) struct FailedStep {
    /// What was known of it before it ran.
    pub(crate) info: StepInfo,
    /// The number that people see.
    pub(crate) number: String,
    /// The end of its output.
    pub(crate) tail: Vec<String>,
}

impl Report {
    /// The reporter that the flags ask for.
    pub(crate) fn new(global: &Global) -> Report {
        let err = || Box::new(anstream::stderr()) as Box<dyn Write + Send>;
        match global.progress {
            Progress::Json => Report::of(Face::Json(json::Json::new(Box::new(std::io::stdout())))),
            _ if global.quiet => Report::of(Face::Quiet(err())),
            Progress::Tty => {
                let target = indicatif::ProgressDrawTarget::stderr();
                let colours = AutoStream::choice(&std::io::stderr()) != ColorChoice::Never;
                let tty = tty::Tty::new(target, tty::Size::Stderr, colours, global.verbose);
                let mut report = Report::of(Face::Tty(tty));
                report.ticker = Some(Ticker::start(&report, global.cancel.clone()));
                report
            }
            Progress::Plain | Progress::Auto => {
                Report::of(Face::Plain(plain::Plain::new(err(), global.verbose)))
            }
        }
    }

    fn of(face: Face) -> Report {
        let inner = Arc::new(Mutex::new(Inner { record: Record::default(), face }));
        Report { inner, started: Instant::now(), ticker: None }
    }

    /// Takes in one event.
    pub(crate) fn on(&self, event: Event) {
        self.take(&event, self.started.elapsed());
    }

    /// Says something that is neither an event nor a warning.
    pub(crate) fn note(&self, text: &str) {
        match &mut self.lock().face {
            Face::Quiet(_) | Face::Json(_) => {}
            Face::Plain(plain) => plain.line(text),
            Face::Tty(tty) => tty.line(text),
        }
    }

    /// A way to warn for those who outlive a reference.
    pub(crate) fn warner(&self) -> impl Fn(String) + Send + Sync + use<> {
        let (inner, started) = (Arc::clone(&self.inner), self.started);
        move |message| lock(&inner).take(&Event::Warning { message }, started.elapsed())
    }

    fn take(&self, event: &Event, now: Duration) {
        self.lock().take(event, now);
    }

    /// Takes the live tree away and says what was done. Call once, when the engine has returned.
    pub(crate) fn finish(&mut self, summary: Summary) {
        self.finish_at(summary, self.started.elapsed());
    }

    fn finish_at(&mut self, summary: Summary, elapsed: Duration) {
        if let Some(ticker) = self.ticker.take() {
            ticker.stop();
        }
        let mut inner = self.lock();
        let Inner { record, face } = &mut *inner;
        let text = record.summary(summary, elapsed);
        match face {
            Face::Quiet(_) => {}
            Face::Plain(plain) => plain.finish(text.as_deref()),
            Face::Json(json) => json.finish(record, summary, elapsed),
            Face::Tty(tty) => tty.finish(text.as_deref()),
        }
    }

    /// The step that failed: the one that is named, or else the first that said so.
    pub(crate) fn failed_step(&self, step: Option<StepId>) -> Option<FailedStep> {
        self.lock().record.failed_step(step)
    }

    /// The member whose smoke command did not pass, and the end of its output.
    pub(crate) fn failed_smoke(&self) -> Option<(String, Vec<String>)> {
        self.lock().record.failed_smoke()
    }

    /// Tells a program that reads JSON about the error that ended the work.
    pub(crate) fn error(&self, failure: &crate::failure::Report) {
        if let Face::Json(json) = &mut self.lock().face {
            json.error(failure);
        }
    }

    /// Tells a program that reads JSON about the result; true where there is one that reads.
    pub(crate) fn result(&self, value: &impl serde::Serialize) -> bool {
        match &mut self.lock().face {
            Face::Json(json) => {
                json.result(value);
                true
            }
            _ => false,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        lock(&self.inner)
    }
}

impl Inner {
    fn take(&mut self, event: &Event, now: Duration) {
        let Inner { record, face } = self;
        let lines = record.apply(event, now);
        match face {
            Face::Quiet(out) => {
                if let Event::Warning { message } = event {
                    drop(writeln!(out, "warning: {message}"));
                }
            }
            Face::Plain(plain) => plain.show(record, event, &lines),
            Face::Json(json) => json.show(event),
            Face::Tty(tty) => tty.show(record, event, &lines),
        }
    }
}

fn lock(inner: &Mutex<Inner>) -> MutexGuard<'_, Inner> {
    // A listener that panicked has shown less than it might have; what is kept is still true.
    inner.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The thread that moves the live tree.
struct Ticker {
    /// Its end is the sign to stop.
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

impl Ticker {
    fn start(report: &Report, cancel: Cancel) -> Ticker {
        let (stop, stopped) = mpsc::channel::<()>();
        let (inner, started) = (Arc::clone(&report.inner), report.started);
        let thread = std::thread::spawn(move || {
            while stopped.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                let inner = lock(&inner);
                if let Face::Tty(tty) = &inner.face {
                    tty.draw(&inner.record, started.elapsed(), cancel.is_cancelled());
                }
            }
        });
        Ticker { stop, thread }
    }

    fn stop(self) {
        drop(self.stop);
        // A ticker that panicked has nothing left to draw.
        drop(self.thread.join());
    }
}

#[cfg(test)]
mod tests;
