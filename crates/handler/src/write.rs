//! Writes the table: plain values in, the bytes that [`layout`] describes out.

use std::collections::HashMap;

use crate::layout::{self, Header, Identity, List, MAGIC, Str};

/// A whole table, as values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// File that gets a record for every program, as the programs of the step see it.
    pub log: String,
    /// What uname(2) says is the machine, such as `aarch64`.
    pub machine: String,
    /// The programs that have twins.
    pub entries: Vec<Entry>,
    /// What twins are given besides their environment, at most 32.
    pub variables: Vec<Variable>,
}

/// A foreign program and its twin. Paths are those that the programs of the step see.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// The foreign program.
    pub identity: Identity,
    /// Name for the log.
    pub name: String,
    /// The twin.
    pub program: String,
    /// Its dynamic loader.
    pub loader: String,
    /// Directories of its libraries, with colons between.
    pub library_path: String,
    /// The shim, where the twin needs it.
    pub shim: Option<String>,
    /// Bits of [`Table::variables`].
    pub variables: u32,
    /// What must be as it was: path and identity, `None` where nothing may be.
    pub dependencies: Vec<(String, Option<Identity>)>,
    /// Directories that the twin finds somewhere else: where it asks, where they lie.
    pub redirects: Vec<(String, String)>,
    /// Likewise, for the libraries that it loads and nothing else.
    pub loads: Vec<(String, String)>,
    /// Arguments that go before its own.
    pub arguments: Vec<String>,
    /// Arguments with which it is emulated; an empty one means a call without arguments.
    pub refused: Vec<String>,
    /// Beginnings of variables with which it is emulated.
    pub refused_variables: Vec<String>,
    /// For an interpreter, what it may run.
    pub interpreter: Option<Interpreter>,
    /// Whether it is a shell, whose text is looked through and whose divisions do not trap.
    pub shell: bool,
}

/// A variable of twins, as whole entries `NAME=value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    /// What a twin gets.
    pub given: String,
    /// What it replaces; `None`: it must not be set.
    pub original: Option<String>,
}

/// What an interpreter may run as a twin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interpreter {
    /// Letters of options without a value.
    pub flags: String,
    /// Letters of options with a value.
    pub valued: String,
    /// Names for option `-m`.
    pub modules: Vec<String>,
    /// Beginnings and ends for option `-c`.
    pub code: Vec<(String, String)>,
    /// Paths of scripts, and what their first kilobyte must hold.
    pub scripts: Vec<(String, Option<String>)>,
}

/// The table as bytes; the addresses in its header are still zero.
pub fn write(table: &Table) -> Vec<u8> {
    let mut out = Writer::default();
    out.bytes.resize(size_of::<Header>(), 0);
    let mut sorted: Vec<&Entry> = table.entries.iter().collect();
    sorted.sort_by_key(|entry| (entry.identity.ino, entry.identity.dev));
    let entries: Vec<layout::Entry> = sorted.into_iter().map(|entry| out.entry(entry)).collect();
    let variables: Vec<layout::Variable> = table
        .variables
        .iter()
        .map(|variable| layout::Variable {
            given: out.text(&variable.given),
            original: variable.original.as_deref().map_or(0, |text| out.text(text)),
        })
        .collect();
    let header = Header {
        magic: MAGIC,
        address: 0,
        emulator: 0,
        log: out.text(&table.log),
        machine: out.text(&table.machine),
        entries: out.list(&entries),
        variables: out.list(&variables),
    };
    let bytes = raw(&header);
    out.bytes[..bytes.len()].copy_from_slice(bytes);
    out.align();
    out.bytes
}

/// A structure of the layout as bytes.
pub(crate) fn raw<T: Copy>(value: &T) -> &[u8] {
    // SAFETY: the structures of `layout` are plain numbers without padding, laid out as C does.
    unsafe { std::slice::from_raw_parts(std::ptr::from_ref(value).cast(), size_of::<T>()) }
}

#[derive(Default)]
struct Writer {
    bytes: Vec<u8>,
    known: HashMap<String, Str>,
}

impl Writer {
    fn align(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
    }

    fn offset(&self) -> u32 {
        u32::try_from(self.bytes.len()).unwrap_or(u32::MAX)
    }

