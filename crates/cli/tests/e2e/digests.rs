//! The same inputs give the same digests, whoever builds and wherever.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::process::Command;

use crate::bench::Bench;
use crate::needs;

/// Owners, modes, links, times and a file of many blocks: what could differ between two builds.
const MIXED: &str = "FROM root\n\
    COPY --chown=ada:staff files/ /home/ada/\n\
    RUN mkdir -p /a/b && echo x > /a/b/f && ln /a/b/f /a/hard && ln -s b/f /a/soft\n\
    RUN chmod 4755 /a/b/f && chmod 1777 /a && chown 1000:50 /a/b && touch -d 2001-02-03 /a/old\n\
    RUN yes 0123456789abcdef | head -c 3000000 > /large\n\
    RUN rm -r /app || true\n\
    WORKDIR /srv\n\
    USER ada\n\
    RUN id > /tmp/id 2>/dev/null || true\n";

#[test]
fn two_stores_give_one_digest_needs_userns() {
    needs!("userns");
    let bench = Bench::one(MIXED);
    let first = bench.build();
    let other = bench.around().join("other-store");
    let done = bench.run(["--store", other.to_str().unwrap(), "build", "--quiet"]).success();
    assert_eq!(done.image_digest(), first);
}

#[test]
fn two_copies_of_a_project_give_one_digest_needs_userns() {
    needs!("userns");
    assert_eq!(Bench::one(MIXED).build(), Bench::one(MIXED).build());
}

#[test]
fn surroundings_of_the_process_do_not_count_needs_userns() {
    needs!("userns");
    let bench = Bench::one(MIXED);
    let first = bench.build();
    let program = env!("CARGO_BIN_EXE_anyarch");
    let project = bench.path("");
    let project = project.to_str().unwrap();
    let ways = [
        "umask 077; exec \"$@\"",
        "umask 000; exec \"$@\"",
        "mkdir ../tmp; TMPDIR=$PWD/../tmp exec \"$@\"",
        "cd /; exec \"$@\"",
        "LC_ALL=C TZ=Asia/Tokyo LANG=de_DE.UTF-8 USER=x exec \"$@\"",
        "exec taskset -c 0 \"$@\"",
        "nohup nice \"$@\"",
        "ulimit -n 256; exec \"$@\"",
    ];
    for (number, way) in ways.iter().enumerate() {
        let store = bench.around().join(format!("store-{number}"));
        let mut command = Command::new("sh");
        command.args(["-c", way, "sh", program, "-C", project, "build", "--quiet"]);
        bench.settle(&mut command);
        command.env("ANYARCH_STORE", store);
        assert_eq!(bench.finish(&mut command).success().image_digest(), first, "{way}");
    }
}

/// Runs the build as a user who exists in a private mount namespace only, with or without ranges of
/// further ids.
fn digest_as_user(bench: &Bench, ranges: &str) -> String {
    let program = bench.around().join("anyarch");
    if !program.exists() {
        fs::copy(env!("CARGO_BIN_EXE_anyarch"), &program).unwrap();
    }
    let home = bench.around().join(format!("user-{}", ranges.len()));
    fs::create_dir(&home).unwrap();
    chown(&home, Some(4242), Some(4242)).unwrap();
    let passwd = fs::read_to_string("/etc/passwd").unwrap() + "tester:x:4242:4242::/:/bin/sh\n";
    fs::write(home.join("passwd"), passwd).unwrap();
    fs::write(home.join("ranges"), ranges).unwrap();
    let script = "h=$1; shift; \
        for f in subuid subgid; do test -e /etc/$f || touch /etc/$f; mount --bind $h/ranges /etc/$f; done; \
        mount --bind $h/passwd /etc/passwd; \
        exec setpriv --reuid 4242 --regid 4242 --clear-groups \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "--", "sh", "-e", "-c", script, "sh"]).arg(&home).arg(program);
    command.args(["build", "--quiet"]);
    bench.settle(&mut command);
    command.env("HOME", &home).env("ANYARCH_STORE", home.join("store"));
    let done = bench.finish(&mut command).success();
    let single = done.err.contains("usermod --add-subuids");
    assert_eq!(single, ranges.is_empty(), "{}", done.err);
    assert_eq!(bench.mounts(), Vec::<String>::new());
    done.image_digest()
}

#[test]
fn root_and_an_ordinary_user_give_one_digest_needs_root() {
    needs!("root");
    let bench = Bench::one(MIXED);
    let root = bench.build();
    let user = digest_as_user(&bench, "tester:500000:65536\n");
    assert_eq!(user, root);
}

#[test]
fn a_user_with_one_id_gives_the_same_digest_where_all_is_roots_needs_root() {
    needs!("root");
    let bench = Bench::family();
    assert_eq!(digest_as_user(&bench, ""), bench.build());
}

#[test]
fn unreadable_modes_of_a_context_are_kept_needs_userns() {
    needs!("userns");
    let bench = Bench::one("FROM root\nCOPY files/ /app/\n");
    fs::set_permissions(bench.path("app/files/main"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::set_permissions(bench.path("app/files/other"), fs::Permissions::from_mode(0o4711)).unwrap();
    let layer = bench.layer(1);
    assert!(layer.contains("app/main Regular 600 0:0"), "{layer}");
    assert!(layer.contains("app/other Regular 4711 0:0"), "{layer}");
}
