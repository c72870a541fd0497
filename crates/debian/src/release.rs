//! The Release file of a suite (wiki "DebianRepository/Format"): verified text to the digests of its indexes.
//!
//! Reads only what a signature has covered already; checks dates and names against what was asked.

use std::collections::BTreeMap;
use std::time::SystemTime;

use anyarch_oci::Digest;

use crate::control::Paragraph;
use crate::date;

/// How far ahead of our clock a Release file may be dated, seconds.
const CLOCK_TOLERANCE: i64 = 24 * 3600;

/// What a Release file says of one index file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IndexFile {
    /// SHA-256 of the file.
    pub(crate) digest: Digest,
    /// Its size in bytes.
    pub(crate) size: u64,
}

/// The fields of a Release file that we act on.
#[derive(Debug, Clone)]
pub(crate) struct Release {
    /// `Suite`, such as `stable`.
    pub(crate) suite: String,
    /// `Codename`, such as `bookworm`.
    pub(crate) codename: String,
    /// `Date`, seconds since 1970.
    pub(crate) date: i64,
    /// `Valid-Until`, seconds since 1970.
    pub(crate) valid_until: Option<i64>,
    /// `Acquire-By-Hash: yes`.
    pub(crate) by_hash: bool,
    /// Whether packages of architecture `all` have an index of their own that must be read as well.
    pub(crate) separate_all: bool,
    /// Index files by path below the suite's folder.
    pub(crate) files: BTreeMap<String, IndexFile>,
}

/// Why a Release file is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReleaseError {
    /// It does not have the form of a Release file.
    #[error("the Release file is malformed: {0}")]
    Malformed(String),
    /// `Valid-Until` has passed.
    #[error("the index expired on {valid_until} (it is {now} now)")]
    Expired {
        /// The date in the file.
        valid_until: String,
        /// The time it was checked against.
        now: String,
    },
    /// `Date` is in the future.
    #[error("the index is dated {date}, later than now ({now})")]
    FromTheFuture {
        /// The date in the file.
        date: String,
        /// The time it was checked against.
        now: String,
    },
    /// It describes another suite: a stale or hostile mirror.
    #[error("asked for suite `{asked}` but the index describes `{codename}` ({suite})")]
    OtherSuite {
        /// What was asked for.
        asked: String,
        /// `Codename` of the file.
        codename: String,
        /// `Suite` of the file.
        suite: String,
    },
}

impl ReleaseError {
    /// What a person can do.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            ReleaseError::Malformed(_) => return None,
            ReleaseError::Expired { .. } => {
                "the mirror is out of date, or this machine's clock is wrong; try another mirror"
            }
            ReleaseError::FromTheFuture { .. } => "check this machine's clock",
            ReleaseError::OtherSuite { .. } => {
                "name the suite by its codename (such as `bookworm`), or check the mirror"
            }
        }
        .to_owned())
    }
}

impl Release {
    /// Parses the text of a Release file.
    pub(crate) fn parse(text: &str) -> Result<Release, ReleaseError> {
        let malformed = |reason: String| ReleaseError::Malformed(reason);
        let fields = Paragraph::parse(text)
            .map_err(|e| malformed(e.to_string()))?
            .ok_or_else(|| malformed("it is empty".to_owned()))?;
        let date_of = |name: &str| match fields.get(name) {
            None => Ok(None),
            Some(text) => date::parse(text)
                .map(Some)
                .ok_or_else(|| malformed(format!("`{name}: {text}` is not a date"))),
        };
        let mut files = BTreeMap::new();
        for line in fields.get("SHA256").unwrap_or("").lines().filter(|l| !l.trim().is_empty()) {
            let (path, file) = parse_file(line)
                .ok_or_else(|| malformed(format!("`{}` is not a SHA256 entry", line.trim())))?;
            files.insert(path, file);
        }
        if files.is_empty() {
            return Err(malformed("it lists no SHA256 digests".to_owned()));
        }
        let words = |name: &str| fields.get(name).unwrap_or("").split_whitespace();
        Ok(Release {
            suite: fields.get("Suite").unwrap_or("").to_owned(),
            codename: fields.get("Codename").unwrap_or("").to_owned(),
            date: date_of("Date")?.ok_or_else(|| malformed("it has no Date".to_owned()))?,
            valid_until: date_of("Valid-Until")?,
            by_hash: fields.get("Acquire-By-Hash") == Some("yes"),
            separate_all: words("Architectures").any(|a| a == "all")
                && !words("No-Support-for-Architecture-all").any(|w| w == "Packages"),
            files,
        })
    }

