//! One file of a package to a writer, without unpacking the rest.
//!
//! Decompresses no further than to the end of that file. Follows no links, writes nothing to disk.

use std::io::{self, Read, Write};

use crate::deb::Deb;
use crate::error::DebianError;
use crate::fetch::Packages;
use crate::resolution::Selected;

/// Bytes copied at a time.
const BLOCK: usize = 128 << 10;

/// Writes the first regular file of a package whose path is one of `names` to `out`, and returns that path;
/// `None` where the package has no such file, also where it is a link.
///
/// Paths are without a slash at the beginning: `usr/bin/env`.
pub fn extract_file(
    selected: &Selected,
    packages: &dyn Packages,
    names: &[&str],
    out: &mut dyn Write,
) -> Result<Option<String>, DebianError> {
    let package = || selected.name.clone();
    let read = |source| DebianError::Read { package: package(), source };
    let missing =
        || DebianError::NotDownloaded { package: package(), digest: selected.sha256.clone() };
    let deb = Deb::open(&selected.name, &mut packages.open(&selected.sha256).ok_or_else(missing)?)?;
    let file = packages.open(&selected.sha256).ok_or_else(missing)?;
    let mut archive = tar::Archive::new(deb.data(file).map_err(read)?);
    for entry in archive.entries().map_err(read)? {
        let mut entry = entry.map_err(read)?;
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let path = path.trim_start_matches("./");
        if !entry.header().entry_type().is_file() || !names.contains(&path) {
            continue;
        }
        let mut buffer = vec![0; BLOCK];
        loop {
            match entry.read(&mut buffer) {
                Ok(0) => return Ok(Some(path.to_owned())),
                Ok(count) => {
                    let block = buffer.get(..count).unwrap_or(&[]);
                    out.write_all(block).map_err(|source| DebianError::Keep {
                        file: path.to_owned(),
                        package: package(),
                        source,
                    })?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(read(error)),
            }
        }
    }
    Ok(None)
}
