//! Reads Dockerfiles as BuildKit does: text to stages and instructions, words to their
//! expansion, `.dockerignore` files to answers.
//!
//! Depends on no other crate of anyarch. Knows no disk, no network, no images and no
//! environment: text comes in as text, variables come from a closure, and whether a stage, file
//! or image exists is the caller's question. The language is that of the Dockerfile reference
//! with BuildKit's extensions (heredocs, mounts, `--link`, `--parents`, `--exclude`, ...).
//!
//! - [`parse`]: a Dockerfile to [`Dockerfile`] and [`Diagnostic`]s with places.
//! - [`parse_trigger`]: the same for one `ONBUILD` trigger of a base image.
//! - [`checks`]: BuildKit's build checks, and ours.
//! - [`Lexer`]: variables, quotes and escapes of one word.
//! - [`IgnoreFile`]: which paths of a build context are left out.
//! - [`path_match`]: the wildcards of COPY and ADD sources.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod arguments;
mod ast;
pub mod checks;
mod command;
mod csv;
mod diagnostic;
mod directive;
mod expand_error;
mod flags;
mod glob;
mod heredoc;
mod ignore;
mod instruction;
mod lexer;
mod mount;
mod mount_error;
mod parser;
mod pattern;
mod run;
mod source;
mod span;
mod units;
mod words;

pub use ast::{
    Add, ArgDef, Command, Copy, Directives, Dockerfile, Healthcheck, Heredoc, Instruction, Kind,
    Stage,
};
pub use diagnostic::{Diagnostic, Severity};
pub use expand_error::{ExpandError, ExpandReason};
pub use glob::{PatternError, path_match};
pub use ignore::{IgnoreError, IgnoreFile};
pub use lexer::{Lexer, Lookup};
pub use mount::{Mount, MountKind, ResolvedMount, Sharing};
pub use mount_error::{MountError, MountProblem};
pub use parser::{parse, parse_trigger};
pub use pattern::PatternSyntaxError;
pub use run::{Device, Invocation, Network, Run, SCRIPT_DIRECTORY, ScriptFile, Security};
pub use span::{Span, Word};
