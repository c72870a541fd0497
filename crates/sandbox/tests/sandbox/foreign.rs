//! Programs of another machine, through an emulator that is registered for all runs.
//!
//! What the real root would register with the machine, it registers in a user namespace that only
//! looks like the machine: it maps every id.
//!
//! The emulator is a stand-in that tells what the kernel handed to it. With
//! `ANYARCH_TEST_EMULATOR_ARM64=/path/to/qemu-aarch64-static` it is that one, and the program is
//! really emulated; the answers must be the same.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyarch_sandbox::{Cancel, Emulation, Exit, Foreign, ForeignPlatform, Privilege, SandboxError};

use crate::Case;
use crate::room::{Room, done, tree};

pub(crate) const CASES: &[Case] =
    &[("foreign_programs_run_needs_userns", foreign_programs_run_needs_userns)];

/// Says that this is the namespace that looks like the machine.
const LIKE_THE_MACHINE: &str = "--like-the-machine";

/// Runs this test again as root of a user namespace with every id.
fn like_the_machine() {
    let mut child = Command::new("unshare")
        .args(["--user", "--mount", "sh", "-c", "echo ready; read -r _; exec \"$@\"", "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(["foreign_programs_run_needs_userns", "--exact", "--as=root", LIKE_THE_MACHINE])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "ready");
    for map in ["uid_map", "gid_map"] {
        fs::write(format!("/proc/{}/{map}", child.id()), "0 0 4294967295").unwrap();
    }
    child.stdin.take().unwrap().write_all(b"\n").unwrap();
    let said: Vec<String> = lines.map(Result::unwrap).collect();
    assert!(child.wait().unwrap().success(), "{said:?}");
    assert!(said.contains(&"test foreign_programs_run_needs_userns ... ok".to_owned()), "{said:?}");
}

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
    if privilege == Privilege::Root && std::env::args().all(|arg| arg != LIKE_THE_MACHINE) {
        return like_the_machine();
    }
    let platform = ForeignPlatform::find("linux/arm64").unwrap();
    let room = Room::new();
    let path = match std::env::var_os("ANYARCH_TEST_EMULATOR_ARM64") {
        Some(path) => PathBuf::from(path),
        None => {
            let path = room.folder.path().join("emulator");
            executable(&path, &program(62, &STAND_IN));
            path
        }
    };
    let emulator = File::open(&path).unwrap();
    let code: Vec<u8> = GREETER.iter().flat_map(|word| word.to_le_bytes()).collect();
    executable(&room.root.join("bin/greeter"), &program(183, &code));
    let handlers = fs::read_dir("/proc/sys/fs/binfmt_misc").map_or(0, Iterator::count);
    let before = tree(&room.upper);
    let greet = room.shell("greeter one two");

    let emulation = Emulation::register(platform, &emulator).unwrap();
    drop(emulator);
    let answer = done(&greet, &Cancel::new());
    assert_eq!(String::from_utf8_lossy(&answer.out), "greeter");
    assert_eq!(answer.exit.unwrap(), Exit::Code(3));
    assert_eq!(tree(&room.upper), before);
    let machine = fs::read_dir("/proc/sys/fs/binfmt_misc");
    assert_eq!(machine.map_or(0, Iterator::count), handlers);
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

    // For one run, the answer is the same.
    let mut greet = greet;
    greet.foreign = Some(Foreign { platform, handler: path, hidden: None });
    let answer = done(&greet, &Cancel::new());
    assert_eq!(String::from_utf8_lossy(&answer.out), "greeter");
    assert_eq!(answer.exit.unwrap(), Exit::Code(3));
}
