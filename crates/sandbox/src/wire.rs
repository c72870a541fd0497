//! The two messages between the calling program and the inside of a sandbox, as bytes and back:
//! the order (what to run) and the report (how it went).
//!
//! Both ends are the same executable, so there is no version; numbers are little-endian, and every
//! string has its length before it. A short or odd message is an error, never a panic.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use crate::caps::Capabilities;
use crate::error::{ExecFailure, Failure};
use crate::foreign::ForeignPlatform;
use crate::process::{Exit, Foreign, Mount, Network, Output, Process, ProvidedFile, Stdin};

/// What the inside reports.
#[derive(Debug)]
pub(crate) enum Report {
    /// A step of the set-up failed.
    Setup(Failure),
    /// The program could not be started.
    Exec(ExecFailure),
    /// The process ended.
    Exit(Exit),
}

/// The order, as bytes. Standard input and output travel as descriptors, so of them only the kind.
pub(crate) fn encode_process(process: &Process) -> Vec<u8> {
    let mut out = Writer::default();
    out.os(process.root.as_os_str());
    out.list(&process.argv, |out, arg| out.os(arg));
    out.list(&process.env, |out, (key, value)| {
        out.os(key);
        out.os(value);
    });
    out.os(process.cwd.as_os_str());
    out.number(process.uid.into());
    out.number(process.gid.into());
    out.list(&process.groups, |out, gid| out.number((*gid).into()));
    out.bytes(process.hostname.as_bytes());
    out.number((process.network == Network::None).into());
    out.list(&process.mounts, |out, mount| match mount {
        Mount::Bind { source, target, read_only } => {
            out.number(0);
            out.os(source.as_os_str());
            out.os(target.as_os_str());
            out.number((*read_only).into());
        }
        Mount::Tmpfs { target, size, mode } => {
            out.number(1);
            out.os(target.as_os_str());
            out.number((*size).map_or(0, |size| size.max(1)));
            out.number((*mode).into());
        }
    });
    out.list(&process.files, |out, file| {
        out.os(file.path.as_os_str());
        out.bytes(&file.contents);
        out.number(file.mode.map_or(u64::MAX, u64::from));
        out.number(file.owner.0.into());
        out.number(file.owner.1.into());
    });
    out.number((process.stdin == Stdin::Inherit).into());
    out.number((process.output == Output::Inherit).into());
    out.number(process.capabilities.bits());
    out.list(process.foreign.as_slice(), |out, foreign| {
        out.bytes(foreign.platform.platform.as_bytes());
        out.os(foreign.handler.as_os_str());
        out.list(foreign.hidden.as_slice(), |out, hidden| out.os(hidden.as_os_str()));
    });
    out.0
}

/// The order, back from its bytes.
pub(crate) fn decode_process(bytes: &[u8]) -> io::Result<Process> {
    let mut read = Reader(bytes);
    let process = Process {
        root: read.path()?,
        argv: read.list(Reader::os)?,
        env: read.list(|read| Ok((read.os()?, read.os()?)))?,
        cwd: read.path()?,
        uid: read.small()?,
        gid: read.small()?,
        groups: read.list(Reader::small)?,
        hostname: read.text()?,
        network: if read.number()? == 1 { Network::None } else { Network::Host },
        mounts: read.list(|read| {
            Ok(match read.number()? {
                0 => Mount::Bind {
                    source: read.path()?,
                    target: read.path()?,
                    read_only: read.number()? == 1,
                },
                _ => Mount::Tmpfs {
                    target: read.path()?,
                    size: Some(read.number()?).filter(|size| *size > 0),
                    mode: read.small()?,
                },
            })
        })?,
        files: read.list(|read| {
            Ok(ProvidedFile {
                path: read.path()?,
                contents: read.bytes()?.to_vec(),
                mode: u32::try_from(read.number()?).ok(),
                owner: (read.small()?, read.small()?),
            })
        })?,
        stdin: if read.number()? == 1 { Stdin::Inherit } else { Stdin::Null },
        output: if read.number()? == 1 { Output::Inherit } else { Output::Pipe },
        capabilities: Capabilities::from_bits(read.number()?),
        foreign: read
            .list(|read| {
                Ok(Foreign {
                    platform: ForeignPlatform::find(&read.text()?).ok_or_else(unknown)?,
                    handler: read.path()?,
                    hidden: read.list(Reader::path)?.pop(),
                })
            })?
            .pop(),
    };
    Ok(process)
}

