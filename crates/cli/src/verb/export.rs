//! `anyarch export`: writes images to files.

use std::path::PathBuf;
use std::str::FromStr;

use anyarch_engine::{Output, export};

use crate::args::{StepArgs, TargetArgs};
use crate::failure::Failure;
use crate::files;
use crate::global::Global;
use crate::output;
use crate::text;
use crate::verb::build;

/// Write images to files, for other tools to load
///
/// Builds what is not built.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    targets: TargetArgs,
    /// Where to: oci:DIR, oci-archive:FILE or docker-archive:FILE
    #[arg(long, short, value_name = "OUTPUT")]
    output: OutputArg,
    #[command(flatten)]
    steps: StepArgs,
}

/// `oci:DIR`, `oci-archive:FILE` or `docker-archive:FILE`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct OutputArg(Output);

impl FromStr for OutputArg {
    type Err = String;

    fn from_str(text: &str) -> Result<OutputArg, String> {
        let form = "expected oci:DIR, oci-archive:FILE or docker-archive:FILE";
        let (kind, path) = text.split_once(':').ok_or(form)?;
        if path.is_empty() {
            return Err(format!("the path is missing: {form}"));
        }
        let path = PathBuf::from(path);
        Ok(OutputArg(match kind {
            "oci" => Output::OciLayout(path),
            "oci-archive" => Output::OciArchive(path),
            "docker-archive" => Output::DockerArchive(path),
            other => return Err(format!("unknown form `{other}`: {form}")),
        }))
    }
}

/// Carries it out.
pub(crate) fn run(args: &Args, global: &Global) -> Result<(), Failure> {
    let plan = files::load_plan(global)?;
    let (mut workshop, notes) = build::prepare(&plan, &args.targets, &args.steps, global)?;
    let images = build::images(&mut workshop, &plan, &args.targets, global)?;
    notes.say(global);
    let OutputArg(to) = &args.output;
    export(&workshop.engine.store, &images, to).map_err(|error| workshop.failure(error))?;
    let views: Vec<build::ImageView> = images.iter().map(build::ImageView::new).collect();
    if !workshop.report.result(&views) && !global.quiet {
        let (Output::OciLayout(path) | Output::OciArchive(path) | Output::DockerArchive(path)) = to;
        let count = text::count(images.len(), "image");
        output::say(&format!("wrote {count} to {}\n", path.display()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_are_told_apart() {
        let output = |text: &str| text.parse::<OutputArg>().map(|OutputArg(output)| output);
        assert_eq!(output("oci:out"), Ok(Output::OciLayout("out".into())));
        assert_eq!(output("oci-archive:a:b.tar"), Ok(Output::OciArchive("a:b.tar".into())));
        assert_eq!(output("docker-archive:x"), Ok(Output::DockerArchive("x".into())));
        for wrong in ["out", "oci:", "zip:x"] {
            assert!(output(wrong).unwrap_err().contains("expected oci:DIR"), "{wrong}");
        }
    }
}
