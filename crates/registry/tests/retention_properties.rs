//! Whatever a repository holds: nothing that a kept tag reaches is ever deleted.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use anyarch_oci::{Digest, Tag};
use anyarch_registry::retention::{
    Graph, Node, Policy, Removal, TagState, TagVersion, Verdict, choose, plan_removal,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

const MANIFESTS: usize = 9;

type Tags = Vec<(Tag, Digest, bool)>;

fn digest(number: usize) -> Digest {
    Digest::sha256(&[number as u8])
}

/// Manifests that list and are about later ones, as content addresses have it.
fn graphs() -> impl Strategy<Value = Graph> {
    let node = (vec(0..MANIFESTS, 0..4), option::weighted(0.3, 0..MANIFESTS));
    vec(option::weighted(0.9, node), MANIFESTS).prop_map(|nodes| {
        let later = |from: usize, to: usize| (to > from).then(|| digest(to));
        let nodes = nodes.into_iter().enumerate().filter_map(|(at, node)| {
            let (children, subject) = node?;
            let children = children.into_iter().filter_map(|child| later(at, child)).collect();
            let subject = subject.and_then(|subject| later(at, subject));
            Some((digest(at), Node { children, subject }))
        });
        Graph(nodes.collect())
    })
}

/// Tags on any manifest, some to go, some of the form that stands in for referrers.
fn tags() -> impl Strategy<Value = Tags> {
    let one = (0..MANIFESTS, any::<bool>(), option::weighted(0.2, 0..MANIFESTS));
    vec(one, 0..8).prop_map(|tags| {
        let tags = tags.into_iter().enumerate().map(|(at, (on, goes, about))| match about {
            None => (format!("v{at}").parse().unwrap(), digest(on), goes),
            Some(about) => {
                let hex = digest(about).hex().to_owned();
                (format!("sha256-{hex}.{at}").parse().unwrap(), digest(on), goes)
            }
        });
        tags.collect()
    })
}

fn about(tag: &Tag) -> Option<Digest> {
    let (algorithm, hex) = tag.as_str().split_once('-')?;
    format!("{algorithm}:{}", hex.split('.').next()?).parse().ok()
}

/// What refers to what, as pairs of what stays and what then stays too.
fn stays_with(tags: &[(Tag, Digest, bool)], graph: &Graph) -> Vec<(Digest, Digest)> {
    let mut pairs = Vec::new();
    for (digest, node) in &graph.0 {
        pairs.extend(node.children.iter().map(|child| (digest.clone(), child.clone())));
        if let Some(subject) = &node.subject {
            pairs.push((digest.clone(), subject.clone()));
            pairs.push((subject.clone(), digest.clone()));
        }
    }
    for (tag, digest, _) in tags {
        if let Some(subject) = about(tag) {
            pairs.push((digest.clone(), subject.clone()));
            pairs.push((subject.clone(), digest.clone()));
        }
    }
    pairs
}

fn spread(mut reached: BTreeSet<Digest>, pairs: &[(Digest, Digest)]) -> BTreeSet<Digest> {
    loop {
        let before = reached.len();
        for (from, to) in pairs {
            if reached.contains(from) {
                reached.insert(to.clone());
            }
        }
        if reached.len() == before {
            return reached;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_that_is_kept_is_deleted(graph in graphs(), tags in tags()) {
        let Removal { delete, untag, spared } = plan_removal(&tags, &graph);
        let pairs = stays_with(&tags, &graph);
        let own = |(tag, ..): &&(Tag, Digest, bool)| about(tag).is_none();
        let kept = tags.iter().filter(own).filter(|(.., goes)| !goes);
        let live = spread(kept.map(|(_, digest, _)| digest.clone()).collect(), &pairs);
        for digest in &delete {
            prop_assert!(!live.contains(digest), "reached from a kept tag");
        }
        // An index that stays, tagged or not, keeps all that it lists.
        let known: BTreeSet<Digest> =
            graph.0.keys().cloned().chain(tags.iter().map(|(_, digest, _)| digest.clone())).collect();
        let gone: BTreeSet<Digest> = delete.iter().cloned().collect();
        let stayed = known.difference(&gone).cloned().collect();
        for digest in spread(stayed, &pairs) {
            prop_assert!(!gone.contains(&digest), "reached from a manifest that stays");
        }
        // Deleting by digest takes every tag on it: they must all be ones to go, or belong to it.
        for (tag, digest, goes) in tags.iter().filter(own) {
            prop_assert!(!gone.contains(digest) || *goes, "a kept tag would vanish");
            prop_assert_eq!(untag.contains(tag), *goes && !gone.contains(digest));
        }
        // Only what tags to go lead to is thought of, each manifest once.
        prop_assert!(delete.iter().all(|digest| known.contains(digest)));
        prop_assert_eq!(gone.len(), delete.len());
        prop_assert!(spared.iter().all(|digest| !gone.contains(digest)));
        if tags.iter().filter(own).all(|(.., goes)| !goes) {
            prop_assert!(delete.is_empty() && untag.is_empty());
        }
    }

    #[test]
    fn an_index_goes_before_its_children_and_a_referrer_before_its_subject(
        graph in graphs(), tags in tags(),
    ) {
        let tags: Tags = tags.into_iter().filter(|(tag, ..)| about(tag).is_none()).collect();
        let removal = plan_removal(&tags, &graph);
        let place = |digest: &Digest| removal.delete.iter().position(|other| other == digest);
        for (digest, node) in &graph.0 {
            for other in node.children.iter().chain(&node.subject) {
                if let (Some(first), Some(second)) = (place(digest), place(other)) {
                    prop_assert!(first < second);
                }
            }
        }
    }

    #[test]
    fn the_newest_versions_and_young_tags_stay(
        seen in vec((0_u64..4, 0_u64..12, option::of(0_u64..100), any::<bool>()), 0..12),
        keep in option::of(0_usize..4),
        days in option::of(0_u64..60),
    ) {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        let day = Duration::from_secs(24 * 3600);
        let tags: Vec<TagState> = seen.iter().enumerate().map(|(at, (major, minor, age, pre))| {
            let pre = if *pre { "-rc1" } else { "" };
            TagState {
                tag: format!("v{major}.{minor}{pre}-x{at}").parse().unwrap(),
                digest: digest(at),
                time: age.map(|age| now - day * age as u32),
            }
        }).collect();
        let older_than = days.map(|days| day * days as u32);
        let verdicts = choose(&tags, |_| true, &Policy { keep, older_than, now });
        let version = |state: &TagState| TagVersion::of(&state.tag).unwrap();
        let going = || tags.iter().zip(&verdicts).filter(|(_, verdict)| verdict.goes());
        for (state, _) in going() {
            if let Some(keep) = keep {
                let newer: BTreeSet<TagVersion> =
                    tags.iter().map(version).filter(|other| *other > version(state)).collect();
                prop_assert!(newer.len() >= keep);
            }
            if let Some(limit) = older_than {
                prop_assert!(state.time.is_some_and(|time| now.duration_since(time).unwrap() > limit));
            }
        }
        prop_assert!((keep, days) != (None, None) || going().count() == 0);
        let young = |verdict: &Verdict| matches!(verdict, Verdict::Young(_) | Verdict::UnknownAge);
        prop_assert!(days.is_some() || !verdicts.iter().any(young));
    }
}
