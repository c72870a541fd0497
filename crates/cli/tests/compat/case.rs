//! Case files to cases.
//!
//! A case file is text. `== NAME` opens a case, `-- KIND …` a section of it, and what follows up to the
//! next of these is the section's body; lines before the first case are comments. Sections:
//!
//! - `-- Dockerfile`: the Dockerfile; with `escaped` behind it the body has `\n`, `\r`, `\t`, `\\` and
//!   `\xHH` escapes, and line ends that are not escaped do not count.
//! - `-- file PATH [ATTRIBUTES]`: a file of the context; the body is its content (`escaped` as above).
//! - `-- dir PATH [ATTRIBUTES]`, `-- fifo PATH …`, `-- char PATH device=MAJOR:MINOR …`, `-- socket PATH`,
//!   `-- link PATH -> TARGET`, `-- hard PATH -> TARGET`: other entries of the context.
//! - `-- archive PATH`: a tar archive in the context, compressed as its name says. The body lists its
//!   entries, one a line: `file PATH [ATTRIBUTES] = CONTENT`, and the others as above.
//! - `-- beside PATH`: a file beside the context, for `{BESIDE}` in arguments.
//! - `-- url NAME`: a file that `{HTTP}/NAME` serves.
//! - `-- args`: further arguments of the build, separated by blanks and line ends.
//! - `-- fails`: both builds must fail; others must succeed.
//! - `-- differs`: the differences that must be there, and no others, as the report prints them.
//! - `-- expect SECTION OF THE REFERENCE`: anyarch alone is run, and must leave this.
//!
//! Attributes are `mode=`, `owner=UID:GID`, `mtime=` (seconds) and `xattr.NAME=VALUE` (escaped as above).
//! In differs and expect, lines that begin with `#` are comments.

use std::collections::BTreeMap;

/// When files of a context were changed, unless the case says otherwise.
pub const CONTEXT_TIME: u64 = 1_234_567_890;

/// The same for what is in archives.
const ARCHIVE_TIME: u64 = 1_100_000_000;

/// One Dockerfile and what belongs to it.
#[derive(Debug, Default)]
pub struct Case {
    /// The name of its file and its own.
    pub name: String,
    pub dockerfile: Vec<u8>,
    pub context: Vec<Entry>,
    pub sockets: Vec<String>,
    pub beside: Vec<(String, Vec<u8>)>,
    pub urls: Vec<(String, Vec<u8>)>,
    pub args: Vec<String>,
    pub fails: bool,
    pub differs: Vec<String>,
    /// What anyarch must leave, where BuildKit cannot be asked.
    pub expect: Option<Vec<String>>,
}

/// An entry of a context or an archive.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub path: String,
    pub kind: Kind,
    pub mode: u32,
    pub owner: (u64, u64),
    pub mtime: u64,
    pub xattrs: BTreeMap<String, Vec<u8>>,
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    File(Vec<u8>),
    Directory,
    Link(String),
    Hard(String),
    Fifo,
    Char(u32, u32),
    Archive(Vec<Entry>),
}

/// Reads a case file; `file` is its name without the ending.
pub fn read(file: &str, text: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    let mut section: Option<(String, String)> = None;
    for (number, line) in text.lines().enumerate() {
        let opens = line.strip_prefix("== ").map(|name| (true, name));
        let opens = opens.or_else(|| line.strip_prefix("-- ").map(|head| (false, head)));
        let Some((is_case, head)) = opens else {
            if let Some((_, body)) = &mut section {
                body.push_str(line);
                body.push('\n');
            }
            continue;
        };
        if let (Some((head, body)), Some(case)) = (section.take(), cases.last_mut()) {
            case.section(&head, &body);
        }
        if is_case {
            cases.push(Case { name: format!("{file}: {head}"), ..Case::default() });
        } else {
            assert!(!cases.is_empty(), "{file}:{}: a section outside of a case", number + 1);
            section = Some((head.to_owned(), String::new()));
        }
    }
    if let (Some((head, body)), Some(case)) = (section, cases.last_mut()) {
        case.section(&head, &body);
    }
    for case in &cases {
        assert!(!case.dockerfile.is_empty(), "{} has no Dockerfile", case.name);
    }
    cases
}

impl Case {
    fn section(&mut self, head: &str, body: &str) {
        let (kind, rest) = head.split_once(' ').unwrap_or((head, ""));
        // The blank line before the next section is there for the eye.
        let body = body.strip_suffix("\n\n").map_or(body.to_owned(), |body| format!("{body}\n"));
        let body = if body == "\n" { String::new() } else { body };
        let rest_without = rest.strip_suffix("escaped").map(str::trim_end);
        let content = match rest_without {
            Some(_) => unescape(&body),
            None => body.clone().into_bytes(),
        };
        let rest = rest_without.unwrap_or(rest);
        let lines = || body.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
        match kind {
            "Dockerfile" => self.dockerfile = content,
            "socket" => self.sockets.push(rest.to_owned()),
            "beside" => self.beside.push((rest.to_owned(), content)),
            "url" => self.urls.push((rest.to_owned(), content)),
            "args" => {
                let words = rest.split_whitespace().chain(body.split_whitespace());
                self.args = words.map(str::to_owned).collect();
            }
            "fails" => self.fails = true,
            "differs" => self.differs = lines().map(str::to_owned).collect(),
            "expect" => self.expect = Some(lines().map(str::to_owned).collect()),
            "archive" => {
                let entries = lines().map(|line| entry(line, None, &self.name)).collect();
                let mut archive = entry(&format!("file {rest}"), Some(Vec::new()), &self.name);
                archive.kind = Kind::Archive(entries);
                self.context.push(archive);
            }
            _ => {
                let entry = entry(&format!("{kind} {rest}"), Some(content), &self.name);
                self.context.push(entry);
            }
        }
    }
}

