//! Where credential files are, from what the environment says.

use std::path::PathBuf;

/// What the environment says about where credentials are; each part may be missing.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// The file that `REGISTRY_AUTH_FILE` names: then podman's own are not looked at.
    pub named: Option<PathBuf>,
    /// `containers` in `XDG_RUNTIME_DIR`; `/run/containers/UID` where that is not set.
    pub runtime: Option<PathBuf>,
    /// `containers` in `XDG_CONFIG_HOME`, which is `.config` in the home folder where it is not set.
    pub config: Option<PathBuf>,
    /// `DOCKER_CONFIG`, or `.docker` in the home folder.
    pub docker: Option<PathBuf>,
}

/// One file to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub path: PathBuf,
    /// True where somebody named it, so that it must be there.
    pub named: bool,
}

impl Places {
    /// The files, in the order in which they are looked at.
    pub fn files(&self) -> Vec<Place> {
        let usual = |path| Place { path, named: false };
        let docker = self.docker.as_ref().map(|folder| usual(folder.join("config.json")));
        let podman = match &self.named {
            Some(path) => vec![Place { path: path.clone(), named: true }],
            None => [&self.runtime, &self.config]
                .into_iter()
                .flatten()
                .map(|folder| usual(folder.join("auth.json")))
                .collect(),
        };
        podman.into_iter().chain(docker).collect()
    }
}
