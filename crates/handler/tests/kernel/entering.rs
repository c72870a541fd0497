//! What twins and the emulator are entered with: arguments, environment, auxiliary vector, and what
//! a process inherits.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use anyarch_sandbox::Exit;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::Case;
use crate::room::{Call, Room};

pub(crate) const CASES: &[Case] = &[
    ("twins_are_entered_like_the_program_needs_userns", |_| twins_are_entered_like_the_program()),
    ("the_emulator_is_entered_by_the_kernel_needs_userns", |_| {
        the_emulator_is_entered_by_the_kernel();
    }),
    ("very_many_arguments_pass_needs_userns", |_| very_many_arguments_pass()),
    ("a_small_stack_is_enough_needs_userns", |_| a_small_stack_is_enough()),
    ("any_arguments_pass_needs_userns", |_| any_arguments_pass()),
    ("descriptors_and_signals_pass_needs_userns", |_| descriptors_and_signals_pass()),
    ("ends_are_told_needs_userns", |_| ends_are_told()),
    ("scripts_name_foreign_interpreters_needs_userns", |_| scripts_name_foreign_interpreters()),
    ("arguments_may_go_before_needs_userns", |_| arguments_may_go_before()),
];

const PLAIN: &str = "/plain/probe";
const TWIN: &str = "/foreign/probe";
const EMULATED: &str = "/emulated/probe";

/// The same program, under one name, as a plain one, with a twin, and emulated.
fn room() -> Room {
    let room = Room::new();
    for folder in ["plain", "emulated"] {
        fs::create_dir(room.root.join(folder)).unwrap();
    }
    fs::copy(room.root.join("bin/probe"), room.root.join("plain/probe")).unwrap();
    fs::copy(room.root.join("foreign/other"), room.root.join("emulated/probe")).unwrap();
    room
}

/// Starts each call three times, and compares.
fn compare(room: &Room, calls: &[Call]) {
    let three: Vec<Call> =
        calls.iter().flat_map(|call| [PLAIN, TWIN, EMULATED].map(|path| call.of(path))).collect();
    let entered = room.start(&three);
    for (three, call) in entered.chunks(3).zip(calls) {
        let [plain, twin, emulated] = three else { unreachable!() };
        assert_eq!([plain, twin, emulated].map(|e| e.kind()), ["plain", "native", "emulated"]);
        assert_eq!(plain.envp, call.envp);
        if !call.argv.is_empty() {
            assert_eq!(plain.argv, call.argv);
        }
        assert_eq!(twin.comparable(), plain.comparable());
        assert_eq!(emulated.envp, plain.envp);
        assert_eq!(emulated.argv[1], EMULATED.as_bytes());
        assert_eq!(emulated.argv[2..], plain.argv);
        for fact in ["aligned", "comm", "SigBlk:", "SigIgn:", "secure", "Threads:"] {
            assert_eq!(emulated.fact(fact), plain.fact(fact), "{fact}");
        }
    }
}

fn twins_are_entered_like_the_program() {
    let call = |argv: &[&str], envp: &[&str]| Call::new("", argv, envp);
    let mut calls = vec![
        call(&["probe"], &[]),
        call(&["another name", "a", "", "b", ""], &["A=1"]),
        call(&["", "", ""], &["=", "", "==x", "A", "B=", "B=1", "B=2", "B"]),
        call(
            &["-probe", "--", "--help", "--list", "--argv0", "--preload", "x"],
            &["PATH=/nowhere"],
        ),
        call(&["--verify"], &["LANG=C", "TERM=x", "ld_library_path=/x", "XLD_PRELOAD=/x"]),
        call(&[&"x".repeat(100_000)], &[&format!("V={}", "y".repeat(100_000))]),
    ];
    // The kernel makes one empty argument of none.
    calls.push(call(&[], &["A=1"]));
    let odd: Vec<u8> = (1..=255).collect();
    calls.push(Call { path: String::new(), argv: vec![odd.clone(), odd.clone()], envp: vec![odd] });
    compare(&room(), &calls);
}

fn the_emulator_is_entered_by_the_kernel() {
    let room = room();
    let plain = room.start(&[Call::new(PLAIN, &["x"], &[])]).pop().unwrap();
    let emulated = room.start(&[Call::new(EMULATED, &["x"], &[])]).pop().unwrap();
    let program = fs::metadata(room.root.join("emulated/probe")).unwrap();
    assert_eq!(emulated.fact("execfd"), program.ino().to_string());
    assert_eq!(emulated.fact("flags"), "1", "argv[0] is kept");
    assert_eq!(emulated.fact("execfn"), EMULATED);
    assert_eq!(emulated.fact("base"), "0");
    assert_eq!(emulated.fact("dynamic"), "1");
    assert_eq!(emulated.fact("entry"), "1");
    // Its own four, and that of the handler.
    assert_eq!(emulated.fact("loads"), "5");
    assert_eq!(emulated.fact("fds"), "0 1 2 3");
    assert_eq!(plain.fact("fds"), "0 1 2");
    for fact in ["id11", "id12", "id13", "id14", "random", "pagesz", "aligned"] {
        assert_eq!(emulated.fact(fact), plain.fact(fact));
    }
    // By its own name it is the emulator, which is nothing to the handler.
    let copy = room.root.join("bin/handler");
    fs::copy(room.handler(true), &copy).unwrap();
    let entered = room.start(&[Call::new("/bin/handler", &["name", "/foreign/probe"], &["A=b"])]);
    assert_eq!(entered[0].kind(), "emulated");
    assert_eq!(entered[0].argv, [&b"name"[..], b"/foreign/probe"]);
}

