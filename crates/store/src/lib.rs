//! The host's content store
