//! A stream in fixed blocks to a compressed stream, hashed on both sides.
//!
//! The caller's thread produces; worker threads compress blocks; one thread hashes what goes in,
//! one puts the blocks in order, hashes and writes what comes out. Blocks do not depend on who
//! compresses them, so the bytes are the same for any number of workers. Memory is a few blocks
//! for each worker.

use std::io::{self, Write};
use std::sync::Arc;
use std::thread;

use anyarch_oci::{Digest, Hasher};
use crossbeam_channel::{Receiver, Sender, bounded};

use crate::error::LayerError;
use crate::gzip::{self, Deflater};

/// Size of a zstd frame's content in bytes: larger than gzip's blocks, since frames share no window.
const ZSTD_BLOCK: usize = 4 << 20;

/// How blocks are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Codec {
    Gzip { level: u32 },
    Zstd { level: i32 },
    Stored,
}

/// Digests and sizes of a stream before and after compression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Digest of what went in.
    pub input: Digest,
    /// Bytes that went in.
    pub input_size: u64,
    /// Digest of what came out.
    pub output: Digest,
    /// Bytes that came out.
    pub output_size: u64,
}

type Block = Arc<Vec<u8>>;
type Progress<'a> = Option<&'a (dyn Fn(u64) + Sync)>;

struct Job {
    block: Block,
    before: Option<Block>,
    reply: Sender<io::Result<Encoded>>,
}

struct Encoded {
    bytes: Block,
    crc: crc32fast::Hasher,
}

/// Runs `produce` with a writer whose bytes arrive in `out`, compressed; `progress` gets the number
/// of bytes produced so far, after each block.
pub(crate) fn compress<T>(
    codec: Codec,
    threads: usize,
    out: &mut (dyn Write + Send),
    progress: Progress<'_>,
    produce: impl FnOnce(&mut BlockWriter<'_>) -> Result<T, LayerError>,
) -> Result<(T, Summary), LayerError> {
    let threads = threads.max(1);
    let (to_workers, jobs) = bounded::<Job>(threads);
    let (to_order, in_order) = bounded::<Receiver<io::Result<Encoded>>>(threads + 1);
    let (to_hash, hashed) = bounded::<Block>(4);
    thread::scope(|scope| {
        for _ in 0..threads {
            let jobs = jobs.clone();
            scope.spawn(move || work(codec, &jobs));
        }
        drop(jobs);
        let hasher = scope.spawn(move || hash(&hashed));
        let collector = scope.spawn(move || collect(codec, &in_order, out));
        let mut writer = BlockWriter {
            block: Vec::new(),
            size: codec.block_size(),
            before: None,
            keep_before: matches!(codec, Codec::Gzip { .. }),
            written: 0,
            to_workers,
            to_order,
            to_hash,
            progress,
        };
        let produced = produce(&mut writer).and_then(|value| {
            writer.send().map_err(|source| LayerError::Write { source })?;
            Ok(value)
        });
        let input_size = writer.written;
        drop(writer);
        let collected = collector.join().map_err(|_| LayerError::Thread)?;
        let input = hasher.join().map_err(|_| LayerError::Thread)?;
        // When the output failed, the producer only saw a closed channel: the output's error counts.
        let (output, output_size) = collected.map_err(|source| LayerError::Write { source })?;
        Ok((produced?, Summary { input, input_size, output, output_size }))
    })
}

impl Codec {
    fn block_size(self) -> usize {
        match self {
            Codec::Gzip { .. } | Codec::Stored => gzip::BLOCK,
            Codec::Zstd { .. } => ZSTD_BLOCK,
        }
    }
}

/// Cuts what is written into blocks and sends them on their way.
pub(crate) struct BlockWriter<'a> {
    block: Vec<u8>,
    size: usize,
    before: Option<Block>,
    keep_before: bool,
    written: u64,
    to_workers: Sender<Job>,
    to_order: Sender<Receiver<io::Result<Encoded>>>,
    to_hash: Sender<Block>,
    progress: Progress<'a>,
}

impl BlockWriter<'_> {
    fn send(&mut self) -> io::Result<()> {
        if self.block.is_empty() {
            return Ok(());
        }
        let block = Arc::new(std::mem::take(&mut self.block));
        self.written += block.len() as u64;
        let closed = |_| io::Error::new(io::ErrorKind::BrokenPipe, "the compressor stopped");
        self.to_hash.send(block.clone()).map_err(|_| closed(()))?;
        let (reply, encoded) = bounded(1);
        self.to_order.send(encoded).map_err(|_| closed(()))?;
        let before = self.before.take();
        if self.keep_before {
            self.before = Some(block.clone());
        }
        self.to_workers.send(Job { block, before, reply }).map_err(|_| closed(()))?;
        if let Some(progress) = self.progress {
            progress(self.written);
        }
        Ok(())
    }
}

