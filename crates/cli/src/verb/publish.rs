//! `anyarch publish`: builds, tests and pushes images, and sets their tags.

use anyarch_engine::{Place, PublishRequest, publish, rehearse};
use anyarch_plan::publish::select;

use crate::args::StepArgs;
use crate::checks::Notes;
use crate::failure::Failure;
use crate::global::Global;
use crate::publication::{destination, embedded, place, repository, table, views};
use crate::rehearsal::{self, Rehearsed};
use crate::verb::serve;
use crate::workshop::Workshop;
use crate::{files, output, version};

/// Build images, test them, and push them to a registry
///
/// Nothing is sent twice, and tags are set when all content is there: those with a version first, which
/// never move, then the others. Without a repository in the plan or in --to, images go to the embedded
/// registry, which `anyarch serve` serves.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What to publish: the targets of `build`, each also with `publish-` before it; everything
    /// without any
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,
    /// The architecture, where a target leaves it open
    #[arg(long, value_name = "ARCH")]
    arch: Option<String>,
    /// Where to: HOST/PATH [default: `repository` of the plan, or else the embedded registry]
    #[arg(long, value_name = "REPOSITORY")]
    to: Option<String>,
    /// Take images that are published in this repository under the tags of the plan, and build
    /// nothing: for an index over images of several machines, or to promote a release
    #[arg(long, value_name = "REPOSITORY")]
    from: Option<String>,
    /// The version in tags [default: as `version` of the plan says]
    #[arg(long, value_name = "V", id = "publish-version")]
    version: Option<String>,
    /// Show what would be sent, mounted, skipped and tagged, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Move tags with a version that exist with other content, and publish from a tree with changes
    /// that are not committed
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    steps: StepArgs,
}

/// Carries it out.
pub(crate) fn run(args: &Args, global: &Global) -> Result<(), Failure> {
    let plan = &files::load_plan(global)?;
    let directory = &global.plan_directory();
    let version = version::find(args.version.as_deref(), &plan.project.version, directory)?;
    let publish_plan = &select(plan, &args.targets, version.as_deref(), args.arch.as_deref())?;
    let to = &place(args.to.as_deref(), plan)?;
    let from = match args.from.as_deref() {
        // The embedded registry has no host in its name.
        Some(name) if name == plan.project.name => Some(embedded(plan)?),
        Some(name) => Some(repository(name, "take images from")?),
        None => None,
    };
    let from = from.as_ref();
    if let (Some(version), false, false, None) = (&version, args.dry_run, args.force, from) {
        version::demand_clean(version, directory)?;
    }
    if from.is_none() {
        let built: Vec<_> = publish_plan.images.iter().map(|image| image.selection).collect();
        Notes::of_plan(global, plan, &built)?;
    }
    let mut workshop = Workshop::open(global, &args.steps)?;
    let store = workshop.engine.store.clone();
    let destination = destination(to, &store, global, &workshop.report)?;
    let force = args.force;
    if args.dry_run {
        let rehearsal = workshop.find_out(|engine, lock, on, cancel| {
            let request =
                PublishRequest { plan, directory, publish: publish_plan, lock, to, from, force };
            rehearse(engine, request, destination.as_ref(), on, cancel)
        })?;
        let rehearsed = Rehearsed::new(&rehearsal, to);
        if !workshop.report.result(&rehearsed) {
            output::print(&rehearsed.text())?;
        }
        return rehearsal::verdict(&rehearsal);
    }
    let published = workshop.run(
        |engine, lock, on, cancel| {
            let request =
                PublishRequest { plan, directory, publish: publish_plan, lock, to, from, force };
            publish(engine, request, destination.as_ref(), on, cancel)
        },
        |published| published.tags.iter().filter(|tag| !tag.unchanged()).count(),
    )?;
    let views = views(&published, to);
    if workshop.report.result(&views) {
        return Ok(());
    }
    output::print(&table(&views))?;
    if let (Place { registry: None, repository }, false) = (to, global.quiet) {
        let tags: Vec<&str> = published.tags.iter().map(|tag| tag.tag.as_str()).collect();
        output::say(&serve::how_to_pull(global, repository, &tags));
    }
    Ok(())
}
