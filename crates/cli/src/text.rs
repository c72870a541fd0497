//! Numbers into words for people: sizes, times, plurals, tables.

use std::time::Duration;

/// `12.3 MB`: decimal units, as registries and docker count.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    if count < 1000 {
        return format!("{count} B");
    }
    let mut value = count as f64 / 1000.0;
    let mut unit = 0;
    while value >= 999.95 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// `0.4 s`, `41.2 s`, `3 min 05 s`, `2 h 07 min`.
pub(crate) fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..60 => format!("{:.1} s", time.as_millis() as f64 / 1000.0),
        60..3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// `5 min`, `12 h`, `30 d`: whole units, as ages are told.
pub(crate) fn age(time: Duration) -> String {
    let minutes = time.as_secs() / 60;
    match minutes {
        0..120 => format!("{minutes} min"),
        120..2880 => format!("{} h", minutes / 60),
        _ => format!("{} d", minutes / (24 * 60)),
    }
}

/// `1 step`, `3 steps`.
pub(crate) fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

/// Names in a sentence: `a, b and c`.
pub(crate) fn listing(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [only] => only.clone(),
        [start @ .., last] => format!("{} and {last}", start.join(", ")),
    }
}

/// Rows under a head, columns aligned; without trailing spaces. The last column is not padded.
pub(crate) fn table<const N: usize>(head: [&str; N], rows: &[[String; N]]) -> String {
    let mut widths = head.map(console::measure_text_width);
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(console::measure_text_width(cell));
        }
    }
    let mut text = String::new();
    for row in std::iter::once(&head.map(str::to_owned)).chain(rows) {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            line.push_str(cell);
            let gap = width - console::measure_text_width(cell) + 2;
            line.extend(std::iter::repeat_n(' ', gap));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_well() {
        let sizes = [0, 999, 1000, 12_345_678, 999_999, 1_000_000_000].map(bytes);
        assert_eq!(sizes, ["0 B", "999 B", "1.0 kB", "12.3 MB", "1.0 MB", "1.0 GB"]);
    }

    #[test]
    fn times_read_well() {
        let times = [0, 440, 41_200, 185_000, 7_620_000].map(Duration::from_millis).map(duration);
        assert_eq!(times, ["0.0 s", "0.4 s", "41.2 s", "3 min 05 s", "2 h 07 min"]);
    }

    #[test]
    fn ages_read_well() {
        let ages = [0, 7_100, 86_400, 172_799, 2_592_000].map(Duration::from_secs).map(age);
        assert_eq!(ages, ["0 min", "118 min", "24 h", "47 h", "30 d"]);
    }

    #[test]
    fn columns_are_aligned() {
        let rows = [["a".to_owned(), "1".to_owned()], ["long".to_owned(), "22".to_owned()]];
        assert_eq!(table(["NAME", "N"], &rows), "NAME  N\na     1\nlong  22\n");
    }

    #[test]
    fn lists_read_as_a_sentence() {
        let names = ["a", "b", "c"].map(str::to_owned);
        assert_eq!(listing(&names), "a, b and c");
        assert_eq!(listing(&names[..1]), "a");
    }
}
