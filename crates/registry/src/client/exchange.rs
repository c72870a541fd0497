//! One exchange with a registry: authorised where it demands so, with its errors read.

use std::collections::HashMap;
use std::io::Read;
use std::sync::Mutex;

use anyarch_http::{Client, Method, Request, Response};
use serde::Deserialize;
use url::Url;

use super::auth::{Authenticator, Credentials};
use super::challenge::Challenge;
use super::error::{ErrorInfo, Failure, RegistryError};
use super::host::{RegistrySettings, base_url, canonical};
use super::mirror::Unreachable;
use super::quirks::Quirks;
use super::token::{Scopes, Tokens, lock};

/// Longest error answer that is read.
const MAX_ERROR: u64 = 64 * 1024;

/// A client for any number of registries. Blocking; share it between threads by reference.
pub struct RegistryClient {
    http: Client,
    auth: Box<dyn Authenticator>,
    settings: HashMap<String, RegistrySettings>,
    /// Clients for registries with an authority of their own, made when they are needed.
    trusting: Mutex<HashMap<String, Client>>,
    tokens: Tokens,
    pub(super) quirks: Quirks,
    pub(super) unreachable: Unreachable,
}

#[derive(Deserialize)]
struct ErrorAnswer {
    #[serde(default)]
    errors: Vec<ErrorInfo>,
}

impl RegistryClient {
    /// A client over `http` that shows the credentials that `auth` finds.
    pub fn new(http: Client, auth: impl Authenticator + 'static) -> RegistryClient {
        RegistryClient {
            http,
            auth: Box::new(auth),
            settings: HashMap::new(),
            trusting: Mutex::default(),
            tokens: Tokens::default(),
            quirks: Quirks::default(),
            unreachable: Unreachable::default(),
        }
    }

    /// The same with settings for registries, named as in references.
    pub fn with_settings(
        mut self,
        settings: impl IntoIterator<Item = (String, RegistrySettings)>,
    ) -> RegistryClient {
        let named = |(name, settings): (String, _)| (canonical(&name).to_owned(), settings);
        self.settings.extend(settings.into_iter().map(named));
        self
    }

    /// The client that reaches a registry. Fails where a file with its authorities is unusable.
    pub(super) fn http(&self, registry: &str) -> Result<Client, Failure> {
        let registry = canonical(registry);
        match self.settings.get(registry) {
            Some(settings) if !settings.ca.is_empty() => {
                let mut trusting = lock(&self.trusting);
                if let Some(client) = trusting.get(registry) {
                    return Ok(client.clone());
                }
                let client = self.http.with_extra_trust(&settings.ca)?;
                trusting.insert(registry.to_owned(), client.clone());
                Ok(client)
            }
            _ => Ok(self.http.clone()),
        }
    }

    /// What pulls from a registry try first.
    pub(super) fn mirrors(&self, registry: &str) -> &[String] {
        self.settings.get(canonical(registry)).map_or(&[], |settings| &settings.mirrors)
    }

    /// Whether a registry is there, speaks the distribution API and accepts who we are.
    pub fn ping(&self, registry: &str) -> Result<(), RegistryError> {
        let url = self.url(registry, "/v2/");
        let response =
            url.and_then(|url| self.exchange(registry, &Scopes::none(), Method::Get, &url, |r| r));
        match response {
            Ok(response) if response.is_success() => Ok(()),
            Ok(response) => Err(refused(Method::Get, response)),
            Err(failure) => Err(failure),
        }
        .map_err(|failure| failure.during(format!("reach registry {registry}")))
    }

    /// The URL of a path of a registry.
    pub(super) fn url(&self, registry: &str, path: &str) -> Result<Url, Failure> {
        let registry = canonical(registry);
        let base = match self.settings.get(registry) {
            Some(settings) => base_url(registry, settings),
            None => base_url(registry, &RegistrySettings::default()),
        };
        Url::parse(&format!("{base}{path}"))
            .map_err(|error| Failure::Protocol(format!("`{registry}` is not a host: {error}")))
    }

