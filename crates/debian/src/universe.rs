//! All packages of all indexes, with the question every dependency asks: who satisfies this relation?
//!
//! One architecture: `all` and the asked one. Knows nothing of choosing.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;

use crate::error::DebianError;
use crate::index::{MultiArch, Record};
use crate::relation::{self, Operator, Qualifier, Relation, Relations};
use crate::version::Version;

/// Packages sorted by name, then highest version first, then by the order of sources.
pub(crate) struct Universe {
    pub(crate) architecture: String,
    records: Vec<Record>,
    names: BTreeMap<Box<str>, Range<usize>>,
    /// Virtual name to the packages that provide it, with the version they provide.
    providers: HashMap<String, Vec<(usize, Option<Version>)>>,
}

impl Universe {
    /// Sorts and indexes records; of equal versions the one of the earlier source stays.
    pub(crate) fn new(
        mut records: Vec<Record>,
        architecture: &str,
    ) -> Result<Universe, DebianError> {
        records.sort_by(|a, b| {
            let by_name = a.name.cmp(&b.name).then_with(|| b.version.cmp(&a.version));
            by_name.then_with(|| a.source.cmp(&b.source)).then_with(|| a.sha256.cmp(&b.sha256))
        });
        records.dedup_by(|later, first| later.name == first.name && later.version == first.version);
        let mut names = BTreeMap::new();
        let mut start = 0;
        for group in records.chunk_by(|a, b| a.name == b.name) {
            if let Some(first) = group.first() {
                names.insert(first.name.clone(), start..start + group.len());
            }
            start += group.len();
        }
        let mut providers: HashMap<String, Vec<(usize, Option<Version>)>> = HashMap::new();
        for (number, record) in records.iter().enumerate() {
            let Some(field) = &record.provides else { continue };
            for relation in parse(record, "Provides", field, architecture)?.into_iter().flatten() {
                let version = match relation.version {
                    None => None,
                    Some((Operator::Equal, version)) => Some(version),
                    Some(_) => continue, // dpkg ignores provides with another operator
                };
                providers.entry(relation.name).or_default().push((number, version));
            }
        }
        Ok(Universe { architecture: architecture.to_owned(), records, names, providers })
    }

    pub(crate) fn record(&self, number: usize) -> Option<&Record> {
        self.records.get(number)
    }

    /// Positions of all versions of a name, highest first.
    pub(crate) fn versions(&self, name: &str) -> Range<usize> {
        self.names.get(name).cloned().unwrap_or(0..0)
    }

    /// The highest version of every name.
    pub(crate) fn newest(&self) -> impl Iterator<Item = &Record> {
        self.names.values().filter_map(|range| self.records.get(range.start))
    }

    /// Whether a name is a package or provided by one.
    pub(crate) fn knows(&self, name: &str) -> bool {
        self.names.contains_key(name) || self.providers.contains_key(name)
    }

    /// The known name nearest to `name`, when one is near.
    pub(crate) fn nearest(&self, name: &str) -> Option<String> {
        let score = |other: &str| strsim::jaro_winkler(name, other);
        let near = self.names.keys().map(|other| (score(other), other));
        let (best, other) = near.max_by(|a, b| a.0.total_cmp(&b.0).then_with(|| b.1.cmp(a.1)))?;
        (best > 0.85).then(|| other.to_string())
    }

    /// Packages that satisfy a relation, best first: the real package's versions from high to low, then
    /// providers by `anchored` (installed anyway), priority, name and version.
    pub(crate) fn satisfying(
        &self,
        relation: &Relation,
        anchored: &BTreeSet<String>,
    ) -> Vec<usize> {
        let mut found: Vec<usize> = self
            .versions(&relation.name)
            .filter(|n| self.records.get(*n).is_some_and(|r| relation.accepts(&r.version)))
            .collect();
        let provided = self.providers.get(&relation.name).map_or(&[][..], Vec::as_slice);
        let mut virtual_ones: Vec<usize> = provided
            .iter()
            .filter(|(_, version)| match (&relation.version, version) {
                (None, _) => true,
                (Some(_), Some(version)) => relation.accepts(version),
                (Some(_), None) => false,
            })
            .map(|(number, _)| *number)
            .filter(|number| !found.contains(number))
            .collect();
        virtual_ones.sort_by_key(|number| {
            let record = self.records.get(*number);
            (record.map(|r| (!anchored.contains(&*r.name), r.priority)), *number)
        });
        virtual_ones.dedup();
        found.extend(virtual_ones);
        found.retain(|number| {
            self.records.get(*number).is_some_and(|record| match &relation.qualifier {
                None | Some(Qualifier::Native) => true,
                Some(Qualifier::Any) => record.multi_arch == MultiArch::Allowed,
                Some(Qualifier::Architecture(a)) => *a == self.architecture,
            })
        });
        found
    }

    /// Alternatives to the packages that satisfy them, in the order they are preferred: as written, but those
    /// whose packages are installed anyway first.
    pub(crate) fn alternatives(
        &self,
        list: &[Relation],
        anchored: &BTreeSet<String>,
    ) -> Vec<usize> {
        let mut ordered: Vec<&Relation> = list.iter().collect();
        ordered.sort_by_key(|relation| !anchored.contains(&relation.name));
        let mut found = Vec::new();
        for relation in ordered {
            for number in self.satisfying(relation, anchored) {
                if !found.contains(&number) {
                    found.push(number);
                }
            }
        }
        found
    }

    /// `Pre-Depends` and `Depends` of a record.
    pub(crate) fn depends(&self, record: &Record) -> Result<Relations, DebianError> {
        let mut all = self.field(record, "Pre-Depends", record.pre_depends.as_deref())?;
        all.extend(self.field(record, "Depends", record.depends.as_deref())?);
        Ok(all)
    }

    /// `Recommends` of a record.
    pub(crate) fn recommends(&self, record: &Record) -> Result<Relations, DebianError> {
        self.field(record, "Recommends", record.recommends.as_deref())
    }

    /// `Conflicts` and `Breaks` of a record; for choosing a set they mean the same.
    pub(crate) fn excludes(&self, record: &Record) -> Result<Relations, DebianError> {
        let mut all = self.field(record, "Conflicts", record.conflicts.as_deref())?;
        all.extend(self.field(record, "Breaks", record.breaks.as_deref())?);
        Ok(all)
    }

    fn field(
        &self,
        record: &Record,
        name: &'static str,
        value: Option<&str>,
    ) -> Result<Relations, DebianError> {
        value.map_or(Ok(Vec::new()), |value| parse(record, name, value, &self.architecture))
    }
}

fn parse(
    record: &Record,
    field: &'static str,
    value: &str,
    architecture: &str,
) -> Result<Relations, DebianError> {
    relation::parse(value, architecture)
        .map_err(|error| (format!("package `{}`", record.name), field, error).into())
}
