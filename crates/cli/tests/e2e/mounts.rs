//! `RUN --mount`: what a step sees, and that nothing of it stays.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;

use crate::bench::Bench;
use crate::needs;

const SECRET: &str = "correct-horse-battery-staple";

/// Every file below a folder that holds some text.
fn holding(folder: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            found.extend(holding(&path, text));
        } else if kind.is_file() {
            let bytes = fs::read(&path).unwrap();
            if bytes.windows(text.len()).any(|window| window == text.as_bytes()) {
                found.push(path.display().to_string());
            }
        }
    }
    found
}

#[test]
fn a_bind_mount_shows_the_context_without_what_is_ignored_needs_userns() {
    needs!("userns");
    let bench = Bench::one(
        "FROM root\nRUN --mount=target=/in,rw cat /in/files/main > /out; test ! -e /in/files/hidden; echo x > /in/new\n",
    );
    bench.write("app/files/hidden", "hidden");
    bench.write("app/.dockerignore", "files/hidden\n");
    bench.build();
    let layer = bench.layer(1);
    assert!(layer.contains("\"main\\n\""), "{layer}");
    assert!(!layer.contains("new") && !layer.contains(" in"), "{layer}");
    assert!(!bench.path("app/new").exists());
    bench.write("app/files/hidden", "changed");
    assert_eq!(bench.steps_that_run(), Vec::<String>::new());
    bench.write("app/files/main", "changed\n");
    assert_eq!(bench.steps_that_run().len(), 1);
}

#[test]
fn a_bind_mount_of_a_stage_is_read_only_needs_userns() {
    needs!("userns");
    let bench = Bench::one(
        "FROM root AS made\nRUN echo tool > /tool\nFROM root\nRUN --mount=from=made,source=/tool,target=/t cat /t > /out; if echo x > /t; then exit 9; fi\n",
    );
    bench.build();
    assert!(bench.layer(1).contains("\"tool\\n\""), "{}", bench.layer(1));
}

#[test]
fn a_cache_is_kept_between_builds_needs_userns() {
    needs!("userns");
    let step = |text: &str| {
        format!(
            "FROM root\nRUN --mount=type=cache,target=/cache cat /cache/n > /before; echo {text} > /cache/n; test -e /before\n"
        )
    };
    let bench = Bench::one(&step("one"));
    bench.write("base/rootfs/cache/n", "nothing");
    bench.build();
    bench.dockerfile(&step("two"));
    bench.build();
    assert!(bench.layer(1).contains("\"one\\n\""), "{}", bench.layer(1));
    assert!(!bench.layer(1).contains("cache/n"), "{}", bench.layer(1));
}

#[test]
fn a_tmpfs_is_empty_and_gone_afterwards_needs_userns() {
    needs!("userns");
    let bench = Bench::one(
        "FROM root\nRUN --mount=type=tmpfs,target=/tmp/x echo a > /tmp/x/a; cat /tmp/x/a > /out\n",
    );
    bench.build();
    assert!(!bench.layer(1).contains("tmp"), "{}", bench.layer(1));
}

#[test]
fn a_secret_is_nowhere_afterwards_needs_userns() {
    needs!("userns");
    let bench = Bench::one(
        "FROM root\nRUN --mount=type=secret,id=token --mount=type=secret,id=token,env=TOKEN test \"$(cat /run/secrets/token)\" = \"$TOKEN\"\n",
    );
    fs::write(bench.around().join("token"), SECRET).unwrap();
    let source = format!("id=token,src={}", bench.around().join("token").display());
    let done = bench.run(["build", "-v", "--secret", &source]).success();
    assert!(!format!("{}{}", done.out, done.err).contains(SECRET));
    let found = holding(bench.around(), SECRET);
    assert_eq!(found, [bench.around().join("token").display().to_string()]);
    // What a secret holds is not part of the key.
    fs::write(bench.around().join("token"), "other").unwrap();
    let again = bench.run(["build", "--secret", &source]).success();
    assert!(again.err.ends_with("nothing to do: everything is up to date\n"), "{}", again.err);
}

#[test]
fn a_secret_that_is_missing_is_told_only_where_it_is_required_needs_userns() {
    needs!("userns");
    let bench =
        Bench::one("FROM root\nRUN --mount=type=secret,id=token test ! -e /run/secrets/token\n");
    bench.build();
    let bench = Bench::one("FROM root\nRUN --mount=type=secret,id=token,required=true true\n");
    let said = bench.fails(["build", "--quiet"]);
    assert!(
        said.contains("demands the secret `token`") && said.contains("--secret id=token"),
        "{said}"
    );
}

#[test]
fn an_ssh_agent_can_be_asked_needs_userns() {
    needs!("userns");
    let bench = Bench::one(
        "FROM root\nRUN --mount=type=ssh test -S \"$SSH_AUTH_SOCK\"; echo \"$SSH_AUTH_SOCK\" > /out\n",
    );
    let socket = bench.around().join("agent");
    let listener = UnixListener::bind(&socket).unwrap();
    std::thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let mut connection = connection;
            let mut question = [0; 16];
            if let Ok(count) = connection.read(&mut question) {
                drop(connection.write_all(&question[..count]));
            }
        }
    });
    bench.run(["build", "--ssh", &format!("default={}", socket.display())]).success();
    assert!(bench.layer(1).contains("/run/buildkit/ssh_agent.0"), "{}", bench.layer(1));
    assert!(!bench.layer(1).contains("run/buildkit\n"), "{}", bench.layer(1));
}
