//! A project in a folder of its own with a store beside it, and the program run in it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyarch_oci::{ImageConfig, ImageManifest};
use serde_json::Value;

use crate::root::programs;

/// The architecture of this machine, as platforms name it.
pub const ARCH: &str = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };

/// Ends a test early where `ANYARCH_TEST_SKIP_WHAT=1` is set for something that it needs.
#[macro_export]
macro_rules! needs {
    ($($what:literal),+) => {
        let skipped = |what: &&str| {
            std::env::var_os(format!("ANYARCH_TEST_SKIP_{}", what.to_uppercase())).is_some()
        };
        if let Some(what) = [$($what),+].into_iter().find(skipped) {
            eprintln!("left out: needs {what}");
            return;
        }
    };
}

/// A project of three tiers: `base` (a small root), `ml`, and `app` (the files below `app/files`).
pub const PLAN: &str = r#"[project]
name = "demo"

[flavor.cpu]
platforms = ["linux/ARCH"]
tiers = [
  { name = "base", dockerfile = "base/Dockerfile", context = "base" },
  { name = "ml", dockerfile = "ml/Dockerfile", context = "ml" },
  { name = "app", dockerfile = "app/Dockerfile", context = "app" },
]
"#;

/// A project and a store in a temporary folder.
pub struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    /// Three tiers over a small root.
    pub fn family() -> Bench {
        let bench = Bench::empty();
        bench.write("anyarch.toml", PLAN);
        bench.write_root("base/rootfs");
        bench.write("base/Dockerfile", "FROM scratch\nCOPY rootfs/ /\nENV PATH=/bin\n");
        bench.write(
            "ml/Dockerfile",
            "ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\nRUN echo model > /model\n",
        );
        bench.write(
            "app/Dockerfile",
            "ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\nCOPY files/ /app/\nRUN cat /app/main > /built\n",
        );
        bench.write("app/files/main", "main\n");
        bench.write("app/files/other", "other\n");
        bench
    }

    /// One tier over the small root: this Dockerfile, with `FROM root` as its base.
    pub fn one(dockerfile: &str) -> Bench {
        let bench = Bench::family();
        bench.write(
            "anyarch.toml",
            PLAN.lines()
                .filter(|line| !line.contains("\"ml\""))
                .fold(String::new(), |text, line| text + line + "\n"),
        );
        bench.dockerfile(dockerfile);
        bench
    }

    /// Writes the Dockerfile of the last tier; `FROM root` means the tier below.
    pub fn dockerfile(&self, text: &str) {
        let text = text.replace("FROM root", "FROM ${BASE_IMAGE}");
        let syntax = text.starts_with("ARG");
        let text = if syntax { text } else { format!("ARG BASE_IMAGE\n{text}") };
        self.write("app/Dockerfile", &text);
    }

    /// Nothing but folders.
    pub fn empty() -> Bench {
        let folder = tempfile::Builder::new()
            .prefix("anyarch-e2e-")
            .permissions(fs::Permissions::from_mode(0o755))
            .tempdir()
            .unwrap();
        for name in ["work", "home"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        Bench { folder }
    }

    /// Writes the small root into a folder of the project.
    pub fn write_root(&self, folder: &str) {
        for (path, content) in programs() {
            let path = self.path(folder).join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, content).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        self.write(
            &format!("{folder}/etc/passwd"),
            "root:x:0:0::/:/bin/sh\nada:x:1000:1000::/home/ada:/bin/sh\n",
        );
        self.write(&format!("{folder}/etc/group"), "root:x:0:\nada:x:1000:\nstaff:x:50:ada\n");
    }

    /// Writes a file of the project, with the folders above it.
    pub fn write(&self, path: &str, text: impl AsRef<[u8]>) {
        let to = self.path(path);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        let text = text.as_ref();
        let arch = String::from_utf8_lossy(text).contains("linux/ARCH");
        match arch {
            true => fs::write(
                to,
                String::from_utf8_lossy(text).replace("linux/ARCH", &format!("linux/{ARCH}")),
            ),
            false => fs::write(to, text),
        }
        .unwrap();
    }

    /// Changes a file of the project.
    pub fn replace(&self, path: &str, from: &str, to: &str) {
        let text = fs::read_to_string(self.path(path)).unwrap();
        assert!(text.contains(from), "{from} is not in {path}");
        self.write(path, text.replace(from, to));
    }

    /// A path in the project.
    pub fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join("work").join(path)
    }

    /// The folder around project and store.
    pub fn around(&self) -> &Path {
        self.folder.path()
    }

    /// The folder of the store.
    pub fn store(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    /// The program with these arguments, ready to start, with nothing of this machine's environment.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_anyarch"));
        self.settle(&mut command);
        command.args(args);
        command
    }

    /// Gives a command the project's folder, store and environment.
    pub fn settle(&self, command: &mut Command) {
        command
            .current_dir(self.path(""))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.folder.path().join("home"))
            .env("ANYARCH_STORE", self.store())
            .stdin(Stdio::null());
    }

    /// Runs the program to its end.
    pub fn run<const N: usize>(&self, args: [&str; N]) -> Done {
        self.finish(&mut self.command(&args))
    }

    /// Runs a command to its end.
    pub fn finish(&self, command: &mut Command) -> Done {
        self.done(command.output().unwrap())
    }

    /// What a program left.
    pub fn done(&self, output: Output) -> Done {
        let text = |bytes: Vec<u8>| {
            let text = String::from_utf8(bytes).unwrap();
            let text = text.replace(&self.folder.path().display().to_string(), "[DIR]");
            text.replace(&format!("/{ARCH}"), "/[ARCH]")
        };
        Done { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    /// Starts the program with its output thrown away.
    pub fn start<const N: usize>(&self, args: [&str; N]) -> Child {
        self.command(&args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    /// Standard output and error of a run that must fail, and its code. Warnings about requests
    /// that are tried again are left out, because they tell a random time.
    #[track_caller]
    pub fn fails<const N: usize>(&self, args: [&str; N]) -> String {
        let done = self.run(args);
        assert_ne!(done.code, Some(0), "{done:?}");
        let shown = done.shown();
        shown
            .lines()
            .filter(|line| !line.contains("; trying again in "))
            .fold(String::new(), |text, line| text + line + "\n")
    }

    /// Builds, and tells the digest of the image of the last tier.
    pub fn build(&self) -> String {
        self.run(["build", "--quiet"]).success().image_digest()
    }

    /// The names of the steps that run in a build, without those that are cached.
    pub fn steps_that_run(&self) -> Vec<String> {
        self.run(["build", "--progress", "json"]).success().steps_that_ran()
    }

    /// The image of the last tier: its manifest.
    pub fn manifest(&self) -> ImageManifest {
        let digest = self.build();
        serde_json::from_slice(&self.blob(&digest)).unwrap()
    }

    /// The configuration of the image of the last tier.
    pub fn config(&self) -> ImageConfig {
        serde_json::from_slice(&self.blob(&self.manifest().config.digest.to_string())).unwrap()
    }

    /// A blob of the store.
    pub fn blob(&self, digest: &str) -> Vec<u8> {
        fs::read(self.store().join("blobs").join(digest.replace(':', "/"))).unwrap()
    }

    /// The entries of the layer with this number, counted from the base: path, type and mode, owner,
    /// content where it is short. Without the lowest, which holds the machine's programs.
    pub fn layer(&self, number: usize) -> String {
        let layer = &self.manifest().layers[number];
        let bytes = self.blob(&layer.digest.to_string());
        let mut archive = tar::Archive::new(flate2::read::MultiGzDecoder::new(&bytes[..]));
        let mut text = String::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut content = Vec::new();
            std::io::Read::read_to_end(&mut entry, &mut content).unwrap();
            let header = entry.header();
            let link = entry.link_name().unwrap();
            let mut line = format!(
                "{} {:?} {:o} {}:{}",
                entry.path().unwrap().display(),
                header.entry_type(),
                header.mode().unwrap(),
                header.uid().unwrap(),
                header.gid().unwrap(),
            );
            if let Some(link) = link {
                line.push_str(&format!(" -> {}", link.display()));
            }
            if !content.is_empty() && content.len() < 200 {
                line.push_str(&format!(" {:?}", String::from_utf8_lossy(&content)));
            }
            text.push_str(&line);
            text.push('\n');
        }
        text
    }

    /// What a shell command prints in a RUN step of a new last tier.
    pub fn printed_by_run(&self) -> String {
        self.run(["build", "--progress", "json"]).success().output_of_steps()
    }

    /// The folders of processes in the store, dead or alive.
    pub fn left_in_work(&self) -> Vec<PathBuf> {
        let work = self.store().join("work");
        fs::read_dir(work)
            .map(|all| all.map(|entry| entry.unwrap().path()).collect())
            .unwrap_or_default()
    }

    /// Files in the working folders of processes whose name holds `part`, with their sizes.
    pub fn unfinished(&self, part: &str) -> u64 {
        fn size(path: &Path, part: &str) -> u64 {
            let Ok(entries) = fs::read_dir(path) else { return 0 };
            let of = |entry: fs::DirEntry| match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => size(&entry.path(), part),
                Ok(metadata) if entry.file_name().to_string_lossy().contains(part) => {
                    metadata.len()
                }
                _ => 0,
            };
            entries.flatten().map(of).sum()
        }
        self.left_in_work().iter().map(|path| size(path, part)).sum()
    }

    /// Fails where anything of the store is mounted on this machine, or a working folder is left.
    pub fn assert_clean(&self) {
        assert_eq!(self.mounts(), Vec::<String>::new());
        assert_eq!(self.left_in_work(), Vec::<PathBuf>::new());
    }

    /// Lines of this machine's mounts that name the bench.
    pub fn mounts(&self) -> Vec<String> {
        let here = self.folder.path().display().to_string();
        let all = fs::read_to_string("/proc/self/mountinfo").unwrap();
        all.lines().filter(|line| line.contains(&here)).map(str::to_owned).collect()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        // What steps leave may be without write permission, which only root does not mind.
        drop(
            Command::new("chmod")
                .args(["-R", "u+rwX"])
                .arg(self.folder.path())
                .stderr(Stdio::null())
                .status(),
        );
    }
}

/// What a run left.
#[derive(Debug)]
pub struct Done {
    /// The exit code; `None` where a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Done {
    /// Fails where the run did.
    #[track_caller]
    pub fn success(self) -> Done {
        assert_eq!(self.code, Some(0), "{}{}", self.out, self.err);
        self
    }

    /// Output, errors and the exit code as one text.
    pub fn shown(&self) -> String {
        let code = self.code.map_or("none".to_owned(), |code| code.to_string());
        format!("{}{}exit {code}\n", self.out, self.err)
    }

    /// The digest in the table of images, of its last line.
    pub fn image_digest(&self) -> String {
        let mut words = self.out.split_whitespace();
        words.rfind(|word| word.starts_with("sha256:")).unwrap().to_owned()
    }

    /// The events of `--progress json`.
    pub fn events(&self) -> Vec<Value> {
        self.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The events of one kind.
    pub fn events_of(&self, kind: &str) -> Vec<Value> {
        self.events().into_iter().filter(|event| event["event"] == kind).collect()
    }

    /// The names of the steps that ran.
    pub fn steps_that_ran(&self) -> Vec<String> {
        let graph = self.events_of("graph");
        let name = |id: &Value| {
            let steps = graph[0]["steps"].as_array().unwrap();
            let step = steps.iter().find(|step| step["id"] == *id).unwrap();
            step["name"].as_str().unwrap().to_owned()
        };
        let ran = |event: &&Value| event["outcome"]["ran"].is_object();
        self.events_of("finished").iter().filter(ran).map(|event| name(&event["step"])).collect()
    }

    /// All that steps wrote.
    pub fn output_of_steps(&self) -> String {
        let events = self.events_of("output");
        events.iter().map(|event| event["bytes"].as_str().unwrap().to_owned()).collect()
    }
}

/// Waits until something is so; a minute without it is a failure.
#[track_caller]
pub fn wait_until(what: &str, mut so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !so() {
        assert!(begun.elapsed() < Duration::from_secs(60), "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Whether a process with this word in its command line is alive.
pub fn is_alive(word: &str) -> bool {
    fs::read_dir("/proc").unwrap().flatten().any(|process| {
        let line = fs::read(process.path().join("cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).any(|argument| argument == word.as_bytes())
    })
}

/// Sends a signal to a process.
pub fn signal(child: &Child, name: &str) {
    let status = Command::new("kill").args([&format!("-{name}"), &child.id().to_string()]).status();
    assert!(status.unwrap().success());
}
