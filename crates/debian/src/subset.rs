//! A part of a resolution: packages by name, and what they need of the rest.
//!
//! What a package needs stands in the package itself, so packages are downloaded in rounds. Chooses nothing: a
//! dependency is met by whatever the resolution has for it.

use std::collections::{BTreeMap, BTreeSet};

use crate::control::Paragraph;
use crate::deb::Deb;
use crate::download::download;
use crate::error::DebianError;
use crate::fetch::{Fetch, Packages};
use crate::relation::{self, Relation};
use crate::resolution::{Progress, Resolution};
use crate::source::Source;

/// The packages of `wanted` that the resolution has, with all that they `Depends` and `Pre-Depends` on in it.
///
/// Downloads what it takes in, as [`download`] does; all packages where a dependency can only be met by one
/// that provides it and none of those taken in does. Names that the resolution does not have are left out.
pub fn subset(
    resolution: &Resolution,
    wanted: &[&str],
    sources: &[Source],
    fetch: &dyn Fetch,
    packages: &dyn Packages,
    parallel: usize,
    on: &(dyn Fn(Progress) + Sync),
) -> Result<Resolution, DebianError> {
    let part = |numbers: &BTreeSet<usize>| {
        let packages = numbers.iter().filter_map(|number| resolution.packages.get(*number));
        Resolution { packages: packages.cloned().collect(), ..resolution.clone() }
    };
    let mut known = Known::new(resolution);
    let mut chosen: BTreeSet<usize> = wanted.iter().filter_map(|name| known.named(name)).collect();
    let mut ahead = chosen.clone();
    loop {
        ahead.retain(|number| !known.controls.contains_key(number));
        if !ahead.is_empty() {
            download(&part(&ahead), sources, fetch, packages, parallel, on)?;
        }
        for number in &ahead {
            known.read(*number, packages)?;
        }
        let needs = known.needs(&chosen)?;
        let before = chosen.len();
        chosen.extend(needs.met);
        ahead = match (chosen.len() > before, needs.unmet) {
            (true, _) => chosen.clone(),
            (false, true) if known.controls.len() < resolution.packages.len() => {
                (0..resolution.packages.len()).collect()
            }
            (false, _) => return Ok(part(&chosen)),
        };
    }
}

/// Packages of a resolution by position, and what is known of them.
struct Known<'a> {
    resolution: &'a Resolution,
    names: BTreeMap<&'a str, usize>,
    controls: BTreeMap<usize, Paragraph>,
    /// Virtual names, and who provides them.
    provided: BTreeMap<String, BTreeSet<usize>>,
}

/// What some packages need.
#[derive(Default)]
struct Needs {
    met: BTreeSet<usize>,
    /// Whether there is a need that nothing known meets.
    unmet: bool,
}

impl<'a> Known<'a> {
    fn new(resolution: &'a Resolution) -> Known<'a> {
        let names = resolution.packages.iter().map(|package| package.name.as_str());
        Known {
            resolution,
            names: names.enumerate().map(|(number, name)| (name, number)).collect(),
            controls: BTreeMap::new(),
            provided: BTreeMap::new(),
        }
    }

    fn named(&self, name: &str) -> Option<usize> {
        self.names.get(name).copied()
    }

    /// Reads the control file of a package that is in the store.
    fn read(&mut self, number: usize, packages: &dyn Packages) -> Result<(), DebianError> {
        let Some(selected) = self.resolution.packages.get(number) else { return Ok(()) };
        let mut file =
            packages.open(&selected.sha256).ok_or_else(|| DebianError::NotDownloaded {
                package: selected.name.clone(),
                digest: selected.sha256.clone(),
            })?;
        let control = Deb::open(&selected.name, &mut file)?.control;
        for relation in self.relations(&control, "Provides")?.into_iter().flatten() {
            self.provided.entry(relation.name).or_default().insert(number);
        }
        self.controls.insert(number, control);
        Ok(())
    }

    fn relations(
        &self,
        control: &Paragraph,
        field: &'static str,
    ) -> Result<relation::Relations, DebianError> {
        let object = || format!("package `{}`", control.get("Package").unwrap_or(""));
        relation::parse(control.get(field).unwrap_or(""), &self.resolution.architecture)
            .map_err(|error| (object(), field, error).into())
    }

    /// What packages need directly.
    fn needs(&self, of: &BTreeSet<usize>) -> Result<Needs, DebianError> {
        let mut needs = Needs::default();
        for control in of.iter().filter_map(|number| self.controls.get(number)) {
            for field in ["Pre-Depends", "Depends"] {
                for alternatives in self.relations(control, field)? {
                    match self.meets(&alternatives, of) {
                        Some(number) => drop(needs.met.insert(number)),
                        None => needs.unmet = true,
                    }
                }
            }
        }
        Ok(needs)
    }

    /// Who meets one of these alternatives: a package of that name, else one that provides it,
    /// best one of those that are taken in already.
    fn meets(&self, alternatives: &[Relation], taken: &BTreeSet<usize>) -> Option<usize> {
        let real = alternatives.iter().find_map(|relation| {
            let number = self.named(&relation.name)?;
            let version = self.resolution.packages.get(number)?.version.parse();
            version.is_ok_and(|version| relation.accepts(&version)).then_some(number)
        });
        let virtual_one = || {
            let provided = alternatives.iter().filter_map(|one| self.provided.get(&one.name));
            let provided: BTreeSet<usize> = provided.flatten().copied().collect();
            provided.intersection(taken).next().or_else(|| provided.first()).copied()
        };
        real.or_else(virtual_one)
    }
}
