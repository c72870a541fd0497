//! In which order packages are unpacked and configured: dependencies first, the base before the rest.
//!
//! Pure: control paragraphs to positions. Cycles are cut where the walk meets them, always at the same place.

use std::collections::{BTreeMap, BTreeSet};

use crate::control::Paragraph;
use crate::relation;

/// Configured before all others, as debootstrap does: accounts and folders that every script counts on.
pub(crate) const FIRST: [&str; 2] = ["base-passwd", "base-files"];

/// The order of a set of packages.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Order {
    /// Positions, dependencies before those who need them.
    pub(crate) sequence: Vec<usize>,
    /// The base: essential and required packages with all that they depend on.
    pub(crate) base: BTreeSet<usize>,
}

/// Orders packages given by their control paragraphs (or status entries).
pub(crate) fn order(packages: &[&Paragraph], architecture: &str) -> Order {
    let needs = needs(packages, architecture);
    let name = |n: usize| packages.get(n).and_then(|p| p.get("Package")).unwrap_or("");
    let in_base = |n: &usize| {
        packages.get(*n).is_some_and(|p| {
            p.get("Essential") == Some("yes") || p.get("Priority") == Some("required")
        })
    };
    let mut roots: Vec<usize> = (0..packages.len()).collect();
    roots.sort_by_key(|n| {
        let first = FIRST.iter().position(|first| *first == name(*n)).unwrap_or(FIRST.len());
        (first, !in_base(n), name(*n).to_owned())
    });
    let mut walk = Walk { needs: &needs, seen: BTreeSet::new(), sequence: Vec::new() };
    let (base_roots, rest): (Vec<usize>, Vec<usize>) = roots.into_iter().partition(in_base);
    for root in base_roots {
        walk.visit(root);
    }
    let base = walk.seen.clone();
    for root in rest {
        walk.visit(root);
    }
    Order { sequence: walk.sequence, base }
}

struct Walk<'a> {
    needs: &'a [Vec<usize>],
    seen: BTreeSet<usize>,
    sequence: Vec<usize>,
}

impl Walk<'_> {
    /// Depth first without recursion: a package follows what it needs.
    fn visit(&mut self, root: usize) {
        if !self.seen.insert(root) {
            return;
        }
        let mut stack = vec![(root, 0)];
        while let Some((at, next)) = stack.pop() {
            match self.needs.get(at).and_then(|needs| needs.get(next)) {
                None => self.sequence.push(at),
                Some(need) => {
                    stack.push((at, next + 1));
                    if self.seen.insert(*need) {
                        stack.push((*need, 0));
                    }
                }
            }
        }
    }
}

/// For every package the positions of those that satisfy its `Pre-Depends` and `Depends`.
fn needs(packages: &[&Paragraph], architecture: &str) -> Vec<Vec<usize>> {
    let providers = providers(packages, architecture);
    let of = |field: Option<&str>| {
        let relations = relation::parse(field.unwrap_or(""), architecture).unwrap_or_default();
        let lists = relations.into_iter().filter_map(|list| {
            list.iter().find_map(|alternative| providers.get(&alternative.name).cloned())
        });
        lists.flatten().collect::<Vec<usize>>()
    };
    let both = |package: &&Paragraph| {
        let mut all = of(package.get("Pre-Depends"));
        all.extend(of(package.get("Depends")));
        all
    };
    packages.iter().map(both).collect()
}

/// Names, real and provided, to positions; a real package hides the providers of its name.
fn providers(packages: &[&Paragraph], architecture: &str) -> BTreeMap<String, Vec<usize>> {
    let mut names: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (number, package) in packages.iter().enumerate() {
        names.insert(package.get("Package").unwrap_or("").to_owned(), vec![number]);
    }
    let real: BTreeSet<String> = names.keys().cloned().collect();
    for (number, package) in packages.iter().enumerate() {
        let provides = relation::parse(package.get("Provides").unwrap_or(""), architecture);
        for relation in provides.unwrap_or_default().into_iter().flatten() {
            if !real.contains(&relation.name) {
                names.entry(relation.name).or_default().push(number);
            }
        }
    }
    names
}

/// Positions that a package's `Pre-Depends` name, directly.
pub(crate) fn pre_depends(
    packages: &[&Paragraph],
    number: usize,
    architecture: &str,
) -> Vec<usize> {
    let providers = providers(packages, architecture);
    let field = packages.get(number).and_then(|package| package.get("Pre-Depends")).unwrap_or("");
    let relations = relation::parse(field, architecture).unwrap_or_default();
    let find = |list: Vec<relation::Relation>| {
        list.iter().find_map(|alternative| providers.get(&alternative.name).cloned())
    };
    relations.into_iter().filter_map(find).flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(text: &str) -> (String, String) {
        let all: Vec<Paragraph> =
            crate::control::Paragraphs::new(text.as_bytes()).map(Result::unwrap).collect();
        let refs: Vec<&Paragraph> = all.iter().collect();
        let order = order(&refs, "amd64");
        let names = |numbers: &mut dyn Iterator<Item = &usize>| {
            numbers.map(|n| refs[*n].get("Package").unwrap()).collect::<Vec<_>>().join(" ")
        };
        (names(&mut order.sequence.iter()), names(&mut order.base.iter()))
    }

    #[test]
    fn dependencies_come_first_and_the_base_before_the_rest() {
        let text = "Package: app\nDepends: lib, virt\n\nPackage: base-files\nEssential: yes\nPre-Depends: awk\n\n\
            Package: lib\n\nPackage: mawk\nProvides: awk\n\nPackage: real\nProvides: virt\n\n\
            Package: zsh\nPriority: required\n";
        let (sequence, base) = show(text);
        assert_eq!(sequence, "mawk base-files zsh lib real app");
        assert_eq!(base, "base-files mawk zsh");
    }

    #[test]
    fn cycles_end_and_every_package_appears_once() {
        let text =
            "Package: a\nDepends: b\n\nPackage: b\nDepends: c\n\nPackage: c\nDepends: a, missing\n";
        assert_eq!(show(text).0, "c b a");
    }
}
