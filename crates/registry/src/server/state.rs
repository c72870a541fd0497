//! What requests share: the store, the uploads in progress, the blobs hidden from repositories.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyarch_oci::{Digest, RepositoryName};
use anyarch_store::{Ingest, Store};
use axum::http::StatusCode;

use super::reply::Refusal;

/// An upload that nobody touched for so long is discarded.
const UPLOAD_LIFE: Duration = Duration::from_secs(3600);

#[derive(Clone)]
pub(super) struct State {
    pub(super) store: Store,
    uploads: Arc<Mutex<HashMap<String, Upload>>>,
    hidden: Arc<Mutex<HashSet<(RepositoryName, Digest)>>>,
    tagging: Arc<Mutex<()>>,
}

/// What an upload has so far; `None` once it is finished or failed.
pub(super) type Session = Arc<tokio::sync::Mutex<Option<Ingest>>>;

struct Upload {
    repository: RepositoryName,
    session: Session,
    touched: Instant,
}

/// A panic elsewhere cannot leave these maps half changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    pub(super) fn new(store: Store) -> State {
        State { store, uploads: Arc::default(), hidden: Arc::default(), tagging: Arc::default() }
    }

    /// Runs something that blocks, away from the threads that serve connections.
    pub(super) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let store = self.store.clone();
        tokio::task::spawn_blocking(move || work(&store)).await.map_err(internal)?
    }

    /// Adds an upload and gives its identifier; forgets those left behind.
    pub(super) fn begin(
        &self,
        repository: &RepositoryName,
        ingest: Ingest,
    ) -> Result<String, Refusal> {
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(internal)?;
        let id: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        let now = Instant::now();
        let upload = Upload {
            repository: repository.clone(),
            session: Arc::new(tokio::sync::Mutex::new(Some(ingest))),
            touched: now,
        };
        let mut uploads = lock(&self.uploads);
        uploads.retain(|_, old| {
            now.duration_since(old.touched) < UPLOAD_LIFE || old.session.try_lock().is_err()
        });
        uploads.insert(id.clone(), upload);
        Ok(id)
    }

    pub(super) fn session(
        &self,
        repository: &RepositoryName,
        id: &str,
    ) -> Result<Session, Refusal> {
        let mut uploads = lock(&self.uploads);
        match uploads.get_mut(id) {
            Some(upload) if upload.repository == *repository => {
                upload.touched = Instant::now();
                Ok(Arc::clone(&upload.session))
            }
            _ => Err(Refusal::unknown("BLOB_UPLOAD_UNKNOWN", format!("there is no upload {id}"))),
        }
    }

    /// Held while a tag is looked at and set, so that no two requests find it new.
    pub(super) fn tagging(&self) -> MutexGuard<'_, ()> {
        lock(&self.tagging)
    }

    pub(super) fn end(&self, id: &str) {
        lock(&self.uploads).remove(id);
    }

    pub(super) fn hide(&self, repository: &RepositoryName, digest: &Digest) {
        lock(&self.hidden).insert((repository.clone(), digest.clone()));
    }

    pub(super) fn show(&self, repository: &RepositoryName, digest: &Digest) {
        lock(&self.hidden).remove(&(repository.clone(), digest.clone()));
    }

    /// Length of a blob that the repository may see.
    pub(super) fn blob_size(&self, repository: &RepositoryName, digest: &Digest) -> Option<u64> {
        if lock(&self.hidden).contains(&(repository.clone(), digest.clone())) {
            return None;
        }
        self.store.blob_size(digest)
    }
}

pub(super) fn internal(error: impl std::fmt::Display) -> Refusal {
    Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "UNKNOWN", error)
}