impl Write for BlockWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.block.capacity() == 0 {
            self.block.reserve_exact(self.size);
        }
        let taken = bytes.len().min(self.size - self.block.len());
        self.block.extend_from_slice(&bytes[..taken]);
        if self.block.len() == self.size {
            self.send()?;
        }
        Ok(taken)
    }

    /// Does nothing: only full blocks are compressed, so that flushing cannot change the bytes.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// One compressing thread: jobs until there are no more.
fn work(codec: Codec, jobs: &Receiver<Job>) {
    let mut encoder = Encoder::new(codec);
    for job in jobs {
        let before = job.before.as_ref().map_or(&[][..], |before| before);
        let encoded = encoder.encode(&job.block, before);
        // A collector that stopped listens no more; it has its own error.
        if job.reply.send(encoded).is_err() {
            return;
        }
    }
}

enum Encoder {
    Gzip(Deflater),
    Zstd(io::Result<zstd::bulk::Compressor<'static>>),
    Stored,
}

impl Encoder {
    fn new(codec: Codec) -> Encoder {
        match codec {
            Codec::Gzip { level } => Encoder::Gzip(Deflater::new(level)),
            Codec::Zstd { level } => Encoder::Zstd(zstd::bulk::Compressor::new(level)),
            Codec::Stored => Encoder::Stored,
        }
    }

    fn encode(&mut self, block: &Block, before: &[u8]) -> io::Result<Encoded> {
        let mut crc = crc32fast::Hasher::new();
        let bytes = match self {
            Encoder::Gzip(deflater) => {
                crc.update(block);
                Arc::new(deflater.block(block, before)?)
            }
            Encoder::Zstd(Ok(compressor)) => Arc::new(compressor.compress(block)?),
            Encoder::Zstd(Err(error)) => {
                return Err(io::Error::new(error.kind(), error.to_string()));
            }
            Encoder::Stored => block.clone(),
        };
        Ok(Encoded { bytes, crc })
    }
}

/// Hashes the blocks that went in.
fn hash(blocks: &Receiver<Block>) -> Digest {
    let mut hasher = Hasher::new();
    for block in blocks {
        hasher.update(&block);
    }
    hasher.finish()
}

/// Puts compressed blocks in order, hashes and writes them.
fn collect(
    codec: Codec,
    in_order: &Receiver<Receiver<io::Result<Encoded>>>,
    out: &mut (dyn Write + Send),
) -> io::Result<(Digest, u64)> {
    let mut sink = Sink { out, hasher: Hasher::new(), size: 0 };
    let is_gzip = matches!(codec, Codec::Gzip { .. });
    let mut crc = crc32fast::Hasher::new();
    let mut blocks = 0u64;
    if is_gzip {
        sink.put(&gzip::HEADER)?;
    }
    for encoded in in_order {
        let encoded =
            encoded.recv().map_err(|_| io::Error::other("a compression thread stopped"))??;
        sink.put(&encoded.bytes)?;
        crc.combine(&encoded.crc);
        blocks += 1;
    }
    match codec {
        Codec::Gzip { .. } => {
            let length = crc32fast::Hasher::total_len(&crc);
            sink.put(&gzip::trailer(crc.finalize(), length))?;
        }
        // Nothing in is still a frame, so that readers see zstd.
        Codec::Zstd { level } if blocks == 0 => sink.put(&zstd::bulk::compress(&[], level)?)?,
        _ => {}
    }
    sink.out.flush()?;
    Ok((sink.hasher.finish(), sink.size))
}

struct Sink<'a> {
    out: &'a mut (dyn Write + Send),
    hasher: Hasher,
    size: u64,
}

impl Sink<'_> {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hasher.update(bytes);
        self.size += bytes.len() as u64;
        self.out.write_all(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Full(usize);

    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.0 < bytes.len() {
                return Err(io::Error::from_raw_os_error(28));
            }
            self.0 -= bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_full_disk_is_reported_as_such() {
        for codec in [Codec::Stored, Codec::Gzip { level: 1 }, Codec::Zstd { level: 1 }] {
            let zeros = vec![7u8; 64 << 20];
            let error = compress(codec, 2, &mut Full(20), None, |writer| {
                writer.write_all(&zeros).map_err(|source| LayerError::Write { source })
            })
            .unwrap_err();
            assert_eq!(
                error.hint().unwrap(),
                "the disk is full: free space, or put the store elsewhere"
            );
        }
    }

    #[test]
    fn zstd_is_the_same_for_any_number_of_threads() {
        let text: Vec<u8> = (0..9_000_000u32).map(|number| (number / 3 * 7) as u8).collect();
        let run = |threads| {
            let mut out = Vec::new();
            let write = |writer: &mut BlockWriter<'_>| {
                writer.write_all(&text).map_err(|source| LayerError::Write { source })
            };
            compress(Codec::Zstd { level: 3 }, threads, &mut out, None, write).unwrap();
            out
        };
        let one = run(1);
        assert!(zstd::stream::decode_all(&one[..]).unwrap() == text);
        assert!((2..=4).all(|threads| run(threads) == one));
    }
}
