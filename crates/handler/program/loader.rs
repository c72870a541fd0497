//! The file of a dynamic loader → its segments in memory, as the kernel maps them for a program that
//! names it.

use core::mem::{MaybeUninit, size_of};

use crate::system::{self, call, close, open};
use crate::{decide, memory};

/// A dynamic loader in memory.
pub struct Loader {
    pub entry: usize,
    pub headers: usize,
    pub count: usize,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct ElfHeader {
    ident: [u8; 16],
    kind: u16,
    machine: u16,
    version: u32,
    entry: u64,
    phoff: u64,
    shoff: u64,
    flags: u32,
    size: u16,
    phentsize: u16,
    phnum: u16,
    rest: [u16; 3],
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Segment {
    kind: u32,
    flags: u32,
    offset: u64,
    address: u64,
    physical: u64,
    file: u64,
    memory: u64,
    align: u64,
}

const MAX_SEGMENTS: usize = 16;
const PAGE: usize = 4096;
const PROT_NONE: usize = 0;
const PROT_READ: usize = 1;
const PROT_WRITE: usize = 2;
const PROT_EXEC: usize = 4;
const MAP_PRIVATE: usize = 2;
const MAP_FIXED: usize = 0x10;
const MAP_ANONYMOUS: usize = 0x20;

impl Loader {
    /// Maps the segments of a position-independent program, as the kernel does for an interpreter.
    pub fn map(path: *const u8) -> Option<Loader> {
        // SAFETY: the path is a string of the table.
        let fd = unsafe { open(path, 0)? };
        let loader = Loader::map_open(fd);
        close(fd);
        loader
    }

    fn map_open(fd: usize) -> Option<Loader> {
        let (mut header, mut segments) = (MaybeUninit::uninit(), MaybeUninit::uninit());
        let header: &ElfHeader = read_at(fd, 0, &mut header)?;
        let count = usize::from(header.phnum);
        if !decide::begins(&header.ident, b"\x7fELF") || header.kind != 3 || count > MAX_SEGMENTS {
            return None;
        }
        let segments: &[Segment; MAX_SEGMENTS] = read_at(fd, header.phoff, &mut segments)?;
        let loads = || segments.iter().take(count).filter(|segment| segment.kind == 1);
        let end = loads().map(|segment| (segment.address + segment.memory) as usize).max()?;
        let span = end.checked_add(PAGE - 1)? & !(PAGE - 1);
        let base = map(0, span, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, usize::MAX, 0)?;
        for segment in loads() {
            let address = base + segment.address as usize;
            let page = address & !(PAGE - 1);
            let inset = address - page;
            let mut protection = 0;
            for (flag, bit) in [(4, PROT_READ), (2, PROT_WRITE), (1, PROT_EXEC)] {
                if segment.flags & flag != 0 {
                    protection |= bit;
                }
            }
            let file = segment.file as usize;
            let offset = segment.offset as usize - inset;
            if file > 0 {
                map(page, inset + file, protection, MAP_PRIVATE | MAP_FIXED, fd, offset)?;
            }
            let (filled, end) = (address + file, address + segment.memory as usize);
            if end > filled {
                let whole = (filled + PAGE - 1) & !(PAGE - 1);
                if whole > filled && file > 0 {
                    // To the end of the page, as the kernel does: the loader takes what follows its
                    // data for its first allocations.
                    // SAFETY: the rest of the last page of a segment that can be written.
                    unsafe { memory::zero(filled as *mut u8, whole - filled) };
                }
                if end > whole {
                    let flags = MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS;
                    map(whole, end - whole, protection, flags, usize::MAX, 0)?;
                }
            }
        }
        let headers = loads()
            .find(|s| s.offset <= header.phoff && header.phoff < s.offset + s.file)
            .map(|s| base + (header.phoff - s.offset + s.address) as usize)?;
        Some(Loader { entry: base + header.entry as usize, headers, count })
    }
}

fn map(
    at: usize,
    length: usize,
    protection: usize,
    flags: usize,
    fd: usize,
    offset: usize,
) -> Option<usize> {
    // SAFETY: a new mapping, or one over the span that `map_open` reserved.
    let result = unsafe { call(system::MMAP, [at, length, protection, flags, fd, offset]) };
    usize::try_from(result).ok()
}

/// Reads a structure of plain numbers; zeros where the file is shorter.
fn read_at<T: Copy>(fd: usize, offset: u64, place: &mut MaybeUninit<T>) -> Option<&T> {
    let arguments = [fd, place.as_mut_ptr() as usize, size_of::<T>(), offset as usize, 0, 0];
    // SAFETY: the kernel writes at most the size of the structure, for which zeros are fine.
    unsafe {
        memory::zero(place.as_mut_ptr().cast(), size_of::<T>());
        (call(system::PREAD, arguments) > 0).then(|| place.assume_init_ref())
    }
}
