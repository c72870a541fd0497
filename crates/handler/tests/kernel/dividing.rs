//! Divisions of shells that trap on this machine, and signals that are no division.

use anyarch_sandbox::Exit;

use crate::Case;
use crate::room::Room;

pub(crate) const CASES: &[Case] = &[
    ("shells_divide_as_on_the_other_machine_needs_userns", |_| {
        shells_divide_as_on_the_other_machine();
    }),
    ("every_division_goes_on_needs_userns", |_| every_division_goes_on()),
    ("other_signals_end_programs_needs_userns", |_| other_signals_end_programs()),
    ("a_signal_that_is_not_as_at_first_is_emulated_needs_userns", |_| {
        a_signal_that_is_not_as_at_first_is_emulated();
    }),
];

/// `/foreign/sh` and `/foreign/probe` are shells.
fn room() -> Room {
    let mut room = Room::new();
    room.twin("sh").shell = true;
    room.probe().shell = true;
    room
}

fn shells_divide_as_on_the_other_machine() {
    let room = room();
    let script = "a=$((-9223372036854775807 - 1)); b=-1; echo $((a / b)) $((a % b)) $((7 / b)); \
                  (echo $((a / b)) | cat); /foreign/sh -c 'echo $(((-9223372036854775807 - 1) / -1))'; \
                  echo $((1 / 0))";
    let done = room.run(room.process(&["/foreign/sh", "-c", script]));
    assert_eq!(
        done.text(),
        "-9223372036854775808 0 -7\n-9223372036854775808\n-9223372036854775808"
    );
    assert_eq!(done.exit.unwrap(), Exit::Code(2), "the shell itself sees a zero");
    assert!(done.log.iter().all(|logged| logged.native));
}

fn every_division_goes_on() {
    let room = room();
    let done = room.run(room.process(&["/foreign/probe", "+divide", "x"])).success();
    assert!(done.log[0].native);
    let expected = "long -9223372036854775808 0 0 17\n\
                    row -9223372036854775808 5 0\n\
                    int -2147483648 0 0 -2147483648\n\
                    unsigned 0 18446744073709551615\n\
                    byte 0 200\n\
                    short -32768 0\n\
                    other -17 -542551296285575047";
    assert_eq!(done.text(), expected);
}

fn other_signals_end_programs() {
    let room = room();
    let end = |words: &[&str]| {
        let done = room.run(room.process(&[&["/foreign/probe"], words].concat()));
        assert!(done.log[0].native);
        done.exit.unwrap()
    };
    assert_eq!(end(&["+kill", "8"]), Exit::Signal(8), "sent by somebody");
    assert_eq!(end(&["+divq", "x"]), Exit::Signal(8), "no number of the other machine");
    let others = room.run(room.process(&["/bin/probe", "+exec", "/foreign/probe", "+kill", "11"]));
    assert_eq!(others.exit.unwrap(), Exit::Signal(11));
}

fn a_signal_that_is_not_as_at_first_is_emulated() {
    let mut room = room();
    let kind = |room: &Room, begin: &[&str]| {
        let words = [&["/bin/probe"], begin, &["+exec", "/foreign/probe", "+put", "A=1"]].concat();
        room.enter(&words, &[]).kind().to_owned()
    };
    assert_eq!(kind(&room, &["+ignore", "8"]), "emulated");
    assert_eq!(kind(&room, &["+block", "8"]), "emulated");
    assert_eq!(kind(&room, &["+ignore", "11", "+block", "9"]), "native");
    room.probe().shell = false;
    assert_eq!(kind(&room, &["+ignore", "8"]), "native");
}
