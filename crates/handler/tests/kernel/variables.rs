//! Variables that twins are given, and that foreign programs must not see.

use crate::Case;
use crate::room::{Entered, Room};

pub(crate) const CASES: &[Case] = &[
    ("twins_are_given_variables_needs_userns", |_| twins_are_given_variables()),
    ("children_get_back_what_was_needs_userns", |_| children_get_back_what_was()),
    ("what_a_twin_sets_stays_needs_userns", |_| what_a_twin_sets_stays()),
    ("what_is_set_otherwise_is_emulated_needs_userns", |_| what_is_set_otherwise_is_emulated()),
];

const ORIGINAL: [&str; 3] = ["P=1", "CONF=/mine", "Q=2"];
const GIVEN: [&str; 4] = ["P=1", "CONF=/proc/3/conf", "Q=2", "NEW=twin"];

/// `probe` is given both variables, `some` the second, `none` neither.
fn room() -> Room {
    let mut room = Room::new();
    room.variable("NEW=twin", None);
    room.variable("CONF=/proc/3/conf", Some("CONF=/mine"));
    room.probe().variables = 0b11;
    let program = room.probe().program.clone();
    for (name, bits) in [("some", 0b10), ("none", 0)] {
        let entry = room.twin(name);
        (entry.program, entry.variables) = (program.clone(), bits);
    }
    room
}

fn enter(room: &Room, words: &str, envp: &[&str]) -> Entered {
    room.enter(&words.split(' ').collect::<Vec<_>>(), envp)
}

fn twins_are_given_variables() {
    let room = room();
    let probe = enter(&room, "/foreign/probe", &ORIGINAL);
    assert_eq!((probe.kind(), &probe.environment()[..]), ("native", &GIVEN.map(String::from)[..]));
    let some = enter(&room, "/foreign/some", &ORIGINAL);
    assert_eq!(some.kind(), "native");
    assert_eq!(some.environment(), ["P=1", "CONF=/proc/3/conf", "Q=2"]);
    for name in ["/foreign/none", "/foreign/other"] {
        assert_eq!(enter(&room, name, &ORIGINAL).environment(), ORIGINAL);
    }
}

fn children_get_back_what_was() {
    let room = room();
    for child in ["none", "other"] {
        for above in ["", "+exec /foreign/some ", "+exec /foreign/none +exec /foreign/probe "] {
            let words = format!("/foreign/probe {above}+exec /foreign/{child}");
            let child = enter(&room, &words, &ORIGINAL);
            assert_eq!(child.environment(), ORIGINAL, "{words}");
            assert_eq!(child.fact("aligned"), "1");
        }
    }
    let child = enter(&room, "/foreign/probe +exec /foreign/other a", &ORIGINAL);
    assert_eq!(child.argv[1..], [&b"/foreign/other"[..], b"/foreign/other", b"a"]);
    assert_eq!((child.kind(), child.fact("flags")), ("emulated", "1"));
    assert_ne!(child.fact("execfd"), "");
    // The same twin again, and one that is given less.
    let again = enter(&room, "/foreign/probe +exec /foreign/probe", &ORIGINAL);
    assert_eq!((again.kind(), again.environment().len()), ("native", 4));
    assert_eq!(again.environment(), GIVEN);
    let some = enter(&room, "/foreign/probe +exec /foreign/some", &ORIGINAL);
    assert_eq!(some.environment(), GIVEN[..3]);
}

fn what_a_twin_sets_stays() {
    let room = room();
    let changed = |words: &str, child: &str| {
        let entered =
            enter(&room, &format!("/foreign/probe {words} +exec /foreign/{child}"), &ORIGINAL);
        (entered.kind().to_owned(), entered.environment().join(" "))
    };
    let emulated = |environment: &str| ("emulated".to_owned(), environment.to_owned());
    for child in ["other", "probe", "some"] {
        assert_eq!(changed("+put CONF=/its", child), emulated("P=1 CONF=/its Q=2"), "{child}");
        assert_eq!(changed("+unset CONF", child), emulated("P=1 Q=2"), "{child}");
    }
    assert_eq!(changed("+put NEW=its", "other"), emulated("P=1 CONF=/mine Q=2 NEW=its"));
    assert_eq!(changed("+put NEW=its", "probe"), emulated("P=1 CONF=/mine Q=2 NEW=its"));
    // What is not set is as it was before.
    assert_eq!(changed("+unset NEW", "other"), emulated("P=1 CONF=/mine Q=2"));
    assert_eq!(changed("+unset NEW", "probe"), ("native".into(), GIVEN.join(" ")));
    assert_eq!(changed("+put X=y", "other"), emulated("P=1 CONF=/mine Q=2 X=y"));
}

fn what_is_set_otherwise_is_emulated() {
    let room = room();
    for environment in [
        &["NEW=other", "CONF=/mine"][..],
        &["NEW=", "CONF=/mine"],
        &["NEW", "CONF=/mine"],
        &["CONF=/other"],
        &["CONF="],
        &["NEWER=1"],
        &[],
        // Which of two counts is up to who looks.
        &["CONF=/mine", "CONF=/other"],
        &["CONF=/mine", "A=1", "CONF=/mine"],
    ] {
        let entered = enter(&room, "/foreign/probe", environment);
        assert_eq!(entered.kind(), "emulated", "{environment:?}");
        assert_eq!(entered.environment(), environment);
        let none = enter(&room, "/foreign/none", environment);
        assert_eq!(none.kind(), "native");
        assert_eq!(none.environment(), environment);
    }
}
