//! Speed of writing and applying a layer: 300 MB in files of many sizes.
#![allow(missing_docs, clippy::unwrap_used)]

use std::path::Path;
use std::sync::LazyLock;

use anyarch_layer::{ApplyOptions, Compression, LayerOptions, Root, apply_layer, write_layer};
use divan::counter::BytesCount;

const TOTAL: usize = 300_000_000;

static TREE: LazyLock<tempfile::TempDir> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    let mut state = 7u64;
    let mut next = move || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize
    };
    let (mut written, mut count) = (0, 0);
    while written < TOTAL {
        let size = [200, 2_000, 20_000, 200_000, 2_000_000][next() % 5].min(TOTAL - written);
        let is_text = next() % 4 > 0;
        let content: Vec<u8> = (0..size)
            .map(|at| {
                if is_text {
                    b"etaoin shrdlu\n"[(at * at / 7 + next() % 2) % 14]
                } else {
                    next() as u8
                }
            })
            .collect();
        let directory = folder.path().join(format!("d{}", count / 50));
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join(format!("f{count}")), content).unwrap();
        written += size;
        count += 1;
    }
    folder
});

fn write(path: &Path, compression: Compression) -> Vec<u8> {
    let options = LayerOptions { epoch: 315_532_800, compression, threads: 2, progress: None };
    let mut blob = Vec::new();
    write_layer(None, path, &options, &mut blob).unwrap();
    blob
}

fn main() {
    divan::main();
}

#[divan::bench(args = [Compression::None, Compression::Gzip, Compression::Zstd], sample_count = 3)]
fn write_300_mb(bencher: divan::Bencher<'_, '_>, compression: Compression) {
    let path = TREE.path();
    bencher.counter(BytesCount::new(TOTAL)).bench(|| write(path, compression));
}

#[divan::bench(sample_count = 3)]
fn compare_300_mb_with_an_equal_parent(bencher: divan::Bencher<'_, '_>) {
    let path = TREE.path();
    let copy = tempfile::tempdir().unwrap();
    let root = Root::open(copy.path()).unwrap();
    apply_layer(&write(path, Compression::None)[..], &root, &ApplyOptions::default()).unwrap();
    let options = LayerOptions { epoch: 315_532_800, threads: 2, ..LayerOptions::default() };
    bencher
        .counter(BytesCount::new(TOTAL))
        .bench(|| write_layer(Some(copy.path()), path, &options, &mut std::io::sink()).unwrap());
}

#[divan::bench(args = [Compression::None, Compression::Gzip, Compression::Zstd], sample_count = 3)]
fn apply_300_mb(bencher: divan::Bencher<'_, '_>, compression: Compression) {
    let blob = write(TREE.path(), compression);
    bencher
        .counter(BytesCount::new(TOTAL))
        .with_inputs(|| tempfile::tempdir().unwrap())
        .bench_values(|folder| {
            let root = Root::open(folder.path()).unwrap();
            apply_layer(&blob[..], &root, &ApplyOptions::default()).unwrap();
            folder
        });
}
