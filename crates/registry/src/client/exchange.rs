//! One exchange with a registry: authorised where it demands so, with its errors read.

use std::io::Read;

use anyarch_http::{Client, Method, Request, Response};
use serde::Deserialize;
use url::Url;

use super::auth::{Authenticator, Credentials};
use super::challenge::Challenge;
use super::error::{ErrorInfo, Failure, RegistryError};
use super::host::base_url;
use super::token::{Scopes, Tokens};

/// Longest error answer that is read.
const MAX_ERROR: u64 = 64 * 1024;

/// A client for any number of registries. Blocking; share it between threads by reference.
pub struct RegistryClient {
    pub(super) http: Client,
    auth: Box<dyn Authenticator>,
    insecure: Vec<String>,
    tokens: Tokens,
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
            insecure: Vec::new(),
            tokens: Tokens::default(),
        }
    }

    /// The same, speaking plain http to these registries (`host:port`). Loopback registries are
    /// always spoken to without TLS.
    pub fn with_insecure(mut self, registries: impl IntoIterator<Item = String>) -> RegistryClient {
        self.insecure.extend(registries);
        self
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
        let base = base_url(registry, &self.insecure);
        Url::parse(&format!("{base}{path}"))
            .map_err(|error| Failure::Protocol(format!("`{registry}` is not a host: {error}")))
    }

    /// Sends one request, and once more with fresh credentials where the first was not authorised.
    /// Any other answer is the caller's. Credentials go to the registry's own origin only.
    pub(super) fn exchange<'a>(
        &self,
        registry: &str,
        scopes: &Scopes,
        method: Method,
        url: &Url,
        fill: impl Fn(Request<'a>) -> Request<'a>,
    ) -> Result<Response, Failure> {
        let request = || fill(Request::new(method, url.as_str()));
        if self.url(registry, "/")?.origin() != url.origin() {
            return Ok(self.http.send(&request())?);
        }
        let authorise = || self.tokens.authorization(&self.http, &*self.auth, registry, scopes);
        let with = |header: Option<String>| match header {
            Some(header) => request().header("authorization", header),
            None => request(),
        };
        let first = self.http.send(&with(authorise()?))?;
        if first.status != 401 {
            return Ok(first);
        }
        let demands = || {
            let demands = first.headers.iter().filter(|(name, _)| name == "www-authenticate");
            demands.map(|(_, value)| value.as_str())
        };
        let Some(challenge) = Challenge::parse(demands()) else {
            let challenge = demands().collect::<Vec<_>>().join(", ");
            return Err(match challenge.is_empty() {
                true => self.unauthorized(registry, first),
                false => Failure::Challenge { registry: registry.to_owned(), challenge },
            });
        };
        self.tokens.demanded(registry, scopes, challenge);
        let Some(header) = authorise()? else { return Err(self.unauthorized(registry, first)) };
        drop(first);
        let second = self.http.send(&with(Some(header)))?;
        if second.status == 401 {
            return Err(self.unauthorized(registry, second));
        }
        Ok(second)
    }

    fn unauthorized(&self, registry: &str, response: Response) -> Failure {
        let anonymous = matches!(self.auth.credentials(registry), Ok(Credentials::Anonymous));
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
