//! One Dockerfile without a plan: `anyarch build -f Dockerfile CONTEXT`, with the flags of
//! `docker buildx build`.
//!
//! It becomes a plan of one flavor with one tier, so everything below is the same as for a family. The
//! `[base]` tables of a plan file that is there are known to it.

mod args;

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyarch_engine::{
    BuildError, BuildRequest, BuiltImage, Engine, build, export, export_files, export_tar,
    fetch_context, tag_as,
};
use anyarch_oci::Platform;
use anyarch_plan::{Plan, is_remote, target};
use anyarch_sandbox::Cancel;
use toml::{Table, Value};

use crate::checks::{self, Notes, Subject};
use crate::diagnostic::{Finding, Source};
use crate::failure::Failure;
use crate::findings::Findings;
use crate::global::Global;
use crate::verb::build::ImageView;
use crate::verb::check;
use crate::workshop::Workshop;
use crate::{files, output, text};

pub(crate) use self::args::SingleArgs;

use self::args::OutputArg;
use crate::args::StepArgs;

/// Name of the project, flavor and tier that stand for the one image.
const NAME: &str = "image";

/// Builds one Dockerfile.
pub(crate) fn run(
    args: &SingleArgs,
    contexts: &[String],
    steps: &StepArgs,
    global: &Global,
) -> Result<(), Failure> {
    let [context] = contexts else {
        return Err(Failure::usage(match contexts.len() {
            0 => "a Dockerfile is built with a context".to_owned(),
            count => format!("one Dockerfile has one context, not {count}"),
        })
        .hint("name the folder that it copies from: `anyarch build -f Dockerfile .`".to_owned()));
    };
    for name in &args.tag {
        if name.digest.is_some() {
            return Err(Failure::usage(format!("`{name}` cannot be a tag: it names a digest")));
        }
    }
    // What comes from standard input or is unpacked lives as long as the build.
    let scratch = tempfile::tempdir()
        .map_err(|error| Failure::failed("failed to make a temporary folder").because(&error))?;
    let stdin_is_dockerfile = args.file.as_deref() == Some(Path::new("-"));
    let context_name = context.as_str();
    let remote = is_remote(context);
    let mut opened = match remote {
        true => Some(Workshop::open(global, steps)?),
        false => None,
    };
    let context = match &mut opened {
        Some(workshop) => {
            workshop.find_out(|engine, _, on, cancel| fetch_context(engine, context, on, cancel))?
        }
        None => find_context(context, scratch.path(), stdin_is_dockerfile)?,
    };
    let dockerfile = match &args.file {
        None => context.join("Dockerfile"),
        // Of a context of the network it is a path there, of any other one here, as for docker.
        Some(path) if remote && !stdin_is_dockerfile => context.join(path),
        Some(_) if stdin_is_dockerfile => {
            let path = scratch.path().join("Dockerfile");
            let text = read_stdin()?;
            std::fs::write(&path, text).map_err(|error| {
                Failure::failed("failed to keep the Dockerfile").because(&error)
            })?;
            path
        }
        Some(path) => path.clone(),
    };
    if remote && !dockerfile.is_file() {
        let name = args.file.as_deref().unwrap_or(Path::new("Dockerfile")).display();
        return Err(Failure::usage(format!("there is no {name} in {}", contexts[0]))
            .hint("-f names a file in the context; #REF:FOLDER names a folder of it".to_owned()));
    }
    if !dockerfile.is_file() {
        return Err(Failure::usage(format!("there is no Dockerfile {}", dockerfile.display()))
            .hint("name it with -f; its path is not relative to the context".to_owned()));
    }
    let plan = &plan(args, &context, &dockerfile, global)?;
    let selections = target::select(plan, &[], None)?;
    let directory = &global.plan_directory();
    let source = Source { name: shown(args, context_name), ..files::read(&dockerfile)? };
    let (ignore, bad_ignore_file) = checks::ignore_file(&dockerfile, &context);
    let tier = plan.members.first().and_then(|member| member.tiers.first());
    let subject = Subject {
        source: &source,
        ignore: ignore.as_ref(),
        context: Some(&context),
        build_args: tier.map(|tier| tier.build_args.clone()).unwrap_or_default(),
        is_planned: false,
    };
    if args.only_checks() {
        let mut findings = Findings::default();
        let checked = subject.check(&checks::base_of(plan))?;
        findings.add(source.clone(), checked.findings.into_iter().map(Finding::from).collect());
        if let Some((source, finding)) = bad_ignore_file {
            findings.add(source, vec![finding]);
        }
        return check::conclude(&findings, check::Format::Human, global);
    }
    let notes = Notes::of_one(&subject, plan)?;
    // Not before the checks: a build that they end leaves no store behind.
    let mut workshop = match opened {
        Some(workshop) => workshop,
        None => Workshop::open(global, steps)?,
    };
    let images = workshop.run(
        |engine, lock, on, cancel| {
            let request = BuildRequest { plan, directory, selections: &selections, lock };
            let mut images = build(engine, request, on, cancel)?;
            tag_as(engine, &mut images, &args.tag)?;
            match &args.output {
                Some(OutputArg::Image(to)) => export(&engine.store, &images, to)?,
                Some(OutputArg::Files(to)) => export_files(engine, &images, to, cancel)?,
                Some(OutputArg::Tar(to)) => {
                    write_tar(engine, &images, to.as_deref(), cancel)?;
                }
                None => {}
            }
            Ok(images)
        },
        |_| 0,
    )?;
    notes.say(global);
    finish(args, &workshop, &images)
}

