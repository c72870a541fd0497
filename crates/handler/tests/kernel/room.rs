//! A root with programs of another machine, a hidden directory with twins for some of them, and
//! ways to start them.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyarch_handler::layout::{Identity, Record};
use anyarch_handler::write::{Entry, Table, Variable, write};
use anyarch_handler::{HANDLER, SHIM, image};
use anyarch_sandbox::{
    Cancel, Exit, Foreign, ForeignPlatform, HIDDEN, Process, SandboxError, Stdin, Stream, run,
};

use crate::programs;

const PROGRAMS: [&str; 14] = [
    "sh", "cat", "cp", "mv", "rm", "ln", "touch", "chmod", "true", "env", "uname", "readlink",
    "mkdir", "sleep",
];
/// Where a twin's tree is, in the hidden directory, and where its programs see it.
const TREE: &str = "root";

static BASE: OnceLock<PathBuf> = OnceLock::new();

/// Removes what [`base`] made, at the end of the program.
pub(crate) fn clear() {
    if let Some(base) = BASE.get() {
        fs::remove_dir_all(base).unwrap();
    }
}

/// A directory with `root`, a tree of this machine's programs and their libraries, and with what is
/// compiled from `probe.c`: `emulated`, `quiet` (both static), `native` and `plain`.
fn base() -> &'static Path {
    BASE.get_or_init(|| {
        let base = tempfile::tempdir().unwrap().keep();
        let root = base.join("root");
        let independent = ["-static-pie", "-fPIE"];
        compile("emulated", &base.join("emulated"), &independent);
        compile("quiet", &base.join("quiet"), &[&independent[..], &["-DQUIET"]].concat());
        compile("native", &base.join("native"), &[]);
        compile("plain", &base.join("plain"), &[]);
        programs::copy(&PROGRAMS, &root);
        base
    })
}

fn compile(kind: &str, to: &Path, options: &[&str]) {
    let output = Command::new("gcc")
        .args(["-O1", "-w", "-x", "c", "-o"])
        .arg(to)
        .arg(format!("-DKIND=\"{kind}\""))
        .args(options)
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kernel/probe.c"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// The same files under another name, without copying them.
fn link_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            link_tree(&entry.path(), &to);
        } else {
            fs::hard_link(entry.path(), to).unwrap();
        }
    }
}

/// What a file is known by.
pub(crate) fn identity(path: &Path) -> Identity {
    let meta = fs::metadata(path).unwrap();
    let nanos = |seconds: i64, nanos: i64| seconds * 1_000_000_000 + nanos;
    Identity {
        dev: meta.dev(),
        ino: meta.ino(),
        size: meta.size(),
        mtime: nanos(meta.mtime(), meta.mtime_nsec()),
        ctime: nanos(meta.ctime(), meta.ctime_nsec()),
    }
}

/// A root, a hidden directory and a table.
pub(crate) struct Room {
    /// Holds `bin`, with `probe` among it, and `foreign`.
    pub(crate) root: PathBuf,
    pub(crate) hidden: PathBuf,
    pub(crate) table: Table,
    /// What the handler is joined with.
    pub(crate) emulator: PathBuf,
    folder: tempfile::TempDir,
}

impl Room {
    /// With `/foreign/probe`, whose twin is `probe`, and `/foreign/other`, which has none.
    pub(crate) fn new() -> Room {
        let folder = tempfile::tempdir().unwrap();
        let [root, hidden] = ["root", "hidden"].map(|name| folder.path().join(name));
        link_tree(&base().join("root"), &root);
        link_tree(&base().join("root"), &hidden.join(TREE));
        fs::hard_link(base().join("plain"), root.join("bin/probe")).unwrap();
        fs::hard_link(base().join("native"), hidden.join("root/bin/probe")).unwrap();
        fs::write(hidden.join("shim.so"), SHIM).unwrap();
        for name in ["foreign", "proc", "sys", "dev", "tmp", "etc"] {
            fs::create_dir(root.join(name)).unwrap();
        }
        fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
        let log = hidden.join("log");
        fs::write(&log, "").unwrap();
        fs::set_permissions(&log, fs::Permissions::from_mode(0o666)).unwrap();
        let table =
            Table { log: format!("{HIDDEN}/log"), machine: "aarch64".into(), ..Table::default() };
        let mut room = Room { root, hidden, table, emulator: base().join("emulated"), folder };
        room.twin("probe");
        room.foreign("other");
        room
    }

    /// Makes a program of another machine, which nobody could run; its path outside.
    pub(crate) fn foreign(&self, name: &str) -> PathBuf {
        let mut program = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\xb7\0".to_vec();
        program.resize(64 + 56, 0);
        program.extend(name.bytes());
        self.foreign_of(name, &program)
    }

