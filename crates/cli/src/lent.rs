//! `--secret` and `--ssh`: what whoever builds lends to steps that mount it.
//!
//! Nothing of it is printed or kept; errors name ids, files and variables, never contents.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;

use anyarch_engine::Secrets;

use crate::failure::Failure;

/// Longest secret, as BuildKit has it.
const LONGEST: u64 = 500 * 1024;

/// One `--secret`: `id=NAME[,src=FILE|,env=VARIABLE]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SecretArg {
    id: String,
    source: SecretSource,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum SecretSource {
    File(PathBuf),
    Variable(String),
    /// Neither was named: the variable of that name, else the file of that name.
    Named,
}

impl FromStr for SecretArg {
    type Err = String;

    fn from_str(text: &str) -> Result<SecretArg, String> {
        let (mut id, mut file, mut variable, mut kind) = (None, None, None, None);
        for field in text.split(',') {
            let (key, value) = field
                .split_once('=')
                .ok_or_else(|| format!("`{field}` is not KEY=VALUE; expected id=NAME,src=FILE"))?;
            match key.to_ascii_lowercase().as_str() {
                "id" => id = Some(value.to_owned()),
                "src" | "source" => file = Some(value.to_owned()),
                "env" => variable = Some(value.to_owned()),
                "type" if matches!(value, "file" | "env") => kind = Some(value.to_owned()),
                "type" => return Err(format!("unknown type `{value}`; expected file or env")),
                _ => return Err(format!("unknown key `{key}`; expected id, src, env or type")),
            }
        }
        let id = id.filter(|id| !id.is_empty()).ok_or("it has no id; expected id=NAME,src=FILE")?;
        // `src` names a variable where the type says so.
        if kind.as_deref() == Some("env") {
            variable = variable.or(file.take());
        }
        let source = match (file, variable) {
            (Some(_), Some(_)) => return Err("it names both a file and a variable".to_owned()),
            (Some(file), None) => SecretSource::File(PathBuf::from(file)),
            (None, Some(variable)) => SecretSource::Variable(variable),
            (None, None) => SecretSource::Named,
        };
        Ok(SecretArg { id, source })
    }
}

/// One `--ssh`: `default` or `NAME[=SOCKET]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SshArg {
    id: String,
    socket: Option<PathBuf>,
}

impl FromStr for SshArg {
    type Err = String;

    fn from_str(text: &str) -> Result<SshArg, String> {
        let (id, socket) = match text.split_once('=') {
            Some((id, socket)) => (id, Some(PathBuf::from(socket))),
            None => (text, None),
        };
        match id {
            "" => Err("it has no name; expected default, or NAME=SOCKET".to_owned()),
            id => Ok(SshArg { id: id.to_owned(), socket }),
        }
    }
}

/// Reads the secrets.
///
/// # Errors
/// Where a file cannot be read or is too long, or a variable is not set.
pub(crate) fn secrets(args: &[SecretArg]) -> Result<Secrets, Failure> {
    let mut secrets = Secrets::default();
    for SecretArg { id, source } in args {
        let content = match source {
            SecretSource::File(path) => file(id, path)?,
            SecretSource::Variable(name) => variable(name).ok_or_else(|| {
                Failure::usage(format!(
                    "the secret `{id}` is to be the variable {name}, which is not set"
                ))
            })?,
            SecretSource::Named => match variable(id) {
                Some(content) => content,
                None => file(id, &PathBuf::from(id))?,
            },
        };
        secrets.insert(id, content);
    }
    Ok(secrets)
}

fn file(id: &str, path: &PathBuf) -> Result<Vec<u8>, Failure> {
    let what =
        || Failure::usage(format!("failed to read the secret `{id}` from {}", path.display()));
    let size = std::fs::metadata(path).map_err(|error| what().because(&error))?.len();
    if size > LONGEST {
        return Err(
            what().hint(format!("a secret has at most {LONGEST} bytes; this file has {size}"))
        );
    }
    std::fs::read(path).map_err(|error| what().because(&error))
}

fn variable(name: &str) -> Option<Vec<u8>> {
    use std::os::unix::ffi::OsStringExt;
    std::env::var_os(name).map(OsStringExt::into_vec)
}

/// Finds the sockets of agents.
///
/// # Errors
/// Where there is none, or what is named is no socket.
pub(crate) fn agents(args: &[SshArg]) -> Result<BTreeMap<String, PathBuf>, Failure> {
    use std::os::unix::fs::FileTypeExt;
    let mut agents = BTreeMap::new();
    for SshArg { id, socket } in args {
        let usual = || std::env::var_os("SSH_AUTH_SOCK").map(PathBuf::from);
        let Some(socket) = socket.clone().or_else(usual) else {
            return Err(Failure::usage(format!("there is no ssh agent to lend as `{id}`")).hint(
                "start one (`eval $(ssh-agent)`; `ssh-add`), or name its socket: --ssh NAME=SOCKET"
                    .to_owned(),
            ));
        };
        let what = || format!("failed to lend {} as the ssh agent `{id}`", socket.display());
        let metadata =
            std::fs::metadata(&socket).map_err(|error| Failure::usage(what()).because(&error))?;
        if !metadata.file_type().is_socket() {
            return Err(Failure::usage(what()).hint(
                "it is not the socket of an agent; add a key to an agent with `ssh-add KEY` instead of lending the file"
                    .to_owned(),
            ));
        }
        agents.insert(id.clone(), socket);
    }
    Ok(agents)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Result<SecretArg, String> {
        text.parse()
    }

    #[test]
    fn secrets_come_from_files_and_variables() {
        let of = |text: &str| secret(text).unwrap().source;
        assert_eq!(of("id=a,src=f"), SecretSource::File("f".into()));
        assert_eq!(of("source=f,id=a"), SecretSource::File("f".into()));
        assert_eq!(of("id=a,env=V"), SecretSource::Variable("V".to_owned()));
        assert_eq!(of("type=env,id=a,src=V"), SecretSource::Variable("V".to_owned()));
        assert_eq!(of("id=a"), SecretSource::Named);
    }

    #[test]
    fn mistakes_are_told() {
        for (text, said) in [
            ("src=f", "no id"),
            ("id=a,src=f,env=V", "both"),
            ("id=a,file=f", "unknown key `file`"),
            ("a", "not KEY=VALUE"),
            ("id=a,type=x", "unknown type"),
        ] {
            let error = secret(text).unwrap_err();
            assert!(error.contains(said), "{text}: {error}");
        }
    }

    #[test]
    fn contents_are_not_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        std::fs::write(&path, "hunter2").unwrap();
        let args = [SecretArg { id: "t".to_owned(), source: SecretSource::File(path) }];
        let shown = format!("{:?}", secrets(&args).unwrap());
        assert!(shown.contains("\"t\"") && !shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn agents_are_sockets() {
        let folder = tempfile::tempdir().unwrap();
        let (file, socket) = (folder.path().join("key"), folder.path().join("agent"));
        std::fs::write(&file, "").unwrap();
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let arg = |path: &PathBuf| SshArg { id: "default".to_owned(), socket: Some(path.clone()) };
        assert_eq!(agents(&[arg(&socket)]).unwrap()["default"], socket);
        let refused = agents(&[arg(&file)]).unwrap_err().render();
        assert!(refused.contains("ssh-add"), "{refused}");
    }
}
