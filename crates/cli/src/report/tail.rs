//! Bytes as a process writes them into lines, and the last of those lines.

use std::collections::VecDeque;

use anyarch_engine::Stream;

/// How many lines are kept for the report of a failure.
const KEPT: usize = 20;
/// Longest line that is waited for; what is longer is broken.
const LONGEST: usize = 16 * 1024;

/// The output of one process.
#[derive(Default)]
pub(crate) struct Tail {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    lines: VecDeque<String>,
}

impl Tail {
    /// Takes in bytes, gives the lines that are complete now.
    pub(crate) fn push(&mut self, stream: Stream, bytes: &[u8]) -> Vec<String> {
        let partial = match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        let mut complete = Vec::new();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            for chunk in piece.chunks(LONGEST) {
                partial.extend_from_slice(chunk);
                if partial.ends_with(b"\n") || partial.len() >= LONGEST {
                    complete.push(line(partial));
                    partial.clear();
                }
            }
        }
        self.keep(&complete);
        complete
    }

    /// What was written without an end of line, at the end of the process.
    pub(crate) fn flush(&mut self) -> Vec<String> {
        let rest: Vec<String> = [&mut self.stdout, &mut self.stderr]
            .into_iter()
            .filter(|partial| !partial.is_empty())
            .map(|partial| line(&std::mem::take(partial)))
            .collect();
        self.keep(&rest);
        rest
    }

    /// The last line with something on it.
    pub(crate) fn last(&self) -> Option<&str> {
        self.lines.iter().rev().find(|line| !line.trim().is_empty()).map(String::as_str)
    }

    /// The lines that are kept, the oldest first.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.lines.iter().cloned().collect()
    }

    fn keep(&mut self, lines: &[String]) {
        self.lines.extend(lines.iter().cloned());
        let excess = self.lines.len().saturating_sub(KEPT);
        self.lines.drain(..excess);
    }
}

/// One line as a terminal would leave it: a carriage return begins it anew; colours, cursor
/// movements and other controls are left out, because they would act on our terminal.
fn line(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim_end_matches(['\n', '\r']);
    let text = text.rsplit('\r').find(|part| !part.is_empty()).unwrap_or_default();
    console::strip_ansi_codes(text)
        .chars()
        .map(|c| if c == '\t' { ' ' } else { c })
        .filter(|c| !c.is_control())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_joined_over_pieces_and_streams_kept_apart() {
        let mut tail = Tail::default();
        assert!(tail.push(Stream::Stdout, b"one").is_empty());
        assert_eq!(tail.push(Stream::Stderr, b"warn\n"), ["warn"]);
        assert_eq!(tail.push(Stream::Stdout, b" line\ntwo\nthr"), ["one line", "two"]);
        assert_eq!(tail.flush(), ["thr"]);
        assert_eq!(tail.lines(), ["warn", "one line", "two", "thr"]);
        assert_eq!(tail.last(), Some("thr"));
    }

    #[test]
    fn a_character_split_over_pieces_stays_whole() {
        let mut tail = Tail::default();
        assert!(tail.push(Stream::Stdout, &"é".as_bytes()[..1]).is_empty());
        assert_eq!(tail.push(Stream::Stdout, &[0xa9, b'\n']), ["é"]);
    }

    #[test]
    fn what_moves_a_terminal_is_left_out() {
        let mut tail = Tail::default();
        let lines =
            tail.push(Stream::Stdout, b"10 %\r50 %\r100 %\r\n\x1b[31mred\x1b[0m\x07\t!\r\n");
        assert_eq!(lines, ["100 %", "red !"]);
    }

    #[test]
    fn only_the_end_is_kept() {
        let mut tail = Tail::default();
        for number in 0..50 {
            tail.push(Stream::Stdout, format!("{number}\n").as_bytes());
        }
        assert_eq!((tail.lines().len(), tail.lines()[0].as_str()), (KEPT, "30"));
        tail.push(Stream::Stdout, &vec![b'x'; 5 * LONGEST]);
        assert!(tail.stdout.len() < LONGEST, "a line without end does not fill the memory");
    }
}