    fn text(&mut self, text: &str) -> Str {
        if let Some(known) = self.known.get(text) {
            return *known;
        }
        let offset = self.offset();
        self.bytes.extend(text.bytes().take_while(|byte| *byte != 0));
        self.bytes.push(0);
        self.known.insert(text.to_owned(), offset);
        offset
    }

    fn list<T: Copy>(&mut self, items: &[T]) -> List {
        self.align();
        let list = List { offset: self.offset(), count: items.len() as u32 };
        items.iter().for_each(|item| self.bytes.extend_from_slice(raw(item)));
        list
    }

    fn texts(&mut self, texts: &[String]) -> List {
        let offsets: Vec<Str> = texts.iter().map(|text| self.text(text)).collect();
        self.list(&offsets)
    }

    fn entry(&mut self, entry: &Entry) -> layout::Entry {
        let dependencies: Vec<layout::Dependency> = entry
            .dependencies
            .iter()
            .map(|(path, identity)| layout::Dependency {
                identity: identity.unwrap_or_default(),
                path: self.text(path),
                padding: 0,
            })
            .collect();
        let any = entry.redirects.iter().map(|redirect| (redirect, 0));
        let redirects: Vec<layout::Redirect> = any
            .chain(entry.loads.iter().map(|redirect| (redirect, 1)))
            .map(|((from, to), loads)| layout::Redirect {
                from: self.text(from),
                to: self.text(to),
                loads,
            })
            .collect();
        layout::Entry {
            identity: entry.identity,
            name: self.text(&entry.name),
            program: self.text(&entry.program),
            loader: self.text(&entry.loader),
            library_path: self.text(&entry.library_path),
            shim: entry.shim.as_deref().map_or(0, |path| self.text(path)),
            variables: entry.variables,
            dependencies: self.list(&dependencies),
            redirects: self.list(&redirects),
            arguments: self.texts(&entry.arguments),
            refused: self.texts(&entry.refused),
            refused_variables: self.texts(&entry.refused_variables),
            interpreter: entry.interpreter.as_ref().map_or(0, |rule| self.interpreter(rule)),
            shell: u32::from(entry.shell),
        }
    }

