//! The decisions of the handler: pure functions on byte strings and tables. Also compiled into it,
//! so it uses `core` only and allocates nothing.

use crate::layout::{Code, Entry, Header, Identity, Interpreter, List, Script, Str};

/// A table in memory.
#[derive(Clone, Copy)]
pub struct Table {
    base: *const u8,
}

impl Table {
    /// The table that begins at `base`.
    ///
    /// # Safety
    /// A whole table as [`write`](crate::write) makes it lies there for as long as this is used,
    /// aligned to eight bytes.
    pub unsafe fn new(base: *const u8) -> Table {
        Table { base }
    }

    /// Its beginning.
    pub fn header(&self) -> &Header {
        // SAFETY: `new` was promised a whole table.
        unsafe { &*self.base.cast() }
    }

    /// The elements of a list.
    ///
    /// # Safety
    /// `T` is the type that [`layout`](crate::layout) names for this list.
    pub unsafe fn list<T>(&self, list: List) -> &[T] {
        // SAFETY: the writer aligned the elements and counted them.
        unsafe {
            core::slice::from_raw_parts(
                self.base.add(list.offset as usize).cast(),
                list.count as usize,
            )
        }
    }

    /// A structure by its offset.
    ///
    /// # Safety
    /// `T` is the type that [`layout`](crate::layout) names for this offset.
    pub unsafe fn at<T>(&self, offset: u32) -> &T {
        // SAFETY: the writer put an aligned `T` there.
        unsafe { &*self.base.add(offset as usize).cast() }
    }

    /// Where a string begins, with a NUL at its end.
    pub fn pointer(&self, text: Str) -> *const u8 {
        // SAFETY: the writer counts offsets from the beginning of the same allocation.
        unsafe { self.base.add(text as usize) }
    }

    /// A string, without the NUL.
    pub fn text(&self, text: Str) -> &[u8] {
        if text == 0 {
            return b"";
        }
        // SAFETY: every string of a table ends in NUL.
        unsafe { bytes(self.pointer(text)) }
    }