/// The Dockerfile as a person would name it.
fn shown(args: &SingleArgs, context: &str) -> String {
    match &args.file {
        Some(path) if path != Path::new("-") => files::shown(path),
        None if context != "-" => {
            let path = Path::new(context).join("Dockerfile");
            files::shown(path.strip_prefix(".").unwrap_or(&path))
        }
        // From standard input: what it is called here says nothing.
        _ => "Dockerfile".to_owned(),
    }
}

/// Writes the files that were asked for, and says what was made.
fn finish(args: &SingleArgs, workshop: &Workshop, images: &[BuiltImage]) -> Result<(), Failure> {
    if let (Some(path), [image, ..]) = (&args.iidfile, images) {
        let id = image.manifest.value.config.digest.to_string();
        std::fs::write(path, id).map_err(|error| {
            Failure::failed(format!("failed to write {}", path.display())).because(&error)
        })?;
    }
    let views: Vec<ImageView> = images.iter().map(ImageView::new).collect();
    if workshop.report.result(&views) {
        return Ok(());
    }
    if args.output == Some(OutputArg::Tar(None)) {
        // Standard output is the archive.
        return Ok(());
    }
    let rows: Vec<[String; 4]> = images
        .iter()
        .map(|image| {
            [
                image.platform.to_string(),
                image.manifest.digest.to_string(),
                text::bytes(image.size()),
                image.tags.join(" "),
            ]
        })
        .collect();
    output::print(&text::table(["PLATFORM", "DIGEST", "SIZE", "TAGS"], &rows))
}

/// The folder of a context: itself, or where a tar archive on standard input was unpacked.
fn find_context(context: &str, scratch: &Path, stdin_is_taken: bool) -> Result<PathBuf, Failure> {
    if context == "-" {
        if stdin_is_taken {
            return Err(Failure::usage(
                "standard input cannot be both the Dockerfile and the context",
            ));
        }
        let folder = scratch.join("context");
        let what = || "failed to unpack the context from standard input";
        std::fs::create_dir(&folder).map_err(|error| Failure::failed(what()).because(&error))?;
        anyarch_engine::unpack_context(std::io::stdin(), &folder)
            .map_err(|error| Failure::usage(what()).because(&error))?;
        return Ok(folder);
    }
    let path = PathBuf::from(context);
    if !path.is_dir() {
        return Err(Failure::usage(format!("the context {context} is not a folder")));
    }
    std::path::absolute(&path)
        .map_err(|error| Failure::usage(format!("failed to find {context}")).because(&error))
}

