//! `anyarch build`: makes images in the local store.

use anyarch_engine::{BuildRequest, BuiltImage, build};
use anyarch_plan::{Plan, target};
use serde::Serialize;

use crate::args::{StepArgs, TargetArgs};
use crate::checks::Notes;
use crate::failure::Failure;
use crate::files;
use crate::global::Global;
use crate::single::{self, SingleArgs};
use crate::workshop::Workshop;
use crate::{output, text};

/// Build images into the local store
///
/// Steps whose inputs have not changed are taken from the cache. With -f, -t or another flag of that
/// group, one Dockerfile is built without a plan, as `docker buildx build` does.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    targets: TargetArgs,
    #[command(flatten)]
    steps: StepArgs,
    #[command(flatten)]
    single: SingleArgs,
}

/// An image as `--progress json` gives it.
#[derive(Serialize)]
pub(crate) struct ImageView {
    image: String,
    tier: String,
    platform: String,
    digest: String,
    size: u64,
    tags: Vec<String>,
}

/// Carries it out.
pub(crate) fn run(args: &Args, global: &Global) -> Result<(), Failure> {
    if args.single.is_asked_for() {
        if args.targets.arch.is_some() {
            return Err(Failure::usage("--arch is for targets of a plan")
                .hint("one Dockerfile is built for --platform".to_owned()));
        }
        return single::run(&args.single, &args.targets.targets, &args.steps, global);
    }
    let plan = files::load_plan(global)?;
    let (mut workshop, notes) = prepare(&plan, &args.targets, &args.steps, global)?;
    let images = images(&mut workshop, &plan, &args.targets, global)?;
    notes.say(global);
    let views: Vec<ImageView> = images.iter().map(ImageView::new).collect();
    if workshop.report.result(&views) {
        return Ok(());
    }
    output::print(&table(&views))
}

/// Opens the workshop, once the targets are known to make sense and no check forbids to build them.
pub(crate) fn prepare(
    plan: &Plan,
    targets: &TargetArgs,
    steps: &StepArgs,
    global: &Global,
) -> Result<(Workshop, Notes), Failure> {
    let selections = target::select(plan, &targets.targets, targets.arch.as_deref())?;
    let notes = Notes::of_plan(global, plan, &selections)?;
    Ok((Workshop::open(global, steps)?, notes))
}

/// Builds the targets.
pub(crate) fn images(
    workshop: &mut Workshop,
    plan: &Plan,
    targets: &TargetArgs,
    global: &Global,
) -> Result<Vec<BuiltImage>, Failure> {
    let selections = target::select(plan, &targets.targets, targets.arch.as_deref())?;
    let directory = &global.plan_directory();
    workshop.run(
        |engine, lock, on, cancel| {
            let request = BuildRequest { plan, directory, selections: &selections, lock };
            build(engine, request, on, cancel)
        },
        |_| 0,
    )
}

impl ImageView {
    /// What people want to know of an image.
    pub(crate) fn new(image: &BuiltImage) -> ImageView {
        ImageView {
            image: image.member.clone(),
            tier: image.tier.clone(),
            platform: image.platform.to_string(),
            digest: image.manifest.digest.to_string(),
            size: image.size(),
            tags: image.tags.clone(),
        }
    }
}

fn table(images: &[ImageView]) -> String {
    let rows: Vec<[String; 5]> = images
        .iter()
        .map(|image| {
            [
                image.image.clone(),
                image.tier.clone(),
                image.digest.clone(),
                text::bytes(image.size),
                image.tags.join(" "),
            ]
        })
        .collect();
    text::table(["IMAGE", "TIER", "DIGEST", "SIZE", "TAGS"], &rows)
}