    /// True where a URL leads to the registry itself, which alone is shown credentials.
    pub(super) fn is_own(&self, registry: &str, url: &Url) -> Result<bool, Failure> {
        Ok(self.url(registry, "/")?.origin() == url.origin())
    }

    /// Sends one request, and once more with fresh credentials where the first was not authorised.
    /// Any other answer is the caller's.
    pub(super) fn exchange<'a>(
        &self,
        registry: &str,
        scopes: &Scopes,
        method: Method,
        url: &Url,
        fill: impl Fn(Request<'a>) -> Request<'a>,
    ) -> Result<Response, Failure> {
        let first = self.exchange_once(registry, scopes, method, url, &fill)?;
        if first.status != 401 || !self.is_own(registry, url)? {
            return Ok(first);
        }
        drop(first);
        let second = self.exchange_once(registry, scopes, method, url, &fill)?;
        if second.status == 401 {
            return Err(self.unauthorized(registry, scopes, second));
        }
        Ok(second)
    }

    /// Sends one request. Where the registry itself answers 401, the next one has fresh
    /// credentials; where there are none, that is the failure.
    pub(super) fn exchange_once<'a>(
        &self,
        registry: &str,
        scopes: &Scopes,
        method: Method,
        url: &Url,
        fill: impl Fn(Request<'a>) -> Request<'a>,
    ) -> Result<Response, Failure> {
        let registry = canonical(registry);
        let http = self.http(registry)?;
        let mut request = fill(Request::new(method, url.as_str()));
        if !self.is_own(registry, url)? {
            return Ok(http.send(&request)?);
        }
        let insecure = url.scheme() == "http";
        let authorise =
            || self.tokens.authorization(&http, &*self.auth, registry, insecure, scopes);
        let shown = authorise()?;
        if let Some(header) = &shown {
            request = request.header("authorization", header);
        }
        let response = http.send(&request)?;
        if response.status != 401 {
            return Ok(response);
        }
        let demands = || {
            let demands = response.headers.iter().filter(|(name, _)| name == "www-authenticate");
            demands.map(|(_, value)| value.as_str())
        };
        let Some(challenge) = Challenge::parse(demands()) else {
            let challenge = demands().collect::<Vec<_>>().join(", ");
            return Err(match challenge.is_empty() {
                true => self.unauthorized(registry, scopes, response),
                false => Failure::Challenge { registry: registry.to_owned(), challenge },
            });
        };
        self.tokens.demanded(registry, scopes, challenge, shown.as_deref());
        if authorise()?.is_none() {
            return Err(self.unauthorized(registry, scopes, response));
        }
        Ok(response)
    }

    pub(super) fn unauthorized(
        &self,
        registry: &str,
        scopes: &Scopes,
        response: Response,
    ) -> Failure {
        let registry = canonical(registry);
        let found = self.tokens.credentials(&*self.auth, registry, scopes);
        let anonymous = matches!(found, Ok(Credentials::Anonymous));
        let errors = read_errors(response);
        Failure::Unauthorized { registry: registry.to_owned(), anonymous, errors }
    }
}

/// The failure that an answer other than the wanted one amounts to.
pub(super) fn refused(method: Method, response: Response) -> Failure {
    let path =
        Url::parse(&response.url).map_or_else(|_| response.url.clone(), |u| u.path().to_owned());
    let (status, retry_after) = (response.status, response.retry_after());
    let errors = read_errors(response);
    Failure::Answer { method: method.name(), path, status, errors, retry_after }
}

/// What a registry said about an error; nothing where it did not say it as specified.
fn read_errors(response: Response) -> Vec<ErrorInfo> {
    let mut text = Vec::new();
    if response.body.take(MAX_ERROR).read_to_end(&mut text).is_err() {
        return Vec::new();
    }
    serde_json::from_slice::<ErrorAnswer>(&text).map(|answer| answer.errors).unwrap_or_default()
}
