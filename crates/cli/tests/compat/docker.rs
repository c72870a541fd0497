//! The docker engine of this machine, with its data in memory, and its builds by BuildKit.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Where its client may be besides the search path: where Debian puts it, if another one hides it.
const CLIENTS: [&str; 3] = ["docker", "/usr/bin/docker", "/usr/local/bin/docker"];

/// The version that the cases were written against; what others do differently is not listed in them.
const KNOWN: &str = " 20.10.";

/// A running engine.
pub struct Engine {
    child: Child,
    client: &'static str,
    folder: PathBuf,
    /// What it says of itself.
    pub version: String,
}

impl Engine {
    /// Starts it with a folder for its files; `None`, with a message, where there is none.
    pub fn start(folder: &Path) -> Option<Engine> {
        let Some(version) = version_of("dockerd") else {
            eprintln!("left out: there is no dockerd on this machine");
            return None;
        };
        if !version.contains(KNOWN) {
            eprintln!("left out: the cases are for docker{KNOWN}x of Debian 12, this is {version}");
            return None;
        }
        let Some(client) = CLIENTS.into_iter().find(|client| {
            version_of(client).is_some_and(|own| own.split(',').next() == version.split(',').next())
        }) else {
            eprintln!("left out: there is no docker client for {version}");
            return None;
        };
        fs::create_dir_all(folder.join("data")).unwrap();
        let child = serve(folder, "overlay2");
        let mut engine = Engine { child, client, folder: folder.to_owned(), version };
        if !engine.answers() {
            engine.child = serve(folder, "vfs");
            assert!(engine.answers(), "dockerd:\n{}", engine.log());
        }
        Some(engine)
    }

    /// Waits for the first answer; false where the process ended instead.
    fn answers(&mut self) -> bool {
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(120) {
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            if self.run(&self.folder, &["version"]).status.success() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("dockerd does not answer:\n{}", self.log());
    }

    fn log(&self) -> String {
        let text = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(60)..].join("\n")
    }

    /// Runs the client in a folder.
    pub fn run(&self, directory: &Path, args: &[&str]) -> Output {
        Command::new(self.client)
            .arg(format!("--host=unix://{}", self.folder.join("socket").display()))
            .args(args)
            .current_dir(directory)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", &self.folder)
            .env("DOCKER_BUILDKIT", "1")
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// Runs the client, which must succeed.
    #[track_caller]
    pub fn done(&self, args: &[&str]) {
        let output = self.run(&self.folder, args);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {said}\n{}", self.log());
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        drop(Command::new("kill").arg(self.child.id().to_string()).status());
        drop(self.child.wait());
    }
}

/// What a program says of its version.
fn version_of(program: &str) -> Option<String> {
    let output = Command::new(program).arg("--version").stderr(Stdio::null()).output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Starts the engine in a mount namespace of its own, where its data is in memory: it waits for the
/// disk at every step otherwise. The engine ends with the test, however that ends.
fn serve(folder: &Path, driver: &str) -> Child {
    let at = |name: &str| folder.join(name).display().to_string();
    let log = fs::File::create(folder.join("log")).unwrap();
    Command::new("setpriv")
        .args(["--pdeathsig", "TERM", "unshare", "--mount", "sh", "-c"])
        .arg("mount -t tmpfs anyarch-compat \"$0\" || echo 'data on disk' >&2; exec dockerd \"$@\"")
        .arg(at("data"))
        .arg(format!("--host=unix://{}", at("socket")))
        .arg(format!("--data-root={}", at("data/root")))
        .arg(format!("--exec-root={}", at("exec")))
        .arg(format!("--pidfile={}", at("pid")))
        .arg(format!("--storage-driver={driver}"))
        .args(["--bridge=none", "--iptables=false", "--ip6tables=false"])
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap()
}
