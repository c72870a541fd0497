//! rpm's database (`rpmdb.sqlite`, rpm 4.16 and newer): the header of each package as a blob.
//!
//! A header is an index of tags and a store of their values (rpm, "Package File Format", header
//! structure), here without the magic and the count of bytes that it has in a package file. The
//! Berkeley database of older versions is not read.

use std::path::Path;

use anyarch_layer::Root;

use super::{Listed, Package, Sum, path_of, sqlite};

/// Folders that it may be in.
const PLACES: [&str; 2] = ["/usr/lib/sysimage/rpm", "/var/lib/rpm"];
const NAME: &str = "rpmdb.sqlite";

/// Tags.
mod tag {
    pub(super) const NAME: u32 = 1000;
    pub(super) const VERSION: u32 = 1001;
    pub(super) const RELEASE: u32 = 1002;
    pub(super) const EPOCH: u32 = 1003;
    pub(super) const FILE_DIGESTS: u32 = 1035;
    pub(super) const DIR_INDEXES: u32 = 1116;
    pub(super) const BASE_NAMES: u32 = 1117;
    pub(super) const DIR_NAMES: u32 = 1118;
    pub(super) const FILE_DIGEST_ALGORITHM: u32 = 5011;
}

/// Reads the database; `None` where the tree has none that can be read, or one that a process has
/// not written to its end.
pub(super) fn read(root: &Root) -> Option<Listed> {
    let folder = PLACES.iter().map(Path::new).find(|place| root.exists(&place.join(NAME)))?;
    let journal = root.metadata(&folder.join(format!("{NAME}-wal")));
    if journal.is_ok_and(|journal| journal.size > 0) {
        return None;
    }
    let bytes = super::read(root, &folder.join(NAME))?;
    let mut listed = Listed::default();
    for row in sqlite::blobs(&bytes, "Packages", 1)? {
        add(&mut listed, &Header::read(&row)?)?;
    }
    Some(listed)
}

/// Takes in one package; `None` where its header is damaged.
fn add(listed: &mut Listed, header: &Header<'_>) -> Option<()> {
    let one = |tag| header.strings(tag)?.into_iter().next();
    let epoch = header.numbers(tag::EPOCH).and_then(|epoch| epoch.first().copied());
    let epoch = epoch.map(|epoch| format!("{epoch}:")).unwrap_or_default();
    let version = format!("{epoch}{}-{}", one(tag::VERSION)?, one(tag::RELEASE)?);
    let number = listed.packages.len();
    listed.packages.push(Package { name: one(tag::NAME)?, version });
    // Packages without files have none of these.
    let Some(names) = header.strings(tag::BASE_NAMES) else { return Some(()) };
    let (folders, indexes) = (header.strings(tag::DIR_NAMES)?, header.numbers(tag::DIR_INDEXES)?);
    let digests = header.strings(tag::FILE_DIGESTS)?;
    let algorithm = header.numbers(tag::FILE_DIGEST_ALGORITHM);
    // RFC 4880, 9.4.
    let sum: fn(String) -> Sum = match algorithm.and_then(|numbers| numbers.first().copied()) {
        None | Some(1) => Sum::Md5,
        Some(2) => Sum::Sha1,
        Some(8) => Sum::Sha256,
        Some(_) => return Some(()),
    };
    for ((name, index), digest) in names.iter().zip(indexes).zip(digests) {
        // Directories and links have no digest.
        if !digest.is_empty() {
            let folder = folders.get(usize::try_from(index).ok()?)?;
            if let Some(path) = path_of(Path::new(folder), name) {
                listed.files.insert(path, (number, sum(digest)));
            }
        }
    }
    Some(())
}

/// The header of a package.
struct Header<'a> {
    /// Entries of 16 bytes: tag, type, offset, count.
    index: &'a [u8],
    store: &'a [u8],
}

