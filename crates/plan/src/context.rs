//! What a named build context is (BuildKit, "Additional build contexts").

use std::fmt;

/// Where the files of a named context come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContextSource {
    /// A folder, relative to that of the plan.
    Folder(String),
    /// An image of a registry or of the host store: `docker-image://REFERENCE`.
    Image(String),
    /// An image in a folder of the OCI image layout: `oci-layout://FOLDER[:TAG][@DIGEST]`.
    OciLayout {
        /// The folder, relative to that of the plan.
        folder: String,
        /// Which of its images; the only one where absent.
        tag: Option<String>,
        /// Digest of its manifest or index.
        digest: Option<String>,
    },
    /// Another tier of the plan, for the same platform: `target:NAME`.
    Target(String),
    /// A git repository or an archive of the network, by URL.
    Remote(String),
}

/// How URLs of the network begin.
const REMOTE: [&str; 5] = ["http://", "https://", "git@", "git://", "ssh://"];

/// Whether a source is of the network and not a path: a git repository, an archive or a file (also
/// Dockerfile reference, "ADD").
pub fn is_remote(source: &str) -> bool {
    REMOTE.iter().any(|prefix| source.starts_with(prefix))
}

impl ContextSource {
    /// Reads a source as `--build-context NAME=SOURCE` and `contexts` of the plan have it.
    ///
    /// # Errors
    /// Why it is none.
    pub fn parse(text: &str) -> Result<ContextSource, String> {
        let named = |prefix: &str| text.strip_prefix(prefix);
        let needed = |rest: &str, what: &str| match rest.is_empty() {
            true => Err(format!("`{text}` names no {what}")),
            false => Ok(rest.to_owned()),
        };
        if let Some(image) = named("docker-image://") {
            return Ok(ContextSource::Image(needed(image, "image")?));
        }
        if let Some(layout) = named("oci-layout://") {
            let (rest, digest) = match layout.split_once('@') {
                Some((rest, digest)) => (rest, Some(digest.to_owned())),
                None => (layout, None),
            };
            let (folder, tag) = match rest.rsplit_once(':') {
                Some((folder, tag)) if !tag.contains('/') => (folder, Some(tag.to_owned())),
                _ => (rest, None),
            };
            return Ok(ContextSource::OciLayout { folder: needed(folder, "folder")?, tag, digest });
        }
        if let Some(target) = named("target:") {
            return Ok(ContextSource::Target(needed(target, "target")?));
        }
        if is_remote(text) {
            return Ok(ContextSource::Remote(text.to_owned()));
        }
        if let Some((scheme, _)) = text.split_once("://") {
            return Err(format!(
                "`{scheme}://` is no kind of context; there are docker-image, oci-layout, https, ssh \
                 and git"
            ));
        }
        Ok(ContextSource::Folder(needed(text, "folder")?))
    }
}

impl fmt::Display for ContextSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ContextSource::Folder(text) | ContextSource::Remote(text) => f.write_str(text),
            ContextSource::Image(image) => write!(f, "docker-image://{image}"),
            ContextSource::OciLayout { folder, tag, digest } => {
                write!(f, "oci-layout://{folder}")?;
                tag.iter().try_for_each(|tag| write!(f, ":{tag}"))?;
                digest.iter().try_for_each(|digest| write!(f, "@{digest}"))
            }
            ContextSource::Target(name) => write!(f, "target:{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_told_by_its_prefix_and_shown_as_written() {
        let layout =
            |folder: &str, tag: Option<&str>, digest: Option<&str>| ContextSource::OciLayout {
                folder: folder.to_owned(),
                tag: tag.map(str::to_owned),
                digest: digest.map(str::to_owned),
            };
        for (text, source) in [
            ("../lib", ContextSource::Folder("../lib".to_owned())),
            ("docker-image://r.example/a:1", ContextSource::Image("r.example/a:1".to_owned())),
            ("oci-layout://out", layout("out", None, None)),
            ("oci-layout://out:v1", layout("out", Some("v1"), None)),
            ("oci-layout:///a:b/out@sha256:0", layout("/a:b/out", None, Some("sha256:0"))),
            ("target:cpu:ml", ContextSource::Target("cpu:ml".to_owned())),
            ("git@h.example:a.git#v1", ContextSource::Remote("git@h.example:a.git#v1".to_owned())),
        ] {
            assert_eq!(ContextSource::parse(text), Ok(source.clone()), "{text}");
            assert_eq!(source.to_string(), text);
        }
        for text in ["", "docker-image://", "oci-layout://", "target:", "ftp://x"] {
            assert!(ContextSource::parse(text).is_err(), "{text}");
        }
    }
}
