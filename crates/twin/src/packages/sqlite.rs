//! The rows of one table of an SQLite database ("Database File Format"), as far as rpm's needs: tables
//! with a row number, read whole, without a journal. No crate reads the format without a C library.

/// The blobs in one column of a table; `None` where the bytes are no such database.
pub(super) fn blobs(bytes: &[u8], table: &str, column: usize) -> Option<Vec<Vec<u8>>> {
    let file = File::open(bytes)?;
    // sqlite_schema: type, name, tbl_name, rootpage, sql.
    let root = file.rows(1)?.into_iter().find_map(|row| {
        let values = row.values()?;
        let is = |at: usize, text: &str| matches!(values.get(at), Some(Value::Bytes(found)) if *found == text.as_bytes());
        match (is(0, "table") && is(1, table), values.get(3)) {
            (true, Some(Value::Number(page))) => u32::try_from(*page).ok(),
            _ => None,
        }
    })?;
    let mut found = Vec::new();
    for row in file.rows(root)? {
        match row.values()?.get(column)? {
            Value::Bytes(bytes) => found.push(bytes.to_vec()),
            Value::Number(_) | Value::Other => {}
        }
    }
    Some(found)
}

/// A value of a record.
enum Value<'a> {
    Number(i64),
    Bytes(&'a [u8]),
    /// NULL and floating point numbers.
    Other,
}

/// The payload of a row.
struct Row(Vec<u8>);

struct File<'a> {
    bytes: &'a [u8],
    page_size: usize,
    /// Bytes of a page that are used.
    usable: usize,
}

impl<'a> File<'a> {
    fn open(bytes: &'a [u8]) -> Option<File<'a>> {
        if !bytes.starts_with(b"SQLite format 3\0") {
            return None;
        }
        let page_size = match big(bytes, 16, 2)? {
            1 => 65536,
            size => size,
        };
        let reserved = usize::from(*bytes.get(20)?);
        let usable = page_size.checked_sub(reserved).filter(|usable| *usable >= 480)?;
        Some(File { bytes, page_size, usable })
    }

    /// A page, by its number from 1.
    fn page(&self, number: u32) -> Option<&'a [u8]> {
        let at = usize::try_from(number.checked_sub(1)?).ok()?.checked_mul(self.page_size)?;
        self.bytes.get(at..at.checked_add(self.page_size)?)
    }

    /// All rows of the table whose tree begins at a page.
    fn rows(&self, root: u32) -> Option<Vec<Row>> {
        let (mut rows, mut ahead) = (Vec::new(), vec![root]);
        // A tree has each page once, and rows share no bytes: more of them go in a circle.
        let mut left = self.bytes.len() / self.page_size;
        let mut bytes_left = self.bytes.len();
        while let Some(number) = ahead.pop() {
            left = left.checked_sub(1)?;
            let page = self.page(number)?;
            // The first page has the header of the file before its own.
            let head = if number == 1 { 100 } else { 0 };
            let kind = *page.get(head)?;
            let cells = big(page, head + 3, 2)?;
            let pointers = match kind {
                5 => head + 12,
                13 => head + 8,
                _ => return None,
            };
            for cell in 0..cells {
                let at = big(page, pointers + 2 * cell, 2)?;
                match kind {
                    5 => ahead.push(u32::try_from(big(page, at, 4)?).ok()?),
                    _ => {
                        let row = self.row(page, at, bytes_left)?;
                        bytes_left -= row.0.len();
                        rows.push(row);
                    }
                }
            }
            if kind == 5 {
                ahead.push(u32::try_from(big(page, head + 8, 4)?).ok()?);
            }
        }
        Some(rows)
    }

    /// A cell of a leaf: length of the payload, number of the row, and the payload, whose end may lie
    /// on pages of its own; none of more than `most_bytes`.
    fn row(&self, page: &[u8], at: usize, most_bytes: usize) -> Option<Row> {
        let (length, at) = varint(page, at)?;
        let (_, at) = varint(page, at)?;
        let length = usize::try_from(length).ok().filter(|length| *length <= most_bytes)?;
        let (most, least) = (self.usable - 35, (self.usable - 12) * 32 / 255 - 23);
        let here = match length <= most {
            true => length,
            false => {
                let here = least + (length - least) % (self.usable - 4);
                if here <= most { here } else { least }
            }
        };
        let mut payload = page.get(at..at.checked_add(here)?)?.to_vec();
        let mut next = if here < length { big(page, at + here, 4)? } else { 0 };
        while payload.len() < length {
            let more = self.page(u32::try_from(next).ok()?)?;
            next = big(more, 0, 4)?;
            let part = (length - payload.len()).min(self.usable - 4);
            payload.extend_from_slice(more.get(4..4 + part)?);
        }
        Some(Row(payload))
    }
}

impl Row {
    /// A record: a header of types, then the values.
    fn values(&self) -> Option<Vec<Value<'_>>> {
        let bytes = self.0.as_slice();
        let (length, mut at) = varint(bytes, 0)?;
        let mut value_at = usize::try_from(length).ok()?;
        let end = value_at;
        let mut values = Vec::new();
        while at < end {
            let (kind, next) = varint(bytes, at)?;
            at = next;
            let size = match kind {
                0 | 8 | 9 => 0,
                1..=4 => usize::try_from(kind).ok()?,
                5 => 6,
                6 | 7 => 8,
                10 | 11 => return None,
                kind => usize::try_from((kind - 12) / 2).ok()?,
            };
            let value = bytes.get(value_at..value_at.checked_add(size)?)?;
            value_at += size;
            values.push(match kind {
                0 | 7 => Value::Other,
                8 | 9 => Value::Number(i64::try_from(kind).ok()? - 8),
                1..=6 => Value::Number(signed(value)),
                _ => Value::Bytes(value),
            });
        }
        Some(values)
    }
}

fn signed(bytes: &[u8]) -> i64 {
    let negative = bytes.first().is_some_and(|first| *first >= 0x80);
    bytes.iter().fold(if negative { -1 } else { 0 }, |all, byte| all << 8 | i64::from(*byte))
}

/// Some bytes as a number, the highest first.
fn big(bytes: &[u8], at: usize, count: usize) -> Option<usize> {
    let bytes = bytes.get(at..at.checked_add(count)?)?;
    Some(bytes.iter().fold(0, |all, byte| all << 8 | usize::from(*byte)))
}

/// A number of one to nine bytes, and where it ends.
fn varint(bytes: &[u8], at: usize) -> Option<(u64, usize)> {
    let mut number = 0u64;
    for (count, byte) in bytes.get(at..)?.iter().take(9).enumerate() {
        if count == 8 {
            return Some((number << 8 | u64::from(*byte), at + 9));
        }
        number = number << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return Some((number, at + count + 1));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_written() {
        assert_eq!(varint(&[0x7f], 0), Some((0x7f, 1)));
        assert_eq!(varint(&[0, 0x81, 0x01], 1), Some((0x81, 3)));
        assert_eq!(varint(&[0xff; 9], 0), Some((u64::MAX, 9)));
        assert_eq!(varint(&[0xff; 8], 0), None);
        assert_eq!((signed(&[0xff, 0xfe]), signed(&[1, 0]), signed(&[])), (-2, 256, 0));
    }

    #[test]
    fn other_files_are_no_databases() {
        assert!(blobs(b"", "Packages", 1).is_none());
        assert!(blobs(&[b"SQLite format 3\0".as_slice(), &[0; 200]].concat(), "x", 0).is_none());
    }
}
