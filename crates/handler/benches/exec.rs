//! What the handler adds to starting a program: a program of this machine against the same one as
//! the twin of a foreign one, and an emulator alone against the same one joined with the handler.
//!
//! Microseconds for one start and end, the median of several rounds, each of which measures every
//! row. Needs user namespaces and Linux 6.7. `ANYARCH_BENCH_EMULATOR` names an emulator for arm64,
//! such as `qemu-aarch64-static`; without it, a program stands in that ends at once.
//! `cargo bench --package anyarch-handler`.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs, reason = "a benchmark")]

#[cfg(target_arch = "x86_64")]
#[allow(dead_code, unreachable_pub, reason = "the tests use more of it")]
#[path = "../../sandbox/tests/sandbox/programs.rs"]
mod programs;
#[cfg(target_arch = "x86_64")]
#[allow(dead_code, unreachable_pub, reason = "the tests use more of it")]
#[path = "../tests/kernel/room.rs"]
mod room;

#[cfg(not(target_arch = "x86_64"))]
fn main() {} // no handler yet

#[cfg(target_arch = "x86_64")]
fn main() {
    anyarch_sandbox::init();
    anyarch_sandbox::enter().unwrap();
    rows::measure();
    room::clear();
}

#[cfg(target_arch = "x86_64")]
mod rows {
    use std::fs;

    use anyarch_handler::layout::Identity;
    use anyarch_handler::write::Entry;

    use super::room::{Room, identity};

    const ROUNDS: usize = 7;
    const STARTS: usize = 500;
    /// As many programs as the table of a Debian root has, each with its libraries.
    const PROGRAMS: u64 = 300;
    const LIBRARIES: usize = 8;
    /// As many files as are looked at for a program with modules of its own.
    const MANY: usize = 60;

    struct Row {
        name: &'static str,
        room: Room,
        joined: bool,
        program: &'static str,
        taken: Vec<f64>,
    }

    pub(crate) fn measure() {
        let twin = |change: fn(&Room, &mut Entry)| {
            let mut room = Room::new();
            let mut entry = room.twin("true").clone();
            change(&room, &mut entry);
            *room.table.entries.last_mut().unwrap() = entry;
            fill(&mut room);
            room
        };
        let emulator = || {
            let mut room = Room::new();
            room.emulator = match std::env::var_os("ANYARCH_BENCH_EMULATOR") {
                Some(path) => path.into(),
                None => room.emulator.with_file_name("quiet"),
            };
            room.foreign_of("end", &ends_at_once());
            fill(&mut room);
            room
        };
        let row = |name, room, joined, program| Row { name, room, joined, program, taken: vec![] };
        let mut rows = [
            row("natively", twin(|_, _| {}), true, "/bin/true"),
            row(
                "as a twin",
                twin(|room, entry| watch(room, entry, LIBRARIES)),
                true,
                "/foreign/true",
            ),
            row(
                "as a twin, many dependencies, shim",
                twin(|room, entry| {
                    watch(room, entry, MANY);
                    entry.shim = Some("/proc/3/shim.so".into());
                }),
                true,
                "/foreign/true",
            ),
            row("emulator alone", emulator(), false, "/foreign/end"),
            row("emulator with the handler", emulator(), true, "/foreign/end"),
        ];
        for _ in 0..ROUNDS {
            rows.iter_mut().for_each(|row| row.taken.push(once(row)));
        }
        let medians = rows.map(|mut row| {
            row.taken.sort_by(f64::total_cmp);
            (row.name, row.taken[0], row.taken[ROUNDS / 2])
        });
        println!("{:36} {:>10} {:>10} {:>10}", "microseconds", "fastest", "median", "added");
        for (at, (name, fastest, median)) in medians.iter().enumerate() {
            let base = medians[if at < 3 { 0 } else { 3 }].2;
            println!("{name:36} {fastest:10.1} {median:10.1} {:10.1}", median - base);
        }
    }

    fn once(row: &Row) -> f64 {
        let count = STARTS.to_string();
        let process = row.room.process(&["/bin/probe", "+loop", &count, row.program]);
        let done = row.room.run_with(process, row.room.handler(row.joined)).success();
        let text = done.text();
        let (taken, failed) = text.lines().next().unwrap().split_once(' ').unwrap();
        assert_eq!(failed, "0", "{text}");
        taken.parse().unwrap()
    }

    fn watch(room: &Room, entry: &mut Entry, count: usize) {
        entry.dependencies = (0..count)
            .map(|number| {
                let path = format!("/etc/dependency-{number}");
                let outside = room.root.join(&path[1..]);
                fs::write(&outside, "").unwrap();
                (path, Some(identity(&outside)))
            })
            .collect();
    }

    /// Programs that nobody starts.
    fn fill(room: &mut Room) {
        for number in 0..PROGRAMS {
            let mut entry = room.table.entries[0].clone();
            entry.identity.ino = 1 + number * 1_000;
            entry.name = format!("program-{number}");
            entry.dependencies = (0..LIBRARIES)
                .map(|library| (format!("/lib/{number}/{library}"), Some(Identity::default())))
                .collect();
            room.table.entries.push(entry);
        }
    }

    /// A program of arm64 that exits with 0.
    fn ends_at_once() -> Vec<u8> {
        let mut out = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\xb7\0\x01\0\0\0".to_vec();
        for number in [0x40_0078u64, 64, 0] {
            out.extend(number.to_le_bytes()); // entry, program headers, section headers
        }
        out.extend(0u32.to_le_bytes());
        for number in [64u16, 56, 1, 64, 0, 0] {
            out.extend(number.to_le_bytes());
        }
        for number in [1u32, 5] {
            out.extend(number.to_le_bytes()); // a segment to be loaded and executed
        }
        for number in [0u64, 0x40_0000, 0x40_0000, 132, 132, 0x1_0000] {
            out.extend(number.to_le_bytes());
        }
        // mov x8, 93; mov x0, 0; svc 0
        for instruction in [0xd280_0ba8u32, 0xd280_0000, 0xd400_0001] {
            out.extend(instruction.to_le_bytes());
        }
        out
    }
}
