//! The plan file, its diagnostics, targets and tags
