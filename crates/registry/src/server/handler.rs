//! One request to one answer: finds the object, calls what handles it, reports.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use anyarch_store::Store;
use axum::extract::Request;
use axum::http::{Method, StatusCode, header};
use axum::response::Response;

use super::access::{OnAccess, observe};
use super::guard::Guard;
use super::incoming::Incoming;
use super::options::Options;
use super::reply::{Outcome, Refusal, Reply};
use super::route::{Object, Query};
use super::state::State;
use super::{blobs, lists, manifests, uploads};

/// Says that a connection is to be closed without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionDropped;

impl fmt::Display for ConnectionDropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("connection dropped")
    }
}

impl std::error::Error for ConnectionDropped {}

/// What turns a request into an answer. Handlers can be put around each other.
pub type Handler = Arc<
    dyn Fn(Request) -> Pin<Box<dyn Future<Output = Result<Response, ConnectionDropped>> + Send>>
        + Send
        + Sync,
>;

/// The registry over `store` as a handler.
pub fn handler(store: Store, on_access: Option<OnAccess>) -> Handler {
    handler_with(store, &Options { on_access, ..Options::default() })
}

/// The same with the accounts and limits of `options`.
pub(super) fn handler_with(store: Store, options: &Options) -> Handler {
    let state = State::new(store, options.limits);
    let (guard, on_access) = (Guard::new(options), options.on_access.clone());
    Arc::new(move |request| {
        let (state, guard, on_access) = (state.clone(), guard.clone(), on_access.clone());
        Box::pin(async move {
            let method = request.method().to_string();
            let path = request.uri().path().to_owned();
            let response = answer(&state, &guard, request).await;
            let response = response.unwrap_or_else(Refusal::into_response);
            Ok(match on_access {
                Some(on_access) => observe(response, method, path, on_access),
                None => response,
            })
        })
    })
}

/// Hyper leaves the body out of what answers HEAD.
async fn answer(state: &State, guard: &Guard, request: Request) -> Outcome {
    let (parts, body) = request.into_parts();
    let query = Query::parse(parts.uri.query());
    let (method, headers) = (&parts.method, &parts.headers);
    let object = Object::parse(parts.uri.path());
    guard.check(method, object.as_ref().ok(), headers).await?;
    let object = object?;
    let body = Incoming::new(body, state.limits.patience);
    match (method, object) {
        (&Method::GET | &Method::HEAD, Object::Base) => Ok(Reply::new(StatusCode::OK)
            .header(header::CONTENT_TYPE, "application/json")
            .bytes(b"{}".to_vec())),
        (&Method::GET | &Method::HEAD, Object::Catalog) => lists::catalog(state, &query).await,
        (&Method::GET | &Method::HEAD, Object::Tags(name)) => {
            lists::tags(state, &name, &query).await
        }
        (&Method::GET | &Method::HEAD, Object::Referrers(name, subject)) => {
            lists::referrers(state, &name, &subject, &query).await
        }
        (&Method::GET | &Method::HEAD, Object::Manifest(name, key)) => {
            manifests::get(state, &name, key, headers).await
        }
        (&Method::PUT, Object::Manifest(name, key)) => {
            manifests::put(state, &name, key, headers, body).await
        }
        (&Method::DELETE, Object::Manifest(name, key)) => {
            manifests::delete(state, &name, key, headers).await
        }
        (&Method::GET | &Method::HEAD, Object::Blob(name, digest)) => {
            blobs::get(state, &name, &digest, headers, method == Method::HEAD).await
        }
        (&Method::DELETE, Object::Blob(name, digest)) => blobs::delete(state, &name, &digest).await,
        (&Method::POST, Object::Uploads(name)) => {
            uploads::begin(state, &name, &query, headers, body).await
        }
        (&Method::GET | &Method::HEAD, Object::Upload(name, id)) => {
            uploads::status(state, &name, &id).await
        }
        (&Method::PATCH, Object::Upload(name, id)) => {
            uploads::append(state, &name, &id, headers, body).await
        }
        (&Method::PUT, Object::Upload(name, id)) => {
            uploads::finish(state, &name, &id, &query, headers, body).await
        }
        (&Method::DELETE, Object::Upload(name, id)) => uploads::cancel(state, &name, &id).await,
        (_, object) => {
            let words = format!("{method} is not possible here");
            let refusal = Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", words);
            Err(refusal.with(header::ALLOW, object.methods()))
        }
    }
}
