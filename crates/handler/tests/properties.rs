//! Whatever is asked of the decisions, and whatever file is joined: an answer, never a panic, and
//! one that keeps to what is promised.
#![allow(clippy::unwrap_used, unsafe_code, missing_docs, reason = "tests")]

use anyarch_handler::decide::{self, Table};
use anyarch_handler::layout::{self, Identity};
use anyarch_handler::{image, write};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// Gives a table to a check, aligned as the kernel maps it.
fn with_table<T>(table: &write::Table, check: impl FnOnce(Table) -> T) -> T {
    let bytes = write::write(table);
    let words: Vec<u64> =
        bytes.chunks(8).map(|chunk| u64::from_le_bytes(chunk.try_into().unwrap())).collect();
    // SAFETY: `words` holds a whole table, aligned, and lives through the call.
    check(unsafe { Table::new(words.as_ptr().cast()) })
}

/// Texts of which some have a meaning somewhere.
fn text() -> impl Strategy<Value = String> {
    let known = [
        "",
        "-",
        "--",
        "-m",
        "-c",
        "-mpip",
        "pip",
        "-Im",
        "-W",
        "-Wx",
        "-IW",
        "-Ic",
        "import pip",
        "end",
        "import pip end",
        "/etc/scripts/",
        "/etc/scripts/x",
        "/etc/scripts/../x",
        "/etc/scripts/..",
        "pip3",
        "/usr/bin/pip3",
        "-é",
        "x",
        "/",
        "//",
        "-IBIBIB",
        "-IBWm",
    ];
    prop_oneof![4 => select(known.to_vec()).prop_map(str::to_owned), 1 => "[^\0]{0,8}", 1 => "-[a-zA-Z-]{0,4}"]
}

fn rule() -> impl Strategy<Value = write::Interpreter> {
    let pairs = || vec((text(), text()), 0..3);
    let scripts = vec((text(), proptest::option::of(text())), 0..4);
    ("[A-Za-z]{0,6}", "[A-Z]{0,3}", vec(text(), 0..3), pairs(), scripts).prop_map(
        |(flags, valued, modules, code, scripts)| write::Interpreter {
            flags,
            valued,
            modules,
            code,
            scripts,
        },
    )
}

/// What `may_interpret` answers, by the rule's own words: options first, then one of the three.
fn expected(rule: &write::Interpreter, arguments: &[String], holds: bool) -> bool {
    let mut at = 0;
    while let Some(argument) = arguments.get(at) {
        at += 1;
        let Some(letters) = argument.strip_prefix('-') else {
            let last = argument.rsplit('/').next().unwrap();
            return rule.scripts.iter().any(|(path, inside)| {
                let is = match path {
                    folder if folder.ends_with('/') => {
                        argument.starts_with(folder) && !argument.contains("/../")
                    }
                    path if path.contains('/') => argument == path,
                    name => last == name,
                };
                is && (inside.is_none() || holds)
            });
        };
        if letters.is_empty() {
            return false;
        }
        for (place, letter) in letters.bytes().enumerate() {
            let after = &letters.as_bytes()[place + 1..];
            let value = match after {
                [] => arguments.get(at).map(|next| next.as_bytes()),
                after => Some(after),
            };
            match letter {
                b'm' if !rule.modules.is_empty() => {
                    return rule.modules.iter().any(|name| Some(name.as_bytes()) == value);
                }
                b'c' if !rule.code.is_empty() => {
                    return value.is_some_and(|text| {
                        rule.code.iter().any(|(begins, ends)| {
                            text.starts_with(begins.as_bytes()) && text.ends_with(ends.as_bytes())
                        })
                    });
                }
                letter if rule.valued.as_bytes().contains(&letter) => {
                    if value.is_none() {
                        return false;
                    }
                    at += usize::from(after.is_empty());
                    break;
                }
                letter if rule.flags.as_bytes().contains(&letter) => {}
                _ => return false,
            }
        }
    }
    false
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 4000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn interpreters_keep_to_their_rule(rule in rule(), arguments in vec(text(), 0..6), holds: bool) {
        let identity = Identity { ino: 1, ..Identity::default() };
        let entry = write::Entry {
            identity,
            interpreter: Some(rule.clone()),
            refused: vec!["-m".into()],
            ..write::Entry::default()
        };
        let table = write::Table { entries: vec![entry], ..write::Table::default() };
        let words = || arguments.iter().map(|argument| argument.as_bytes());
        let (answer, refused) = with_table(&table, |table| {
            let entry = table.find(&identity).unwrap();
            // SAFETY: the entry has an interpreter.
            let rule = unsafe { table.at::<layout::Interpreter>(entry.interpreter) };
            let answer = decide::may_interpret(&table, rule, words(), &mut |_, _| holds);
            (answer, decide::is_refused(&table, entry.refused, words()))
        });
        prop_assert_eq!(answer, expected(&rule, &arguments, holds));
        prop_assert_eq!(refused, arguments.iter().any(|argument| argument == "-m"));
    }

    #[test]
    fn any_bytes_are_compared(a in vec(any::<u8>(), 0..20), b in vec(0..3u8, 0..4)) {
        let string = |bytes: &[u8]| bytes.iter().map(|byte| char::from(*byte)).collect::<String>();
        prop_assert_eq!(decide::contains(&a, &b), string(&a).contains(&string(&b)));
        prop_assert_eq!(decide::begins(&a, &b), a.starts_with(&b));
        prop_assert_eq!(decide::equal(&a, &b), a == b);
        let below = decide::redirected(&a, &b);
        prop_assert_eq!(below, a.strip_prefix(&b[..]).filter(|tail| matches!(tail, [] | [b'/', ..])));
        prop_assert!(a.ends_with(decide::last_part(&a)));
    }

    #[test]
    fn any_program_is_found_by_itself_only(inodes in vec(0..40u64, 0..30), wanted in 0..40u64) {
        let identity = |ino, dev| Identity { dev, ino, size: 1, mtime: 2, ctime: 3 };
        let entries: Vec<write::Entry> = inodes
            .iter()
            .enumerate()
            .map(|(number, ino)| write::Entry {
                identity: identity(*ino, number as u64 % 3),
                name: format!("{ino} {}", number % 3),
                ..write::Entry::default()
            })
            .collect();
        let table = write::Table { entries, ..write::Table::default() };
        with_table(&table, |found| {
            for dev in 0..3 {
                let there = table.entries.iter().any(|entry| entry.identity == identity(wanted, dev));
                let entry = found.find(&identity(wanted, dev));
                prop_assert_eq!(entry.is_some(), there);
                if let Some(entry) = entry {
                    let name = format!("{wanted} {dev}");
                    prop_assert_eq!(found.text(entry.name), name.as_bytes());
                }
            }
            Ok(())
        })?;
    }

    #[test]
    fn any_head_is_joined_or_refused(
        random in vec(any::<u8>(), 0..600),
        fields in vec((select(&FIELDS[..]), hostile()), 0..12),
        length in prop_oneof![hostile(), 0..100_000u64],
        shape in 0..3,
    ) {
        let mut head = if shape == 0 { random } else { emulator(usize::from(shape == 2) * 40 + 3) };
        for ((at, size), value) in fields {
            if let Some(place) = head.get_mut(at..at + size) {
                place.copy_from_slice(&value.to_le_bytes()[..size]);
            }
        }
        check_join(&head, length)?;
    }
}