impl<'a> Header<'a> {
    fn read(bytes: &'a [u8]) -> Option<Header<'a>> {
        let count = usize::try_from(number(bytes, 0)?).ok()?;
        let length = usize::try_from(number(bytes, 4)?).ok()?;
        let rest = bytes.get(8..)?;
        let split = count.checked_mul(16)?;
        let index = rest.get(..split)?;
        Some(Header { index, store: rest.get(split..split.checked_add(length)?)? })
    }

    /// Type, store from the value on, and count of a tag.
    fn entry(&self, tag: u32) -> Option<(u32, &'a [u8], usize)> {
        let entry = self.index.chunks_exact(16).find(|entry| number(entry, 0) == Some(tag))?;
        let offset = usize::try_from(number(entry, 8)?).ok()?;
        let count = usize::try_from(number(entry, 12)?).ok()?;
        Some((number(entry, 4)?, self.store.get(offset..)?, count))
    }

    /// Values of the types string, array of strings and translated string.
    fn strings(&self, tag: u32) -> Option<Vec<String>> {
        let (6 | 8 | 9, store, count) = self.entry(tag)? else { return None };
        let strings: Vec<String> = store
            .split(|byte| *byte == 0)
            .take(count)
            .map(|text| String::from_utf8_lossy(text).into_owned())
            .collect();
        (strings.len() == count).then_some(strings)
    }

    /// Values of the type 32 bit integer.
    fn numbers(&self, tag: u32) -> Option<Vec<u32>> {
        let (4, store, count) = self.entry(tag)? else { return None };
        let bytes = store.get(..count.checked_mul(4)?)?;
        bytes.chunks_exact(4).map(|four| number(four, 0)).collect()
    }
}

/// Four bytes, the highest first.
fn number(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_be_bytes(four.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::Command;

    use super::*;

    /// How many packages there are besides the first.
    const PARTS: usize = 40;

    /// Packages made and recorded by rpm's own programs: enough of them, and of files, for every kind
    /// of page.
    fn database() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        let mut spec = "Name: demo\nEpoch: 2\nVersion: 1.5\nRelease: 3\nSummary: x\nLicense: x\n\
            BuildArch: noarch\n%description\nx\n%install\nmkdir -p %{buildroot}/usr/bin\n\
            echo a > %{buildroot}/usr/bin/a\nln -s a %{buildroot}/usr/bin/b\n\
            for i in $(seq 400); do echo $i > %{buildroot}/usr/bin/file-$i; done\n\
            %files\n/usr/bin/a\n/usr/bin/b\n/usr/bin/file-*\n"
            .to_owned();
        for part in 0..PARTS {
            spec +=
                &format!("%package p{part}\nSummary: x\n%description p{part}\n%files p{part}\n");
        }
        fs::write(at("demo.spec"), spec).unwrap();
        let run = |program: &str, arguments: &[&str]| {
            let done = Command::new(program).env("HOME", folder.path()).args(arguments).output();
            let done = done.unwrap_or_else(|_| panic!("{program} is missing: run scripts/setup"));
            assert!(done.status.success(), "{program}: {done:?}");
        };
        let top = format!("_topdir {}", at("top"));
        run("rpmbuild", &["-bb", "--define", &top, &at("demo.spec")]);
        fs::create_dir_all(at("tree/var/lib/rpm")).unwrap();
        let place = at("tree/var/lib/rpm");
        let made = fs::read_dir(at("top/RPMS/noarch")).unwrap().map(|entry| entry.unwrap().path());
        let made: Vec<String> = made.map(|path| path.display().to_string()).collect();
        let mut install = vec!["--dbpath", &place, "-i", "--justdb", "--nodeps", "--nosignature"];
        install.extend(made.iter().map(String::as_str));
        run("rpm", &install);
        folder
    }

    #[test]
    fn what_rpm_recorded_is_read() {
        let folder = database();
        let root = Root::open(&folder.path().join("tree")).unwrap();
        let listed = read(&root).unwrap();
        assert_eq!(listed.packages.len(), PARTS + 1);
        let owner = |path: &str| {
            let (number, sum) = listed.files.get(Path::new(path))?;
            let package = &listed.packages[*number];
            Some((package.name.as_str(), package.version.as_str(), sum.clone()))
        };
        // SHA-256 of "a\n" and of "400\n".
        for (path, sum) in [
            ("/usr/bin/a", "87428fc522803d31065e7bce3cf03fe475096631e5e07bbd7a0fde60c4cf25c7"),
            (
                "/usr/bin/file-400",
                "e4df891c484d7abb985dadf539fa1883a646dab6337af5cae4159c587b7050cc",
            ),
        ] {
            let sum = Sum::Sha256(sum.to_owned());
            assert_eq!(owner(path), Some(("demo", "2:1.5-3", sum)), "{path}");
        }
        assert_eq!(owner("/usr/bin/b"), None, "links have no digest");
        assert!(listed.packages.iter().any(|package| package.name == "demo-p7"));

        // What is not written to its end is not believed.
        fs::write(folder.path().join("tree/var/lib/rpm/rpmdb.sqlite-wal"), "more").unwrap();
        assert!(read(&root).is_none());
    }

    #[test]
    fn damaged_databases_are_none() {
        let folder = database();
        let root = Root::open(&folder.path().join("tree")).unwrap();
        let place = folder.path().join("tree/var/lib/rpm/rpmdb.sqlite");
        let whole = fs::read(&place).unwrap();
        for length in (0..whole.len()).step_by(4093) {
            fs::write(&place, &whole[..length]).unwrap();
            drop(read(&root));
        }
        // Any byte may be wrong; nothing panics, and nothing is read for ever.
        for at in (0..whole.len()).step_by(641) {
            let mut bytes = whole.clone();
            bytes[at] ^= 0xff;
            fs::write(&place, &bytes).unwrap();
            drop(read(&root));
        }
    }
}
