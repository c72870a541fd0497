//! Tags to go + what manifests reach → what is deleted, in which order. Pure.
//!
//! Only manifests that are reached from tags to go are ever thought of. Of those stays what is also
//! reached from anything else: from a kept tag, or from a manifest that no tag to go leads to.

use std::collections::{BTreeMap, BTreeSet};

use anyarch_oci::{Digest, Tag};

use super::companion_of;

/// The manifests of a repository, as far as they are known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Graph(pub BTreeMap<Digest, Node>);

/// What a manifest refers to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// The manifests that an index lists.
    pub children: Vec<Digest>,
    /// The manifest that this one says something about.
    pub subject: Option<Digest>,
}

/// What is done to a repository so that tags go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removal {
    /// Manifests that are deleted, with every tag on them; each after those that refer to it.
    pub delete: Vec<Digest>,
    /// Tags that are taken away from manifests that stay.
    pub untag: Vec<Tag>,
    /// Manifests that tags to go led to, and that stay because something else reaches them.
    pub spared: Vec<Digest>,
}

/// Plans how tags go. `tags` are all tags of the repository: what each points to, and whether it is
/// to go. A tag such as `sha256-HEX` is about that manifest, and goes when it is deleted.
pub fn plan_removal(tags: &[(Tag, Digest, bool)], graph: &Graph) -> Removal {
    let edges = Edges::new(tags, graph);
    let companion = |tag: &Tag| companion_of(tag).is_some();
    let going = tags.iter().filter(|(tag, _, goes)| *goes && !companion(tag));
    let candidates = edges.closure(going.map(|(_, digest, _)| digest.clone()), Edges::below);
    let kept = tags.iter().filter(|(tag, _, goes)| !*goes && !companion(tag));
    let roots = kept
        .map(|(_, digest, _)| digest)
        .chain(edges.known.iter().filter(|digest| !candidates.contains(digest)));
    let live = edges.closure(roots.cloned(), Edges::around);
    let dead: BTreeSet<Digest> = candidates.difference(&live).cloned().collect();
    let untag = tags
        .iter()
        .filter(|(tag, digest, goes)| *goes && !companion(tag) && live.contains(digest))
        .map(|(tag, ..)| tag.clone());
    Removal {
        untag: untag.collect(),
        delete: edges.in_order(&dead),
        spared: candidates.intersection(&live).cloned().collect(),
    }
}

/// Who refers to whom, both ways.
struct Edges {
    known: BTreeSet<Digest>,
    children: BTreeMap<Digest, Vec<Digest>>,
    subjects: BTreeMap<Digest, Vec<Digest>>,
    referrers: BTreeMap<Digest, Vec<Digest>>,
}

impl Edges {
    fn new(tags: &[(Tag, Digest, bool)], graph: &Graph) -> Edges {
        let mut edges = Edges {
            known: tags.iter().map(|(_, digest, _)| digest.clone()).collect(),
            children: BTreeMap::new(),
            subjects: BTreeMap::new(),
            referrers: BTreeMap::new(),
        };
        for (digest, node) in &graph.0 {
            edges.known.insert(digest.clone());
            edges.children.insert(digest.clone(), node.children.clone());
            if let Some(subject) = &node.subject {
                edges.refers(digest, subject);
            }
        }
        for (tag, digest, _) in tags {
            if let Some(subject) = companion_of(tag) {
                edges.refers(digest, &subject);
            }
        }
        edges
    }

    fn refers(&mut self, digest: &Digest, subject: &Digest) {
        self.subjects.entry(digest.clone()).or_default().push(subject.clone());
        self.referrers.entry(subject.clone()).or_default().push(digest.clone());
    }

    /// What would go with a manifest: its children, and what refers to it.
    fn below(&self, digest: &Digest) -> Vec<Digest> {
        let lists = [self.children.get(digest), self.referrers.get(digest)];
        lists.into_iter().flatten().flatten().cloned().collect()
    }

    /// What stays with a manifest: the same, and what it refers to.
    fn around(&self, digest: &Digest) -> Vec<Digest> {
        let mut around = self.below(digest);
        around.extend(self.subjects.get(digest).into_iter().flatten().cloned());
        around
    }

    fn closure(
        &self,
        roots: impl Iterator<Item = Digest>,
        next: impl Fn(&Edges, &Digest) -> Vec<Digest>,
    ) -> BTreeSet<Digest> {
        let mut reached = BTreeSet::new();
        let mut waiting: Vec<Digest> = roots.collect();
        while let Some(digest) = waiting.pop() {
            if !reached.contains(&digest) {
                waiting.extend(next(self, &digest));
                reached.insert(digest);
            }
        }
        reached
    }

