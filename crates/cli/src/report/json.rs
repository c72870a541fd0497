//! Progress as JSON: one object on a line for each event, then `summary`, `result` or `error`.

use std::io::Write;
use std::time::Duration;

use anyarch_engine::Event;
use serde_json::json;

use super::Summary;
use super::record::Record;

/// The objects' way out.
pub(crate) struct Json {
    out: Box<dyn Write + Send>,
}

impl Json {
    pub(crate) fn new(out: Box<dyn Write + Send>) -> Json {
        Json { out }
    }

    /// Writes an event as the engine defines it.
    pub(crate) fn show(&mut self, event: &Event) {
        self.line(event);
    }

    /// Writes what was done.
    pub(crate) fn finish(&mut self, record: &Record, summary: Summary, elapsed: Duration) {
        if summary == Summary::None {
            return;
        }
        let succeeded = summary != Summary::Failed;
        let (counts, pushed) = (record.counts(), record.pushed);
        self.line(&json!({
            "event": "summary",
            "succeeded": succeeded,
            "ran": counts.ran,
            "cached": counts.cached,
            "failed": counts.failed,
            "cancelled": counts.cancelled,
            "uploaded": pushed.bytes,
            "elapsed": elapsed.as_secs_f64(),
        }));
    }

    /// Writes the result of the verb.
    pub(crate) fn result(&mut self, value: &impl serde::Serialize) {
        self.line(&json!({ "event": "result", "result": value }));
    }

    /// Writes the error that ended the work.
    pub(crate) fn error(&mut self, failure: &crate::failure::Report) {
        self.line(&json!({
            "event": "error",
            "message": failure.message,
            "causes": failure.causes,
            "hint": failure.hint,
            "code": failure.exit.code(),
        }));
    }

    fn line(&mut self, value: &impl serde::Serialize) {
        // Events and our own values serialise; where nobody reads them, the work goes on.
        if let Ok(mut text) = serde_json::to_vec(value) {
            text.push(b'\n');
            drop(self.out.write_all(&text).and_then(|()| self.out.flush()));
        }
    }
}
