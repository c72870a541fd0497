//! A request to a resolution: indexes loaded, packages chosen, in a fixed order.

use std::collections::BTreeSet;
use std::time::SystemTime;

use crate::error::DebianError;
use crate::fetch::{Fetch, Packages};
use crate::index::{self, Priority, Record};
use crate::relation::{self, Operator, Qualifier, Relation};
use crate::resolution::{IndexPin, Progress, Request, Resolution, Selected};
use crate::solver;
use crate::universe::Universe;

/// The package manager of the root, so that later steps can install more; `minbase` of debootstrap has it too.
const MANAGER: &str = "apt";

/// Roots made here have merged /usr from the start, so the package that only says so is preferred to the one
/// that converts a system (and needs perl for it).
const BORN_MERGED: &str = "usr-is-merged";

/// Chooses packages for a request from its verified indexes.
///
/// Every `Essential: yes` and `Priority: required` package and apt are always in. Of every package the highest
/// version of all suites that fits is taken. The same indexes and request give the same resolution. Fails with
/// a typed error for each thing that can be wrong with the mirror, its signatures or the request.
pub fn resolve(
    request: &Request,
    fetch: &dyn Fetch,
    packages: &dyn Packages,
    now: SystemTime,
    on: &(dyn Fn(Progress) + Sync),
) -> Result<Resolution, DebianError> {
    let choose = |universe: &Universe| choose(request, universe);
    out_of_indexes(request, fetch, packages, now, on, &choose)
}

/// Finds the highest version of each requested package in the verified indexes: without the base and without
/// what the packages need, so not for a root, but for one file of a package. Names that no package has are left
/// out.
///
/// Fails as [`resolve`] does, and where none of the packages exists.
pub fn find(
    request: &Request,
    fetch: &dyn Fetch,
    packages: &dyn Packages,
    now: SystemTime,
    on: &(dyn Fn(Progress) + Sync),
) -> Result<Resolution, DebianError> {
    out_of_indexes(request, fetch, packages, now, on, &|universe| newest(request, universe))
}

/// Loads the indexes of a request, and chooses.
fn out_of_indexes(
    request: &Request,
    fetch: &dyn Fetch,
    packages: &dyn Packages,
    now: SystemTime,
    on: &(dyn Fn(Progress) + Sync),
    choose: &dyn Fn(&Universe) -> Result<Vec<Selected>, DebianError>,
) -> Result<Resolution, DebianError> {
    let (indexes, universe) = load(request, fetch, packages, now, on)?;
    let packages = choose(&universe)?;
    Ok(Resolution { architecture: request.architecture.clone(), indexes, packages })
}

/// Fetches and verifies the indexes of all sources, several at once.
fn load(
    request: &Request,
    fetch: &dyn Fetch,
    packages: &dyn Packages,
    now: SystemTime,
    on: &(dyn Fn(Progress) + Sync),
) -> Result<(Vec<IndexPin>, Universe), DebianError> {
    let (mut indexes, mut records) = (Vec::new(), Vec::new());
    let loaded = std::thread::scope(|scope| {
        let load = |(position, source)| {
            scope.spawn(move || {
                index::load(source, position, &request.architecture, fetch, packages, now, on)
            })
        };
        let threads: Vec<_> = request.sources.iter().enumerate().map(load).collect();
        threads.into_iter().map(|thread| thread.join()).collect::<Vec<_>>()
    });
    for result in loaded {
        let (pin, more) = result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        indexes.push(pin);
        records.extend(more);
    }
    if records.is_empty()
        && let Some(source) = request.sources.first()
    {
        return Err(DebianError::NoIndex {
            url: format!("{}/dists/{}/InRelease", source.uri, source.suite),
            component: source.components.join(" "),
            architecture: request.architecture.clone(),
        });
    }
    on(Progress::Resolving { available: records.len() });
    Ok((indexes, Universe::new(records, &request.architecture)?))
}

/// The highest version of each requested package that there is.
fn newest(request: &Request, universe: &Universe) -> Result<Vec<Selected>, DebianError> {
    let asked: BTreeSet<String> = request.packages.iter().cloned().collect();
    let newest = asked.iter().filter_map(|name| universe.record(universe.versions(name).next()?));
    let packages: Vec<Selected> = newest.map(|record| select(record, request, &asked)).collect();
    match (packages.is_empty(), request.packages.first()) {
        (true, Some(name)) => Err(unknown(name, request, universe)),
        _ => Ok(packages),
    }
}

/// Chooses packages from a universe.
pub(crate) fn choose(request: &Request, universe: &Universe) -> Result<Vec<Selected>, DebianError> {
    let asked = request
        .packages
        .iter()
        .map(|text| parse_request(text, request, universe))
        .collect::<Result<Vec<_>, _>>()?;
    let base = universe.newest().filter(|record| belongs_to_base(record));
    let mut anchored: BTreeSet<String> = base.map(|record| record.name.to_string()).collect();
    if universe.knows(MANAGER) {
        anchored.insert(MANAGER.to_owned());
    }
    let mut wanted: Vec<Vec<Relation>> =
        anchored.iter().map(|name| vec![Relation::named(name)]).collect();
    // Before the base, so that a version that was asked for decides.
    wanted.splice(0..0, asked.iter().map(|relation| vec![relation.clone()]));
    let manual: BTreeSet<String> =
        anchored.iter().cloned().chain(asked.iter().map(|r| r.name.clone())).collect();
    anchored.extend(asked.iter().map(|relation| relation.name.clone()));
    anchored.insert(BORN_MERGED.to_owned());

    let mut chosen = solver::solve(universe, &anchored, &wanted, &[])?;
    if request.recommends {
        chosen = with_recommends(universe, &anchored, &wanted, chosen)?;
    }
    let reachable = reachable(universe, &anchored, &wanted, &chosen, request.recommends)?;
    let selected = reachable.iter().filter_map(|number| universe.record(*number));
    Ok(selected.map(|record| select(record, request, &manual)).collect())
}

