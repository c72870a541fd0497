//! The embedded registry: distribution-spec 1.1 over the host's content store.
//!
//! Turns requests into reads and writes of a [`Store`](anyarch_store::Store): content streams
//! between the socket and the file system, is verified before it becomes visible, and is shared by
//! all repositories, so that a mount costs nothing. Leaves out: accounts (bind it to the loopback)
//! and the removal of content, which is the store's business; deleting a blob only hides it from
//! its repository until this server ends.

mod access;
mod blobs;
mod handler;
mod listen;
mod lists;
mod manifests;
mod reply;
mod route;
mod state;
mod uploads;

pub use access::{Access, OnAccess};
pub use handler::{ConnectionDropped, Handler, handler};
pub use listen::{RunningServer, ServeError, Server};
