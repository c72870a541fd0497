//! Divisions of a twin that trap here and give a number on arm64: a handler of the signal, in this
//! image, which stays in memory. It goes with the next exec, like every handler of a signal.

use core::arch::{asm, global_asm};
use core::mem::{MaybeUninit, size_of};

use crate::divide::divided;
use crate::system::{self, call};

const SIGFPE: usize = 8;
/// What the kernel says of a division that has no result (sigaction(2), `si_code`).
const FPE_INTDIV: i32 = 1;
const SIG_BLOCK: usize = 0;
const SA_SIGINFO: u64 = 4;
const SA_RESTORER: u64 = 0x0400_0000;

/// The kernel's `struct sigaction`; all zeros are the default.
#[repr(C)]
struct Action {
    handler: usize,
    flags: u64,
    restorer: usize,
    mask: u64,
}

/// The beginning of `siginfo_t`.
#[repr(C)]
struct Information {
    signal: i32,
    error: i32,
    code: i32,
}

/// The beginning of the kernel's `struct ucontext`, with the registers of its `struct sigcontext`.
#[repr(C)]
struct Context {
    before: [u64; 5],
    r8_to_r15: [u64; 8],
    rdi: u64,
    rsi: u64,
    rbp: u64,
    rbx: u64,
    rdx: u64,
    rax: u64,
    rcx: u64,
    rsp: u64,
    rip: u64,
}

global_asm!(
    ".text",
    "anyarch_return:",
    "mov eax, 15", // rt_sigreturn
    "syscall",
);

/// Whether the signal is as a process gets it at first. One that is ignored or blocked cannot be
/// caught.
pub fn can_be_mended() -> bool {
    let (mut action, mut blocked) = (MaybeUninit::<Action>::uninit(), 0u64);
    let (old, set) = (action.as_mut_ptr() as usize, &raw mut blocked as usize);
    // SAFETY: the kernel fills in both when it returns 0.
    unsafe {
        call(system::RT_SIGACTION, [SIGFPE, 0, old, size_of::<u64>(), 0, 0]) == 0
            && action.assume_init_ref().handler == 0
            && call(system::RT_SIGPROCMASK, [SIG_BLOCK, 0, set, size_of::<u64>(), 0, 0]) == 0
            && blocked & (1 << (SIGFPE - 1)) == 0
    }
}

/// From here on, divisions give what they give on arm64.
pub fn mend() {
    let (handler, restorer): (usize, usize);
    // SAFETY: computes two addresses.
    unsafe {
        asm!("lea {}, [rip + {}]", "lea {}, [rip + anyarch_return]", out(reg) handler,
            sym trapped, out(reg) restorer, options(nomem, nostack, preserves_flags));
    }
    set(&Action { handler, flags: SA_SIGINFO | SA_RESTORER, restorer, mask: 0 });
}

fn set(action: &Action) {
    let action = &raw const *action as usize;
    // SAFETY: the kernel reads the structure.
    unsafe { call(system::RT_SIGACTION, [SIGFPE, action, 0, size_of::<u64>(), 0, 0]) };
}

/// Goes on behind a division, with what it gives. Any other signal ends the program, as it would
/// have without this.
///
/// # Safety
/// Called by the kernel.
unsafe extern "C" fn trapped(_: i32, information: &Information, context: &mut Context) {
    let [r8, r9, r10, r11, r12, r13, r14, r15] = context.r8_to_r15;
    let Context { rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, rip, .. } = *context;
    let registers = [rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15];
    // SAFETY: the instruction and what it divides by, which the processor has just read.
    let mut byte = |address: u64| unsafe { *(address as *const u8) };
    let after = match information.code {
        FPE_INTDIV => divided(rip, &registers, &mut byte),
        _ => None,
    };
    if let Some(after) = after {
        (context.rax, context.rdx) = (after.rax, after.rdx);
        context.rip = rip.wrapping_add(after.length);
        return;
    }
    set(&Action { handler: 0, flags: 0, restorer: 0, mask: 0 });
    // Until this returns the signal waits.
    // SAFETY: touches no memory.
    unsafe {
        let process = call(system::GETPID, [0; 6]) as usize;
        let thread = call(system::GETTID, [0; 6]) as usize;
        call(system::TGKILL, [process, thread, SIGFPE, 0, 0, 0]);
    }
}
