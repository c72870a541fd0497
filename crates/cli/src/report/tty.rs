//! The live tree on a terminal: draws frames, and leaves one line for each thing that is over.

use std::time::Duration;

use anyarch_engine::{Event, Outcome};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::frame::{self, Area};
use super::plain;
use super::record::Record;

/// Where the size of the terminal is known from.
#[derive(Clone, Copy)]
pub(crate) enum Size {
    /// Asked for at each frame, because windows change.
    Stderr,
    /// Of a terminal in memory.
    #[cfg(test)]
    Fixed(Area),
}

/// The terminal.
pub(crate) struct Tty {
    bar: ProgressBar,
    size: Size,
    colours: bool,
    verbose: bool,
}

impl Tty {
    /// Draws on `target`.
    pub(crate) fn new(target: ProgressDrawTarget, size: Size, colours: bool, verbose: bool) -> Tty {
        let bar = ProgressBar::with_draw_target(None, target);
        // The template is constant; were it wrong, the default would show a spinner and the text.
        bar.set_style(
            ProgressStyle::with_template("{msg}")
                .unwrap_or_else(|_| ProgressStyle::default_spinner()),
        );
        Tty { bar, size, colours, verbose }
    }

    /// Leaves a line above the tree for what is over, and where everything is to be seen also
    /// for each line of output.
    pub(crate) fn show(&self, record: &Record, event: &Event, output: &[String]) {
        let area = self.area();
        if self.verbose {
            for line in output {
                self.bar.println(self.coloured(frame::output_line(record, event, line)));
            }
        }
        let line = match event {
            Event::Finished { outcome: Outcome::Cached, .. } if !self.verbose => None,
            Event::Finished { step, .. } => frame::finished(record, *step, area),
            Event::SmokePassed { member, elapsed, cached } => {
                Some(frame::smoked(member, *elapsed, *cached, area))
            }
            Event::Emulated { native, emulated } => Some(plain::emulated_line(*native, emulated)),
            Event::Warning { message } => Some(frame::warning(message)),
            _ => None,
        };
        if let Some(line) = line {
            self.bar.println(self.coloured(line));
        }
        if let (Event::Emulated { emulated, .. }, true) = (event, self.verbose) {
            plain::reason_lines(emulated).iter().for_each(|line| self.bar.println(line));
        }
    }

    /// Leaves a line above the tree.
    pub(crate) fn line(&self, line: &str) {
        self.bar.println(line);
    }

    /// Draws the tree as it is now.
    pub(crate) fn draw(&self, record: &Record, now: Duration, stopping: bool) {
        let lines = frame::lines(record, now, self.area(), stopping);
        self.bar.set_message(self.coloured(lines.join("\n")));
        self.bar.tick();
    }

    /// Takes the tree away and says what was done.
    pub(crate) fn finish(&self, summary: Option<&str>) {
        if let Some(summary) = summary {
            self.bar.println(summary);
        }
        self.bar.finish_and_clear();
    }

    fn area(&self) -> Area {
        match self.size {
            Size::Stderr => {
                let (height, width) = console::Term::stderr().size();
                Area { width: usize::from(width).max(20), height: usize::from(height).max(4) }
            }
            #[cfg(test)]
            Size::Fixed(area) => area,
        }
    }

    fn coloured(&self, text: String) -> String {
        if self.colours { text } else { console::strip_ansi_codes(&text).into_owned() }
    }
}
