//! What Debian archives are made of: package files, and the key that signs an index.

use std::io::Write;

use pgp::composed::{CleartextSignedMessage, KeyType, SecretKeyParamsBuilder, SignedSecretKey};
use pgp::ser::Serialize;
use pgp::types::{KeyDetails, Password, Timestamp};

/// Repeatable "randomness" (splitmix64) for test keys.
struct TestRandom(u64);

impl rand_core::RngCore for TestRandom {
    fn next_u32(&mut self) -> u32 {
        self.next_u64() as u32
    }

    fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.next_u64().to_le_bytes()[..chunk.len()]);
        }
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), rand_core::Error> {
        self.fill_bytes(bytes);
        Ok(())
    }
}

impl rand_core::CryptoRng for TestRandom {}

/// An OpenPGP key.
pub struct SigningKey(SignedSecretKey);

impl SigningKey {
    /// The same key for the same seed.
    pub fn new(seed: u64) -> SigningKey {
        let mut params = SecretKeyParamsBuilder::default();
        params
            .key_type(KeyType::Ed25519Legacy)
            .created_at(Timestamp::from_secs(1_700_000_000))
            .can_certify(true)
            .can_sign(true)
            .primary_user_id("Archive Key <archive@mirror.example>".into());
        SigningKey(params.build().unwrap().generate(TestRandom(seed)).unwrap())
    }

    /// Key id, 16 digits.
    pub fn id(&self) -> String {
        self.0.primary_key.legacy_key_id().to_string().to_uppercase()
    }

    /// The public key as a keyring.
    pub fn public(&self) -> Vec<u8> {
        self.0.to_public_key().to_bytes().unwrap()
    }

    /// A cleartext-signed message.
    pub fn sign(&self, text: &str) -> Vec<u8> {
        let password = Password::empty();
        let message =
            CleartextSignedMessage::sign(TestRandom(7), text, &self.0.primary_key, &password);
        message.unwrap().to_armored_bytes(Default::default()).unwrap()
    }
}

/// One entry of a package's data.
#[derive(Clone)]
pub struct Entry {
    path: String,
    kind: tar::EntryType,
    mode: u32,
    content: Vec<u8>,
}

impl Entry {
    /// A file of mode 0644.
    pub fn file(path: &str, content: impl AsRef<[u8]>) -> Entry {
        Entry {
            path: path.into(),
            kind: tar::EntryType::Regular,
            mode: 0o644,
            content: content.as_ref().to_vec(),
        }
    }

    /// A file that can be run.
    pub fn program(path: &str, content: impl AsRef<[u8]>) -> Entry {
        Entry { mode: 0o755, ..Entry::file(path, content) }
    }

    /// A link: symbolic, or hard when `content` begins with `./`.
    pub fn link(path: &str, target: &str) -> Entry {
        let kind =
            if target.starts_with("./") { tar::EntryType::Link } else { tar::EntryType::Symlink };
        Entry { path: path.into(), kind, mode: 0o777, content: target.into() }
    }

    /// A directory.
    pub fn folder(path: &str, mode: u32) -> Entry {
        Entry { path: path.into(), kind: tar::EntryType::Directory, mode, content: Vec::new() }
    }
}

/// A package being made.
#[derive(Clone)]
pub struct Package {
    /// The control file.
    pub control: String,
    files: Vec<(String, String, u32)>,
    entries: Vec<Entry>,
}

impl Package {
    /// A package for amd64 without files.
    pub fn new(name: &str, version: &str) -> Package {
        let control = format!("Package: {name}\nVersion: {version}\nArchitecture: amd64\n");
        Package { control, files: Vec::new(), entries: vec![Entry::folder("", 0o755)] }
    }

    /// Adds a field to the control file.
    pub fn field(mut self, name: &str, value: &str) -> Package {
        self.control.push_str(&format!("{name}: {value}\n"));
        self
    }

    /// Adds a maintainer script or another control file.
    pub fn script(mut self, name: &str, content: &str) -> Package {
        let mode = if content.starts_with("#!") { 0o755 } else { 0o644 };
        self.files.push((name.to_owned(), content.to_owned(), mode));
        self
    }

    /// Adds a file.
    pub fn entry(mut self, entry: Entry) -> Package {
        self.entries.push(entry);
        self
    }

    /// The `.deb`, its members compressed as the ending says (`.gz`, `.xz`, `.zst` or nothing).
    pub fn build(&self, ending: &str) -> Vec<u8> {
        let mut control = vec![Entry::file("control", &self.control)];
        for (name, content, mode) in &self.files {
            control.push(Entry { mode: *mode, ..Entry::file(name, content) });
        }
        let mut deb = b"!<arch>\n".to_vec();
        let members = [
            ("debian-binary".to_owned(), b"2.0\n".to_vec()),
            (format!("control.tar{ending}"), compress(&tar_of(&control), ending)),
            (format!("data.tar{ending}"), compress(&tar_of(&self.entries), ending)),
        ];
        for (name, content) in members {
            let size = content.len();
            writeln!(deb, "{name:<16}{:<12}{:<6}{:<6}{:<8}{size:<10}`", 0, 0, 0, 100_644).unwrap();
            deb.extend_from_slice(&content);
            if content.len() % 2 == 1 {
                deb.push(b'\n');
            }
        }
        deb
    }
}

fn tar_of(entries: &[Entry]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for entry in entries {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(entry.kind);
        header.set_mode(entry.mode);
        header.set_mtime(1_000_000);
        header.set_uid(0);
        header.set_gid(0);
        let path = format!("./{}", entry.path);
        if matches!(entry.kind, tar::EntryType::Link | tar::EntryType::Symlink) {
            header.set_size(0);
            let target = String::from_utf8_lossy(&entry.content).into_owned();
            builder.append_link(&mut header, path, target).unwrap();
        } else {
            header.set_size(entry.content.len() as u64);
            builder.append_data(&mut header, path, entry.content.as_slice()).unwrap();
        }
    }
    builder.into_inner().unwrap()
}

/// Compresses as an ending says.
pub fn compress(bytes: &[u8], ending: &str) -> Vec<u8> {
    match ending {
        ".gz" => {
            let mut encoder =
                flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
        ".xz" => {
            let mut encoder =
                lzma_rust2::XzWriter::new(Vec::new(), lzma_rust2::XzOptions::with_preset(1))
                    .unwrap();
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
        ".zst" => zstd::encode_all(bytes, 1).unwrap(),
        _ => bytes.to_vec(),
    }
}
