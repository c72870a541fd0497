//! Text to lines: physical lines as they stand in the file, and logical lines, which join
//! continuations and remember where each part came from.

use std::ops::{Range, RangeInclusive};

use crate::span::Span;

/// One line of the file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Line<'a> {
    /// Byte offset of `text` in the file.
    pub(crate) start: usize,
    /// The line's number, the first being 1.
    pub(crate) number: usize,
    /// The line without its line end (LF or CRLF).
    pub(crate) text: &'a str,
    /// The line with its line end.
    pub(crate) raw: &'a str,
}

impl<'a> Line<'a> {
    /// The line without leading blanks.
    pub(crate) fn trim_start(self) -> Self {
        let text = self.text.trim_start();
        Self { start: self.start + self.text.len() - text.len(), text, ..self }
    }

    pub(crate) fn is_comment(self) -> bool {
        self.text.trim_start().starts_with('#')
    }

    pub(crate) fn span(self) -> Range<usize> {
        self.start..self.start + self.text.len()
    }

    /// The line without the escape character that continues it on the next line, if there is one.
    fn continued(self, escape: char) -> Option<&'a str> {
        let body = self.text.trim_end_matches([' ', '\t']).strip_suffix(escape)?;
        // A doubled escape character is a literal one.
        (!body.ends_with(escape)).then_some(body)
    }
}

/// Walks over the lines of a file.
pub(crate) struct Lines<'a> {
    text: &'a str,
    position: usize,
    number: usize,
}

impl<'a> Lines<'a> {
    /// Starts at the first line, behind a byte order mark if there is one.
    pub(crate) fn new(text: &'a str) -> Self {
        let position = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
        Self { text, position, number: 0 }
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = Line<'a>;

    fn next(&mut self) -> Option<Line<'a>> {
        let raw = self.text.get(self.position..)?.split_inclusive('\n').next()?;
        let start = self.position;
        self.position += raw.len();
        self.number += 1;
        Some(Line { start, number: self.number, text: raw.trim_end_matches(['\r', '\n']), raw })
    }
}

/// An instruction's lines as one, without continuation characters and comment lines.
#[derive(Debug, Clone)]
pub(crate) struct LogicalLine {
    pub(crate) text: String,
    /// Offsets in `text` and in the file at which each part starts, in rising order.
    parts: Vec<(usize, usize)>,
    pub(crate) lines: RangeInclusive<usize>,
    /// Blank lines between continued lines, which Docker means to forbid.
    pub(crate) blank_lines: Vec<Range<usize>>,
}

impl LogicalLine {
    /// Reads the logical line that `first` opens, taking more lines while they continue.
    /// `None` where `first` is blank.
    pub(crate) fn read(first: Line<'_>, lines: &mut Lines<'_>, escape: char) -> Option<Self> {
        let first = first.trim_start();
        let mut line = Self {
            text: String::new(),
            parts: vec![(0, first.start)],
            lines: first.number..=first.number,
            blank_lines: Vec::new(),
        };
        let Some(body) = first.continued(escape) else {
            line.text.push_str(first.text);
            return (!first.text.is_empty()).then_some(line);
        };
        line.text.push_str(body);
        // What only continues is not where the instruction begins.
        let mut begun = !body.trim().is_empty();
        for next in lines.by_ref() {
            let start = if begun { *line.lines.start() } else { next.number };
            line.lines = start..=next.number;
            if next.is_comment() {
                continue;
            }
            if next.text.trim_start().is_empty() {
                line.blank_lines.push(next.span());
                continue;
            }
            line.parts.push((line.text.len(), next.start));
            match next.continued(escape) {
                Some(body) => {
                    begun = begun || !body.trim().is_empty();
                    line.text.push_str(body);
                }
                None => {
                    line.text.push_str(next.text);
                    break;
                }
            }
        }
        (!line.text.trim().is_empty()).then_some(line)
    }

    /// Where a range of `text` stands in the file.
    pub(crate) fn place(&self, range: Range<usize>) -> Range<usize> {
        let start = self.offset(range.start);
        // The end belongs to the part that holds the last byte, not to the one that follows.
        let end = if range.is_empty() { start } else { self.offset(range.end - 1) + 1 };
        start..end.max(start)
    }

    fn offset(&self, at: usize) -> usize {
        let index = self.parts.partition_point(|(start, _)| *start <= at).saturating_sub(1);
        self.parts.get(index).map_or(0, |(start, place)| place + (at - start))
    }

    /// The whole line's place; `end` where more of the file (heredocs) belongs to it.
    pub(crate) fn span(&self, end: Option<Line<'_>>) -> Span {
        let mut bytes = self.place(0..self.text.trim_end().len());
        let mut lines = self.lines.clone();
        if let Some(last) = end {
            bytes.end = last.span().end;
            lines = *lines.start()..=last.number;
        }
        Span { bytes, lines }
    }
}

#[cfg(test)]
mod tests {
    use super::{Lines, LogicalLine};

    #[test]
    fn an_instruction_begins_where_its_text_does() {
        let text = "\\\n  \\\n# note\nFROM \\\n  a\n";
        let mut lines = Lines::new(text);
        let first = lines.next().expect("a line");
        let line = LogicalLine::read(first, &mut lines, '\\').expect("an instruction");
        assert_eq!(line.lines, 4..=5);
        assert_eq!(&text[line.place(2..6)], "FROM");
    }

    #[test]
    fn joined_text_knows_its_places() {
        let text = "RUN a \\\r\n  # note\n\n  b \\\\\nx";
        let mut lines = Lines::new(text);
        let first = lines.next().unwrap();
        let line = LogicalLine::read(first, &mut lines, '\\').unwrap();
        assert_eq!(line.text, "RUN a   b \\\\");
        assert_eq!(line.lines, 1..=4);
        assert_eq!(line.blank_lines.len(), 1);
        let at = line.text.find('b').unwrap();
        assert_eq!(&text[line.place(at..at + 1)], "b");
        assert_eq!(lines.next().unwrap().text, "x");
    }
}
