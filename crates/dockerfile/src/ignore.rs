//! `.dockerignore`: text to patterns, and the questions a walker of the build context asks.
//!
//! The rules are those of moby's pattern matcher: the last pattern that matches a path or one of
//! its parents decides, `!` takes paths back in, `**` stands for any number of directories.
//! Unlike there, brackets hold exactly the characters listed, so `[*]` is a literal star.

use crate::glob::{Glob, PatternError, Stars};

/// A parsed `.dockerignore` file, or any list of such patterns.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IgnoreFile {
    rules: Vec<Rule>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    /// Written with `!`: takes matching paths back in.
    include: bool,
    glob: Glob,
}

/// A line of an ignore file that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot use line {line} of the ignore file")]
pub struct IgnoreError {
    /// The line's number, the first being 1.
    pub line: usize,
    /// What is wrong with its pattern.
    pub source: PatternError,
}

impl IgnoreError {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        self.source.hint()
    }
}

impl IgnoreFile {
    /// Reads the text of a `.dockerignore` file: one pattern a line, `#` in the first column
    /// opens a comment, blanks around a pattern, `.`, `..`, double and trailing slashes in it and
    /// a slash at its start do not count.
    ///
    /// # Errors
    /// The first malformed pattern, and `!` with nothing behind it.
    pub fn parse(text: &str) -> Result<Self, IgnoreError> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut file = Self::default();
        for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.starts_with('#')) {
            file.push(line).map_err(|source| IgnoreError { line: index + 1, source })?;
        }
        Ok(file)
    }

    /// Makes a list of patterns, such as the values of `--exclude`; no pattern is a comment.
    ///
    /// # Errors
    /// The first malformed pattern.
    pub fn from_patterns<'a>(
        patterns: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, PatternError> {
        let mut file = Self::default();
        patterns.into_iter().try_for_each(|pattern| file.push(pattern))?;
        Ok(file)
    }

    fn push(&mut self, line: &str) -> Result<(), PatternError> {
        let line = line.trim();
        if line.is_empty() {
            return Ok(());
        }
        let (include, pattern) = match line.strip_prefix('!') {
            Some(pattern) => (true, pattern.trim()),
            None => (false, line),
        };
        let cleaned = if pattern.is_empty() { String::new() } else { clean(pattern) };
        let pattern = match cleaned.strip_prefix('/') {
            Some(relative) if include || !relative.is_empty() => relative,
            _ => &cleaned,
        };
        if include && pattern.is_empty() {
            return Err(PatternError::new(line, "`!` takes no path back in"));
        }
        self.rules.push(Rule { include, glob: Glob::parse(pattern, Stars::Deep)? });
        Ok(())
    }

    /// Whether there is nothing to exclude.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Whether `path` (relative, with slashes, no `.` or `..` in it) is excluded. The root of
    /// the context, `.` or the empty path, never is.
    ///
    /// As in moby a directory and a file of one name get the same answer, so `_is_dir` only
    /// says at the call what is asked about.
    pub fn excludes(&self, path: &str, _is_dir: bool) -> bool {
        let path = path.trim_end_matches('/');
        if path.is_empty() || path == "." {
            return false;
        }
        self.rules.iter().fold(false, |excluded, rule| {
            // A rule that could not change the answer is not asked.
            if rule.include == excluded && rule.matches_or_parent(path) {
                !rule.include
            } else {
                excluded
            }
        })
    }

    /// Whether every path is excluded, whatever its name.
    pub fn excludes_all(&self) -> bool {
        // No pattern that means one name means this one.
        !self.rules.iter().any(|rule| rule.include) && self.excludes("\u{1}", false)
    }

    /// Whether a path below the directory `dir` may still be taken in although `dir` is
    /// excluded. Where this says no, a walker need not enter the directory.
    pub fn may_reinclude_below(&self, dir: &str) -> bool {
        let dir = dir.trim_end_matches('/');
        if dir.is_empty() || dir == "." {
            return true;
        }
        // What excludes the directory excludes all below it; only a later `!` can undo that.
        let decided =
            self.rules.iter().rposition(|rule| !rule.include && rule.matches_or_parent(dir));
        self.rules[decided.map_or(0, |index| index + 1)..].iter().any(|rule| {
            rule.include && (rule.glob.may_match_below(dir) || rule.matches_or_parent(dir))
        })
    }
}

impl Rule {
    fn matches_or_parent(&self, path: &str) -> bool {
        self.glob.matches(path)
            || path.match_indices('/').any(|(at, _)| self.glob.matches(&path[..at]))
    }
}

/// The shortest path of the same meaning, as Go's `filepath.Clean` finds it.
fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if rooted => {}
            part => parts.push(part),
        }
    }
    let joined = parts.join("/");
    match (rooted, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    }
}

#[cfg(test)]
#[path = "ignore_tests.rs"]
mod tests;
