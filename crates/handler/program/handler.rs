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
#[path = "../src/layout.rs"]
mod layout;
mod memory;
mod system;
mod trap;

use core::arch::global_asm;
use core::mem::{MaybeUninit, size_of};

use decide::{Table, bytes, equal};
use layout::{AT_SHIM, Dependency, Entry, Header, Identity, Interpreter, Record, ShimConfig};
use layout::{Str, Variable};
use system::{AT_FDCWD, call, close, open};

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

const AT_NULL: u64 = 0;
const AT_IGNORE: u64 = 1;
const AT_EXECFD: u64 = 2;
const AT_PHDR: u64 = 3;
const AT_PHNUM: u64 = 5;
const AT_BASE: u64 = 7;
const AT_FLAGS: u64 = 8;
const AT_ENTRY: u64 = 9;
const AT_SECURE: u64 = 23;

/// AT_FLAGS: `argv[0]` was kept (flag P).
const PRESERVED: u64 = 1;

/// Room below the stack of this program, which needs less.
const OWN_STACK: usize = 64 * 1024;
const PATH_MAX: usize = 4096;

/// Where to go: stack pointer and address.
#[repr(C)]
struct Leave {
    stack: *const u64,
    address: usize,
}

/// The stack as the kernel made it.
#[derive(Clone, Copy)]
struct Start {
    sp: *mut u64,
    argc: usize,
    envc: usize,
    auxc: usize,
}

