//! The program that the kernel starts for every program of a foreign platform, and its shim.
//!
//! The handler is one image with the emulator: the kernel maps both, the handler decides, and jumps
//! either into the emulator, whose stack is as the kernel made it, or into the dynamic loader of the
//! twin, the native build of the same program. There is no second exec, no search and no parsing:
//! the table lies in memory, and a program is found by its inode number. The shim is a small library
//! that is loaded into those twins that ask for the name of the machine, for `/proc/self/exe`, or
//! for directories of their own architecture.
//!
//! This crate holds the layout of the table, its writer, the decisions (plain functions, tested
//! here), and the two programs as bytes ([`HANDLER`], [`SHIM`]), which its build script compiles
//! without a standard library. Depends on nothing. Must never know plans, images or packages; which
//! programs have twins is decided by whoever writes the table.
#![cfg_attr(test, allow(clippy::unwrap_used))]
// The layout is read in place: every block says why the bytes are there.
#![allow(unsafe_code)]

pub mod decide;
pub mod divide;
pub mod image;
pub mod layout;
pub mod write;

/// The handler as flat, position-independent code that begins with its entry point; empty where
/// this machine's architecture has none yet.
pub const HANDLER: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/handler.bin"));

/// The shim, a shared library; empty where there is no handler.
pub const SHIM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/shim.so"));
