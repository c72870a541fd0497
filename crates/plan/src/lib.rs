//! The plan file `anyarch.toml`: text → [`PlanFile`] and diagnostics → [`Plan`] → targets and tags.
//!
//! [`parse`] takes the text apart and [`check`] finds out what it means; [`read`] does both. From a
//! plan, [`target`] and [`publish`] turn names on the command line into tiers of members, and
//! [`tags`] names what was built. [`json_schema`] describes the file to editors, and [`init`] writes
//! one from existing Dockerfiles.
//!
//! Depends on the names of `anyarch-oci`, a TOML parser that keeps places, and minijinja for tag
//! templates. Never knows disks, networks, environment variables or terminals: the caller reads the
//! file, and renders the diagnostics.

mod check;
mod context;
mod diagnostic;
mod file;
pub mod init;
mod names;
mod plan;
mod platforms;
pub mod publish;
mod schema;
mod shape;
pub mod tags;
pub mod target;
mod target_error;
mod template;
mod validate;

pub use check::check;
pub use context::{ContextSource, is_remote};
pub use diagnostic::{Diagnostic, Severity};
pub use file::{
    BaseTable, DebianTable, FlavorTable, IndexTable, OnTable, PlanFile, ProjectTable, Spanned,
    TagsTable, Text, TierTable, parse,
};
pub use plan::{
    Base, DEFAULT_EPOCH, DebianSource, Flavor, Index, Member, Plan, Project, Sources, TagTemplate,
    TagTemplates, Tier, Version,
};
pub use schema::json_schema;
pub use target::{Selection, TargetError, matches as pattern_matches};
pub use template::TemplateError;

/// Parses and checks the text of a plan; the error holds every finding, in the order of the text.
pub fn read(text: &str) -> Result<Plan, Vec<Diagnostic>> {
    let (file, mut found) = parse(text);
    match check(&file) {
        Ok(plan) => Ok(plan),
        Err(more) => {
            found.extend(more);
            found.sort_by_key(|finding| finding.span.start);
            Err(found)
        }
    }
}
