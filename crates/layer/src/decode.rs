//! Compressed bytes to plain ones; the format is told by the first bytes.

use std::io::{self, BufRead, BufReader, Read};

/// A compression format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Not compressed, or not in a known way.
    Plain,
    /// gzip, one member or several.
    Gzip,
    /// Zstandard, one frame or several.
    Zstd,
    /// xz, one stream or several.
    Xz,
    /// bzip2, one stream.
    Bzip2,
}

impl Format {
    /// The format's name.
    pub fn name(self) -> &'static str {
        match self {
            Format::Plain => "no compression",
            Format::Gzip => "gzip",
            Format::Zstd => "zstd",
            Format::Xz => "xz",
            Format::Bzip2 => "bzip2",
        }
    }

    /// Tells the format from the first bytes of a file (six suffice).
    pub fn detect(start: &[u8]) -> Format {
        match start {
            [0x1f, 0x8b, ..] => Format::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Format::Zstd,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Format::Xz,
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => Format::Bzip2,
            _ => Format::Plain,
        }
    }
}

/// Most memory that an xz stream may ask for, in KiB: twice what `xz -9` needs.
const XZ_MEMORY: u32 = 128 * 1024;
const BUFFER: usize = 256 * 1024;

/// A reader of the plain bytes of `input`, and the format it was in.
pub fn decode<'a>(input: impl Read + Send + 'a) -> io::Result<(Format, Box<dyn Read + Send + 'a>)> {
    let mut input = BufReader::with_capacity(BUFFER, Prefetch::new(input)?);
    let format = Format::detect(input.fill_buf()?);
    let plain: Box<dyn Read + Send + 'a> = match format {
        Format::Plain => Box::new(input),
        Format::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(input)),
        Format::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(input)?),
        Format::Xz => Box::new(lzma_rust2::XzReader::new_mem_limit(input, true, XZ_MEMORY)),
        Format::Bzip2 => Box::new(bzip2_rs::DecoderReader::new(input)),
    };
    Ok((format, plain))
}

/// Most bytes that a file of this size may unpack to: 16 GiB, and 128 times its size. What people keep
/// in images shrinks to a tenth, logs to a fiftieth; what shrinks to less is large only if somebody
/// meant harm or recorded zeros, and a few files of zeros fit into the 16 GiB.
pub fn most_unpacked(compressed: u64) -> u64 {
    compressed.saturating_mul(128).saturating_add(16 << 30)
}

/// Why a bounded reader stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it unpacks to more than {limit} bytes, which is too much for its size")]
pub struct TooLarge {
    /// The bound.
    pub limit: u64,
}

/// A reader that fails with [`TooLarge`] at the first byte behind a limit.
#[derive(Debug)]
pub struct Bounded<R> {
    inner: R,
    limit: u64,
    left: u64,
}

impl<R: Read> Bounded<R> {
    /// Gives at most `limit` bytes of `inner`.
    pub fn new(inner: R, limit: u64) -> Bounded<R> {
        Bounded { inner, limit, left: limit }
    }
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.inner.read(buffer)?;
        match self.left.checked_sub(got as u64) {
            Some(left) => self.left = left,
            None => return Err(io::Error::other(TooLarge { limit: self.limit })),
        }
        Ok(got)
    }
}

/// Gives the first bytes in one piece, whatever pieces the input comes in.
struct Prefetch<R> {
    start: io::Cursor<Vec<u8>>,
    rest: R,
}

impl<R: Read> Prefetch<R> {
    fn new(mut rest: R) -> io::Result<Prefetch<R>> {
        let mut start = Vec::new();
        rest.by_ref().take(6).read_to_end(&mut start)?;
        Ok(Prefetch { start: io::Cursor::new(start), rest })
    }
}

impl<R: Read> Read for Prefetch<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.start.read(buffer)? {
            0 => self.rest.read(buffer),
            got => Ok(got),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounded_readers_give_all_up_to_their_limit_and_no_more() {
        let mut out = Vec::new();
        Bounded::new(&b"12345"[..], 5).read_to_end(&mut out).unwrap();
        assert_eq!(out, b"12345");
        let error = Bounded::new(&b"123456"[..], 5).read_to_end(&mut out).unwrap_err();
        assert_eq!(error.to_string(), TooLarge { limit: 5 }.to_string());
        assert_eq!(most_unpacked(1 << 30), 144 << 30);
        assert_eq!(most_unpacked(u64::MAX), u64::MAX);
    }
}
