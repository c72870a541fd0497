//! Flag values that are lists: text to fields, with commas between them and quotes around some.

use std::ops::Range;

/// Splits a list at commas; a field in double quotes may hold commas and doubled quotes.
/// Each field comes with the bytes it was written in. `None` where quotes are out of place.
pub(crate) fn fields(text: &str) -> Option<Vec<(String, Range<usize>)>> {
    let mut fields = Vec::new();
    let mut at = 0;
    loop {
        let rest = &text[at..];
        let (field, length) = if let Some(quoted) = rest.strip_prefix('"') {
            let mut field = String::new();
            let mut used = 1;
            let mut pieces = quoted;
            loop {
                let (piece, after) = pieces.split_once('"')?;
                field.push_str(piece);
                used += piece.len() + 1;
                match after.strip_prefix('"') {
                    Some(after) => {
                        field.push('"');
                        used += 1;
                        pieces = after;
                    }
                    None => break (field, used),
                }
            }
        } else {
            let length = rest.find(',').unwrap_or(rest.len());
            if rest[..length].contains('"') {
                return None;
            }
            (rest[..length].to_owned(), length)
        };
        fields.push((field, at..at + length));
        at += length;
        match text[at..].chars().next() {
            None => return Some(fields),
            Some(',') => at += 1,
            Some(_) => return None,
        }
    }
}
