//! `anyarch.lock`: text to the engine's value and back.

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyarch_engine::LockFile;

use crate::failure::Failure;
use crate::files::shown;

const HEAD: &str = "\
# The packages that were chosen for the bases of the plan. Written by anyarch; keep it under
# version control. `anyarch lock --update` chooses anew.
";

/// The lock file of a plan: beside it, `.lock` in place of `.toml`.
pub(crate) fn path(plan: &Path) -> PathBuf {
    plan.with_extension("lock")
}

/// Reads a lock file; one that does not exist is empty.
pub(crate) fn read(path: &Path) -> Result<LockFile, Failure> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(LockFile::default()),
        Err(error) => {
            return Err(Failure::usage(format!("failed to read {}", shown(path))).because(&error));
        }
    };
    let advice = "take it from version control again, or remove it to have it written anew";
    let lock: LockFile = toml::from_str(&text).map_err(|error| {
        Failure::usage(format!("{} is not a lock file", shown(path)))
            .because(&error)
            .hint(advice.to_owned())
    })?;
    if lock.version != LockFile::VERSION {
        return Err(Failure::usage(format!(
            "{} has version {}; this anyarch reads version {}",
            shown(path),
            lock.version,
            LockFile::VERSION
        ))
        .hint(advice.to_owned()));
    }
    Ok(lock)
}

/// Writes a lock file: completely, or not at all.
pub(crate) fn write(path: &Path, lock: &LockFile) -> Result<(), Failure> {
    let text = toml::to_string(lock)
        .map_err(|error| Failure::internal("failed to write the lock file").because(&error))?;
    let folder = path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
    let write = || {
        let mut file = tempfile::Builder::new()
            .prefix(".anyarch-lock-")
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
            .tempfile_in(folder)?;
        file.write_all(HEAD.as_bytes())?;
        file.write_all(b"\n")?;
        file.write_all(text.as_bytes())?;
        file.persist(path).map_err(|error| error.error)
    };
    match write() {
        Ok(_) => Ok(()),
        Err(error) => {
            Err(Failure::failed(format!("failed to write {}", shown(path))).because(&error))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyarch_engine::{LockedBase, LockedEmulator, LockedRequest};

    fn lock() -> LockFile {
        let resolution = serde_json::json!({
            "architecture": "amd64",
            "indexes": [{
                "suite": "bookworm",
                "digest": anyarch_oci::Digest::sha256(b""),
                "date": "2026-07-11T10:16:37Z",
            }],
            "packages": [],
        });
        let mut lock = LockFile::default();
        lock.put(LockedBase {
            name: "python".to_owned(),
            platform: "linux/amd64".to_owned(),
            request: LockedRequest {
                suite: "bookworm".to_owned(),
                components: vec!["main".to_owned()],
                packages: vec!["python3".to_owned()],
                recommends: false,
            },
            resolution: serde_json::from_value(resolution).unwrap(),
        });
        lock
    }

    #[test]
    fn what_is_written_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = path(&folder.path().join("anyarch.toml"));
        assert_eq!(read(&path).unwrap(), LockFile::default());
        write(&path, &lock()).unwrap();
        assert_eq!(read(&path).unwrap(), lock());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn the_emulator_is_an_entry_of_its_own_and_may_be_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = path(&folder.path().join("anyarch.toml"));
        write(&path, &lock()).unwrap();
        let before = fs::read_to_string(&path).unwrap();
        assert!(!before.contains("emulator"), "{before}");
        let mut with = lock();
        with.put_emulator(LockedEmulator {
            platform: "linux/amd64".to_owned(),
            suite: "bookworm".to_owned(),
            resolution: with.base[0].resolution.clone(),
        });
        write(&path, &with).unwrap();
        assert_eq!(read(&path).unwrap(), with);
        let after = fs::read_to_string(&path).unwrap();
        assert!(after.starts_with(&before), "{after}");
        assert!(after.contains("\n[[emulator]]\nplatform = \"linux/amd64\"\n"), "{after}");
    }

    #[test]
    fn what_is_not_a_lock_is_refused_with_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("anyarch.lock");
        for (text, expected) in [("version = 9\n", "version 9"), ("version = \n", "line 1")] {
            fs::write(&path, text).unwrap();
            let shown = read(&path).unwrap_err().render();
            assert!(shown.contains(expected), "{shown}");
        }
    }
}