fn very_many_arguments_pass() {
    let long = "e".repeat(100_000);
    let mut argv = vec![b"probe".to_vec()];
    argv.extend((0..99_000).map(|number: u32| vec![b'a' + (number % 26) as u8]));
    let envp = (0..9).map(|number| format!("V{number}={long}").into_bytes()).collect();
    // As near to the limit of 2 MiB as the pointers allow.
    compare(&room(), &[Call { path: String::new(), argv, envp }]);
}

fn a_small_stack_is_enough() {
    let mut room = room();
    room.variable("GIVEN=1", None);
    for (variables, size) in [(0, "256"), (1, "256"), (0, "136"), (1, "136")] {
        room.probe().variables = variables;
        for kind in ["native", "emulated"] {
            let path = if kind == "native" { TWIN } else { EMULATED };
            let begin = ["/bin/probe", "+stack", size, "+exec", path, "+put", "A=1"];
            let given = ["GIVEN=1"];
            let envp = if kind == "native" { &[][..] } else { &given };
            assert_eq!(room.enter(&begin, envp).kind(), kind, "{size} KiB");
        }
    }
}

fn any_arguments_pass() {
    let byte = 1..=255u8;
    let text = || proptest::collection::vec(byte.clone(), 0..40);
    let known = prop_oneof![
        Just(b"PATH=/bin".to_vec()),
        Just(b"PATH".to_vec()),
        Just(b"A=1".to_vec()),
        Just(b"=".to_vec()),
        Just(b"--argv0".to_vec()),
        Just(b"--inhibit-cache".to_vec()),
        Just(b"-".to_vec()),
        Just(b"TZ=x".to_vec()),
        Just(b"LC_ALL=nowhere".to_vec()),
        Just(Vec::new()),
        Just(b"LD".to_vec()),
    ];
    let word = prop_oneof![3 => text(), 2 => known].prop_filter("has its own meaning", |word| {
        !word.starts_with(b"+") && !anyarch_handler::decide::changes_loading(word)
    });
    let list = proptest::collection::vec(word, 0..30);
    let call =
        (list.clone(), list).prop_map(|(argv, envp)| Call { path: String::new(), argv, envp });
    let calls = proptest::collection::vec(call, 60);
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let config =
        Config { cases: 3, max_shrink_iters: 0, failure_persistence: None, ..Config::default() };
    let room = room();
    TestRunner::new_with_rng(config, rng)
        .run(&calls, |calls| {
            compare(&room, &calls);
            Ok(())
        })
        .unwrap();
}

fn descriptors_and_signals_pass() {
    let room = room();
    let from = |begin: &[&str], path: &str| {
        room.enter(&[&["/bin/probe"], begin, &["+exec", path]].concat(), &[])
    };
    for (begin, fds) in [
        (&["+dup", "9", "+ignore", "2", "+block", "15"][..], "0 1 2 9"),
        (&["+close", "0"], "1 2"),
        (&["+close", "2", "+close", "0", "+ignore", "13"], "1"),
        (&["+dup", "3", "+dup", "5", "+block", "17"], "0 1 2 3 5"),
    ] {
        let (plain, twin) = (from(begin, PLAIN), from(begin, TWIN));
        assert_eq!(twin.kind(), "native");
        assert_eq!(twin.fact("fds"), fds);
        assert_eq!(twin.comparable(), {
            let mut plain = plain.comparable();
            plain.argv = vec![TWIN.into()];
            plain
        });
        let emulated = from(begin, EMULATED);
        assert_eq!(emulated.fact("SigIgn:"), plain.fact("SigIgn:"));
        assert_eq!(emulated.fact("SigBlk:"), plain.fact("SigBlk:"));
        // The program itself, and nothing of the handler's.
        assert_eq!(emulated.fact("fds").split(' ').count(), fds.split(' ').count() + 1);
    }
}

fn ends_are_told() {
    let mut room = room();
    *room.probe() = {
        let mut entry = room.probe().clone();
        entry.name = "a name of more than 24 bytes, cut".into();
        entry
    };
    for path in [PLAIN, TWIN] {
        let end =
            |word: &str, value: &str| room.run(room.process(&[path, word, value])).exit.unwrap();
        for code in [0, 1, 77, 255] {
            assert_eq!(end("+exit", &code.to_string()), Exit::Code(code));
        }
        assert_eq!(end("+kill", "9"), Exit::Signal(9));
        assert_eq!(end("+kill", "15"), Exit::Signal(15));
    }
    let done = room.run(room.process(&[TWIN]));
    assert_eq!(done.log.len(), 1);
    assert_eq!(done.log[0].name, "a name of more than 24 b");
}

fn scripts_name_foreign_interpreters() {
    let room = room();
    for (name, path) in [("plain", PLAIN), ("native", TWIN), ("emulated", EMULATED)] {
        let script = room.root.join("script");
        fs::write(&script, format!("#!{path} an argument\n")).unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        let entered = room.enter(&["/script", "x"], &["A=1"]);
        assert_eq!(entered.kind(), name);
        assert_eq!(entered.fact("comm"), "script");
        let given: Vec<&[u8]> = vec![path.as_bytes(), b"an argument", b"/script", b"x"];
        let skipped = if name == "emulated" { 2 } else { 0 };
        assert_eq!(entered.argv[skipped..], given);
    }
}

fn arguments_may_go_before() {
    let mut room = room();
    room.probe().arguments = vec!["-o=A".into(), String::new()];
    let entered = room.enter(&[TWIN, "x"], &[]);
    assert_eq!(entered.argv, [TWIN.as_bytes(), b"-o=A", b"", b"x"]);
    assert_eq!(room.enter(&[EMULATED, "x"], &[]).argv[2..], [EMULATED.as_bytes(), b"x"]);
}
