//! Where text goes: results to standard output, everything else to standard error.

use std::io::{self, Write};

use crate::failure::Failure;

/// Prints a result. A reader that has gone away ends the program quietly.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = anstream::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::ClosedPipe,
        _ => Failure::failed("failed to write to standard output").because(&error),
    })
}

/// Prints a value as indented JSON.
pub(crate) fn print_json(value: &impl serde::Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Failure::internal("failed to write JSON").because(&error))?;
    print(&(text + "\n"))
}

/// Says something on standard error. Where nobody can read it, nobody needs to be told.
pub(crate) fn say(text: &str) {
    let mut err = anstream::stderr().lock();
    drop(err.write_all(text.as_bytes()).and_then(|()| err.flush()));
}
