//! The flags for one Dockerfile: those of `docker buildx build`.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyarch_engine::Output;
use anyarch_oci::{Platform, Reference};
use anyarch_plan::ContextSource;
use clap::ValueEnum;

use crate::failure::Failure;
use crate::files;

/// Flags for one Dockerfile.
#[derive(Debug, clap::Args)]
#[command(
    next_help_heading = "One Dockerfile without a plan (then the argument is the build context)"
)]
#[allow(
    rustdoc::broken_intra_doc_links,
    reason = "the text is the help, and `[:TAG]` means itself"
)]
pub(crate) struct SingleArgs {
    /// The Dockerfile, `-` for standard input [default with another of these flags:
    /// CONTEXT/Dockerfile]
    #[arg(short, long, value_name = "FILE")]
    pub(super) file: Option<PathBuf>,
    /// Name of the image in the local store
    #[arg(short, long, value_name = "REPOSITORY[:TAG]")]
    pub(super) tag: Vec<Reference>,
    /// Stage to build [default: the last]
    #[arg(long, value_name = "STAGE")]
    pub(super) target: Option<String>,
    /// Platforms to build for [default: this machine's]
    #[arg(long, value_name = "PLATFORM", value_delimiter = ',')]
    pub(super) platform: Vec<Platform>,
    /// Value for an ARG; without a value, that of the variable of that name
    #[arg(long, value_name = "NAME[=VALUE]")]
    pub(super) build_arg: Vec<String>,
    /// What a name in the Dockerfile means: NAME=FOLDER, NAME=docker-image://REFERENCE,
    /// NAME=oci-layout://FOLDER[:TAG], or the URL of a git repository or an archive
    #[arg(long, value_name = "NAME=SOURCE")]
    pub(super) build_context: Vec<ContextArg>,
    /// Write the image to a file (type=oci|docker,dest=FILE) or a folder of an OCI layout
    /// (type=oci-layout,dest=DIR), or the files in it to a folder (type=local,dest=DIR, or only DIR) or
    /// a tar archive (type=tar,dest=FILE, or `-`)
    #[arg(short, long, value_name = "OUTPUT")]
    pub(super) output: Option<OutputArg>,
    /// Write the digest of the image's configuration to this file
    #[arg(long, value_name = "FILE")]
    pub(super) iidfile: Option<PathBuf>,
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

/// `NAME=SOURCE`.
#[derive(Clone, Debug)]
pub(super) struct ContextArg {
    pub(super) name: String,
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
    pub(super) fn absolute(&self) -> Result<ContextSource, Failure> {
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
pub(super) enum OutputArg {
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
            || self.check
            || self.call.is_some()
    }

    pub(super) fn only_checks(&self) -> bool {
        self.check || self.call == Some(Call::Check)
    }
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
