//! Many programs: nothing is left of them, and runs do not see each other.

use std::fs;

use crate::Case;
use crate::room::{Done, Room};

pub(crate) const CASES: &[Case] = &[
    ("ten_thousand_leave_nothing_needs_userns", |_| ten_thousand_leave_nothing()),
    ("two_runs_at_once_needs_userns", |_| two_runs_at_once()),
    ("records_of_many_at_once_are_whole_needs_userns", |_| records_of_many_at_once_are_whole()),
];

const KIB: u64 = 1024;

/// Starts a foreign program so many times; kibibytes that the starting process has afterwards.
fn repeat(room: &Room, count: usize, words: &[&str]) -> (Done, u64) {
    let count_text = count.to_string();
    let done = room.run(room.process(&[&["/bin/probe", "+loop", &count_text], words].concat()));
    let done = done.success();
    let text = done.text();
    let mut lines = text.lines().skip_while(|line| !line.contains(" 0"));
    let resident = lines.find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let resident = resident.trim().trim_end_matches(" kB").trim().parse().unwrap();
    (done, resident)
}

fn ten_thousand_leave_nothing() {
    let mut room = Room::new();
    room.twin("true").shim = Some("/proc/3/shim.so".into());
    let folders = |path: &str| fs::read_dir(path).unwrap().count();
    let mounts = || fs::read_to_string("/proc/self/mountinfo").unwrap().lines().count();
    let (few, little) = repeat(&room, 100, &["/foreign/true"]);
    assert_eq!(few.log.len(), 100);
    let before = (mounts(), folders("/proc/self/fd"));
    let (many, much) = repeat(&room, 10_000, &["/foreign/true"]);
    assert_eq!((mounts(), folders("/proc/self/fd")), before);
    assert_eq!(many.log.len(), 10_000);
    assert!(many.log.iter().all(|logged| logged.native && logged.name == "true"));
    assert!(much < little + KIB, "{little} KiB became {much}");
    assert!(many.text().contains(" 0\n"), "some failed: {}", many.text());
}

fn two_runs_at_once() {
    let mut rooms = [Room::new(), Room::new()];
    rooms[0].twin("true");
    // In the other one it is emulated.
    rooms[1].foreign("true");
    let quiet = rooms[1].emulator.with_file_name("quiet");
    rooms[1].emulator = quiet;
    std::thread::scope(|scope| {
        for (number, room) in rooms.iter().enumerate() {
            scope.spawn(move || {
                for _ in 0..3 {
                    let (done, _) = repeat(room, 300, &["/foreign/true"]);
                    assert_eq!(done.log.len(), 300);
                    assert!(done.log.iter().all(|logged| logged.native == (number == 0)));
                }
            });
        }
    });
}

fn records_of_many_at_once_are_whole() {
    let mut room = Room::new();
    room.twin("true");
    let loops = "for i in 1 2 3 4 5 6; do probe +loop 50 /foreign/true & done; wait";
    let done = room.run(room.shell(&format!("PATH=/bin; {loops}"))).success();
    assert_eq!(done.log.len(), 300);
    assert!(done.log.iter().all(|logged| logged.native && logged.name == "true"));
}
