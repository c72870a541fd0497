//! An emulator, the handler and a table → one static executable.
//!
//! The emulator is a static position-independent ELF program. Its bytes stay as they are; behind
//! them comes one more segment with a new program header table, the handler's code and the table,
//! and the ELF header gets the handler's entry point. The kernel maps the lot; while the handler
//! does not jump to the emulator, none of the emulator's pages is even read.

use std::fmt;

use crate::layout::{Header, MAGIC};

const PAGE: u64 = 4096;
/// Sizes of `Elf64_Ehdr` and `Elf64_Phdr`.
const EHDR: usize = 64;
const PHDR: usize = 56;
const PT_LOAD: u32 = 1;
const PT_INTERP: u32 = 3;
const PT_PHDR: u32 = 6;
const ET_DYN: u16 = 3;
/// Where the handler's code holds the offset of the table from its own beginning.
const TABLE_OFFSET: usize = 8;

/// Why an emulator cannot be joined with the handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageError {
    /// It is no 64-bit little-endian ELF file, cut short, or its header says what cannot be.
    NotElf,
    /// It is for another machine than this one.
    OtherMachine,
    /// It is not a static position-independent executable.
    NotStatic,
    /// There is no handler for this machine's architecture.
    NoHandler,
    /// The table does not begin as one.
    NotATable,
}

impl fmt::Display for ImageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ImageError::NotElf => "the emulator is no 64-bit ELF program",
            ImageError::OtherMachine => "the emulator is for another machine",
            ImageError::NotStatic => "the emulator is not a static position-independent program",
            ImageError::NoHandler => "there is no handler for this machine's architecture",
            ImageError::NotATable => "the table of twins is damaged",
        })
    }
}

impl std::error::Error for ImageError {}

/// What is put behind the emulator, and what its ELF header becomes. The emulator's own bytes are
/// not copied, so that the caller can share them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// The first bytes of the file, in place of the emulator's.
    pub head: [u8; EHDR],
    /// Where [`Image::tail`] begins in the file; the gap behind the emulator is filled with zeros.
    pub tail_offset: u64,
    /// The last segment.
    pub tail: Vec<u8>,
}

/// Joins them. `emulator` needs to be no more than its beginning, with all program headers;
/// `length` is the size of the whole file in bytes.
pub fn join(
    emulator: &[u8],
    length: u64,
    handler: &[u8],
    table: &[u8],
) -> Result<Image, ImageError> {
    if handler.len() < TABLE_OFFSET + 8 {
        return Err(ImageError::NoHandler);
    }
    if table.len() < size_of::<Header>() || table[..8] != MAGIC.to_le_bytes() {
        return Err(ImageError::NotATable);
    }
    let head = emulator.get(..EHDR).ok_or(ImageError::NotElf)?;
    if head[..7] != *b"\x7fELF\x02\x01\x01" {
        return Err(ImageError::NotElf);
    }
    let half = |at: usize| u16::from_le_bytes([head[at], head[at + 1]]);
    if half(18) != MACHINE {
        return Err(ImageError::OtherMachine);
    }
    if half(16) != ET_DYN || usize::from(half(54)) != PHDR {
        return Err(ImageError::NotStatic);
    }
    let entry = word(head, 24).ok_or(ImageError::NotElf)?;
    let begin = usize::try_from(word(head, 32).ok_or(ImageError::NotElf)?);
    let begin = begin.map_err(|_| ImageError::NotElf)?;
    let count = usize::from(half(56));
    let end = begin.checked_add(count * PHDR).ok_or(ImageError::NotElf)?;
    let old = emulator.get(begin..end).ok_or(ImageError::NotElf)?;
    let kinds = || old.chunks_exact(PHDR).map(|row| (kind(row), row));
    if kinds().any(|(kind, _)| kind == PT_INTERP) {
        return Err(ImageError::NotStatic);
    }
    let ends = kinds()
        .filter(|(kind, _)| *kind == PT_LOAD)
        .map(|(_, row)| word(row, 16)?.checked_add(word(row, 40)?))
        .collect::<Option<Vec<u64>>>()
        .ok_or(ImageError::NotElf)?;
    let last = ends.into_iter().max().ok_or(ImageError::NotStatic)?;

    // No place that is so far away that the last segment would not fit behind it.
    let page = |at: u64| {
        let room = handler.len() as u64 + table.len() as u64 + u64::from(u32::MAX);
        at.checked_next_multiple_of(PAGE).filter(|at| at.checked_add(room).is_some())
    };
    let address = page(last).ok_or(ImageError::NotElf)?;
    let tail_offset = page(length).ok_or(ImageError::NotElf)?;
    let rows = count + 1;
    // As many as the header can say; the highest number has another meaning.
    let rows_in_head = u16::try_from(rows).ok().filter(|rows| *rows < u16::MAX);
    let rows_in_head = rows_in_head.ok_or(ImageError::NotElf)?;
    let code_at = (rows * PHDR).next_multiple_of(16);
    let table_at = (code_at + handler.len()).next_multiple_of(16);
    let mut tail = vec![0; table_at];
    tail[code_at..code_at + handler.len()].copy_from_slice(handler);
    tail[code_at + TABLE_OFFSET..][..8]
        .copy_from_slice(&((table_at - code_at) as u64).to_le_bytes());
    tail.extend_from_slice(table);
    // `Header::address` and `Header::emulator`.
    tail[table_at + 8..][..8].copy_from_slice(&(address + table_at as u64).to_le_bytes());
    tail[table_at + 16..][..8].copy_from_slice(&entry.to_le_bytes());

    let size = tail.len() as u64;
    let mut table_of_segments = Vec::with_capacity(rows * PHDR);
    let mut loads_left = kinds().filter(|(kind, _)| *kind == PT_LOAD).count();
    for (kind, row) in kinds() {
        let mut row = row.to_vec();
        if kind == PT_PHDR {
            let new = segment(PT_PHDR, 4, tail_offset, address, (rows * PHDR) as u64, 8);
            row.copy_from_slice(&new);
        }
        table_of_segments.extend_from_slice(&row);
        if kind == PT_LOAD {
            loads_left -= 1;
            // The kernel wants them in order of their addresses, and ours is the last.
            if loads_left == 0 {
                table_of_segments.extend_from_slice(&segment(
                    PT_LOAD,
                    4 | 1,
                    tail_offset,
                    address,
                    size,
                    PAGE,
                ));
            }
        }
    }
    tail[..rows * PHDR].copy_from_slice(&table_of_segments);

    let mut new_head = [0; EHDR];
    new_head.copy_from_slice(head);
    new_head[24..32].copy_from_slice(&(address + code_at as u64).to_le_bytes());
    new_head[32..40].copy_from_slice(&tail_offset.to_le_bytes());
    new_head[40..48].fill(0); // no section headers
    new_head[56..58].copy_from_slice(&rows_in_head.to_le_bytes());
    new_head[60..64].fill(0);
    Ok(Image { head: new_head, tail_offset, tail })
}

