//! One 512-byte ustar header: fields to bytes and back, checksum included.

use super::BLOCK;
use super::sparse::Segments;

/// Where a field lies in the block.
pub(super) struct Field {
    at: usize,
    len: usize,
}

pub(super) const NAME: Field = Field { at: 0, len: 100 };
pub(super) const MODE: Field = Field { at: 100, len: 8 };
pub(super) const UID: Field = Field { at: 108, len: 8 };
pub(super) const GID: Field = Field { at: 116, len: 8 };
pub(super) const SIZE: Field = Field { at: 124, len: 12 };
pub(super) const MTIME: Field = Field { at: 136, len: 12 };
const CHECKSUM: Field = Field { at: 148, len: 8 };
const TYPE: usize = 156;
pub(super) const LINK: Field = Field { at: 157, len: 100 };
const MAGIC: Field = Field { at: 257, len: 8 };
pub(super) const DEVICE_MAJOR: Field = Field { at: 329, len: 8 };
pub(super) const DEVICE_MINOR: Field = Field { at: 337, len: 8 };
pub(super) const PREFIX: Field = Field { at: 345, len: 155 };
const GNU_SPARSE: usize = 386;
const GNU_SPARSE_EXTENDED: usize = 482;
const GNU_REAL_SIZE: Field = Field { at: 483, len: 12 };

/// A header block.
pub(super) struct Block(pub(super) [u8; BLOCK]);

impl Block {
    /// An empty ustar header of a type.
    pub(super) fn new(kind: u8) -> Block {
        let mut block = Block([0; BLOCK]);
        block.0[TYPE] = kind;
        block.set_bytes(&MAGIC, b"ustar\x0000");
        block
    }

    pub(super) fn kind(&self) -> u8 {
        self.0[TYPE]
    }

    pub(super) fn is_zero(&self) -> bool {
        self.0.iter().all(|byte| *byte == 0)
    }

    fn is_posix(&self) -> bool {
        self.field(&MAGIC).starts_with(b"ustar\0")
    }

    fn field(&self, field: &Field) -> &[u8] {
        &self.0[field.at..field.at + field.len]
    }

    /// A text field up to its NUL.
    pub(super) fn text(&self, field: &Field) -> &[u8] {
        let bytes = self.field(field);
        &bytes[..bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len())]
    }

    /// The full name: POSIX prefix and name, or the name alone.
    pub(super) fn name(&self) -> Vec<u8> {
        let prefix = self.text(&PREFIX);
        let mut name = Vec::new();
        if self.is_posix() && !prefix.is_empty() {
            name.extend_from_slice(prefix);
            name.push(b'/');
        }
        name.extend_from_slice(self.text(&NAME));
        name
    }

    pub(super) fn number(&self, field: &Field) -> Option<i64> {
        number(self.field(field))
    }

    /// GNU's segments of a sparse file in this header, whether more blocks follow, and the size.
    pub(super) fn gnu_sparse(&self) -> Option<(Segments, bool, u64)> {
        let segments = gnu_segments(&self.0[GNU_SPARSE..GNU_SPARSE + 4 * 24])?;
        let size = u64::try_from(self.number(&GNU_REAL_SIZE)?).ok()?;
        Some((segments, self.0[GNU_SPARSE_EXTENDED] == 1, size))
    }

    /// The same for one of the blocks that follow.
    pub(super) fn gnu_sparse_more(&self) -> Option<(Segments, bool)> {
        Some((gnu_segments(&self.0[..21 * 24])?, self.0[504] == 1))
    }

    pub(super) fn set_bytes(&mut self, field: &Field, bytes: &[u8]) {
        let len = bytes.len().min(field.len);
        self.0[field.at..field.at + len].copy_from_slice(&bytes[..len]);
    }

    /// Writes zero-padded octal digits and a NUL; false (and zeros) when the number does not fit.
    pub(super) fn set_number(&mut self, field: &Field, value: i64) -> bool {
        let digits = field.len - 1;
        let fits = value >= 0 && (value as u64) < 1 << (3 * digits);
        let text = format!("{:0digits$o}\0", if fits { value } else { 0 });
        self.set_bytes(field, text.as_bytes());
        fits
    }

    pub(super) fn set_checksum(&mut self) {
        let sum = self.checksum();
        self.set_bytes(&CHECKSUM, format!("{sum:06o}\0 ").as_bytes());
    }

    /// Whether the stored checksum is right (over unsigned bytes as POSIX says, or signed ones).
    pub(super) fn checksum_is_right(&self) -> bool {
        let Some(stored) = self.number(&CHECKSUM) else { return false };
        let signed: i64 = self.0.iter().map(|byte| i64::from(*byte as i8)).sum();
        let blank: i64 = self.field(&CHECKSUM).iter().map(|byte| i64::from(*byte as i8)).sum();
        stored == i64::from(self.checksum()) || stored == signed - blank + 8 * i64::from(b' ')
    }

    fn checksum(&self) -> u32 {
        let sum: u32 = self.0.iter().map(|byte| u32::from(*byte)).sum();
        let own: u32 = self.field(&CHECKSUM).iter().map(|byte| u32::from(*byte)).sum();
        sum - own + 8 * u32::from(b' ')
    }
}