    fn interpreter(&mut self, rule: &Interpreter) -> u32 {
        let code: Vec<layout::Code> = rule
            .code
            .iter()
            .map(|(begins, ends)| layout::Code { begins: self.text(begins), ends: self.text(ends) })
            .collect();
        let scripts: Vec<layout::Script> = rule
            .scripts
            .iter()
            .map(|(path, holds)| layout::Script {
                path: self.text(path),
                holds: holds.as_deref().map_or(0, |text| self.text(text)),
            })
            .collect();
        let written = layout::Interpreter {
            flags: self.text(&rule.flags),
            valued: self.text(&rule.valued),
            modules: self.texts(&rule.modules),
            code: self.list(&code),
            scripts: self.list(&scripts),
        };
        self.align();
        let offset = self.offset();
        self.bytes.extend_from_slice(raw(&written));
        offset
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide;

    fn identity(ino: u64) -> Identity {
        Identity { dev: 7, ino, size: 100, mtime: 5, ctime: 6 }
    }

    fn entry(ino: u64, name: &str) -> Entry {
        Entry {
            identity: identity(ino),
            name: name.into(),
            program: format!("/twin/{name}"),
            ..Entry::default()
        }
    }

    /// The bytes where the kernel would map them: aligned.
    fn aligned(bytes: &[u8]) -> Vec<u64> {
        bytes
            .chunks(8)
            .map(|chunk| {
                let mut word = [0; 8];
                word[..chunk.len()].copy_from_slice(chunk);
                u64::from_le_bytes(word)
            })
            .collect()
    }

    fn with_table(table: &Table, check: impl FnOnce(decide::Table)) {
        let words = aligned(&write(table));
        // SAFETY: `words` holds a whole table, aligned, and lives through the call.
        check(unsafe { decide::Table::new(words.as_ptr().cast()) });
    }

    #[test]
    fn a_program_is_found_by_all_that_it_is_known_by() {
        let entries = [9, 3, 5, 700].map(|ino| entry(ino, &format!("p{ino}"))).to_vec();
        let table = Table { entries, machine: "aarch64".into(), ..Table::default() };
        with_table(&table, |table| {
            assert_eq!(table.header().magic, MAGIC);
            assert_eq!(table.text(table.header().machine), b"aarch64");
            for ino in [3, 5, 9, 700] {
                let found = table.find(&identity(ino)).unwrap();
                assert_eq!(table.text(found.program), format!("/twin/p{ino}").as_bytes());
            }
            for ino in [0, 4, 10, 701] {
                assert!(table.find(&identity(ino)).is_none());
            }
            for other in [
                Identity { dev: 8, ..identity(5) },
                Identity { size: 99, ..identity(5) },
                Identity { mtime: 4, ..identity(5) },
                Identity { ctime: 7, ..identity(5) },
            ] {
                assert!(table.find(&other).is_none(), "{other:?}");
            }
        });
    }

    #[test]
    fn an_empty_table_finds_nothing() {
        with_table(&Table::default(), |table| assert!(table.find(&identity(1)).is_none()));
    }

    fn python() -> Interpreter {
        Interpreter {
            flags: "IEsSBu".into(),
            valued: "WX".into(),
            modules: vec!["pip".into(), "venv".into()],
            code: vec![("import pip".into(), "end\n".into())],
            scripts: vec![
                ("pip3".into(), Some("pip._internal".into())),
                ("/var/lib/dpkg/info/".into(), None),
                ("/usr/bin/py3compile".into(), None),
            ],
        }
    }

    fn interprets(arguments: &[&str]) -> bool {
        let entry = Entry { interpreter: Some(python()), ..entry(1, "python3") };
        let table = Table { entries: vec![entry], ..Table::default() };
        let mut answer = false;
        with_table(&table, |table| {
            let entry = table.find(&identity(1)).unwrap();
            // SAFETY: the entry has an interpreter.
            let rule = unsafe { table.at::<layout::Interpreter>(entry.interpreter) };
            let mut holds = |path: &[u8], text: &[u8]| {
                assert_eq!(text, b"pip._internal");
                path == b"/usr/bin/pip3"
            };
            let arguments = arguments.iter().map(|argument| argument.as_bytes());
            answer = decide::may_interpret(&table, rule, arguments, &mut holds);
        });
        answer
    }

    #[test]
    fn an_interpreter_runs_what_its_table_names() {
        for yes in [
            &["-m", "pip", "install", "numpy"][..],
            &["-mpip"],
            &["-Im", "venv", "/opt/venv"],
            &["-B", "-W", "ignore", "-m", "pip"],
            &["-Wignore", "-m", "pip"],
            &["-c", "import pip\nend\n"],
            &["/usr/bin/pip3", "install", "x"],
            &["-u", "/var/lib/dpkg/info/x.postinst", "-c"],
            &["/usr/bin/py3compile", "-p", "x"],
        ] {
            assert!(interprets(yes), "{yes:?}");
        }
        for no in [
            &[][..],
            &["-"],
            &["-m"],
            &["-m", "http.server"],
            &["-c", "print(1)"],
            &["-c", "import pip"],
            &["-i", "-m", "pip"],
            &["--version"],
            &["-V"],
            &["-W"],
            &["/opt/pip3"],
            &["./pip3"],
            &["/usr/local/bin/py3compile"],
            &["setup.py", "-m", "pip"],
            &["/var/lib/dpkg/info/../../../../tmp/x"],
        ] {
            assert!(!interprets(no), "{no:?}");
        }
    }

    #[test]
    fn refused_arguments_are_whole_ones() {
        let curl = Entry { refused: vec!["--version".into()], ..entry(1, "curl") };
        with_table(&Table { entries: vec![curl], ..Table::default() }, |table| {
            let entry = table.find(&identity(1)).unwrap();
            let refused = |arguments: &[&str]| {
                let arguments = arguments.iter().map(|argument| argument.as_bytes());
                decide::is_refused(&table, entry.refused, arguments)
            };
            assert!(refused(&["-s", "--version"]));
            assert!(!refused(&["--versions", "version"]));
            assert!(!refused(&[]));
        });
        let apt = Entry { refused: vec!["-h".into(), String::new()], ..entry(1, "apt") };
        with_table(&Table { entries: vec![apt], ..Table::default() }, |table| {
            let entry = table.find(&identity(1)).unwrap();
            let refused = |arguments: &'static [&str]| {
                let arguments = arguments.iter().map(|argument| argument.as_bytes());
                decide::is_refused(&table, entry.refused, arguments)
            };
            assert!(refused(&[]) && refused(&["-h"]));
            assert!(!refused(&["update"]));
        });
    }