    /// The entry of a program, by binary search.
    pub fn find(&self, identity: &Identity) -> Option<&Entry> {
        // SAFETY: `entries` holds `Entry` elements.
        let entries: &[Entry] = unsafe { self.list(self.header().entries) };
        let (mut low, mut high) = (0, entries.len());
        while low < high {
            let middle = low + (high - low) / 2;
            let entry = entries.get(middle)?;
            if entry.identity.ino < identity.ino {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        entries
            .get(low..)?
            .iter()
            .take_while(|entry| entry.identity.ino == identity.ino)
            .find(|entry| entry.identity == *identity)
    }
}

/// The bytes before the NUL.
///
/// # Safety
/// A NUL follows within the same allocation, which lives as long as the result.
pub unsafe fn bytes<'a>(text: *const u8) -> &'a [u8] {
    let mut length = 0;
    // SAFETY: the caller promises that there is a NUL, and nothing after it is read.
    unsafe {
        while *text.add(length) != 0 {
            length += 1;
        }
        core::slice::from_raw_parts(text, length)
    }
}

/// Whether a variable of the environment, `NAME=value`, changes how programs are loaded, so that
/// only the emulated one can be right.
pub fn changes_loading(variable: &[u8]) -> bool {
    // Not a list: pointers in data would have to be relocated, which nobody does in the handler.
    begins(variable, b"LD_")
        || begins(variable, b"GLIBC_TUNABLES=")
        || begins(variable, b"GCONV_PATH=")
        || begins(variable, b"MALLOC_")
        || begins(variable, b"QEMU_")
        || has_other_characters(variable)
}

/// Whether a variable names a locale whose characters are neither ASCII nor UTF-8: the C library
/// loads a module for them, and looks for it where its own architecture has them.
fn has_other_characters(variable: &[u8]) -> bool {
    let name = |name: &[u8]| variable.get(name.len()..).filter(|_| begins(variable, name));
    let Some(locale) = name(b"LC_ALL=").or(name(b"LC_CTYPE=")).or(name(b"LANG=")) else {
        return false;
    };
    let plain = locale.is_empty() || equal(locale, b"C") || equal(locale, b"POSIX");
    !plain && !contains(locale, b".UTF-8") && !contains(locale, b".utf8")
}

/// Whether an argument names what /proc tells a process of itself: the emulator answers some of it
/// for the program, and the kernel would tell a twin of the handler.
pub fn is_about_itself(argument: &[u8]) -> bool {
    contains(argument, b"/proc/self") || contains(argument, b"/proc/thread-self")
}

/// Whether a shell (dash) is about to run a text that was looked through, and in which nothing was
/// odd. `is_odd_file` tells it of a file.
pub fn is_plain_shell<'a>(
    mut arguments: impl Iterator<Item = &'a [u8]>,
    is_odd_file: &mut dyn FnMut(&[u8]) -> bool,
) -> bool {
    let (mut command, mut options) = (false, true);
    while let Some(argument) = arguments.next() {
        match argument.split_first() {
            Some((b'-' | b'+', letters)) if options => {
                if letters.is_empty() || equal(letters, b"-") {
                    options = false;
                    continue;
                }
                if has(letters, b's') || (has(letters, b'o') && arguments.next().is_none()) {
                    return false;
                }
                command |= has(letters, b'c');
            }
            _ if command => return !Scan::default().is_odd(argument),
            _ => return !is_odd_file(argument),
        }
    }
    false // from standard input
}

/// Looks through the text of a shell for what it would do differently on another machine, piece by
/// piece: patterns with ranges up to or from a byte beyond ASCII (`[a-é]`), because such a byte is
/// negative on some machines only, or from or up to something that is not known yet; and files of
/// /proc that are about the shell itself.
#[derive(Default)]
pub struct Scan {
    /// In brackets.
    inside: bool,
    /// The byte before, quotes left out.
    last: u8,
    /// How much of each of the texts was just seen.
    seen: [usize; 2],
}

impl Scan {
    /// Whether there was something odd, up to the end of this piece.
    pub fn is_odd(&mut self, piece: &[u8]) -> bool {
        piece.iter().any(|byte| self.take(*byte))
    }

    fn take(&mut self, byte: u8) -> bool {
        self.seen[0] = follow(b"/proc/self", self.seen[0], byte);
        self.seen[1] = follow(b"/proc/thread-self", self.seen[1], byte);
        if self.seen[0] == 10 || self.seen[1] == 17 {
            return true;
        }
        let last = self.last;
        match byte {
            b'"' | b'\'' | b'\\' => return false,
            b'[' => self.inside = true,
            b']' | b'\n' => self.inside = false,
            _ => {}
        }
        self.last = byte;
        let from = byte == b'-' && (last >= 0x80 || last == b')' || last == b'}' || last == b'`');
        let to = last == b'-' && (byte >= 0x80 || byte == b'$' || byte == b'`');
        self.inside && (from || to)
    }
}

/// How much of a text, in which nothing but its first slash comes twice, was seen with this byte.
fn follow(text: &[u8], seen: usize, byte: u8) -> usize {
    let next = |seen: usize| text.get(seen) == Some(&byte);
    let again = usize::from(seen == 6); // "/proc/" ends as it begins
    if next(seen) {
        seen + 1
    } else if next(again) {
        again + 1
    } else {
        usize::from(next(0))
    }
}

/// Whether the arguments (without `argv[0]`) hold one with which the program is emulated, or there
/// are none, and the program is emulated without.
pub fn is_refused<'a>(
    table: &Table,
    refused: List,
    mut arguments: impl Iterator<Item = &'a [u8]>,
) -> bool {
    // SAFETY: lists of refused arguments hold strings.
    let refused: &[Str] = unsafe { table.list(refused) };
    let is = |argument: &[u8]| refused.iter().any(|text| equal(table.text(*text), argument));
    !refused.is_empty() && (is(arguments.next().unwrap_or_default()) || arguments.any(is))
}

