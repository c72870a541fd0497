//! Control text (deb822(5)): lines to paragraphs of fields, one at a time.
//!
//! Knows the syntax only, not what any field means. Keeps the order and the text of fields, blanks at the ends of
//! lines included, since dpkg copies them into its database.

use std::io::BufRead;

/// Longest paragraph that is read: the largest of the archive stays below a tenth of it.
const PARAGRAPH_LIMIT: usize = 16 << 20;

/// One paragraph: fields in the order of the text. Continuation lines are kept, joined with `\n`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Paragraph {
    fields: Vec<(String, String)>,
}

/// A text that is not control syntax.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The reader failed.
    #[error("failed to read line {line}")]
    Read {
        /// Line number, from 1.
        line: u64,
        /// The cause.
        source: std::io::Error,
    },
    /// A line is neither a field, a continuation, a comment nor empty.
    #[error("line {line}: {reason}")]
    Syntax {
        /// Line number, from 1.
        line: u64,
        /// What is wrong.
        reason: &'static str,
    },
}

impl Paragraph {
    /// The value of a field without blanks at its end; names are compared without case.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.trim_end())
    }

    /// Sets a field, in place when it is there, else at the end.
    pub(crate) fn set(&mut self, name: &str, value: impl Into<String>) {
        let value = value.into();
        match self.fields.iter_mut().find(|(n, _)| n.eq_ignore_ascii_case(name)) {
            Some((_, old)) => *old = value,
            None => self.fields.push((name.to_owned(), value)),
        }
    }

    /// The fields in order.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        self.fields.iter().map(|(n, v)| (n.as_str(), v.as_str()))
    }

    /// Whether there is no field.
    pub(crate) fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// The first paragraph of a text; `None` when it holds none.
    pub(crate) fn parse(text: &str) -> Result<Option<Paragraph>, ControlError> {
        Paragraphs::new(text.as_bytes()).next().transpose()
    }
}

impl std::fmt::Display for Paragraph {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (name, value) in &self.fields {
            // A value that starts on the next line has no blank after the colon, as dpkg writes it.
            let space = if value.is_empty() || value.starts_with('\n') { "" } else { " " };
            writeln!(f, "{name}:{space}{value}")?;
        }
        Ok(())
    }
}

/// Reads paragraphs one after the other; memory is that of one paragraph.
pub(crate) struct Paragraphs<R> {
    reader: R,
    line: u64,
    done: bool,
}

impl<R: BufRead> Paragraphs<R> {
    /// Paragraphs of `reader`.
    pub(crate) fn new(reader: R) -> Paragraphs<R> {
        Paragraphs { reader, line: 0, done: false }
    }

    fn read(&mut self) -> Result<Option<Paragraph>, ControlError> {
        let mut paragraph = Paragraph::default();
        let (mut buffer, mut size) = (Vec::new(), 0);
        loop {
            buffer.clear();
            self.line += 1;
            let line = self.line;
            let limit = (PARAGRAPH_LIMIT - size) as u64;
            let read = std::io::Read::take(&mut self.reader, limit)
                .read_until(b'\n', &mut buffer)
                .map_err(|source| ControlError::Read { line, source })?;
            size += read;
            if size >= PARAGRAPH_LIMIT {
                return Err(ControlError::Syntax { line, reason: "the paragraph is too long" });
            }
            if read == 0 {
                self.done = true;
                return Ok(if paragraph.is_empty() { None } else { Some(paragraph) });
            }
            let text = String::from_utf8_lossy(&buffer);
            let text = text.trim_end_matches(['\n', '\r']);
            if text.trim().is_empty() {
                if paragraph.is_empty() {
                    continue;
                }
                return Ok(Some(paragraph));
            }
            if text.starts_with('#') {
                continue;
            }
            add_line(&mut paragraph, text)
                .map_err(|reason| ControlError::Syntax { line, reason })?;
        }
    }
}

/// Adds a field or a continuation line.
fn add_line(paragraph: &mut Paragraph, text: &str) -> Result<(), &'static str> {
    if text.starts_with([' ', '\t']) {
        let (_, value) =
            paragraph.fields.last_mut().ok_or("a continuation line without a field")?;
        value.push('\n');
        value.push_str(text);
        return Ok(());
    }
    let (name, value) = text.split_once(':').ok_or("expected `Field: value`")?;
    if name.is_empty() || name.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err("expected a field name before the colon");
    }
    if paragraph.get(name).is_some() {
        return Err("a field appears twice in one paragraph");
    }
    paragraph.fields.push((name.to_owned(), value.trim_start().to_owned()));
    Ok(())
}

impl<R: BufRead> Iterator for Paragraphs<R> {
    type Item = Result<Paragraph, ControlError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let result = self.read();
        if result.is_err() {
            self.done = true;
        }
        result.transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paragraphs_keep_order_and_continuations() {
        let text =
            "\n# comment\nPackage: a\nDescription: short\n long\n .\n more\n\n\nPackage: b\n";
        let all: Vec<_> = Paragraphs::new(text.as_bytes()).map(Result::unwrap).collect();
        assert_eq!(all.len(), 2);
        assert_eq!(all[0].get("description"), Some("short\n long\n .\n more"));
        assert_eq!(all[1].to_string(), "Package: b\n");
        assert_eq!(all[0].to_string(), "Package: a\nDescription: short\n long\n .\n more\n");
    }

    #[test]
    fn bad_lines_are_named() {
        for (text, line) in
            [("A: b\nnonsense\n", 2), (" x\n", 1), ("A: 1\na: 2\n", 2), (": x\n", 1)]
        {
            let error = Paragraphs::new(text.as_bytes()).next().unwrap().unwrap_err();
            assert!(error.to_string().starts_with(&format!("line {line}:")), "{error}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_ends_without_panic(text in "[A-c: \n#\t]{0,60}") {
            for paragraph in Paragraphs::new(text.as_bytes()).flatten() {
                let again = Paragraph::parse(&paragraph.to_string());
                proptest::prop_assert!(again.is_ok());
            }
        }
    }
}
