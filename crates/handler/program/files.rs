//! What the handler looks at in files: what they are known by, whether that is as it was, and what
//! scripts hold.

use core::mem::MaybeUninit;

use crate::decide;
use crate::layout::Identity;
use crate::system::{self, AT_FDCWD, call, close, open};

pub const PATH_MAX: usize = 4096;

/// Whether the first kilobyte of a file holds `text`. `path` is an argument, so a NUL follows it.
pub fn holds(path: &[u8], text: &[u8]) -> bool {
    let mut head = MaybeUninit::<[u8; 1024]>::uninit();
    // SAFETY: the path ends in NUL; the kernel fills in as many bytes as it returns.
    unsafe {
        let Some(fd) = open(path.as_ptr(), 0) else { return false };
        let count = call(system::READ, [fd, head.as_mut_ptr() as usize, 1024, 0, 0, 0]);
        close(fd);
        let Ok(count) = usize::try_from(count) else { return false };
        decide::contains(core::slice::from_raw_parts(head.as_ptr().cast(), count), text)
    }
}

/// Whether the file of a script has something odd. `path` is an argument, so a NUL follows it.
pub fn is_odd(path: &[u8]) -> bool {
    const MAX: usize = 1024 * 1024;
    let mut piece = MaybeUninit::<[u8; 4096]>::uninit();
    let (mut scan, mut size) = (decide::Scan::default(), 0);
    // What is no file must not be read: it would be gone.
    let Some(stat) = stat_of(path.as_ptr()) else { return false };
    if stat.mode_uid as u32 & 0o170_000 != 0o100_000 {
        return true;
    }
    // SAFETY: the path ends in NUL; the kernel fills in as many bytes as it returns.
    unsafe {
        let Some(fd) = open(path.as_ptr(), 0) else { return false };
        let odd = loop {
            let count = call(system::READ, [fd, piece.as_mut_ptr() as usize, 4096, 0, 0, 0]);
            let Ok(count) = usize::try_from(count) else { break true };
            size += count;
            if count == 0 {
                break false;
            }
            let bytes = core::slice::from_raw_parts(piece.as_ptr().cast(), count);
            if size > MAX || scan.is_odd(bytes) {
                break true;
            }
        };
        close(fd);
        odd
    }
}

/// The kernel's `struct stat`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Stat {
    dev: u64,
    ino: u64,
    links: u64,
    mode_uid: u64,
    gid_pad: u64,
    rdev: u64,
    size: u64,
    block: [u64; 2],
    atime: [i64; 2],
    mtime: [i64; 2],
    ctime: [i64; 2],
    unused: [u64; 3],
}

impl Stat {
    fn identity(&self) -> Identity {
        let time =
            |[seconds, nanos]: [i64; 2]| seconds.wrapping_mul(1_000_000_000).wrapping_add(nanos);
        Identity {
            dev: self.dev,
            ino: self.ino,
            size: self.size,
            mtime: time(self.mtime),
            ctime: time(self.ctime),
        }
    }
}

pub fn identity_of(fd: usize) -> Option<Identity> {
    let mut stat = MaybeUninit::<Stat>::uninit();
    // SAFETY: the kernel fills in the whole structure when it returns 0.
    unsafe {
        let result = call(system::FSTAT, [fd, stat.as_mut_ptr() as usize, 0, 0, 0, 0]);
        (result == 0).then(|| stat.assume_init_ref().identity())
    }
}

/// `path` points to a text that ends in NUL.
fn stat_of(path: *const u8) -> Option<Stat> {
    let mut stat = MaybeUninit::<Stat>::uninit();
    let arguments = [AT_FDCWD as usize, path as usize, stat.as_mut_ptr() as usize, 0, 0, 0];
    // SAFETY: as said; the kernel fills the structure in when it returns 0.
    unsafe { (call(system::NEWFSTATAT, arguments) == 0).then(|| stat.assume_init()) }
}

pub fn is_unchanged(path: *const u8, known: &Identity) -> bool {
    stat_of(path).map_or(known.ino == 0, |stat| stat.identity() == *known)
}

/// Writes the path of an open file, with a NUL.
pub fn path_of(fd: usize, to: *mut u8) -> Option<()> {
    let mut link = *b"/proc/self/fd/0000000000\0";
    // The digits, from the right; what is left of them stays behind as slashes.
    let (mut rest, mut digits) = (fd, true);
    for byte in link.iter_mut().rev().skip(1).take(10) {
        *byte = if digits { b'0' + (rest % 10) as u8 } else { b'/' };
        rest /= 10;
        digits = rest > 0;
    }
    let arguments = [AT_FDCWD as usize, link.as_ptr() as usize, to as usize, PATH_MAX - 1, 0, 0];
    // SAFETY: `to` has room for PATH_MAX bytes.
    unsafe {
        let length = usize::try_from(call(system::READLINKAT, arguments)).ok()?;
        to.add(length).write(0);
    }
    Some(())
}
