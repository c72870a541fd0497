//! The embedded registry: distribution-spec 1.1 over the host's content store.
//!
//! Turns requests into reads and writes of a [`Store`](anyarch_store::Store): content streams
//! between the socket and the file system, is verified before it becomes visible, and is shared by
//! all repositories, so that a mount costs nothing. An upload outlives the server: its client may go
//! on with it at the next one. Leaves out: rights of single accounts, and the removal of content,
//! which is the store's business; deleting a blob only hides it from its repository.

mod access;
mod accounts;
mod blobs;
mod guard;
mod handler;
mod incoming;
mod listen;
mod lists;
mod manifests;
mod options;
mod patient;
mod precondition;
mod reply;
mod route;
mod state;
mod tls;
mod uploads;

pub use access::{Access, OnAccess};
pub use accounts::{Accounts, AccountsError};
pub use handler::{ConnectionDropped, Handler, handler};
pub use listen::{RunningServer, ServeError, Server};
pub use options::{Limits, Options};
pub use tls::{Tls, TlsError};
