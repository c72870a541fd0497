//! The client: settings applied once, requests carried out and repeated where that helps.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use tokio::runtime::{Handle, Runtime};
use url::Url;

use crate::resolve::SystemResolver;
use crate::response::{Response, ResponseBody};
use crate::retry::is_transient_status;
use crate::trust::tls_config;
use crate::upload::Upload;
use crate::wait::wait;
use crate::{Body, Config, HttpError, Method, Proxies, Request, RetryEvent, RetryPolicy};

/// Hosts that are always reached directly.
const LOOPBACK: &str = "localhost,127.0.0.0/8,::1";
const MAX_REDIRECTS: usize = 10;

/// An HTTP client. Clones share connections and settings.
#[derive(Clone, Debug)]
pub struct Client {
    inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) config: Config,
    pub(crate) handle: Handle,
    client: reqwest::Client,
    /// Shared with the clients made from this one.
    runtime: Arc<Threads>,
}

/// The threads behind blocking calls.
#[derive(Debug)]
struct Threads(Option<Runtime>);

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Client {
    /// A client with these settings. Fails where a certificate file or proxy address is unusable.
    pub fn new(config: Config) -> Result<Client, HttpError> {
        let setup = |source: Box<dyn Error + Send + Sync>| HttpError::Setup { source };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("http")
            .enable_all()
            .build()
            .map_err(|error| setup(Box::new(error)))?;
        let handle = runtime.handle().clone();
        Client::over(config, handle, Arc::new(Threads(Some(runtime))))
    }

    /// The same client that believes these PEM bundles besides, for servers whose authority only
    /// they know.
    pub fn with_extra_trust(&self, bundles: &[PathBuf]) -> Result<Client, HttpError> {
        let mut config = self.inner.config.clone();
        config.trust.extra.extend_from_slice(bundles);
        Client::over(config, self.inner.handle.clone(), Arc::clone(&self.inner.runtime))
    }

    fn over(config: Config, handle: Handle, runtime: Arc<Threads>) -> Result<Client, HttpError> {
        let mut builder = reqwest::Client::builder()
            .tls_backend_preconfigured(tls_config(&config.trust)?)
            .user_agent(&config.user_agent)
            .connect_timeout(config.connect_timeout)
            .dns_resolver(Arc::new(SystemResolver))
            .tcp_nodelay(true)
            .redirect(redirect_policy())
            .retry(reqwest::retry::never())
            .no_proxy();
        for proxy in proxies(&config.proxies)? {
            builder = builder.proxy(proxy);
        }
        let client =
            builder.build().map_err(|error| HttpError::Setup { source: Box::new(error) })?;
        Ok(Client { inner: Arc::new(Inner { config, handle, client, runtime }) })
    }

    /// The policy for repeating exchanges, for callers that repeat longer ones themselves.
    pub fn retry_policy(&self) -> &RetryPolicy {
        &self.inner.config.retry
    }

    /// Waits before attempt number `attempt` + 1 at something longer than one exchange, and tells
    /// `on_retry`. `asked` is the server's wish, see [`Response::retry_after`]. False, without a
    /// wait, where there is to be no further attempt.
    pub fn pause(
        &self,
        attempt: u32,
        reason: &dyn Error,
        asked: Option<Duration>,
        url: &str,
    ) -> bool {
        let Some(delay) = self.inner.config.retry.delay(attempt, asked) else { return false };
        self.announce(url, describe(reason), attempt, delay);
        std::thread::sleep(delay);
        true
    }

    /// Reads `url` from byte `offset` on. A server that does not know ranges sends everything:
    /// look at the response's `offset`. Any status but success is an error.
    pub fn get(
        &self,
        url: &str,
        offset: u64,
        headers: &[(&str, &str)],
    ) -> Result<Response, HttpError> {
        let mut request = Request::new(Method::Get, url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if offset > 0 {
            request = request.header("range", format!("bytes={offset}-"));
        }
        let response = self.send(&request)?;
        if !response.is_success() {
            return Err(response.into_error());
        }
        if response.offset != 0 && response.offset != offset {
            let got = response.header("content-range").unwrap_or_default().to_owned();
            return Err(HttpError::Range { url: response.body.url, asked: offset, got });
        }
        Ok(response)
    }

    /// Carries out a request; the answer is given back whatever its status. Lost connections and
    /// statuses that mean "not now" are repeated by the policy unless the request forbids it.
    pub fn send(&self, request: &Request<'_>) -> Result<Response, HttpError> {
        let url = Url::parse(&request.url).map_err(|error| HttpError::Url {
            url: request.url.clone(),
            reason: error.to_string(),
        })?;
        if !matches!(url.scheme(), "http" | "https") {
            let reason = "only http and https can be requested".to_owned();
            return Err(HttpError::Url { url: shown(&url), reason });
        }
        let policy = &self.inner.config.retry;
        let mut attempt = 1;
        loop {
            let outcome = self.once(&url, request);
            let (reason, asked) = match &outcome {
                Ok(response) if is_transient_status(response.status) => {
                    (format!("answered {}", response.status), response.retry_after())
                }
                Err(error) if error.is_transient() => (describe(&error), None),
                _ => return outcome,
            };
            let delay = if request.retry { policy.delay(attempt, asked) } else { None };
            let Some(delay) = delay else { return outcome };
            drop(outcome);
            self.announce(&shown(&url), reason, attempt, delay);
            std::thread::sleep(delay);
            attempt += 1;
        }
    }

    fn announce(&self, url: &str, reason: String, attempt: u32, delay: Duration) {
        if let Some(on_retry) = &self.inner.config.on_retry {
            on_retry(&RetryEvent { url: url.to_owned(), reason, attempt, delay });
        }
    }

    fn once(&self, url: &Url, request: &Request<'_>) -> Result<Response, HttpError> {
        let inner = &self.inner;
        let name = shown(url);
        let mut builder = inner
            .client
            .request(request.method.to_reqwest(), url.clone())
            .headers(header_map(&name, &request.headers)?);
        let response = match &request.body {
            Body::Stream { length, open, progress } => {
                let upload =
                    Upload { url: &name, length: *length, open: *open, progress: *progress };
                upload.send(inner, builder)?
            }
            other => {
                if let Body::Bytes(bytes) = other {
                    builder = builder.body(bytes.clone());
                }
                let idle = inner.config.idle_timeout;
                let _runtime = inner.handle.enter();
                match wait(tokio::time::timeout(idle, builder.send())) {
                    Ok(Ok(response)) => response,
                    Ok(Err(error)) => {
                        let limit = inner.config.connect_timeout;
                        return Err(HttpError::classify(&name, "asking for", limit, error));
                    }
                    Err(_elapsed) => {
                        let operation = "waiting for the answer";
                        return Err(HttpError::Timeout { url: name, operation, after: idle });
                    }
                }
            }
        };
        Ok(self.head(response))
    }

    fn head(&self, response: reqwest::Response) -> Response {
        let headers: Vec<(String, String)> = response
            .headers()
            .iter()
            .map(|(key, value)| {
                (key.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
            })
            .collect();
        let status = response.status().as_u16();
        let offset = headers
            .iter()
            .find(|(key, _)| status == 206 && key == "content-range")
            .and_then(|(_, value)| range_start(value))
            .unwrap_or(0);
        let length = headers
            .iter()
            .find(|(key, _)| key == "content-length")
            .and_then(|(_, value)| value.parse().ok());
        let url = response.url().clone();
        let body = ResponseBody {
            response: Some(response),
            current: bytes::Bytes::new(),
            url: shown(&url),
            inner: Arc::clone(&self.inner),
        };
        Response { status, url: url.into(), headers, offset, length, body }
    }
}

/// The first position in `bytes FIRST-LAST/TOTAL`.
fn range_start(value: &str) -> Option<u64> {
    value.trim().strip_prefix("bytes")?.trim_start().split_once('-')?.0.parse().ok()
}

/// A URL as it is shown to people: credentials and query left out.
fn shown(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    // These fail only for URLs that cannot have credentials.
    let cleared = url.set_password(None).and_then(|()| url.set_username(""));
    if cleared.is_err() {
        return format!("{}:…", url.scheme());
    }
    url.into()
}

fn describe(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

fn header_map(url: &str, headers: &[(String, String)]) -> Result<HeaderMap, HttpError> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let bad = || HttpError::Header { url: url.to_owned(), name: name.clone() };
        let key = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad())?;
        let mut content = HeaderValue::from_str(value).map_err(|_| bad())?;
        content.set_sensitive(key == reqwest::header::AUTHORIZATION);
        map.append(key, content);
    }
    Ok(map)
}

