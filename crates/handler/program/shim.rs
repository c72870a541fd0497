//! The shim: a library loaded before all others into twins that would notice which machine they run
//! on. It answers uname(2) and `/proc/self/exe` as the emulator does, and lets the twin find
//! directories of its own architecture that the foreign tree cannot have.
//!
//! Told what to say through the auxiliary vector ([`layout::AT_SHIM`]); without that it is not
//! there. Needs a C library of 2.34 or newer for dlsym(3).
#![no_std]
#![allow(dead_code)]

#[path = "../src/decide.rs"]
mod decide;
#[path = "../src/layout.rs"]
mod layout;
mod system;
mod trap;

use core::ffi::{c_char, c_int, c_long, c_ulong, c_void};
use core::mem::{MaybeUninit, transmute};
use core::sync::atomic::{AtomicPtr, Ordering};

use layout::{AT_SHIM, Redirect, ShimConfig};
use system::{AT_FDCWD, AT_SYMLINK_NOFOLLOW, call};

unsafe extern "C" {
    safe fn __errno_location() -> *mut c_int;
    safe fn getauxval(kind: c_ulong) -> c_ulong;
    fn dlsym(handle: *mut c_void, name: *const c_char) -> *mut c_void;
}

const RTLD_NEXT: *mut c_void = -1isize as *mut c_void;
const PATH_MAX: usize = 4096;
const ENOENT: c_int = 2;

fn config() -> Option<&'static ShimConfig> {
    let address = getauxval(AT_SHIM as c_ulong) as *const ShimConfig;
    // SAFETY: the handler put it on the stack, above everything, where it stays.
    unsafe { address.as_ref() }
}

/// A result of the kernel as the C library returns it.
fn result(value: isize) -> c_long {
    if value < 0 {
        // SAFETY: the place of this thread's error number.
        unsafe { *__errno_location() = -value as c_int };
        return -1;
    }
    value as c_long
}

/// A path, or where the twin finds it.
struct Path {
    given: *const c_char,
    other: MaybeUninit<[u8; PATH_MAX]>,
    redirected: bool,
}

impl Path {
    /// # Safety
    /// `given` is a string or null.
    #[inline]
    unsafe fn new(given: *const c_char) -> Path {
        // SAFETY: as the caller promises.
        unsafe { Path::of(given, false) }
    }

    /// # Safety
    /// `given` is a string or null.
    #[inline]
    unsafe fn of(given: *const c_char, loaded: bool) -> Path {
        let mut path = Path { given, other: MaybeUninit::uninit(), redirected: false };
        // SAFETY: as the caller promises; the table outlives everything.
        unsafe {
            let Some(config) = config().filter(|config| config.redirects.count > 0) else {
                return path;
            };
            if given.is_null() || *given != b'/' as c_char {
                return path;
            }
            let table = decide::Table::new(config.table);
            let text = decide::bytes(given.cast());
            let redirects: &[Redirect] = table.list(config.redirects);
            for redirect in redirects {
                if redirect.loads != 0 && !loaded {
                    continue;
                }
                let Some(tail) = decide::redirected(text, table.text(redirect.from)) else {
                    continue;
                };
                let to = table.text(redirect.to);
                if to.len() + tail.len() >= PATH_MAX {
                    break;
                }
                let out: *mut u8 = path.other.as_mut_ptr().cast();
                out.copy_from_nonoverlapping(to.as_ptr(), to.len());
                out.add(to.len()).copy_from_nonoverlapping(tail.as_ptr(), tail.len());
                out.add(to.len() + tail.len()).write(0);
                path.redirected = true;
                break;
            }
        }
        path
    }

    fn get(&self) -> *const c_char {
        if self.redirected { self.other.as_ptr().cast() } else { self.given }
    }
}

/// The next definition of a function after this library's.
macro_rules! next {
    ($name:literal as $kind:ty) => {{
        static KNOWN: AtomicPtr<c_void> = AtomicPtr::new(core::ptr::null_mut());
        let mut known = KNOWN.load(Ordering::Relaxed);
        if known.is_null() {
            // SAFETY: asks the C library for a function that it has.
            known = unsafe { dlsym(RTLD_NEXT, $name.as_ptr()) };
            KNOWN.store(known, Ordering::Relaxed);
        }
        // SAFETY: the function has this type in C.
        (!known.is_null()).then(|| unsafe { transmute::<*mut c_void, $kind>(known) })
    }};
}

#[unsafe(no_mangle)]
unsafe extern "C" fn uname(name: *mut u8) -> c_int {
    // SAFETY: the caller's structure, with five strings of 65 bytes before the last.
    unsafe {
        let done = result(call(system::UNAME, [name as usize, 0, 0, 0, 0, 0]));
        if let (0, Some(config)) = (done, config()) {
            let machine = decide::bytes(config.machine);
            let place = name.add(4 * 65);
            place.copy_from_nonoverlapping(machine.as_ptr(), machine.len().min(64));
            place.add(machine.len().min(64)).write(0);
        }
        done as c_int
    }
}

