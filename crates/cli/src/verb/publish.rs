//! `anyarch publish`: builds, tests and pushes images, and sets their tags.

use std::sync::Arc;

use anyarch_engine::{PublishRequest, Published, StoreImages, publish};
use anyarch_oci::{ImageDestination, Reference, RepositoryName};
use anyarch_plan::publish::{PublishPlan, select};
use anyarch_plan::{Plan, Selection};
use anyarch_registry::{Anonymous, RegistryClient, RegistryDestination};
use serde::Serialize;

use crate::args::StepArgs;
use crate::failure::Failure;
use crate::files;
use crate::global::Global;
use crate::verb::serve;
use crate::workshop::Workshop;
use crate::{host, output, text, version};

/// Build images, test them, and push them to a registry
///
/// Without a repository in the plan or in --to, images go to the embedded registry, which
/// `anyarch serve` serves.
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
    /// The version in tags [default: as `version` of the plan says]
    #[arg(long, value_name = "V", id = "publish-version")]
    version: Option<String>,
    /// Show what would be published, and do nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    steps: StepArgs,
}

/// Where images go.
enum Place {
    /// The embedded registry.
    Embedded(RepositoryName),
    /// A registry by its name in references.
    Remote(String, RepositoryName),
}

/// A tag, as `--progress json` gives it.
#[derive(Serialize)]
struct TagView {
    tag: String,
    digest: String,
    platforms: Vec<String>,
    size: u64,
    unchanged: bool,
}

/// Carries it out.
pub(crate) fn run(args: &Args, global: &Global) -> Result<(), Failure> {
    let plan = &files::load_plan(global)?;
    let directory = &global.plan_directory();
    let version = version::find(args.version.as_deref(), &plan.project.version, directory)?;
    let wanted = select(plan, &args.targets, version.as_deref(), args.arch.as_deref())?;
    let place = place(args.to.as_deref(), plan)?;
    if args.dry_run {
        return output::print(&intention(plan, &wanted, &place));
    }
    if let Some(version) = &version {
        version::demand_clean(version, directory)?;
    }
    let mut workshop = Workshop::open(global, &args.steps)?;
    let store = workshop.engine.store.clone();
    let destination: Box<dyn ImageDestination + '_> = match &place {
        Place::Embedded(_) => Box::new(StoreImages(&store)),
        Place::Remote(registry, _) => {
            let client =
                Arc::new(RegistryClient::new(host::client(workshop.report.warner())?, Anonymous));
            Box::new(RegistryDestination::new(client, registry.as_str()))
        }
    };
    let repository = place.repository();
    let published = workshop.run(
        |engine, lock, on, cancel| {
            let request = PublishRequest { plan, directory, publish: &wanted, lock, repository };
            publish(engine, request, destination.as_ref(), on, cancel)
        },
        |published| published.tags.iter().filter(|tag| !tag.unchanged).count(),
    )?;
    let views = views(&published, &place);
    if workshop.report.result(&views) {
        return Ok(());
    }
    output::print(&table(&views))?;
    if let (Place::Embedded(repository), false) = (&place, global.quiet) {
        let tags: Vec<&str> = published.tags.iter().map(|tag| tag.tag.as_str()).collect();
        output::say(&serve::how_to_pull(global, repository, &tags));
    }
    Ok(())
}

impl Place {
    fn repository(&self) -> &RepositoryName {
        match self {
            Place::Embedded(name) | Place::Remote(_, name) => name,
        }
    }

    /// The repository as references name it.
    fn name(&self) -> String {
        match self {
            Place::Embedded(name) => name.to_string(),
            Place::Remote(registry, name) => format!("{registry}/{name}"),
        }
    }
}

/// Where images go: what was given, or else what the plan says, or else here.
fn place(given: Option<&str>, plan: &Plan) -> Result<Place, Failure> {
    let Some(text) = given.or(plan.project.repository.as_deref()) else {
        let name = plan.project.name.parse().map_err(|error| {
            Failure::usage("the project's name is not a repository name").because(&error)
        })?;
        return Ok(Place::Embedded(name));
    };
    let wrong = || Failure::usage(format!("cannot publish to `{text}`"));
    let reference: Reference = text.parse().map_err(|error| wrong().because(&error))?;
    if reference.tag.is_some() || reference.digest.is_some() {
        let hint = "leave out the tag or digest: the plan says which tags are set".to_owned();
        return Err(wrong().hint(hint));
    }
    match reference.registry {
        Some(registry) => Ok(Place::Remote(registry, reference.repository)),
        None => {
            Err(wrong().hint(format!("name the registry too, such as registry.example/{text}")))
        }
    }
}

/// What would be published, in words.
fn intention(plan: &Plan, wanted: &PublishPlan, place: &Place) -> String {
    let mut rows = Vec::new();
    let mut add = |tags: &[anyarch_oci::Tag], what: String| {
        let tags = tags.iter().map(|tag| [tag.to_string(), what.clone()]);
        rows.extend(tags);
    };
    for image in &wanted.images {
        add(&image.tags, image.selection.canonical(plan));
    }
    for index in &wanted.indexes {
        let members: Vec<String> = index
            .members
            .iter()
            .filter_map(|member| {
                let tier = plan.members.get(*member)?.tiers.len().saturating_sub(1);
                Some(Selection { member: *member, tier }.canonical(plan))
            })
            .collect();
        add(&index.tags, format!("index of {}", text::listing(&members)));
    }
    format!("would publish to {}:\n{}", place.name(), text::table(["TAG", "IMAGE"], &rows))
}

fn views(published: &Published, place: &Place) -> Vec<TagView> {
    let view = |tag: &anyarch_engine::PublishedTag| TagView {
        tag: format!("{}:{}", place.name(), tag.tag),
        digest: tag.digest.to_string(),
        platforms: tag.platforms.iter().map(ToString::to_string).collect(),
        size: tag.size,
        unchanged: tag.unchanged,
    };
    published.tags.iter().map(view).collect()
}

fn table(tags: &[TagView]) -> String {
    let rows: Vec<[String; 5]> = tags
        .iter()
        .map(|tag| {
            [
                tag.tag.clone(),
                tag.digest.clone(),
                tag.platforms.join(" "),
                text::bytes(tag.size),
                if tag.unchanged { "unchanged" } else { "set" }.to_owned(),
            ]
        })
        .collect();
    text::table(["TAG", "DIGEST", "PLATFORMS", "SIZE", ""], &rows)
}