/// A report, as bytes; short enough for one atomic write to a pipe but for absurd paths.
pub(crate) fn encode_report(report: &Report) -> Vec<u8> {
    let mut out = Writer::default();
    match report {
        Report::Setup(failure) => {
            out.number(0);
            out.bytes(failure.operation.as_bytes());
            out.number(failure.source.raw_os_error().unwrap_or(0) as u64);
            out.bytes(failure.source.to_string().as_bytes());
        }
        Report::Exec(failure) => {
            out.number(1);
            let (kind, text, errno) = match failure {
                ExecFailure::NotFound { searched } => (0, searched.as_deref(), 0),
                ExecFailure::MissingInterpreter { interpreter } => {
                    (1, Some(interpreter.as_str()), 0)
                }
                ExecFailure::PermissionDenied => (2, None, 0),
                ExecFailure::IsDirectory => (3, None, 0),
                ExecFailure::ExecFormat { machine } => (4, machine.as_deref(), 0),
                ExecFailure::Other { errno } => (5, None, *errno),
            };
            out.number(kind);
            out.number(text.is_some().into());
            out.bytes(text.unwrap_or_default().as_bytes());
            out.number(errno as u64);
        }
        Report::Exit(exit) => {
            let (kind, number) = match exit {
                Exit::Code(code) => (2, code),
                Exit::Signal(signal) => (3, signal),
            };
            out.number(kind);
            out.number(*number as u64);
        }
    }
    out.0
}

/// The first report of a stream of them; later ones are consequences of it. None when the inside
/// was killed before it could report.
pub(crate) fn decode_report(bytes: &[u8]) -> io::Result<Option<Report>> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let mut read = Reader(bytes);
    Ok(Some(match read.number()? {
        0 => {
            let operation = read.text()?;
            let errno = read.number()? as i32;
            let text = read.text()?;
            let source = io::Error::from_raw_os_error(errno);
            Report::Setup(Failure {
                operation,
                // The kernel's own words are kept where they say more than the number.
                source: if errno == 0 { io::Error::other(text) } else { source },
            })
        }
        1 => {
            let kind = read.number()?;
            let present = read.number()? == 1;
            let text = Some(read.text()?).filter(|_| present);
            let errno = read.number()? as i32;
            Report::Exec(match kind {
                0 => ExecFailure::NotFound { searched: text },
                1 => ExecFailure::MissingInterpreter { interpreter: text.unwrap_or_default() },
                2 => ExecFailure::PermissionDenied,
                3 => ExecFailure::IsDirectory,
                4 => ExecFailure::ExecFormat { machine: text },
                _ => ExecFailure::Other { errno },
            })
        }
        2 => Report::Exit(Exit::Code(read.number()? as i32)),
        _ => Report::Exit(Exit::Signal(read.number()? as i32)),
    }))
}

