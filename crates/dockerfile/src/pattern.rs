//! The patterns of `${name#pattern}`, `${name%pattern}` and `${name/pattern/text}`.
//!
//! `*` is any text, `?` one character (neither matches a line break), backslash escapes these
//! two and itself; brackets are ordinary characters. File name patterns are in the `glob` module.

/// An escape that a substitution pattern does not know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid escape `\\{}`", .0.map(String::from).unwrap_or_default())]
pub struct PatternSyntaxError(pub Option<char>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    Char(char),
    One,
    Many,
}

/// A parsed pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pattern(Vec<Token>);

impl Pattern {
    pub(crate) fn parse(text: &str) -> Result<Self, PatternSyntaxError> {
        let mut tokens = Vec::new();
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            tokens.push(match c {
                '*' => Token::Many,
                '?' => Token::One,
                // `}` and `/` must be escaped to stand in `${}`; the escape is not of the pattern.
                '\\' if matches!(chars.peek(), Some('}' | '/')) => continue,
                '\\' => match chars.next() {
                    Some(c @ ('*' | '?' | '\\')) => Token::Char(c),
                    other => return Err(PatternSyntaxError(other)),
                },
                c => Token::Char(c),
            });
        }
        Ok(Self(tokens))
    }

    /// Removes the shortest or longest match at the start of `value`.
    pub(crate) fn trim_start(&self, value: &str, longest: bool) -> String {
        let chars: Vec<char> = value.chars().collect();
        let end = self.match_ends(&chars, longest)[0].unwrap_or(0);
        chars[end..].iter().collect()
    }

    /// Removes the shortest or longest match at the end of `value`.
    pub(crate) fn trim_end(&self, value: &str, longest: bool) -> String {
        // The shortest match that ends here is the shortest that starts there, read backwards.
        let backwards: Vec<char> = value.chars().rev().collect();
        let end = Self(self.0.iter().rev().copied().collect()).match_ends(&backwards, longest)[0]
            .unwrap_or(0);
        backwards[end..].iter().rev().collect()
    }

    /// Replaces the first match, or all that do not overlap, each as long as it can be.
    pub(crate) fn replace(&self, value: &str, replacement: &str, all: bool) -> String {
        let chars: Vec<char> = value.chars().collect();
        let ends = self.match_ends(&chars, true);
        let mut out = String::new();
        let mut at = 0;
        let mut last_end = None;
        let mut replaced = false;
        while at <= chars.len() {
            match ends[at] {
                // An empty match right behind the one before does not count.
                Some(end) if (all || !replaced) && !(end == at && last_end == Some(at)) => {
                    out.push_str(replacement);
                    replaced = true;
                    last_end = Some(end);
                    if end > at {
                        at = end;
                        continue;
                    }
                }
                _ => {}
            }
            out.extend(chars.get(at));
            at += 1;
        }
        out
    }

    /// For each start, where the preferred match ends: `*` takes as much as it can, or as
    /// little. The result has one entry more than there are characters.
    fn match_ends(&self, chars: &[char], longest: bool) -> Vec<Option<usize>> {
        let mut ends: Vec<Option<usize>> = (0..=chars.len()).map(Some).collect();
        for token in self.0.iter().rev() {
            let mut row = vec![None; chars.len() + 1];
            for at in (0..=chars.len()).rev() {
                let next = chars.get(at);
                row[at] = match token {
                    Token::Char(c) => next.filter(|n| *n == c).and_then(|_| ends[at + 1]),
                    Token::One => next.filter(|n| **n != '\n').and_then(|_| ends[at + 1]),
                    Token::Many => {
                        let more = next.filter(|n| **n != '\n').and_then(|_| row[at + 1]);
                        if longest { more.or(ends[at]) } else { ends[at].or(more) }
                    }
                };
            }
            ends = row;
        }
        ends
    }
}

#[cfg(test)]
mod tests {
    use super::Pattern;

    fn pattern(text: &str) -> Pattern {
        Pattern::parse(text).unwrap()
    }

    #[test]
    fn shortest_and_longest_from_both_ends() {
        let path = "a/b/c";
        assert_eq!(pattern("*/").trim_start(path, false), "b/c");
        assert_eq!(pattern("*/").trim_start(path, true), "c");
        assert_eq!(pattern("/*").trim_end(path, false), "a/b");
        assert_eq!(pattern("/*").trim_end(path, true), "a");
        assert_eq!(pattern("x*").trim_start(path, true), path);
    }

    #[test]
    fn replacement_of_one_and_all() {
        assert_eq!(pattern("a?").replace("abacad", "-", false), "-acad");
        assert_eq!(pattern("a?").replace("abacad", "-", true), "---");
        assert_eq!(pattern("*").replace("abc", "x", true), "x");
        assert_eq!(pattern("").replace("ab", "-", true), "-a-b-");
        assert_eq!(pattern(r"\*").replace("a*b*", "-", true), "a-b-");
        assert_eq!(pattern(r"a\/b").replace("a/b", "-", true), "-");
        assert!(Pattern::parse(r"\a").is_err());
    }
}
