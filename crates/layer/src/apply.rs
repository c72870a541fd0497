//! A layer blob to files: unpacks one layer onto the merged view of those below it.
//!
//! Decompressing, hashing and writing files run in three threads, a few chunks apart.

use std::io::{self, Read};
use std::sync::Arc;
use std::thread;

use anyarch_oci::{DiffId, Hasher};
use crossbeam_channel::{Receiver, Sender, bounded};

use crate::archive::Reader;
use crate::decode::{self, Bounded, Format};
use crate::error::LayerError;
use crate::extract::{Devices, ExtractOptions, Extractor};
use crate::root::Root;

const CHUNK: usize = 256 * 1024;

/// How a layer is applied.
#[derive(Clone, Copy, Debug, Default)]
pub struct ApplyOptions {
    /// Leave owners as they come out when they cannot be set (a user namespace with a single id).
    pub ignore_owner: bool,
    /// Device nodes.
    pub devices: Devices,
    /// Most bytes that the layer may unpack to; [`decode::most_unpacked`] of its size is a sane bound.
    pub limit: Option<u64>,
}

/// What was applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Digest of the uncompressed archive, all of it; compare it with the image config.
    pub diff_id: DiffId,
    /// Length of the uncompressed archive in bytes.
    pub bytes: u64,
    /// Entries, whiteouts included.
    pub entries: u64,
}

/// Applies a layer blob (gzip, zstd or plain, told by its first bytes) onto `root`.
///
/// `root` is the merged view; deletions (image-spec `layer.md`, "Whiteouts") remove files from it,
/// which overlayfs records in its own way. When this fails, part of the layer may be there.
pub fn apply_layer(
    blob: impl Read + Send,
    root: &Root,
    options: &ApplyOptions,
) -> Result<Applied, LayerError> {
    let (to_files, chunks) = bounded::<io::Result<Arc<Vec<u8>>>>(4);
    let (to_hash, hashed) = bounded::<Arc<Vec<u8>>>(4);
    thread::scope(|scope| {
        let limit = options.limit.unwrap_or(u64::MAX);
        let decoder = scope.spawn(move || decompress(blob, limit, &to_files, &to_hash));
        let hasher = scope.spawn(move || {
            let mut hasher = Hasher::new();
            let mut bytes = 0;
            for chunk in hashed {
                hasher.update(&chunk);
                bytes += chunk.len() as u64;
            }
            (DiffId(hasher.finish()), bytes)
        });
        let entries = unpack(Chunks { chunks, current: Arc::default(), at: 0 }, root, options);
        let decoded = decoder.join().map_err(|_| LayerError::Thread)?;
        let (diff_id, bytes) = hasher.join().map_err(|_| LayerError::Thread)?;
        decoded?;
        Ok(Applied { diff_id, bytes, entries: entries? })
    })
}

fn unpack(chunks: Chunks, root: &Root, options: &ApplyOptions) -> Result<u64, LayerError> {
    let extract = ExtractOptions {
        ignore_owner: options.ignore_owner,
        devices: options.devices,
        ..ExtractOptions::default()
    };
    let mut extractor = Extractor::of_layer(root, extract);
    let mut reader = Reader::new(chunks);
    while let Some(entry) = reader.next_entry()? {
        extractor.unpack(&entry, &mut reader)?;
    }
    reader.finish()?;
    Ok(extractor.finish()?.entries)
}

fn decompress(
    blob: impl Read + Send,
    limit: u64,
    to_files: &Sender<io::Result<Arc<Vec<u8>>>>,
    to_hash: &Sender<Arc<Vec<u8>>>,
) -> Result<(), LayerError> {
    let (format, plain) = decode::decode(blob).map_err(|source| LayerError::Read { source })?;
    if matches!(format, Format::Xz | Format::Bzip2) {
        return Err(LayerError::Compression { format: format.name() });
    }
    let mut plain = Bounded::new(plain, limit);
    loop {
        let mut chunk = Vec::with_capacity(CHUNK);
        let read = plain.by_ref().take(CHUNK as u64).read_to_end(&mut chunk);
        let result = match read {
            Ok(0) => return Ok(()),
            Ok(_) => Ok(Arc::new(chunk)),
            Err(error) => Err(error),
        };
        let failed = result.is_err();
        if let Ok(chunk) = &result
            && to_hash.send(chunk.clone()).is_err()
        {
            return Ok(());
        }
        // The extractor may have stopped with an error of its own.
        if to_files.send(result).is_err() || failed {
            return Ok(());
        }
    }
}

/// Chunks from the decompressing thread as a reader.
struct Chunks {
    chunks: Receiver<io::Result<Arc<Vec<u8>>>>,
    current: Arc<Vec<u8>>,
    at: usize,
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.current.len() {
            match self.chunks.recv() {
                Ok(chunk) => (self.current, self.at) = (chunk?, 0),
                Err(_) => return Ok(0),
            }
        }
        let got = buffer.len().min(self.current.len() - self.at);
        buffer[..got].copy_from_slice(&self.current[self.at..self.at + got]);
        self.at += got;
        Ok(got)
    }
}
