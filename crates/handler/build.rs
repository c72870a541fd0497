//! Compiles the two programs in `program/`, without a standard library, and checks that they are
//! what they must be: the handler one flat piece without relocations, the shim a shared library.
#![allow(clippy::unwrap_used, reason = "a build script ends by panicking")]

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=program");
    println!("cargo::rerun-if-changed=src/layout.rs");
    println!("cargo::rerun-if-changed=src/decide.rs");
    println!("cargo::rerun-if-changed=src/divide.rs");
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap());
    if env::var("CARGO_CFG_TARGET_ARCH").unwrap() != "x86_64" {
        // Foreign platforms are emulated without twins there.
        fs::write(out.join("handler.bin"), b"").unwrap();
        fs::write(out.join("shim.so"), b"").unwrap();
        return;
    }
    let elf = out.join("handler.elf");
    let script = Path::new("program/handler.ld").canonicalize().unwrap();
    compile(
        "program/handler.rs",
        &elf,
        &[
            "--crate-type=bin",
            "-Crelocation-model=pic",
            "-Clink-arg=-no-pie",
            "-Clink-arg=-nostdlib",
            "-Clink-arg=-nostartfiles",
            "-Clink-arg=-static",
            "-Clink-arg=-Wl,--build-id=none",
            &format!("-Clink-arg=-Wl,-T,{}", script.display()),
        ],
    );
    fs::write(out.join("handler.bin"), flat(&fs::read(&elf).unwrap())).unwrap();
    compile(
        "program/shim.rs",
        &out.join("shim.so"),
        &[
            "--crate-type=cdylib",
            "-Clink-arg=-nostdlib",
            "-Clink-arg=-Wl,-z,now",
            "-Clink-arg=-Wl,--build-id=none",
            "-Cstrip=symbols",
        ],
    );
}

fn compile(source: &str, output: &Path, options: &[&str]) {
    let mut command = Command::new(env::var_os("RUSTC").unwrap());
    command
        .args([
            "--edition=2024",
            "-Copt-level=s",
            "-Cpanic=abort",
            "-Cdebuginfo=0",
            "-Clinker-features=-lld",
        ])
        .args(["-Ccodegen-units=1", "-Coverflow-checks=off", "-Cforce-unwind-tables=no"])
        .arg(format!("--target={}", env::var("TARGET").unwrap()))
        .args(options)
        .arg("-o")
        .arg(output)
        .arg(source);
    if let Some(linker) = env::var_os("RUSTC_LINKER") {
        let mut option = std::ffi::OsString::from("-Clinker=");
        option.push(linker);
        command.arg(option);
    }
    let result = command.output().unwrap();
    assert!(
        result.status.success(),
        "{source} does not compile:\n{}",
        String::from_utf8_lossy(&result.stderr)
    );
}

/// The only segment of the handler, after checking that nothing else is there.
fn flat(elf: &[u8]) -> &[u8] {
    let half = |at: usize| usize::from(u16::from_le_bytes([elf[at], elf[at + 1]]));
    let word = |at: usize| u64::from_le_bytes(elf[at..at + 8].try_into().unwrap()) as usize;
    let (begin, count) = (word(40), half(60));
    let names = word(begin + half(62) * 64 + 24);
    let mut text = None;
    for at in (0..count).map(|number| begin + number * 64) {
        let name = names + u32::from_le_bytes(elf[at..at + 4].try_into().unwrap()) as usize;
        let name = elf[name..].split(|byte| *byte == 0).next().unwrap();
        let (offset, size) = (word(at + 24), word(at + 32));
        match name {
            b".text" => text = Some(&elf[offset..offset + size]),
            b".forbidden" => assert_eq!(size, 0, "the handler has data that can be written"),
            name => assert!(
                !name.starts_with(b".rela"),
                "the handler needs relocations: a table of pointers, perhaps"
            ),
        }
    }
    text.unwrap()
}
