//! System calls of Linux on x86_64, as few as the two programs need.

use core::arch::asm;

pub const OPENAT: usize = 257;
pub const READ: usize = 0;
pub const WRITE: usize = 1;
pub const CLOSE: usize = 3;
pub const FSTAT: usize = 5;
pub const NEWFSTATAT: usize = 262;
pub const MMAP: usize = 9;
pub const RT_SIGACTION: usize = 13;
pub const RT_SIGPROCMASK: usize = 14;
pub const PREAD: usize = 17;
pub const GETPID: usize = 39;
pub const UNAME: usize = 63;
pub const GETTID: usize = 186;
pub const TGKILL: usize = 234;
pub const FACCESSAT: usize = 269;
pub const READLINKAT: usize = 267;

pub const AT_FDCWD: isize = -100;
pub const AT_SYMLINK_NOFOLLOW: usize = 0x100;
pub const O_CLOEXEC: usize = 0o2_000_000;

/// One system call; errors are negative numbers.
///
/// # Safety
/// What the kernel reads and writes for these arguments is there.
pub unsafe fn call(number: usize, arguments: [usize; 6]) -> isize {
    let result;
    let [a, b, c, d, e, f] = arguments;
    // SAFETY: the kernel changes rax, rcx and r11 and what the caller vouches for.
    unsafe {
        asm!("syscall", inlateout("rax") number => result, in("rdi") a, in("rsi") b, in("rdx") c,
            in("r10") d, in("r8") e, in("r9") f, out("rcx") _, out("r11") _, options(nostack));
    }
    result
}

/// Opens a file by its path, which ends in NUL.
///
/// # Safety
/// `path` is such a string.
pub unsafe fn open(path: *const u8, flags: usize) -> Option<usize> {
    // SAFETY: the kernel reads the path only.
    let fd =
        unsafe { call(OPENAT, [AT_FDCWD as usize, path as usize, flags | O_CLOEXEC, 0, 0, 0]) };
    usize::try_from(fd).ok()
}

pub fn close(fd: usize) {
    // SAFETY: touches no memory.
    unsafe { call(CLOSE, [fd, 0, 0, 0, 0, 0]) };
}
