//! Blobs into a registry (distribution-spec, "Pushing Blobs"): nothing where it is there, a mount
//! where another repository has it, else one streaming PUT.
//!
//! Registries disagree about chunks, and all take one PUT. So chunks are only for going on where an
//! upload broke off, in this process or one before it; where a registry turns out not to put them
//! together, the upload begins anew with one PUT, and so does every later one there.

use std::cell::Cell;
use std::io::{self, Read};

use anyarch_http::{Body, Method, Response};
use anyarch_oci::{BlobPush, PushedBlob, RepositoryName};
use url::Url;

use super::error::{Failure, RegistryError};
use super::exchange::{RegistryClient, refused};
use super::host::Repository;
use super::manifest::verify_announced;
use super::quirks::{Chunks, SMALL_CHUNK};
use super::session::{Session, end_of_range};
use super::token::Scopes;

/// How many repositories a mount is asked from.
const MOUNTS: usize = 3;

impl RegistryClient {
    /// Makes a blob be in a repository of `registry`. An upload that breaks off goes on where it
    /// was, or begins anew where the registry cannot; attempts are counted anew while it advances.
    pub fn push_blob(
        &self,
        registry: &str,
        push: &BlobPush<'_>,
    ) -> Result<PushedBlob, RegistryError> {
        let repository = Repository::new(registry, push.repository.clone());
        // At Docker's registry a single word is in `library/`.
        let repository = Repository::of(&repository.reference(None, None));
        let scopes = Scopes::of(&repository.name, "pull,push");
        let failed = |failure: Failure| {
            failure.during(format!("push blob {} to {repository}", push.blob.digest))
        };
        Upload { client: self, repository: &repository, push, scopes, sent: Cell::new(0) }
            .run()
            .map_err(failed)
    }
}

/// What an upload was doing when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Asking, or opening a session.
    Before,
    /// One PUT with everything.
    Whole,
    /// A PATCH with a part.
    Chunk,
    /// The PUT that ends an upload in chunks.
    Closing,
}

struct Stopped {
    stage: Stage,
    failure: Failure,
}

impl Stage {
    fn stop<T>(self, outcome: Result<T, Failure>) -> Result<T, Stopped> {
        outcome.map_err(|failure| Stopped { stage: self, failure })
    }
}

struct Upload<'a> {
    client: &'a RegistryClient,
    repository: &'a Repository,
    push: &'a BlobPush<'a>,
    scopes: Scopes,
    /// Bytes handed to the connection, over all attempts.
    sent: Cell<u64>,
}

