//! Tags + policy → which tags may go, and why the others stay. Pure; knows nothing of manifests.

use std::time::{Duration, SystemTime};

use anyarch_oci::{Digest, Tag};

use super::{TagState, TagVersion, companion_of};

/// What is kept. Where both limits are given, a tag goes only when it is beyond both.
#[derive(Clone, Debug)]
pub struct Policy {
    /// So many of the newest versions stay.
    pub keep: Option<usize>,
    /// Tags up to this age stay.
    pub older_than: Option<Duration>,
    /// The time by which ages are told.
    pub now: SystemTime,
}

/// What becomes of a tag, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may go.
    Go {
        /// Its place among the versions, from the newest on, counted from 1.
        rank: Option<usize>,
        /// Its age.
        age: Option<Duration>,
    },
    /// The policy is not about it.
    NotCovered,
    /// It is one of the newest: this place among the versions, counted from 1.
    AmongNewest(usize),
    /// It is not older than the limit.
    Young(Duration),
    /// Its age is not known, and would count.
    UnknownAge,
    /// It names a series of versions of which one stays.
    Series,
    /// It belongs to this manifest, and goes or stays with it.
    BelongsTo(Digest),
}

impl Verdict {
    /// Whether the tag may go.
    pub fn goes(&self) -> bool {
        matches!(self, Verdict::Go { .. })
    }
}

/// The verdict on each tag, in the order of `tags`. `covers` says which tags the policy is about.
///
/// All tags of one version count as one, and rank by the order of versions; covered tags without a
/// version rank among themselves, the youngest first. A policy without limits lets nothing go.
pub fn choose(tags: &[TagState], covers: impl Fn(&Tag) -> bool, policy: &Policy) -> Vec<Verdict> {
    let covered: Vec<Option<TagVersion>> = tags
        .iter()
        .map(|state| TagVersion::of(&state.tag).filter(|_| covers(&state.tag)))
        .collect();
    let ranks = ranks(&covered);
    let mut verdicts: Vec<Verdict> = Vec::with_capacity(tags.len());
    for (state, version) in tags.iter().zip(&covered) {
        verdicts.push(if let Some(subject) = companion_of(&state.tag) {
            Verdict::BelongsTo(subject)
        } else if !covers(&state.tag) {
            Verdict::NotCovered
        } else {
            let rank = match version {
                Some(version) => Some(rank_of(version, &ranks)),
                None => rank_by_time(state, tags, &covers),
            };
            judge(state, rank, version.is_some(), policy)
        });
    }
    keep_series(&covered, &mut verdicts);
    verdicts
}

/// The versions that count, the newest first. A name of a series counts only where none of its
/// versions is there.
fn ranks(covered: &[Option<TagVersion>]) -> Vec<&TagVersion> {
    let versions = || covered.iter().flatten();
    let mut ranks: Vec<&TagVersion> =
        versions().filter(|version| !versions().any(|other| version.is_series_of(other))).collect();
    ranks.sort_by(|one, other| other.cmp(one));
    ranks.dedup();
    ranks
}

/// Counted from 1. That of a series is the place of the newest of its versions.
fn rank_of(version: &TagVersion, ranks: &[&TagVersion]) -> usize {
    let is = |other: &&TagVersion| *other == version || version.is_series_of(other);
    ranks.iter().position(is).map_or(0, |at| at + 1)
}

/// The place of a tag without a version; `None` where its age is not known.
fn rank_by_time(
    state: &TagState,
    tags: &[TagState],
    covers: impl Fn(&Tag) -> bool,
) -> Option<usize> {
    let time = state.time?;
    let younger = tags.iter().filter(|other| {
        covers(&other.tag)
            && TagVersion::of(&other.tag).is_none()
            && companion_of(&other.tag).is_none()
            && other.time.is_some_and(|other| other > time)
    });
    Some(younger.count() + 1)
}

fn judge(state: &TagState, rank: Option<usize>, by_version: bool, policy: &Policy) -> Verdict {
    // A time that is still to come is that of another clock.
    let age = state.time.map(|time| policy.now.duration_since(time).unwrap_or_default());
    match (policy.keep, rank) {
        (Some(keep), Some(rank)) if rank <= keep => return Verdict::AmongNewest(rank),
        (Some(_), None) if !by_version => return Verdict::UnknownAge,
        _ => {}
    }
    match (policy.older_than, age) {
        (Some(_), None) => Verdict::UnknownAge,
        (Some(limit), Some(age)) if age <= limit => Verdict::Young(age),
        (None, _) if policy.keep.is_none() => Verdict::NotCovered,
        _ => Verdict::Go { rank: rank.filter(|_| policy.keep.is_some()), age },
    }
}