/// Offset and size of what the header and the first program headers say.
const FIELDS: [(usize, usize); 13] = [
    (0, 1),
    (4, 1),
    (16, 2),
    (18, 2),
    (24, 8),
    (32, 8),
    (54, 2),
    (56, 2), // the file
    (64, 4),
    (80, 8),
    (104, 8),
    (120, 4),
    (136, 8), // the first two segments
];

fn hostile() -> impl Strategy<Value = u64> {
    let known = [
        0,
        1,
        2,
        3,
        6,
        55,
        56,
        57,
        62,
        64,
        4095,
        4096,
        65534,
        65535,
        u64::from(u32::MAX),
        u64::MAX,
        u64::MAX - 1,
        u64::MAX - 4096,
        1 << 63,
        (1 << 47) - 4096,
    ];
    prop_oneof![3 => select(known.to_vec()), 1 => any::<u64>()]
}

/// The beginning of a good emulator with so many segments.
fn emulator(segments: usize) -> Vec<u8> {
    let mut out = vec![0; 64 + segments * 56];
    out[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    out[16] = 3;
    out[18] = if cfg!(target_arch = "aarch64") { 183 } else { 62 };
    out[32] = 64;
    out[54] = 56;
    out[56..58].copy_from_slice(&(segments as u16).to_le_bytes());
    for segment in 0..segments {
        let row = &mut out[64 + segment * 56..][..56];
        row[0] = if segment < 2 { 1 } else { 4 };
        row[16..24].copy_from_slice(&(segment as u64 * 0x1000).to_le_bytes());
        row[40..48].copy_from_slice(&0x800u64.to_le_bytes());
    }
    out
}

/// What is joined is a program that the kernel can map, if the emulator was one.
fn check_join(head: &[u8], length: u64) -> Result<(), TestCaseError> {
    let table = write::write(&write::Table::default());
    let Ok(image) = image::join(head, length, &[0x90; 64], &table) else { return Ok(()) };
    let word = |bytes: &[u8], at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
    let rows = usize::from(u16::from_le_bytes([image.head[56], image.head[57]]));
    let old = usize::from(u16::from_le_bytes([head[56], head[57]]));
    prop_assert_eq!(rows, old + 1);
    prop_assert!(image.tail_offset >= length && image.tail_offset % 4096 == 0);
    prop_assert_eq!(word(&image.head, 32), image.tail_offset);
    let loads: Vec<&[u8]> =
        image.tail[..rows * 56].chunks(56).filter(|row| row[..4] == [1, 0, 0, 0]).collect();
    let (ours, others) = loads.split_last().unwrap();
    let size = image.tail.len() as u64;
    prop_assert_eq!(
        (word(ours, 8), word(ours, 32), word(ours, 40)),
        (image.tail_offset, size, size)
    );
    let address = word(ours, 16);
    prop_assert_eq!(address % 4096, 0);
    prop_assert!(address.checked_add(size).is_some());
    for other in others {
        prop_assert!(word(other, 16).checked_add(word(other, 40)).unwrap() <= address);
    }
    let entry = word(&image.head, 24);
    prop_assert!(entry > address && entry < address + size);
    Ok(())
}

#[test]
fn as_many_segments_as_there_can_be() {
    for segments in [65_534, 65_535] {
        check_join(&emulator(segments), 5000).unwrap();
    }
}