/// Pairs of 12-byte numbers, offset and length; an empty pair ends the list.
fn gnu_segments(bytes: &[u8]) -> Option<Segments> {
    let mut segments = Vec::new();
    for pair in bytes.chunks_exact(24) {
        if pair[0] == 0 {
            break;
        }
        let offset = u64::try_from(number(&pair[..12])?).ok()?;
        let length = u64::try_from(number(&pair[12..])?).ok()?;
        segments.push((offset, length));
    }
    Some(segments)
}

/// An octal number in ASCII, or GNU's base 256 with the top bit set; none when it is neither or
/// does not fit in 64 bits with sign. An empty field is 0.
fn number(bytes: &[u8]) -> Option<i64> {
    let first = *bytes.first()?;
    if first & 0x80 != 0 {
        let negative = first & 0x40 != 0;
        let mut value: i128 = if negative { -1 } else { 0 };
        for (index, byte) in bytes.iter().enumerate() {
            let byte = match (index, negative) {
                (0, false) => byte & 0x7f,
                _ => *byte,
            };
            value = (value << 8) | i128::from(byte);
        }
        return i64::try_from(value).ok();
    }
    let blank = |byte: &u8| *byte == b' ' || *byte == 0;
    let start = bytes.iter().position(|byte| !blank(byte)).unwrap_or(bytes.len());
    let digits = &bytes[start..];
    let digits = &digits[..digits.iter().position(blank).unwrap_or(digits.len())];
    let mut value: i64 = 0;
    for digit in digits {
        if !(b'0'..=b'7').contains(digit) {
            return None;
        }
        value = value.checked_mul(8)?.checked_add(i64::from(digit - b'0'))?;
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octal_and_base_256_numbers() {
        assert_eq!(number(b"0000644\0"), Some(0o644));
        assert_eq!(number(b"   644 \0"), Some(0o644));
        assert_eq!(number(b"\0\0\0\0\0\0\0\0"), Some(0));
        assert_eq!(number(b"00008\0\0\0"), None);
        assert_eq!(number(&[0x80, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0]), Some(2 << 56));
        assert_eq!(number(&[0xff; 12]), Some(-1));
        assert_eq!(
            number(&[0xbf, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
            None
        );
    }

    #[test]
    fn numbers_that_do_not_fit_are_zeros() {
        let mut block = Block::new(b'0');
        assert!(block.set_number(&UID, 0o7777777));
        assert!(!block.set_number(&UID, 0o10000000));
        assert_eq!(block.number(&UID), Some(0));
        assert!(!block.set_number(&MTIME, -1));
    }

    #[test]
    fn checksum_covers_every_byte() {
        let mut block = Block::new(b'0');
        block.set_checksum();
        assert!(block.checksum_is_right());
        block.0[500] ^= 1;
        assert!(!block.checksum_is_right());
    }
}
