//! Tag → the version that it carries, and the order of versions.
//!
//! A version is a part of a tag, between hyphens, of `v` and a number: that of `v1.2.0`,
//! `v1.2.0-cpu-amd64` and `cpu-base-amd64-v1.2.0` is 1.2.0. Knows nothing of what tags point to.

use std::cmp::Ordering;
use std::fmt;

use anyarch_oci::Tag;

/// Words that begin a pre-release.
const PRE: [&str; 12] = [
    "alpha",
    "beta",
    "canary",
    "dev",
    "milestone",
    "nightly",
    "pre",
    "preview",
    "rc",
    "snapshot",
    "a",
    "b",
];
/// Architectures whose variants look like versions: `arm64-v8`.
const WITH_VARIANTS: [&str; 4] = ["amd64", "arm", "arm64", "x86-64"];

/// A version, as far as its order and its sameness go.
#[derive(Clone, Debug)]
pub struct TagVersion {
    /// `v1.2.0-rc.1`, as it stands in the tag.
    text: String,
    numbers: Vec<u64>,
    stage: Stage,
}

/// Before, at, or after the release of the numbers, in this order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Before(Vec<Word>),
    Release,
    After(Vec<Word>),
}

/// Numbers go before words, as in semantic versioning.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Word {
    Number(u64),
    Text(String),
}

impl TagVersion {
    /// The version in a tag; `None` where it carries none. Tags with the part `latest` move, and
    /// carry none.
    pub fn of(tag: &Tag) -> Option<TagVersion> {
        let parts: Vec<&str> = tag.as_str().split('-').collect();
        if parts.contains(&"latest") {
            return None;
        }
        (0..parts.len()).find_map(|at| {
            let before = at.checked_sub(1).and_then(|before| parts.get(before));
            let version = TagVersion::at_start(parts.get(at..)?)?;
            let variant = version.numbers.len() == 1
                && before.is_some_and(|before| WITH_VARIANTS.contains(before));
            (!variant).then_some(version)
        })
    }

    /// The version that these parts begin with.
    fn at_start(parts: &[&str]) -> Option<TagVersion> {
        let (first, following) = parts.split_first()?;
        let (numbers, rest) = numbers(first.strip_prefix('v')?)?;
        let mut stage = stage(rest)?;
        let mut used = 1;
        match (&stage, following) {
            // `git describe`: so many commits after the release.
            (Stage::Release, [count, commit, ..]) if is_number(count) && is_commit(commit) => {
                stage = Stage::After(vec![Word::Number(count.parse().ok()?)]);
                used = 3;
            }
            (Stage::Release, [next, ..]) => {
                if let Some(words) = pre_release(next, 2) {
                    stage = Stage::Before(words);
                    used = 2;
                }
            }
            _ => {}
        }
        if let Stage::Before(words) = &mut stage {
            // `rc-1`
            let more = following.get(used - 1..).unwrap_or_default();
            for number in more.iter().take_while(|part| is_number(part)) {
                words.push(Word::Number(number.parse().ok()?));
                used += 1;
            }
        }
        Some(TagVersion { text: parts.get(..used)?.join("-"), numbers, stage })
    }

    /// Whether this is a name of a series, such as `v1` or `v1.2`, that `other` belongs to.
    pub fn is_series_of(&self, other: &TagVersion) -> bool {
        self.stage == Stage::Release
            && self.numbers.len() < other.numbers.len()
            && other.numbers.starts_with(&self.numbers)
    }
}

/// The numbers between dots that a text begins with, and what follows them.
fn numbers(text: &str) -> Option<(Vec<u64>, &str)> {
    let mut numbers = Vec::new();
    let mut rest = text;
    loop {
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        numbers.push(rest.get(..end)?.parse().ok()?);
        rest = rest.get(end..)?;
        match rest.strip_prefix('.') {
            Some(next) if next.starts_with(|c: char| c.is_ascii_digit()) => rest = next,
            _ => return Some((numbers, rest)),
        }
    }
}

/// What directly follows the numbers: nothing, `rc1`, `.dev1`, `.post1`, or `_build` (which tags have
/// for `+build`, and which does not count for the order); `None` for anything else.
fn stage(rest: &str) -> Option<Stage> {
    if rest.is_empty() {
        return Some(Stage::Release);
    }
    if let Some(build) = rest.strip_prefix('_') {
        return Some(Stage::After(words(build)?));
    }
    let rest = rest.strip_prefix('.').unwrap_or(rest);
    if let Some(after) = rest.strip_prefix("post") {
        return Some(Stage::After(words(after)?));
    }
    pre_release(rest, 1).map(Stage::Before)
}

/// The words of a pre-release such as `rc.1`, whose name has `least` letters.
fn pre_release(text: &str, least: usize) -> Option<Vec<Word>> {
    let words = words(text)?;
    match words.split_first()? {
        (Word::Text(name), rest) if name.len() >= least && PRE.contains(&name.as_str()) => {
            rest.iter().all(|word| matches!(word, Word::Number(_))).then_some(words)
        }
        _ => None,
    }
}

