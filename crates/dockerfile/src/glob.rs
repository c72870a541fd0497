//! File name patterns: Go's `filepath.Match`, which COPY and ADD use for sources, and the same
//! with `**`, which `.dockerignore` and `--exclude` use.
//!
//! A pattern becomes a small automaton that is run over the name once, so matching takes time
//! proportional to pattern times name, whatever the pattern.

/// A file name pattern that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("malformed pattern `{pattern}`: {problem}")]
pub struct PatternError {
    /// The pattern as written.
    pub pattern: String,
    /// What is wrong with it.
    pub problem: &'static str,
}

impl PatternError {
    pub(crate) fn new(pattern: &str, problem: &'static str) -> Self {
        Self { pattern: pattern.to_owned(), problem }
    }

    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        Some("escape a literal `[`, `*`, `?` or backslash with a backslash".to_owned())
    }
}

/// Whether `name` matches `pattern` as Go's `filepath.Match` on Unix says: `*` and `?` do not
/// match a slash, `[a-z]` and `[^a-z]` are classes, backslash escapes. The whole name must match.
///
/// # Errors
/// A class that is not closed or empty, or a backslash at the end.
pub fn path_match(pattern: &str, name: &str) -> Result<bool, PatternError> {
    Ok(Glob::parse(pattern, Stars::Single)?.matches(name))
}

/// What two stars in a row mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stars {
    /// The same as one.
    Single,
    /// Any number of directories, as in moby's pattern matcher.
    Deep,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Op {
    Char(char),
    /// One character, not a slash.
    One,
    /// One character in (or, negated, not in) the ranges; a slash is as good as any other.
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
    /// Any text without a slash.
    Many,
    /// Any text.
    Deep,
    /// Nothing, or any text that ends with a slash; always followed by `Inside`.
    Directories,
    /// Inside the text of `Directories`.
    Inside,
}

/// A parsed pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Glob {
    ops: Vec<Op>,
}

impl Glob {
    pub(crate) fn parse(pattern: &str, stars: Stars) -> Result<Self, PatternError> {
        let fail = |problem| PatternError::new(pattern, problem);
        let mut ops = Vec::new();
        let mut rest = pattern;
        while let Some(c) = rest.chars().next() {
            rest = &rest[c.len_utf8()..];
            match c {
                '*' if stars == Stars::Deep && rest.starts_with('*') => {
                    let first = ops.is_empty();
                    let slash = rest.starts_with("*/");
                    rest = &rest[if slash { 2 } else { 1 }..];
                    let literal = || !rest.contains(['*', '?', '[', ']', '\\']);
                    if rest.is_empty() || (first && !slash && literal()) {
                        ops.push(Op::Deep);
                    } else {
                        ops.extend([Op::Directories, Op::Inside]);
                    }
                }
                '*' => ops.push(Op::Many),
                '?' => ops.push(Op::One),
                '[' => {
                    let (class, after) = parse_class(rest)
                        .ok_or_else(|| fail("a `[` without its `]`, or an empty class"))?;
                    ops.push(class);
                    rest = after;
                }
                '\\' => {
                    let escaped =
                        rest.chars().next().ok_or_else(|| fail("a backslash at the end"))?;
                    ops.push(Op::Char(escaped));
                    rest = &rest[escaped.len_utf8()..];
                }
                c => ops.push(Op::Char(c)),
            }
        }
        Ok(Self { ops })
    }

    /// Whether the whole of `name` matches.
    pub(crate) fn matches(&self, name: &str) -> bool {
        self.run(name.chars())[self.ops.len()]
    }

    /// Whether any path strictly below `directory` could match.
    pub(crate) fn may_match_below(&self, directory: &str) -> bool {
        let states = self.run(directory.chars().chain(['/']));
        states[..self.ops.len()].contains(&true)
    }

    /// The states the automaton is in after `text`: state `n` is before operation `n`.
    fn run(&self, text: impl Iterator<Item = char>) -> Vec<bool> {
        let mut states = vec![false; self.ops.len() + 1];
        self.enter(&mut states, 0);
        for c in text {
            let mut next = vec![false; states.len()];
            for (at, op) in self.ops.iter().enumerate().filter(|(at, _)| states[*at]) {
                match op {
                    Op::Char(expected) if *expected == c => self.enter(&mut next, at + 1),
                    Op::One if c != '/' => self.enter(&mut next, at + 1),
                    Op::Class { negated, ranges } if in_ranges(ranges, c) != *negated => {
                        self.enter(&mut next, at + 1)
                    }
                    Op::Many if c != '/' => self.enter(&mut next, at),
                    Op::Deep => self.enter(&mut next, at),
                    Op::Inside => {
                        next[at] = true;
                        if c == '/' {
                            self.enter(&mut next, at + 1);
                        }
                    }
                    _ => {}
                }
            }
            states = next;
        }
        states
    }

