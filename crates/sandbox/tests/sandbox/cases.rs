//! What a process sees and how it ends.

use std::fs;
use std::time::Instant;

use anyarch_sandbox::{Cancel, ExecFailure, Exit, Network, Privilege, SandboxError, Stdin};

use crate::Case;
use crate::room::{Done, Room, done, said};

pub(crate) const CASES: &[Case] = &[
    ("exit_codes_and_signals", exit_codes_and_signals),
    ("output_is_complete_and_ordered", output_is_complete_and_ordered),
    ("environment_and_working_directory", environment_and_working_directory),
    ("standard_input", standard_input),
    ("user_and_groups", user_and_groups),
    ("owners", owners),
    ("capabilities_are_dockers", capabilities_are_dockers),
    ("setuid_programs_work", setuid_programs_work),
    ("a_clean_start", a_clean_start),
    ("host_name_and_pids", host_name_and_pids),
    ("network_of_the_host", network_of_the_host),
    ("no_network", no_network),
    ("exec_failures_are_typed", exec_failures_are_typed),
    ("missing_working_directory", missing_working_directory),
    ("runs_in_parallel", runs_in_parallel),
];

fn exit_codes_and_signals(_: Privilege) {
    let room = Room::new();
    let exit = |script: &str| done(&room.shell(script), &Cancel::new()).exit.unwrap();
    assert_eq!(exit("exit 0"), Exit::Code(0));
    assert_eq!(exit("exit 7"), Exit::Code(7));
    assert_eq!(exit("kill -9 $$"), Exit::Signal(9));
    assert_eq!(exit("kill -TERM $$").shell_code(), 143);
    assert_eq!(exit("exit 127"), Exit::Code(127));
}

fn output_is_complete_and_ordered(_: Privilege) {
    let room = Room::new();
    let script = "head -c 1048576 /dev/zero & head -c 1048577 /dev/zero >&2; wait; \
                  i=0; while [ $i -lt 2000 ]; do echo line $i; i=$((i+1)); done";
    let Done { exit, out, err } = done(&room.shell(script), &Cancel::new());
    assert_eq!(exit.unwrap(), Exit::Code(0));
    assert_eq!(err.len(), 1_048_577);
    let (zeros, lines) = out.split_at(1_048_576);
    assert!(zeros.iter().all(|byte| *byte == 0));
    let expected: String = (0..2000).map(|i| format!("line {i}\n")).collect();
    assert_eq!(String::from_utf8_lossy(lines), expected);
}

fn environment_and_working_directory(_: Privilege) {
    let room = Room::new();
    room.sh("mkdir '/a b'");
    let mut process = room.process(&["env"]);
    process.env.push(("KEY".into(), "a=b\nc".into()));
    process.env.push(("EMPTY".into(), "".into()));
    assert_eq!(said(&process), "PATH=/bin\nKEY=a=b\nc\nEMPTY=");
    let mut process = room.shell("pwd");
    process.cwd = "/a b".into();
    assert_eq!(said(&process), "/a b");
}

fn standard_input(_: Privilege) {
    let room = Room::new();
    let mut process = room.process(&["cat"]);
    assert_eq!(said(&process), "");
    let text = "line\n".repeat(100_000);
    process.stdin = Stdin::Bytes(text.clone().into_bytes());
    assert_eq!(said(&process), text.trim_end());
}

fn user_and_groups(privilege: Privilege) {
    let room = Room::new();
    let mut process = room.shell("id -u; id -g; grep Groups: /proc/self/status");
    assert_eq!(said(&process), "0\n0\nGroups:");
    (process.uid, process.gid, process.groups) = (1000, 1001, vec![4, 20]);
    let said = said(&process).split_whitespace().collect::<Vec<_>>().join(" ");
    match privilege {
        Privilege::UserSingle => assert_eq!(said, "0 0 Groups:"),
        _ => assert_eq!(said, "1000 1001 Groups: 4 20"),
    }
    if matches!(privilege, Privilege::UserRange { .. }) {
        process.uid = 200_000;
        let error = done(&process, &Cancel::new()).exit.unwrap_err();
        assert_eq!(error.to_string(), "failed to switch to user 200000 in the sandbox");
        assert!(error.hint().unwrap().contains("/etc/subuid"));
    }
}

