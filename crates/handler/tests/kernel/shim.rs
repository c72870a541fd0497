//! What twins are told that ask for their machine, themselves, or their own directories.

use std::fs;

use crate::Case;
use crate::room::Room;

pub(crate) const CASES: &[Case] = &[
    ("the_shim_answers_for_the_target_needs_userns", |_| the_shim_answers_for_the_target()),
    ("directories_are_found_elsewhere_needs_userns", |_| directories_are_found_elsewhere()),
    ("real_programs_are_answered_needs_userns", |_| real_programs_are_answered()),
];

const SHIM: &str = "/proc/3/shim.so";

fn room(redirects: &[(&str, &str)]) -> Room {
    let mut room = Room::new();
    room.probe().shim = Some(SHIM.into());
    room.probe().redirects =
        redirects.iter().map(|(from, to)| ((*from).to_owned(), (*to).to_owned())).collect();
    let there = room.hidden.join("there");
    fs::create_dir(&there).unwrap();
    fs::write(there.join("file"), "hidden").unwrap();
    let asked = room.root.join("asked");
    fs::create_dir(&asked).unwrap();
    fs::write(asked.join("file"), "plain").unwrap();
    room
}

fn answers(room: &Room, path: &str, folder: &str) -> Vec<String> {
    let absent = format!("{folder}/absent");
    let mut process = room.process(&["/foreign/probe", "+shim", path, folder, &absent]);
    process.cwd = "/tmp".into();
    let done = room.run(process).success();
    assert!(done.log.iter().all(|logged| logged.native));
    done.text().lines().map(str::to_owned).collect()
}

fn expected(text: &str) -> Vec<String> {
    let text = format!("text {text}");
    let calls = ["openat", "stat", "lstat", "fstatat", "access", "fopen", "opendir"];
    let head = [
        "machine aarch64",
        "sysname Linux",
        "exe /foreign/probe",
        "cut /for",
        "nolink 1",
        "open ok",
    ];
    let tail = [
        "absent No such file or directory",
        "absent No such file or directory",
        "null Bad address",
        "mode ok",
    ];
    let calls = calls.map(|call| format!("{call} ok"));
    [head.map(String::from).to_vec(), vec![text], calls.to_vec(), tail.map(String::from).to_vec()]
        .concat()
}

fn the_shim_answers_for_the_target() {
    let room = room(&[]);
    assert_eq!(answers(&room, "/asked/file", "/asked"), expected("plain"));
    // Through a link, the program is where the link leads.
    std::os::unix::fs::symlink("probe", room.root.join("foreign/link")).unwrap();
    let done = room.run(room.process(&["/foreign/link", "+shim", "/asked/file", "/asked", "/x"]));
    assert!(done.success().text().contains("exe /foreign/probe\n"));
    // The emulator is not told anything.
    let other = room.run(room.process(&["/foreign/other"])).success();
    assert_eq!(other.kinds(), "E");
}

fn directories_are_found_elsewhere() {
    let redirects =
        [("/absolutely/else", "/nowhere"), ("/asked", "/proc/3/there"), ("/proc", "/x")];
    let asked = room(&redirects);
    assert_eq!(answers(&asked, "/asked/file", "/asked"), expected("hidden"));
    // Neither the names beside it, nor those that are not spelled so.
    for (path, folder) in
        [("/asked2/file", "/asked2"), ("/./asked/file", "/./asked"), ("../asked/file", "../asked")]
    {
        let room = room(&redirects);
        fs::create_dir(room.root.join("asked2")).unwrap();
        fs::write(room.root.join("asked2/file"), "plain").unwrap();
        assert_eq!(answers(&room, path, folder), expected("plain"), "{path}");
    }
    // Too long to be put together: as it was asked.
    let long = format!("/proc/3/{}", "x/".repeat(2000));
    let room = room(&[("/asked", &long)]);
    let path = format!("/asked{}/file", "/.".repeat(60));
    assert_eq!(
        answers(
            &room,
            &path,
            "/asked/./././././././././././././././././././././././././././././././././././././././././././././././."
        ),
        expected("plain")
    );
}

fn real_programs_are_answered() {
    let mut room = Room::new();
    for name in ["uname", "readlink", "cat", "env"] {
        room.twin(name).shim = Some(SHIM.into());
    }
    let script = "uname -m; uname -s; uname -sm; env -i /foreign/uname -m";
    let done = room.run(room.shell(script)).success();
    assert_eq!(done.text(), "aarch64\nLinux\nLinux aarch64\naarch64");
    assert!(done.log.iter().all(|logged| logged.native));
    assert_eq!(done.log.len(), 5);

    // The emulator answers some of what a program asks of itself, the kernel would speak of the handler.
    let done = room.run(room.shell("readlink /proc/self/exe; cat /proc/self/comm")).success();
    assert_eq!(done.kinds(), "EE");
    assert!(done.log.iter().all(|logged| !logged.native));
}
