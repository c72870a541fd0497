//! Asks a helper program (`docker-credential-NAME get`): the server on standard input, JSON on
//! standard output.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;

use crate::{CredentialError, Login};

/// What a program prints, and ends with an error, where it has nothing.
const NOT_FOUND: &str = "credentials not found";
/// The name that stands for "the secret is an identity token".
const TOKEN: &str = "<token>";

#[derive(Deserialize)]
struct Answer {
    #[serde(default, rename = "Username")]
    username: String,
    #[serde(default, rename = "Secret")]
    secret: String,
}

/// A helper program, and the file that names it.
pub(crate) struct Helper<'a> {
    pub(crate) name: &'a str,
    pub(crate) file: &'a Path,
    /// The folder that it is in; else it is looked for as every program is.
    pub(crate) folder: Option<&'a Path>,
}

impl Helper<'_> {
    /// What the program has for the first of these servers that it knows.
    pub(crate) fn ask(&self, servers: &[&str]) -> Result<Option<Login>, CredentialError> {
        for server in servers {
            if let Some(login) = self.get(server)? {
                return Ok(Some(login));
            }
        }
        Ok(None)
    }

    fn get(&self, server: &str) -> Result<Option<Login>, CredentialError> {
        let program = format!("docker-credential-{}", self.name);
        let path = match self.folder {
            Some(folder) => folder.join(&program),
            None => PathBuf::from(&program),
        };
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::NotFound => {
                CredentialError::NoHelper { path: self.file.to_owned(), program: program.clone() }
            }
            _ => CredentialError::Run { program: program.clone(), source },
        };
        let mut child = Command::new(path)
            .arg("get")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        if let Some(mut input) = child.stdin.take() {
            match input.write_all(server.as_bytes()) {
                // It may know without reading.
                Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                    return Err(failed(error));
                }
                _ => {}
            }
        }
        let output = child.wait_with_output().map_err(failed)?;
        let wrong = |reason: String| CredentialError::Helper {
            program: program.clone(),
            server: server.to_owned(),
            reason,
        };
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stdout);
            let said = said.trim();
            if said.contains(NOT_FOUND) {
                return Ok(None);
            }
            // Programs say what went wrong on standard output, others on standard error.
            let complaint = String::from_utf8_lossy(&output.stderr);
            let words = [said, complaint.trim()].into_iter().find(|words| !words.is_empty());
            let words = words.and_then(|words| words.lines().next());
            return Err(wrong(words.map_or_else(|| output.status.to_string(), str::to_owned)));
        }
        let answer: Answer = serde_json::from_slice(&output.stdout)
            .map_err(|_| wrong("its answer is not the JSON of a helper program".to_owned()))?;
        Ok(match (answer.username, answer.secret) {
            (_, secret) if secret.is_empty() => None,
            (username, secret) if username == TOKEN => Some(Login::IdentityToken(secret)),
            (username, password) => Some(Login::Password { username, password }),
        })
    }
}
