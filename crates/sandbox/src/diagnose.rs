//! An error of execve(2) and the file it was about → the likely reason.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::error::ExecFailure;

/// Why `program` could not be executed.
pub(crate) fn diagnose(program: &Path, error: &io::Error) -> ExecFailure {
    let errno = error.raw_os_error().unwrap_or(libc::EINVAL);
    match errno {
        libc::ENOENT | libc::ENOTDIR => {
            if !program.exists() {
                return ExecFailure::NotFound { searched: None };
            }
            match interpreter(program) {
                Some(interpreter) if !Path::new(OsStr::from_bytes(&interpreter)).exists() => {
                    ExecFailure::MissingInterpreter { interpreter: text(&interpreter) }
                }
                // A script whose interpreter is there: it lacks a loader of its own.
                Some(script) => match interpreter_of(Path::new(OsStr::from_bytes(&script))) {
                    Some(loader) => ExecFailure::MissingInterpreter { interpreter: loader },
                    None => ExecFailure::Other { errno },
                },
                None => ExecFailure::Other { errno },
            }
        }
        libc::EACCES if program.is_dir() => ExecFailure::IsDirectory,
        libc::EACCES => ExecFailure::PermissionDenied,
        libc::ENOEXEC => {
            let script = interpreter(program).filter(|_| elf(program).is_none());
            let file = script.as_deref().map_or(program, |path| Path::new(OsStr::from_bytes(path)));
            ExecFailure::ExecFormat { machine: elf(file).map(|elf| elf.machine_name()) }
        }
        _ => ExecFailure::Other { errno },
    }
}

fn text(bytes: &[u8]) -> String {
    // A trailing carriage return is what is to be seen.
    String::from_utf8_lossy(bytes).replace('\r', "\\r")
}

fn interpreter_of(program: &Path) -> Option<String> {
    interpreter(program).map(|path| text(&path))
}

/// The interpreter that a script's first line or an ELF header names.
fn interpreter(program: &Path) -> Option<Vec<u8>> {
    let file = File::open(program).ok()?;
    let mut head = [0; 256];
    let length = file.read_at(&mut head, 0).ok()?;
    let head = head.get(..length)?;
    if let Some(line) = head.strip_prefix(b"#!") {
        let line = line.split(|byte| *byte == b'\n').next()?;
        let line = line.trim_ascii_start();
        let end = line.iter().position(|byte| matches!(byte, b' ' | b'\t'));
        return Some(line.get(..end.unwrap_or(line.len()))?.to_vec());
    }
    elf(program)?.interpreter(&file)
}

/// The few fields of an ELF header that matter here.
struct Elf {
    head: [u8; 64],
}

fn elf(path: &Path) -> Option<Elf> {
    let mut head = [0; 64];
    File::open(path).ok()?.read_at(&mut head, 0).ok()?;
    head.starts_with(b"\x7fELF").then_some(Elf { head })
}

impl Elf {
    fn number(&self, bytes: &[u8], at: usize, size: usize) -> Option<u64> {
        let bytes = bytes.get(at..at.checked_add(size)?)?;
        let little = self.head[5] != 2;
        let fold = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
        Some(if little { bytes.iter().rev().fold(0, fold) } else { bytes.iter().fold(0, fold) })
    }

    fn wide(&self) -> bool {
        self.head[4] == 2
    }

    /// Names as `uname -m` gives them.
    fn machine_name(&self) -> String {
        let number = self.number(&self.head, 18, 2).unwrap_or(0);
        let name = match (number, self.wide()) {
            (0x03, _) => "i386",
            (0x08, _) => "mips",
            (0x14, _) => "ppc",
            (0x15, _) => "ppc64",
            (0x16, _) => "s390x",
            (0x28, _) => "arm",
            (0x3e, _) => "x86_64",
            (0xb7, _) => "aarch64",
            (0xf3, true) => "riscv64",
            (0xf3, false) => "riscv32",
            (0x102, _) => "loongarch64",
            _ => return format!("machine {number}"),
        };
        name.to_owned()
    }

