//! One Dockerfile without a plan: `anyarch build -f Dockerfile CONTEXT`, with the flags of
//! `docker buildx build`.
//!
//! It becomes a plan of one flavor with one tier, so everything below is the same as for a family. The
//! `[base]` tables of a plan file that is there are known to it.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyarch_engine::{
    BuildError, BuildRequest, BuiltImage, Engine, Output, build, export, export_files, export_tar,
    fetch_context, is_remote_context, tag_as,
};
use anyarch_oci::{Platform, Reference};
use anyarch_plan::{ContextSource, Plan, target};
use anyarch_sandbox::Cancel;
use toml::{Table, Value};

use crate::args::StepArgs;
use crate::failure::Failure;
use crate::global::Global;
use crate::verb::build::ImageView;
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
    /// What a name in the Dockerfile means: NAME=FOLDER, NAME=docker-image://REFERENCE,
    /// NAME=oci-layout://FOLDER[:TAG], or the URL of a git repository or an archive
    #[arg(long, value_name = "NAME=SOURCE")]
    build_context: Vec<ContextArg>,
    /// Write the image to a file (type=oci|docker,dest=FILE) or a folder of an OCI layout
    /// (type=oci-layout,dest=DIR), or the files in it to a folder (type=local,dest=DIR, or only DIR) or
    /// a tar archive (type=tar,dest=FILE, or `-`)
    #[arg(short, long, value_name = "OUTPUT")]
    output: Option<OutputArg>,
    /// Write the digest of the image's configuration to this file
    #[arg(long, value_name = "FILE")]
    iidfile: Option<PathBuf>,
}

/// `NAME=SOURCE`.
#[derive(Clone, Debug)]
struct ContextArg {
    name: String,
    source: ContextSource,
}

impl FromStr for ContextArg {
    type Err = String;

    fn from_str(text: &str) -> Result<ContextArg, String> {
        let (name, source) = text.split_once('=').ok_or("expected NAME=SOURCE")?;
        match ContextSource::parse(source)? {
            _ if name.is_empty() => Err("the name is missing; expected NAME=SOURCE".to_owned()),
            ContextSource::Target(_) => {
                Err("target: names a tier, so it is for plans only".to_owned())
            }
            source => Ok(ContextArg { name: name.to_owned(), source }),
        }
    }
}

impl ContextArg {
    /// The source as a plan in any folder can have it.
    fn absolute(&self) -> Result<ContextSource, Failure> {
        let absolute = |folder: &str| files::absolute(Path::new(folder));
        Ok(match self.source.clone() {
            ContextSource::Folder(folder) => ContextSource::Folder(absolute(&folder)?),
            ContextSource::OciLayout { folder, tag, digest } => {
                ContextSource::OciLayout { folder: absolute(&folder)?, tag, digest }
            }
            other => other,
        })
    }
}

/// `type=oci,dest=FILE`, as buildx has it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum OutputArg {
    /// The image.
    Image(Output),
    /// The files in it, to a folder.
    Files(PathBuf),
    /// The same as an archive; `None` is standard output.
    Tar(Option<PathBuf>),
}

impl FromStr for OutputArg {
    type Err = String;

    fn from_str(text: &str) -> Result<OutputArg, String> {
        if !text.contains('=') {
            return Ok(match text {
                "-" => OutputArg::Tar(None),
                folder => OutputArg::Files(PathBuf::from(folder)),
            });
        }
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
            Some("oci") => Ok(OutputArg::Image(Output::OciArchive(path))),
            Some("oci-layout") => Ok(OutputArg::Image(Output::OciLayout(path))),
            Some("docker") => Ok(OutputArg::Image(Output::DockerArchive(path))),
            Some("local") => Ok(OutputArg::Files(path)),
            Some("tar") => Ok(OutputArg::Tar(Some(path).filter(|path| path != Path::new("-")))),
            Some(other) => Err(format!(
                "type `{other}` is not supported; there are local, tar, oci, oci-layout and docker"
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
            || !self.build_context.is_empty()
            || self.output.is_some()
            || self.iidfile.is_some()
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
    let mut workshop = Workshop::open(global, steps)?;
    let remote = is_remote_context(context);
    let context = match remote {
        true => {
            workshop.find_out(|engine, _, on, cancel| fetch_context(engine, context, on, cancel))?
        }
        false => find_context(context, scratch.path(), stdin_is_dockerfile)?,
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
    finish(args, &workshop, &images)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_are_those_of_buildx() {
        let of = |text: &str| text.parse::<OutputArg>();
        let image = |output| Ok(OutputArg::Image(output));
        assert_eq!(of("type=oci,dest=a.tar"), image(Output::OciArchive("a.tar".into())));
        assert_eq!(of("dest=a.tar,type=docker"), image(Output::DockerArchive("a.tar".into())));
        for text in ["out", "type=local,dest=out"] {
            assert_eq!(of(text), Ok(OutputArg::Files("out".into())));
        }
        assert_eq!(of("type=tar,dest=a.tar"), Ok(OutputArg::Tar(Some("a.tar".into()))));
        for text in ["-", "type=tar,dest=-"] {
            assert_eq!(of(text), Ok(OutputArg::Tar(None)));
        }
        for (text, said) in [
            ("type=local,out", "KEY=VALUE"),
            ("type=oci", "dest is missing"),
            ("dest=x", "type is missing"),
            ("type=registry,dest=x", "not supported"),
            ("type=oci,name=x,dest=y", "unknown key `name`"),
        ] {
            let error = of(text).unwrap_err();
            assert!(error.contains(said), "{text}: {error}");
        }
    }
}
