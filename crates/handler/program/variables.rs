//! The environment of a twin, which is given variables, and of what it starts, which gets back what
//! they replaced.

use crate::decide::{Table, equal};
use crate::layout::Variable;
use crate::stack::{Pusher, Start, below};

/// The variables that twins are given and foreign programs are not.
pub struct Variables {
    pub table: Table,
    pub start: Start,
}

impl Variables {
    fn list(&self) -> &[Variable] {
        // SAFETY: `variables` holds `Variable` elements.
        unsafe { self.table.list(self.table.header().variables) }
    }

    /// Whether a twin above was given this one.
    pub fn is_given(&self, variable: &[u8]) -> bool {
        self.list().iter().any(|known| equal(self.table.text(known.given), variable))
    }

    /// Whether what would be replaced is as the table expects it.
    pub fn can_be_given(&self, bits: u32) -> bool {
        self.list().iter().enumerate().filter(|(bit, _)| bits & (1 << bit) != 0).all(
            |(_, variable)| {
                let given = self.table.text(variable.given);
                let name = name_of(given);
                let mut set = (0..self.start.envc)
                    .map(|number| self.start.variable(number))
                    .filter(|entry| equal(name_of(entry), name));
                match (set.next(), set.next()) {
                    (None, _) => variable.original == 0,
                    // Which of two counts is up to who looks.
                    (_, Some(_)) => false,
                    (Some(entry), None) => {
                        equal(entry, given)
                            || (variable.original != 0
                                && equal(entry, self.table.text(variable.original)))
                    }
                }
            },
        )
    }

    /// The environment as a foreign program, or a twin with these bits, gets it: one pointer a
    /// call, in the order of the environment. What replaces something takes its place, so that it
    /// can be taken back.
    pub fn each(&self, bits: u32, mut put: impl FnMut(u64)) {
        let mut left = bits;
        for number in 0..self.start.envc {
            let entry = self.start.variable(number);
            let mut pointer = entry.as_ptr() as u64;
            for (bit, known) in self.list().iter().enumerate() {
                let wanted = bits & (1 << bit) != 0;
                let given = self.table.text(known.given);
                if equal(name_of(given), name_of(entry)) {
                    let ours = equal(given, entry);
                    if wanted {
                        pointer = self.table.pointer(known.given) as u64;
                        left &= !(1 << bit);
                    } else if ours {
                        pointer = match known.original {
                            0 => 0,
                            original => self.table.pointer(original) as u64,
                        };
                    }
                }
            }
            if pointer != 0 {
                put(pointer);
            }
        }
        for (bit, known) in self.list().iter().enumerate() {
            if left & (1 << bit) != 0 {
                put(self.table.pointer(known.given) as u64);
            }
        }
    }

    /// The stack for the emulator. The environment is in reverse, because the emulator hands it to
    /// the program in reverse (envlist_to_environ in its util/envlist.c): a machine of that kind
    /// would not.
    pub fn taken_back(&self) -> *const u64 {
        let start = &self.start;
        if !(0..start.envc).any(|number| self.is_given(start.variable(number))) {
            // SAFETY: the pointers of the environment, which nobody else looks at yet.
            let env = unsafe { core::slice::from_raw_parts_mut(start.env(), start.envc) };
            reverse(env);
            return start.sp;
        }
        let words = 3 + start.argc + start.envc + 2 * start.auxc;
        let new = below(start.sp, words * 8);
        let mut stack = Pusher(new);
        stack.push(start.argc as u64);
        (0..start.argc).for_each(|number| stack.push(start.argument(number) as u64));
        stack.push(0);
        let env = stack.0;
        let mut count = 0;
        self.each(0, |pointer| {
            stack.push(pointer);
            count += 1;
        });
        // SAFETY: the words that were just written.
        reverse(unsafe { core::slice::from_raw_parts_mut(env, count) });
        stack.push(0);
        (0..start.auxc).for_each(|at| {
            // SAFETY: there are auxc pairs.
            let (kind, value) = unsafe { (*start.aux().add(2 * at), *start.aux().add(2 * at + 1)) };
            stack.push(kind);
            stack.push(value);
        });
        new
    }
}

/// `reverse` of `core` may panic, for which there is no room here.
fn reverse(words: &mut [u64]) {
    let mut rest = words;
    while let [first, between @ .., last] = rest {
        core::mem::swap(first, last);
        rest = between;
    }
}

fn name_of(variable: &[u8]) -> &[u8] {
    variable.split(|byte| *byte == b'=').next().unwrap_or(variable)
}
