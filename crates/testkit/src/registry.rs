//! The embedded registry on a free loopback port over a store of its own, with a log and faults.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use anyarch_oci::{Reference, RepositoryName};
use anyarch_registry::Repository;
use anyarch_registry::server::{Handler, RunningServer, Server, handler};
use anyarch_store::Store;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use base64::Engine;
use futures_util::StreamExt;
use tempfile::TempDir;

use crate::{Fault, TokenService};

/// One request that came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logged {
    /// Method.
    pub method: String,
    /// Path with its query.
    pub target: String,
    /// Status of the answer; 0 where the connection was dropped instead.
    pub status: u16,
    /// The `Range` header.
    pub range: Option<String>,
    /// The `Authorization` header.
    pub authorization: Option<String>,
    /// Bytes of the request's body that arrived.
    pub received: u64,
}

/// A registry for one test.
pub struct TestRegistry {
    server: RunningServer,
    store: Store,
    shared: Arc<Shared>,
    _folder: TempDir,
}

#[derive(Default)]
struct Shared {
    log: Mutex<Vec<Logged>>,
    faults: Mutex<Vec<(Fault, usize)>>,
}

impl TestRegistry {
    /// A registry that takes anything from anyone.
    pub fn start() -> TestRegistry {
        TestRegistry::start_with(|inner| inner)
    }

    /// A registry that demands tokens of `service`.
    pub fn start_guarded(service: &TokenService) -> TestRegistry {
        TestRegistry::start_with(|inner| service.guard(inner))
    }

    /// A registry that demands a name and a password.
    pub fn start_with_password(username: &str, password: &str) -> TestRegistry {
        let pair = format!("{username}:{password}");
        let pair = base64::engine::general_purpose::STANDARD.encode(pair);
        TestRegistry::start_with(move |inner| demand_password(format!("Basic {pair}"), inner))
    }

    fn start_with(wrap: impl FnOnce(Handler) -> Handler) -> TestRegistry {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let shared = Arc::new(Shared::default());
        let handler = logged(&shared, wrap(faulty(&shared, handler(store.clone(), None))));
        let server = Server::with_handler("127.0.0.1:0", handler).unwrap();
        let server = server.serve_in_background().unwrap();
        TestRegistry { server, store, shared, _folder: folder }
    }

    /// Host and port, as in references.
    pub fn host(&self) -> String {
        self.server.addr().to_string()
    }

    /// The store behind it.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// A repository of this registry.
    pub fn repository(&self, name: &str) -> Repository {
        Repository::new(self.host(), name.parse::<RepositoryName>().unwrap())
    }

    /// A reference into this registry: `reference("acme/app:v1")`.
    pub fn reference(&self, text: &str) -> Reference {
        format!("{}/{text}", self.host()).parse().unwrap()
    }

    /// Adds a rule; the first that matches and applies is followed.
    pub fn fault(&self, fault: Fault) {
        self.shared.faults.lock().unwrap().push((fault, 0));
    }

    /// Takes all rules away.
    pub fn mend(&self) {
        self.shared.faults.lock().unwrap().clear();
    }

    /// The requests so far, and forgets them.
    pub fn take_log(&self) -> Vec<Logged> {
        std::mem::take(&mut self.shared.log.lock().unwrap())
    }

    /// How many requests of a method went to paths that contain `path`, since the log was taken.
    pub fn count(&self, method: &str, path: &str) -> usize {
        let log = self.shared.log.lock().unwrap();
        log.iter().filter(|entry| entry.method == method && entry.target.contains(path)).count()
    }
}

fn logged(shared: &Arc<Shared>, inner: Handler) -> Handler {
    let shared = Arc::clone(shared);
    Arc::new(move |request: Request| {
        let (shared, inner) = (Arc::clone(&shared), Arc::clone(&inner));
        Box::pin(async move {
            let mut entry = Logged {
                method: request.method().to_string(),
                target: request.uri().to_string(),
                status: 0,
                range: header(&request, "range"),
                authorization: header(&request, "authorization"),
                received: 0,
            };
            let received = Arc::new(AtomicU64::new(0));
            let counter = Arc::clone(&received);
            let request = request.map(|body| {
                Body::from_stream(body.into_data_stream().inspect(move |chunk| {
                    let count = chunk.as_ref().map_or(0, |chunk| chunk.len() as u64);
                    counter.fetch_add(count, Ordering::Relaxed);
                }))
            });
            let outcome = inner(request).await;
            entry.received = received.load(Ordering::Relaxed);
            if let Ok(response) = &outcome {
                entry.status = response.status().as_u16();
            }
            shared.log.lock().unwrap().push(entry);
            outcome
        })
    })
}

fn demand_password(wanted: String, inner: Handler) -> Handler {
    Arc::new(move |request: Request| {
        if header(&request, "authorization").as_ref() == Some(&wanted) {
            return inner(request);
        }
        Box::pin(async move {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::UNAUTHORIZED;
            let value = HeaderValue::from_static("Basic realm=\"test\"");
            response.headers_mut().insert("www-authenticate", value);
            Ok(response)
        })
    })
}

fn faulty(shared: &Arc<Shared>, inner: Handler) -> Handler {
    let shared = Arc::clone(shared);
    Arc::new(move |request: Request| {
        let fault = {
            let mut faults = shared.faults.lock().unwrap();
            let target = request.uri().path_and_query().map_or("", |target| target.as_str());
            let method = request.method().as_str();
            let mut chosen = None;
            for (fault, seen) in
                faults.iter_mut().filter(|(fault, _)| fault.matches(method, target))
            {
                *seen += 1;
                if chosen.is_none() && fault.applies(*seen) {
                    chosen = Some(fault.clone());
                }
            }
            chosen
        };
        let inner = Arc::clone(&inner);
        match fault {
            Some(fault) => Box::pin(fault.apply(request, inner)),
            None => inner(request),
        }
    })
}

fn header(request: &Request, name: &str) -> Option<String> {
    let value = request.headers().get(name)?;
    Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
}