    /// Marks state `at` and those reached from it without reading a character.
    fn enter(&self, states: &mut [bool], mut at: usize) {
        loop {
            if std::mem::replace(&mut states[at], true) {
                return;
            }
            at = match self.ops.get(at) {
                Some(Op::Many | Op::Deep) => at + 1,
                Some(Op::Directories) => {
                    states[at + 1] = true;
                    at + 2
                }
                _ => return,
            };
        }
    }
}

fn in_ranges(ranges: &[(char, char)], c: char) -> bool {
    ranges.iter().any(|(low, high)| (*low..=*high).contains(&c))
}

/// Reads a class after its `[`; gives the rest after the `]`.
fn parse_class(text: &str) -> Option<(Op, &str)> {
    let (negated, mut rest) = match text.strip_prefix('^') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let mut ranges = Vec::new();
    loop {
        if !ranges.is_empty()
            && let Some(after) = rest.strip_prefix(']')
        {
            return Some((Op::Class { negated, ranges }, after));
        }
        let (low, after) = class_char(rest)?;
        rest = after;
        let mut high = low;
        if let Some(after) = rest.strip_prefix('-') {
            (high, rest) = class_char(after)?;
        }
        ranges.push((low, high));
    }
}

fn class_char(text: &str) -> Option<(char, &str)> {
    let mut chars = text.chars();
    match chars.next()? {
        '-' | ']' => None,
        '\\' => chars.next().map(|c| (c, chars.as_str())),
        c => Some((c, chars.as_str())),
    }
}

#[cfg(test)]
mod tests {
    use super::path_match;

    /// Which of the names match, with blanks between names; or `malformed`.
    fn matching(pattern: &str, names: &str) -> String {
        let matches = |name: &&str| path_match(pattern, name);
        let found: Result<Vec<_>, _> =
            names.split(' ').map(|name| matches(&name).map(|yes| (yes, name))).collect();
        match found {
            Ok(found) => found
                .into_iter()
                .filter(|(yes, _)| *yes)
                .map(|(_, name)| name)
                .collect::<Vec<_>>()
                .join(" "),
            Err(_) => "malformed".to_owned(),
        }
    }

    #[test]
    fn stars_and_question_marks_stop_at_slashes() {
        assert_eq!(matching("*.txt", "a.txt .txt d/a.txt txt"), "a.txt .txt");
        assert_eq!(matching("d/*/z", "d/a/z d/z d/a/b/z d//z"), "d/a/z d//z");
        assert_eq!(matching("r?d", "red r\u{e9}d r/d rd reed"), "red r\u{e9}d");
        assert_eq!(matching("*a*b*", "ab xaxbx ba a/b"), "ab xaxbx");
        assert_eq!(matching("**", "a a/b"), "a");
        assert_eq!(matching("", "a"), "");
    }

    #[test]
    fn classes_and_escapes() {
        assert_eq!(matching("v[0-9]", "v0 v9 va v10"), "v0 v9");
        assert_eq!(matching("v[^0-9x]", "v0 vx va v\u{3b1}"), "va v\u{3b1}");
        assert_eq!(matching("[\u{3b1}-\u{3c9}x]", "\u{3b2} x y"), "\u{3b2} x");
        assert_eq!(matching(r"[\]\-]", "] - x"), "] -");
        assert_eq!(matching(r"a\[b\]\*", "a[b]* ab"), "a[b]*");
        // Go lets a class match a slash, and so do we.
        assert_eq!(matching("a[^b]c", "a/c abc"), "a/c");
        assert_eq!(matching("[z-a]", "z a m"), "");
    }

    #[test]
    fn malformed_patterns_are_refused_whatever_the_name() {
        for pattern in
            ["[", "[]", "[]x]", "[^", "[a", "[a-", "[a-]", "[-a]", "[a-b-c]", "x\\", "x["]
        {
            assert_eq!(matching(pattern, "name"), "malformed", "{pattern}");
        }
    }

    #[test]
    fn many_stars_take_no_exponential_time() {
        assert_eq!(matching(&"a*".repeat(60), &"a".repeat(60)), "a".repeat(60));
        assert_eq!(matching(&format!("{}b", "a*".repeat(60)), &"a".repeat(400)), "");
    }
}
