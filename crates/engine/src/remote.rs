//! What sources of the network bring: files, archives and repositories, into the store.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::PathBuf;

use anyarch_oci::{Algorithm, Digest};
use anyarch_sandbox::Cancel;

use crate::context::unpack_context;
use crate::engine::{Engine, Session};
use crate::error::{BuildError, Context};
use crate::event::{Event, OnEvent};
use crate::git::{Checkout, GitUrl};
use crate::op::CopyOp;

/// What one source of the network brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Remote {
    /// A file in the store.
    File {
        /// The name that it gets in a directory.
        name: String,
        /// Its content.
        digest: Digest,
    },
    /// The files of a commit.
    Git(Checkout),
}

impl Remote {
    /// What stands for its content in keys.
    pub(crate) fn identity(&self) -> String {
        match self {
            Remote::File { digest, .. } => digest.to_string(),
            Remote::Git(checkout) => format!("git:{}", checkout.commit),
        }
    }
}

impl Session<'_> {
    /// Brings what a copy names of the network into the store, in the order of its sources. A file
    /// whose digest is demanded and is there is not asked for again.
    pub(crate) fn fetch_remote(&self, op: &CopyOp) -> Result<Vec<Remote>, BuildError> {
        op.remote().map(|source| self.fetch_one(source, op)).collect()
    }

    fn fetch_one(&self, source: &str, op: &CopyOp) -> Result<Remote, BuildError> {
        if let Some(git) = GitUrl::parse(source) {
            let checkout = self.check_out(&git, op.keep_git_dir)?;
            // A commit may be demanded by its first digits.
            return match &op.checksum {
                Some(wanted) if !checkout.commit.starts_with(wanted) => {
                    Err(BuildError::failed(format!("{source} is not the commit demanded"))
                        .because(format!("expected {wanted}, it is {}", checkout.commit)))
                }
                _ => Ok(Remote::Git(checkout)),
            };
        }
        let path = source.split(['?', '#']).next().unwrap_or(source);
        let path = path.split_once("://").map_or(path, |(_, rest)| rest);
        let name =
            path.split_once('/').map_or("", |(_, path)| path.rsplit('/').next().unwrap_or(""));
        if name.is_empty() && op.destination.ends_with('/') {
            return Err(BuildError::input(format!("{source} gives no name for a file"))
                .hint("write the whole path of the file as the destination".to_owned()));
        }
        let checksum = op.checksum.as_ref().map(|text| text.parse::<Digest>()).transpose();
        let checksum = checksum.map_err(|error| {
            BuildError::input(format!("the checksum of {source} is no digest")).because(error)
        })?;
        Ok(Remote::File {
            name: name.to_owned(),
            digest: self.fetch_file(source, checksum.as_ref())?,
        })
    }

    /// Brings a file into the store; one whose digest is demanded and is there is not asked for again.
    fn fetch_file(&self, url: &str, checksum: Option<&Digest>) -> Result<Digest, BuildError> {
        if let Some(digest) = checksum.filter(|digest| self.store().blob_size(digest).is_some()) {
            return Ok(digest.clone());
        }
        (self.on)(Event::Resolving { what: url.to_owned() });
        let what = || format!("failed to fetch {url}");
        let algorithm = checksum.map_or(Algorithm::Sha256, Digest::algorithm);
        let mut ingest = self.store().ingest_with(algorithm).context(what)?;
        let mut fetched = self.engine.fetch.get(url, 0).context(what)?;
        let mut buffer = vec![0; 1 << 17];
        let mut broke_at = None;
        loop {
            self.check_cancelled()?;
            match fetched.body.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => ingest.write_all(&buffer[..count]).context(what)?,
                // A connection that brings nothing new is not worth another.
                Err(error) if broke_at == Some(ingest.size()) => return Err(error).context(what),
                Err(error) => {
                    broke_at = Some(ingest.size());
                    fetched = self.engine.fetch.get(url, ingest.size()).context(what)?;
                    if fetched.offset != ingest.size() {
                        return Err(error).context(what);
                    }
                }
            }
        }
        let (digest, _) = ingest.commit(checksum).context(what)?;
        Ok(digest)
    }

    /// The folder of a context of the network: a repository, or an archive. A file that is none is
    /// taken for a Dockerfile where `dockerfile` allows it, and lies alone in the folder then.
    pub(crate) fn remote_context(
        &self,
        source: &str,
        dockerfile: bool,
    ) -> Result<PathBuf, BuildError> {
        if let Some(git) = GitUrl::parse(source) {
            return Ok(self.check_out(&git, false)?.folder);
        }
        let what = || format!("failed to unpack the context {source}");
        let digest = self.fetch_file(source, None)?;
        let above = self.store().root().join("checkouts");
        let place = above.join(digest.hex());
        let _lock = self.lock(&format!("checkout-{}", digest.hex()))?;
        if place.is_dir() {
            return Ok(place);
        }
        // A Dockerfile alone is no context of a name, so it lies elsewhere.
        let alone = above.join(format!("{}-dockerfile", digest.hex()));
        if dockerfile && alone.is_dir() {
            return Ok(alone);
        }
        let blob = self.store().blob_path(&digest);
        let fresh = self.fresh("context");
        fs::create_dir_all(&fresh).context(what)?;
        let mut place = place;
        if let Err(error) = unpack_context(File::open(&blob).context(what)?, &fresh) {
            let text = fs::read_to_string(&blob).ok().filter(|_| dockerfile);
            let text = text.ok_or_else(|| error.in_context(what()))?;
            fs::write(fresh.join("Dockerfile"), text).context(what)?;
            place = alone;
        }
        fs::create_dir_all(&above).context(what)?;
        fs::rename(&fresh, &place).context(what)?;
        Ok(place)
    }
}

/// The folder of a build context of the network: a git repository, an archive, or a Dockerfile alone.
///
/// # Errors
/// When it cannot be fetched, or is none of these.
pub fn fetch_context(
    engine: &Engine,
    source: &str,
    on: OnEvent<'_>,
    cancel: &Cancel,
) -> Result<PathBuf, BuildError> {
    Session::new(engine, 0, on, cancel).remote_context(source, true)
}

/// Whether a text names a build context of the network.
pub fn is_remote_context(text: &str) -> bool {
    crate::git::is_remote(text)
}
