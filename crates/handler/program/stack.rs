//! The stack that the kernel made for the handler → its parts; and a new one, written upwards.

use crate::decide::bytes;

pub const AT_NULL: u64 = 0;
pub const AT_IGNORE: u64 = 1;
pub const AT_EXECFD: u64 = 2;
pub const AT_PHDR: u64 = 3;
pub const AT_PHNUM: u64 = 5;
pub const AT_BASE: u64 = 7;
pub const AT_FLAGS: u64 = 8;
pub const AT_ENTRY: u64 = 9;
pub const AT_SECURE: u64 = 23;

/// Room below the stack of this program, which needs less.
const OWN_STACK: usize = 64 * 1024;

/// The stack as the kernel made it.
#[derive(Clone, Copy)]
pub struct Start {
    pub sp: *mut u64,
    pub argc: usize,
    pub envc: usize,
    pub auxc: usize,
}

impl Start {
    /// # Safety
    /// `sp` is the stack as the kernel made it.
    pub unsafe fn read(sp: *mut u64) -> Start {
        // SAFETY: argc, argv, NULL, envp, NULL, auxv up to AT_NULL, as the ABI says.
        unsafe {
            let argc = *sp as usize;
            let env = sp.add(argc + 2);
            let mut envc = 0;
            while *env.add(envc) != 0 {
                envc += 1;
            }
            let aux = env.add(envc + 1);
            let mut auxc = 1;
            while *aux.add(2 * (auxc - 1)) != AT_NULL {
                auxc += 1;
            }
            Start { sp, argc, envc, auxc }
        }
    }

    pub fn argument(&self, number: usize) -> *const u8 {
        // SAFETY: callers ask for numbers below argc.
        unsafe { *self.sp.add(1 + number) as *const u8 }
    }

    pub fn env(&self) -> *mut u64 {
        // SAFETY: behind argv and its NULL.
        unsafe { self.sp.add(self.argc + 2) }
    }

    pub fn variable(&self, number: usize) -> &[u8] {
        // SAFETY: callers ask for numbers below envc; each is a string.
        unsafe { bytes(*self.env().add(number) as *const u8) }
    }

    pub fn aux(&self) -> *mut u64 {
        // SAFETY: behind the environment and its NULL.
        unsafe { self.env().add(self.envc + 1) }
    }

    pub fn aux_value(&self, kind: u64) -> Option<u64> {
        // SAFETY: there are auxc pairs.
        (0..self.auxc)
            .map(|at| unsafe { self.aux().add(2 * at) })
            .find_map(|pair| unsafe { (*pair == kind).then(|| *pair.add(1)) })
    }

    /// The arguments of the program, without its `argv[0]`.
    pub fn arguments(&self) -> impl Iterator<Item = &[u8]> {
        // SAFETY: each is a string.
        (3..self.argc).map(|number| unsafe { bytes(self.argument(number)) })
    }
}

/// A place of `size` bytes below the stack in use, as an entry point may find it: aligned.
pub fn below(sp: *mut u64, size: usize) -> *mut u64 {
    ((sp as usize - OWN_STACK - size) & !15) as *mut u64
}

/// Writes words upwards.
pub struct Pusher(pub *mut u64);

impl Pusher {
    pub fn push(&mut self, word: u64) {
        // SAFETY: the stack grows down on its own, and `below` made room.
        unsafe {
            self.0.write(word);
            self.0 = self.0.add(1);
        }
    }
}
