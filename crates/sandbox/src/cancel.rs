//! A token that one thread sets and running processes notice at once.
//!
//! Each [`run`](crate::run()) registers an eventfd here for as long as it waits; cancelling writes
//! to all of them. Knows nothing of signals: the caller decides what Ctrl-C means.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use rustix::event::{EventfdFlags, eventfd};

/// Cancels running processes; clones share one state.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    cancelled: AtomicBool,
    waiting: Mutex<Vec<Weak<OwnedFd>>>,
}

impl Cancel {
    /// A token that is not cancelled.
    pub fn new() -> Cancel {
        Cancel::default()
    }

    /// Cancels: every run that uses this token, now or later, ends with
    /// [`SandboxError::Cancelled`](crate::SandboxError::Cancelled). Cannot be undone.
    pub fn cancel(&self) {
        self.0.cancelled.store(true, Ordering::SeqCst);
        let waiting =
            std::mem::take(&mut *self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        for bell in waiting.iter().filter_map(Weak::upgrade) {
            // An eventfd refuses a write only when its counter is full: then it is readable anyway.
            rustix::io::write(&*bell, &1u64.to_ne_bytes()).ok();
        }
    }

    /// Whether [`cancel`](Cancel::cancel) was called.
    pub fn is_cancelled(&self) -> bool {
        self.0.cancelled.load(Ordering::SeqCst)
    }

    /// A descriptor that becomes readable when the token is cancelled, also when it already is.
    pub(crate) fn bell(&self) -> std::io::Result<Bell> {
        let fd = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        {
            let mut waiting = self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.retain(|bell| bell.strong_count() > 0);
            waiting.push(Arc::downgrade(&fd));
        }
        // Cancelled before the push: nobody will write any more.
        if self.is_cancelled() {
            rustix::io::write(&*fd, &1u64.to_ne_bytes()).ok();
        }
        Ok(Bell(fd))
    }
}

/// The waiting side of a [`Cancel`]; forgotten by the token when dropped.
pub(crate) struct Bell(Arc<OwnedFd>);

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    fn rung(bell: &Bell) -> bool {
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut [PollFd::new(bell, PollFlags::IN)], Some(&now)).unwrap() == 1
    }

    #[test]
    fn bells_ring_whether_made_before_or_after() {
        let cancel = Cancel::new();
        let before = cancel.bell().unwrap();
        assert!(!rung(&before) && !cancel.is_cancelled());
        cancel.clone().cancel();
        assert!(rung(&before) && cancel.is_cancelled());
        assert!(rung(&cancel.bell().unwrap()));
    }
}