    #[test]
    fn redirects_take_whole_names() {
        assert_eq!(decide::redirected(b"/usr/lib/x", b"/usr/lib/x"), Some(&b""[..]));
        assert_eq!(decide::redirected(b"/usr/lib/x/y", b"/usr/lib/x"), Some(&b"/y"[..]));
        assert_eq!(decide::redirected(b"/usr/lib/xy", b"/usr/lib/x"), None);
        assert_eq!(decide::redirected(b"usr/lib/x", b"/usr/lib/x"), None);
    }

    #[test]
    fn programs_that_ask_for_themselves_are_known() {
        for yes in [
            "/proc/self/exe",
            "if=/proc/self/maps",
            "cat </proc/thread-self/comm",
            "//proc/proc/self",
        ] {
            assert!(decide::is_about_itself(yes.as_bytes()), "{yes}");
        }
        for no in ["/proc/1/exe", "/proc", "/proc/sel", "proc/self", ""] {
            assert!(!decide::is_about_itself(no.as_bytes()), "{no}");
        }
    }

    #[test]
    fn texts_of_shells_are_looked_through() {
        let is_odd = |text: &[u8]| decide::Scan::default().is_odd(text);
        for yes in [
            "case $x in [a-é]) ;; esac",
            "case $x in [ä-z]) ;; esac",
            "[a-\"é\"]",
            "[a-\\é]",
            "${x%[a-$last]}",
            "${x%[$(first)-z]}",
            "readlink /proc/self/exe",
        ] {
            assert!(is_odd(yes.as_bytes()), "{yes}");
        }
        for no in [
            "# café - naïve",
            "[a-z]é-",
            "[ -n é ]",
            "[é]",
            "x-é",
            "[\n-é]",
            "[ \"$a\" -eq 1 ]",
            "",
        ] {
            assert!(!is_odd(no.as_bytes()), "{no}");
        }
        let mut scan = decide::Scan::default();
        assert!(!scan.is_odd(b"x < /proc/s"));
        assert!(scan.is_odd(b"elf/stat"), "cut anywhere");
    }

    #[test]
    fn shells_run_what_can_be_looked_through() {
        let plain = |arguments: &[&str]| {
            let arguments = arguments.iter().map(|argument| argument.as_bytes());
            decide::is_plain_shell(arguments, &mut |path| path == b"odd")
        };
        for yes in [
            &["-c", "uname -m"][..],
            &["-ec", "true", "odd"],
            &["-c", "-e", "true"],
            &["-o", "errexit", "script", "odd"],
            &["-e", "--", "script"],
            &["+e", "script"],
            &["-", "script"],
        ] {
            assert!(plain(yes), "{yes:?}");
        }
        for no in
            [&[][..], &["-s"], &["-e"], &["-o", "errexit"], &["odd"], &["-c"], &["-c", "[a-é]"]]
        {
            assert!(!plain(no), "{no:?}");
        }
    }

    #[test]
    fn variables_that_change_characters_are_known() {
        for yes in
            ["LC_ALL=de_DE", "LANG=ja_JP.eucJP", "LC_CTYPE=en_US.ISO-8859-1", "LANG=de_DE@euro"]
        {
            assert!(decide::changes_loading(yes.as_bytes()), "{yes}");
        }
        for no in [
            "LC_ALL=C",
            "LANG=",
            "LANG=POSIX",
            "LANG=C.UTF-8",
            "LC_CTYPE=de_DE.utf8",
            "LC_ALL=be_BY.UTF-8@latin",
            "LANGUAGE=de",
        ] {
            assert!(!decide::changes_loading(no.as_bytes()), "{no}");
        }
    }

    #[test]
    fn variables_that_change_loading_are_known() {
        for yes in ["LD_PRELOAD=x", "LD_LIBRARY_PATH=", "GCONV_PATH=/x", "MALLOC_ARENA_MAX=1"] {
            assert!(decide::changes_loading(yes.as_bytes()), "{yes}");
        }
        for no in ["PATH=/bin", "OLD_LD_X=1", "LDFLAGS=-s", ""] {
            assert!(!decide::changes_loading(no.as_bytes()), "{no}");
        }
    }
}
