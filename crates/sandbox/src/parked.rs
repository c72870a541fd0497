//! A thread of pid 1 that sleeps for as long as the sandbox lives.
//!
//! `/proc/TID` can be looked up like that of a process, but a listing of `/proc` has processes
//! only: a place for a mount that every path look-up finds and no listing shows.

use std::io;
use std::mem::MaybeUninit;
use std::ptr;

/// Starts the thread; its id. Every signal is blocked in it, since pid 1 blocks every signal.
pub(crate) fn start() -> io::Result<libc::pid_t> {
    // Never freed: the thread ends with the process.
    let stack: &'static mut [MaybeUninit<u128>] = Vec::leak(vec![MaybeUninit::uninit(); 256]);
    let flags = libc::CLONE_VM
        | libc::CLONE_FS
        | libc::CLONE_FILES
        | libc::CLONE_SIGHAND
        | libc::CLONE_THREAD
        | libc::CLONE_SYSVSEM;
    // SAFETY: the stack is 4 KiB, aligned to 16 bytes, given by its end, and lives forever. The
    // thread shares the thread-local storage of this one and never touches it, nor any other
    // memory but its stack: it makes one system call, again and again.
    let tid =
        unsafe { libc::clone(sleep, stack.as_mut_ptr_range().end.cast(), flags, ptr::null_mut()) };
    if tid < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(tid)
}

extern "C" fn sleep(_: *mut libc::c_void) -> libc::c_int {
    loop {
        wait();
    }
}

/// ppoll(2) of nothing and without a limit; not through libc, which would write `errno`.
#[cfg(target_arch = "x86_64")]
fn wait() {
    // SAFETY: with null pointers the kernel reads and writes no memory; it changes rax, rcx and r11.
    unsafe {
        std::arch::asm!(
            "syscall",
            inlateout("rax") libc::SYS_ppoll => _,
            in("rdi") 0_u64, in("rsi") 0_u64, in("rdx") 0_u64, in("r10") 0_u64, in("r8") 0_u64,
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
}

/// ppoll(2) of nothing and without a limit; not through libc, which would write `errno`.
#[cfg(target_arch = "aarch64")]
fn wait() {
    // SAFETY: with null pointers the kernel reads and writes no memory; it changes x0.
    unsafe {
        std::arch::asm!(
            "svc 0",
            in("x8") libc::SYS_ppoll,
            inlateout("x0") 0_u64 => _,
            in("x1") 0_u64, in("x2") 0_u64, in("x3") 0_u64, in("x4") 0_u64,
            options(nostack),
        );
    }
}
