//! Programs of another machine, through a registered emulator.
//!
//! The emulator is a stand-in that tells what the kernel handed to it. With
//! `ANYARCH_TEST_EMULATOR_ARM64=/path/to/qemu-aarch64-static` it is that one, and the program is
//! really emulated; the answers must be the same.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyarch_sandbox::{Cancel, Emulation, Exit, ForeignPlatform, Privilege, SandboxError};

use crate::Case;
use crate::room::{Room, done, tree};

pub(crate) const CASES: &[Case] =
    &[("foreign_programs_run_needs_userns", foreign_programs_run_needs_userns)];

/// aarch64: writes the first 7 bytes of `argv[0]`, then exits with `argc`.
const GREETER: [u32; 8] = [
    0xf940_07e1, // ldr x1, [sp, #8]
    0xd280_0020, // mov x0, #1
    0xd280_00e2, // mov x2, #7
    0xd280_0808, // mov x8, #64 (write)
    0xd400_0001, // svc #0
    0xf940_03e0, // ldr x0, [sp]
    0xd280_0ba8, // mov x8, #93 (exit)
    0xd400_0001, // svc #0
];

/// x86-64: the same for what it is to emulate, whose path and arguments follow its own name.
const STAND_IN: [u8; 35] = [
    0x48, 0x8b, 0x74, 0x24, 0x18, // mov rsi, [rsp + 24]
    0xbf, 1, 0, 0, 0, // mov edi, 1
    0xba, 7, 0, 0, 0, // mov edx, 7
    0xb8, 1, 0, 0, 0, // mov eax, 1 (write)
    0x0f, 0x05, // syscall
    0x8b, 0x3c, 0x24, // mov edi, [rsp]
    0x83, 0xef, 2, // sub edi, 2
    0xb8, 60, 0, 0, 0, // mov eax, 60 (exit)
    0x0f, 0x05, // syscall
];

/// A static 64-bit program of one segment.
fn program(machine: u16, code: &[u8]) -> Vec<u8> {
    const BASE: u64 = 0x40_0000;
    const HEADERS: u64 = 64 + 56;
    let length = HEADERS + code.len() as u64;
    let mut out = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0".to_vec();
    out.extend(machine.to_le_bytes());
    out.extend(1u32.to_le_bytes());
    [BASE + HEADERS, 64, 0].iter().for_each(|number| out.extend(number.to_le_bytes()));
    out.extend(0u32.to_le_bytes());
    [64u16, 56, 1, 64, 0, 0].iter().for_each(|number| out.extend(number.to_le_bytes()));
    [1u32, 5].iter().for_each(|number| out.extend(number.to_le_bytes())); // PT_LOAD, r-x
    [0, BASE, BASE, length, length, 0x1_0000]
        .iter()
        .for_each(|number: &u64| out.extend(number.to_le_bytes()));
    out.extend(code);
    out
}

fn executable(path: &Path, contents: &[u8]) {
    fs::write(path, contents).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

fn foreign_programs_run_needs_userns(privilege: Privilege) {
    let platform = ForeignPlatform::find("linux/arm64").unwrap();
    let room = Room::new();
    let path = match std::env::var_os("ANYARCH_TEST_EMULATOR_ARM64") {
        Some(path) => path.into(),
        None => {
            let path = room.folder.path().join("emulator");
            executable(&path, &program(62, &STAND_IN));
            path
        }
    };
    let emulator = File::open(path).unwrap();
    if privilege == Privilege::Root {
        let error = Emulation::register(platform, &emulator).unwrap_err();
        assert!(matches!(error, SandboxError::Emulation { platform: "linux/arm64", .. }));
        assert_eq!(error.hint().unwrap(), "run as an ordinary user");
        return;
    }
    let code: Vec<u8> = GREETER.iter().flat_map(|word| word.to_le_bytes()).collect();
    executable(&room.root.join("bin/greeter"), &program(183, &code));
    let before = tree(&room.upper);
    let greet = room.shell("greeter one two");

    let emulation = Emulation::register(platform, &emulator).unwrap();
    drop(emulator);
    let answer = done(&greet, &Cancel::new());
    assert_eq!(String::from_utf8_lossy(&answer.out), "greeter");
    assert_eq!(answer.exit.unwrap(), Exit::Code(3));
    assert_eq!(tree(&room.upper), before);
    // What a run sees of the kernel's handlers is nothing.
    assert_eq!(room.sh("ls /proc/sys/fs/binfmt_misc"), "");

    let again = File::open("/proc/self/exe").unwrap();
    match Emulation::register(platform, &again).unwrap_err() {
        SandboxError::Emulation { source, .. } => {
            assert_eq!(source.kind(), ErrorKind::AlreadyExists);
        }
        other => panic!("{other}"),
    }
    drop(emulation);
    let refused = done(&room.process(&["/bin/greeter"]), &Cancel::new()).exit.unwrap_err();
    assert!(refused.to_string().contains("a program for aarch64"), "{refused}");
}
