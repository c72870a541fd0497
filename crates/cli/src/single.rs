//! One Dockerfile without a plan: `anyarch build -f Dockerfile CONTEXT`, with the flags of
//! `docker buildx build`.
//!
//! It becomes a plan of one flavor with one tier, so everything below is the same as for a family. The
//! `[base]` tables of a plan file that is there are known to it.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyarch_engine::{BuildRequest, BuiltImage, Output, build, export, tag_as};
use anyarch_oci::{Platform, Reference};
use anyarch_plan::{Plan, target};
use clap::ValueEnum;
use toml::{Table, Value};

use crate::args::StepArgs;
use crate::checks::{self, Notes, Subject};
use crate::diagnostic::{Finding, Source};
use crate::failure::Failure;
use crate::findings::Findings;
use crate::global::Global;
use crate::verb::build::ImageView;
use crate::verb::check;
use crate::workshop::Workshop;
use crate::{files, output, text};

/// Name of the project, flavor and tier that stand for the one image.
const NAME: &str = "image";

/// Flags for one Dockerfile.
#[derive(Debug, clap::Args)]
#[command(
    next_help_heading = "One Dockerfile without a plan (then the argument is the build context)"
)]
pub(crate) struct SingleArgs {
    /// The Dockerfile, `-` for standard input [default with another of these flags:
    /// CONTEXT/Dockerfile]
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Name of the image in the local store
    #[arg(short, long, value_name = "REPOSITORY[:TAG]")]
    tag: Vec<Reference>,
    /// Stage to build [default: the last]
    #[arg(long, value_name = "STAGE")]
    target: Option<String>,
    /// Platforms to build for [default: this machine's]
    #[arg(long, value_name = "PLATFORM", value_delimiter = ',')]
    platform: Vec<Platform>,
    /// Value for an ARG; without a value, that of the variable of that name
    #[arg(long, value_name = "NAME[=VALUE]")]
    build_arg: Vec<String>,
    /// Write the image to files: type=oci|docker,dest=FILE, or a folder of an OCI layout
    /// (type=oci-layout,dest=DIR)
    #[arg(short, long, value_name = "OUTPUT")]
    output: Option<OutputArg>,
    /// Write the digest of the image's configuration to this file
    #[arg(long, value_name = "FILE")]
    iidfile: Option<PathBuf>,
    /// Check the Dockerfile, and build nothing
    #[arg(long)]
    check: bool,
    /// What to do with the Dockerfile; `check` is the same as --check
    #[arg(long, value_name = "METHOD", value_enum)]
    call: Option<Call>,
}

/// What is done with a Dockerfile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Call {
    /// Build it.
    Build,
    /// Check it, and build nothing.
    Check,
}

/// `type=oci,dest=FILE`, as buildx has it.
#[derive(Clone, Debug)]
struct OutputArg(Output);

impl FromStr for OutputArg {
    type Err = String;

    fn from_str(text: &str) -> Result<OutputArg, String> {
        let (mut kind, mut path) = (None, None);
        for field in text.split(',') {
            match field.split_once('=') {
                Some(("type", value)) => kind = Some(value),
                Some(("dest", value)) => path = Some(PathBuf::from(value)),
                Some((key, _)) => {
                    return Err(format!("unknown key `{key}`; expected type and dest"));
                }
                None => {
                    return Err(format!("`{field}` is not KEY=VALUE; expected type=oci,dest=FILE"));
                }
            }
        }
        let path = path.ok_or("dest is missing; expected type=oci,dest=FILE")?;
        match kind {
            Some("oci") => Ok(OutputArg(Output::OciArchive(path))),
            Some("oci-layout") => Ok(OutputArg(Output::OciLayout(path))),
            Some("docker") => Ok(OutputArg(Output::DockerArchive(path))),
            Some(other) => Err(format!(
                "type `{other}` is not supported; there are oci, oci-layout and docker"
            )),
            None => Err("type is missing; expected type=oci,dest=FILE".to_owned()),
        }
    }
}

impl SingleArgs {
    /// Whether any of them is given.
    pub(crate) fn is_asked_for(&self) -> bool {
        self.file.is_some()
            || !self.tag.is_empty()
            || self.target.is_some()
            || !self.platform.is_empty()
            || !self.build_arg.is_empty()
            || self.output.is_some()
            || self.iidfile.is_some()
            || self.check
            || self.call.is_some()
    }

    fn only_checks(&self) -> bool {
        self.check || self.call == Some(Call::Check)
    }
}

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
    let context = find_context(context, scratch.path(), stdin_is_dockerfile)?;
    let dockerfile = match &args.file {
        None => context.join("Dockerfile"),
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
    let mut workshop = Workshop::open(global, steps)?;
    let images = workshop.run(
        |engine, lock, on, cancel| {
            let request = BuildRequest { plan, directory, selections: &selections, lock };
            let mut images = build(engine, request, on, cancel)?;
            tag_as(engine, &mut images, &args.tag)?;
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
    if let Some(OutputArg(to)) = &args.output {
        export(&workshop.engine.store, images, to).map_err(|error| workshop.failure(error))?;
    }
    let views: Vec<ImageView> = images.iter().map(ImageView::new).collect();
    if workshop.report.result(&views) {
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
    let remote = ["http://", "https://", "git@", "git://", "ssh://"];
    if remote.iter().any(|prefix| context.starts_with(prefix)) {
        return Err(Failure::usage(format!("the context `{context}` is not a folder"))
            .hint("fetch it first: `git clone`, or pipe a tar archive and name `-`".to_owned()));
    }
    let path = PathBuf::from(context);
    if !path.is_dir() {
        return Err(Failure::usage(format!("the context {context} is not a folder")));
    }
    std::path::absolute(&path)
        .map_err(|error| Failure::usage(format!("failed to find {context}")).because(&error))
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
    let path = |path: &Path| {
        let absolute = std::path::absolute(path);
        let absolute = absolute.map_err(|error| {
            Failure::usage(format!("failed to find {}", path.display())).because(&error)
        })?;
        absolute
            .to_str()
            .map(|text| Value::from(text.to_owned()))
            .ok_or_else(|| Failure::usage(format!("the path {} is not UTF-8", path.display())))
    };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_are_those_of_buildx() {
        let of = |text: &str| text.parse::<OutputArg>().map(|OutputArg(output)| output);
        assert_eq!(of("type=oci,dest=a.tar"), Ok(Output::OciArchive("a.tar".into())));
        assert_eq!(of("dest=a.tar,type=docker"), Ok(Output::DockerArchive("a.tar".into())));
        for (text, said) in [
            ("out", "KEY=VALUE"),
            ("type=oci", "dest is missing"),
            ("dest=x", "type is missing"),
            ("type=local,dest=x", "not supported"),
            ("type=oci,name=x,dest=y", "unknown key `name`"),
        ] {
            let error = of(text).unwrap_err();
            assert!(error.contains(said), "{text}: {error}");
        }
    }
}
