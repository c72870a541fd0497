//! A system call filter for a user namespace with one id: changes of owner and of user succeed
//! without effect.
//!
//! Package managers change owners and users as a matter of course. Where only user 0 exists, those
//! calls would fail; with the filter they answer success, everything stays root's, and a program
//! that checks afterwards sees that it is still root. Nothing else is filtered, and programs of
//! another architecture of the same machine (32-bit ones) are let through unchanged.

use std::io;

/// `AUDIT_ARCH_*` of linux/audit.h for the architecture this is built for.
#[cfg(target_arch = "x86_64")]
const ARCH: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const ARCH: u32 = 0xc000_00b7;
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
compile_error!("the single-id filter knows x86_64 and aarch64 only");

/// Calls that succeed without effect. The x32 calls of x86_64 have other numbers and pass.
const CALLS: &[libc::c_long] = &[
    #[cfg(target_arch = "x86_64")]
    libc::SYS_chown,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_lchown,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_setgroups,
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setreuid,
    libc::SYS_setregid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    libc::SYS_setfsuid,
    libc::SYS_setfsgid,
];

/// Offsets in `struct seccomp_data` (linux/seccomp.h).
const OFFSET_NUMBER: u32 = 0;
const OFFSET_ARCH: u32 = 4;

/// Installs the filter for this process and its children, for good. Needs CAP_SYS_ADMIN in the
/// user namespace, so that programs may still gain rights by setuid.
pub(crate) fn pretend_owners() -> io::Result<()> {
    let mut filter = program();
    let length = u16::try_from(filter.len()).map_err(io::Error::other)?;
    let program = libc::sock_fprog { len: length, filter: filter.as_mut_ptr() };
    // SAFETY: `program` and the filter it points to live through the call; the kernel copies them.
    let result = unsafe {
        libc::prctl(
            libc::PR_SET_SECCOMP,
            libc::c_ulong::from(libc::SECCOMP_MODE_FILTER),
            &raw const program,
            0,
            0,
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// The filter in classic BPF.
fn program() -> Vec<libc::sock_filter> {
    const LOAD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    const JUMP_EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    const RETURN: u32 = libc::BPF_RET | libc::BPF_K;
    let op = |code: u32, k: u32, jt: u8, jf: u8| libc::sock_filter { code: code as u16, jt, jf, k };
    let calls = CALLS.len() as u8;
    let mut filter = vec![
        op(LOAD, OFFSET_ARCH, 0, 0),
        // Another architecture: over the load of the number and the calls, to "allow".
        op(JUMP_EQUAL, ARCH, 0, calls + 1),
        op(LOAD, OFFSET_NUMBER, 0, 0),
    ];
    for (index, call) in (0u8..).zip(CALLS) {
        // A hit jumps over the calls that are left and "allow".
        filter.push(op(JUMP_EQUAL, *call as u32, calls - index, 0));
    }
    filter.push(op(RETURN, libc::SECCOMP_RET_ALLOW, 0, 0));
    filter.push(op(RETURN, libc::SECCOMP_RET_ERRNO, 0, 0)); // error number 0: success
    filter
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the filter as the kernel would; the instructions it uses are few.
    fn verdict(arch: u32, number: libc::c_long) -> u32 {
        let filter = program();
        let (mut at, mut loaded) = (0, 0);
        loop {
            let op = filter[at];
            at += 1;
            match u32::from(op.code) & 7 {
                libc::BPF_LD => loaded = if op.k == 4 { arch } else { number as u32 },
                libc::BPF_JMP => at += usize::from(if loaded == op.k { op.jt } else { op.jf }),
                _ => return op.k,
            }
        }
    }

    #[test]
    fn owners_are_pretended_and_nothing_else() {
        for call in CALLS {
            assert_eq!(verdict(ARCH, *call), libc::SECCOMP_RET_ERRNO);
            assert_eq!(verdict(0x4000_0003, *call), libc::SECCOMP_RET_ALLOW);
            assert_eq!(verdict(ARCH, *call | 0x4000_0000), libc::SECCOMP_RET_ALLOW);
        }
        for call in [libc::SYS_read, libc::SYS_execve, libc::SYS_mknodat, libc::SYS_fchmodat] {
            assert_eq!(verdict(ARCH, call), libc::SECCOMP_RET_ALLOW);
        }
    }
}
