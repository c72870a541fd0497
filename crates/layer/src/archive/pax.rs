//! Extended header records of the pax format: `"<length> <key>=<value>\n"`.

use crate::metadata::Time;

/// One record as bytes; the length counts its own digits.
pub(super) fn record(key: &[u8], value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + digits(length) {
        length = rest + digits(length);
    }
    let mut record = format!("{length} ").into_bytes();
    record.extend_from_slice(key);
    record.push(b'=');
    record.extend_from_slice(value);
    record.push(b'\n');
    record
}

fn digits(number: usize) -> usize {
    number.to_string().len()
}

/// All records of a header, in its order; none when it is malformed.
pub(super) fn parse(mut bytes: &[u8]) -> Option<Vec<(&[u8], &[u8])>> {
    let mut records = Vec::new();
    while !bytes.is_empty() {
        let space = bytes.iter().take(20).position(|byte| *byte == b' ')?;
        let length: usize = std::str::from_utf8(&bytes[..space]).ok()?.parse().ok()?;
        if length > bytes.len() || length < space + 3 {
            return None;
        }
        let (record, rest) = bytes.split_at(length);
        let record = record[space + 1..].strip_suffix(b"\n")?;
        let equals = record.iter().position(|byte| *byte == b'=')?;
        records.push((&record[..equals], &record[equals + 1..]));
        bytes = rest;
    }
    Some(records)
}

/// A time as decimal seconds, with a fraction only when there is one.
pub(super) fn format_time(time: Time) -> String {
    const GIGA: u32 = 1_000_000_000;
    if time.nanos == 0 {
        return time.secs.to_string();
    }
    let (sign, secs, nanos) = match time.secs < 0 {
        true => ("-", (time.secs + 1).unsigned_abs(), GIGA - time.nanos),
        false => ("", time.secs.unsigned_abs(), time.nanos),
    };
    let text = format!("{sign}{secs}.{nanos:09}");
    text.trim_end_matches('0').to_owned()
}

/// Decimal seconds with an optional fraction; digits after the ninth are dropped.
pub(super) fn parse_time(text: &[u8]) -> Option<Time> {
    let text = std::str::from_utf8(text).ok()?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let secs: i64 = whole.parse().ok()?;
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let nanos: u32 = format!("{:0<9}", &fraction[..fraction.len().min(9)]).parse().ok()?;
    match whole.starts_with('-') && nanos > 0 {
        true => Some(Time { secs: secs.checked_sub(1)?, nanos: 1_000_000_000 - nanos }),
        false => Some(Time { secs, nanos }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_counts_itself() {
        assert_eq!(record(b"path", b"x"), b"9 path=x\n");
        assert_eq!(record(b"path", &[b'x'; 90]).len(), 99);
        assert_eq!(record(b"path", &[b'x'; 91]).len(), 101);
        let both = [record(b"a", b"1"), record(b"b", b"=\n")].concat();
        assert_eq!(parse(&both).unwrap(), [(&b"a"[..], &b"1"[..]), (b"b", b"=\n")]);
    }

    #[test]
    fn malformed_records_are_refused() {
        for bytes in [
            &b"5 a=b"[..],
            b"99 a=b\n",
            b"x a=b\n",
            b"6 ab\n\n",
            b"0 =\n",
            b"18446744073709551616 a=b\n",
        ] {
            assert!(parse(bytes).is_none(), "{bytes:?}");
        }
    }

    #[test]
    fn times_survive_with_sign_and_fraction() {
        for (secs, nanos) in
            [(0, 0), (-1, 500_000_000), (1, 1), (-315, 0), (i64::MAX, 999_999_999), (i64::MIN, 1)]
        {
            let time = Time { secs, nanos };
            assert_eq!(
                parse_time(format_time(time).as_bytes()),
                Some(time),
                "{}",
                format_time(time)
            );
        }
        assert_eq!(parse_time(b"9223372036854775808"), None);
        assert_eq!(parse_time(b"1.x"), None);
    }
}