impl Start {
    unsafe fn read(sp: *mut u64) -> Start {
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

    fn argument(&self, number: usize) -> *const u8 {
        // SAFETY: callers ask for numbers below argc.
        unsafe { *self.sp.add(1 + number) as *const u8 }
    }

    fn env(&self) -> *mut u64 {
        // SAFETY: behind argv and its NULL.
        unsafe { self.sp.add(self.argc + 2) }
    }

    fn variable(&self, number: usize) -> &[u8] {
        // SAFETY: callers ask for numbers below envc; each is a string.
        unsafe { bytes(*self.env().add(number) as *const u8) }
    }

    fn aux(&self) -> *mut u64 {
        // SAFETY: behind the environment and its NULL.
        unsafe { self.env().add(self.envc + 1) }
    }

    fn aux_value(&self, kind: u64) -> Option<u64> {
        // SAFETY: there are auxc pairs.
        (0..self.auxc).map(|at| unsafe { self.aux().add(2 * at) }).find_map(|pair| unsafe {
            (*pair == kind).then(|| *pair.add(1))
        })
    }

    /// The arguments of the program, without its `argv[0]`.
    fn arguments(&self) -> impl Iterator<Item = &[u8]> {
        // SAFETY: each is a string.
        (3..self.argc).map(|number| unsafe { bytes(self.argument(number)) })
    }
}

/// # Safety
/// Called once, with the stack as the kernel made it and the address of the table.
unsafe extern "C" fn main(sp: *mut u64, table: *const u8) -> Leave {
    // SAFETY: as the caller promises.
    let (start, table) = unsafe { (Start::read(sp), Table::new(table)) };
    let base = (table.header() as *const Header as usize)
        .wrapping_sub(table.header().address as usize);
    let emulator = base.wrapping_add(table.header().emulator as usize);
    let preserved = start.aux_value(AT_FLAGS).unwrap_or(0) & PRESERVED != 0;
    let Some(program) = start.aux_value(AT_EXECFD).filter(|_| preserved && start.argc >= 3) else {
        // Not started for a foreign program: the emulator by its own name.
        return Leave { stack: sp, address: emulator };
    };
    let variables = Variables { table, start };
    if let Some(entry) = twin(&table, &start, &variables, program as usize) {
        if let Some(leave) = native(&table, &start, &variables, entry, program as usize) {
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
    let entry = table.find(&identity_of(program)?)?;
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
        || (entry.shell != 0 && !decide::is_plain_shell(start.arguments(), &mut is_odd))
    {
        return None;
    }
    if entry.interpreter != 0 {
        // SAFETY: the offset is that of an interpreter.
        let rule: &Interpreter = unsafe { table.at(entry.interpreter) };
        if !decide::may_interpret(table, rule, start.arguments(), &mut holds) {
            return None;
        }
    }
    dependencies
        .iter()
        .all(|dependency| is_unchanged(table.pointer(dependency.path), &dependency.identity))
        .then_some(entry)
}

/// Whether the first kilobyte of a file holds `text`. `path` is an argument, so a NUL follows it.
fn holds(path: &[u8], text: &[u8]) -> bool {
    let mut head = MaybeUninit::<[u8; 1024]>::uninit();
    // SAFETY: the path ends in NUL; the kernel fills in as many bytes as it returns.
    unsafe {
        let Some(fd) = open(path.as_ptr(), 0) else { return false };
        let count = call(system::READ, [fd, head.as_mut_ptr() as usize, 1024, 0, 0, 0]);
        close(fd);
        let Ok(count) = usize::try_from(count) else { return false };
        decide::contains(core::slice::from_raw_parts(head.as_ptr().cast(), count), text)
    }
}

/// Whether the file of a script has something odd. `path` is an argument, so a NUL follows it.
fn is_odd(path: &[u8]) -> bool {
    const MAX: usize = 1024 * 1024;
    let mut piece = MaybeUninit::<[u8; 4096]>::uninit();
    let (mut scan, mut size) = (decide::Scan::default(), 0);
    // What is no file must not be read: it would be gone.
    let Some(stat) = stat_of(path.as_ptr()) else { return false };
    if stat.mode_uid as u32 & 0o170_000 != 0o100_000 {
        return true;
    }
    // SAFETY: the path ends in NUL; the kernel fills in as many bytes as it returns.
    unsafe {
        let Some(fd) = open(path.as_ptr(), 0) else { return false };
        let odd = loop {
            let count = call(system::READ, [fd, piece.as_mut_ptr() as usize, 4096, 0, 0, 0]);
            let Ok(count) = usize::try_from(count) else { break true };
            size += count;
            if count == 0 {
                break false;
            }
            let bytes = core::slice::from_raw_parts(piece.as_ptr().cast(), count);
            if size > MAX || scan.is_odd(bytes) {
                break true;
            }
        };
        close(fd);
        odd
    }
}

/// The kernel's `struct stat`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Stat {
    dev: u64,
    ino: u64,
    links: u64,
    mode_uid: u64,
    gid_pad: u64,
    rdev: u64,
    size: u64,
    block: [u64; 2],
    atime: [i64; 2],
    mtime: [i64; 2],
    ctime: [i64; 2],
    unused: [u64; 3],
}

impl Stat {
    fn identity(&self) -> Identity {
        let time = |[seconds, nanos]: [i64; 2]| seconds.wrapping_mul(1_000_000_000).wrapping_add(nanos);
        Identity {
            dev: self.dev,
            ino: self.ino,
            size: self.size,
            mtime: time(self.mtime),
            ctime: time(self.ctime),
        }
    }
}

fn identity_of(fd: usize) -> Option<Identity> {
    let mut stat = MaybeUninit::<Stat>::uninit();
    // SAFETY: the kernel fills in the whole structure when it returns 0.
    unsafe {
        let result = call(system::FSTAT, [fd, stat.as_mut_ptr() as usize, 0, 0, 0, 0]);
        (result == 0).then(|| stat.assume_init_ref().identity())
    }
}

/// `path` points to a text that ends in NUL.
fn stat_of(path: *const u8) -> Option<Stat> {
    let mut stat = MaybeUninit::<Stat>::uninit();
    let arguments = [AT_FDCWD as usize, path as usize, stat.as_mut_ptr() as usize, 0, 0, 0];
    // SAFETY: as said; the kernel fills the structure in when it returns 0.
    unsafe { (call(system::NEWFSTATAT, arguments) == 0).then(|| stat.assume_init()) }
}

fn is_unchanged(path: *const u8, known: &Identity) -> bool {
    stat_of(path).map_or(known.ino == 0, |stat| stat.identity() == *known)
}

/// The variables that twins are given and foreign programs are not.
struct Variables {
    table: Table,
    start: Start,
}

impl Variables {
    fn list(&self) -> &[Variable] {
        // SAFETY: `variables` holds `Variable` elements.
        unsafe { self.table.list(self.table.header().variables) }
    }

    /// Whether a twin above was given this one.
    fn is_given(&self, variable: &[u8]) -> bool {
        self.list().iter().any(|known| equal(self.table.text(known.given), variable))
    }

    /// Whether what would be replaced is as the table expects it.
    fn can_be_given(&self, bits: u32) -> bool {
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
    fn each(&self, bits: u32, mut put: impl FnMut(u64)) {
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
    fn taken_back(&self) -> *const u64 {
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

/// A place of `size` bytes below the stack in use, as an entry point may find it: aligned.
fn below(sp: *mut u64, size: usize) -> *mut u64 {
    ((sp as usize - OWN_STACK - size) & !15) as *mut u64
}

/// Writes words upwards.
struct Pusher(*mut u64);

impl Pusher {
    fn push(&mut self, word: u64) {
        // SAFETY: the stack grows down on its own, and `below` made room.
        unsafe {
            self.0.write(word);
            self.0 = self.0.add(1);
        }
    }
}

/// Prepares the dynamic loader of the twin, as if the kernel had started it with the program as its
/// argument.
fn native(
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
    Some(Leave { stack, address: loader.entry })
}

/// Writes the path of an open file, with a NUL.
fn path_of(fd: usize, to: *mut u8) -> Option<()> {
    let mut link = *b"/proc/self/fd/0000000000\0";
    // The digits, from the right; what is left of them stays behind as slashes.
    let (mut rest, mut digits) = (fd, true);
    for byte in link.iter_mut().rev().skip(1).take(10) {
        *byte = if digits { b'0' + (rest % 10) as u8 } else { b'/' };
        rest /= 10;
        digits = rest > 0;
    }
    let arguments = [AT_FDCWD as usize, link.as_ptr() as usize, to as usize, PATH_MAX - 1, 0, 0];
    // SAFETY: `to` has room for PATH_MAX bytes.
    unsafe {
        let length = usize::try_from(call(system::READLINKAT, arguments)).ok()?;
        to.add(length).write(0);
    }
    Some(())
}

/// A dynamic loader in memory.
struct Loader {
    entry: usize,
    headers: usize,
    count: usize,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct ElfHeader {
    ident: [u8; 16],
    kind: u16,
    machine: u16,
    version: u32,
    entry: u64,
    phoff: u64,
    shoff: u64,
    flags: u32,
    size: u16,
    phentsize: u16,
    phnum: u16,
    rest: [u16; 3],
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Segment {
    kind: u32,
    flags: u32,
    offset: u64,
    address: u64,
    physical: u64,
    file: u64,
    memory: u64,
    align: u64,
}

const MAX_SEGMENTS: usize = 16;
const PAGE: usize = 4096;
const PROT_NONE: usize = 0;
const PROT_READ: usize = 1;
const PROT_WRITE: usize = 2;
const PROT_EXEC: usize = 4;
const MAP_PRIVATE: usize = 2;
const MAP_FIXED: usize = 0x10;
const MAP_ANONYMOUS: usize = 0x20;

impl Loader {
    /// Maps the segments of a position-independent program, as the kernel does for an interpreter.
    fn map(path: *const u8) -> Option<Loader> {
        // SAFETY: the path is a string of the table.
        let fd = unsafe { open(path, 0)? };
        let loader = Loader::map_open(fd);
        close(fd);
        loader
    }

    fn map_open(fd: usize) -> Option<Loader> {
        let (mut header, mut segments) = (MaybeUninit::uninit(), MaybeUninit::uninit());
        let header: &ElfHeader = read_at(fd, 0, &mut header)?;
        let count = usize::from(header.phnum);
        if !decide::begins(&header.ident, b"\x7fELF") || header.kind != 3 || count > MAX_SEGMENTS {
            return None;
        }
        let segments: &[Segment; MAX_SEGMENTS] = read_at(fd, header.phoff, &mut segments)?;
        let loads = || segments.iter().take(count).filter(|segment| segment.kind == 1);
        let end = loads().map(|segment| (segment.address + segment.memory) as usize).max()?;
        let span = end.checked_add(PAGE - 1)? & !(PAGE - 1);
        let base = map(0, span, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, usize::MAX, 0)?;
        for segment in loads() {
            let address = base + segment.address as usize;
            let page = address & !(PAGE - 1);
            let inset = address - page;
            let mut protection = 0;
            for (flag, bit) in [(4, PROT_READ), (2, PROT_WRITE), (1, PROT_EXEC)] {
                if segment.flags & flag != 0 {
                    protection |= bit;
                }
            }
            let file = segment.file as usize;
            let offset = segment.offset as usize - inset;
            if file > 0 {
                map(page, inset + file, protection, MAP_PRIVATE | MAP_FIXED, fd, offset)?;
            }
            let (filled, end) = (address + file, address + segment.memory as usize);
            if end > filled {
                let whole = (filled + PAGE - 1) & !(PAGE - 1);
                if whole > filled && file > 0 {
                    // To the end of the page, as the kernel does: the loader takes what follows its
                    // data for its first allocations.
                    // SAFETY: the rest of the last page of a segment that can be written.
                    unsafe { memory::zero(filled as *mut u8, whole - filled) };
                }
                if end > whole {
                    let flags = MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS;
                    map(whole, end - whole, protection, flags, usize::MAX, 0)?;
                }
            }
        }
        let headers = loads()
            .find(|s| s.offset <= header.phoff && header.phoff < s.offset + s.file)
            .map(|s| base + (header.phoff - s.offset + s.address) as usize)?;
        Some(Loader { entry: base + header.entry as usize, headers, count })
    }
}

fn map(
    at: usize,
    length: usize,
    protection: usize,
    flags: usize,
    fd: usize,
    offset: usize,
) -> Option<usize> {
    // SAFETY: a new mapping, or one over the span that `map_open` reserved.
    let result = unsafe { call(system::MMAP, [at, length, protection, flags, fd, offset]) };
    usize::try_from(result).ok()
}

/// Reads a structure of plain numbers; zeros where the file is shorter.
fn read_at<T: Copy>(fd: usize, offset: u64, place: &mut MaybeUninit<T>) -> Option<&T> {
    let arguments = [fd, place.as_mut_ptr() as usize, size_of::<T>(), offset as usize, 0, 0];
    // SAFETY: the kernel writes at most the size of the structure, for which zeros are fine.
    unsafe {
        memory::zero(place.as_mut_ptr().cast(), size_of::<T>());
        (call(system::PREAD, arguments) > 0).then(|| place.assume_init_ref())
    }
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