    pub(crate) fn foreign_of(&self, name: &str, program: &[u8]) -> PathBuf {
        let path = self.root.join("foreign").join(name);
        fs::write(&path, program).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    /// A program of another machine with the program of this name as its twin.
    pub(crate) fn twin(&mut self, name: &str) -> &mut Entry {
        let path = self.foreign(name);
        let tree = format!("{HIDDEN}/{TREE}");
        let libraries = ["lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu", "lib64"];
        self.table.entries.push(Entry {
            identity: identity(&path),
            name: name.into(),
            program: format!("{tree}/bin/{name}"),
            loader: format!("{tree}/lib64/ld-linux-x86-64.so.2"),
            library_path: libraries.map(|folder| format!("{tree}/{folder}")).join(":"),
            ..Entry::default()
        });
        self.table.entries.last_mut().unwrap()
    }

    /// Changes the twin of `/foreign/probe`.
    pub(crate) fn probe(&mut self) -> &mut Entry {
        &mut self.table.entries[0]
    }

    /// Looks at a program again, after something has been done to it.
    pub(crate) fn seen_again(&mut self, name: &str) {
        let known = identity(&self.root.join("foreign").join(name));
        self.table.entries.iter_mut().find(|entry| entry.name == name).unwrap().identity = known;
    }

    pub(crate) fn variable(&mut self, given: &str, original: Option<&str>) {
        self.table
            .variables
            .push(Variable { given: given.into(), original: original.map(Into::into) });
    }

    /// A plain program.
    pub(crate) fn process(&self, argv: &[&str]) -> Process {
        let mut process = Process::new(&self.root, argv.iter().copied());
        process.env = vec![("PATH".into(), "/foreign:/bin".into())];
        process
    }

    pub(crate) fn shell(&self, script: &str) -> Process {
        self.process(&["/bin/sh", "-c", script])
    }

    /// The handler as a file: joined with the emulator and the table, or the emulator alone.
    pub(crate) fn handler(&self, joined: bool) -> PathBuf {
        let emulator = fs::read(&self.emulator).unwrap();
        let path = self.folder.path().join("handler");
        let mut bytes = emulator.clone();
        if joined {
            let table = write(&self.table);
            let image = image::join(&emulator, emulator.len() as u64, HANDLER, &table).unwrap();
            bytes[..image.head.len()].copy_from_slice(&image.head);
            bytes.resize(image.tail_offset as usize, 0);
            bytes.extend(image.tail);
        }
        // A new file: the old one may still be registered.
        fs::remove_file(&path).ok();
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    /// Runs a process with the handler.
    pub(crate) fn run(&self, process: Process) -> Done {
        self.run_with(process, self.handler(true))
    }

    pub(crate) fn run_with(&self, mut process: Process, handler: PathBuf) -> Done {
        let hidden = Some(self.hidden.clone());
        let platform = ForeignPlatform::find("linux/arm64").unwrap();
        process.foreign = Some(Foreign { platform, handler, hidden });
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let exit = run(
            &process,
            &mut |stream, bytes| match stream {
                Stream::Stdout => out.extend_from_slice(bytes),
                Stream::Stderr => err.extend_from_slice(bytes),
            },
            &Cancel::new(),
        );
        Done { exit, out, err, log: self.take_log() }
    }

    /// The log's records since the last time.
    fn take_log(&self) -> Vec<Logged> {
        let path = self.hidden.join("log");
        let Ok(bytes) = fs::read(&path) else { return Vec::new() };
        fs::write(&path, "").unwrap();
        assert_eq!(bytes.len() % size_of::<Record>(), 0, "a record was cut");
        bytes
            .chunks(size_of::<Record>())
            .map(|record| {
                let number = |at: usize| u32::from_le_bytes(record[at..at + 4].try_into().unwrap());
                let name = record[8..].split(|byte| *byte == 0).next().unwrap();
                assert!(number(4) < 2 && number(0) > 0);
                Logged { native: number(4) == 1, name: String::from_utf8_lossy(name).into_owned() }
            })
            .collect()
    }

    /// Starts programs, one after the other, as [`Call`]s say.
    pub(crate) fn start(&self, calls: &[Call]) -> Vec<Entered> {
        self.start_from(self.process(&["/bin/probe", "+start"]), calls)
    }

    pub(crate) fn start_from(&self, mut process: Process, calls: &[Call]) -> Vec<Entered> {
        let mut spec = Vec::new();
        put_number(&mut spec, calls.len());
        for call in calls {
            put(&mut spec, call.path.as_bytes());
            for list in [&call.argv, &call.envp] {
                put_number(&mut spec, list.len());
                list.iter().for_each(|text| put(&mut spec, text));
            }
        }
        process.stdin = Stdin::Bytes(spec);
        let done = self.run(process).success();
        let entered = Entered::all(&done.out);
        assert_eq!(entered.len(), calls.len(), "{}", String::from_utf8_lossy(&done.err));
        entered
    }

    /// Starts one program with one environment.
    pub(crate) fn enter(&self, argv: &[&str], envp: &[&str]) -> Entered {
        self.start(&[Call::new(argv[0], argv, envp)]).pop().unwrap()
    }

    /// How the programs of a script ran, in their order: `N` for natively, `E` for emulated. The log
    /// and the programs must agree.
    pub(crate) fn kinds(&self, script: &str) -> String {
        self.kinds_of(self.shell(script))
    }

    pub(crate) fn kinds_of(&self, process: Process) -> String {
        let done = self.run(process).success();
        let logged: String = done.log.iter().map(|l| if l.native { 'N' } else { 'E' }).collect();
        assert_eq!(done.kinds(), logged, "{}", String::from_utf8_lossy(&done.err));
        logged
    }
}

fn put_number(spec: &mut Vec<u8>, number: usize) {
    spec.extend(u32::try_from(number).unwrap().to_le_bytes());
}

fn put(spec: &mut Vec<u8>, text: &[u8]) {
    put_number(spec, text.len());
    spec.extend(text);
}

/// A program to start.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) path: String,
    pub(crate) argv: Vec<Vec<u8>>,
    pub(crate) envp: Vec<Vec<u8>>,
}

impl Call {
    pub(crate) fn new(path: &str, argv: &[&str], envp: &[&str]) -> Call {
        let bytes = |list: &[&str]| list.iter().map(|text| text.as_bytes().to_vec()).collect();
        Call { path: path.into(), argv: bytes(argv), envp: bytes(envp) }
    }

