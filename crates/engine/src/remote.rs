//! What sources of the network bring: files, archives and repositories, into the store.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::PathBuf;

use anyarch_debian::{Changed, Validator};
use anyarch_oci::{Algorithm, Digest};
use anyarch_sandbox::Cancel;
use serde::{Deserialize, Serialize};

use crate::cache;
use crate::context::unpack_context;
use crate::engine::{Engine, Session};
use crate::error::{BuildError, Context};
use crate::event::{Event, OnEvent};
use crate::git::{Checkout, GitUrl};
use crate::op::CopyOp;

/// What a server gave out for a URL last time, and what it called that.
#[derive(Serialize, Deserialize)]
struct Known {
    tag: Option<String>,
    time: Option<String>,
    digest: Digest,
}

impl Known {
    fn new(validator: Validator, digest: Digest) -> Known {
        match validator {
            Validator::Tag(tag) => Known { tag: Some(tag), time: None, digest },
            Validator::Time(time) => Known { tag: None, time: Some(time), digest },
        }
    }

    fn validator(&self) -> Validator {
        match (&self.tag, &self.time) {
            (Some(tag), _) => Validator::Tag(tag.clone()),
            (None, time) => Validator::Time(time.clone().unwrap_or_default()),
        }
    }
}

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
        let record = self.url_record(url);
        let known: Option<Known> = cache::read(self.store(), &record)?;
        let known = known
            .filter(|known| checksum.is_none() && self.store().blob_size(&known.digest).is_some());
        let validator = known.as_ref().map(Known::validator);
        let (mut fetched, validator) =
            match self.engine.fetch.get_if_changed(url, validator.as_ref()).context(what)? {
                Changed::To(fetched, validator) => (fetched, validator),
                Changed::No => match known {
                    Some(known) => return Ok(known.digest),
                    None => {
                        return Err(BuildError::failed(what())
                            .because("the server sent nothing, although nothing was known"));
                    }
                },
            };
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
        if let Some(validator) = validator {
            let known = Known::new(validator, digest.clone());
            self.store().write_json(&record, &known).context(what)?;
        }
        Ok(digest)
    }

    fn url_record(&self, url: &str) -> PathBuf {
        let name = Digest::sha256(url.as_bytes());
        self.store().root().join("cache/urls").join(name.hex())
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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use anyarch_debian::{Fetch, FetchError, Fetched};

    use super::*;
    use crate::testing;

    /// A server whose content has a tag; notes what is asked and how much it sends.
    struct Tagged(&'static Mutex<(&'static str, Vec<Option<Validator>>)>);

    impl Fetch for Tagged {
        fn get(&self, _: &str, _: u64) -> Result<Fetched, FetchError> {
            Err(FetchError::NotFound)
        }

        fn get_if_changed(
            &self,
            _: &str,
            known: Option<&Validator>,
        ) -> Result<Changed, FetchError> {
            let mut state = self.0.lock().unwrap();
            state.1.push(known.cloned());
            let tag = Validator::Tag(format!("\"{}\"", state.0));
            if known == Some(&tag) {
                return Ok(Changed::No);
            }
            let body = Box::new(state.0.as_bytes());
            Ok(Changed::To(Fetched { body, length: None, offset: 0 }, Some(tag)))
        }
    }

    #[test]
    fn a_file_that_did_not_change_is_not_sent_again() {
        let folder = tempfile::tempdir().unwrap();
        let state: &Mutex<_> = Box::leak(Box::new(Mutex::new(("one", Vec::new()))));
        let mut engine = testing::engine(folder.path());
        engine.fetch = Box::new(Tagged(state));
        let cancel = Cancel::new();
        let session = Session::new(&engine, 0, &|_| {}, &cancel);
        let fetch = |checksum| session.fetch_file("http://h.example/f", checksum);
        let one = Digest::sha256(b"one");
        assert_eq!((fetch(None).unwrap(), fetch(None).unwrap()), (one.clone(), one.clone()));
        state.lock().unwrap().0 = "two";
        assert_eq!(fetch(None).unwrap(), Digest::sha256(b"two"));
        // What is demanded and there is not asked for; what is lost is asked for as new.
        assert_eq!(fetch(Some(&one)).unwrap(), one);
        std::fs::remove_file(session.store().blob_path(&Digest::sha256(b"two"))).unwrap();
        assert_eq!(fetch(None).unwrap(), Digest::sha256(b"two"));
        let tag = |text: &str| Some(Validator::Tag(format!("\"{text}\"")));
        assert_eq!(state.lock().unwrap().1, [None, tag("one"), tag("one"), None]);
    }
}
