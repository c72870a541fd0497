//! Ctrl-C: the first asks what runs to stop, the second ends the program at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::{self, Receiver};

use anyarch_sandbox::Cancel;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::failure::Failure;
use crate::output;

/// The listener to signals.
pub(crate) struct Interrupt {
    first: Arc<AtomicU8>,
    came: Receiver<()>,
}

impl Interrupt {
    /// Begins to listen; the first signal cancels the token. `aloud`: says so in a line of its own.
    /// Starts a thread: not before the sandbox has been entered.
    pub(crate) fn listen(cancel: &Cancel, aloud: bool) -> Result<Interrupt, Failure> {
        let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])
            .map_err(|error| Failure::internal("failed to listen to signals").because(&error))?;
        let first = Arc::new(AtomicU8::new(0));
        let (seen, cancel) = (Arc::clone(&first), cancel.clone());
        let (tell, came) = mpsc::channel();
        std::thread::spawn(move || {
            for signal in signals.forever() {
                let number = u8::try_from(signal).unwrap_or(u8::MAX);
                if seen.swap(number, Ordering::SeqCst) != 0 {
                    std::process::exit(i32::from(128_u8.saturating_add(number)));
                }
                if aloud {
                    output::say("stopping; Ctrl-C again ends at once\n");
                }
                cancel.cancel();
                // Nobody waits unless a verb has nothing else to do.
                tell.send(()).ok();
            }
        });
        Ok(Interrupt { first, came })
    }

    /// Waits for the first signal.
    pub(crate) fn wait(&self) {
        // The thread that tells never ends; were it gone, there would be nothing to wait for.
        self.came.recv().ok();
    }

    /// The signal that came, where one did.
    pub(crate) fn signal(&self) -> Option<u8> {
        match self.first.load(Ordering::SeqCst) {
            0 => None,
            number => Some(number),
        }
    }
}
