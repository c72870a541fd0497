//! How this machine reaches registries, and who it is to them: what the environment says about
//! where docker, podman and anyarch keep that.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyarch_credentials::registries::{self, Registries, RegistriesError, Settings};
use anyarch_credentials::{Finder, Login, Places};
use anyarch_oci::RepositoryName;
use anyarch_registry::{Authenticator, Credentials, CredentialsError, RegistrySettings};

use crate::failure::Failure;

/// Looks for the logins of docker, podman and skopeo.
pub(crate) struct Logins(Finder);

/// What names folders: a variable's value, where it is set.
type Variable<'a> = &'a dyn Fn(&str) -> Option<String>;

impl Logins {
    /// Those of the user who runs this program.
    pub(crate) fn of(variable: Variable<'_>) -> Logins {
        Logins(Finder::new(places(variable).files()))
    }
}

impl Authenticator for Logins {
    fn credentials(
        &self,
        registry: &str,
        repository: Option<&RepositoryName>,
    ) -> Result<Credentials, CredentialsError> {
        match self.0.find(registry, repository.map(RepositoryName::as_str)) {
            Ok(None) => Ok(Credentials::Anonymous),
            Ok(Some(Login::Password { username, password })) => {
                Ok(Credentials::Basic { username, password })
            }
            Ok(Some(Login::IdentityToken(token))) => Ok(Credentials::IdentityToken(token)),
            Ok(Some(Login::RegistryToken(token))) => Ok(Credentials::Bearer(token)),
            Err(error) => Err(CredentialsError { hint: error.hint(), error: Box::new(error) }),
        }
    }
}

/// The settings of registries: those of a file, which must be there where it was named, and the
/// authorities in docker's and podman's folders.
pub(crate) fn settings(
    named: Option<&Path>,
    variable: Variable<'_>,
) -> Result<Vec<(String, RegistrySettings)>, Failure> {
    let usual = config(variable).map(|folder| folder.join("anyarch/registries.toml"));
    let file = named.map(Path::to_owned).or_else(|| usual.filter(|path| path.exists()));
    let mut found = match file {
        Some(file) => registries::read(&file).map_err(failed)?,
        None => Registries::new(),
    };
    for folder in certificate_folders(variable) {
        registries::add_certificates(&mut found, &folder).map_err(failed)?;
    }
    let settings = |Settings { insecure, ca, mirrors }| RegistrySettings { insecure, ca, mirrors };
    Ok(found.into_iter().map(|(name, of)| (name, settings(of))).collect())
}

fn failed(error: RegistriesError) -> Failure {
    let failure = Failure::usage(error.to_string()).hint(error.hint());
    match std::error::Error::source(&error) {
        Some(source) => failure.because(source),
        None => failure,
    }
}

fn places(variable: Variable<'_>) -> Places {
    let runtime = variable("XDG_RUNTIME_DIR").map(|folder| Path::new(&folder).join("containers"));
    Places {
        named: variable("REGISTRY_AUTH_FILE").map(PathBuf::from),
        runtime: runtime.or_else(|| {
            // Where podman keeps it without the variable; `/proc` is there on every Linux.
            let user = fs::metadata("/proc/self").ok()?.uid();
            Some(PathBuf::from(format!("/run/containers/{user}")))
        }),
        config: config(variable).map(|folder| folder.join("containers")),
        docker: docker(variable),
    }
}

fn certificate_folders(variable: Variable<'_>) -> Vec<PathBuf> {
    let own = [config(variable).map(|folder| folder.join("containers")), docker(variable)];
    let system = ["/etc/docker", "/etc/containers"].map(PathBuf::from);
    system.into_iter().chain(own.into_iter().flatten()).map(|at| at.join("certs.d")).collect()
}

fn config(variable: Variable<'_>) -> Option<PathBuf> {
    variable("XDG_CONFIG_HOME").map(PathBuf::from).or_else(|| Some(home(variable)?.join(".config")))
}

fn docker(variable: Variable<'_>) -> Option<PathBuf> {
    variable("DOCKER_CONFIG").map(PathBuf::from).or_else(|| Some(home(variable)?.join(".docker")))
}

fn home(variable: Variable<'_>) -> Option<PathBuf> {
    variable("HOME").map(PathBuf::from).filter(|path| path.is_absolute())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    #[test]
    fn logins_and_settings_come_from_the_home_folder() {
        let root = machine(&[
            (".docker/config.json", r#"{"auths": {"r.example": {"auth": "bWU6cHc="}}}"#),
            (".config/anyarch/registries.toml", "[registry.\"m.example\"]\ninsecure = true\n"),
            (".config/containers/certs.d/r.example/ca.crt", ""),
        ]);
        let home = root.path().display().to_string();
        let nowhere = root.path().join("run").display().to_string();
        let variable = move |name: &str| match name {
            "HOME" => Some(home.clone()),
            "XDG_RUNTIME_DIR" => Some(nowhere.clone()),
            _ => None,
        };
        let found = Logins::of(&variable).credentials("r.example", None).unwrap();
        let wanted = Credentials::Basic { username: "me".to_owned(), password: "pw".to_owned() };
        assert_eq!(found, wanted);
        let settings = settings(None, &variable).unwrap();
        let of = |name: &str| settings.iter().find(|(host, _)| host == name).unwrap().1.clone();
        assert!(of("m.example").insecure);
        let certificate = root.path().join(".config/containers/certs.d/r.example/ca.crt");
        assert_eq!(of("r.example").ca, [certificate]);
    }

    #[test]
    fn settings_that_were_named_must_be_right() {
        let root = machine(&[("wrong.toml", "[registry.\"r\"]\ninsecur = true\n")]);
        let error = |file: &str| {
            let failure = settings(Some(&root.path().join(file)), &|_| None).unwrap_err();
            anstream::adapter::strip_str(&failure.render()).to_string()
        };
        assert!(error("none.toml").contains("none.toml"));
        let wrong = error("wrong.toml");
        assert!(wrong.contains("wrong.toml:2: unknown field `insecur`"), "{wrong}");
        assert!(wrong.contains("hint: did you mean `insecure`?"), "{wrong}");
    }
}
