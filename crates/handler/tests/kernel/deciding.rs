//! When a program runs as its twin, and when it is emulated.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use anyarch_handler::write::Interpreter;
use anyarch_sandbox::Privilege;

use crate::Case;
use crate::room::{Room, identity};

pub(crate) const CASES: &[Case] = &[
    ("dependencies_are_looked_at_needs_userns", |_| dependencies_are_looked_at()),
    ("a_program_is_known_by_its_file_needs_userns", |_| a_program_is_known_by_its_file()),
    ("other_roots_are_emulated_needs_userns", |_| other_roots_are_emulated()),
    ("setuid_programs_are_emulated_needs_userns", setuid_programs_are_emulated),
    ("variables_that_matter_are_looked_at_needs_userns", |_| variables_that_matter_are_looked_at()),
    ("refused_arguments_are_emulated_needs_userns", |_| refused_arguments_are_emulated()),
    ("interpreters_run_what_is_named_needs_userns", |_| interpreters_run_what_is_named()),
    ("a_missing_log_changes_nothing_needs_userns", |_| a_missing_log_changes_nothing()),
    ("a_bad_loader_is_emulated_needs_userns", |_| a_bad_loader_is_emulated()),
    ("other_users_have_twins_needs_userns", other_users_have_twins),
];

fn dependencies_are_looked_at() {
    let mut room = Room::new();
    let file = room.root.join("etc/file");
    fs::write(&file, "1").unwrap();
    let folder = room.root.join("etc/folder");
    fs::create_dir(&folder).unwrap();
    let known = [("/etc/file", identity(&file)), ("/etc/folder", identity(&folder))];
    room.probe().dependencies = known.map(|(path, known)| (path.to_owned(), Some(known))).to_vec();
    room.probe().dependencies.push(("/etc/none/at all".into(), None));
    assert_eq!(room.kinds("probe; cat /etc/file >/dev/null; probe"), "NN");
    for change in [
        "touch /etc/file",
        "echo 2 >/etc/file",
        "cp /etc/file /etc/new; mv /etc/new /etc/file",
        "chmod 600 /etc/file",
        "rm /etc/file",
        "touch /etc/folder/x",
        "mv /etc/folder /etc/other",
        "mkdir /etc/none; touch '/etc/none/at all'",
    ] {
        let mut again = Room::new();
        let (file, folder) = (again.root.join("etc/file"), again.root.join("etc/folder"));
        fs::write(&file, "1").unwrap();
        fs::create_dir(&folder).unwrap();
        again.probe().dependencies = vec![
            ("/etc/file".into(), Some(identity(&file))),
            ("/etc/folder".into(), Some(identity(&folder))),
            ("/etc/none/at all".into(), None),
        ];
        assert_eq!(again.kinds(&format!("probe; {change}; probe; other")), "NEE", "{change}");
    }
}

fn a_program_is_known_by_its_file() {
    let mut room = Room::new();
    let foreign = room.root.join("foreign");
    fs::hard_link(foreign.join("probe"), foreign.join("hard")).unwrap();
    symlink("probe", foreign.join("soft")).unwrap();
    room.seen_again("probe");
    assert_eq!(room.kinds("probe; hard; soft; cd /foreign; ./probe; ../foreign/soft"), "NNNNN");
    assert_eq!(
        room.kinds("cp /foreign/probe /foreign/copy; copy; mv /foreign/hard /foreign/x; x"),
        "EE"
    );
    room.seen_again("probe");
    // Its times are another's as soon as anything happens to it.
    for change in [
        "touch -d 2000-01-01 /foreign/probe",
        "echo >>/foreign/probe",
        "ln /foreign/probe /foreign/harder",
        "chmod 711 /foreign/probe",
        "cp /foreign/probe /foreign/new; mv /foreign/new /foreign/probe",
    ] {
        let room = Room::new();
        assert_eq!(room.kinds(&format!("probe; {change}; probe")), "NE", "{change}");
    }
    // Another one under its name.
    let room = Room::new();
    assert_eq!(room.kinds("probe; mv /foreign/other /foreign/probe; probe"), "NE");
}

fn other_roots_are_emulated() {
    let mut room = Room::new();
    let jail = room.root.join("jail");
    fs::create_dir_all(jail.join("foreign")).unwrap();
    fs::hard_link(room.root.join("foreign/probe"), jail.join("foreign/probe")).unwrap();
    room.seen_again("probe");
    assert_eq!(room.kinds("jail=/jail; $jail/foreign/probe"), "N");
    let process = room.process(&["/bin/probe", "+chroot", "/jail", "+exec", "/foreign/probe"]);
    let done = room.run(process).success();
    assert_eq!((done.kinds().as_str(), done.log.len()), ("E", 0), "nothing to write to");
}

fn setuid_programs_are_emulated(privilege: Privilege) {
    let mut room = Room::new();
    fs::set_permissions(room.root.join("foreign/probe"), fs::Permissions::from_mode(0o4755))
        .unwrap();
    room.seen_again("probe");
    let mut process = room.shell("probe");
    process.uid = 1000;
    // With a single id everyone is the owner.
    let expected = if privilege == Privilege::UserSingle { "N" } else { "E" };
    let done = room.run(process).success();
    assert_eq!(done.kinds(), expected);
    let secure = if privilege == Privilege::UserSingle { "secure 0" } else { "secure 1" };
    assert!(done.text().contains(secure), "{}", done.text());
    assert_eq!(room.kinds("probe"), "N", "not for its owner");
}