    pub(crate) fn of(&self, path: &str) -> Call {
        Call { path: path.into(), ..self.clone() }
    }
}

/// One line of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Logged {
    pub(crate) native: bool,
    pub(crate) name: String,
}

/// What a process wrote and how it ended.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) exit: Result<Exit, SandboxError>,
    pub(crate) out: Vec<u8>,
    pub(crate) err: Vec<u8>,
    pub(crate) log: Vec<Logged>,
}

impl Done {
    pub(crate) fn success(self) -> Done {
        let said = String::from_utf8_lossy(&self.err);
        assert_eq!(self.exit.as_ref().unwrap(), &Exit::Code(0), "{said}");
        self
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.out).trim_end().to_owned()
    }

    /// As the programs themselves say.
    pub(crate) fn kinds(&self) -> String {
        let text = String::from_utf8_lossy(&self.out);
        let kind = |line: &str| match line.rsplit_once("kind ")?.1 {
            "native" => Some('N'),
            "emulated" => Some('E'),
            _ => None,
        };
        text.lines().filter_map(kind).collect()
    }
}

/// How a program was entered, as it says itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entered {
    pub(crate) facts: BTreeMap<String, String>,
    pub(crate) argv: Vec<Vec<u8>>,
    pub(crate) envp: Vec<Vec<u8>>,
}

impl Entered {
    fn all(mut bytes: &[u8]) -> Vec<Entered> {
        let mut all = Vec::new();
        while !bytes.is_empty() {
            let mut facts = BTreeMap::new();
            loop {
                let end = bytes.iter().position(|byte| *byte == b'\n').unwrap();
                let line = String::from_utf8_lossy(&bytes[..end]).into_owned();
                bytes = &bytes[end + 1..];
                let Some((key, value)) = line.split_once(' ') else { break };
                facts.insert(key.to_owned(), value.to_owned());
            }
            let mut texts = |count: &str| -> Vec<Vec<u8>> {
                (0..facts[count].parse::<usize>().unwrap())
                    .map(|_| {
                        let end = bytes.iter().position(|byte| *byte == 0).unwrap();
                        let text = bytes[..end].to_vec();
                        bytes = &bytes[end + 1..];
                        text
                    })
                    .collect()
            };
            let (argv, mut envp) = (texts("argc"), texts("envc"));
            // What the emulator is given is in reverse, because it reverses it for the program.
            if facts["kind"] == "emulated" {
                envp.reverse();
            }
            all.push(Entered { facts, argv, envp });
        }
        all
    }

    pub(crate) fn kind(&self) -> &str {
        self.fact("kind")
    }

    pub(crate) fn fact(&self, key: &str) -> &str {
        self.facts.get(key).map_or("", String::as_str)
    }

    pub(crate) fn environment(&self) -> Vec<String> {
        self.envp.iter().map(|text| String::from_utf8_lossy(text).into_owned()).collect()
    }

    /// All but what is known to differ between a program and its twin: who it is, and that the
    /// loader was started by its own name.
    pub(crate) fn comparable(&self) -> Entered {
        let mut entered = self.clone();
        for key in ["kind", "base", "execfn"] {
            entered.facts.remove(key);
        }
        entered
    }
}
