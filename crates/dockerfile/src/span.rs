//! Places in a Dockerfile: byte ranges, line ranges, and words that know where they stand.

use std::fmt;
use std::ops::{Deref, Range, RangeInclusive};

/// A stretch of the Dockerfile's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// Byte offsets into the text given to [`crate::parse`], on character boundaries.
    pub bytes: Range<usize>,
    /// Line numbers, the first line of the file being 1.
    pub lines: RangeInclusive<usize>,
}

/// One word of an instruction, unexpanded, and the bytes it was written with.
///
/// Reads as a string slice, so a `&Word` can be passed where a `&str` is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// The word before expansion; for words of a JSON array, after JSON unescaping.
    pub text: String,
    /// Where the word stands in the Dockerfile. A word of a JSON array points at the whole array.
    pub span: Range<usize>,
}

impl Word {
    /// The word before expansion.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl Deref for Word {
    type Target = str;

    fn deref(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
