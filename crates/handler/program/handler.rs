//! The handler: entered by the kernel in place of the emulator, leaves into the emulator or into
//! the dynamic loader of a twin. Never returns, never allocates but on the stack, writes nothing
//! but one line of the log.
//!
//! The kernel started this image for a foreign program through binfmt_misc with flags POCF:
//! `argv` is `[handler, path, argv[0], arguments…]`, AT_EXECFD is the program, open for reading.
//! Whatever is odd goes to the emulator, which is never wrong.
#![no_std]
#![no_main]
#![no_builtins]
#![allow(dead_code)]

#[path = "../src/decide.rs"]
mod decide;
#[path = "../src/divide.rs"]
mod divide;
mod division;
mod files;
#[path = "../src/layout.rs"]
mod layout;
mod loader;
mod memory;
mod native;
mod stack;
mod system;
mod trap;
mod variables;

use core::arch::global_asm;
use core::mem::size_of;

use decide::{Table, bytes};
use layout::{Dependency, Entry, Header, Interpreter, Record, Str};
use stack::{AT_EXECFD, AT_FLAGS, AT_SECURE, Start};
use system::{call, close, open};
use variables::Variables;

global_asm!(
    ".section .text.start,\"ax\",@progbits",
    ".globl _start",
    "_start:",
    "jmp 2f",
    ".balign 8",
    // Filled in when the image is made: distance from `_start` to the table.
    "1: .quad 0",
    "2:",
    "xor ebp, ebp",
    "mov rdi, rsp",
    "lea rsi, [rip + _start]",
    "add rsi, [rip + 1b]",
    "and rsp, -16",
    "call {main}",
    // As the kernel leaves it: the stack, and rdx = 0 (no function to call at exit).
    "mov rsp, rax",
    "mov r11, rdx",
    "xor edx, edx",
    "xor ebp, ebp",
    "jmp r11",
    main = sym main,
);

/// AT_FLAGS: `argv[0]` was kept (flag P).
const PRESERVED: u64 = 1;

/// Where to go: stack pointer and address.
#[repr(C)]
struct Leave {
    stack: *const u64,
    address: usize,
}

/// # Safety
/// Called once, with the stack as the kernel made it and the address of the table.
unsafe extern "C" fn main(sp: *mut u64, table: *const u8) -> Leave {
    // SAFETY: as the caller promises.
    let (start, table) = unsafe { (Start::read(sp), Table::new(table)) };
    let base =
        (table.header() as *const Header as usize).wrapping_sub(table.header().address as usize);
    let emulator = base.wrapping_add(table.header().emulator as usize);
    let preserved = start.aux_value(AT_FLAGS).unwrap_or(0) & PRESERVED != 0;
    let Some(program) = start.aux_value(AT_EXECFD).filter(|_| preserved && start.argc >= 3) else {
        // Not started for a foreign program: the emulator by its own name.
        return Leave { stack: sp, address: emulator };
    };
    let variables = Variables { table, start };
    if let Some(entry) = twin(&table, &start, &variables, program as usize) {
        if let Some(leave) = native::prepare(&table, &start, &variables, entry, program as usize) {
            log(&table, true, table.text(entry.name));
            return leave;
        }
    }
    // SAFETY: argv[1] is the path of the program.
    let path = unsafe { bytes(start.argument(1)) };
    log(&table, false, decide::last_part(path));
    Leave { stack: variables.taken_back(), address: emulator }
}

/// The entry of the program, if its twin may stand in for it now.
fn twin<'a>(
    table: &'a Table,
    start: &Start,
    variables: &Variables,
    program: usize,
) -> Option<&'a Entry> {
    if start.aux_value(AT_SECURE).unwrap_or(0) != 0 {
        return None;
    }
    let entry = table.find(&files::identity_of(program)?)?;
    // SAFETY: the lists hold what `layout` says.
    let (refused, dependencies): (&[Str], &[Dependency]) =
        unsafe { (table.list(entry.refused_variables), table.list(entry.dependencies)) };
    for number in 0..start.envc {
        let variable = start.variable(number);
        if variables.is_given(variable) {
            continue;
        }
        if decide::changes_loading(variable)
            || refused.iter().any(|begin| decide::begins(variable, table.text(*begin)))
        {
            return None;
        }
    }
    if !variables.can_be_given(entry.variables)
        || decide::is_refused(table, entry.refused, start.arguments())
        || start.arguments().any(decide::is_about_itself)
        || (entry.shell != 0
            && !(division::can_be_mended()
                && decide::is_plain_shell(start.arguments(), &mut files::is_odd)))
    {
        return None;
    }
    if entry.interpreter != 0 {
        // SAFETY: the offset is that of an interpreter.
        let rule: &Interpreter = unsafe { table.at(entry.interpreter) };
        if !decide::may_interpret(table, rule, start.arguments(), &mut files::holds) {
            return None;
        }
    }
    dependencies
        .iter()
        .all(|dependency| files::is_unchanged(table.pointer(dependency.path), &dependency.identity))
        .then_some(entry)
}

fn log(table: &Table, native: bool, name: &[u8]) {
    let mut record = Record { pid: 0, native: u32::from(native), name: [0; 24] };
    for (to, from) in record.name.iter_mut().zip(name) {
        *to = *from;
    }
    const O_WRONLY_APPEND: usize = 0o1 | 0o2000;
    // SAFETY: the path is a string of the table, and the kernel reads the record only.
    unsafe {
        let Some(fd) = open(table.pointer(table.header().log), O_WRONLY_APPEND) else { return };
        record.pid = call(system::GETPID, [0; 6]) as u32;
        let arguments = [fd, &raw const record as usize, size_of::<Record>(), 0, 0, 0];
        call(system::WRITE, arguments);
        close(fd);
    }
}