fn owners(privilege: Privilege) {
    let room = Room::new();
    let said = room.sh("touch f && chown 5:6 f && stat -c %u:%g f");
    match privilege {
        Privilege::UserSingle => assert_eq!(said, "0:0"),
        _ => assert_eq!(said, "5:6"),
    }
}

fn capabilities_are_dockers(privilege: Privilege) {
    let room = Room::new();
    let mut process = room.shell("grep -E 'Cap|NoNewPrivs' /proc/self/status");
    let fields =
        |text: String| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>().join(" ");
    let docker = "00000000a80425fb";
    let none = "0000000000000000";
    let as_root = format!(
        "CapInh: {none} CapPrm: {docker} CapEff: {docker} CapBnd: {docker} CapAmb: {none} NoNewPrivs: 0"
    );
    assert_eq!(fields(said(&process)), as_root);
    process.uid = 1000;
    let as_user = format!(
        "CapInh: {none} CapPrm: {none} CapEff: {none} CapBnd: {docker} CapAmb: {none} NoNewPrivs: 0"
    );
    let expected = if privilege == Privilege::UserSingle { as_root } else { as_user };
    assert_eq!(fields(said(&process)), expected);
}

fn setuid_programs_work(_: Privilege) {
    let room = Room::new();
    room.sh("chmod 4755 /bin/id");
    let mut process = room.process(&["id", "-u"]);
    process.uid = 1000;
    assert_eq!(said(&process), "0");
}

fn a_clean_start(_: Privilege) {
    let room = Room::new();
    let none = "0000000000000000";
    let status = room.sh("grep -E 'Sig(Blk|Ign|Cgt)' /proc/self/status");
    let status: Vec<&str> = status.split_whitespace().collect();
    assert_eq!(status[..4], ["SigBlk:", none, "SigIgn:", none]);
    assert_eq!(room.sh("umask"), "0022");
    // 3 is the directory that ls reads.
    assert_eq!(said(&room.process(&["ls", "/proc/self/fd"])), "0\n1\n2\n3");
    // Its own session: session id (field 6) is its own pid.
    assert_eq!(room.sh("read -r pid name state ppid group session rest </proc/self/stat; echo $ppid $group $session"), "1 2 2");
}

fn host_name_and_pids(_: Privilege) {
    let room = Room::new();
    let mut process = room.shell("cat /proc/sys/kernel/hostname; echo $$ $PPID; cat /proc/1/exe >/dev/null 2>&1 || echo hidden");
    process.hostname = "builder".into();
    assert_eq!(said(&process), "builder\n2 1\nhidden");
}

fn interfaces(text: &str) -> Vec<String> {
    let mut names: Vec<String> =
        text.lines().filter_map(|line| Some(line.split_once(':')?.0.trim().to_owned())).collect();
    names.sort();
    names
}

fn network_of_the_host(_: Privilege) {
    let room = Room::new();
    let inside = room.sh("cat /proc/net/dev");
    let outside = fs::read_to_string("/proc/net/dev").unwrap();
    assert_eq!(interfaces(&inside), interfaces(&outside));
}

fn no_network(_: Privilege) {
    let room = Room::new();
    let mut process = room.shell("cat /proc/net/dev");
    process.network = Network::None;
    // Tunnel devices that the kernel adds to every namespace are down and lead nowhere.
    assert!(interfaces(&said(&process)).contains(&"lo".to_owned()));
    assert!(
        !interfaces(&said(&process))
            .iter()
            .any(|name| name.starts_with("eth") || name.starts_with("en"))
    );
    let mut process = room.shell("cat /sys/class/net/lo/flags; cat /proc/net/route | wc -l");
    process.network = Network::None;
    assert_eq!(said(&process), "0x9\n1");
}

