//! `anyarch release`: a publication with a version, guarded before and verified after.

use anyarch_engine::{Place, PublishRequest, confirm, publish};
use anyarch_oci::ImageSource;
use anyarch_plan::publish::select;

use crate::args::StepArgs;
use crate::failure::Failure;
use crate::global::Global;
use crate::publication::{destination, place, table, views};
use crate::workshop::Workshop;
use crate::{files, host, output, text, version};

/// Release a version: guard, build, test, publish, and pull it all to verify
///
/// Refuses a tree with changes that are not committed, and a version that exists with other content.
/// In the end every platform of every tag is pulled as anybody would, without a login, and compared
/// with what was published.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What to release: the targets of `publish`; everything without any
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,
    /// Where to: HOST/PATH [default: `repository` of the plan, or else the embedded registry]
    #[arg(long, value_name = "REPOSITORY")]
    to: Option<String>,
    /// The version [default: as `version` of the plan says]
    #[arg(long, value_name = "V", id = "release-version")]
    version: Option<String>,
    /// Verify with this machine's login, for a repository that not everybody may read
    #[arg(long)]
    private: bool,
    #[command(flatten)]
    steps: StepArgs,
}

/// Carries it out.
pub(crate) fn run(args: &Args, global: &Global) -> Result<(), Failure> {
    let plan = &files::load_plan(global)?;
    let directory = &global.plan_directory();
    let version = version::find(args.version.as_deref(), &plan.project.version, directory)?;
    let Some(version) = version else {
        return Err(Failure::usage("a release needs a version").hint(
            "tag the commit (`git tag v1.0.0`) where the plan says `version = \"git\"`, or give --version"
                .to_owned(),
        ));
    };
    let wanted = &select(plan, &args.targets, Some(&version), None)?;
    let to = &place(args.to.as_deref(), plan)?;
    version::demand_clean(&version, directory)?;
    let mut workshop = Workshop::open(global, &args.steps)?;
    let store = workshop.engine.store.clone();
    let destination = destination(to, &store, global, &workshop.report)?;
    let reader = reader(args, to, global, &workshop)?;
    let reader = reader.as_deref();
    let (published, confirmed) = workshop.run(
        |engine, lock, on, cancel| {
            let request = PublishRequest {
                plan,
                directory,
                publish: wanted,
                lock,
                to,
                from: None,
                force: false,
            };
            let published = publish(engine, request, destination.as_ref(), on, cancel)?;
            let confirmed = confirm(engine, &published, to, reader, on, cancel)?;
            Ok((published, confirmed))
        },
        |(published, _)| published.tags.iter().filter(|tag| !tag.unchanged()).count(),
    )?;
    let views = views(&published, to);
    if workshop.report.result(&views) {
        return Ok(());
    }
    output::print(&table(&views))?;
    output::print(&format!(
        "released {version}: {} of {} pulled {}and verified ({})\n",
        text::count(confirmed.images, "image"),
        text::count(published.tags.len(), "tag"),
        if to.registry.is_some() && !args.private { "without a login " } else { "" },
        text::bytes(confirmed.bytes),
    ))
}

/// Who reads it to verify; none for the embedded registry, whose store is read.
fn reader(
    args: &Args,
    to: &Place,
    global: &Global,
    workshop: &Workshop,
) -> Result<Option<Box<dyn ImageSource>>, Failure> {
    if to.registry.is_none() {
        return Ok(None);
    }
    let http = host::client(workshop.report.warner())?;
    Ok(Some(Box::new(match args.private {
        true => host::registry_client(global, http)?,
        false => host::anonymous_client(global, http)?,
    })))
}