    /// Checks the names against the suite asked for and the dates against `now`.
    pub(crate) fn check(&self, asked: &str, now: SystemTime) -> Result<(), ReleaseError> {
        if asked != self.codename && asked != self.suite {
            return Err(ReleaseError::OtherSuite {
                asked: asked.to_owned(),
                codename: self.codename.clone(),
                suite: self.suite.clone(),
            });
        }
        let now = date::seconds(now);
        if let Some(until) = self.valid_until.filter(|until| *until < now) {
            let (valid_until, now) = (date::display(until), date::display(now));
            return Err(ReleaseError::Expired { valid_until, now });
        }
        if self.date > now.saturating_add(CLOCK_TOLERANCE) {
            let (date, now) = (date::display(self.date), date::display(now));
            return Err(ReleaseError::FromTheFuture { date, now });
        }
        Ok(())
    }
}

/// ` <sha256> <size> <path>`; paths stay below the suite's folder.
fn parse_file(line: &str) -> Option<(String, IndexFile)> {
    let mut words = line.split_whitespace();
    let digest = format!("sha256:{}", words.next()?.to_ascii_lowercase()).parse().ok()?;
    let size = words.next()?.parse().ok()?;
    let path = words.next()?;
    let inside =
        !path.starts_with('/') && path.split('/').all(|part| !matches!(part, "" | "." | ".."));
    (inside && words.next().is_none()).then(|| (path.to_owned(), IndexFile { digest, size }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn text(extra: &str) -> String {
        format!(
            "Suite: stable\nCodename: bookworm\nDate: Thu, 01 Jan 1970 01:00:00 UTC\n{extra}SHA256:\n {HEX} 0 main/binary-amd64/Packages.xz\n"
        )
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn fields_are_read() {
        let release =
            Release::parse(&text("Acquire-By-Hash: yes\nArchitectures: all amd64\n")).unwrap();
        assert!(release.by_hash && release.separate_all);
        assert_eq!(release.files["main/binary-amd64/Packages.xz"].digest.hex(), HEX);
        assert_eq!(release.check("bookworm", at(3600)), Ok(()));
        assert_eq!(release.check("stable", at(3600)), Ok(()));
        let without = Release::parse(&text(
            "Architectures: all amd64\nNo-Support-for-Architecture-all: Packages\n",
        ));
        assert!(!without.unwrap().separate_all);
    }

    #[test]
    fn other_suite_expired_and_future_are_refused() {
        let release =
            Release::parse(&text("Valid-Until: Thu, 01 Jan 1970 02:00:00 UTC\n")).unwrap();
        assert!(matches!(release.check("trixie", at(3600)), Err(ReleaseError::OtherSuite { .. })));
        let expired = release.check("bookworm", at(7201)).unwrap_err();
        assert_eq!(
            expired.to_string(),
            "the index expired on 1970-01-01T02:00:00Z (it is 1970-01-01T02:00:01Z now)"
        );
        assert!(expired.hint().unwrap().contains("clock"));
        let mut ahead = release.clone();
        ahead.date = 3 * 24 * 3600;
        ahead.valid_until = None;
        assert!(matches!(ahead.check("bookworm", at(0)), Err(ReleaseError::FromTheFuture { .. })));
    }

    #[test]
    fn malformed_files_are_refused() {
        for bad in [
            "",
            "Suite: x\n",
            "Date: never\nSHA256:\n",
            &text("Valid-Until: soon\n"),
            &text("").replace("main/", "../"),
            &text("").replace(HEX, "12"),
        ] {
            assert!(matches!(Release::parse(bad), Err(ReleaseError::Malformed(_))), "{bad}");
        }
    }
}
