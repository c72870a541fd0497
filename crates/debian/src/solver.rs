//! The universe as resolvo sees it: names, solvables, version sets.
//!
//! A version set is the list of packages of one name that satisfy a relation, so every relation, also to a
//! virtual name, becomes a union of such lists, and `Conflicts` a list of what stays allowed.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::fmt::Display;
use std::rc::Rc;

use resolvo::{
    Candidates, Condition, ConditionId, ConditionalRequirement, Dependencies, DependencyProvider,
    HintDependenciesAvailable, Interner, KnownDependencies, NameId, Problem, Requirement,
    SolvableId, Solver, SolverCache, StringId, UnsolvableOrCancelled, VersionSetId,
    VersionSetUnionId,
};

use crate::error::DebianError;
use crate::relation::{Relation, display_alternatives};
use crate::universe::Universe;

/// Packages of one name, as a set.
struct VersionSet {
    name: u32,
    /// Positions in the universe, sorted.
    members: Vec<u32>,
    /// The relation in words, without the name.
    text: String,
}

struct Provider<'a> {
    universe: &'a Universe,
    anchored: &'a BTreeSet<String>,
    names: RefCell<Vec<Rc<str>>>,
    name_ids: RefCell<HashMap<Rc<str>, u32>>,
    sets: RefCell<Vec<Rc<VersionSet>>>,
    unions: RefCell<Vec<Vec<VersionSetId>>>,
    strings: RefCell<Vec<Rc<str>>>,
}

/// The packages to install so that every list of alternatives in `wanted` is satisfied.
///
/// `soft` packages are added, in order, as far as they fit. Returns positions in the universe.
pub(crate) fn solve(
    universe: &Universe,
    anchored: &BTreeSet<String>,
    wanted: &[Vec<Relation>],
    soft: &[usize],
) -> Result<BTreeSet<usize>, DebianError> {
    let provider = Provider {
        universe,
        anchored,
        names: RefCell::default(),
        name_ids: RefCell::default(),
        sets: RefCell::default(),
        unions: RefCell::default(),
        strings: RefCell::default(),
    };
    let requirements = wanted.iter().map(|list| provider.requirement(list)).collect();
    let soft: Vec<SolvableId> = soft.iter().map(|n| SolvableId::from_raw(*n as u32)).collect();
    let mut solver = Solver::new(provider);
    let problem = Problem::new().requirements(requirements).soft_requirements(soft);
    match solver.solve(problem) {
        Ok(chosen) => Ok(chosen.into_iter().map(|s| s.into_raw() as usize).collect()),
        Err(UnsolvableOrCancelled::Unsolvable(conflict)) => Err(DebianError::Unsatisfiable {
            explanation: conflict.display_user_friendly(&solver).to_string().trim_end().to_owned(),
        }),
        Err(UnsolvableOrCancelled::Cancelled(_)) => {
            Err(DebianError::Unsatisfiable { explanation: "the search was cancelled".to_owned() })
        }
    }
}

impl Provider<'_> {
    fn name_id(&self, name: &str) -> u32 {
        if let Some(id) = self.name_ids.borrow().get(name) {
            return *id;
        }
        let name: Rc<str> = name.into();
        let mut names = self.names.borrow_mut();
        names.push(name.clone());
        let id = names.len() as u32 - 1;
        self.name_ids.borrow_mut().insert(name, id);
        id
    }

    fn name(&self, id: NameId) -> Rc<str> {
        self.names.borrow().get(id.into_raw() as usize).cloned().unwrap_or_else(|| "".into())
    }

    fn set(&self, id: VersionSetId) -> Option<Rc<VersionSet>> {
        self.sets.borrow().get(id.0 as usize).cloned()
    }

    fn add_set(&self, name: &str, members: Vec<u32>, text: String) -> VersionSetId {
        let name = self.name_id(name);
        let mut sets = self.sets.borrow_mut();
        sets.push(Rc::new(VersionSet { name, members, text }));
        VersionSetId(sets.len() as u32 - 1)
    }

    /// Alternatives as a union of sets, one for each run of packages of the same name.
    fn requirement(&self, list: &[Relation]) -> ConditionalRequirement {
        let found = self.universe.alternatives(list, self.anchored);
        let name_of = |n: &usize| self.universe.record(*n).map(|r| r.name.clone());
        let mut sets: Vec<VersionSetId> = found
            .chunk_by(|a, b| name_of(a) == name_of(b))
            .filter_map(|run| {
                let name = name_of(run.first()?)?;
                let text = list
                    .iter()
                    .find(|relation| relation.name == *name)
                    .map_or_else(|| format!("(as {})", display_alternatives(list)), constraint);
                let mut members: Vec<u32> = run.iter().map(|n| *n as u32).collect();
                members.sort_unstable();
                Some(self.add_set(&name, members, text))
            })
            .collect();
        if sets.is_empty() {
            sets.extend(list.iter().map(|r| self.add_set(&r.name, Vec::new(), constraint(r))));
        }
        let requirement = match sets.as_slice() {
            [single] => Requirement::Single(*single),
            _ => {
                let mut unions = self.unions.borrow_mut();
                unions.push(sets);
                Requirement::Union(VersionSetUnionId(unions.len() as u32 - 1))
            }
        };
        ConditionalRequirement { condition: None, requirement }
    }

    /// For every name with packages that a record excludes: the packages of that name that stay allowed.
    fn constraints(&self, number: usize, excludes: &[Vec<Relation>]) -> Vec<VersionSetId> {
        let Some(record) = self.universe.record(number) else { return Vec::new() };
        let mut constraints = Vec::new();
        for relation in excludes.iter().flatten() {
            let mut hit: Vec<usize> = self.universe.satisfying(relation, self.anchored);
            // A package never excludes itself, also not through a name that it provides.
            hit.retain(|n| self.universe.record(*n).is_some_and(|r| r.name != record.name));
            let names: BTreeSet<&str> =
                hit.iter().filter_map(|n| self.universe.record(*n)).map(|r| &*r.name).collect();
            for name in names {
                let allowed =
                    self.universe.versions(name).filter(|n| !hit.contains(n)).map(|n| n as u32);
                let text = format!("(conflicts with {relation})");
                constraints.push(self.add_set(name, allowed.collect(), text));
            }
        }
        constraints
    }
}

