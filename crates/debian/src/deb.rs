//! A binary package file (deb(5)): an `ar` archive to its control files and the stream of its data.
//!
//! Reads members in place; the data member is decompressed only by who asks for it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use crate::control::Paragraph;
use crate::decompress::{Compression, decompress};
use crate::error::DebianError;

/// Largest control member, compressed and not.
const CONTROL_LIMIT: u64 = 64 << 20;

/// A file of the control member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ControlFile {
    pub(crate) content: Vec<u8>,
    pub(crate) mode: u32,
}

/// An opened package.
#[derive(Debug)]
pub(crate) struct Deb {
    /// The `control` file.
    pub(crate) control: Paragraph,
    /// The other control files by name: scripts, `conffiles`, `md5sums`, `triggers`, ….
    pub(crate) files: BTreeMap<String, ControlFile>,
    data: (u64, u64, Compression),
}

/// A member of the `ar` archive.
struct Member {
    name: String,
    start: u64,
    size: u64,
}

impl Deb {
    /// Reads the outer archive and the control member of `file`; `package` is for messages.
    pub(crate) fn open(package: &str, file: &mut File) -> Result<Deb, DebianError> {
        let malformed =
            |reason: String| DebianError::Package { package: package.to_owned(), reason };
        let read = |source| DebianError::Read { package: package.to_owned(), source };
        let members = members(file).map_err(|error| match error.kind() {
            io::ErrorKind::InvalidData => malformed(error.to_string()),
            io::ErrorKind::UnexpectedEof => {
                malformed("it ends in the middle of a member".to_owned())
            }
            _ => read(error),
        })?;
        if members.first().is_none_or(|member| member.name != "debian-binary") {
            return Err(malformed("its first member is not `debian-binary`".to_owned()));
        }
        let find = |prefix: &str| {
            let member = members.iter().find(|member| member.name.starts_with(prefix));
            let member = member.ok_or_else(|| malformed(format!("it has no member `{prefix}`")))?;
            let compression = Compression::of_name(&member.name)
                .ok_or_else(|| malformed(format!("`{}`: unsupported compression", member.name)))?;
            Ok::<_, DebianError>((member, compression))
        };
        let (member, compression) = find("control.tar")?;
        if member.size > CONTROL_LIMIT {
            return Err(malformed("its control member is too large".to_owned()));
        }
        let bytes = section(file, member.start, member.size).map_err(read)?;
        let plain = decompress(io::Cursor::new(bytes), compression).map_err(read)?;
        let mut files = control_files(plain.take(CONTROL_LIMIT))
            .map_err(|error| malformed(format!("its control member cannot be read: {error}")))?;
        let control = files.remove("control");
        let control = control.ok_or_else(|| malformed("it has no control file".to_owned()))?;
        let control = Paragraph::parse(&String::from_utf8_lossy(&control.content))
            .map_err(|error| malformed(format!("control file: {error}")))?
            .ok_or_else(|| malformed("its control file is empty".to_owned()))?;
        let (member, compression) = find("data.tar")?;
        Ok(Deb { control, files, data: (member.start, member.size, compression) })
    }

    /// The data member, decompressed: a tar archive.
    pub(crate) fn data(&self, mut file: File) -> io::Result<Box<dyn Read + Send>> {
        let (start, size, compression) = self.data;
        file.seek(SeekFrom::Start(start))?;
        decompress(file.take(size), compression)
    }

    /// A control file as text, empty when there is none.
    pub(crate) fn text(&self, name: &str) -> String {
        let file = self.files.get(name);
        file.map(|f| String::from_utf8_lossy(&f.content).into_owned()).unwrap_or_default()
    }
}

/// Names, places and sizes of the members of an `ar` archive, in order.
fn members(file: &mut File) -> io::Result<Vec<Member>> {
    let invalid = |reason: &str| io::Error::new(io::ErrorKind::InvalidData, reason.to_owned());
    let end = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(0))?;
    let mut magic = [0; 8];
    file.read_exact(&mut magic)?;
    if &magic != b"!<arch>\n" {
        return Err(invalid("it is not an ar archive"));
    }
    let (mut position, mut members) = (8u64, Vec::new());
    while position < end {
        file.seek(SeekFrom::Start(position))?;
        let mut header = [0; 60];
        file.read_exact(&mut header)?;
        let text = String::from_utf8_lossy(&header);
        let field = |from: usize, to: usize| text.get(from..to).unwrap_or("").trim();
        let size: u64 = field(48, 58).parse().map_err(|_| invalid("a member has no size"))?;
        let start = position + 60;
        let stop = start.checked_add(size).filter(|stop| *stop <= end);
        let stop = stop.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
        let name = field(0, 16).trim_end_matches('/').to_owned();
        members.push(Member { name, start, size });
        position = stop + stop % 2;
    }
    Ok(members)
}

fn section(file: &mut File, start: u64, size: u64) -> io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.take(size).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The regular files of the control member; it has no folders.
fn control_files(tar: impl Read) -> io::Result<BTreeMap<String, ControlFile>> {
    let mut files = BTreeMap::new();
    let mut archive = tar::Archive::new(tar);
    for entry in archive.entries()? {
        let mut entry = entry?;
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let name = path.trim_start_matches("./").to_owned();
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.+".contains(c);
        if name.is_empty() || name.starts_with('.') || !name.chars().all(plain) {
            return Err(io::Error::other(format!("`{path}` is not a control file's name")));
        }
        let mode = entry.header().mode()? & 0o777;
        let mut content = Vec::new();
        entry.read_to_end(&mut content)?;
        files.insert(name, ControlFile { content, mode });
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyarch_testkit::debian::{Entry, Package};
    use std::io::Write;

    fn open(bytes: &[u8]) -> Result<Deb, DebianError> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        Deb::open("p", &mut file)
    }

    #[test]
    fn members_of_all_compressions_are_read() {
        for compression in ["", ".gz", ".xz", ".zst"] {
            let bytes = Package::new("p", "1")
                .script("postinst", "#!/bin/sh\n")
                .entry(Entry::file("usr/share/p", "data"))
                .build(compression);
            let deb = open(&bytes).unwrap();
            assert_eq!(deb.control.get("Package"), Some("p"));
            assert_eq!(deb.files["postinst"].mode, 0o755);
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&bytes).unwrap();
            let mut tar = tar::Archive::new(deb.data(file).unwrap());
            let paths: Vec<_> =
                tar.entries().unwrap().map(|e| e.unwrap().path().unwrap().into_owned()).collect();
            assert!(paths.iter().any(|p| p.ends_with("usr/share/p")), "{paths:?}");
        }
    }

    #[test]
    fn damaged_packages_are_named() {
        let good = Package::new("p", "1").build(".gz");
        for (bytes, reason) in [
            (b"hello world".to_vec(), "not an ar archive"),
            (good[..good.len() - 10].to_vec(), "ends in the middle"),
            (b"!<arch>\n".to_vec(), "debian-binary"),
        ] {
            let error = open(&bytes).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]
        #[test]
        fn damaged_bytes_never_panic(at in 0usize..2000, byte: u8) {
            let mut bytes = Package::new("p", "1").build(".gz");
            if let Some(b) = bytes.get_mut(at) {
                *b = byte;
            }
            if let Ok(deb) = open(&bytes) {
                proptest::prop_assert!(!deb.control.is_empty());
            }
        }
    }
}
