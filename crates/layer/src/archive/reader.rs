//! Tar bytes to entries, streaming, with bounds on everything that is held in memory.
//!
//! Reads v7, ustar, pax and GNU archives. Refuses what it does not know rather than guess.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::header::{self, Block};
use super::sparse::{self, MAX_SEGMENTS, MAX_SPARSE};
use super::writer::padding;
use super::{BLOCK, Entry, EntryKind, pax};
use crate::error::LayerError;
use crate::metadata::Time;
use crate::xattr::{self, Xattrs};

/// Most bytes of extended headers and long names that are read for one entry.
const MAX_EXTENDED: u64 = 1 << 20;

/// Reads a tar archive entry by entry. After [`Reader::next_entry`], `Read` gives the content of
/// that entry, holes as zeros; what is not read is skipped.
pub struct Reader<R: Read> {
    input: R,
    offset: u64,
    /// Stored bytes of the current entry that were not read, and padding after them.
    stored: u64,
    padding: u64,
    name: String,
    /// Which entry is being read, or came last, for messages about damage.
    place: String,
    /// Bytes of extended headers that the current entry may still have.
    extended: u64,
    /// Logical position, size and remaining segments of the current entry; segments only if sparse.
    position: u64,
    size: u64,
    segments: VecDeque<(u64, u64)>,
    is_sparse: bool,
    buffer: Vec<u8>,
}

/// What extended headers said about the next entry.
#[derive(Default)]
struct Extended {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u32>,
    gid: Option<u32>,
    mtime: Option<Time>,
    xattrs: Xattrs,
    sparse_name: Option<Vec<u8>>,
    sparse_size: Option<u64>,
    sparse_map: Option<Vec<(u64, u64)>>,
    sparse_major: Option<u64>,
}

impl<R: Read> Reader<R> {
    /// A reader of the uncompressed archive `input`.
    pub fn new(input: R) -> Reader<R> {
        Reader {
            input,
            offset: 0,
            stored: 0,
            padding: 0,
            name: String::new(),
            place: "at its start".to_owned(),
            extended: MAX_EXTENDED,
            position: 0,
            size: 0,
            segments: VecDeque::new(),
            is_sparse: false,
            buffer: vec![0; 128 * 1024],
        }
    }

