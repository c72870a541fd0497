//! The table that the handler reads, as it lies in its memory: plain structures with offsets.
//!
//! Offsets are in bytes from the beginning of the [`Header`]; a string ends in NUL, offset 0 means
//! that there is none. Written by [`write`](crate::write), read in place.

/// First field of every table.
pub const MAGIC: u64 = u64::from_le_bytes(*b"anyarch5");

/// Type of the entry of the auxiliary vector that points to a [`ShimConfig`].
pub const AT_SHIM: u64 = 0x616e_7961;

/// Offset of a string.
pub type Str = u32;

/// A list: where its first element lies, and how many there are.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct List {
    /// Offset of the first element.
    pub offset: u32,
    /// Number of elements.
    pub count: u32,
}

/// The beginning of a table.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Header {
    /// [`MAGIC`].
    pub magic: u64,
    /// Address of this header in the image of the program, before it was moved when loaded.
    pub address: u64,
    /// Entry point of the emulator, likewise.
    pub emulator: u64,
    /// File that gets a [`Record`] for every program.
    pub log: Str,
    /// What uname(2) says is the machine.
    pub machine: Str,
    /// [`Entry`] elements, sorted by inode number.
    pub entries: List,
    /// [`Variable`] elements: what twins are given besides their environment.
    pub variables: List,
}

/// What a file is known by: as long as all of this is the same, so is its content.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Identity {
    /// Device.
    pub dev: u64,
    /// Inode number; 0 in a [`Dependency`] says that there must be no file.
    pub ino: u64,
    /// Size in bytes.
    pub size: u64,
    /// Time of the last change of content, in nanoseconds since 1970.
    pub mtime: i64,
    /// Time of the last change of anything, likewise.
    pub ctime: i64,
}

/// A foreign program and its twin.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// The foreign program.
    pub identity: Identity,
    /// Name for the log.
    pub name: Str,
    /// Path of the twin.
    pub program: Str,
    /// Path of the dynamic loader of the twin.
    pub loader: Str,
    /// Directories of its libraries, with colons between.
    pub library_path: Str,
    /// Path of the shim, if the twin needs it.
    pub shim: Str,
    /// Bits of the [`Variable`]s that it is given.
    pub variables: u32,
    /// [`Dependency`] elements: what must be as it was.
    pub dependencies: List,
    /// [`Redirect`] elements, for the shim.
    pub redirects: List,
    /// Arguments ([`Str`]) that go before its own.
    pub arguments: List,
    /// Arguments ([`Str`]) with which it is emulated; an empty one means a call without arguments.
    pub refused: List,
    /// Beginnings of variables ([`Str`]), such as `PERL5LIB=`, with which it is emulated.
    pub refused_variables: List,
    /// Offset of an [`Interpreter`], or 0 for a program that runs no programs itself.
    pub interpreter: u32,
    /// 1: a shell, whose text is looked through (`decide::Scan`), and whose divisions do not trap
    /// (`divide`).
    pub shell: u32,
}

/// A file or directory that must be as it was when the table was made.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Dependency {
    /// What is there.
    pub identity: Identity,
    /// Where.
    pub path: Str,
    /// Keeps the size a multiple of eight.
    pub padding: u32,
}

/// A variable of twins. Both are whole entries of an environment, `NAME=value`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Variable {
    /// What a twin gets.
    pub given: Str,
    /// What it replaces and what its children get back; 0: it must not be set.
    pub original: Str,
}

/// A directory that a twin finds somewhere else.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Redirect {
    /// Where it asks.
    pub from: Str,
    /// Where it lies.
    pub to: Str,
    /// 1: for libraries that are loaded, and nothing else.
    pub loads: u32,
}

/// What an interpreter may run as a twin. Anything else is emulated.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Interpreter {
    /// Letters of options without a value.
    pub flags: Str,
    /// Letters of options with a value.
    pub valued: Str,
    /// Names ([`Str`]) for option `-m`.
    pub modules: List,
    /// [`Code`] elements for option `-c`.
    pub code: List,
    /// [`Script`] elements.
    pub scripts: List,
}

/// A text given on the command line, by its beginning and end.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Code {
    /// How it begins.
    pub begins: Str,
    /// How it ends.
    pub ends: Str,
}

/// A script, by its path and content.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Script {
    /// Its path, a directory with a `/` at the end, or a file name without any `/`.
    pub path: Str,
    /// What its first kilobyte holds; 0: anything.
    pub holds: Str,
}

/// What the shim is told, through the auxiliary vector.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ShimConfig {
    /// What uname(2) says is the machine.
    pub machine: *const u8,
    /// What `/proc/self/exe` points to.
    pub exe: *const u8,
    /// Beginning of the table, from which the redirects count.
    pub table: *const u8,
    /// [`Redirect`] elements.
    pub redirects: List,
}

/// One line of the log.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Record {
    /// Process number, as the programs of the step see it.
    pub pid: u32,
    /// 1: ran as a twin; 0: emulated.
    pub native: u32,
    /// Last part of the program's path, cut, filled with NUL.
    pub name: [u8; 24],
}