unsafe fn read_link(folder: isize, path: *const c_char, to: *mut u8, size: usize) -> c_long {
    // SAFETY: the caller's string and buffer.
    unsafe {
        if let Some(config) = config().filter(|_| !path.is_null())
            && decide::bytes(path.cast()) == b"/proc/self/exe"
        {
            let exe = decide::bytes(config.exe);
            let length = exe.len().min(size);
            to.copy_from_nonoverlapping(exe.as_ptr(), length);
            return length as c_long;
        }
        let path = Path::new(path);
        let arguments = [folder as usize, path.get() as usize, to as usize, size, 0, 0];
        result(call(system::READLINKAT, arguments))
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn readlink(path: *const c_char, to: *mut u8, size: usize) -> c_long {
    // SAFETY: as the caller promises.
    unsafe { read_link(AT_FDCWD, path, to, size) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn readlinkat(
    folder: c_int,
    path: *const c_char,
    to: *mut u8,
    size: usize,
) -> c_long {
    // SAFETY: as the caller promises.
    unsafe { read_link(folder as isize, path, to, size) }
}

unsafe fn open_at(folder: isize, path: *const c_char, flags: c_int, mode: u32) -> c_int {
    // SAFETY: the caller's string.
    unsafe {
        let path = Path::new(path);
        let arguments = [
            folder as usize,
            path.get() as usize,
            flags as u32 as usize,
            mode as usize,
            0,
            0,
        ];
        result(call(system::OPENAT, arguments)) as c_int
    }
}

macro_rules! opens {
    ($($name:ident $at:ident),*) => {$(
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name(path: *const c_char, flags: c_int, mode: u32) -> c_int {
            // SAFETY: as the caller promises; where there is no mode, the kernel does not look.
            unsafe { open_at(AT_FDCWD, path, flags, mode) }
        }

        #[unsafe(no_mangle)]
        unsafe extern "C" fn $at(
            folder: c_int,
            path: *const c_char,
            flags: c_int,
            mode: u32,
        ) -> c_int {
            // SAFETY: as the caller promises.
            unsafe { open_at(folder as isize, path, flags, mode) }
        }
    )*};
}
opens!(open openat, open64 openat64);

unsafe fn stat_at(folder: isize, path: *const c_char, to: *mut c_void, flags: usize) -> c_int {
    // SAFETY: the caller's string and structure, which on x86_64 is the kernel's.
    unsafe {
        let path = Path::new(path);
        let arguments = [folder as usize, path.get() as usize, to as usize, flags, 0, 0];
        result(call(system::NEWFSTATAT, arguments)) as c_int
    }
}

macro_rules! stats {
    ($($stat:ident $lstat:ident $fstatat:ident),*) => {$(
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $stat(path: *const c_char, to: *mut c_void) -> c_int {
            // SAFETY: as the caller promises.
            unsafe { stat_at(AT_FDCWD, path, to, 0) }
        }

        #[unsafe(no_mangle)]
        unsafe extern "C" fn $lstat(path: *const c_char, to: *mut c_void) -> c_int {
            // SAFETY: as the caller promises.
            unsafe { stat_at(AT_FDCWD, path, to, AT_SYMLINK_NOFOLLOW) }
        }

        #[unsafe(no_mangle)]
        unsafe extern "C" fn $fstatat(
            folder: c_int,
            path: *const c_char,
            to: *mut c_void,
            flags: c_int,
        ) -> c_int {
            // SAFETY: as the caller promises.
            unsafe { stat_at(folder as isize, path, to, flags as u32 as usize) }
        }
    )*};
}
stats!(stat lstat fstatat, stat64 lstat64 fstatat64);

#[unsafe(no_mangle)]
unsafe extern "C" fn access(path: *const c_char, mode: c_int) -> c_int {
    // SAFETY: the caller's string.
    unsafe {
        let path = Path::new(path);
        let arguments = [AT_FDCWD as usize, path.get() as usize, mode as usize, 0, 0, 0];
        result(call(system::FACCESSAT, arguments)) as c_int
    }
}

/// A function that takes a path and more, and returns a pointer.
macro_rules! passes {
    ($($loaded:literal $symbol:literal $name:ident($($argument:ident: $kind:ty),*);)*) => {$(
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name(path: *const c_char $(, $argument: $kind)*) -> *mut c_void {
            // SAFETY: as the caller promises.
            unsafe {
                let path = Path::of(path, $loaded);
                let known = next!(
                    $symbol as unsafe extern "C" fn(*const c_char $(, $kind)*) -> *mut c_void
                );
                match known {
                    Some(next) => next(path.get() $(, $argument)*),
                    None => {
                        *__errno_location() = ENOENT;
                        core::ptr::null_mut()
                    }
                }
            }
        }
    )*};
}
passes! {
    false c"opendir" opendir();
    false c"fopen" fopen(mode: *const c_char);
    false c"fopen64" fopen64(mode: *const c_char);
    true c"dlopen" dlopen(mode: c_int);
}
