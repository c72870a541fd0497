//! Any bytes as a layer and as an archive. Where the first byte is even, headers get the checksum that fits
//! before, or no changed byte would ever come further.
#![no_main]

#[path = "../../crates/layer/tests/checks/mod.rs"]
mod checks;
#[path = "../../crates/layer/tests/common/raw.rs"]
mod raw;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((first, archive)) = bytes.split_first() else { return };
    let mut archive = archive.to_vec();
    if first % 2 == 0 {
        raw::mend_checksums(&mut archive);
    }
    checks::any_archive(&archive);
});
