//! What is to be known of a program or library before it is run: for which machine it is, and what
//! it needs.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::sync::OnceLock;

use anyarch_handler::layout::Identity;
use goblin::elf::Elf;
use md5::{Digest, Md5};
use sha1::Sha1;
use sha2::Sha256;

use crate::packages::{Sum, hex};

/// A file, looked at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Looked {
    /// MD5 sum in hexadecimal, as dpkg keeps it.
    pub(crate) md5: String,
    /// Likewise, once somebody asked; of other databases.
    sha1: OnceLock<String>,
    sha256: OnceLock<String>,
    /// What the ELF header and the dynamic section say; `None`: it is no ELF file.
    pub(crate) elf: Option<Needs>,
}

/// What a program or library needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Needs {
    /// Number of the machine.
    pub(crate) machine: u16,
    /// The dynamic loader that it names; libraries and static programs name none.
    pub(crate) loader: Option<String>,
    /// Names of libraries.
    pub(crate) libraries: Vec<String>,
    /// Directories to look for them first.
    pub(crate) run_paths: Vec<String>,
}

impl Looked {
    /// Whether the file is what it was when this was its digest. `read` reads it again.
    pub(crate) fn has(&self, sum: &Sum, read: &dyn Fn() -> Option<Vec<u8>>) -> bool {
        let known = |cell: &OnceLock<String>, digest: &dyn Fn(&[u8]) -> String, sum: &str| {
            let found = match cell.get() {
                Some(known) => known,
                None => match read() {
                    Some(bytes) => cell.get_or_init(|| digest(&bytes)),
                    None => return false,
                },
            };
            found == sum
        };
        match sum {
            Sum::Md5(sum) => self.md5 == *sum,
            Sum::Sha1(sum) => known(&self.sha1, &|bytes| hex(&Sha1::digest(bytes)), sum),
            Sum::Sha256(sum) => known(&self.sha256, &|bytes| hex(&Sha256::digest(bytes)), sum),
        }
    }
}

/// Reads a whole file.
pub(crate) fn look(file: &mut File) -> io::Result<(Looked, Vec<u8>)> {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let md5 = hex(&Md5::digest(&bytes));
    let elf = if bytes.starts_with(b"\x7fELF") { Elf::parse(&bytes).ok() } else { None };
    let elf = elf.map(|elf| Needs {
        machine: elf.header.e_machine,
        loader: elf.interpreter.map(str::to_owned),
        libraries: elf.libraries.iter().map(|name| (*name).to_owned()).collect(),
        run_paths: elf
            .runpaths
            .iter()
            .chain(&elf.rpaths)
            .flat_map(|paths| paths.split(':'))
            .map(str::to_owned)
            .collect(),
    });
    Ok((Looked { md5, elf, sha1: OnceLock::new(), sha256: OnceLock::new() }, bytes))
}

/// What the handler will know an open file by.
pub(crate) fn identity(file: &File) -> io::Result<Identity> {
    Ok(identity_of(&file.metadata()?))
}

/// The same from metadata.
pub(crate) fn identity_of(meta: &std::fs::Metadata) -> Identity {
    let time = |seconds: i64, nanos: i64| seconds.wrapping_mul(1_000_000_000).wrapping_add(nanos);
    Identity {
        dev: meta.dev(),
        ino: meta.ino(),
        size: meta.size(),
        mtime: time(meta.mtime(), meta.mtime_nsec()),
        ctime: time(meta.ctime(), meta.ctime_nsec()),
    }
}
