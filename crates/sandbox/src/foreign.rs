//! The programs of other machines: how the kernel tells them, by platform.
//!
//! A table of ELF headers and nothing else; what is done with such a program is in
//! [`emulation`](crate::emulation).

/// A platform whose programs can be told by their ELF header.
#[derive(Debug, PartialEq, Eq)]
pub struct ForeignPlatform {
    /// Platform as OCI writes it, such as `linux/arm/v7`.
    pub platform: &'static str,
    /// Name of the machine in the file names of emulators, as in `qemu-aarch64-static`.
    pub machine: &'static str,
    /// Whether its programs are 64-bit ones (`EI_CLASS`).
    wide: bool,
    /// Whether its programs have the high byte first (`EI_DATA`).
    big: bool,
    /// Number of the machine (`e_machine`).
    number: u16,
}

const fn row(
    platform: &'static str,
    machine: &'static str,
    wide: bool,
    big: bool,
    number: u16,
) -> ForeignPlatform {
    ForeignPlatform { platform, machine, wide, big, number }
}

/// Platforms that differ from each other in their headers; numbers from the ELF registry.
const TABLE: [ForeignPlatform; 5] = [
    row("linux/arm64", "aarch64", true, false, 183),
    row("linux/arm/v7", "arm", false, false, 40),
    row("linux/riscv64", "riscv64", true, false, 243),
    row("linux/ppc64le", "ppc64le", true, false, 21),
    row("linux/s390x", "s390x", true, true, 22),
];

/// Bytes of an ELF header that are compared: up to and with `e_machine`.
pub(crate) const LENGTH: usize = 20;

impl ForeignPlatform {
    /// The entry of a platform such as `linux/arm64`, if the table has one.
    pub fn find(platform: &str) -> Option<&'static ForeignPlatform> {
        TABLE.iter().find(|entry| entry.platform == platform)
    }

    /// The beginning of its programs, to be compared where [`mask`](ForeignPlatform::mask) has
    /// bits.
    pub(crate) fn magic(&self) -> [u8; LENGTH] {
        let mut out = [0; LENGTH];
        out[..4].copy_from_slice(b"\x7fELF");
        out[4..7].copy_from_slice(&[1 + u8::from(self.wide), 1 + u8::from(self.big), 1]);
        let half = |number: u16| if self.big { number.to_be_bytes() } else { number.to_le_bytes() };
        out[16..18].copy_from_slice(&half(2));
        out[18..20].copy_from_slice(&half(self.number));
        out
    }

    /// Beginnings of its programs of both kinds, fixed and position-independent ones.
    pub(crate) fn heads(&self) -> [[u8; LENGTH]; 2] {
        let mut independent = self.magic();
        independent[if self.big { 17 } else { 16 }] = 3;
        [self.magic(), independent]
    }

    /// Everything but the system's ABI and its version, padding, and whether the program is
    /// position-independent (type 3) or not (type 2).
    pub(crate) fn mask(&self) -> [u8; LENGTH] {
        let mut out = [0xff; LENGTH];
        out[7..16].fill(0);
        out[if self.big { 17 } else { 16 }] = 0xfe;
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caught(entry: &ForeignPlatform, head: &[u8]) -> bool {
        let (magic, mask) = (entry.magic(), entry.mask());
        (0..LENGTH).all(|at| (head[at] ^ magic[at]) & mask[at] == 0)
    }

    fn head(class: u8, data: u8, kind: [u8; 2], machine: [u8; 2]) -> Vec<u8> {
        let mut out = vec![0x7f, b'E', b'L', b'F', class, data, 1, 0];
        out.extend([0; 8]);
        out.extend(kind);
        out.extend(machine);
        out
    }

    #[test]
    fn each_platform_catches_its_own_programs_only() {
        let heads = [
            ("linux/arm64", head(2, 1, [2, 0], [183, 0])),
            ("linux/arm/v7", head(1, 1, [2, 0], [40, 0])),
            ("linux/riscv64", head(2, 1, [3, 0], [243, 0])),
            ("linux/ppc64le", head(2, 1, [3, 0], [21, 0])),
            ("linux/s390x", head(2, 2, [0, 3], [0, 22])),
            ("linux/amd64", head(2, 1, [3, 0], [62, 0])),
            ("linux/ppc64", head(2, 2, [0, 2], [0, 21])),
        ];
        for entry in &TABLE {
            for (platform, head) in &heads {
                assert_eq!(caught(entry, head), entry.platform == *platform, "{platform}");
            }
        }
    }

    #[test]
    fn programs_are_caught_but_not_objects_and_core_files() {
        let arm64 = ForeignPlatform::find("linux/arm64").unwrap();
        let of = |kind: u8| caught(arm64, &head(2, 1, [kind, 0], [183, 0]));
        assert_eq!([1, 2, 3, 4].map(of), [false, true, true, false]);
        let mut gnu = head(2, 1, [2, 0], [183, 0]);
        gnu[7] = 3; // a static program with indirect functions
        assert!(caught(arm64, &gnu));
    }

    #[test]
    fn unknown_platforms_have_no_entry() {
        assert_eq!(ForeignPlatform::find("linux/amd64"), None);
        assert_eq!(ForeignPlatform::find(""), None);
    }
}
