//! Compressed bytes to plain ones, for indexes and the members of packages.

use std::io::{self, BufReader, Read};

/// How bytes are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Gzip,
    Xz,
    Zstd,
}

impl Compression {
    /// By the end of a file name: `control.tar.xz`.
    pub(crate) fn of_name(name: &str) -> Option<Compression> {
        match name.rsplit('.').next() {
            Some("tar") => Some(Compression::None),
            Some("gz") => Some(Compression::Gzip),
            Some("xz") => Some(Compression::Xz),
            Some("zst") => Some(Compression::Zstd),
            _ => None,
        }
    }
}

/// Memory that an xz stream may ask for, KiB: twice what `xz -9` needs.
const XZ_MEMORY: u32 = 128 << 10;

/// A reader of the plain bytes.
pub(crate) fn decompress<R: Read + Send + 'static>(
    reader: R,
    compression: Compression,
) -> io::Result<Box<dyn Read + Send>> {
    let reader = BufReader::with_capacity(128 << 10, reader);
    Ok(match compression {
        Compression::None => Box::new(reader),
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(reader)),
        Compression::Xz => Box::new(lzma_rust2::XzReader::new_mem_limit(reader, true, XZ_MEMORY)),
        Compression::Zstd => Box::new(zstd::Decoder::with_buffer(reader)?),
    })
}