/// Whether what an interpreter is about to run, by its arguments (without `argv[0]`), is in its
/// table. `holds` tells whether the first kilobyte of a file holds some bytes.
pub fn may_interpret<'a>(
    table: &Table,
    rule: &Interpreter,
    mut arguments: impl Iterator<Item = &'a [u8]>,
    holds: &mut dyn FnMut(&[u8], &[u8]) -> bool,
) -> bool {
    // SAFETY: the lists of an interpreter hold what `layout` says.
    let (modules, codes, scripts): (&[Str], &[Code], &[Script]) =
        unsafe { (table.list(rule.modules), table.list(rule.code), table.list(rule.scripts)) };
    while let Some(argument) = arguments.next() {
        let Some((b'-', letters)) = argument.split_first() else {
            return scripts.iter().any(|script| {
                is_script(table.text(script.path), argument)
                    && (script.holds == 0 || holds(argument, table.text(script.holds)))
            });
        };
        if letters.is_empty() {
            return false; // from standard input
        }
        let mut rest = letters;
        while let Some((letter, after)) = rest.split_first() {
            let mut value = |after: &'a [u8]| match after {
                b"" => arguments.next(),
                after => Some(after),
            };
            match letter {
                b'm' if !modules.is_empty() => {
                    return value(after).is_some_and(|name| {
                        modules.iter().any(|known| equal(table.text(*known), name))
                    });
                }
                b'c' if !codes.is_empty() => {
                    return value(after).is_some_and(|text| {
                        codes.iter().any(|code| {
                            begins(text, table.text(code.begins))
                                && ends(text, table.text(code.ends))
                        })
                    });
                }
                letter if has(table.text(rule.valued), *letter) => {
                    if value(after).is_none() {
                        return false;
                    }
                    rest = b"";
                }
                letter if has(table.text(rule.flags), *letter) => rest = after,
                _ => return false,
            }
        }
    }
    false // without a script: interactive, or from standard input
}

/// Whether a path is the script that a table names: itself, one below a directory, or one with this
/// file name.
fn is_script(known: &[u8], path: &[u8]) -> bool {
    if known.last() == Some(&b'/') {
        return begins(path, known) && !contains(path, b"/../");
    }
    match has(known, b'/') {
        true => equal(path, known),
        false => equal(last_part(path), known),
    }
}

/// Whether `text` holds `part`.
pub fn contains(text: &[u8], part: &[u8]) -> bool {
    let mut rest = text;
    loop {
        if begins(rest, part) {
            return true;
        }
        match rest.split_first() {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
}

/// What follows the last slash of a path.
pub fn last_part(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().unwrap_or(path)
}

// The comparisons of `core` become calls of the C library, which the handler does not have.

/// Whether two texts are the same.
pub fn equal(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(x, y)| x == y)
}

/// Whether a text begins with another.
pub fn begins(text: &[u8], with: &[u8]) -> bool {
    text.len() >= with.len() && text.iter().zip(with).all(|(x, y)| x == y)
}

fn ends(text: &[u8], with: &[u8]) -> bool {
    text.len() >= with.len() && text.iter().rev().zip(with.iter().rev()).all(|(x, y)| x == y)
}

/// Where a path lies for a twin, as the tail to be put after `to`: the path is `from` itself or
/// below it.
pub fn redirected<'a>(path: &'a [u8], from: &[u8]) -> Option<&'a [u8]> {
    let tail = path.get(from.len()..).filter(|_| begins(path, from))?;
    (tail.is_empty() || begins(tail, b"/")).then_some(tail)
}

#[allow(clippy::manual_contains, reason = "becomes code that the handler cannot hold")]
fn has(text: &[u8], byte: u8) -> bool {
    text.iter().any(|other| *other == byte)
}
