//! What a client is told once: trust, proxies, timeouts, retries, its name.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Settings of a [`Client`](crate::Client). The environment is not consulted; whoever fills this
/// in may have.
#[derive(Clone)]
pub struct Config {
    /// Value of the `User-Agent` header.
    pub user_agent: String,
    /// Which certificate authorities are believed.
    pub trust: Trust,
    /// Where requests go through. Loopback addresses never do.
    pub proxies: Proxies,
    /// Longest time to a finished TCP connection and TLS handshake.
    pub connect_timeout: Duration,
    /// Longest silence: between two pieces of a body in either direction, or before the head of an
    /// answer. There is no limit on a whole transfer.
    pub idle_timeout: Duration,
    /// Longest wait for the answer once an uploaded body has been sent: servers verify or move
    /// large uploads before they answer.
    pub upload_answer_timeout: Duration,
    /// When to try again.
    pub retry: RetryPolicy,
    /// Told before each wait that a retry begins with.
    pub on_retry: Option<OnRetry>,
}

/// Told of a failed attempt that will be repeated.
pub type OnRetry = Arc<dyn Fn(&RetryEvent) + Send + Sync>;

/// Which certificate authorities are believed for TLS.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// PEM bundles to believe in place of the system's (what `SSL_CERT_FILE` means to OpenSSL).
    pub files: Vec<PathBuf>,
    /// Hashed certificate directories in place of the system's (`SSL_CERT_DIR`).
    pub directories: Vec<PathBuf>,
    /// PEM bundles to believe besides, such as a company's own authority.
    pub extra: Vec<PathBuf>,
}

/// Proxies by the scheme of the requested URL, as the usual variables name them.
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    /// For `http://` URLs (`http_proxy`).
    pub http: Option<String>,
    /// For `https://` URLs (`https_proxy`).
    pub https: Option<String>,
    /// Comma-separated hosts, domains and networks to reach directly (`no_proxy`).
    pub no_proxy: Option<String>,
}

/// How often and how patiently a failed exchange is repeated. What counts as worth repeating: a
/// lost or refused connection, silence, and statuses 408, 429, 500, 502, 503 and 504.
#[derive(Clone, Debug)]
pub struct RetryPolicy {
    /// How many times in all; 1 means no repetition.
    pub attempts: u32,
    /// Wait before the second attempt; doubles with each further one, and up to half is added at
    /// random so that parallel transfers do not return in step.
    pub first_delay: Duration,
    /// Longest wait that we choose ourselves.
    pub max_delay: Duration,
    /// Longest `Retry-After` that is waited for; beyond it the answer is given back as it is.
    pub max_retry_after: Duration,
}

/// A failed attempt that will be repeated.
#[derive(Clone, Debug)]
pub struct RetryEvent {
    /// The URL, without credentials and query.
    pub url: String,
    /// What went wrong.
    pub reason: String,
    /// Which attempt failed, from 1.
    pub attempt: u32,
    /// How long until the next one.
    pub delay: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            user_agent: concat!("anyarch/", env!("CARGO_PKG_VERSION")).to_owned(),
            trust: Trust::default(),
            proxies: Proxies::default(),
            connect_timeout: Duration::from_secs(20),
            idle_timeout: Duration::from_secs(60),
            upload_answer_timeout: Duration::from_secs(600),
            retry: RetryPolicy::default(),
            on_retry: None,
        }
    }
}

impl Default for RetryPolicy {
    fn default() -> Self {
        RetryPolicy {
            attempts: 5,
            first_delay: Duration::from_millis(300),
            max_delay: Duration::from_secs(15),
            max_retry_after: Duration::from_secs(120),
        }
    }
}

impl RetryPolicy {
    /// One attempt, no repetition.
    pub fn never() -> RetryPolicy {
        RetryPolicy { attempts: 1, ..RetryPolicy::default() }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("user_agent", &self.user_agent)
            .field("trust", &self.trust)
            .field("connect_timeout", &self.connect_timeout)
            .field("idle_timeout", &self.idle_timeout)
            .field("upload_answer_timeout", &self.upload_answer_timeout)
            .field("retry", &self.retry)
            .finish_non_exhaustive()
    }
}