/// An entry as one line: kind, path, attributes, target or content.
fn entry(line: &str, content: Option<Vec<u8>>, case: &str) -> Entry {
    let mtime = if content.is_some() { CONTEXT_TIME } else { ARCHIVE_TIME };
    let (line, content) = match (line.split_once(" = "), content) {
        (_, Some(content)) => (line, content),
        (Some((line, text)), None) => (line, format!("{text}\n").into_bytes()),
        (None, None) => (line, Vec::new()),
    };
    let (line, target) = line.split_once(" -> ").unwrap_or((line, ""));
    let mut words = line.split_whitespace();
    let kind = words.next().unwrap_or_default();
    let path = words.next().unwrap_or_else(|| panic!("{case}: `{line}` has no path")).to_owned();
    let kind = match kind {
        "file" => Kind::File(content),
        "dir" => Kind::Directory,
        "link" => Kind::Link(target.to_owned()),
        "hard" => Kind::Hard(target.to_owned()),
        "fifo" => Kind::Fifo,
        "char" => Kind::Char(0, 0),
        _ => panic!("{case}: `{kind}` is no kind of section or entry"),
    };
    let mode = if kind == Kind::Directory { 0o755 } else { 0o644 };
    let mut entry = Entry { path, kind, mode, owner: (0, 0), mtime, xattrs: BTreeMap::new() };
    for word in words {
        let (name, value) = word.split_once('=').unwrap_or((word, ""));
        let number = || value.parse().unwrap_or_else(|_| panic!("{case}: {word}"));
        let pair = || {
            let (first, second) = value.split_once(':').unwrap_or((value, value));
            (first.parse::<u64>().unwrap(), second.parse::<u64>().unwrap())
        };
        match name {
            "mode" => entry.mode = u32::from_str_radix(value, 8).unwrap(),
            "owner" => entry.owner = pair(),
            "mtime" => entry.mtime = number(),
            "device" => {
                let (major, minor) = pair();
                entry.kind = Kind::Char(major.try_into().unwrap(), minor.try_into().unwrap());
            }
            _ => match name.strip_prefix("xattr.") {
                Some(name) => drop(entry.xattrs.insert(name.to_owned(), unescape(value))),
                None => panic!("{case}: `{word}` is no attribute"),
            },
        }
    }
    entry
}

/// The bytes that escapes stand for, without line ends that are not escaped.
fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'\n' => {}
            b'\\' => match rest.next().unwrap() {
                b'n' => bytes.push(b'\n'),
                b'r' => bytes.push(b'\r'),
                b't' => bytes.push(b'\t'),
                b'x' => {
                    let digits = [rest.next().unwrap(), rest.next().unwrap()];
                    let digits = std::str::from_utf8(&digits).unwrap();
                    bytes.push(u8::from_str_radix(digits, 16).unwrap());
                }
                other => bytes.push(other),
            },
            byte => bytes.push(byte),
        }
    }
    bytes
}

#[test]
fn a_case_file_is_read() {
    let text = "words\n== one\n-- Dockerfile\nFROM base\n\n-- file a/b mode=0600 mtime=5\nx\ny\n\n\
                -- archive c.tar\ndir d owner=1:2\nfile d/f = text\nhard d/h -> d/f\n\
                -- fails\n== two\n-- Dockerfile escaped\nFROM base\\r\\n\n\\xc3\\\\\n\
                -- args --target x\n";
    let cases = read("name", text);
    let [one, two] = &cases[..] else { panic!("{cases:?}") };
    assert_eq!((one.name.as_str(), one.dockerfile.as_slice()), ("name: one", &b"FROM base\n"[..]));
    let file = &one.context[0];
    assert_eq!((file.path.as_str(), file.mode, file.mtime), ("a/b", 0o600, 5));
    assert_eq!(file.kind, Kind::File(b"x\ny\n".to_vec()));
    let Kind::Archive(entries) = &one.context[1].kind else { panic!("{:?}", one.context) };
    assert_eq!(
        (entries[0].owner, entries[1].kind.clone()),
        ((1, 2), Kind::File(b"text\n".to_vec()))
    );
    assert_eq!(entries[2].kind, Kind::Hard("d/f".to_owned()));
    assert!(one.fails && !two.fails);
    assert_eq!(two.dockerfile, b"FROM base\r\n\xc3\\");
    assert_eq!(two.args, ["--target", "x"]);
}