/// `e_machine` of this machine.
const MACHINE: u16 = if cfg!(target_arch = "aarch64") { 183 } else { 62 };

fn kind(row: &[u8]) -> u32 {
    row.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

fn word(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
}

/// One `Elf64_Phdr`.
fn segment(kind: u32, flags: u32, offset: u64, address: u64, size: u64, align: u64) -> Vec<u8> {
    let mut row = Vec::with_capacity(PHDR);
    row.extend_from_slice(&kind.to_le_bytes());
    row.extend_from_slice(&flags.to_le_bytes());
    for number in [offset, address, address, size, size, align] {
        row.extend_from_slice(&number.to_le_bytes());
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::write::{Table, write};

    fn emulator() -> Vec<u8> {
        let mut out = vec![0; EHDR];
        out[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
        out[16..18].copy_from_slice(&ET_DYN.to_le_bytes());
        out[18..20].copy_from_slice(&MACHINE.to_le_bytes());
        out[24..32].copy_from_slice(&0x1234u64.to_le_bytes());
        out[32..40].copy_from_slice(&(EHDR as u64).to_le_bytes());
        out[54..56].copy_from_slice(&(PHDR as u16).to_le_bytes());
        out[56..58].copy_from_slice(&2u16.to_le_bytes());
        let mut data = segment(PT_LOAD, 6, 0, 0x1000, 0x800, PAGE);
        data[40..48].copy_from_slice(&0x2345u64.to_le_bytes()); // more memory than file
        out.extend(data);
        out.extend(segment(7, 4, 0, 0x1000, 8, 8)); // PT_TLS
        out
    }

    #[test]
    fn the_handler_comes_last_and_first() {
        let emulator = emulator();
        let handler = [0x90; 40];
        let table = write(&Table::default());
        let image = join(&emulator, 5000, &handler, &table).unwrap();
        assert_eq!(image.tail_offset, 8192);
        let address = 0x4000; // behind 0x1000 + 0x2345
        let rows: Vec<&[u8]> = image.tail[..3 * PHDR].chunks(PHDR).collect();
        assert_eq!(rows.iter().map(|row| kind(row)).collect::<Vec<_>>(), [PT_LOAD, PT_LOAD, 7]);
        assert_eq!(word(rows[1], 16), Some(address));
        assert_eq!(word(rows[1], 32), Some(image.tail.len() as u64));
        let code_at = 176;
        assert_eq!(word(&image.head, 24), Some(address + code_at));
        let table_at = code_at + word(&image.tail, code_at as usize + TABLE_OFFSET).unwrap();
        assert_eq!(word(&image.tail, table_at as usize), Some(MAGIC));
        assert_eq!(word(&image.tail, table_at as usize + 8), Some(address + table_at));
        assert_eq!(word(&image.tail, table_at as usize + 16), Some(0x1234));
    }

    #[test]
    fn what_is_no_emulator_is_refused() {
        let table = write(&Table::default());
        let joined = |bytes: &[u8]| join(bytes, 5000, &[0; 40], &table).unwrap_err();
        assert_eq!(joined(b"\x7fELF"), ImageError::NotElf);
        assert_eq!(joined(&[0; 200]), ImageError::NotElf);
        let with = |at: usize, byte: u8| {
            let mut bytes = emulator();
            bytes[at] = byte;
            joined(&bytes)
        };
        assert_eq!(with(18, 3), ImageError::OtherMachine);
        assert_eq!(with(16, 2), ImageError::NotStatic);
        assert_eq!(with(EHDR, PT_INTERP as u8), ImageError::NotStatic);
        assert_eq!(with(57, 200), ImageError::NotElf);
        assert_eq!(join(&emulator(), 1, &[], &table), Err(ImageError::NoHandler));
        assert_eq!(join(&emulator(), 1, &[0; 40], b"x"), Err(ImageError::NotATable));
    }
}
