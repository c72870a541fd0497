//! Speed of the gzip writer by level and by number of threads, on 64 MiB of text, noise and zeros.
//!
//! Set `ANYARCH_BENCH_FILE` to measure on a file instead (a tar of /usr, say).
#![allow(missing_docs, clippy::unwrap_used)]

use std::sync::LazyLock;

use divan::counter::BytesCount;

static INPUT: LazyLock<Vec<u8>> = LazyLock::new(|| match std::env::var_os("ANYARCH_BENCH_FILE") {
    Some(path) => std::fs::read(path).unwrap(),
    None => mixture(64 << 20),
});

fn mixture(size: usize) -> Vec<u8> {
    let mut state = 1u64;
    let mut next = move || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u32
    };
    let words = ["layer", "digest", "the ", "of ", "snapshot\n", "0x", "= ", "/usr/lib/", "fn "];
    let mut bytes = Vec::with_capacity(size);
    while bytes.len() < size {
        match next() % 16 {
            0 => bytes.extend((0..10_000).map(|_| next() as u8)),
            1 => bytes.resize(bytes.len() + 10_000, 0),
            _ => (0..2000)
                .for_each(|_| bytes.extend(words[next() as usize % words.len()].as_bytes())),
        }
    }
    bytes
}

fn main() {
    divan::main();
}

#[divan::bench(args = [1, 2, 3, 4, 6], sample_count = 3)]
fn level(bencher: divan::Bencher<'_, '_>, level: u32) {
    bencher.counter(BytesCount::new(INPUT.len())).bench(|| {
        anyarch_layer::gzip::compress_at(level, &mut &INPUT[..], &mut std::io::sink(), 2).unwrap()
    });
}

#[divan::bench(args = [1, 2, 4], sample_count = 3)]
fn threads(bencher: divan::Bencher<'_, '_>, threads: usize) {
    bencher.counter(BytesCount::new(INPUT.len())).bench(|| {
        anyarch_layer::gzip::compress(&mut &INPUT[..], &mut std::io::sink(), threads).unwrap()
    });
}
