//! What a server does beside serving a store: who may come in, how, and how long it waits.

use std::time::Duration;

use super::access::OnAccess;
use super::accounts::Accounts;
use super::tls::Tls;

/// The settings of a server; the default is one without accounts and TLS.
#[derive(Clone, Default)]
pub struct Options {
    /// Is told of each exchange.
    pub on_access: Option<OnAccess>,
    /// Who may come in; `None`: whoever reaches the address.
    pub accounts: Option<Accounts>,
    /// Where there are accounts: whether others may pull.
    pub anonymous_pull: bool,
    /// Certificate and key; `None`: plain HTTP.
    pub tls: Option<Tls>,
    /// How much and how long at most.
    pub limits: Limits,
}

/// How much of it a server lets others use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once; more wait to be accepted.
    pub connections: usize,
    /// Uploads whose files are open at once. One that nobody writes to is closed to make room, and
    /// opened again when its client comes back.
    pub uploads: usize,
    /// How long a client may send nothing, or take nothing, before it is given up: between two
    /// requests as well as within one.
    pub patience: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        // A connection may hold a blob open; together they stay below the usual 1024 files.
        Limits { connections: 384, uploads: 128, patience: Duration::from_secs(60) }
    }
}
