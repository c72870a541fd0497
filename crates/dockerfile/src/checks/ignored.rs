//! `CopyIgnoredFile`.

use std::ops::Range;

use super::Found;
use crate::ignore::IgnoreFile;

/// Looks at one source in the build context, with variables expanded.
pub(super) fn check(
    keyword: &str,
    source: &str,
    span: &Range<usize>,
    ignore: &IgnoreFile,
    found: &mut Found<'_>,
) {
    let path = source.replace("/./", "/");
    let path = path.trim_start_matches("./").trim_matches('/');
    let excluded = match path {
        "" | "." => ignore.excludes_all(),
        path => ignore.excludes(path, false) && !ignore.may_reinclude_below(path),
    };
    if excluded {
        let message = format!("{keyword} takes `{source}`, which the ignore file excludes");
        found.warn("CopyIgnoredFile", span.clone(), message, "not in the build context");
    }
}
