//! A registry and a repository into credentials.

use std::fmt;
use std::path::PathBuf;

use crate::file::AuthFile;
use crate::helper::Helper;
use crate::{CredentialError, Place, name};

/// What proves who we are. Shown without its secrets.
#[derive(Clone, PartialEq, Eq)]
pub enum Login {
    /// Name and password.
    Password {
        /// Name.
        username: String,
        /// Password or personal token.
        password: String,
    },
    /// A token that the registry's token service exchanges.
    IdentityToken(String),
    /// A token that the registry takes as it is.
    RegistryToken(String),
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Login::Password { username, .. } => write!(f, "Password({username}, …)"),
            Login::IdentityToken(_) => f.write_str("IdentityToken(…)"),
            Login::RegistryToken(_) => f.write_str("RegistryToken(…)"),
        }
    }
}

/// Looks through credential files in order. They are read at each question, so that a login in the
/// meantime counts.
#[derive(Clone, Debug, Default)]
pub struct Finder {
    files: Vec<Place>,
    helpers: Option<PathBuf>,
}

impl Finder {
    /// Looks through these files.
    pub fn new(files: Vec<Place>) -> Finder {
        Finder { files, helpers: None }
    }

    /// The same with helper programs from one folder, in place of the system's.
    pub fn with_helpers_in(mut self, folder: impl Into<PathBuf>) -> Finder {
        self.helpers = Some(folder.into());
        self
    }

    /// The credentials for a repository of a registry, of the first file that has some. A file's
    /// helper program for the registry is asked first, then its entries, the one with the longest
    /// matching path first, then its helper program for everything.
    ///
    /// # Errors
    /// Where a file or a helper program does not work: nothing is tried instead, since it would
    /// only hide why a login has no effect.
    pub fn find(
        &self,
        registry: &str,
        repository: Option<&str>,
    ) -> Result<Option<Login>, CredentialError> {
        for place in &self.files {
            if let Some(file) = AuthFile::read(place)?
                && let Some(login) = self.find_in(&file, registry, repository)?
            {
                return Ok(Some(login));
            }
        }
        Ok(None)
    }

    fn find_in(
        &self,
        file: &AuthFile,
        registry: &str,
        repository: Option<&str>,
    ) -> Result<Option<Login>, CredentialError> {
        let mut entries: Vec<_> = file
            .entries()
            .filter_map(|(key, entry)| {
                Some((name::closeness(key, registry, repository)?, key, entry))
            })
            .collect();
        entries.sort_by_key(|(closeness, ..)| std::cmp::Reverse(*closeness));
        let mut servers = name::servers(registry);
        // Where the program keeps it under a name of its own, the entry left behind has that.
        servers.extend(entries.iter().map(|(_, key, _)| key.as_str()));
        let mut seen = Vec::new();
        servers.retain(|server| {
            let new = !seen.contains(server);
            seen.push(*server);
            new
        });
        let ask = |name: &str| {
            let folder = self.helpers.as_deref();
            Helper { name, file: &file.path, folder }.ask(&servers)
        };
        if let Some(helper) = file.helper(&servers)
            && let Some(login) = ask(helper)?
        {
            return Ok(Some(login));
        }
        for (_, key, entry) in &entries {
            if let Some(login) = file.login(key, entry)? {
                return Ok(Some(login));
            }
        }
        match file.store() {
            Some(helper) => ask(helper),
            None => Ok(None),
        }
    }
}