fn belongs_to_base(record: &Record) -> bool {
    record.essential || record.priority == Priority::Required
}

fn select(record: &Record, request: &Request, manual: &BTreeSet<String>) -> Selected {
    Selected {
        name: record.name.to_string(),
        version: record.version.to_string(),
        architecture: if record.all { "all".to_owned() } else { request.architecture.clone() },
        filename: record.filename.to_string(),
        size: record.size,
        sha256: record.sha256.clone(),
        index: record.source,
        automatic: !manual.contains(&*record.name),
    }
}

/// `name`, `name=version`, `name:any`, `name:architecture=version` to a relation that can be satisfied.
fn parse_request(
    text: &str,
    request: &Request,
    universe: &Universe,
) -> Result<Relation, DebianError> {
    let fail =
        |reason: &str| DebianError::Request { request: text.to_owned(), reason: reason.to_owned() };
    let (head, version) = match text.split_once('=') {
        None => (text, None),
        Some((head, version)) => (head, Some(version)),
    };
    let (name, qualifier) = match head.split_once(':') {
        None => (head, None),
        Some((name, qualifier)) => (name, Some(qualifier)),
    };
    if !relation::is_name(name) {
        return Err(fail("the name has a character that is not allowed"));
    }
    if !universe.knows(name) {
        return Err(unknown(name, request, universe));
    }
    let qualifier = match qualifier {
        None | Some("native") => None,
        // On the command line of apt, `any` means whichever architecture there is; here there is one.
        Some("any" | "all") => None,
        Some(a) if a == request.architecture => Some(Qualifier::Architecture(a.to_owned())),
        Some(a) => return Err(fail(&format!("the root is for {}, not {a}", request.architecture))),
    };
    let mut relation = Relation { name: name.to_owned(), qualifier, version: None };
    if let Some(version) = version {
        let parsed =
            version.parse().map_err(|e: crate::version::VersionError| fail(&e.to_string()))?;
        relation.version = Some((Operator::Equal, parsed));
        if universe.satisfying(&relation, &BTreeSet::new()).is_empty() {
            let versions = universe.versions(name).filter_map(|n| universe.record(n));
            return Err(DebianError::UnknownVersion {
                name: name.to_owned(),
                version: version.to_owned(),
                suites: suites(request),
                available: versions.map(|record| record.version.to_string()).collect(),
            });
        }
    }
    Ok(relation)
}

fn unknown(name: &str, request: &Request, universe: &Universe) -> DebianError {
    DebianError::UnknownPackage {
        name: name.to_owned(),
        architecture: request.architecture.clone(),
        suites: suites(request),
        suggestion: universe.nearest(name),
    }
}

fn suites(request: &Request) -> String {
    let suites: Vec<_> = request.sources.iter().map(|source| source.suite.as_str()).collect();
    suites.join(", ")
}

/// Adds what the chosen packages recommend, and what that recommends, as far as it fits.
fn with_recommends(
    universe: &Universe,
    anchored: &BTreeSet<String>,
    wanted: &[Vec<Relation>],
    mut chosen: BTreeSet<usize>,
) -> Result<BTreeSet<usize>, DebianError> {
    let mut soft: Vec<usize> = Vec::new();
    loop {
        let before = soft.len();
        for record in chosen.iter().filter_map(|number| universe.record(*number)) {
            for list in universe.recommends(record)? {
                let candidates = universe.alternatives(&list, anchored);
                let satisfied = candidates.iter().any(|number| chosen.contains(number));
                if let Some(best) = candidates.first().filter(|b| !satisfied && !soft.contains(b)) {
                    soft.push(*best);
                }
            }
        }
        if soft.len() == before {
            return Ok(chosen);
        }
        chosen = solver::solve(universe, anchored, wanted, &soft)?;
    }
}

/// The chosen packages that are needed from `wanted` on: a search leaves some behind that nothing needs.
fn reachable(
    universe: &Universe,
    anchored: &BTreeSet<String>,
    wanted: &[Vec<Relation>],
    chosen: &BTreeSet<usize>,
    recommends: bool,
) -> Result<BTreeSet<usize>, DebianError> {
    let mut reached = BTreeSet::new();
    let mut ahead: Vec<usize> = Vec::new();
    let needed = |list: &[Relation]| {
        let found = universe.alternatives(list, anchored);
        found.into_iter().find(|number| chosen.contains(number))
    };
    ahead.extend(wanted.iter().filter_map(|list| needed(list)));
    while let Some(number) = ahead.pop() {
        if !reached.insert(number) {
            continue;
        }
        let Some(record) = universe.record(number) else { continue };
        let mut lists = universe.depends(record)?;
        if recommends {
            lists.extend(universe.recommends(record)?);
        }
        ahead.extend(lists.iter().filter_map(|list| needed(list)));
    }
    Ok(reached)
}
