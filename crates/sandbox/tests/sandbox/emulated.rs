//! Runs of foreign programs with a handler and a hidden directory of their own.
//!
//! The programs are headers and nothing else; the handler is compiled here and tells what it gets.
//! Where the kernel is older than Linux 6.7, set `ANYARCH_TEST_SKIP_FOREIGN=1` to leave them out.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{LazyLock, Mutex};

use anyarch_sandbox::{
    Cancel, Exit, Foreign, ForeignPlatform, HIDDEN, Network, OverlayMount, Privilege, Process,
    SandboxError, Support, foreign_support, run,
};

use crate::Case;
use crate::lifetime::{alive, kill_the_caller, mark};
use crate::room::{Room, base, done, said, tree};
use crate::terminal::foreign_programs_share_it;

pub(crate) const CASES: &[Case] = &[
    ("kernels_are_probed_needs_userns", |_| with_room(kernels_are_probed)),
    ("handlers_get_programs_needs_userns", |_| with_room(handlers_get_programs)),
    ("scripts_may_be_foreign_needs_userns", |_| with_room(scripts_may_be_foreign)),
    ("each_run_has_its_handler_needs_userns", |_| with_room(each_run_has_its_handler)),
    ("setuid_counts_for_foreign_needs_userns", |_| with_room(setuid_counts_for_foreign)),
    ("pids_and_a_clean_start_needs_userns", |_| with_room(pids_and_a_clean_start)),
    ("orphans_are_reaped_needs_userns", |_| with_room(orphans_are_reaped)),
    ("cancelling_ends_foreign_needs_userns", |_| with_room(cancelling_ends_foreign)),
    ("killing_pid_1_leaves_nothing_needs_userns", |_| with_room(killing_pid_1_leaves_nothing)),
    ("killing_the_caller_of_foreign_needs_userns", |_| {
        with_room(|_| kill_the_caller(Some(&handler("one"))));
    }),
    ("the_terminal_is_shared_with_foreign_needs_userns", |_| {
        with_room(|_| foreign_programs_share_it());
    }),
    ("a_bad_handler_is_named_needs_userns", |_| with_room(a_bad_handler_is_named)),
    ("hidden_is_found_but_not_listed_needs_userns", |privilege| {
        with_room(|room| hidden_is_found_but_not_listed(room, privilege));
    }),
    ("owners_are_the_same_outside_needs_userns", |privilege| {
        with_room(|room| owners_are_the_same_outside(room, privilege));
    }),
    ("users_and_capabilities_needs_userns", |privilege| {
        with_room(|room| users_and_capabilities(room, privilege));
    }),
];

fn with_room(case: impl FnOnce(&Room)) {
    if std::env::var_os("ANYARCH_TEST_SKIP_FOREIGN").is_some() {
        return;
    }
    let room = Room::new();
    // A 64-bit program of one segment, as far as the kernel looks.
    let mut program = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\xf3\0".to_vec();
    program.resize(64 + 56, 0);
    let path = room.root.join("bin/foreign");
    fs::write(&path, program).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    case(&room);
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains("binfmt_misc") && !mounts.contains("hidden"), "{mounts}");
}

fn platform() -> &'static ForeignPlatform {
    ForeignPlatform::find("linux/riscv64").unwrap()
}

/// A handler that calls itself `name`, compiled when it is first asked for.
pub(crate) fn handler(name: &'static str) -> PathBuf {
    static MADE: LazyLock<Mutex<HashMap<&str, PathBuf>>> = LazyLock::new(Mutex::default);
    let mut made = MADE.lock().unwrap();
    let make = || {
        let path = base().with_file_name(name);
        let output = Command::new("gcc")
            .args(["-static", "-O1", "-x", "c", "-o"])
            .arg(&path)
            .arg(format!("-DNAME=\"{name}\""))
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sandbox/handler.c"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        path
    };
    made.entry(name).or_insert_with(make).clone()
}

pub(crate) fn foreign(mut process: Process, handler: PathBuf, hidden: Option<&Path>) -> Process {
    process.foreign =
        Some(Foreign { platform: platform(), handler, hidden: hidden.map(Path::to_owned) });
    process
}

/// A script in a run that knows foreign programs.
fn sh(room: &Room, script: &str) -> String {
    said(&foreign(room.shell(script), handler("one"), None))
}

pub(crate) fn kernels_are_probed(_: &Room) {
    for _ in 0..2 {
        let support = foreign_support(platform());
        assert!(matches!(support, Support::PerNamespace), "{support:?}");
    }
}

fn handlers_get_programs(room: &Room) {
    let before = tree(&room.upper);
    assert_eq!(
        sh(room, "foreign a 'b c'; cd /bin; ./foreign; ls /proc/sys/fs/binfmt_misc"),
        "one 243 uid 0 euid 0: /bin/foreign foreign a b c\n\
         one 243 uid 0 euid 0: ./foreign ./foreign"
    );
    let process = room.process(&["foreign", "fail"]);
    let done = done(&foreign(process.clone(), handler("one"), None), &Cancel::new());
    assert_eq!(done.exit.unwrap(), Exit::Code(7));
    // Neither a trace in the root nor a handler for other runs.
    assert_eq!(tree(&room.upper), before);
    let refused = crate::room::done(&process, &Cancel::new()).exit.unwrap_err();
    assert!(refused.to_string().contains("a program for riscv64"), "{refused}");
}

