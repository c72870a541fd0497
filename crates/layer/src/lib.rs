//! Changesets: file trees to layer tars and back