fn redirect_policy() -> reqwest::redirect::Policy {
    reqwest::redirect::Policy::custom(|attempt| {
        let downgrade = attempt.url().scheme() == "http"
            && attempt.previous().last().is_some_and(|from| from.scheme() == "https");
        if downgrade {
            attempt.error("it leads from https to http")
        } else if attempt.previous().len() > MAX_REDIRECTS {
            attempt.error("there are too many redirections")
        } else {
            attempt.follow()
        }
    })
}

fn proxies(proxies: &Proxies) -> Result<Vec<reqwest::Proxy>, HttpError> {
    let direct = match proxies.no_proxy.as_deref().map(str::trim) {
        None | Some("") => LOOPBACK.to_owned(),
        Some(listed) => format!("{listed},{LOOPBACK}"),
    };
    let mut list = Vec::new();
    for (address, https) in [(&proxies.http, false), (&proxies.https, true)] {
        let Some(address) = address.as_deref().map(str::trim).filter(|text| !text.is_empty())
        else {
            continue;
        };
        let proxy =
            if https { reqwest::Proxy::https(address) } else { reqwest::Proxy::http(address) };
        let proxy = proxy.map_err(|source| HttpError::Proxy {
            proxy: address.rsplit_once('@').map_or(address, |(_, host)| host).to_owned(),
            source: Box::new(source.without_url()),
        })?;
        list.push(proxy.no_proxy(reqwest::NoProxy::from_string(&direct)));
    }
    Ok(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_shown_without_secrets() {
        let url = Url::parse("https://user:pw@r.example/v2/a?_state=secret#x").unwrap();
        assert_eq!(shown(&url), "https://r.example/v2/a");
    }

    #[test]
    fn range_starts() {
        assert_eq!(range_start("bytes 7-9/10"), Some(7));
        assert_eq!(range_start("bytes */10"), None);
        assert_eq!(range_start("lines 7-9/10"), None);
    }
}