/// Writes the files of the image to an archive, a whole one or none.
fn write_tar(
    engine: &Engine,
    images: &[BuiltImage],
    to: Option<&Path>,
    cancel: &Cancel,
) -> Result<(), BuildError> {
    let [image] = images else {
        return Err(BuildError::input("one archive holds the files of one platform")
            .hint("choose one with --platform, or write a folder: type=local".to_owned()));
    };
    let Some(path) = to else {
        return export_tar(engine, image, &mut std::io::stdout(), cancel);
    };
    let failed = |error: std::io::Error| {
        BuildError::failed(format!("failed to write {}", path.display())).because(error)
    };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
    export_tar(engine, image, file.as_file_mut(), cancel)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o644)).map_err(failed)
}

fn read_stdin() -> Result<String, Failure> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).map_err(|error| {
        Failure::usage("failed to read the Dockerfile from standard input").because(&error)
    })?;
    Ok(text)
}

/// The plan that stands for one Dockerfile.
fn plan(
    args: &SingleArgs,
    context: &Path,
    dockerfile: &Path,
    global: &Global,
) -> Result<Plan, Failure> {
    let mut document = match global.plan.is_file() {
        true => {
            // Checked first, so that its mistakes are shown in its own words.
            files::load_plan(global)?;
            let text = files::read_plan(global)?.text;
            text.parse::<Table>()
                .map_err(|error| Failure::usage("the plan does not parse").because(&error))?
        }
        false => Table::new(),
    };
    document.retain(|key, _| matches!(key, "base" | "sources"));
    let path = |path: &Path| files::absolute(path).map(Value::from);
    let mut arguments = Table::new();
    for given in &args.build_arg {
        match given.split_once('=') {
            Some((name, value)) => drop(arguments.insert(name.to_owned(), value.into())),
            None => {
                if let Ok(value) = std::env::var(given) {
                    arguments.insert(given.clone(), value.into());
                }
            }
        }
    }
    let mut project = Table::from_iter([("name".to_owned(), Value::from(NAME))]);
    if let Some(epoch) = arguments.get("SOURCE_DATE_EPOCH").and_then(Value::as_str) {
        let epoch: i64 = epoch.parse().map_err(|_| {
            Failure::usage(format!("SOURCE_DATE_EPOCH={epoch} is not a number of seconds"))
        })?;
        project.insert("source-date-epoch".to_owned(), epoch.into());
    }
    let mut tier = Table::from_iter([
        ("name".to_owned(), Value::from(NAME)),
        ("dockerfile".to_owned(), path(dockerfile)?),
        ("context".to_owned(), path(context)?),
    ]);
    let mut contexts = Table::new();
    for context in &args.build_context {
        contexts.insert(context.name.clone(), context.absolute()?.to_string().into());
    }
    if !contexts.is_empty() {
        tier.insert("contexts".to_owned(), contexts.into());
    }
    if let Some(stage) = &args.target {
        tier.insert("target".to_owned(), stage.as_str().into());
    }
    if !arguments.is_empty() {
        tier.insert("build-args".to_owned(), arguments.into());
    }
    let platforms = match args.platform.as_slice() {
        [] => vec![Platform::host()],
        given => given.to_vec(),
    };
    let platforms = platforms.iter().map(|platform| Value::from(platform.to_string()));
    let flavor = Table::from_iter([
        ("platforms".to_owned(), Value::Array(platforms.collect())),
        ("tiers".to_owned(), Value::Array(vec![tier.into()])),
    ]);
    let none = || Value::Array(Vec::new());
    let tags = Table::from_iter([("local".to_owned(), none()), ("gathered".to_owned(), none())]);
    document.insert("project".to_owned(), project.into());
    document
        .insert("flavor".to_owned(), Table::from_iter([(NAME.to_owned(), flavor.into())]).into());
    document.insert("tags".to_owned(), tags.into());
    let text = toml::to_string(&document)
        .map_err(|error| Failure::internal("failed to write a plan").because(&error))?;
    anyarch_plan::read(&text).map_err(|findings| {
        let said: Vec<&str> = findings.iter().map(|finding| finding.message.as_str()).collect();
        Failure::usage(format!("this cannot be built: {}", said.join("; ")))
    })
}
