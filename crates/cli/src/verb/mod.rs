//! The verbs: one file each, with its arguments and the one function that carries it out.

pub(crate) mod build;
pub(crate) mod check;
pub(crate) mod completions;
pub(crate) mod export;
pub(crate) mod images;
pub(crate) mod init;
pub(crate) mod lock;
pub(crate) mod man;
pub(crate) mod plan;
pub(crate) mod publish;
pub(crate) mod release;
pub(crate) mod schema;
pub(crate) mod serve;
pub(crate) mod tags;
pub(crate) mod why;
