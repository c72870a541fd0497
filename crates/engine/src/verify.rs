//! Proves twins by doing: a step of a foreign platform is run with twins and emulated, and both must
//! leave the same files.
//!
//! What is compared is what becomes a layer, entry by entry: type, mode, owner, time as recorded,
//! link, attributes, content. Files that differ between any two runs are excepted by the table of
//! twins. A difference names the file, and the program whose twin makes it, found by running the
//! step again with fewer twins.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

use anyarch_layer::archive::{Entry, Reader};
use anyarch_layer::decode::decode;
use anyarch_oci::{Digest, Hasher};
use anyarch_twin::Data;

use crate::chain::Chain;
use crate::engine::Session;
use crate::error::{BuildError, Context};
use crate::tally::Tally;

/// How many files an error names.
const NAMED: usize = 10;

/// Which programs run by their twins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Allowed {
    /// All that are proven.
    All,
    /// Those with these names.
    Only(BTreeSet<String>),
}

impl Allowed {
    /// No program.
    pub(crate) fn none() -> Allowed {
        Allowed::Only(BTreeSet::new())
    }

    /// Whether a program may.
    pub(crate) fn has(&self, name: &str) -> bool {
        match self {
            Allowed::All => true,
            Allowed::Only(names) => names.contains(name),
        }
    }
}

/// Runs the step with some twins: the tree it leaves, and how its programs ran.
pub(crate) type Again<'a> = &'a dyn Fn(&Allowed) -> Result<(Chain, Tally), BuildError>;

/// A file of a layer, with the digest of its content.
type Files = BTreeMap<PathBuf, (Entry, Digest)>;

impl Session<'_> {
    /// Runs a step again, emulated, and compares. `again` runs it with some twins; `first` is what
    /// it left with all.
    ///
    /// # Errors
    /// When the files differ: which, and by which program.
    pub(crate) fn verify(
        &self,
        parent: &Chain,
        first: (&Chain, &Tally),
        again: Again<'_>,
    ) -> Result<(), BuildError> {
        let (with_twins, tally) = first;
        let (emulated, _) = again(&Allowed::none()).map_err(|error| {
            error.in_context("with twins the step succeeds, emulated it fails".to_owned())
        })?;
        if with_twins == &emulated {
            return Ok(());
        }
        let data = Data::built_in().context(|| "failed to compare".to_owned())?;
        let truth = self.files(parent, &emulated)?;
        let found = differences(&data, &self.files(parent, with_twins)?, &truth);
        let Some(one) = found.keys().next() else { return Ok(()) };
        let culprit = self.culprit(parent, one, tally, &truth, again)?;
        let mut files: Vec<String> =
            found.iter().map(|(path, how)| format!("/{}: {how}", path.display())).collect();
        if files.len() > NAMED {
            let more = files.len() - NAMED;
            files.truncate(NAMED);
            files.push(format!("and {more} more"));
        }
        let by = culprit.as_ref().map(|name| format!(" by the twin of `{name}`"));
        let by = by.unwrap_or_default();
        let claim = culprit.and_then(|name| data.reason(&name).map(str::to_owned));
        let claim = claim.map(|text| format!(" (its entry says: {text})")).unwrap_or_default();
        Err(BuildError::failed(format!("with twins the step leaves other files than emulated{by}"))
            .because(files.join("; "))
            .hint(format!(
                "a step that does not do the same twice differs too; otherwise this is a fault of \
                 anyarch{claim}: report it, and build with --twins=off"
            )))
    }

    /// The program without whose twin a file is as it is emulated, by halving.
    fn culprit(
        &self,
        parent: &Chain,
        file: &PathBuf,
        tally: &Tally,
        truth: &Files,
        again: Again<'_>,
    ) -> Result<Option<String>, BuildError> {
        let mut names: Vec<String> = tally.native.keys().cloned().collect();
        while names.len() > 1 {
            self.check_cancelled()?;
            let rest = names.split_off(names.len() / 2);
            let half = Allowed::Only(names.iter().cloned().collect());
            let same = match again(&half) {
                Ok((chain, _)) => self.files(parent, &chain)?.get(file) == truth.get(file),
                Err(_) => false,
            };
            if same {
                names = rest;
            }
        }
        Ok(names.pop())
    }

    /// The files of the layer that a step added to its parent.
    fn files(&self, parent: &Chain, chain: &Chain) -> Result<Files, BuildError> {
        let what = || "failed to read a layer".to_owned();
        let Some(layer) = chain.layers.get(parent.layers.len()) else { return Ok(Files::new()) };
        let blob = self.store().blob(&layer.descriptor.digest).context(what)?;
        let blob: File = blob.ok_or_else(|| BuildError::failed(what()))?.file;
        let (_, plain) = decode(blob).context(what)?;
        let mut reader = Reader::new(plain);
        let mut files = Files::new();
        while let Some(entry) = reader.next_entry().context(what)? {
            let digest = digest_of(&mut reader).context(what)?;
            files.insert(entry.path.clone(), (entry, digest));
        }
        Ok(files)
    }
}

