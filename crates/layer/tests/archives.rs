//! Generated archives, right ones and damaged ones: none gets out of its root, none panics.
#![allow(clippy::unwrap_used)]

mod checks;
mod common;

use common::raw::{Header, Raw, mend_checksums};
use proptest::prelude::*;

#[derive(Clone, Debug)]
struct Item {
    kind: u8,
    name: String,
    link: String,
    content: Vec<u8>,
    mode: u64,
    long: bool,
    record: Option<(&'static str, Vec<u8>)>,
}

fn name() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        8 => "[a-c]",
        2 => Just("..".to_owned()),
        1 => Just(".".to_owned()),
        1 => Just(String::new()),
        1 => Just("canary".to_owned()),
        1 => Just("file".to_owned()),
        1 => "\\.wh\\.[a-c]?",
        1 => Just(".wh..wh..opq".to_owned()),
        1 => Just("n".repeat(120)),
    ];
    prop::collection::vec(part, 0..5).prop_map(|parts| parts.join("/"))
}

fn item() -> impl Strategy<Value = Item> {
    let kind = prop::sample::select(b"00001122255367SLKxg\0".to_vec());
    let record = (
        prop::sample::select(vec![
            "path",
            "linkpath",
            "size",
            "mtime",
            "uid",
            "GNU.sparse.major",
            "GNU.sparse.size",
            "GNU.sparse.realsize",
            "GNU.sparse.map",
            "SCHILY.xattr.user.a",
            "SCHILY.xattr.trusted.overlay.opaque",
        ]),
        prop_oneof![
            prop::collection::vec(any::<u8>(), 0..8),
            name().prop_map(String::into_bytes),
            "-?[0-9]{1,20}".prop_map(String::into_bytes),
        ],
    );
    let content = prop::collection::vec(any::<u8>(), 0..700);
    let mode = prop::sample::select(vec![0o755, 0o644, 0o4711, 0]);
    (kind, name(), name(), content, mode, any::<bool>(), prop::option::weighted(0.2, record))
        .prop_map(|(kind, name, link, content, mode, long, record)| Item {
            kind,
            name,
            link,
            content,
            mode,
            long,
            record,
        })
}

fn archive(items: &[Item]) -> Raw {
    let mut raw = Raw::new((0, 0));
    for item in items {
        if item.long {
            raw.long(b'L', item.name.as_bytes());
        }
        if let Some((key, value)) = &item.record {
            raw.records(&[(key, value)]);
        }
        let size = if item.kind == b'0' { item.content.len() } else { 0 };
        let header = Header::new(item.kind, item.name.as_bytes())
            .link(item.link.as_bytes())
            .mode(item.mode)
            .size(size as u64);
        raw.add(header, &item.content[..size]);
    }
    raw
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_archive_stays_inside_its_root(items in prop::collection::vec(item(), 0..24)) {
        checks::any_archive(&archive(&items).end());
    }

    #[test]
    fn any_damaged_archive_stays_inside_its_root(
        items in prop::collection::vec(item(), 1..12),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in prop::option::of(any::<prop::sample::Index>()),
        mended in any::<bool>(),
    ) {
        let mut bytes = archive(&items).end();
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        if mended {
            mend_checksums(&mut bytes);
        }
        checks::any_archive(&bytes);
    }

    #[test]
    fn any_bytes_stay_inside_their_root(
        magic in prop::sample::select(vec![
            &b""[..], b"\x1f\x8b\x08\0", b"\x28\xb5\x2f\xfd", b"\xfd7zXZ\0", b"BZh9",
        ]),
        bytes in prop::collection::vec(any::<u8>(), 0..2000),
    ) {
        checks::any_archive(&[magic, &bytes].concat());
    }
}