fn scripts_may_be_foreign(room: &Room) {
    let script = "printf '#!/bin/foreign -x\\n' >/script; chmod +x /script; /script a";
    assert_eq!(sh(room, script), "one 243 uid 0 euid 0: /bin/foreign /bin/foreign -x /script a");
}

fn each_run_has_its_handler(room: &Room) {
    let other = Room::new();
    fs::copy(room.root.join("bin/foreign"), other.root.join("bin/foreign")).unwrap();
    let names = ["one", "two"].map(|name| (name, handler(name)));
    std::thread::scope(|scope| {
        let threads: Vec<_> = [room, &other]
            .into_iter()
            .zip(names)
            .map(|(room, (name, handler))| {
                scope.spawn(move || {
                    for _ in 0..10 {
                        let script = "foreign; sleep 0.01; foreign";
                        let said = said(&foreign(room.shell(script), handler.clone(), None));
                        let line = format!("{name} 243 uid 0 euid 0: /bin/foreign foreign");
                        assert_eq!(said, format!("{line}\n{line}"));
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

fn setuid_counts_for_foreign(room: &Room) {
    room.sh("chmod 4755 /bin/foreign /bin/id");
    let mut process = foreign(room.shell("foreign; id -u"), handler("one"), None);
    process.uid = 1000;
    let said = said(&process).replace("uid 1000", "uid 0");
    assert_eq!(said, "one 243 uid 0 euid 0: /bin/foreign foreign\n0");
}

fn users_and_capabilities(room: &Room, privilege: Privilege) {
    let (docker, none) = ("00000000a80425fb", "0000000000000000");
    let of = |uid: u32| {
        let script = "grep -E 'Cap(Eff|Bnd)|NoNewPrivs|Groups' /proc/self/status; foreign";
        let mut process = foreign(room.shell(script), handler("one"), None);
        (process.uid, process.gid, process.groups) = (uid, uid, vec![4, 20]);
        said(&process).split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let expected = |uid: u32, effective: &str, groups: &str| {
        format!(
            "Groups:{groups} CapEff: {effective} CapBnd: {docker} NoNewPrivs: 0 \
             one 243 uid {uid} euid {uid}: /bin/foreign foreign"
        )
    };
    if privilege == Privilege::UserSingle {
        assert_eq!(of(1000), expected(0, docker, ""));
    } else {
        assert_eq!(of(0), expected(0, docker, " 4 20"));
        assert_eq!(of(1000), expected(1000, none, " 4 20"));
    }
}

fn owners_are_the_same_outside(room: &Room, privilege: Privilege) {
    let script = "touch /a /b; chown 1000:1001 /a; chmod 2755 /b; stat -c %u:%g /a; \
                  mkdir /d; touch /d/x; mv /d /e; rm /bin/readlink; foreign setcap /b";
    let said = sh(room, script);
    let owner = |name: &str| {
        let meta = fs::symlink_metadata(room.upper.join(name)).unwrap();
        format!("{}:{}", meta.uid(), meta.gid())
    };
    let expected = if privilege == Privilege::UserSingle { "0:0" } else { "1000:1001" };
    assert_eq!(said.lines().next(), Some(expected));
    assert_eq!((owner("a").as_str(), owner("b").as_str()), (expected, "0:0"));
    let b = room.upper.join("b");
    assert_eq!(fs::metadata(&b).unwrap().mode(), 0o102_755);
    assert!(room.upper.join("e/x").exists());
    assert!(fs::metadata(room.upper.join("bin/readlink")).unwrap().file_type().is_char_device());
    // Version 2: without the id of a root.
    let mut value = [0; 64];
    let length = rustix::fs::getxattr(&b, "security.capability", &mut value[..]).unwrap();
    let expected = [[1, 0, 0, 2], [0, 4, 0, 0], [0; 4], [0; 4], [0; 4]];
    assert_eq!(value[..length], *expected.as_flattened());
}

fn hidden_is_found_but_not_listed(room: &Room, privilege: Privilege) {
    let hidden = room.folder.path().join("hidden");
    fs::create_dir_all(hidden.join("bin")).unwrap();
    fs::create_dir(hidden.join("ro")).unwrap();
    fs::write(hidden.join("name"), "found").unwrap();
    fs::copy("/bin/true", hidden.join("bin/true")).unwrap();
    let below = OverlayMount::mount(&[hidden.join("bin")], None, &hidden.join("ro")).unwrap();
    let script = format!(
        "cat {HIDDEN}/name; echo; ls {HIDDEN} {HIDDEN}/ro; {HIDDEN}/bin/true && {HIDDEN}/ro/true && echo runs; \
         touch {HIDDEN}/ro/x 2>/dev/null || echo read-only; cd /proc; echo [0-9]*; \
         ls -a / /proc | grep -xE 'name|hidden|3'; \
         foreign"
    );
    let expected = |uid: u32| {
        format!(
            "found\n/proc/3:\nbin\nname\nro\n\n/proc/3/ro:\ntrue\nruns\nread-only\n1 4\n\
             one 243 uid {uid} euid {uid}: /bin/foreign foreign"
        )
    };
    let mut process = foreign(room.shell(&script), handler("one"), Some(&hidden));
    assert_eq!(said(&process), expected(0));
    process.uid = 1000;
    let uid = if privilege == Privilege::UserSingle { 0 } else { 1000 };
    assert_eq!(said(&process), expected(uid));
    // Nothing walks into it.
    let find = "find / -xdev; find /proc -maxdepth 2 2>/dev/null; true";
    let process = foreign(room.shell(find), handler("one"), Some(&hidden));
    let seen = said(&process);
    assert!(seen.lines().any(|path| path == "/bin/foreign"));
    assert!(seen.lines().any(|path| path == "/proc/1/status"));
    assert!(!seen.lines().any(|path| path.starts_with(HIDDEN)), "{seen}");
    below.unmount().unwrap();
}

fn pids_and_a_clean_start(room: &Room) {
    let fields = "read -r pid name state ppid group session rest </proc/self/stat; \
                  echo $$ $PPID $ppid $group $session; cat /proc/1/exe >/dev/null 2>&1 || echo hidden; \
                  cat /proc/sys/kernel/hostname";
    assert_eq!(sh(room, fields), "4 1 1 4 4\nhidden\nanyarch");
    assert_eq!(
        said(&foreign(room.process(&["ls", "/proc/self/fd"]), handler("one"), Some(&room.upper))),
        "0\n1\n2\n3"
    );
    let mut process =
        foreign(room.shell("cat /sys/class/net/lo/flags; foreign"), handler("one"), None);
    process.network = Network::None;
    assert_eq!(said(&process), "0x9\none 243 uid 0 euid 0: /bin/foreign foreign");
}

fn orphans_are_reaped(room: &Room) {
    let script = "i=0; while [ $i -lt 100 ]; do (true & foreign >/dev/null &); i=$((i+1)); done; \
                  while [ $(ls -d /proc/[0-9]* | wc -l) -gt 9 ]; do sleep 0.01; done; echo reaped";
    assert_eq!(sh(room, script), "reaped");
    let exit = |script: &str| {
        done(&foreign(room.shell(script), handler("one"), None), &Cancel::new()).exit.unwrap()
    };
    assert_eq!(exit("kill -9 1; kill -STOP 1; kill -9 $$"), Exit::Signal(9));
    assert_eq!(exit("foreign wait & exit 3"), Exit::Code(3));
}

fn cancelling_ends_foreign(room: &Room) {
    let cancel = Cancel::new();
    let process = foreign(room.shell("foreign wait & foreign wait"), handler("one"), None);
    let mut outside = None;
    let ended = run(
        &process,
        &mut |_, _| {
            outside = Some(Command::new(room.root.join("bin/foreign")).status().unwrap_err());
            cancel.cancel();
        },
        &cancel,
    );
    // Nothing was registered on the machine meanwhile.
    assert_eq!(outside.unwrap().raw_os_error(), Some(rustix::io::Errno::NOEXEC.raw_os_error()));
    assert!(matches!(ended, Err(SandboxError::Cancelled)), "{ended:?}");
    assert_eq!(sh(room, "echo again"), "again");
}

fn killing_pid_1_leaves_nothing(room: &Room) {
    let mark = mark(5);
    let script = format!("sleep {mark} & foreign; sleep {mark}");
    let process = foreign(room.shell(&script), handler("one"), Some(room.folder.path()));
    let ended = run(
        &process,
        &mut |_, _| {
            let children = fs::read_to_string("/proc/thread-self/children").unwrap();
            let status = Command::new("kill").arg("-9").args(children.split_whitespace()).status();
            assert!(status.unwrap().success());
        },
        &Cancel::new(),
    );
    assert!(matches!(ended, Err(SandboxError::Killed { .. })), "{ended:?}");
    assert!(!alive(&mark));
}

fn a_bad_handler_is_named(room: &Room) {
    let setup = |handler: &str, hidden: Option<&Path>| {
        let process = foreign(room.process(&["foreign"]), handler.into(), hidden);
        match done(&process, &Cancel::new()).exit.unwrap_err() {
            SandboxError::Setup { operation, .. } => operation,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(setup("/no/such", None), "open the handler /no/such");
    assert!(
        setup("/etc/passwd", None)
            .starts_with("register the handler /etc/passwd for linux/riscv64 (Linux ")
    );
    let hidden = setup("/bin/true", Some(Path::new("/no/such")));
    assert_eq!(hidden, "open the hidden directory /no/such");
}
