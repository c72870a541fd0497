//! A folder with files, and the program run in it.

#![allow(dead_code, reason = "each test program uses a part of it")]

use std::path::PathBuf;
use std::process::{Command, Stdio};

/// A plan of one flavor on two platforms, with a tier whose Dockerfile differs between them.
pub const PLAN: &str = r#"[project]
name = "demo"
repository = "registry.example/team/demo"
version = "v1.0.0"

[base.python]
debian = "bookworm"
packages = ["python3"]

[flavor.cpu]
platforms = ["linux/amd64", "linux/arm64"]
tiers = [
  { name = "base", dockerfile = "docker/cpu/Dockerfile.base" },
  { name = "app", dockerfile = "docker/app/Dockerfile", context = "src" },
]
smoke = ["app", "selftest"]

[flavor.cpu.on."linux/arm64".tier]
base.dockerfile = "docker/arm64/Dockerfile.base"

[index.latest]
members = ["cpu/amd64", "cpu/arm64"]
"#;

/// The program in a folder of its own, with a store beside it and nothing of this machine's
/// environment.
pub struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    /// A folder with these files.
    pub fn new(files: &[(&str, &str)]) -> Bench {
        let bench = Bench { folder: tempfile::tempdir().unwrap() };
        for (path, text) in files {
            bench.write(path, text);
        }
        bench
    }

    /// A folder with the plan and all that it names.
    pub fn family() -> Bench {
        Bench::new(&[
            ("anyarch.toml", PLAN),
            ("docker/cpu/Dockerfile.base", "FROM python\nRUN echo cpu\n"),
            ("docker/arm64/Dockerfile.base", "FROM python\nRUN echo arm64\n"),
            (
                "docker/app/Dockerfile",
                "ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\nCOPY app /bin/\nCMD [\"app\"]\n",
            ),
            ("src/app", "#!/bin/sh\n"),
            ("src/.dockerignore", "*.pyc\n"),
        ])
    }

    /// A family that can be built without network and without any program: files only.
    pub fn scratch() -> Bench {
        let plan = "[project]\nname = \"files\"\n\n[flavor.cpu]\n\
                    platforms = [\"linux/amd64\"]\n\
                    tiers = [{ name = \"app\", dockerfile = \"Dockerfile\" }]\n";
        Bench::new(&[
            ("anyarch.toml", plan),
            ("Dockerfile", "FROM scratch\nCOPY hello /etc/hello\nLABEL a=b\n"),
            ("hello", "hello\n"),
        ])
    }

    /// Writes a file, with the folders above it.
    pub fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// A path in the folder.
    pub fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join("work").join(path)
    }

    /// The folder of the store.
    pub fn store(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    /// The program with these arguments, ready to start.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_anyarch"));
        std::fs::create_dir_all(self.path("")).unwrap();
        command
            .args(args)
            .current_dir(self.path(""))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.folder.path())
            .env("ANYARCH_STORE", self.store())
            .stdin(Stdio::null());
        command
    }

    /// What the program prints and how it ends, as one text: standard output, standard error with
    /// `!` before each line, the exit code. Paths of this test read `[DIR]`.
    pub fn run(&self, args: &[&str]) -> String {
        let output = self.command(args).output().unwrap();
        let mut text = String::from_utf8(output.stdout).unwrap();
        for line in String::from_utf8(output.stderr).unwrap().lines() {
            text.push_str(&format!("! {line}").replace("! \n", "!\n"));
            text.truncate(text.trim_end_matches(' ').len());
            text.push('\n');
        }
        text.push_str(&match output.status.code() {
            Some(code) => format!("exit {code}\n"),
            None => "killed\n".to_owned(),
        });
        text.replace(&self.folder.path().display().to_string(), "[DIR]")
    }

    /// Standard output of a run that must succeed.
    pub fn stdout(&self, args: &[&str]) -> String {
        let output = self.command(args).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}