    /// The path in its PT_INTERP segment (elf(5)).
    fn interpreter(&self, file: &File) -> Option<Vec<u8>> {
        let wide = self.wide();
        let (table, size, count) = if wide { (32, 54, 56) } else { (28, 42, 44) };
        let table = self.number(&self.head, table, if wide { 8 } else { 4 })?;
        let size = self.number(&self.head, size, 2)?;
        let count = self.number(&self.head, count, 2)?;
        for index in 0..count.min(128) {
            let mut entry = [0; 56];
            let at = table.checked_add(index.checked_mul(size)?)?;
            file.read_at(&mut entry, at).ok()?;
            if self.number(&entry, 0, 4)? != 3 {
                continue;
            }
            let (offset, length) = if wide {
                (self.number(&entry, 8, 8)?, self.number(&entry, 32, 8)?)
            } else {
                (self.number(&entry, 4, 4)?, self.number(&entry, 16, 4)?)
            };
            let mut path = vec![0; usize::try_from(length.min(4096)).ok()?];
            file.read_exact_at(&mut path, offset).ok()?;
            path.truncate(path.iter().position(|byte| *byte == 0)?);
            return Some(path);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn of(contents: &[u8], errno: i32) -> ExecFailure {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("program");
        fs::write(&path, contents).unwrap();
        diagnose(&path, &io::Error::from_raw_os_error(errno))
    }

    /// An ELF header with one program header that names a loader.
    fn elf_file(machine: u16, wide: bool, big: bool) -> Vec<u8> {
        let mut out = vec![0u8; 256];
        out[..6].copy_from_slice(&[0x7f, b'E', b'L', b'F', 1 + u8::from(wide), 1 + u8::from(big)]);
        let mut put = |at: usize, size: usize, number: u64| {
            let bytes = if big {
                number.to_be_bytes()[8 - size..].to_vec()
            } else {
                number.to_le_bytes()[..size].to_vec()
            };
            out[at..at + size].copy_from_slice(&bytes);
        };
        put(18, 2, machine.into());
        if wide {
            put(32, 8, 64);
            put(54, 2, 56);
            put(56, 2, 1);
            put(64, 4, 3);
            put(72, 8, 200);
            put(96, 8, 9);
        } else {
            put(28, 4, 52);
            put(42, 2, 32);
            put(44, 2, 1);
            put(52, 4, 3);
            put(56, 4, 200);
            put(68, 4, 9);
        }
        out[200..209].copy_from_slice(b"/no/ld.so");
        out.push(0);
        out[208] = 0;
        out
    }

    #[test]
    fn missing_interpreters_are_named() {
        let missing = |name: &str| ExecFailure::MissingInterpreter { interpreter: name.into() };
        assert_eq!(of(b"#!/no/such -x\n", libc::ENOENT), missing("/no/such"));
        assert_eq!(of(b"#! /no/sh\r\necho\n", libc::ENOENT), missing("/no/sh\\r"));
        for (wide, big) in [(true, false), (true, true), (false, false), (false, true)] {
            assert_eq!(of(&elf_file(62, wide, big), libc::ENOENT), missing("/no/ld.s"));
        }
    }

    #[test]
    fn foreign_machines_are_named() {
        let format =
            |machine: Option<&str>| ExecFailure::ExecFormat { machine: machine.map(Into::into) };
        assert_eq!(of(&elf_file(0xb7, true, false), libc::ENOEXEC), format(Some("aarch64")));
        assert_eq!(of(&elf_file(0x16, true, true), libc::ENOEXEC), format(Some("s390x")));
        assert_eq!(of(&elf_file(9999, true, false), libc::ENOEXEC), format(Some("machine 9999")));
        assert_eq!(of(b"echo no first line\n", libc::ENOEXEC), format(None));
        assert_eq!(of(b"", libc::ENOEXEC), format(None));
    }

    #[test]
    fn hostile_headers_do_not_panic() {
        for length in 0..=64 {
            let mut bytes = elf_file(62, true, false);
            bytes.truncate(length);
            of(&bytes, libc::ENOENT);
            let mut bytes = vec![0xff; 64 + length];
            bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
            of(&bytes, libc::ENOENT);
        }
    }

    #[test]
    fn other_errors_keep_their_meaning() {
        assert_eq!(of(b"", libc::EACCES), ExecFailure::PermissionDenied);
        assert_eq!(of(b"", libc::E2BIG), ExecFailure::Other { errno: libc::E2BIG });
        let denied = io::Error::from_raw_os_error(libc::EACCES);
        assert_eq!(diagnose(Path::new("/"), &denied), ExecFailure::IsDirectory);
        let missing = io::Error::from_raw_os_error(libc::ENOENT);
        let failure = diagnose(Path::new("/no/such/file"), &missing);
        assert_eq!(failure, ExecFailure::NotFound { searched: None });
        assert_eq!(failure.exit_code(), 127);
    }
}