#[derive(Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn number(&mut self, number: u64) {
        self.0.extend(number.to_le_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.extend(bytes);
    }

    fn os(&mut self, text: &OsStr) {
        self.bytes(text.as_bytes());
    }

    fn list<T>(&mut self, items: &[T], each: impl Fn(&mut Writer, &T)) {
        self.number(items.len() as u64);
        for item in items {
            each(self, item);
        }
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn number(&mut self) -> io::Result<u64> {
        let (number, rest) = self.0.split_first_chunk().ok_or_else(truncated)?;
        self.0 = rest;
        Ok(u64::from_le_bytes(*number))
    }

    fn small(&mut self) -> io::Result<u32> {
        u32::try_from(self.number()?).map_err(io::Error::other)
    }

    fn bytes(&mut self) -> io::Result<&'a [u8]> {
        let length = usize::try_from(self.number()?).map_err(io::Error::other)?;
        let (bytes, rest) = self.0.split_at_checked(length).ok_or_else(truncated)?;
        self.0 = rest;
        Ok(bytes)
    }

    fn os(&mut self) -> io::Result<OsString> {
        Ok(OsString::from_vec(self.bytes()?.to_vec()))
    }

    fn path(&mut self) -> io::Result<PathBuf> {
        self.os().map(PathBuf::from)
    }

    fn text(&mut self) -> io::Result<String> {
        Ok(String::from_utf8_lossy(self.bytes()?).into_owned())
    }

    fn list<T>(&mut self, mut each: impl FnMut(&mut Self) -> io::Result<T>) -> io::Result<Vec<T>> {
        let length = self.number()?;
        (0..length).map(|_| each(self)).collect()
    }
}

fn unknown() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a platform that is not in the table")
}

fn truncated() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "message cut short")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Process {
        Process {
            env: vec![("A".into(), OsString::from_vec(vec![0xff, b'='])), ("B".into(), "".into())],
            groups: vec![4, 20],
            network: Network::None,
            mounts: vec![
                Mount::Bind { source: "/s".into(), target: "/t".into(), read_only: true },
                Mount::Tmpfs { target: "/tmp".into(), size: None, mode: 0o1777 },
                Mount::Tmpfs { target: "/x".into(), size: Some(9), mode: 0o755 },
            ],
            files: vec![ProvidedFile {
                mode: Some(0o400),
                owner: (1, 2),
                ..ProvidedFile::new("/etc/hosts", [0, 1, 2])
            }],
            stdin: Stdin::Inherit,
            output: Output::Inherit,
            uid: 7,
            foreign: Some(Foreign {
                platform: ForeignPlatform::find("linux/arm64").unwrap(),
                handler: "/h".into(),
                hidden: Some("/d".into()),
            }),
            ..Process::new("/root dir", ["sh", "-c", ""])
        }
    }

    #[test]
    fn order_survives_the_trip() {
        let mut process = example();
        assert_eq!(decode_process(&encode_process(&process)).unwrap(), process);
        process.foreign.as_mut().unwrap().hidden = None;
        assert_eq!(decode_process(&encode_process(&process)).unwrap(), process);
        process.foreign = None;
        assert_eq!(decode_process(&encode_process(&process)).unwrap(), process);
    }

    #[test]
    fn cut_order_is_an_error() {
        let bytes = encode_process(&example());
        for length in 0..bytes.len() {
            assert!(decode_process(&bytes[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn reports_survive_the_trip() {
        let failures = [
            ExecFailure::NotFound { searched: None },
            ExecFailure::NotFound { searched: Some(String::new()) },
            ExecFailure::MissingInterpreter { interpreter: "/bin/x".into() },
            ExecFailure::PermissionDenied,
            ExecFailure::IsDirectory,
            ExecFailure::ExecFormat { machine: Some("aarch64".into()) },
            ExecFailure::Other { errno: 7 },
        ];
        for failure in failures {
            let bytes = encode_report(&Report::Exec(failure.clone()));
            assert!(
                matches!(decode_report(&bytes).unwrap(), Some(Report::Exec(back)) if back == failure)
            );
        }
        for exit in [Exit::Code(3), Exit::Signal(15)] {
            let bytes = encode_report(&Report::Exit(exit));
            assert!(
                matches!(decode_report(&bytes).unwrap(), Some(Report::Exit(back)) if back == exit)
            );
        }
        let bytes = encode_report(&Report::Setup(Failure {
            operation: "mount proc".into(),
            source: io::Error::from_raw_os_error(libc::EPERM),
        }));
        let Some(Report::Setup(back)) = decode_report(&bytes).unwrap() else { panic!() };
        assert_eq!(
            (back.operation.as_str(), back.source.raw_os_error()),
            ("mount proc", Some(libc::EPERM))
        );
        assert!(decode_report(&[]).unwrap().is_none());
        assert!(decode_report(&[1, 2]).is_err());
    }
}
