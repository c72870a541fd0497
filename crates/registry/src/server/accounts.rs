//! Accounts: who may come in, out of a file as `htpasswd -B` makes it.
//!
//! A password is hashed with bcrypt once; after that its SHA-256 with a secret of this process is
//! compared, because clients send it with every request. A name that is not there takes as long as
//! a wrong password.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyarch_oci::{Digest, Hasher};
use thiserror::Error;
use tokio::sync::Semaphore;

/// Passwords that are hashed at once; hashing is slow on purpose, and must not take all cores.
const AT_ONCE: usize = 2;

/// Names and hashes of passwords. Cheap to clone.
#[derive(Clone)]
pub struct Accounts(Arc<Inner>);

struct Inner {
    hashes: HashMap<String, String>,
    /// What a name that is not there is compared with: the hash that takes the longest.
    decoy: String,
    secret: [u8; 32],
    /// What came with a name and was right, hashed with the secret.
    right: Mutex<HashMap<String, Digest>>,
    turns: Semaphore,
}

/// Why a file is not one of accounts.
#[derive(Debug, Error)]
pub enum AccountsError {
    /// The file cannot be read.
    #[error("failed to read accounts from {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A line says something else.
    #[error("{}:{line}: {reason}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// There is no account.
    #[error("{} has no accounts", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// The machine gives no randomness.
    #[error("failed to make a secret")]
    Random(#[source] getrandom::Error),
}

impl AccountsError {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            AccountsError::Line { path, .. } | AccountsError::Empty { path } => {
                Some(format!("make entries with `htpasswd -B {} USER`", path.display()))
            }
            AccountsError::Read { .. } | AccountsError::Random(_) => None,
        }
    }
}

impl Accounts {
    /// Reads a file of lines `NAME:HASH`, the hash one of bcrypt. It is read once: changes count
    /// from the next start on.
    ///
    /// # Errors
    /// When a line is of another kind, with its number.
    pub fn read(path: &Path) -> Result<Accounts, AccountsError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| AccountsError::Read { path: path.to_owned(), source })?;
        let (hashes, decoy) = parse(&text).map_err(|(line, reason)| AccountsError::Line {
            path: path.to_owned(),
            line,
            reason,
        })?;
        let decoy = decoy.ok_or_else(|| AccountsError::Empty { path: path.to_owned() })?;
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).map_err(AccountsError::Random)?;
        Ok(Accounts(Arc::new(Inner {
            hashes,
            decoy,
            secret,
            right: Mutex::default(),
            turns: Semaphore::new(AT_ONCE),
        })))
    }

    /// Whether there is such an account.
    pub(super) async fn admit(&self, name: &str, password: &str) -> bool {
        let inner = &*self.0;
        let seal = inner.seal(name, password);
        let known = {
            let right = inner.right.lock().unwrap_or_else(PoisonError::into_inner);
            right.get(name) == Some(&seal)
        };
        if known {
            return true;
        }
        let Ok(_turn) = inner.turns.acquire().await else { return false };
        let found = inner.hashes.get(name);
        let (hash, password) = (found.unwrap_or(&inner.decoy).clone(), password.to_owned());
        let verify = move || bcrypt::verify(password, &hash).unwrap_or(false);
        let is_right = tokio::task::spawn_blocking(verify).await.unwrap_or(false);
        if found.is_none() || !is_right {
            return false;
        }
        let mut right = inner.right.lock().unwrap_or_else(PoisonError::into_inner);
        right.insert(name.to_owned(), seal);
        true
    }
}

impl Inner {
    fn seal(&self, name: &str, password: &str) -> Digest {
        let mut hasher = Hasher::new();
        for part in [&self.secret[..], name.as_bytes(), b":", password.as_bytes()] {
            hasher.update(part);
        }
        hasher.finish()
    }
}

type Hashes = (HashMap<String, String>, Option<String>);

/// Names and hashes, and the hash that takes the longest; or a line and what is wrong with it.
fn parse(text: &str) -> Result<Hashes, (usize, String)> {
    let mut hashes = HashMap::new();
    let mut slowest: Option<(u32, String)> = None;
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let Some((name, hash)) = line.split_once(':').filter(|(name, _)| !name.is_empty()) else {
            return Err((number, "expected NAME:HASH".to_owned()));
        };
        let cost = cost(hash).map_err(|found| {
            (number, format!("the password of `{name}` is hashed with {found}, not with bcrypt"))
        })?;
        if slowest.as_ref().is_none_or(|(most, _)| *most < cost) {
            slowest = Some((cost, hash.to_owned()));
        }
        if hashes.insert(name.to_owned(), hash.to_owned()).is_some() {
            return Err((number, format!("`{name}` has a line already")));
        }
    }
    Ok((hashes, slowest.map(|(_, hash)| hash)))
}

/// The cost of a bcrypt hash, or what another hash is. The text is a secret: it is not repeated.
fn cost(hash: &str) -> Result<u32, &'static str> {
    if ["$2a$", "$2b$", "$2y$"].iter().any(|prefix| hash.starts_with(prefix)) {
        let parts = hash.parse::<bcrypt::HashParts>().map_err(|_| "a damaged bcrypt hash")?;
        return Ok(parts.get_cost());
    }
    Err(match hash {
        _ if hash.starts_with("$apr1$") => "MD5",
        _ if hash.starts_with("{SHA}") => "SHA-1",
        _ if hash.starts_with("$5$") => "SHA-256",
        _ if hash.starts_with("$6$") => "SHA-512",
        _ => "something else",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `secret`, at the lowest cost.
    fn hash() -> String {
        bcrypt::hash("secret", 4).unwrap().replacen("$2b$", "$2y$", 1)
    }

    #[test]
    fn other_kinds_are_named_with_their_line() {
        let bad = |line: &str| parse(&format!("# people\n\n{line}\n")).unwrap_err();
        for (hash, kind) in [
            ("$apr1$x$y", "MD5"),
            ("{SHA}x", "SHA-1"),
            ("plain", "something else"),
            ("$2y$05$short", "damaged"),
        ] {
            let (line, reason) = bad(&format!("bob:{hash}"));
            assert!(line == 3 && reason.contains(kind) && !reason.contains(hash), "{reason}");
        }
        assert_eq!(bad("bob"), (3, "expected NAME:HASH".to_owned()));
        assert_eq!(bad(":x").0, 3);
        let twice = format!("bob:{0}\nbob:{0}", hash());
        assert_eq!(parse(&twice).unwrap_err(), (2, "`bob` has a line already".to_owned()));
    }

    #[tokio::test]
    async fn right_passwords_come_in() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("people");
        std::fs::write(&path, format!("# people\nann:{}\r\n", hash())).unwrap();
        let accounts = Accounts::read(&path).unwrap();
        for _ in 0..2 {
            assert!(accounts.admit("ann", "secret").await);
            assert!(!accounts.admit("ann", "wrong").await);
            assert!(!accounts.admit("bob", "secret").await, "the decoy is nobody's password");
            assert!(!accounts.admit("", "").await);
        }
        std::fs::write(&path, "# nobody\n").unwrap();
        let error = Accounts::read(&path).err().unwrap();
        assert!(error.to_string().ends_with("has no accounts") && error.hint().is_some());
    }
}
