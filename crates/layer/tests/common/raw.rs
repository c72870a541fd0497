//! Archives byte by byte, right and wrong ones: headers with any field, checksums that fit.
#![allow(dead_code, clippy::unwrap_used, unreachable_pub)]

/// An archive in the making.
#[derive(Clone, Debug, Default)]
pub struct Raw {
    pub bytes: Vec<u8>,
    owner: (u32, u32),
}

/// One header block; what is not set is as in an ordinary entry of GNU or POSIX tar.
#[derive(Clone, Debug)]
pub struct Header(pub [u8; 512]);

impl Header {
    /// An ustar header of this type and name, cut to its field.
    pub fn new(kind: u8, name: &[u8]) -> Header {
        let mut header = Header([0; 512]);
        header.0[156] = kind;
        header.0[257..265].copy_from_slice(b"ustar\x0000");
        header.text(0, 100, name).octal(100, 8, 0o644).octal(136, 12, 1_000_000).size(0).owner(0, 0)
    }

    /// A text field.
    pub fn text(mut self, at: usize, length: usize, text: &[u8]) -> Header {
        self.0[at..at + length].fill(0);
        let length = text.len().min(length);
        self.0[at..at + length].copy_from_slice(&text[..length]);
        self
    }

    /// A number in octal digits and a NUL.
    pub fn octal(self, at: usize, length: usize, number: u64) -> Header {
        let digits = length - 1;
        self.text(at, length, format!("{number:0digits$o}\0").as_bytes())
    }

    /// A number in GNU's base 256.
    pub fn binary(mut self, at: usize, length: usize, number: i128) -> Header {
        let bytes = number.to_be_bytes();
        self.0[at..at + length].copy_from_slice(&bytes[bytes.len() - length..]);
        self.0[at] |= 0x80;
        self
    }

    pub fn size(self, size: u64) -> Header {
        match size < 1 << 33 {
            true => self.octal(124, 12, size),
            false => self.binary(124, 12, size.into()),
        }
    }

    pub fn mode(self, mode: u64) -> Header {
        self.octal(100, 8, mode)
    }

    pub fn owner(self, uid: u32, gid: u32) -> Header {
        self.octal(108, 8, uid.into()).octal(116, 8, gid.into())
    }

    pub fn link(self, target: &[u8]) -> Header {
        self.text(157, 100, target)
    }

    pub fn device(self, major: u64, minor: u64) -> Header {
        self.octal(329, 8, major).octal(337, 8, minor)
    }

    /// The block, with a checksum that fits.
    pub fn finish(mut self) -> [u8; 512] {
        set_checksum(&mut self.0);
        self.0
    }
}

fn set_checksum(block: &mut [u8]) {
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

impl Raw {
    /// An archive whose entries belong to this user.
    pub fn new(owner: (u32, u32)) -> Raw {
        Raw { bytes: Vec::new(), owner }
    }

    /// Any header and content, filled up to whole blocks.
    pub fn add(&mut self, header: Header, content: &[u8]) -> &mut Raw {
        self.bytes.extend(header.finish());
        self.bytes.extend(content);
        self.bytes.resize(self.bytes.len().next_multiple_of(512), 0);
        self
    }

    /// A header as the owner of this archive has it.
    pub fn header(&self, kind: u8, name: &[u8]) -> Header {
        Header::new(kind, name).owner(self.owner.0, self.owner.1)
    }

    pub fn file(&mut self, name: &str, content: &str) -> &mut Raw {
        let header = self.header(b'0', name.as_bytes()).size(content.len() as u64);
        self.add(header, content.as_bytes())
    }

    pub fn dir(&mut self, name: &str) -> &mut Raw {
        let header = self.header(b'5', name.as_bytes()).mode(0o755);
        self.add(header, b"")
    }

    pub fn symlink(&mut self, name: &str, target: &str) -> &mut Raw {
        let header = self.header(b'2', name.as_bytes()).link(target.as_bytes());
        self.add(header, b"")
    }

    pub fn hard_link(&mut self, name: &str, target: &str) -> &mut Raw {
        let header = self.header(b'1', name.as_bytes()).link(target.as_bytes());
        self.add(header, b"")
    }

    /// An extended header with this text, records or not.
    pub fn pax(&mut self, records: &[u8]) -> &mut Raw {
        let header = self.header(b'x', b"PaxHeaders/x").size(records.len() as u64);
        self.add(header, records)
    }

    /// An extended header with well-formed records.
    pub fn records(&mut self, records: &[(&str, &[u8])]) -> &mut Raw {
        let text: Vec<u8> = records.iter().flat_map(|(key, value)| record(key, value)).collect();
        self.pax(&text)
    }

    /// GNU's long name (`L`) or long target (`K`) of the next entry.
    pub fn long(&mut self, kind: u8, name: &[u8]) -> &mut Raw {
        let header = self.header(kind, b"././@LongLink").size(name.len() as u64);
        self.add(header, name)
    }

    /// The archive with its end mark.
    pub fn end(&self) -> Vec<u8> {
        [&self.bytes[..], &[0; 1024]].concat()
    }
}

/// One pax record; the length counts its own digits.
pub fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let length = (1..20)
        .map(|digits| rest + digits)
        .find(|length| rest + length.to_string().len() == *length);
    [format!("{} {key}=", length.unwrap()).as_bytes(), value, b"\n"].concat()
}

/// Gives every block that a reader takes for a header the checksum that fits, so that changed bytes
/// get further than to the first check.
pub fn mend_checksums(bytes: &mut [u8]) {
    let mut at = 0;
    while let Some(block) = bytes.get_mut(at..at + 512) {
        at += 512;
        if block.iter().all(|byte| *byte == 0) {
            continue;
        }
        set_checksum(block);
        let digits = block[124..136].iter().filter(|byte| byte.is_ascii_digit());
        let size = digits
            .fold(0usize, |size, digit| size.wrapping_mul(8).wrapping_add(usize::from(digit & 7)));
        if size < bytes.len() {
            at += size.next_multiple_of(512);
        }
    }
}