    /// The known ones of `dead`, each after all that refer to it.
    fn in_order(&self, dead: &BTreeSet<Digest>) -> Vec<Digest> {
        // Content addresses cannot form circles, but a tag can close one; then any order does.
        let mut seen = BTreeSet::new();
        let mut finished = Vec::new();
        for start in dead {
            let mut path = vec![(start.clone(), false)];
            while let Some((digest, left)) = path.pop() {
                if left {
                    finished.push(digest);
                } else if seen.insert(digest.clone()) {
                    path.push((digest.clone(), true));
                    let children = self.children.get(&digest).into_iter().flatten();
                    let next = children.chain(self.subjects.get(&digest).into_iter().flatten());
                    path.extend(next.filter(|d| dead.contains(d)).map(|d| (d.clone(), false)));
                }
            }
        }
        finished.reverse();
        finished.retain(|digest| self.known.contains(digest));
        finished
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(name: &str) -> Digest {
        Digest::sha256(name.as_bytes())
    }

    /// A graph as lines `index: child child` and `referrer -> subject`; every name is a manifest.
    fn graph(text: &str) -> Graph {
        let mut graph = Graph::default();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let names = line.split([':', ' ', '-', '>']).filter(|name| !name.is_empty());
            let names: Vec<Digest> = names.map(digest).collect();
            for name in &names {
                graph.0.entry(name.clone()).or_default();
            }
            let node = graph.0.get_mut(&names[0]).unwrap();
            if line.contains("->") {
                node.subject = names.get(1).cloned();
            } else {
                node.children = names[1..].to_vec();
            }
        }
        graph
    }

    /// Tags as `tag=manifest`, those to go with a `-` before them.
    fn removal(tags: &str, text: &str) -> (String, String) {
        let tags: Vec<(Tag, Digest, bool)> = tags
            .split_whitespace()
            .map(|word| {
                let (goes, word) =
                    word.strip_prefix('-').map_or((false, word), |word| (true, word));
                let (tag, name) = word.split_once('=').unwrap();
                (tag.parse().unwrap(), digest(name), goes)
            })
            .collect();
        let removal = plan_removal(&tags, &graph(text));
        let names: Vec<&str> =
            text.split([':', ' ', '-', '>', '\n']).filter(|name| !name.is_empty()).collect();
        let name = |wanted: &Digest| {
            names.iter().find(|name| digest(name) == *wanted).copied().unwrap_or("?").to_owned()
        };
        let deleted: Vec<String> = removal.delete.iter().map(name).collect();
        let untagged: Vec<String> = removal.untag.iter().map(Tag::to_string).collect();
        (deleted.join(" "), untagged.join(" "))
    }

    fn pair(deleted: &str, untagged: &str) -> (String, String) {
        (deleted.to_owned(), untagged.to_owned())
    }

    #[test]
    fn an_index_goes_with_its_children_and_before_them() {
        let (deleted, untagged) = removal("-v1=one v2=two", "one: a b\ntwo: c d");
        assert!(deleted == "one a b" || deleted == "one b a", "{deleted}");
        assert_eq!(untagged, "");
    }

    #[test]
    fn what_another_index_lists_stays() {
        assert_eq!(removal("-v1=one v2=two", "one: a b\ntwo: b c"), pair("one a", ""));
        // Here by the tag of a child itself, which is only taken away.
        assert_eq!(removal("-v1=a latest=top", "top: a b"), pair("", "v1"));
        assert_eq!(removal("-v1=a v1-also=a", "a:"), pair("", "v1"));
        assert_eq!(removal("-v1=a -v1-also=a", "a:"), pair("a", ""));
    }

    #[test]
    fn an_index_without_a_tag_is_kept_with_all_it_lists() {
        assert_eq!(removal("-v1=a", "loose: a b"), pair("", "v1"));
    }

    #[test]
    fn a_subject_of_something_kept_stays() {
        assert_eq!(removal("-v1=a keep=sig", "sig -> a"), pair("", "v1"));
        // The referrer of something kept stays, whatever else would take it along.
        assert_eq!(removal("-v1=one v2=b", "one: sig\nsig -> b"), pair("one", ""));
    }

    #[test]
    fn referrers_go_before_their_subject() {
        assert_eq!(removal("-v1=a v2=b", "sig -> a\nother -> b"), pair("sig a", ""));
    }

    #[test]
    fn tags_that_stand_in_for_referrers_go_with_their_subject() {
        let companion = format!("sha256-{}=list", digest("a").hex());
        let text = "list: sig\nsig -> a\nb:";
        let (deleted, untagged) = removal(&format!("-v1=a v2=b {companion}"), text);
        assert_eq!((deleted.as_str(), untagged.as_str()), ("list sig a", ""));
        assert_eq!(removal(&format!("-v1=a latest=a {companion}"), text), pair("", "v1"));
        // Being asked for by itself changes nothing.
        assert_eq!(removal(&format!("latest=a -{companion}"), text), pair("", ""));
    }

    #[test]
    fn circles_end() {
        let (deleted, _) = removal("-v1=a", "a: b\nb: a");
        assert_eq!(deleted.len(), 3);
    }
}
