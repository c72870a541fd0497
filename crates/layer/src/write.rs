//! Turns what an overlayfs upper directory changes over its parent into one layer.
//!
//! The same trees give the same bytes, on any number of cores: entries sorted by path, times
//! clamped, owners numeric, pax records only when needed, fixed compressor settings in fixed
//! blocks. An entry is written when it differs from the parent's, or is a directory above one that
//! is written (readers that unpack into bare directories need its mode). Of a file with several
//! names the first in order is the file and the rest are links. Knows nothing of steps, caches or
//! registries.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyarch_oci::{DiffId, Digest, media_type};
use rustix::fs::SeekFrom;

use crate::archive::{Entry, EntryKind, Writer};
use crate::blocks::{self, Codec};
use crate::change::{self, Change};
use crate::error::LayerError;
use crate::gzip;
use crate::metadata::{Kind, Metadata, Time};
use crate::root::Root;

/// zstd's default level.
const ZSTD_LEVEL: i32 = 3;

/// How a layer blob is compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Compression {
    /// gzip, which every reader knows.
    #[default]
    Gzip,
    /// Zstandard: smaller and faster to read; OCI 1.1 readers know it.
    Zstd,
    /// The archive as it is.
    None,
}

impl Compression {
    /// The media type of a layer compressed in this way.
    pub fn media_type(self) -> &'static str {
        match self {
            Compression::Gzip => media_type::LAYER_GZIP,
            Compression::Zstd => media_type::LAYER_ZSTD,
            Compression::None => media_type::LAYER,
        }
    }

    fn codec(self) -> Codec {
        match self {
            Compression::Gzip => Codec::Gzip { level: gzip::LEVEL },
            Compression::Zstd => Codec::Zstd { level: ZSTD_LEVEL },
            Compression::None => Codec::Stored,
        }
    }
}

/// How a layer is written.
#[derive(Clone, Copy, Default)]
pub struct LayerOptions<'a> {
    /// No modification time in the layer is later than this, in seconds since 1970.
    pub epoch: i64,
    /// Compression of the blob.
    pub compression: Compression,
    /// Compressing threads (at least 1); the bytes do not depend on it.
    pub threads: usize,
    /// Gets the number of uncompressed bytes written so far, about once a mebibyte.
    pub progress: Option<&'a (dyn Fn(u64) + Sync)>,
}

/// A layer that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrittenLayer {
    /// Digest of the uncompressed archive.
    pub diff_id: DiffId,
    /// Digest of the blob.
    pub digest: Digest,
    /// Length of the blob in bytes.
    pub size: u64,
    /// Length of the uncompressed archive in bytes.
    pub uncompressed: u64,
    /// Entries, whiteouts included.
    pub entries: u64,
    /// Media type of the blob.
    pub media_type: &'static str,
}

/// Writes what `upper` changes over `parent` as one layer to `out`; none (and nothing written) when
/// nothing changed.
///
/// `upper` is an overlayfs upper directory: character devices 0:0 are whiteouts, the attribute
/// `user.overlay.opaque` marks opaque directories. `parent` is the merged view below it; none means
/// an empty one. Also brings `upper` to the recorded state (times clamped, or the parent's where
/// nothing else changed; sockets removed), so that the snapshot on disk equals what a reader of the
/// layer would unpack. Nothing else may write to `upper` meanwhile.
pub fn write_layer(
    parent: Option<&Path>,
    upper: &Path,
    options: &LayerOptions<'_>,
    out: &mut (dyn Write + Send),
) -> Result<Option<WrittenLayer>, LayerError> {
    let parent = parent.map(Root::open).transpose()?;
    let upper = Root::open(upper)?;
    let changes = change::scan(parent.as_ref(), &upper, options.epoch)?;
    let written = match changes.list.is_empty() {
        true => None,
        false => {
            let codec = options.compression.codec();
            let mut directories = Vec::new();
            let ((), summary) =
                blocks::compress(codec, options.threads, out, options.progress, |writer| {
                    let mut layer = Layer {
                        upper: &upper,
                        epoch: options.epoch,
                        links: HashMap::new(),
                        directories: &mut directories,
                    };
                    layer.write(&changes.list, Writer::new(writer))
                })?;
            for path in directories {
                let mtime = upper.symlink_metadata(&path)?.mtime.clamped(options.epoch);
                upper.set_mtime(&path, mtime)?;
            }
            Some(WrittenLayer {
                diff_id: DiffId(summary.input),
                digest: summary.output,
                size: summary.output_size,
                uncompressed: summary.input_size,
                entries: changes.list.len() as u64,
                media_type: options.compression.media_type(),
            })
        }
    };
    for (path, mtime) in changes.kept {
        upper.set_mtime(&path, mtime)?;
    }
    Ok(written)
}

struct Layer<'a> {
    upper: &'a Root,
    epoch: i64,
    /// First names of files that have several.
    links: HashMap<(u32, u32, u64), PathBuf>,
    /// Directories written, whose times are set at the end.
    directories: &'a mut Vec<PathBuf>,
}

