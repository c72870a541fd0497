//! What requests share: the store, and the uploads whose files are open.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use anyarch_oci::RepositoryName;
use anyarch_store::{Ingest, Resumed, Store, UploadId};
use axum::http::{StatusCode, header};

use super::options::Limits;
use super::reply::Refusal;

#[derive(Clone)]
pub(super) struct State {
    pub(super) store: Store,
    pub(super) limits: Limits,
    uploads: Arc<Mutex<HashMap<Place, Upload>>>,
}

/// What an upload has so far; `None` once it is finished or failed.
pub(super) type Session = Arc<tokio::sync::Mutex<Option<Ingest>>>;

/// Where an upload goes, and its name there.
pub(super) type Place = (RepositoryName, UploadId);

struct Upload {
    session: Session,
    touched: Instant,
}

/// A panic elsewhere cannot leave this map half changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    pub(super) fn new(store: Store, limits: Limits) -> State {
        State { store, limits, uploads: Arc::default() }
    }

    /// Runs something that blocks, away from the threads that serve connections.
    pub(super) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let store = self.store.clone();
        tokio::task::spawn_blocking(move || work(&store)).await.map_err(internal)?
    }

    /// Begins an upload and gives its name.
    pub(super) async fn begin(&self, repository: &RepositoryName) -> Result<UploadId, Refusal> {
        self.make_room()?;
        let name = repository.clone();
        let (id, ingest) = self.blocking(move |store| Ok(store.begin_upload(&name)?)).await?;
        self.open(&(repository.clone(), id.clone()), ingest);
        Ok(id)
    }

    /// Finds an upload: among those that are open, else among those that a server before this one
    /// left, or that were closed to make room.
    pub(super) async fn session(&self, place: &Place) -> Result<Session, Refusal> {
        if let Some(session) = self.open_session(place) {
            return Ok(session);
        }
        self.make_room()?;
        let (repository, id) = place.clone();
        match self.blocking(move |store| Ok(store.resume_upload(&repository, &id)?)).await? {
            Resumed::Upload(ingest) => Ok(self.open(place, ingest)),
            Resumed::Missing => Err(no_upload(&place.1)),
            // Perhaps another request has just opened it here.
            Resumed::Busy => self.open_session(place).ok_or_else(busy),
        }
    }

    pub(super) fn end(&self, place: &Place) {
        lock(&self.uploads).remove(place);
    }

    fn open(&self, place: &Place, ingest: Ingest) -> Session {
        let session: Session = Arc::new(tokio::sync::Mutex::new(Some(ingest)));
        let upload = Upload { session: Arc::clone(&session), touched: Instant::now() };
        lock(&self.uploads).insert(place.clone(), upload);
        session
    }

    fn open_session(&self, place: &Place) -> Option<Session> {
        let mut uploads = lock(&self.uploads);
        let upload = uploads.get_mut(place)?;
        upload.touched = Instant::now();
        Some(Arc::clone(&upload.session))
    }

    /// Closes the upload that nobody has touched for longest, where there are too many.
    fn make_room(&self) -> Result<(), Refusal> {
        let mut uploads = lock(&self.uploads);
        while uploads.len() >= self.limits.uploads {
            // Whoever uses a session has a share in it, and gets it through the locked map only.
            let idle = uploads.iter().filter(|(_, upload)| Arc::strong_count(&upload.session) == 1);
            let Some(place) = idle.min_by_key(|(_, upload)| upload.touched).map(|(place, _)| place)
            else {
                let words = format!("{} uploads are being written", uploads.len());
                let refusal = Refusal::new(StatusCode::TOO_MANY_REQUESTS, "TOOMANYREQUESTS", words);
                return Err(refusal.with(header::RETRY_AFTER, 1));
            };
            let place = place.clone();
            uploads.remove(&place);
        }
        Ok(())
    }
}

pub(super) fn no_upload(id: impl std::fmt::Display) -> Refusal {
    Refusal::unknown("BLOB_UPLOAD_UNKNOWN", format!("there is no upload {id}"))
}

pub(super) fn busy() -> Refusal {
    let words = "another request is writing to this upload";
    Refusal::new(StatusCode::CONFLICT, "BLOB_UPLOAD_INVALID", words)
}

pub(super) fn internal(error: impl std::fmt::Display) -> Refusal {
    Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "UNKNOWN", error)
}
