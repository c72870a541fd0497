//! The build cache: what a step depends on, and what came of it.
//!
//! One JSON file per key, `cache/steps/HEX`. The parts of the key are kept with the result, so that
//! a miss can be explained by comparing. The key holds the *output* of the parent, not its
//! instruction: a parent that ran again with identical bytes leaves everything above it cached.

use std::path::{Path, PathBuf};

use anyarch_oci::{Digest, Platform};
use anyarch_store::{Store, StoreError};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::chain::Chain;
use crate::context::Files;
use crate::error::{BuildError, Context};
use crate::op::Op;

/// Everything that decides the result of a step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct KeyParts {
    /// The operation after expansion; for a copy without its origin, which `input` stands for.
    pub op: serde_json::Value,
    /// Digest of the files or the tree that the operation takes in.
    pub input: Option<String>,
    /// What the tree is for.
    pub platform: String,
    /// Chain ID of the parent's tree; `None`: the empty tree.
    pub parent: Option<String>,
    /// How the tree becomes bytes. Not part of what is done, but of the result: without it, two
    /// projects that share a store would get whichever bytes were cached first.
    pub layout: Layout,
}

/// What decides how a tree becomes bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Layout {
    /// Entries are not younger than this, seconds since 1970.
    pub epoch: i64,
    /// Name of the compression.
    pub compression: String,
    /// True where every file belongs to root, because no other id is mapped.
    pub root_owns_all: bool,
}

impl KeyParts {
    /// Collects the parts.
    pub(crate) fn new(
        op: &Op,
        input: Option<String>,
        platform: &Platform,
        parent: &Chain,
        layout: Layout,
    ) -> Result<KeyParts, BuildError> {
        let mut value =
            serde_json::to_value(op).context(|| "failed to write a cache key".to_owned())?;
        if let (Op::Copy(_), Some(fields)) = (op, value.as_object_mut()) {
            fields.remove("from");
        }
        let parent = parent.id().map(ToString::to_string);
        Ok(KeyParts { op: value, input, platform: platform.to_string(), parent, layout })
    }

    /// The key.
    pub(crate) fn key(&self) -> Result<Digest, BuildError> {
        let bytes = anyarch_oci::canonical_json(self)
            .context(|| "failed to write a cache key".to_owned())?;
        Ok(Digest::sha256(&bytes))
    }
}

/// What came of a step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// What it depended on.
    pub parts: KeyParts,
    /// The tree it left.
    pub result: Chain,
}

fn path(store: &Store, key: &Digest) -> PathBuf {
    store.root().join("cache/steps").join(key.hex())
}

/// The result of an equal step, if there was one and all its layers are still there.
pub(crate) fn find(store: &Store, key: &Digest) -> Result<Option<Chain>, BuildError> {
    let record: Option<Record> = read(store, &path(store, key))?;
    let complete = |chain: &Chain| {
        chain
            .layers
            .iter()
            .all(|layer| store.blob_size(&layer.descriptor.digest) == Some(layer.descriptor.size))
    };
    Ok(record.map(|record| record.result).filter(complete))
}

/// Reads a record of the cache. One that is damaged is as good as none: it is made again.
pub(crate) fn read<T: DeserializeOwned>(
    store: &Store,
    path: &Path,
) -> Result<Option<T>, BuildError> {
    match store.read_json(path) {
        Err(StoreError::Damaged { .. }) => Ok(None),
        result => result.context(|| "failed to read the build cache".to_owned()),
    }
}

/// Keeps a result.
pub(crate) fn keep(store: &Store, key: &Digest, record: &Record) -> Result<(), BuildError> {
    store
        .write_json(&path(store, key), record)
        .context(|| "failed to write the build cache".to_owned())
}

/// What was kept under a key, whether or not its layers are still there.
pub(crate) fn record(store: &Store, key: &Digest) -> Result<Option<Record>, BuildError> {
    read(store, &path(store, key))
}

fn files_path(store: &Store, input: &str) -> PathBuf {
    store.root().join("cache/inputs").join(Digest::sha256(input.as_bytes()).hex())
}

/// Keeps the list of files behind the `input` of a step, so that a later miss can be explained.
pub(crate) fn keep_files(store: &Store, input: &str, files: &Files) -> Result<(), BuildError> {
    let path = files_path(store, input);
    if files.is_empty() || path.exists() {
        return Ok(());
    }
    store.write_json(&path, files).context(|| "failed to write the build cache".to_owned())
}

/// The list behind an `input`, if it was kept.
pub(crate) fn files(store: &Store, input: &str) -> Result<Option<Files>, BuildError> {
    read(store, &files_path(store, input))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::StepId;
    use crate::op::{CopyFrom, CopyOp};
    use anyarch_oci::{Descriptor, DiffId, media_type};

    fn copy(from: CopyFrom) -> Op {
        Op::Copy(CopyOp {
            from,
            sources: vec!["a".to_owned()],
            inline: vec![],
            destination: "/a".to_owned(),
            chown: None,
            chmod: None,
            add: false,
            link: false,
            parents: false,
            exclude: vec![],
            checksum: None,
            keep_git_dir: false,
            unpack: None,
        })
    }

    fn key(op: &Op, input: &str, parent: &Chain) -> Digest {
        let layout = Layout { epoch: 0, compression: "gzip".to_owned(), root_owns_all: false };
        let platform = Platform::new("linux", "amd64");
        KeyParts::new(op, Some(input.to_owned()), &platform, parent, layout).unwrap().key().unwrap()
    }

    fn chain(content: &[u8]) -> Chain {
        Chain::default()
            .with(Descriptor::of(media_type::LAYER_GZIP, content), DiffId(Digest::sha256(content)))
    }

    #[test]
    fn key_follows_input_and_parent_but_not_numbers() {
        let first = key(&copy(CopyFrom::Context(0)), "x", &chain(b"1"));
        assert_eq!(key(&copy(CopyFrom::Step(Some(StepId(7)))), "x", &chain(b"1")), first);
        assert_ne!(key(&copy(CopyFrom::Context(0)), "y", &chain(b"1")), first);
        assert_ne!(key(&copy(CopyFrom::Context(0)), "x", &chain(b"2")), first);
        assert_ne!(key(&copy(CopyFrom::Context(0)), "x", &Chain::default()), first);
    }

    #[test]
    fn a_result_counts_only_while_its_layers_are_there() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let result = chain(b"layer");
        let op = copy(CopyFrom::Context(0));
        let layout = Layout { epoch: 0, compression: "gzip".to_owned(), root_owns_all: false };
        let parts =
            KeyParts::new(&op, None, &Platform::new("linux", "amd64"), &Chain::default(), layout)
                .unwrap();
        let key = parts.key().unwrap();
        keep(&store, &key, &Record { parts, result: result.clone() }).unwrap();
        assert_eq!(find(&store, &key).unwrap(), None);
        store.put_blob(b"layer").unwrap();
        assert_eq!(find(&store, &key).unwrap(), Some(result));
        std::fs::write(path(&store, &key), "").unwrap();
        assert_eq!(find(&store, &key).unwrap(), None, "a record cut short is none");
    }
}
