//! Finds the heredocs of an instruction's line and reads their bodies.

use crate::ast::Heredoc;
use crate::expand_error::ExpandError;
use crate::lexer::Lexer;
use crate::source::{Line, Lines};

/// Reads one word as the opening of a heredoc (`<<EOF`, `3<<-"EOF"`), with an empty body.
/// `None` where the word is none, or not a readable one.
pub(crate) fn parse_word(word: &str) -> Option<Heredoc> {
    try_parse_word(word).ok().flatten()
}

fn try_parse_word(word: &str) -> Result<Option<Heredoc>, ExpandError> {
    let after_fd = word.trim_start_matches(|c: char| c.is_ascii_digit());
    let fd = word[..word.len() - after_fd.len()].parse().ok();
    let Some(rest) = after_fd.strip_prefix("<<") else { return Ok(None) };
    let (strip_tabs, delimiter) = match rest.strip_prefix('-') {
        Some(delimiter) => (true, delimiter),
        None => (false, rest),
    };
    if delimiter.is_empty() || delimiter.contains('<') {
        return Ok(None);
    }
    let unset = &mut |_: &str| None;
    let plain = Lexer::for_heredoc_delimiter(false).expand_words(delimiter, unset)?;
    let quoted = Lexer::for_heredoc_delimiter(true).expand_words(delimiter, unset)?;
    let ([name], [quoted]) = (&plain[..], &quoted[..]) else { return Ok(None) };
    // A quote anywhere in the delimiter switches expansion off.
    let expand = quotes(name) == quotes(quoted);
    Ok(Some(Heredoc { name: name.clone(), expand, strip_tabs, fd, content: String::new() }))
}

fn quotes(text: &str) -> usize {
    text.matches(['\'', '"']).count()
}

/// The heredocs that a line opens, in order, without their bodies.
///
/// # Errors
/// A delimiter that cannot be read.
pub(crate) fn openings(line: &str) -> Result<Vec<Heredoc>, ExpandError> {
    if !line.contains("<<") {
        return Ok(Vec::new());
    }
    // A line that the lexer cannot split is the shell's to judge.
    let words = Lexer::for_heredoc_line().expand_words(line, &mut |_| None).unwrap_or_default();
    words.iter().filter_map(|word| try_parse_word(word).transpose()).collect()
}

/// Reads the bodies of `heredocs` from the lines that follow. Gives the last line taken, or the
/// heredoc whose delimiter did not come.
pub(crate) fn read_bodies<'a>(
    heredocs: &mut [Heredoc],
    lines: &mut Lines<'a>,
) -> Result<Option<Line<'a>>, String> {
    let mut last = None;
    for heredoc in heredocs {
        loop {
            let Some(line) = lines.next() else { return Err(heredoc.name.clone()) };
            last = Some(line);
            let candidate =
                if heredoc.strip_tabs { line.text.trim_start_matches('\t') } else { line.text };
            if candidate == heredoc.name {
                break;
            }
            heredoc.content.push_str(line.raw);
        }
    }
    Ok(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn describe(line: &str) -> Vec<String> {
        let describe = |h: Heredoc| {
            format!("{}:{}{}{:?}", h.name, u8::from(h.expand), u8::from(h.strip_tabs), h.fd)
        };
        openings(line).unwrap().into_iter().map(describe).collect()
    }

    #[test]
    fn openings_of_a_line() {
        assert_eq!(describe("RUN <<EOF"), ["EOF:10None"]);
        assert_eq!(
            describe("RUN 3<<-'E F' cat <<\"X\" <<Y\"Z\""),
            ["E F:01Some(3)", "X:00None", "YZ:00None"]
        );
        assert!(describe("RUN cat <<<word").is_empty());
        assert!(describe("RUN cat<<EOF").is_empty());
        assert!(describe("RUN echo '<<EOF'").is_empty());
        assert!(describe("RUN echo \"<<EOF\"").is_empty());
        assert!(describe("RUN echo $((1 << 2)) <<").is_empty());
    }
}