fn digest_of(content: &mut dyn Read) -> std::io::Result<Digest> {
    let (mut hasher, mut buffer) = (Hasher::new(), vec![0; 1 << 16]);
    loop {
        match content.read(&mut buffer)? {
            0 => return Ok(hasher.finish()),
            count => hasher.update(&buffer[..count]),
        }
    }
}

/// How files differ, but for those that may.
fn differences(data: &Data, twins: &Files, emulated: &Files) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let paths: BTreeSet<&PathBuf> = twins.keys().chain(emulated.keys()).collect();
    for path in paths {
        let how = match (twins.get(path), emulated.get(path)) {
            (Some(a), Some(b)) if a == b => continue,
            (Some((a, x)), Some((b, y))) => difference(a, b, x == y),
            (Some(_), None) => "only with twins".to_owned(),
            (None, _) => "only emulated".to_owned(),
        };
        if data.excepted(&format!("/{}", path.display())).is_none() {
            found.insert(path.clone(), how);
        }
    }
    found
}

fn difference(twins: &Entry, emulated: &Entry, same_content: bool) -> String {
    let mut parts = Vec::new();
    let mut note = |what: &str, a: String, b: String| {
        if a != b {
            parts.push(format!("{what} {a}, emulated {b}"));
        }
    };
    note("type", format!("{:?}", twins.kind), format!("{:?}", emulated.kind));
    note("mode", format!("{:o}", twins.mode), format!("{:o}", emulated.mode));
    note(
        "owner",
        format!("{}:{}", twins.uid, twins.gid),
        format!("{}:{}", emulated.uid, emulated.gid),
    );
    note("time", twins.mtime.secs.to_string(), emulated.mtime.secs.to_string());
    note("size", twins.size.to_string(), emulated.size.to_string());
    note("target", twins.link.display().to_string(), emulated.link.display().to_string());
    note("attributes", format!("{:?}", twins.xattrs), format!("{:?}", emulated.xattrs));
    if !same_content && twins.size == emulated.size {
        parts.push("content".to_owned());
    }
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use anyarch_layer::archive::EntryKind;

    use super::*;

    fn files(of: &[(&str, u32, &str)]) -> Files {
        let file = |(path, mode, content): &(&str, u32, &str)| {
            let mut entry = Entry::new(*path, EntryKind::File);
            (entry.mode, entry.size) = (*mode, content.len() as u64);
            (PathBuf::from(path), (entry, Digest::sha256(content.as_bytes())))
        };
        of.iter().map(file).collect()
    }

    fn compared(twins: &[(&str, u32, &str)], emulated: &[(&str, u32, &str)]) -> Vec<String> {
        let data = Data::built_in().unwrap();
        let found = differences(&data, &files(twins), &files(emulated));
        found.iter().map(|(path, how)| format!("{}: {how}", path.display())).collect()
    }

    #[test]
    fn every_difference_is_named() {
        let same = ("etc/same", 0o644, "x");
        assert_eq!(compared(&[same], &[same]), Vec::<String>::new());
        assert_eq!(
            compared(
                &[same, ("a", 0o644, "1"), ("b", 0o600, "2"), ("c", 0o644, "33")],
                &[same, ("a", 0o644, "2"), ("b", 0o644, "2"), ("d", 0o644, "4")]
            ),
            ["a: content", "b: mode 600, emulated 644", "c: only with twins", "d: only emulated"]
        );
    }

    #[test]
    fn files_that_always_differ_do_not_count() {
        let log = |text| ("var/log/dpkg.log", 0o644, text);
        assert_eq!(compared(&[log("a")], &[log("b")]), Vec::<String>::new());
    }
}
