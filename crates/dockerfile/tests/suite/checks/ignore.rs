//! The ignore matcher: it agrees with a model that tries everything, and what it lets a walker skip
//! holds nothing.

use anyarch_dockerfile::{IgnoreFile, path_match};

/// All that holds for any ignore file and the paths `directory` and `directory/below`.
pub(crate) fn any_file(text: &str, directory: &str, below: &str) {
    let Ok(file) = IgnoreFile::parse(text) else { return };
    let path = format!("{directory}/{below}");
    for path in [directory, below, &path] {
        assert_eq!(file.excludes(path, true), file.excludes(path, false));
        drop(path_match(text, path));
    }
    // The promise that walkers rely on.
    let is_plain = |path: &str| path.split('/').all(|part| !matches!(part, "" | "." | ".."));
    if is_plain(&path) && file.excludes(directory, true) && !file.may_reinclude_below(directory) {
        assert!(file.excludes(&path, false), "{path:?} comes back: {text:?}");
    }
}

/// One line of an ignore file whose pattern is made of whole `**` and of simple parts.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    pub(crate) include: bool,
    /// Parts between slashes: `**`, or made of `*`, `?`, `[a-c]`, `[^b]`, `\\c` and letters.
    pub(crate) parts: Vec<String>,
}

impl Rule {
    /// The line, with decoration that means nothing.
    pub(crate) fn line(&self, decoration: usize) -> String {
        let mark = if self.include { "!" } else { "" };
        let pattern = self.parts.join("/");
        match decoration {
            0 => format!("{mark}{pattern}"),
            1 => format!(" {mark}/{pattern}/ "),
            2 => format!("{mark}./{pattern}\r"),
            _ => format!("{mark}x/..//{pattern}"),
        }
    }

    fn decides(&self, path: &str) -> bool {
        let pattern: Vec<char> = self.parts.join("/").chars().collect();
        let above = path.match_indices('/').map(|(at, _)| &path[..at]);
        above.chain([path]).any(|path| matches(&pattern, &path.chars().collect::<Vec<_>>()))
    }
}

/// The last rule that matches a path or a directory above it decides.
fn model(rules: &[Rule], path: &str) -> bool {
    rules.iter().rfind(|rule| rule.decides(path)).is_some_and(|rule| !rule.include)
}

/// Whether a pattern matches all of a path: by trying.
fn matches(pattern: &[char], path: &[char]) -> bool {
    let one = |fits: &dyn Fn(char) -> bool, rest: &[char]| {
        path.split_first().is_some_and(|(first, below)| fits(*first) && matches(rest, below))
    };
    match pattern {
        [] => path.is_empty(),
        ['*', '*'] => true,
        ['*', '*', '/', rest @ ..] => {
            let behind = path.iter().enumerate().filter(|(_, c)| **c == '/').map(|(at, _)| at + 1);
            [0].into_iter().chain(behind).any(|at| matches(rest, &path[at..]))
        }
        ['*', rest @ ..] => {
            let longest = path.iter().position(|c| *c == '/').unwrap_or(path.len());
            (0..=longest).any(|at| matches(rest, &path[at..]))
        }
        ['?', rest @ ..] => one(&|c| c != '/', rest),
        // A class that is turned round matches a slash, as in Go.
        ['[', '^', listed, ']', rest @ ..] => one(&|c| c != *listed, rest),
        ['[', low, '-', high, ']', rest @ ..] => one(&|c| (*low..=*high).contains(&c), rest),
        ['\\', literal, rest @ ..] | [literal, rest @ ..] => one(&|c| c == *literal, rest),
    }
}

/// A file of these rules, each decorated, says of a path what the model says.
pub(crate) fn agrees_with_the_model(rules: &[(Rule, usize)], path: &str) {
    let text: String = rules.iter().map(|(rule, style)| rule.line(*style) + "\n").collect();
    let file = IgnoreFile::parse(&text).unwrap();
    let rules: Vec<Rule> = rules.iter().map(|(rule, _)| rule.clone()).collect();
    assert_eq!(file.excludes(path, false), model(&rules, path), "{path:?} by {text:?}");
}
