//! Sets of Linux capabilities, and the one that a build step keeps.

use rustix::thread::{CapabilitySet, CapabilitySets};

use crate::error::{At, Failure};

/// A set of Linux capabilities (bit N is capability number N, capabilities(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities(u64);

/// Numbers from linux/capability.h.
const CHOWN: u64 = 1 << 0;
const DAC_OVERRIDE: u64 = 1 << 1;
const FOWNER: u64 = 1 << 3;
const FSETID: u64 = 1 << 4;
const KILL: u64 = 1 << 5;
const SETGID: u64 = 1 << 6;
const SETUID: u64 = 1 << 7;
const SETPCAP: u64 = 1 << 8;
const NET_BIND_SERVICE: u64 = 1 << 10;
const NET_RAW: u64 = 1 << 13;
const SYS_CHROOT: u64 = 1 << 18;
const MKNOD: u64 = 1 << 27;
const AUDIT_WRITE: u64 = 1 << 29;
const SETFCAP: u64 = 1 << 31;

impl Capabilities {
    /// No capability at all.
    pub const NONE: Capabilities = Capabilities(0);

    /// The fourteen that Docker leaves to a container by default.
    pub const DOCKER: Capabilities = Capabilities(
        CHOWN
            | DAC_OVERRIDE
            | FOWNER
            | FSETID
            | KILL
            | SETGID
            | SETUID
            | SETPCAP
            | NET_BIND_SERVICE
            | NET_RAW
            | SYS_CHROOT
            | MKNOD
            | AUDIT_WRITE
            | SETFCAP,
    );

    /// The set with exactly these bits.
    pub const fn from_bits(bits: u64) -> Capabilities {
        Capabilities(bits)
    }

    /// The set as bits, the form that `/proc/self/status` prints in hexadecimal.
    pub const fn bits(self) -> u64 {
        self.0
    }
}

impl Default for Capabilities {
    fn default() -> Capabilities {
        Capabilities::DOCKER
    }
}

/// Takes every capability outside `keep` from the bounding set of this process.
pub(crate) fn limit_bounding_set(keep: Capabilities) -> Result<(), Failure> {
    for number in 0..64 {
        // SAFETY: PR_CAPBSET_READ and PR_CAPBSET_DROP take one number and touch no memory.
        let present =
            unsafe { libc::prctl(libc::PR_CAPBSET_READ, number as libc::c_ulong, 0, 0, 0) };
        if present < 0 {
            break; // past the last capability that this kernel knows
        }
        if present == 1 && keep.0 & (1 << number) == 0 {
            // SAFETY: as above.
            let dropped =
                unsafe { libc::prctl(libc::PR_CAPBSET_DROP, number as libc::c_ulong, 0, 0, 0) };
            if dropped < 0 {
                return Err(std::io::Error::last_os_error())
                    .at(|| format!("drop capability {number} from the bounding set"));
            }
        }
    }
    Ok(())
}

/// Sets the capabilities of this thread: `keep` when it is still user 0, none otherwise; nothing
/// inheritable, nothing ambient (as Docker does since CVE-2022-24769).
pub(crate) fn limit_thread(keep: Capabilities, uid: u32) -> Result<(), Failure> {
    rustix::thread::clear_ambient_capability_set()
        .at(|| "clear the ambient capabilities".into())?;
    let has = rustix::thread::capabilities(None).at(|| "read the capabilities".into())?.permitted;
    let kept = if uid == 0 {
        has & CapabilitySet::from_bits_retain(keep.0)
    } else {
        CapabilitySet::empty()
    };
    let sets =
        CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    rustix::thread::set_capabilities(None, sets).at(|| "set the capabilities".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docker_set_is_the_one_docker_prints() {
        assert_eq!(format!("{:016x}", Capabilities::DOCKER.bits()), "00000000a80425fb");
        assert_eq!(Capabilities::DOCKER.bits().count_ones(), 14);
        assert_eq!(Capabilities::default(), Capabilities::DOCKER);
    }
}
