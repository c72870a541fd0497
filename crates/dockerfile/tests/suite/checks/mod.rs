//! What must hold for any input, as functions that panic where it does not: the property tests call
//! them with generated input, the fuzz targets in `fuzz/` with whatever the fuzzer makes up.
#![allow(clippy::unwrap_used, dead_code, reason = "tests; not every user calls every check")]

pub(crate) mod expander;
pub(crate) mod ignore;
pub(crate) mod parser;