/// `(>= 1.2)`, or nothing.
fn constraint(relation: &Relation) -> String {
    let text = relation.to_string();
    text.strip_prefix(relation.name.as_str()).unwrap_or("").trim().to_owned()
}

impl Interner for Provider<'_> {
    type NameId = NameId;
    type SolvableId = SolvableId;

    fn display_solvable(&self, solvable: SolvableId) -> impl Display + '_ {
        self.universe
            .record(solvable.into_raw() as usize)
            .map_or_else(String::new, |record| format!("{} {}", record.name, record.version))
    }

    fn display_merged_solvables(&self, solvables: &[SolvableId]) -> impl Display + '_ {
        let record = |s: &SolvableId| self.universe.record(s.into_raw() as usize);
        let versions: Vec<String> =
            solvables.iter().filter_map(record).map(|r| r.version.to_string()).collect();
        let name = solvables.first().and_then(record).map_or("", |r| &*r.name);
        format!("{name} {}", versions.join(" | "))
    }

    fn display_name(&self, name: NameId) -> impl Display + '_ {
        self.name(name)
    }

    fn display_version_set(&self, set: VersionSetId) -> impl Display + '_ {
        self.set(set).map_or_else(String::new, |set| set.text.clone())
    }

    fn display_string(&self, id: StringId) -> impl Display + '_ {
        self.strings.borrow().get(id.0 as usize).cloned().unwrap_or_else(|| "".into())
    }

    fn version_set_name(&self, set: VersionSetId) -> NameId {
        NameId::from_raw(self.set(set).map_or(0, |set| set.name))
    }

    fn solvable_name(&self, solvable: SolvableId) -> NameId {
        let record = self.universe.record(solvable.into_raw() as usize);
        NameId::from_raw(self.name_id(record.map_or("", |record| &record.name)))
    }

    fn version_sets_in_union(&self, id: VersionSetUnionId) -> impl Iterator<Item = VersionSetId> {
        self.unions.borrow().get(id.0 as usize).cloned().unwrap_or_default().into_iter()
    }

    fn resolve_condition(&self, condition: ConditionId) -> Condition {
        // No requirement here has a condition, so the solver has no id to ask for.
        Condition::Requirement(VersionSetId(condition.as_u32()))
    }
}

impl DependencyProvider for Provider<'_> {
    async fn filter_candidates(
        &self,
        candidates: &[SolvableId],
        version_set: VersionSetId,
        inverse: bool,
    ) -> Vec<SolvableId> {
        let Some(set) = self.set(version_set) else { return Vec::new() };
        let is_in = |s: &SolvableId| set.members.binary_search(&s.into_raw()).is_ok() != inverse;
        candidates.iter().copied().filter(is_in).collect()
    }

    async fn get_candidates(&self, name: NameId) -> Option<Candidates<SolvableId>> {
        let versions = self.universe.versions(&self.name(name));
        if versions.is_empty() {
            return None;
        }
        Some(Candidates {
            candidates: versions.map(|n| SolvableId::from_raw(n as u32)).collect(),
            hint_dependencies_available: HintDependenciesAvailable::None,
            ..Candidates::default()
        })
    }

    async fn sort_candidates(&self, _: &SolverCache<Self>, solvables: &mut [SolvableId]) {
        // Positions in the universe run from the highest version to the lowest.
        solvables.sort_by_key(|s| s.into_raw());
    }

    async fn get_dependencies(&self, solvable: SolvableId) -> Dependencies {
        let number = solvable.into_raw() as usize;
        let Some(record) = self.universe.record(number) else {
            return Dependencies::Known(KnownDependencies::default());
        };
        let relations = self
            .universe
            .depends(record)
            .and_then(|depends| self.universe.excludes(record).map(|excludes| (depends, excludes)));
        match relations {
            Ok((depends, excludes)) => Dependencies::Known(KnownDependencies {
                requirements: depends.iter().map(|list| self.requirement(list)).collect(),
                constrains: self.constraints(number, &excludes),
            }),
            Err(error) => {
                let mut strings = self.strings.borrow_mut();
                strings.push(error.to_string().into());
                Dependencies::Unknown(StringId(strings.len() as u32 - 1))
            }
        }
    }
}
