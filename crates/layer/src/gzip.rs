//! Bytes to gzip, on any number of threads, always the same bytes.
//!
//! The input is cut into blocks of 1 MiB. Each is deflated on its own, with the 32 KiB before it as
//! preset dictionary, and ends in a sync flush at a byte boundary; an empty last block and the
//! combined CRC close the one gzip member. The header says no name, no time and system 255, so the
//! output depends on the input, [`LEVEL`] and the deflate library alone; a golden test pins it.

use std::io::{self, Read, Write};

use flate2::{Compress, Compression, FlushCompress, Status};

use crate::blocks::{self, Codec, Summary};
use crate::error::LayerError;

/// Size of a block in bytes.
pub const BLOCK: usize = 1 << 20;
/// The deflate level.
///
/// Measured on 200 MiB sampled from a tar of Debian's /usr (MB per second of processor time, both
/// digests included; size): level 1 206, 47.0 %; 2 129, 39.8 %; 3 109, 38.4 %; 4 97, 37.8 %;
/// 6 75, 37.2 %; 9 29, 36.4 %. Level 2 is the knee: a sixth smaller than level 1, while what most
/// tools use (6) takes nearly twice as long for the last 6 %.
pub const LEVEL: u32 = 2;

/// How far deflate looks back.
const WINDOW: usize = 32 * 1024;
pub(crate) const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
/// An empty block with fixed codes that is marked as the last one.
const LAST_BLOCK: [u8; 2] = [3, 0];

/// Compresses `input` into `out` with `threads` compressing threads and two more for hashing.
pub fn compress(
    input: &mut dyn Read,
    out: &mut (dyn Write + Send),
    threads: usize,
) -> Result<Summary, LayerError> {
    compress_at(LEVEL, input, out, threads)
}

/// As [`compress`] at another deflate level (0 to 9); to measure levels against each other.
pub fn compress_at(
    level: u32,
    input: &mut dyn Read,
    out: &mut (dyn Write + Send),
    threads: usize,
) -> Result<Summary, LayerError> {
    let codec = Codec::Gzip { level: level.min(9) };
    let ((), summary) = blocks::compress(codec, threads, out, None, |writer| {
        io::copy(input, writer).map(|_| ()).map_err(|source| LayerError::Read { source })
    })?;
    Ok(summary)
}

/// Compresses blocks at one level.
///
/// Every block gets a new state: one that is reset keeps links of its match finder, and then the
/// bytes depend on which blocks the same thread happened to compress before.
pub(crate) struct Deflater(u32);

impl Deflater {
    pub(crate) fn new(level: u32) -> Deflater {
        Deflater(level)
    }

    /// One block as deflate data that ends at a byte boundary.
    pub(crate) fn block(&self, block: &[u8], before: &[u8]) -> io::Result<Vec<u8>> {
        let mut state = Compress::new(Compression::new(self.0), false);
        if !before.is_empty() {
            let window = &before[before.len().saturating_sub(WINDOW)..];
            state.set_dictionary(window).map_err(io::Error::other)?;
        }
        let mut out = Vec::with_capacity(block.len() / 2 + 4096);
        loop {
            let consumed = state.total_in() as usize;
            let status = state
                .compress_vec(&block[consumed..], &mut out, FlushCompress::Sync)
                .map_err(io::Error::other)?;
            // The flush is complete when there is room left in the output.
            if state.total_in() as usize == block.len() && out.len() < out.capacity() {
                return Ok(out);
            }
            if status == Status::StreamEnd {
                return Err(io::Error::other("deflate ended before its input"));
            }
            out.reserve(block.len() / 4 + 4096);
        }
    }
}

/// What closes the member: the last block, the CRC and the length modulo 2^32.
pub(crate) fn trailer(crc: u32, length: u64) -> Vec<u8> {
    let mut bytes = LAST_BLOCK.to_vec();
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes.extend_from_slice(&(length as u32).to_le_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn gzipped(input: &[u8], threads: usize) -> Vec<u8> {
        let mut out = Vec::new();
        compress(&mut &input[..], &mut out, threads).unwrap();
        out
    }

    fn gunzipped(bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        flate2::read::GzDecoder::new(bytes).read_to_end(&mut out).unwrap();
        out
    }

    #[test]
    fn block_boundaries_survive() {
        let text: Vec<u8> =
            (0..3 * BLOCK as u32 + 1).flat_map(|number| [(number / 7) as u8]).collect();
        for length in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 3 * BLOCK + 1] {
            assert!(gunzipped(&gzipped(&text[..length], 2)) == text[..length], "{length}");
        }
    }

    #[test]
    fn incompressible_input_survives() {
        let mut state = 1u64;
        let noise: Vec<u8> = (0..BLOCK + 777)
            .map(|_| {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                (state >> 56) as u8
            })
            .collect();
        assert!(gunzipped(&gzipped(&noise, 2)) == noise);
    }

    /// Text whose repetitions lie far and near, so that the match finder has choices.
    fn prose(seed: u64, length: usize) -> Vec<u8> {
        let mut state = seed;
        let mut text = Vec::with_capacity(length + 16);
        while text.len() < length {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let word = (state >> 33) % 5000;
            text.extend_from_slice(format!("{:x}{} ", word * word, word % 17).as_bytes());
        }
        text.truncate(length);
        text
    }

    #[test]
    fn what_was_compressed_before_does_not_show() {
        let blocks: Vec<Vec<u8>> = (1..5).map(|seed| prose(seed, BLOCK)).collect();
        let used = Deflater::new(LEVEL);
        for block in &blocks {
            let after_others = used.block(block, &blocks[0]).unwrap();
            assert!(after_others == Deflater::new(LEVEL).block(block, &blocks[0]).unwrap());
        }
        let input = blocks.concat();
        let one = gzipped(&input, 1);
        for _ in 0..5 {
            assert!((2..=4).all(|threads| gzipped(&input, threads) == one));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn any_number_of_threads_gives_the_same_bytes(
            seed in proptest::collection::vec(any::<u8>(), 1..2000),
            repeat in 1usize..3000,
        ) {
            let input: Vec<u8> = seed.iter().copied().cycle().take(seed.len() * repeat).collect();
            let one = gzipped(&input, 1);
            prop_assert!(gunzipped(&one) == input);
            for threads in 2..=4 {
                prop_assert!(gzipped(&input, threads) == one);
            }
        }
    }
}
