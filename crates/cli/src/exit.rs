//! Exit codes: a stable part of the interface.

use std::process::ExitCode;

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done, or there was nothing to do.
    Done,
    /// A build, a publication or another operation failed.
    Failed,
    /// The command line, the plan or a Dockerfile is wrong.
    Usage,
    /// A guard refused: the version exists already, or the tree is dirty.
    Refused,
    /// A fault of anyarch itself.
    Internal,
    /// Stopped by a signal: 128 and its number.
    Signal(u8),
}

/// The table of codes, for `--help` and the manual page.
pub(crate) const HELP: &str = "\
Exit codes:
    0  done, or nothing to do
    1  a build, a publication or another operation failed
    2  the command line, the plan or a Dockerfile is wrong
    3  a guard refused: the version exists, or the tree is dirty
   70  a fault of anyarch itself
  130  interrupted (128 and the number of the signal)";

impl Exit {
    /// The number that the shell sees.
    pub(crate) fn code(self) -> u8 {
        match self {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Refused => 3,
            Exit::Internal => 70,
            Exit::Signal(number) => 128_u8.saturating_add(number),
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_names_every_code() {
        let exits =
            [Exit::Done, Exit::Failed, Exit::Usage, Exit::Refused, Exit::Internal, Exit::Signal(2)];
        for exit in exits {
            let start = format!("{:>5}  ", exit.code());
            assert!(HELP.lines().any(|line| line.starts_with(&start)), "{exit:?} is not in HELP");
        }
    }
}