fn other_users_have_twins(_: Privilege) {
    let room = Room::new();
    let mut process = room.shell("probe; other");
    (process.uid, process.gid) = (1000, 1000);
    assert_eq!(room.kinds_of(process), "NE");
}

fn variables_that_matter_are_looked_at() {
    let mut room = Room::new();
    room.probe().refused_variables = vec!["PERL5LIB=".into(), "RUBY".into()];
    let ld =
        "LD_PRELOAD= probe; LD_LIBRARY_PATH=/x probe; LD_BIND_NOW=1 probe; LD_DEBUG=nothing probe";
    assert_eq!(room.kinds(ld), "EEEE");
    let more =
        "GLIBC_TUNABLES= probe; MALLOC_ARENA_MAX=1 probe; GCONV_PATH=/x probe; QEMU_CPU=max probe";
    assert_eq!(room.kinds(more), "EEEE");
    assert_eq!(room.kinds("PERL5LIB= probe; RUBYLIB=x probe; RUBY=x probe"), "EEE");
    assert_eq!(
        room.kinds("PERL5LIBS= probe; xRUBY=1 probe; LDFLAGS=-s probe; LD=ld probe"),
        "NNNN"
    );
    // Names that are no names.
    let odd = room.enter(&["/foreign/probe"], &["PERL5LIB", "LD", "=LD_PRELOAD=x"]);
    assert_eq!(odd.kind(), "native");
}

fn refused_arguments_are_emulated() {
    let mut room = Room::new();
    room.probe().refused = vec!["--version".into(), "-V".into()];
    assert_eq!(room.kinds("probe --version; probe x -V; probe -- -V; probe '' -V"), "EEEE");
    assert_eq!(room.kinds("probe --versions; probe -Vv; probe -v V '-V '; probe"), "NNNN");
    assert_eq!(room.enter(&["/foreign/probe"], &[]).kind(), "native");
    let named = room.start(&[crate::room::Call::new("/foreign/probe", &["-V"], &[])]);
    assert_eq!(named[0].kind(), "native", "its own name is no argument");
}

fn interpreters_run_what_is_named() {
    let mut room = Room::new();
    room.probe().interpreter = Some(Interpreter {
        flags: "IB".into(),
        valued: "W".into(),
        modules: vec!["pip".into()],
        code: vec![("import pip".into(), "end".into())],
        scripts: vec![
            ("pip3".into(), Some("pip._internal".into())),
            ("/etc/scripts/".into(), None),
        ],
    });
    fs::create_dir(room.root.join("etc/scripts")).unwrap();
    fs::write(room.root.join("etc/scripts/x"), "").unwrap();
    let head = "#!/foreign/probe -I\nimport pip._internal\n";
    for (name, text) in [("pip3", head), ("tmp/pip3", "#!/foreign/probe\nimport other\n")] {
        fs::write(room.root.join(name), text).unwrap();
        fs::set_permissions(room.root.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
    assert_eq!(
        room.kinds("probe -m pip; probe -IBm pip x; probe -Wx -mpip; probe -c 'import pip;end'"),
        "NNNN"
    );
    assert_eq!(
        room.kinds("/pip3; probe /pip3 x; cd /; probe pip3; probe ./pip3 -i; probe /etc/scripts/x"),
        "NNNNN"
    );
    assert_eq!(
        room.kinds("probe; probe -; probe -m; probe -mx; probe -c 'import pip'; probe -i -m pip"),
        "EEEEEE"
    );
    assert_eq!(
        room.kinds(
            "/tmp/pip3; probe /tmp/pip3; probe /nowhere/pip3; probe /etc/scripts/../pip3; probe ''"
        ),
        "EEEEE"
    );
    // A head is no more than a kilobyte.
    let far = format!("{}{head}", "#".repeat(1024));
    fs::write(room.root.join("pip3"), far).unwrap();
    assert_eq!(room.kinds("probe /pip3"), "E");
}

fn a_missing_log_changes_nothing() {
    let room = Room::new();
    fs::remove_file(room.hidden.join("log")).unwrap();
    let done = room.run(room.shell("probe; other")).success();
    assert_eq!((done.kinds().as_str(), done.log.len()), ("NE", 0));
}

fn a_bad_loader_is_emulated() {
    let mut room = Room::new();
    let good = room.probe().loader.clone();
    let folder = room.hidden.join("loaders");
    fs::create_dir(&folder).unwrap();
    let real = fs::read(room.root.join("lib64/ld-linux-x86-64.so.2")).unwrap();
    let mut fixed = real.clone();
    fixed[16] = 2;
    let files: [(&str, &[u8]); 5] = [
        ("empty", b""),
        ("short", &real[..40]),
        ("headers", &real[..64]),
        ("fixed", &fixed),
        ("text", b"not a loader at all, but long enough to be read as the header of one"),
    ];
    for (name, bytes) in files {
        fs::write(folder.join(name), bytes).unwrap();
        room.probe().loader = format!("/proc/3/loaders/{name}");
        assert_eq!(room.kinds("probe"), "E", "{name}");
    }
    for path in ["/proc/3/loaders/absent", "/proc/3/loaders", ""] {
        room.probe().loader = path.into();
        assert_eq!(room.kinds("probe"), "E", "{path}");
    }
    room.probe().loader = good;
    assert_eq!(room.kinds("probe"), "N");
}
