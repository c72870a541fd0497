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
/// The name beside an identity token where a token service wants a name and password, as Docker's
/// helper programs write it.
const IDENTITY: &str = "<token>";

/// What requests need to be allowed, in the token specification's words, and the repository whose
/// credentials allow it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Scopes {
    repository: Option<RepositoryName>,
    words: BTreeSet<String>,
}

impl Scopes {
    pub(crate) fn none() -> Scopes {
        Scopes::default()
    }

    pub(crate) fn of(repository: &RepositoryName, actions: &str) -> Scopes {
        let scopes = Scopes { repository: Some(repository.clone()), words: BTreeSet::new() };
        scopes.and(repository, actions)
    }

    pub(crate) fn and(mut self, repository: &RepositoryName, actions: &str) -> Scopes {
        self.words.insert(format!("repository:{repository}:{actions}"));
        self
    }
}

/// Asks for access to registries, and keeps what was learned about it.
#[derive(Default)]
pub(crate) struct Tokens {
    challenges: Mutex<HashMap<String, Challenge>>,
    tokens: Mutex<HashMap<(String, Scopes), Token>>,
    /// Finding some may take a helper program, so they are looked for once, until refused.
    credentials: Mutex<HashMap<(String, Option<RepositoryName>), Credentials>>,
    /// Held by the thread that asks for a token.
    asking: Mutex<()>,
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
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Tokens {
    /// Remembers what a registry demanded instead of taking `refused`, and forgets that and where
    /// it came from. What another thread has got in the meantime stays.
    pub(crate) fn demanded(
        &self,
        registry: &str,
        scopes: &Scopes,
        challenge: Challenge,
        refused: Option<&str>,
    ) {
        lock(&self.challenges).insert(registry.to_owned(), challenge);
        let Some(refused) = refused else { return };
        let key = (registry.to_owned(), scopes.clone());
        let mut tokens = lock(&self.tokens);
        match tokens.get(&key) {
            Some(token) if refused == bearer(&token.value) => drop(tokens.remove(&key)),
            Some(_) => {}
            None => {
                let key = (registry.to_owned(), scopes.repository.clone());
                lock(&self.credentials).remove(&key);
            }
        }
    }

    /// The `Authorization` header for requests within `scopes`; `None` where nothing was demanded
    /// yet or we have nothing to show. Only where `insecure` is set may secrets go over plain http.
    pub(crate) fn authorization(
        &self,
        http: &Client,
        auth: &dyn Authenticator,
        registry: &str,
        insecure: bool,
        scopes: &Scopes,
    ) -> Result<Option<String>, Failure> {
        let Some(challenge) = lock(&self.challenges).get(registry).cloned() else {
            return Ok(None);
        };
        let key = (registry.to_owned(), scopes.clone());
        let known = || {
            let tokens = lock(&self.tokens);
            let token = tokens.get(&key).filter(|token| token.good_until > Instant::now())?;
            Some(bearer(&token.value))
        };
        if let Some(header) = known() {
            return Ok(Some(header));
        }
        // Threads that come at once wait for the one token instead of asking for it each.
        let _turn = lock(&self.asking);
        if let Some(header) = known() {
            return Ok(Some(header));
        }
        let credentials = self.credentials(auth, registry, scopes)?;
        let (realm, service, scope) = match (challenge, &credentials) {
            (_, Credentials::Bearer(token)) => return Ok(Some(bearer(token))),
            (Challenge::Basic, Credentials::Basic { username, password }) => {
                return Ok(Some(basic(username, password)));
            }
            (Challenge::Basic, _) => return Ok(None),
            (Challenge::Bearer { realm, service, scope }, _) => (realm, service, scope),
        };
        let mut wanted = scopes.words.clone();
        if wanted.is_empty() {
            wanted.extend(scope);
        }
        let service = service.as_deref();
        let service = TokenService { registry, insecure, realm: &realm, service };
        let token = service.ask(http, &wanted, &credentials);
        if matches!(token, Err(Failure::Unauthorized { .. })) {
            // A helper program may have newer ones by the next time.
            lock(&self.credentials).remove(&(registry.to_owned(), scopes.repository.clone()));
        }
        let token = token?;
        let header = bearer(&token.value);
        lock(&self.tokens).insert(key, token);
        Ok(Some(header))
    }

    /// The credentials for the repository of `scopes`, found once.
    pub(crate) fn credentials(
        &self,
        auth: &dyn Authenticator,
        registry: &str,
        scopes: &Scopes,
    ) -> Result<Credentials, Failure> {
        let key = (registry.to_owned(), scopes.repository.clone());
        if let Some(known) = lock(&self.credentials).get(&key) {
            return Ok(known.clone());
        }
        let found = auth
            .credentials(registry, scopes.repository.as_ref())
            .map_err(|source| Failure::Credentials { registry: registry.to_owned(), source })?;
        lock(&self.credentials).insert(key, found.clone());
        Ok(found)
    }
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

fn basic(username: &str, password: &str) -> String {
    let pair = format!("{username}:{password}");
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
}

/// Where a registry sends us for tokens.
struct TokenService<'a> {
    registry: &'a str,
    insecure: bool,
    realm: &'a str,
    service: Option<&'a str>,
}

impl TokenService<'_> {
    fn ask(
        &self,
        http: &Client,
        scopes: &BTreeSet<String>,
        credentials: &Credentials,
    ) -> Result<Token, Failure> {
        let url = self.url()?;
        let Credentials::IdentityToken(token) = credentials else {
            let pair = match credentials {
                Credentials::Basic { username, password } => Some((&**username, &**password)),
                _ => None,
            };
            let response = http.send(&self.by_password(url, scopes, pair))?;
            return self.read(credentials, response);
        };
        let response = http.send(&self.by_refresh_token(url.clone(), scopes, token))?;
        // Services that know no POST take the token for a password.
        if !matches!(response.status, 404 | 405) {
            return self.read(credentials, response);
        }
        let response = http.send(&self.by_password(url, scopes, Some((IDENTITY, token))))?;
        self.read(credentials, response)
    }

