//! `anyarch serve` as a registry for others: accounts, TLS, and what a kill leaves.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStderr, Command, Output, Stdio};

use anyarch_oci::Digest;
use anyarch_testkit::{ANN, TestAuthority};
use snapbox::{assert_data_eq, str};

use crate::bench::{Bench, signal};
use crate::needs;

/// A registry that runs; killed when dropped.
struct Running {
    child: Child,
    /// `http://HOST:PORT`.
    url: String,
    errors: BufReader<ChildStderr>,
}

impl Running {
    fn start(bench: &Bench, args: &[&str]) -> Running {
        let mut command = bench.command(&["serve"]);
        command.args(args);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let errors = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = line.trim_end().rsplit(' ').next().unwrap().to_owned();
        Running { child, url, errors }
    }

    fn host(&self) -> &str {
        self.url.split("://").nth(1).unwrap()
    }

    /// Status, headers and body of an answer.
    fn ask(&self, method: &str, path: &str, body: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.host()).unwrap();
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nhost: r\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
        )
        .unwrap();
        stream.write_all(body).unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).unwrap();
        said.trim_start_matches("HTTP/1.1 ").to_owned()
    }

    /// Ends it, and gives what it said to standard error.
    fn stop(mut self) -> String {
        signal(&self.child, "TERM");
        let mut said = String::new();
        self.errors.read_to_string(&mut said).unwrap();
        assert!(self.child.wait().unwrap().success());
        said
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn header<'a>(answer: &'a str, name: &str) -> &'a str {
    let line = answer.lines().find(|line| line.starts_with(&format!("{name}: "))).unwrap();
    line.split_once(": ").unwrap().1
}

fn file(path: &std::path::Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn pushes_go_on_after_a_kill() {
    let bench = Bench::empty();
    let address = ["--addr", "127.0.0.1:0"];
    let mut first = Running::start(&bench, &address);
    let begun = first.ask("POST", "/v2/app/blobs/uploads/", b"");
    let session = header(&begun, "location").to_owned();
    // One upload is in the middle of a chunk, another has one, a third comes at once.
    let mut open = TcpStream::connect(first.host()).unwrap();
    let other = header(&first.ask("POST", "/v2/app/blobs/uploads/", b""), "location").to_owned();
    write!(open, "PATCH {other} HTTP/1.1\r\nhost: r\r\ncontent-length: 999\r\n\r\npart").unwrap();
    let mut whole = TcpStream::connect(first.host()).unwrap();
    let digest = Digest::sha256(b"hello world");
    write!(
        whole,
        "POST /v2/app/blobs/uploads/?digest={digest} HTTP/1.1\r\nhost: r\r\ncontent-length: 11\r\n\r\nhello"
    )
    .unwrap();
    assert!(first.ask("PATCH", &session, b"hello").starts_with("202"));
    first.child.kill().unwrap();
    first.child.wait().unwrap();

    let second = Running::start(&bench, &address);
    let blob = format!("/v2/app/blobs/{digest}");
    assert!(second.ask("HEAD", &blob, b"").starts_with("404"), "no part of a blob is visible");
    assert_eq!(std::fs::read_dir(bench.store().join("work")).unwrap().count(), 1, "healed");
    let status = second.ask("GET", &session, b"");
    assert!(status.starts_with("204") && header(&status, "range") == "0-4", "{status}");
    let end = format!("{session}?digest={digest}");
    assert!(second.ask("PUT", &end, b" world").starts_with("201"));
    assert!(second.ask("GET", &blob, b"").ends_with("\r\n\r\nhello world"));
    assert!(second.ask("DELETE", &other, b"").starts_with("204"));
    second.stop();
    let left = std::fs::read_dir(bench.store().join("repositories/app/uploads")).unwrap();
    assert_eq!(left.count(), 0);
}

#[test]
fn files_that_are_wrong_are_named() {
    let bench = Bench::empty();
    bench.write("people", "# team\nann:$apr1$x$y\n");
    bench.write("none", "");
    bench.write("key.pem", "x");
    assert_data_eq!(
        bench.fails(["serve", "--htpasswd", "people"]),
        str![[r#"
error: people:2: the password of `ann` is hashed with MD5, not with bcrypt
  hint: make entries with `htpasswd -B people USER`
exit 1

"#]]
    );
    assert_data_eq!(
        bench.fails(["serve", "--htpasswd", "none"]),
        str![[r#"
error: none has no accounts
  hint: make entries with `htpasswd -B none USER`
exit 1

"#]]
    );
    assert_data_eq!(
        bench.fails(["serve", "--tls-cert", "key.pem", "--tls-key", "key.pem"]),
        str![[r#"
error: key.pem holds no certificate in PEM
...
exit 1

"#]]
    );
    for alone in
        [["serve", "--tls-cert=x"], ["serve", "--tls-key=x"], ["serve", "--anonymous-pull"]]
    {
        assert!(bench.fails(alone).ends_with("exit 2\n"), "{alone:?}");
    }
}

#[test]
fn passwords_in_plain_text_are_warned_of() {
    let bench = Bench::empty();
    bench.write("people", ANN);
    let said = |address: &str| {
        let running = Running::start(&bench, &["--addr", address, "--htpasswd", "people"]);
        assert!(running.ask("GET", "/v2/", b"").starts_with("401"));
        running.stop()
    };
    let warning =
        "warning: passwords cross the network as plain text; add --tls-cert and --tls-key\n";
    assert!(said("0.0.0.0:0").starts_with(warning));
    assert!(!said("127.0.0.1:0").contains("warning"));
}

fn skopeo(bench: &Bench, authority: &TestAuthority, args: &[&str]) -> Output {
    let mut skopeo = Command::new("skopeo");
    skopeo.args(args).current_dir(bench.around()).env("HOME", authority.folder());
    skopeo.stdin(Stdio::null()).output().unwrap()
}

#[test]
fn accounts_and_tls_for_skopeo_needs_userns_and_skopeo() {
    needs!("userns", "skopeo");
    let bench = crate::publish::released();
    bench.run(["publish"]).success();
    let authority = TestAuthority::new();
    let (people, certificate, key) =
        (authority.accounts(), authority.certificate(), authority.key());
    let mut args = vec!["--addr", "127.0.0.1:0", "--htpasswd", file(&people)];
    args.extend(["--tls-cert", file(&certificate), "--tls-key", file(&key)]);
    let running = Running::start(&bench, &args);
    assert!(running.url.starts_with("https://"));
    let image = format!("docker://{}/demo:latest", running.host());
    let trust = format!("--cert-dir={}", authority.trust().display());
    let inspect = |more: &[&str]| {
        skopeo(&bench, &authority, &[&["inspect", &trust], more, &[image.as_str()]].concat())
    };
    let inside = inspect(&["--creds", "ann:secret"]);
    assert!(inside.status.success(), "{}", String::from_utf8_lossy(&inside.stderr));
    for outside in [inspect(&["--creds", "ann:wrong"]), inspect(&[])] {
        assert!(!outside.status.success());
    }
    let said = running.stop();
    let login = said.lines().find(|line| line.contains("podman login")).unwrap();
    assert!(!login.contains("tls-verify"), "{login}");
}
