//! `anyarch schema`: describes the plan file to editors.

use crate::failure::Failure;
use crate::global::Global;
use crate::output;

/// Print the JSON schema of the plan file
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

/// Carries it out.
pub(crate) fn run(_: &Args, _: &Global) -> Result<(), Failure> {
    output::print_json(&anyarch_plan::json_schema())
}