impl Upload<'_> {
    fn run(&self) -> Result<PushedBlob, Failure> {
        let registry = &self.repository.registry;
        if self.is_there()? {
            self.push.memory.forget();
            return Ok(PushedBlob::Existed);
        }
        let mut session = self.recalled()?;
        if session.is_none() {
            match self.mount()? {
                Begun::Mounted => {
                    self.push.memory.forget();
                    return Ok(PushedBlob::Mounted);
                }
                Begun::Session(opened) => session = Some(self.remembered(opened)),
                Begun::Nothing => {}
            }
        }
        let (mut attempt, mut furthest, mut refusals) = (1, 0, 0);
        // Requests before an upload were repeated already: a registry that has not taken a single
        // one of them is not there.
        let mut begun = session.is_some();
        loop {
            let Stopped { stage, failure } = match self.attempt(&mut session) {
                Ok(()) => {
                    self.push.memory.forget();
                    return Ok(PushedBlob::Uploaded(self.sent.get()));
                }
                Err(stopped) => stopped,
            };
            begun |= session.is_some();
            let at = session.as_ref().map_or(0, |session| session.at);
            if at > furthest {
                (attempt, furthest, refusals) = (1, at, 0);
            }
            if failure.status() == Some(401) {
                // The next request shows fresh credentials; if those are refused too, so are we.
                refusals += 1;
                if refusals > 1 {
                    return Err(self.unauthorized(failure));
                }
                self.doubt(&mut session);
                continue;
            }
            refusals = 0;
            if self.learn(stage, &failure, &mut session) {
                // It is known now how this registry wants it.
            } else {
                let gone = is_gone(stage, &failure);
                let shown = format!("{}@{}", self.repository, self.push.blob.digest);
                let (http, asked) = (self.client.http(registry)?, failure.retry_after());
                if !begun
                    || !(gone || failure.is_transient())
                    || !http.pause(attempt, &failure, asked, &shown)
                {
                    return Err(failure);
                }
                attempt += 1;
                if gone {
                    session = None;
                } else {
                    self.doubt(&mut session);
                }
            }
        }
    }

    /// Carries the upload to its end, in `session` where there is one.
    fn attempt(&self, slot: &mut Option<Session>) -> Result<(), Stopped> {
        if let Some(session) = slot
            && session.unsure
            && !Stage::Before.stop(self.find_out(session))?
        {
            *slot = None;
        }
        let session = match slot {
            Some(session) => session,
            None => {
                // The answer to a finished upload may be all that was lost.
                if self.sent.get() > 0 && Stage::Before.stop(self.is_there())? {
                    return Ok(());
                }
                slot.insert(self.remembered(Stage::Before.stop(self.begin())?))
            }
        };
        if !session.resumed {
            return Stage::Whole.stop(self.put(session, Stage::Whole));
        }
        while session.at < self.push.blob.size {
            Stage::Chunk.stop(self.append(session))?;
        }
        Stage::Closing.stop(self.put(session, Stage::Closing))
    }

    /// Learns from a refusal how this registry wants uploads; true where it was such a refusal.
    fn learn(&self, stage: Stage, failure: &Failure, slot: &mut Option<Session>) -> bool {
        let (registry, quirks) = (&self.repository.registry, &self.client.quirks);
        let refused = match failure.status() {
            Some(401 | 403 | 408 | 429) => false,
            Some(404) => !failure.says("BLOB_UPLOAD_UNKNOWN"),
            Some(status) => (400..500).contains(&status),
            None => matches!(failure, Failure::Mismatch { .. }),
        };
        if !refused || !matches!(stage, Stage::Chunk | Stage::Closing) {
            return false;
        }
        let left = slot.as_ref().map_or(0, |session| self.push.blob.size - session.at);
        let too_long = matches!(failure.status(), Some(413 | 416)) && left > SMALL_CHUNK;
        if stage == Stage::Chunk && too_long && quirks.chunks(registry) == Chunks::Any {
            quirks.learn(registry, Chunks::Small);
            self.doubt(slot);
        } else {
            quirks.learn(registry, Chunks::Never);
            *slot = None;
        }
        true
    }

    /// How much of the session arrived is to be asked, or left where it cannot be gone on with.
    fn doubt(&self, slot: &mut Option<Session>) {
        if self.client.quirks.chunks(&self.repository.registry) == Chunks::Never {
            *slot = None;
        } else if let Some(session) = slot {
            session.unsure = true;
        }
    }

    fn unauthorized(&self, failure: Failure) -> Failure {
        match failure {
            Failure::Answer { errors, .. } => {
                let registry = self.repository.registry.clone();
                Failure::Unauthorized { registry, anonymous: false, errors }
            }
            other => other,
        }
    }

    fn is_there(&self) -> Result<bool, Failure> {
        let blob = self.push.blob;
        match self.client.head_blob(self.repository, &blob.digest, &self.scopes)? {
            None => Ok(false),
            Some(Some(actual)) if actual != blob.size => {
                Err(Failure::Size { expected: blob.size, actual })
            }
            Some(_) => Ok(true),
        }
    }

    /// The session that this process or one before it kept. Only the registry's own are kept: what
    /// another host was told to take from us may be signed with a secret.
    fn recalled(&self) -> Result<Option<Session>, Failure> {
        let registry = &self.repository.registry;
        if self.client.quirks.chunks(registry) == Chunks::Never {
            return Ok(None);
        }
        let Some(place) = self.push.memory.recall() else { return Ok(None) };
        if let Ok(url) = Url::parse(&place)
            && self.client.is_own(registry, &url)?
        {
            let mut session = Session::kept(url);
            if self.find_out(&mut session)? {
                return Ok(Some(session));
            }
        }
        self.push.memory.forget();
        Ok(None)
    }

    fn remembered(&self, session: Session) -> Session {
        match self.client.is_own(&self.repository.registry, &session.url) {
            Ok(true) => self.push.memory.remember(session.url.as_str()),
            _ => self.push.memory.forget(),
        }
        session
    }

    /// Asks how much of a session the registry has; false where it cannot be gone on with.
    fn find_out(&self, session: &mut Session) -> Result<bool, Failure> {
        let response = self.ask(Method::Get, &session.url)?;
        match response.status {
            200 | 202 | 204 => {}
            408 | 429 | 500.. => return Err(refused(Method::Get, response)),
            _ => return Ok(false),
        }
        session.moved(&response)?;
        // `0-0` may be one byte: not worth a chunk, nor a wrong guess.
        match end_of_range(&response) {
            Some(at) if at > 1 && at <= self.push.blob.size => {
                (session.at, session.unsure, session.resumed) = (at, false, true);
                (self.push.progress)(at);
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// Asks for mounts where there is something to mount from. A registry that does not mount opens
    /// a session in the same answer.
    fn mount(&self) -> Result<Begun, Failure> {
        let mut opened = None;
        for from in self.push.mount_from.iter().take(MOUNTS) {
            if *from == self.repository.name {
                continue;
            }
            let response = match self.ask_mount(from) {
                Ok(response) => response,
                // The other repository may be closed to us; this one need not be.
                Err(Failure::Unauthorized { .. }) => continue,
                Err(failure) => return Err(failure),
            };
            match response.status {
                201 => {
                    verify_announced(&self.push.blob.digest, &response)?;
                    self.cancel(opened);
                    return Ok(Begun::Mounted);
                }
                202 => {
                    let session = Session::opened(&response)?;
                    self.cancel(opened.replace(session));
                }
                408 | 429 | 500.. => return Err(refused(Method::Post, response)),
                // Neither this nor another repository need be closed to us for a plain upload.
                _ => {}
            }
        }
        Ok(opened.map_or(Begun::Nothing, Begun::Session))
    }

    fn ask_mount(&self, from: &RepositoryName) -> Result<Response, Failure> {
        let mut url = self.uploads()?;
        url.query_pairs_mut()
            .append_pair("mount", &self.push.blob.digest.to_string())
            .append_pair("from", from.as_str());
        let both = self.scopes.clone().and(from, "pull");
        self.client.exchange(&self.repository.registry, &both, Method::Post, &url, |r| r)
    }

    /// Gives up a session that another one replaced.
    fn cancel(&self, session: Option<Session>) {
        if let Some(session) = session {
            // What cannot be given up is discarded by the registry in time.
            drop(self.ask(Method::Delete, &session.url));
        }
    }

    fn begin(&self) -> Result<Session, Failure> {
        let response = self.ask(Method::Post, &self.uploads()?)?;
        if response.status != 202 {
            return Err(refused(Method::Post, response));
        }
        Session::opened(&response)
    }

    fn uploads(&self) -> Result<Url, Failure> {
        let Repository { registry, name } = self.repository;
        self.client.url(registry, &format!("/v2/{name}/blobs/uploads/"))
    }

    fn ask(&self, method: Method, url: &Url) -> Result<Response, Failure> {
        self.client.exchange(&self.repository.registry, &self.scopes, method, url, |r| r)
    }

    /// Ends an upload: with everything, or with nothing more.
    fn put(&self, session: &Session, stage: Stage) -> Result<(), Failure> {
        let mut url = session.url.clone();
        url.query_pairs_mut().append_pair("digest", &self.push.blob.digest.to_string());
        let length = if stage == Stage::Whole { self.push.blob.size } else { 0 };
        let response = self.send(Method::Put, &url, 0, length, None)?;
        match response.status {
            201 | 204 | 200 => verify_announced(&self.push.blob.digest, &response),
            _ => Err(refused(Method::Put, response)),
        }
    }

    /// Sends what is missing, or as much of it as the registry takes at once.
    fn append(&self, session: &mut Session) -> Result<(), Failure> {
        let left = self.push.blob.size - session.at;
        let length = match self.client.quirks.chunks(&self.repository.registry) {
            Chunks::Small => left.min(SMALL_CHUNK.max(session.least)),
            _ => left,
        };
        let end = session.at + length;
        let range = format!("{}-{}", session.at, end - 1);
        let response = self.send(Method::Patch, &session.url, session.at, length, Some(&range))?;
        if !response.is_success() {
            return Err(refused(Method::Patch, response));
        }
        session.moved(&response)?;
        if let Ok(true) = self.client.is_own(&self.repository.registry, &session.url) {
            self.push.memory.remember(session.url.as_str());
        }
        // Some tell the range of the chunk; the digest at the end says whether all is there.
        session.at = match end_of_range(&response) {
            Some(at) if session.at < at && at < end => at,
            _ => end,
        };
        Ok(())
    }

    /// Sends a part of the content. What was refused for want of credentials is not sent again
    /// here, since the registry may have taken some of it.
    fn send(
        &self,
        method: Method,
        url: &Url,
        from: u64,
        length: u64,
        range: Option<&str>,
    ) -> Result<Response, Failure> {
        let told = Cell::new(0);
        let open = || -> io::Result<Box<dyn Read + Send>> { (self.push.open)(from) };
        let progress = |count: u64| {
            self.sent.set(self.sent.get() + count.saturating_sub(told.replace(count)));
            (self.push.progress)(from + count);
        };
        let (registry, scopes) = (&self.repository.registry, &self.scopes);
        self.client.exchange_once(registry, scopes, method, url, |request| {
            let request =
                request.header("content-type", "application/octet-stream").without_retry();
            let request = match range {
                Some(range) => request.header("content-range", range),
                None => request,
            };
            match length {
                0 => request,
                _ => request.body(Body::Stream { length, open: &open, progress: &progress }),
            }
        })
    }
}

/// How an upload began.
enum Begun {
    Mounted,
    Session(Session),
    Nothing,
}

/// True where the registry does not know the session any more.
fn is_gone(stage: Stage, failure: &Failure) -> bool {
    let lost = failure.says("BLOB_UPLOAD_UNKNOWN") || failure.says("BLOB_UPLOAD_INVALID");
    stage != Stage::Before && (lost || failure.status() == Some(404))
}
