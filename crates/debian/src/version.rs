//! Debian version numbers (policy 5.6.12; deb-version(7)): text to a value with dpkg's total order.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A version `[epoch:]upstream[-revision]`, ordered as dpkg orders versions.
///
/// Two texts that dpkg finds equal (`1.0`, `0:1.0`, `1.0-0`) are equal here as well; the text is kept as written.
#[derive(Clone)]
pub struct Version {
    text: Box<str>,
    epoch: u32,
    upstream: (u32, u32),
    revision: u32,
}

/// Why a text is not a version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a Debian version: {reason}")]
pub struct VersionError {
    /// The text as given.
    pub text: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl Version {
    /// The text as written in the archive.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The upstream part: between epoch and revision.
    fn upstream(&self) -> &str {
        self.text.get(self.upstream.0 as usize..self.upstream.1 as usize).unwrap_or("")
    }

    /// The Debian revision, empty when there is none.
    fn revision(&self) -> &str {
        self.text.get(self.revision as usize..).unwrap_or("")
    }
}

impl FromStr for Version {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Version, VersionError> {
        let fail = |reason| VersionError { text: text.to_owned(), reason };
        if text.len() > 1024 {
            return Err(fail("it is longer than 1024 characters"));
        }
        let (epoch, start) = match text.find(':') {
            None => (0, 0),
            Some(colon) => {
                let epoch = text[..colon].parse().map_err(|_| fail("the epoch is not a number"))?;
                (epoch, colon + 1)
            }
        };
        let (end, revision) = match text[start..].rfind('-') {
            None => (text.len(), text.len()),
            Some(dash) => (start + dash, start + dash + 1),
        };
        if start == end {
            return Err(fail("the upstream part is empty"));
        }
        if end != revision && revision == text.len() {
            return Err(fail("the revision is empty"));
        }
        let upstream = |b: u8| b.is_ascii_alphanumeric() || b".+-~:".contains(&b);
        if !text[start..end].bytes().all(upstream) {
            return Err(fail("the upstream part has a character that is not allowed"));
        }
        if !text[revision..].bytes().all(|b| b.is_ascii_alphanumeric() || b".+~".contains(&b)) {
            return Err(fail("the revision has a character that is not allowed"));
        }
        let at = |n: usize| n as u32; // at most 1024, checked above
        Ok(Version {
            text: text.into(),
            epoch,
            upstream: (at(start), at(end)),
            revision: at(revision),
        })
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Version) -> Ordering {
        self.epoch
            .cmp(&other.epoch)
            .then_with(|| compare_part(self.upstream(), other.upstream()))
            .then_with(|| compare_part(self.revision(), other.revision()))
    }
}

/// Compares one part: runs of non-digits by the modified alphabet, then runs of digits by value, in turn.
fn compare_part(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    while !a.is_empty() || !b.is_empty() {
        loop {
            let x = a.first().filter(|c| !c.is_ascii_digit());
            let y = b.first().filter(|c| !c.is_ascii_digit());
            if x.is_none() && y.is_none() {
                break;
            }
            match weight(x).cmp(&weight(y)) {
                Ordering::Equal => {}
                unequal => return unequal,
            }
            a = a.get(1..).unwrap_or(&[]);
            b = b.get(1..).unwrap_or(&[]);
        }
        let (x, rest_a) = digits(a);
        let (y, rest_b) = digits(b);
        match x.len().cmp(&y.len()).then_with(|| x.cmp(y)) {
            Ordering::Equal => {}
            unequal => return unequal,
        }
        (a, b) = (rest_a, rest_b);
    }
    Ordering::Equal
}

/// `~` sorts before the end, the end before letters, letters before everything else.
fn weight(byte: Option<&u8>) -> i32 {
    match byte {
        None => 0,
        Some(b'~') => -1,
        Some(c) if c.is_ascii_alphabetic() => i32::from(*c),
        Some(c) => i32::from(*c) + 256,
    }
}

/// The leading digits without leading zeros, and what follows them.
fn digits(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|c| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, rest) = text.split_at(end);
    let zeros = number.iter().position(|c| *c != b'0').unwrap_or(number.len());
    (number.get(zeros..).unwrap_or(&[]), rest)
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Version) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Version) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Version {}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Version {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Version, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn v(text: &str) -> Version {
        text.parse().unwrap()
    }

    #[test]
    fn policy_examples_are_in_order() {
        // Policy 5.6.12.1: ~~, ~~a, ~, the empty part, a.
        let rising = [
            "1~~",
            "1~~a",
            "1~",
            "1",
            "1a",
            "1a1",
            "1+",
            "1.0~rc1",
            "1.0~rc1-1",
            "1.0",
            "1.0-1",
            "1.0-1+b1",
            "1.0-1.1",
            "1.0-2",
            "1.0.1",
            "1.2",
            "1.10",
            "1:0.1",
            "2:0~",
            "10:0",
        ];
        for pair in rising.windows(2) {
            assert!(v(pair[0]) < v(pair[1]), "{} < {}", pair[0], pair[1]);
            assert!(v(pair[1]) > v(pair[0]), "{} > {}", pair[1], pair[0]);
        }
    }

    #[test]
    fn equal_in_value_though_written_differently() {
        for (a, b) in [("1.0", "0:1.0"), ("1.0", "1.0-0"), ("1.01", "1.1"), ("1.a0", "1.a")] {
            assert_eq!(v(a), v(b), "{a} = {b}");
        }
    }

    #[test]
    fn malformed_versions_are_refused() {
        for text in ["", "a:1", ":1", "1:", "-1", "1-", "1 2", "1_2", "1-1_2", "é", "99999999999:1"]
        {
            assert!(text.parse::<Version>().is_err(), "{text}");
        }
    }

    fn version() -> impl Strategy<Value = Version> {
        "([0-3]:)?[0-9a-b.+~]{1,5}(-[0-9a-b.+~]{1,3})?".prop_map(|text| v(&text))
    }

    proptest! {
        #[test]
        fn order_is_total(a in version(), b in version(), c in version()) {
            prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
            prop_assert_eq!(a.cmp(&a), Ordering::Equal);
            if a <= b && b <= c {
                prop_assert!(a <= c);
            }
            if a == b {
                prop_assert_eq!(a.cmp(&c), b.cmp(&c));
            }
        }

        #[test]
        fn any_text_parses_or_is_refused_without_panic(text in "\\PC{0,20}") {
            if let Ok(version) = text.parse::<Version>() {
                prop_assert_eq!(version.as_str(), text);
            }
        }
    }
}
