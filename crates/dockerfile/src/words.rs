//! A logical line to keyword, flags and words, in the ways that instructions split their text.

use std::ops::Range;

/// A part of a logical line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slice<'a> {
    pub(crate) text: &'a str,
    /// Offset of `text` in the logical line.
    pub(crate) at: usize,
}

impl<'a> Slice<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    pub(crate) fn range(self) -> Range<usize> {
        self.at..self.at + self.text.len()
    }

    pub(crate) fn from(self, offset: usize) -> Self {
        Self { text: &self.text[offset..], at: self.at + offset }
    }

    pub(crate) fn trim(self) -> Self {
        let start = self.from(self.text.len() - self.text.trim_start().len());
        Self { text: start.text.trim_end(), ..start }
    }
}

/// A word and the range of the logical line it was written in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) text: String,
    pub(crate) range: Range<usize>,
}

/// The blanks that end a keyword and separate words.
fn is_blank(c: char) -> bool {
    matches!(c, '\t' | '\u{b}' | '\u{c}' | '\r' | ' ')
}

/// Splits off the keyword; the rest starts behind the blanks.
pub(crate) fn split_keyword(line: Slice<'_>) -> (Slice<'_>, Slice<'_>) {
    let line = line.trim();
    let end = line.text.find(is_blank).unwrap_or(line.text.len());
    let rest = line.from(end);
    let keyword = Slice { text: &line.text[..end], at: line.at };
    (keyword, rest.from(rest.text.len() - rest.text.trim_start_matches(is_blank).len()))
}

/// Takes the flags (`--name[=value]`) from the front; a lone `--` ends them. Quotes are removed
/// and backslash escapes, whatever the file's escape character.
pub(crate) fn split_flags(rest: Slice<'_>) -> (Vec<Token>, Slice<'_>) {
    let mut flags = Vec::new();
    let mut rest = rest.trim();
    while rest.text.starts_with("--") {
        let (text, length) = flag_word(rest.text);
        let range = rest.at..rest.at + length;
        rest = rest.from(length).trim();
        if text == "--" {
            break;
        }
        flags.push(Token { text, range });
    }
    (flags, rest)
}

/// The first word without its quotes, and how long it is with them.
fn flag_word(text: &str) -> (String, usize) {
    let mut word = String::new();
    let mut quote = None;
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match (c, quote) {
            (c, None) if c.is_whitespace() => return (word, at),
            ('\'' | '"', None) => quote = Some(c),
            (c, Some(open)) if c == open => quote = None,
            ('\\', _) => word.extend(chars.next().map(|(_, escaped)| escaped)),
            (c, _) => word.push(c),
        }
    }
    (word, text.len())
}

/// Words between blanks, with no regard to quotes.
pub(crate) fn by_blanks(rest: Slice<'_>) -> Vec<Token> {
    let mut words = Vec::new();
    let mut at = 0;
    for piece in rest.text.split(is_blank) {
        if !piece.is_empty() {
            let start = rest.at + at;
            words.push(Token { text: piece.to_owned(), range: start..start + piece.len() });
        }
        at += piece.len() + 1;
    }
    words
}

/// Words between blanks that are neither quoted nor escaped; quotes and escapes stay.
pub(crate) fn by_quotes(rest: Slice<'_>, escape: char) -> Vec<Token> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut start = None;
    let mut quote = None;
    let mut chars = rest.text.char_indices();
    while let Some((at, c)) = chars.next() {
        if quote.is_none() && c.is_whitespace() {
            if let Some(start) = start.take()
                && !word.is_empty()
            {
                words.push(Token {
                    text: std::mem::take(&mut word),
                    range: rest.at + start..rest.at + at,
                });
            }
            continue;
        }
        start.get_or_insert(at);
        match quote {
            None if c == '\'' || c == '"' => quote = Some(c),
            Some(open) if c == open => quote = None,
            _ => {}
        }
        if c == escape && quote != Some('\'') {
            // An escape character at the very end is dropped.
            let Some((_, escaped)) = chars.next() else { break };
            word.push(c);
            word.push(escaped);
        } else {
            word.push(c);
        }
    }
    if let Some(start) = start
        && !word.is_empty()
    {
        words.push(Token { text: word, range: rest.at + start..rest.range().end });
    }
    words
}

/// How a text reads as a JSON array of strings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Json {
    /// An array of strings.
    Strings(Vec<String>),
    /// A JSON array with something else in it.
    OtherValues,
    /// No JSON array. `fault` is set where it was most likely meant as one: the offset, in the
    /// text, at which JSON ends to be JSON.
    No { fault: Option<usize> },
}

/// Reads the exec form.
pub(crate) fn json_array(text: &str) -> Json {
    if !text.starts_with('[') {
        return Json::No { fault: None };
    }
    match serde_json::from_str::<Vec<serde_json::Value>>(text) {
        Ok(values) => {
            let strings: Option<_> =
                values.into_iter().map(|value| value.as_str().map(str::to_owned)).collect();
            strings.map_or(Json::OtherValues, Json::Strings)
        }
        Err(error) => {
            let fault = looks_like_exec(text).then(|| {
                let mut at = error.column().saturating_sub(1).min(text.len());
                while !text.is_char_boundary(at) {
                    at -= 1;
                }
                at
            });
            Json::No { fault }
        }
    }
}

/// Whether text that starts with `[` can hardly be the shell's `[` command: a quote right behind
/// the bracket, or a quoted word with a comma behind it.
fn looks_like_exec(text: &str) -> bool {
    let inside = &text[1..];
    if inside.starts_with(['"', '\'']) {
        return true;
    }
    let inside = inside.trim_start();
    let Some(quote) = inside.chars().next().filter(|c| matches!(c, '"' | '\'')) else {
        return false;
    };
    inside[1..].split_once(quote).is_some_and(|(_, after)| after.trim_start().starts_with(','))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(tokens: &[Token]) -> Vec<&str> {
        tokens.iter().map(|token| token.text.as_str()).collect()
    }

    #[test]
    fn flags_end_at_the_first_word_or_a_lone_dash_pair() {
        let (flags, rest) = split_flags(Slice::new(r#"--a=1 --b="x y"\ z --c -- --d e"#));
        assert_eq!(texts(&flags), ["--a=1", "--b=x y z", "--c"]);
        assert_eq!(rest.text, "--d e");
        assert_eq!(flags[1].range, 6..18);
    }

    #[test]
    fn quotes_and_escapes_keep_words_together() {
        let words = by_quotes(Slice::new(r#"a="b c" d='e \' f=g\ h "" \"#), '\\');
        assert_eq!(texts(&words), [r#"a="b c""#, r"d='e \'", r"f=g\ h", r#""""#]);
    }

    #[test]
    fn json_that_is_almost_exec_form() {
        assert_eq!(json_array(r#"["a", "b"]"#), Json::Strings(vec!["a".into(), "b".into()]));
        assert_eq!(json_array("[1]"), Json::OtherValues);
        assert_eq!(json_array("['a', 'b']"), Json::No { fault: Some(1) });
        assert_eq!(json_array(r#"["a", "b",]"#), Json::No { fault: Some(10) });
        assert_eq!(json_array(r#"[ "$x" = y ]"#), Json::No { fault: None });
        assert_eq!(json_array("[ -f a ] && b"), Json::No { fault: None });
    }
}