fn exec_failures_are_typed(privilege: Privilege) {
    let room = Room::new();
    room.sh("mkdir -p /opt/x; echo text >/opt/plain; echo text >/opt/x/noexec; \
             printf '#!/no/such\\n' >/opt/script; printf '\\177ELF\\002\\001' >/opt/broken; echo true >/opt/noline; \
             chmod +x /opt/script /opt/broken /opt/noline");
    let failure = |program: &str| {
        let mut process = room.process(&[program]);
        process.env = vec![("PATH".into(), "/bin:/opt".into())];
        match done(&process, &Cancel::new()).exit {
            Err(error @ SandboxError::Exec { .. }) => {
                let code = error.exit_code().unwrap();
                let SandboxError::Exec { reason, .. } = error else { unreachable!() };
                (reason, code)
            }
            other => panic!("{other:?}"),
        }
    };
    let missing = ExecFailure::NotFound { searched: Some("/bin:/opt".into()) };
    assert_eq!(failure("nothing"), (missing, 127));
    assert_eq!(failure("/opt/nothing"), (ExecFailure::NotFound { searched: None }, 127));
    assert_eq!(failure("plain"), (ExecFailure::PermissionDenied, 126));
    assert_eq!(failure("/opt/plain"), (ExecFailure::PermissionDenied, 126));
    assert_eq!(failure("/opt/x"), (ExecFailure::IsDirectory, 126));
    let interpreter = ExecFailure::MissingInterpreter { interpreter: "/no/such".into() };
    assert_eq!(failure("script"), (interpreter, 127));
    assert_eq!(failure("noline"), (ExecFailure::ExecFormat { machine: None }, 126));
    let (reason, code) = failure("broken");
    assert!(
        matches!(reason, ExecFailure::ExecFormat { machine: Some(_) }) && code == 126,
        "{reason:?}"
    );

    // A user may find nothing where root does.
    if privilege != Privilege::UserSingle {
        room.sh("mkdir -m 700 /secret; ln -s /bin/true /secret/mine");
        let mut process = room.process(&["mine"]);
        process.env = vec![("PATH".into(), "/secret".into())];
        assert_eq!(said(&process), "");
        process.uid = 9;
        let error = done(&process, &Cancel::new()).exit.unwrap_err();
        assert_eq!(error.to_string(), "failed to run mine: no such file in PATH (/secret)");
    }
}

fn missing_working_directory(_: Privilege) {
    let room = Room::new();
    let mut process = room.process(&["true"]);
    process.cwd = "/nowhere".into();
    let error = done(&process, &Cancel::new()).exit.unwrap_err();
    assert_eq!(error.to_string(), "failed to enter the working directory /nowhere in the sandbox");
}

fn runs_in_parallel(_: Privilege) {
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|number| {
                scope.spawn(move || {
                    let room = Room::new();
                    (0..5).map(|_| room.sh(&format!("echo {number} >f; cat f"))).collect::<Vec<_>>()
                })
            })
            .collect();
        for (number, thread) in threads.into_iter().enumerate() {
            assert_eq!(thread.join().unwrap(), vec![number.to_string(); 5]);
        }
    });
}

/// Prints the time of one run of `true`; started with `--measure`.
pub(crate) fn measure() {
    let room = Room::new();
    let process = room.process(&["true"]);
    let mut times: Vec<f64> = (0..200)
        .map(|_| {
            let start = Instant::now();
            said(&process);
            start.elapsed().as_secs_f64() * 1000.0
        })
        .collect();
    times.sort_by(f64::total_cmp);
    println!("one run of true: median {:.2} ms, 95 % {:.2} ms", times[100], times[190]);
}
