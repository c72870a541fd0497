//! Why a verb did not do what it was asked: what is printed, and the exit code.

use std::error::Error;

use crate::exit::Exit;

const ERROR: anstyle::Style = annotate_snippets::renderer::DEFAULT_ERROR_STYLE;
const BOLD: anstyle::Style = anstyle::Style::new().bold();
const HINT: anstyle::Style = annotate_snippets::renderer::DEFAULT_HELP_STYLE;

/// The end of a verb that failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// An error, to be printed with its causes and a hint.
    Error(Box<Report>),
    /// Findings that have been printed already.
    Findings,
    /// A signal of this number asked to stop, and what ran has stopped.
    Interrupted(u8),
    /// Whoever read our output has seen enough.
    ClosedPipe,
}

/// An error as it is shown.
#[derive(Debug)]
pub(crate) struct Report {
    /// How the program ends.
    pub(crate) exit: Exit,
    /// Object and operation, in one line.
    pub(crate) message: String,
    /// Rendered source lines and output, between the message and the causes.
    pub(crate) details: String,
    /// What led to it, the nearest first.
    pub(crate) causes: Vec<String>,
    /// What a person can do.
    pub(crate) hint: Option<String>,
}

impl Failure {
    /// An error with this exit code.
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Failure {
        let message = message.into();
        let (details, causes) = (String::new(), Vec::new());
        Failure::Error(Box::new(Report { exit, message, details, causes, hint: None }))
    }

    /// An operation failed (exit code 1).
    pub(crate) fn failed(message: impl Into<String>) -> Failure {
        Failure::new(Exit::Failed, message)
    }

    /// What was asked for makes no sense (exit code 2).
    pub(crate) fn usage(message: impl Into<String>) -> Failure {
        Failure::new(Exit::Usage, message)
    }

    /// A guard refused (exit code 3).
    pub(crate) fn refused(message: impl Into<String>) -> Failure {
        Failure::new(Exit::Refused, message)
    }

    /// A fault of ours (exit code 70).
    pub(crate) fn internal(message: impl Into<String>) -> Failure {
        Failure::new(Exit::Internal, message)
    }

    /// Adds the chain of errors that led to it.
    pub(crate) fn because(mut self, error: &(dyn Error + 'static)) -> Failure {
        if let Failure::Error(report) = &mut self {
            let mut next = Some(error);
            while let Some(cause) = next {
                let text = cause.to_string();
                // Some errors repeat the text of their source; say everything once.
                let last = report.causes.last().unwrap_or(&report.message);
                if !last.contains(&text) {
                    report.causes.push(text);
                }
                next = cause.source();
            }
        }
        self
    }

    /// Adds advice; `None` leaves it as it is.
    pub(crate) fn hint(mut self, hint: impl Into<Option<String>>) -> Failure {
        if let (Failure::Error(report), Some(hint)) = (&mut self, hint.into()) {
            report.hint = Some(hint);
        }
        self
    }

    /// Adds rendered source lines or output.
    pub(crate) fn details(mut self, details: &str) -> Failure {
        if let Failure::Error(report) = &mut self {
            report.details.push_str(details);
        }
        self
    }

    /// The exit code.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Failure::Error(report) => report.exit,
            Failure::Findings => Exit::Usage,
            Failure::Interrupted(signal) => Exit::Signal(*signal),
            Failure::ClosedPipe => Exit::Done,
        }
    }

    /// What is left to print, with colours.
    pub(crate) fn render(&self) -> String {
        match self {
            Failure::Error(report) => report.render(),
            Failure::Interrupted(_) => "interrupted\n".to_owned(),
            Failure::Findings | Failure::ClosedPipe => String::new(),
        }
    }
}

impl Report {
    fn render(&self) -> String {
        let Report { message, details, causes, hint, .. } = self;
        let mut text = format!("{ERROR}error{ERROR:#}{BOLD}: {message}{BOLD:#}\n{details}");
        for cause in causes {
            text.push_str("  caused by: ");
            text.push_str(&cause.trim_end().replace('\n', "\n    "));
            text.push('\n');
        }
        if let Some(hint) = hint {
            let hint = hint.trim_end().replace('\n', "\n        ");
            text.push_str(&format!("  {HINT}hint{HINT:#}: {hint}\n"));
        }
        text
    }
}

/// Errors of our crates, which know their own hints.
macro_rules! from_error {
    ($($error:ty),+ $(,)?) => { $(
        impl From<$error> for Failure {
            fn from(error: $error) -> Failure {
                let failure = Failure::failed(error.to_string()).hint(error.hint());
                match error.source() {
                    Some(source) => failure.because(source),
                    None => failure,
                }
            }
        }
    )+ };
}

from_error!(
    anyarch_store::StoreError,
    anyarch_http::HttpError,
    anyarch_sandbox::SandboxError,
    anyarch_registry::server::ServeError,
    anyarch_registry::server::AccountsError,
    anyarch_registry::server::TlsError,
);

impl From<anyarch_oci::EndpointError> for Failure {
    fn from(error: anyarch_oci::EndpointError) -> Failure {
        let failure = Failure::failed(error.message.clone()).hint(error.hint.clone());
        match error.source() {
            Some(source) => failure.because(source),
            None => failure,
        }
    }
}

impl From<anyarch_plan::TargetError> for Failure {
    fn from(error: anyarch_plan::TargetError) -> Failure {
        let failure = Failure::usage(error.to_string()).hint(error.hint());
        match error.source() {
            Some(source) => failure.because(source),
            None => failure,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_states_object_causes_and_hint() {
        let io = std::io::Error::other("disk on fire");
        let failure =
            Failure::failed("failed to write x").because(&io).hint("buy a disk".to_owned());
        let text = anstream::adapter::strip_str(&failure.render()).to_string();
        insta::assert_snapshot!(text, @r"
        error: failed to write x
          caused by: disk on fire
          hint: buy a disk
        ");
        assert_eq!(failure.exit(), Exit::Failed);
    }

    #[test]
    fn a_cause_that_repeats_its_source_is_said_once() {
        let inner = std::io::Error::other("no space");
        let failure = Failure::failed("failed to write x: no space").because(&inner);
        let Failure::Error(report) = failure else { panic!("not an error") };
        assert!(report.causes.is_empty());
    }
}