/// Letters and digits taken apart: `rc10` and `rc.10` are the word `rc` and the number 10.
fn words(text: &str) -> Option<Vec<Word>> {
    let mut words = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let same = |c: char| c.is_ascii_digit() == first.is_ascii_digit();
        let end = rest.find(|c: char| !same(c) || is_separator(c)).unwrap_or(rest.len());
        if is_separator(first) {
            rest = rest.get(1..)?;
            continue;
        }
        let word = rest.get(..end)?;
        words.push(match first.is_ascii_digit() {
            true => Word::Number(word.parse().ok()?),
            false => Word::Text(word.to_owned()),
        });
        rest = rest.get(end..)?;
    }
    Some(words)
}

fn is_separator(c: char) -> bool {
    matches!(c, '.' | '_')
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// `g1a2b3c4`, as `git describe` ends.
fn is_commit(text: &str) -> bool {
    text.strip_prefix('g').is_some_and(|hash| {
        hash.len() >= 7 && hash.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    })
}

impl fmt::Display for TagVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Ord for TagVersion {
    fn cmp(&self, other: &TagVersion) -> Ordering {
        (&self.numbers, &self.stage).cmp(&(&other.numbers, &other.stage))
    }
}

impl PartialOrd for TagVersion {
    fn partial_cmp(&self, other: &TagVersion) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for TagVersion {
    fn eq(&self, other: &TagVersion) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for TagVersion {}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(tag: &str) -> Option<String> {
        TagVersion::of(&tag.parse().unwrap()).map(|version| version.to_string())
    }

    #[test]
    fn tags_carry_versions() {
        for (tag, wanted) in [
            ("v1.2.0", "v1.2.0"),
            ("v1.2.0-cpu-amd64", "v1.2.0"),
            ("cpu-base-amd64-v1.2.0", "v1.2.0"),
            ("cuda-base-v1.2.0-rc.1", "v1.2.0-rc.1"),
            ("v1.2.0-rc1-cpu", "v1.2.0-rc1"),
            ("v1.2.0-rc-1-cpu", "v1.2.0-rc-1"),
            ("v1.2.0rc1-cpu", "v1.2.0rc1"),
            ("v1.2.0.dev3", "v1.2.0.dev3"),
            ("v1.2.0_b5-cpu", "v1.2.0_b5"),
            ("v1.2.0-4-g1a2b3c4-cpu", "v1.2.0-4-g1a2b3c4"),
            ("v1.2.0-3.12-slim", "v1.2.0"),
            ("v20240131", "v20240131"),
            ("cpu-arm64-v8-v1.0", "v1.0"),
            ("v1", "v1"),
        ] {
            assert_eq!(version(tag).as_deref(), Some(wanted), "{tag}");
        }
    }

    #[test]
    fn other_tags_carry_none() {
        for tag in [
            "latest",
            "cuda-latest",
            "latest-yolo-v8",
            "cpu-dev",
            "latest-arm64-v8",
            "linux-arm64-v8",
            "vendor",
            "1.2.0",
            "v1.x",
            "armv7",
            "v99999999999999999999999",
            "sha256-v",
        ] {
            assert_eq!(version(tag), None, "{tag}");
        }
    }

    #[test]
    fn versions_are_ordered() {
        let ascending = [
            "v0.9",
            "v1.0.0-alpha",
            "v1.0.0-beta.2",
            "v1.0.0-rc1",
            "v1.0.0-rc2",
            "v1.0.0-rc.10",
            "v1.0.0",
            "v1.0.0-1-g1a2b3c4",
            "v1.0.0-11-g0a2b3c4",
            "v1.9.0",
            "v1.10.0-dev",
            "v1.10.0",
            "v2",
        ];
        let of = |tag: &str| TagVersion::of(&tag.parse().unwrap()).unwrap();
        for pair in ascending.windows(2) {
            assert!(of(pair[0]) < of(pair[1]), "{} < {}", pair[0], pair[1]);
        }
        assert_eq!(of("v1.0.0-rc.1"), of("v1.0.0-rc1-cpu-amd64"));
    }

    #[test]
    fn a_short_version_names_a_series() {
        let of = |tag: &str| TagVersion::of(&tag.parse().unwrap()).unwrap();
        assert!(of("v1").is_series_of(&of("v1.2.0-rc.1")));
        assert!(of("v1.2-cpu").is_series_of(&of("v1.2.0")));
        assert!(!of("v1.2").is_series_of(&of("v1.20.0")));
        assert!(!of("v1.2.0").is_series_of(&of("v1.2.0-rc.1")));
        assert!(!of("v1-rc1").is_series_of(&of("v1.0")));
    }
}
