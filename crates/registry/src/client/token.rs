//! Turns a registry's demand and our credentials into an `Authorization` header, and remembers
//! tokens by what they allow until shortly before they expire.

use std::collections::{BTreeSet, HashMap};
use std::io::Read;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyarch_http::{Body, Client, Method, Request, Response};
use anyarch_oci::RepositoryName;
use base64::Engine;
use serde::Deserialize;
use url::Url;

use super::auth::{Authenticator, Credentials};
use super::challenge::Challenge;
use super::error::Failure;
use super::host::is_loopback;

/// Longest answer of a token service that is read.
const MAX_ANSWER: u64 = 1 << 20;
/// What a token is good for when the service does not say (token specification: 60 seconds).
const DEFAULT_LIFE: u64 = 60;

/// What requests need to be allowed, in the token specification's words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Scopes(BTreeSet<String>);

impl Scopes {
    pub(crate) fn none() -> Scopes {
        Scopes::default()
    }

    pub(crate) fn of(repository: &RepositoryName, actions: &str) -> Scopes {
        Scopes::default().and(repository, actions)
    }

    pub(crate) fn and(mut self, repository: &RepositoryName, actions: &str) -> Scopes {
        self.0.insert(format!("repository:{repository}:{actions}"));
        self
    }
}

#[derive(Default)]
pub(crate) struct Tokens {
    challenges: Mutex<HashMap<String, Challenge>>,
    tokens: Mutex<HashMap<(String, Scopes), Token>>,
}

struct Token {
    value: String,
    good_until: Instant,
}

#[derive(Deserialize)]
struct TokenAnswer {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    access_token: Option<String>,
    #[serde(default)]
    expires_in: Option<u64>,
}

/// A panic elsewhere cannot leave these maps half changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Tokens {
    /// Remembers what a registry demanded, and forgets the token it did not take.
    pub(crate) fn demanded(&self, registry: &str, scopes: &Scopes, challenge: Challenge) {
        lock(&self.tokens).remove(&(registry.to_owned(), scopes.clone()));
        lock(&self.challenges).insert(registry.to_owned(), challenge);
    }

    /// The `Authorization` header for requests within `scopes`; `None` where nothing was demanded
    /// yet or we have nothing to show.
    pub(crate) fn authorization(
        &self,
        http: &Client,
        auth: &dyn Authenticator,
        registry: &str,
        scopes: &Scopes,
    ) -> Result<Option<String>, Failure> {
        let Some(challenge) = lock(&self.challenges).get(registry).cloned() else {
            return Ok(None);
        };
        let key = (registry.to_owned(), scopes.clone());
        if let Some(token) = lock(&self.tokens).get(&key)
            && token.good_until > Instant::now()
        {
            return Ok(Some(format!("Bearer {}", token.value)));
        }
        let credentials = auth
            .credentials(registry)
            .map_err(|source| Failure::Credentials { registry: registry.to_owned(), source })?;
        let (realm, service, scope) = match (challenge, &credentials) {
            (_, Credentials::Bearer(token)) => return Ok(Some(format!("Bearer {token}"))),
            (Challenge::Basic, Credentials::Basic { username, password }) => {
                return Ok(Some(basic(username, password)));
            }
            (Challenge::Basic, _) => return Ok(None),
            (Challenge::Bearer { realm, service, scope }, _) => (realm, service, scope),
        };
        let mut wanted = scopes.clone();
        if wanted == Scopes::none() {
            wanted.0.extend(scope);
        }
        let request = token_request(registry, &realm, service.as_deref(), &wanted, &credentials)?;
        let token = read_token(registry, &realm, &credentials, http.send(&request)?)?;
        let header = format!("Bearer {}", token.value);
        lock(&self.tokens).insert(key, token);
        Ok(Some(header))
    }
}

fn basic(username: &str, password: &str) -> String {
    let pair = format!("{username}:{password}");
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
}

fn token_request(
    registry: &str,
    realm: &str,
    service: Option<&str>,
    scopes: &Scopes,
    credentials: &Credentials,
) -> Result<Request<'static>, Failure> {
    let refused =
        |reason: &str| Failure::Token { realm: realm.to_owned(), reason: reason.to_owned() };
    let mut url = Url::parse(realm).map_err(|error| refused(&format!("not a URL: {error}")))?;
    let host = url.host_str().unwrap_or_default();
    if url.scheme() != "https" && !is_loopback(host) && !is_loopback(registry) {
        return Err(refused("it is not asked over an unprotected connection"));
    }
    if let Credentials::IdentityToken(token) = credentials {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "refresh_token")
            .append_pair("refresh_token", token)
            .append_pair("client_id", "anyarch");
        if let Some(service) = service {
            form.append_pair("service", service);
        }
        let scopes: Vec<&str> = scopes.0.iter().map(String::as_str).collect();
        form.append_pair("scope", &scopes.join(" "));
        return Ok(Request::new(Method::Post, url)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Body::Bytes(form.finish().into_bytes())));
    }
    if let Some(service) = service {
        url.query_pairs_mut().append_pair("service", service);
    }
    for scope in &scopes.0 {
        url.query_pairs_mut().append_pair("scope", scope);
    }
    let request = Request::new(Method::Get, url);
    Ok(match credentials {
        Credentials::Basic { username, password } => {
            request.header("authorization", basic(username, password))
        }
        _ => request,
    })
}

fn read_token(
    registry: &str,
    realm: &str,
    credentials: &Credentials,
    response: Response,
) -> Result<Token, Failure> {
    if matches!(response.status, 400 | 401 | 403) {
        return Err(Failure::Unauthorized {
            registry: registry.to_owned(),
            anonymous: *credentials == Credentials::Anonymous,
            errors: Vec::new(),
        });
    }
    if !response.is_success() {
        return Err(response.into_error().into());
    }
    let refused = |reason: String| Failure::Token { realm: realm.to_owned(), reason };
    let mut text = Vec::new();
    response
        .body
        .take(MAX_ANSWER)
        .read_to_end(&mut text)
        .map_err(|error| refused(error.to_string()))?;
    let answer: TokenAnswer =
        serde_json::from_slice(&text).map_err(|error| refused(error.to_string()))?;
    let value = answer
        .token
        .or(answer.access_token)
        .filter(|value| !value.is_empty())
        .ok_or_else(|| refused("there is none in its answer".to_owned()))?;
    let life = answer.expires_in.unwrap_or(DEFAULT_LIFE);
    // A token that ends while a request is on its way is of no use.
    let life = Duration::from_secs(life.saturating_sub((life / 5).min(15)));
    let now = Instant::now();
    Ok(Token { value, good_until: now.checked_add(life).unwrap_or(now) })
}
