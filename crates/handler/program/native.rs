//! A twin and the stack of the handler → the dynamic loader of the twin, ready to be entered.

use core::mem::size_of;

use crate::decide::Table;
use crate::files::{PATH_MAX, path_of};
use crate::layout::{AT_SHIM, Entry, Header, ShimConfig, Str};
use crate::loader::Loader;
use crate::stack::{AT_BASE, AT_ENTRY, AT_EXECFD, AT_FLAGS, AT_IGNORE, AT_NULL, AT_PHDR, AT_PHNUM};
use crate::stack::{Pusher, Start, below};
use crate::system::close;
use crate::variables::Variables;
use crate::{Leave, division};

/// Prepares the dynamic loader of the twin, as if the kernel had started it with the program as its
/// argument.
pub fn prepare(
    table: &Table,
    start: &Start,
    variables: &Variables,
    entry: &Entry,
    program: usize,
) -> Option<Leave> {
    let loader = Loader::map(table.pointer(entry.loader))?;
    // SAFETY: `arguments` holds strings.
    let before: &[Str] = unsafe { table.list(entry.arguments) };
    let words = 16 + before.len() + start.argc + start.envc + 32 + 2 * (start.auxc + 1);
    let extra = PATH_MAX + size_of::<ShimConfig>();
    let stack = below(start.sp, words * 8 + extra);
    // SAFETY: inside of what `below` made room for, behind the words.
    let (config, exe) = unsafe {
        let config = stack.add(words).cast::<ShimConfig>();
        (config, config.add(1).cast::<u8>())
    };
    if entry.shim != 0 {
        path_of(program, exe)?;
        // SAFETY: aligned to eight bytes, and in that room.
        unsafe {
            config.write(ShimConfig {
                machine: table.pointer(table.header().machine),
                exe,
                table: table.header() as *const Header as *const u8,
                redirects: entry.redirects,
            });
        }
    }
    let mut push = Pusher(stack);
    push.push(0); // argc, below
    let mut argc = 0;
    let mut argument = |push: &mut Pusher, pointer: *const u8| {
        push.push(pointer as u64);
        argc += 1;
    };
    argument(&mut push, table.pointer(entry.loader));
    argument(&mut push, c"--inhibit-cache".as_ptr().cast());
    argument(&mut push, c"--argv0".as_ptr().cast());
    argument(&mut push, start.argument(2));
    argument(&mut push, c"--library-path".as_ptr().cast());
    argument(&mut push, table.pointer(entry.library_path));
    if entry.shim != 0 {
        argument(&mut push, c"--preload".as_ptr().cast());
        argument(&mut push, table.pointer(entry.shim));
    }
    argument(&mut push, table.pointer(entry.program));
    before.iter().for_each(|text| argument(&mut push, table.pointer(*text)));
    (3..start.argc).for_each(|number| argument(&mut push, start.argument(number)));
    push.push(0);
    variables.each(entry.variables, |pointer| push.push(pointer));
    push.push(0);
    for at in 0..start.auxc {
        // SAFETY: there are auxc pairs.
        let (kind, value) = unsafe { (*start.aux().add(2 * at), *start.aux().add(2 * at + 1)) };
        if kind == AT_NULL {
            break;
        }
        let (kind, value) = match kind {
            AT_EXECFD => (AT_IGNORE, 0),
            AT_PHDR => (kind, loader.headers as u64),
            AT_PHNUM => (kind, loader.count as u64),
            AT_BASE | AT_FLAGS => (kind, 0),
            AT_ENTRY => (kind, loader.entry as u64),
            _ => (kind, value),
        };
        push.push(kind);
        push.push(value);
    }
    if entry.shim != 0 {
        push.push(AT_SHIM);
        push.push(config as u64);
    }
    push.push(AT_NULL);
    push.push(0);
    // SAFETY: the first word.
    unsafe { stack.write(argc) };
    close(program);
    if entry.shell != 0 {
        division::mend();
    }
    Some(Leave { stack, address: loader.entry })
}