    fn url(&self) -> Result<Url, Failure> {
        let mut url =
            Url::parse(self.realm).map_err(|error| self.failed(format!("not a URL: {error}")))?;
        let host = url.host_str().unwrap_or_default();
        if url.scheme() != "https" && !is_loopback(host) && !self.insecure {
            return Err(self.failed("it is not asked over an unprotected connection"));
        }
        url.set_fragment(None);
        Ok(url)
    }

    /// GET, with name and password where we have some.
    fn by_password(
        &self,
        mut url: Url,
        scopes: &BTreeSet<String>,
        pair: Option<(&str, &str)>,
    ) -> Request<'static> {
        if let Some(service) = self.service {
            url.query_pairs_mut().append_pair("service", service);
        }
        for scope in scopes {
            url.query_pairs_mut().append_pair("scope", scope);
        }
        let request = Request::new(Method::Get, url);
        match pair {
            Some((username, password)) => {
                request.header("authorization", basic(username, password))
            }
            None => request,
        }
    }

    /// POST as OAuth2 has it (distribution, "OAuth2 token authentication").
    fn by_refresh_token(
        &self,
        url: Url,
        scopes: &BTreeSet<String>,
        token: &str,
    ) -> Request<'static> {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "refresh_token")
            .append_pair("refresh_token", token)
            .append_pair("client_id", "anyarch");
        if let Some(service) = self.service {
            form.append_pair("service", service);
        }
        let scopes: Vec<&str> = scopes.iter().map(String::as_str).collect();
        form.append_pair("scope", &scopes.join(" "));
        Request::new(Method::Post, url)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Body::Bytes(form.finish().into_bytes()))
    }

    fn read(&self, credentials: &Credentials, response: Response) -> Result<Token, Failure> {
        if matches!(response.status, 400 | 401 | 403) {
            return Err(Failure::Unauthorized {
                registry: self.registry.to_owned(),
                anonymous: *credentials == Credentials::Anonymous,
                errors: Vec::new(),
            });
        }
        if !response.is_success() {
            return Err(response.into_error().into());
        }
        let mut text = Vec::new();
        response
            .body
            .take(MAX_ANSWER)
            .read_to_end(&mut text)
            .map_err(|error| self.failed(error.to_string()))?;
        // The parser's words may quote the answer, and with it a secret.
        let answer: TokenAnswer =
            serde_json::from_slice(&text).map_err(|_| self.failed("its answer does not parse"))?;
        let value = answer
            .token
            .or(answer.access_token)
            .filter(|value| !value.is_empty())
            .ok_or_else(|| self.failed("there is none in its answer"))?;
        let life = answer.expires_in.unwrap_or(DEFAULT_LIFE);
        // A token that ends while a request is on its way is of no use.
        let life = Duration::from_secs(life.saturating_sub((life / 5).min(15)));
        let now = Instant::now();
        Ok(Token { value, good_until: now.checked_add(life).unwrap_or(now) })
    }

    fn failed(&self, reason: impl Into<String>) -> Failure {
        Failure::Token { realm: self.realm.to_owned(), reason: reason.into() }
    }
}