    /// The next entry, or none at the end of the archive.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, LayerError> {
        self.skip_rest()?;
        self.extended = MAX_EXTENDED;
        let mut extended = Extended::default();
        loop {
            let Some(block) = self.header()? else { return Ok(None) };
            let kind = block.kind();
            match kind {
                b'x' => {
                    let records = self.extended_content(&block)?;
                    self.read_records(&records, &mut extended)?;
                }
                b'L' => extended.path = Some(self.long_name(&block)?),
                b'K' => extended.link = Some(self.long_name(&block)?),
                b'g' => {
                    // Defaults for all entries: nothing in a layer depends on them (git writes a comment).
                    self.stored = self.stored_size(&block)?;
                    self.padding = padding(self.stored) as u64;
                    self.skip_rest()?;
                }
                _ => {
                    let entry = self.entry(&block, extended)?;
                    self.place = format!("after the entry `{}`", self.name);
                    return Ok(Some(entry));
                }
            }
        }
    }

    /// Copies the content of the current entry into a new file, leaving holes where it has them.
    pub(crate) fn copy_to(&mut self, file: &mut File, path: &Path) -> Result<u64, LayerError> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let result = self.copy_segments(file, path, &mut buffer);
        self.buffer = buffer;
        result
    }

    /// Reads to the end of the input, so that a digest over it is complete; returns the input.
    pub fn finish(mut self) -> Result<R, LayerError> {
        loop {
            match self.input.read(&mut self.buffer) {
                Ok(0) => return Ok(self.input),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(LayerError::Read { source }),
            }
        }
    }

    fn copy_segments(
        &mut self,
        file: &mut File,
        path: &Path,
        buffer: &mut [u8],
    ) -> Result<u64, LayerError> {
        let segments = match self.is_sparse {
            true => std::mem::take(&mut self.segments),
            false => VecDeque::from([(0, self.size)]),
        };
        for (offset, length) in segments {
            if self.is_sparse {
                file.seek(SeekFrom::Start(offset)).map_err(LayerError::io("write", path))?;
            }
            let mut left = length;
            while left > 0 {
                let want = left.min(buffer.len() as u64) as usize;
                let got = self.read_stored(&mut buffer[..want])?;
                file.write_all(&buffer[..got]).map_err(LayerError::io("write", path))?;
                left -= got as u64;
            }
        }
        if self.is_sparse {
            file.set_len(self.size).map_err(LayerError::io("write", path))?;
        }
        self.position = self.size;
        Ok(self.size)
    }

    /// One header block; none at the end of the archive.
    fn header(&mut self) -> Result<Option<Block>, LayerError> {
        let mut block = Block([0; BLOCK]);
        let mut zeros = 0;
        loop {
            "a header".clone_into(&mut self.name);
            if !self.fill_or_end(&mut block.0)? {
                return Ok(None);
            }
            if !block.is_zero() {
                break;
            }
            zeros += 1;
            if zeros == 2 {
                return Ok(None);
            }
        }
        if zeros > 0 || !block.checksum_is_right() {
            self.offset -= BLOCK as u64;
            return Err(self.damaged(if zeros > 0 {
                "data after the end mark"
            } else {
                "wrong header checksum"
            }));
        }
        Ok(Some(block))
    }

    fn entry(&mut self, block: &Block, extended: Extended) -> Result<Entry, LayerError> {
        let mut path = extended.path.unwrap_or_else(|| block.name());
        if let Some(name) = extended.sparse_name {
            path = name;
        }
        self.place = format!("in the entry `{}`", String::from_utf8_lossy(&path));
        let flag = block.kind();
        let kind = match flag {
            // v7 archives mark directories by their name only.
            0 | b'0' | b'7' if path.ends_with(b"/") => EntryKind::Directory,
            0 | b'0' | b'7' | b'S' => EntryKind::File,
            b'1' => EntryKind::HardLink,
            b'2' => EntryKind::Symlink,
            b'3' => EntryKind::CharDevice,
            b'4' => EntryKind::BlockDevice,
            b'5' => EntryKind::Directory,
            b'6' => EntryKind::Fifo,
            _ => return Err(self.damaged("unknown type of entry")),
        };
        self.stored = match extended.size {
            Some(size) => size,
            None => self.stored_size(block)?,
        };
        self.padding = padding(self.stored) as u64;
        while path.len() > 1 && path.ends_with(b"/") {
            path.pop();
        }
        self.name = String::from_utf8_lossy(&path).into_owned();
        if path.contains(&0) || extended.link.as_ref().is_some_and(|link| link.contains(&0)) {
            return Err(self.damaged("a name contains a zero byte"));
        }
        let is_link = matches!(kind, EntryKind::HardLink | EntryKind::Symlink);
        let link = extended.link.unwrap_or_else(|| block.text(&header::LINK).to_vec());
        let mut entry = Entry::new(PathBuf::from(OsString::from_vec(path)), kind);
        entry.mode = self.number(block, &header::MODE, "mode")? as u32 & 0o7777;
        entry.uid = self.id(extended.uid, block, &header::UID)?;
        entry.gid = self.id(extended.gid, block, &header::GID)?;
        entry.mtime = match extended.mtime {
            Some(mtime) => mtime,
            None => Time::from_secs(self.number(block, &header::MTIME, "time")?),
        };
        entry.link = if is_link { PathBuf::from(OsString::from_vec(link)) } else { PathBuf::new() };
        if matches!(kind, EntryKind::CharDevice | EntryKind::BlockDevice) {
            entry.device = (
                self.device(block, &header::DEVICE_MAJOR)?,
                self.device(block, &header::DEVICE_MINOR)?,
            );
        }
        entry.xattrs = extended.xattrs;

        self.position = 0;
        self.size = self.stored;
        self.segments.clear();
        self.is_sparse = false;
        match (flag, extended.sparse_major, extended.sparse_map) {
            (b'S', ..) => self.gnu_sparse(block)?,
            (_, Some(1), _) => self.pax_sparse(extended.sparse_size)?,
            (_, None | Some(0), Some(segments)) => {
                self.set_segments(segments, extended.sparse_size)?
            }
            (_, None, None) => {}
            _ => return Err(self.damaged("unknown form of sparse file")),
        }
        if kind == EntryKind::File {
            entry.size = self.size;
        } else {
            // Content after anything else is skipped (a hard link may carry the file again).
            self.size = 0;
        }
        Ok(entry)
    }

    /// The segment list of GNU's own format: in the header and in blocks after it.
    fn gnu_sparse(&mut self, block: &Block) -> Result<(), LayerError> {
        let damaged = "damaged list of a sparse file";
        let Some((mut segments, mut more, size)) = block.gnu_sparse() else {
            return Err(self.damaged(damaged));
        };
        while more {
            let mut next = Block([0; BLOCK]);
            self.fill(&mut next.0)?;
            let Some((found, again)) = next.gnu_sparse_more() else {
                return Err(self.damaged(damaged));
            };
            segments.extend(found);
            more = again;
            if segments.len() > MAX_SEGMENTS {
                return Err(self.damaged("too many segments in a sparse file"));
            }
        }
        self.set_segments(segments, Some(size))
    }

    /// The segment list of pax format 1.0: decimal lines at the start of the content.
    fn pax_sparse(&mut self, size: Option<u64>) -> Result<(), LayerError> {
        let mut block = [0; BLOCK];
        let mut at = BLOCK;
        let mut next = |reader: &mut Self| -> Result<u64, LayerError> {
            let mut number = 0u64;
            loop {
                if at == BLOCK {
                    if reader.stored < BLOCK as u64 {
                        return Err(reader.damaged("damaged list of a sparse file"));
                    }
                    reader.stored -= BLOCK as u64;
                    reader.fill(&mut block)?;
                    at = 0;
                }
                let byte = block[at];
                at += 1;
                let digit = match byte {
                    b'\n' => return Ok(number),
                    b'0'..=b'9' => u64::from(byte - b'0'),
                    _ => return Err(reader.damaged("damaged list of a sparse file")),
                };
                number = match number.checked_mul(10).and_then(|number| number.checked_add(digit)) {
                    Some(number) => number,
                    None => return Err(reader.damaged("damaged list of a sparse file")),
                };
            }
        };
        let count = next(self)?;
        if count > MAX_SEGMENTS as u64 {
            return Err(self.damaged("too many segments in a sparse file"));
        }
        let mut segments = Vec::new();
        for _ in 0..count {
            segments.push((next(self)?, next(self)?));
        }
        self.set_segments(segments, size)
    }

    fn set_segments(
        &mut self,
        segments: Vec<(u64, u64)>,
        size: Option<u64>,
    ) -> Result<(), LayerError> {
        let Some(size) = size else { return Err(self.damaged("a sparse file without its size")) };
        if size > MAX_SPARSE {
            return Err(self.damaged("a sparse file of more than 16 TiB"));
        }
        if !sparse::is_sound(&segments, size, self.stored) {
            return Err(self.damaged("damaged list of a sparse file"));
        }
        self.size = size;
        self.segments = segments.into();
        self.is_sparse = true;
        Ok(())
    }

    fn read_records(&mut self, records: &[u8], extended: &mut Extended) -> Result<(), LayerError> {
        let Some(records) = pax::parse(records) else {
            return Err(self.damaged("malformed pax header"));
        };
        for (key, value) in records {
            let number =
                || std::str::from_utf8(value).ok().and_then(|text| text.parse::<u64>().ok());
            let wrong = || self.damaged("malformed number in a pax header");
            match key {
                b"path" if !value.is_empty() => extended.path = Some(value.to_vec()),
                b"linkpath" if !value.is_empty() => extended.link = Some(value.to_vec()),
                b"size" => extended.size = Some(number().ok_or_else(wrong)?),
                b"uid" => {
                    extended.uid =
                        Some(number().and_then(|id| id.try_into().ok()).ok_or_else(wrong)?)
                }
                b"gid" => {
                    extended.gid =
                        Some(number().and_then(|id| id.try_into().ok()).ok_or_else(wrong)?)
                }
                b"mtime" => extended.mtime = Some(pax::parse_time(value).ok_or_else(wrong)?),
                b"GNU.sparse.name" => extended.sparse_name = Some(value.to_vec()),
                b"GNU.sparse.size" | b"GNU.sparse.realsize" => {
                    extended.sparse_size = Some(number().ok_or_else(wrong)?);
                }
                b"GNU.sparse.major" => extended.sparse_major = Some(number().ok_or_else(wrong)?),
                b"GNU.sparse.map" => {
                    extended.sparse_map = Some(sparse::parse_map(value).ok_or_else(wrong)?)
                }
                b"GNU.sparse.offset" => return Err(self.damaged("unknown form of sparse file")),
                _ => {
                    if let Some(name) = key.strip_prefix(b"SCHILY.xattr.")
                        && xattr::belongs(OsStr::from_bytes(name))
                        && !name.contains(&0)
                    {
                        extended.xattrs.insert(OsString::from_vec(name.to_vec()), value.to_vec());
                    }
                }
            }
        }
        Ok(())
    }

    fn long_name(&mut self, block: &Block) -> Result<Vec<u8>, LayerError> {
        let mut name = self.extended_content(block)?;
        if let Some(end) = name.iter().position(|byte| *byte == 0) {
            name.truncate(end);
        }
        Ok(name)
    }

    fn extended_content(&mut self, block: &Block) -> Result<Vec<u8>, LayerError> {
        let size = self.stored_size(block)?;
        let Some(left) = self.extended.checked_sub(size) else {
            return Err(self.damaged("extended headers of more than 1 MiB"));
        };
        self.extended = left;
        let mut content = vec![0; size as usize];
        "an extended header".clone_into(&mut self.name);
        self.fill(&mut content)?;
        self.fill(&mut [0; BLOCK][..padding(size)])?;
        Ok(content)
    }

    fn stored_size(&self, block: &Block) -> Result<u64, LayerError> {
        let size = self.number(block, &header::SIZE, "size")?;
        u64::try_from(size).map_err(|_| self.damaged("negative size"))
    }

    fn number(
        &self,
        block: &Block,
        field: &header::Field,
        what: &'static str,
    ) -> Result<i64, LayerError> {
        let reason = match what {
            "mode" => "malformed mode",
            "time" => "malformed time",
            "size" => "malformed size",
            _ => "malformed number",
        };
        block.number(field).ok_or_else(|| self.damaged(reason))
    }

    fn id(
        &self,
        pax: Option<u32>,
        block: &Block,
        field: &header::Field,
    ) -> Result<u32, LayerError> {
        match pax {
            Some(id) => Ok(id),
            None => self.device(block, field),
        }
    }

    fn device(&self, block: &Block, field: &header::Field) -> Result<u32, LayerError> {
        let number = self.number(block, field, "number")?;
        u32::try_from(number)
            .map_err(|_| self.damaged("a number of an owner or device out of range"))
    }

    fn damaged(&self, reason: &'static str) -> LayerError {
        LayerError::Archive { offset: self.offset, place: self.place.clone(), reason }
    }

    /// Skips content that nobody read, and padding.
    fn skip_rest(&mut self) -> Result<(), LayerError> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let mut result = Ok(());
        while result.is_ok() && self.stored > 0 {
            let want = self.stored.min(buffer.len() as u64) as usize;
            result = self.read_stored(&mut buffer[..want]).map(|_| ());
        }
        if result.is_ok() {
            result = self.fill(&mut buffer[..self.padding as usize]);
        }
        self.buffer = buffer;
        self.padding = 0;
        result
    }

    /// Reads stored bytes of the current entry; an end before is an error.
    fn read_stored(&mut self, buffer: &mut [u8]) -> Result<usize, LayerError> {
        let want = self.stored.min(buffer.len() as u64) as usize;
        if want == 0 && !buffer.is_empty() {
            return Err(self.truncated());
        }
        let got = self.read_some(&mut buffer[..want])?;
        if got == 0 && want > 0 {
            return Err(self.truncated());
        }
        self.stored -= got as u64;
        Ok(got)
    }

    fn read_some(&mut self, buffer: &mut [u8]) -> Result<usize, LayerError> {
        loop {
            match self.input.read(buffer) {
                Ok(got) => {
                    self.offset += got as u64;
                    return Ok(got);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(LayerError::Read { source }),
            }
        }
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), LayerError> {
        if buffer.is_empty() || self.fill_or_end(buffer)? { Ok(()) } else { Err(self.truncated()) }
    }

    /// Fills the buffer; false when the input ends right before it.
    fn fill_or_end(&mut self, buffer: &mut [u8]) -> Result<bool, LayerError> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.read_some(&mut buffer[filled..])? {
                0 if filled == 0 => return Ok(false),
                0 => return Err(self.truncated()),
                got => filled += got,
            }
        }
        Ok(true)
    }

    fn truncated(&self) -> LayerError {
        LayerError::Truncated { name: self.name.clone() }
    }
}

impl<R: Read> Read for Reader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = (self.size - self.position).min(buffer.len() as u64) as usize;
        let buffer = &mut buffer[..left];
        if buffer.is_empty() {
            return Ok(0);
        }
        while self.segments.front().is_some_and(|(offset, length)| offset + length <= self.position)
        {
            self.segments.pop_front();
        }
        let got = match self.segments.front() {
            Some((offset, _)) if *offset > self.position => zeros(buffer, offset - self.position),
            None if self.is_sparse => zeros(buffer, u64::MAX),
            segment => {
                let end = segment.map_or(self.size, |(offset, length)| offset + length);
                let want = (end - self.position).min(buffer.len() as u64) as usize;
                self.read_stored(&mut buffer[..want]).map_err(io::Error::other)?
            }
        };
        self.position += got as u64;
        Ok(got)
    }
}

fn zeros(buffer: &mut [u8], at_most: u64) -> usize {
    let count = at_most.min(buffer.len() as u64) as usize;
    buffer[..count].fill(0);
    count
}