/// A name of a series (`v1`) goes with the last version of it.
fn keep_series(covered: &[Option<TagVersion>], verdicts: &mut [Verdict]) {
    for (at, version) in covered.iter().enumerate() {
        let Some(version) = version else { continue };
        let stays = covered.iter().zip(&*verdicts).any(|(other, verdict)| {
            !verdict.goes() && other.as_ref().is_some_and(|other| version.is_series_of(other))
        });
        if let Some(verdict) = verdicts.get_mut(at).filter(|verdict| stays && verdict.goes()) {
            *verdict = Verdict::Series;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 24 * 3600;
    const NOW: u64 = 1000 * DAY;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    /// Tags as `NAME` or `NAME@DAYS`, the latter with an age.
    fn tags(text: &str) -> Vec<TagState> {
        let one = |word: &str| {
            let (name, days) = word.split_once('@').unwrap_or((word, ""));
            let age = days.parse::<u64>().ok();
            TagState {
                tag: name.parse().unwrap(),
                digest: Digest::sha256(name.as_bytes()),
                time: age.map(|days| at(NOW - days * DAY)),
            }
        };
        text.split_whitespace().map(one).collect()
    }

    /// The tags that go, as words.
    fn going(text: &str, keep: Option<usize>, days: Option<u64>) -> String {
        going_of(text, |tag| TagVersion::of(tag).is_some(), keep, days)
    }

    fn going_of(
        text: &str,
        covers: impl Fn(&Tag) -> bool,
        keep: Option<usize>,
        days: Option<u64>,
    ) -> String {
        let tags = tags(text);
        let older_than = days.map(|days| Duration::from_secs(days * DAY));
        let verdicts = choose(&tags, covers, &Policy { keep, older_than, now: at(NOW) });
        let going = tags.iter().zip(verdicts).filter(|(_, verdict)| verdict.goes());
        going.map(|(state, _)| state.tag.to_string()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_newest_versions_stay() {
        let tags = "latest v1.9.0 v1.9.0-cpu-amd64 v1.10.0 v1.10.0-cpu-amd64 v1.10.0-rc.1 v1.8.0 \
                    cpu-base-amd64-v1.8.0 cuda-latest";
        assert_eq!(
            going(tags, Some(1), None),
            "v1.9.0 v1.9.0-cpu-amd64 v1.10.0-rc.1 v1.8.0 cpu-base-amd64-v1.8.0"
        );
        assert_eq!(
            going(tags, Some(2), None),
            "v1.9.0 v1.9.0-cpu-amd64 v1.8.0 cpu-base-amd64-v1.8.0"
        );
        assert_eq!(going(tags, Some(3), None), "v1.8.0 cpu-base-amd64-v1.8.0");
        assert_eq!(going(tags, Some(9), None), "");
        assert_eq!(going("v1 v2", Some(0), None), "v1 v2");
    }

    #[test]
    fn young_tags_and_those_of_unknown_age_stay() {
        let tags = "v1@90 v2@30 v3@31 v4 latest@400";
        assert_eq!(going(tags, None, Some(30)), "v1 v3");
        let verdicts = choose(
            &self::tags(tags),
            |tag| TagVersion::of(tag).is_some(),
            &Policy { keep: None, older_than: Some(Duration::from_secs(30 * DAY)), now: at(NOW) },
        );
        assert_eq!(verdicts[1], Verdict::Young(Duration::from_secs(30 * DAY)));
        assert_eq!((&verdicts[3], &verdicts[4]), (&Verdict::UnknownAge, &Verdict::NotCovered));
    }

    #[test]
    fn a_tag_must_be_beyond_both_limits() {
        assert_eq!(going("v1@90 v2@80 v3@70", Some(2), Some(30)), "v1");
        assert_eq!(going("v1@20 v2@10 v3@1", Some(2), Some(30)), "");
        assert_eq!(going("v1@90 v2@80", None, None), "");
    }

    #[test]
    fn a_series_goes_with_its_last_version() {
        assert_eq!(going("v1 v1.2 v1.2.0 v1.3.0 v2.0.0", Some(2), None), "v1.2 v1.2.0");
        assert_eq!(going("v1 v1.2.0 v2.0.0", Some(1), None), "v1 v1.2.0");
        assert_eq!(going("v1 v2 v3", Some(1), None), "v1 v2");
    }

    #[test]
    fn tags_without_a_version_go_by_age_where_they_are_asked_for() {
        let nightly = |tag: &Tag| tag.as_str().starts_with("nightly");
        let tags = "nightly-1@3 nightly-2@2 nightly-3@1 nightly-x latest@9 v1@99";
        assert_eq!(going_of(tags, nightly, Some(1), None), "nightly-1 nightly-2");
        assert_eq!(going_of(tags, nightly, Some(1), Some(2)), "nightly-1");
    }

    #[test]
    fn what_belongs_to_a_manifest_is_not_judged_by_itself() {
        let digest = Digest::sha256(b"x");
        let text = format!("sha256-{0}@9 sha256-{0}.sig@9 sha256-12@9", digest.hex());
        assert_eq!(going_of(&text, |_| true, None, Some(1)), "sha256-12");
    }
}
