//! Values as Go's libraries read them: booleans, durations, sizes.

use std::time::Duration;

/// Reads a boolean as Go's `strconv.ParseBool`.
pub(crate) fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// Reads a duration as Go's `time.ParseDuration` (`1m30s`, `.5h`); a negative one is `None`.
pub(crate) fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" || text == "-0" {
        return Some(Duration::ZERO);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total: u128 = 0;
    while !rest.is_empty() {
        let (whole, fraction, after) = decimal(rest)?;
        let length = after.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, next) = after.split_at(length);
        let unit: u128 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        let scale = 10u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
        let part = if fraction.is_empty() {
            0
        } else {
            fraction.parse::<u128>().ok()?.checked_mul(unit)? / scale
        };
        let whole =
            if whole.is_empty() { 0 } else { whole.parse::<u128>().ok()?.checked_mul(unit)? };
        total = total.checked_add(whole)?.checked_add(part)?;
        rest = next;
    }
    // Go keeps nanoseconds in 63 bits.
    i64::try_from(total).ok().and_then(|nanos| u64::try_from(nanos).ok()).map(Duration::from_nanos)
}

/// Splits off a decimal number: whole digits, at most 18 digits of the fraction, and the rest.
fn decimal(text: &str) -> Option<(&str, &str, &str)> {
    let digits = |text: &str| text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (whole, rest) = text.split_at(digits(text));
    let Some(rest) = rest.strip_prefix('.') else {
        return (!whole.is_empty()).then_some((whole, "", rest));
    };
    let (fraction, rest) = rest.split_at(digits(rest));
    let kept = &fraction[..fraction.len().min(18)];
    (!(whole.is_empty() && fraction.is_empty())).then_some((whole, kept, rest))
}

/// Reads a size in bytes as Docker does: `64m`, `1.5GiB`, `100`; prefixes are powers of 1024.
pub(crate) fn parse_size(text: &str) -> Option<u64> {
    let lower = text.trim_end().to_ascii_lowercase();
    let (whole, fraction, unit) = decimal(&lower)?;
    let unit = unit.trim_start();
    let unit = unit.strip_suffix("ib").or_else(|| unit.strip_suffix('b')).unwrap_or(unit);
    let shift = match unit {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        "p" => 50,
        _ => return None,
    };
    let scale = 10u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let number: u128 = format!("{whole}{fraction}").parse().ok()?;
    u64::try_from(number.checked_mul(1 << shift)? / scale).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        assert_eq!(parse_duration("1m30s"), Some(Duration::from_secs(90)));
        assert_eq!(parse_duration("1.5h"), Some(Duration::from_secs(5400)));
        assert_eq!(parse_duration(".5s"), Some(Duration::from_millis(500)));
        assert_eq!(parse_duration("+2us"), Some(Duration::from_micros(2)));
        assert_eq!(parse_duration("0"), Some(Duration::ZERO));
        for bad in ["", "5", "-5s", "1x", "s", ".s", "1 s", "9999999h", "1e3s"] {
            assert_eq!(parse_duration(bad), None, "{bad}");
        }
    }

    #[test]
    fn sizes() {
        assert_eq!(parse_size("64m"), Some(64 << 20));
        assert_eq!(parse_size("1.5GiB"), Some(3 << 29));
        assert_eq!(parse_size("10 kb"), Some(10 << 10));
        assert_eq!(parse_size("7"), Some(7));
        for bad in ["", "m", "-1", "1x", "999999p9", "99999999999p"] {
            assert_eq!(parse_size(bad), None, "{bad}");
        }
    }
}