impl Layer<'_> {
    fn write<W: Write>(
        &mut self,
        changes: &[(Vec<u8>, Change)],
        mut archive: Writer<W>,
    ) -> Result<(), LayerError> {
        for (path, change) in changes {
            let path = Path::new(OsStr::from_bytes(path));
            match change {
                Change::Whiteout => {
                    let mut entry = Entry::new(path, EntryKind::File);
                    entry.mode = 0o600;
                    entry.mtime = Time::from_secs(self.epoch);
                    archive.append(&entry, &mut io::empty())?;
                }
                Change::Entry => self.entry(path, &mut archive)?,
            }
        }
        archive.finish()?;
        Ok(())
    }

    fn entry<W: Write>(&mut self, path: &Path, archive: &mut Writer<W>) -> Result<(), LayerError> {
        let (dir, name) =
            self.upper.parent(path).map_err(LayerError::io("open the directory of", path))?;
        let metadata = dir.metadata(&name).map_err(LayerError::io("read the metadata of", path))?;
        let is_top = path.as_os_str().is_empty();
        let mut entry =
            Entry::new(if is_top { Path::new(".") } else { path }, kind(metadata.kind, path)?);
        entry.mode = if metadata.is_symlink() { 0o777 } else { metadata.mode };
        (entry.uid, entry.gid) = (metadata.uid, metadata.gid);
        entry.mtime = metadata.mtime.clamped(self.epoch);
        if is_top {
            entry.mtime = Time::from_secs(self.epoch);
        }
        entry.device = metadata.device;
        if !metadata.is_dir() && metadata.links > 1 {
            if let Some(first) = self.links.get(&metadata.identity) {
                (entry.kind, entry.link) = (EntryKind::HardLink, first.clone());
                entry.device = (0, 0);
                return archive.append(&entry, &mut io::empty());
            }
            self.links.insert(metadata.identity, path.to_path_buf());
        }
        entry.xattrs = dir.xattrs(&name).map_err(LayerError::io("read the attributes of", path))?;
        match metadata.kind {
            Kind::File => {
                entry.size = metadata.size;
                let file = dir.open_file(&name).map_err(LayerError::io("open", path))?;
                archive.append(&entry, &mut Content::new(file, &metadata))?;
            }
            Kind::Symlink => {
                entry.link =
                    dir.read_link(&name).map_err(LayerError::io("read the link", path))?.into();
                archive.append(&entry, &mut io::empty())?;
            }
            Kind::Directory => {
                archive.append(&entry, &mut io::empty())?;
                self.directories.push(path.to_path_buf());
                return Ok(());
            }
            _ => archive.append(&entry, &mut io::empty())?,
        }
        if metadata.mtime != entry.mtime {
            dir.set_mtime(&name, entry.mtime).map_err(LayerError::io("set the times of", path))?;
        }
        Ok(())
    }
}

fn kind(kind: Kind, path: &Path) -> Result<EntryKind, LayerError> {
    match kind {
        Kind::File => Ok(EntryKind::File),
        Kind::Directory => Ok(EntryKind::Directory),
        Kind::Symlink => Ok(EntryKind::Symlink),
        Kind::CharDevice => Ok(EntryKind::CharDevice),
        Kind::BlockDevice => Ok(EntryKind::BlockDevice),
        Kind::Fifo => Ok(EntryKind::Fifo),
        // Sockets were removed by the scan; one that appeared since was made meanwhile.
        Kind::Socket => Err(LayerError::Changed { path: path.to_path_buf() }),
    }
}

/// The content of a file; holes come from memory, not from the disk.
struct Content {
    file: File,
    position: u64,
    size: u64,
    /// End of the data, or of the hole, that the position is in.
    data_until: u64,
    hole_until: u64,
}

impl Content {
    fn new(file: File, metadata: &Metadata) -> Content {
        let is_sparse = metadata.blocks.saturating_mul(512) < metadata.size;
        let data_until = if is_sparse { 0 } else { u64::MAX };
        Content { file, position: 0, size: metadata.size, data_until, hole_until: 0 }
    }

    /// Finds out where the data or hole at the position ends.
    fn look(&mut self) {
        match rustix::fs::seek(&self.file, SeekFrom::Data(self.position)) {
            Ok(data) if data > self.position => self.hole_until = data.min(self.size),
            Ok(_) => {
                let hole = rustix::fs::seek(&self.file, SeekFrom::Hole(self.position));
                self.data_until = hole.unwrap_or(u64::MAX).max(self.position + 1);
            }
            Err(rustix::io::Errno::NXIO) => self.hole_until = self.size,
            // A file system without this question: all of it is data.
            Err(_) => self.data_until = u64::MAX,
        }
    }
}

impl Read for Content {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.position < self.size
            && self.position >= self.data_until
            && self.position >= self.hole_until
        {
            self.look();
        }
        let got = if self.position < self.hole_until {
            let count = (self.hole_until - self.position).min(buffer.len() as u64) as usize;
            buffer[..count].fill(0);
            count
        } else {
            let count =
                self.data_until.saturating_sub(self.position).min(buffer.len() as u64) as usize;
            // At the end one byte is asked for all the same: it shows that the file grew.
            let count = if self.position >= self.size { buffer.len() } else { count };
            self.file.read_at(&mut buffer[..count], self.position)?
        };
        self.position += got as u64;
        Ok(got)
    }
}
