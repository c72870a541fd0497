//! What a configured root must not keep: caches, backups, logs and dates, each with its reason.

use std::path::Path;

use anyarch_layer::Root;

use crate::database;
use crate::error::DebianError;

/// Files removed, when they are there.
const FILES: [&str; 23] = [
    // Logs: they hold times.
    "/var/log/dpkg.log",
    "/var/log/alternatives.log",
    "/var/log/bootstrap.log",
    "/var/log/fontconfig.log",
    "/var/log/apt/history.log",
    "/var/log/apt/term.log",
    "/var/log/apt/eipp.log.xz",
    // ldconfig's memory of inode numbers and times.
    "/var/cache/ldconfig/aux-cache",
    // Backups that the next change makes again.
    "/var/lib/dpkg/status-old",
    "/var/lib/dpkg/diversions-old",
    "/var/lib/dpkg/statoverride-old",
    "/var/cache/debconf/config.dat-old",
    "/var/cache/debconf/templates.dat-old",
    "/etc/passwd-",
    "/etc/group-",
    "/etc/shadow-",
    "/etc/gshadow-",
    "/etc/subuid-",
    "/etc/subgid-",
    // Identities and secrets of one machine.
    "/var/lib/dbus/machine-id",
    "/var/lib/systemd/random-seed",
    "/var/lib/systemd/credential.secret",
    "/var/lib/urandom/random-seed",
];

/// Folders whose files are removed; the folders, and those below, belong to packages.
const WITHOUT_FILES: [&str; 3] = [
    // apt's indexes and caches.
    "/var/lib/apt/lists",
    "/var/cache/apt",
    // dpkg's journal, which is empty after each of its runs.
    "/var/lib/dpkg/updates",
];

/// Folders emptied: scripts leave things there.
const EMPTIED: [&str; 2] = ["/tmp", "/var/tmp"];

/// Holds the day of the last password change.
const DATED: &str = "/etc/shadow";

/// Removes from a configured root what depends on time or host, and what is only a cache.
///
/// Besides the lists above: the day of the last password change in `/etc/shadow` is brought down to `epoch`'s
/// (seconds since 1970), `/etc/machine-id` becomes empty (systemd's mark of an image that has not booted), and
/// `/etc/hostname` and `/etc/resolv.conf` are removed where they are ordinary files, since containers get their
/// own. Times of files are left to the layer writer, which clamps them.
pub fn clean(root: &Root, epoch: i64) -> Result<(), DebianError> {
    for path in FILES.into_iter().chain(["/etc/hostname", "/etc/resolv.conf"]) {
        if root.symlink_metadata(Path::new(path)).is_ok_and(|metadata| metadata.is_file()) {
            root.remove_file(Path::new(path)).map_err(DebianError::root("remove", path))?;
        }
    }
    for folder in WITHOUT_FILES {
        empty(root, Path::new(folder), true)?;
    }
    for folder in EMPTIED {
        empty(root, Path::new(folder), false)?;
    }
    if root.symlink_metadata(Path::new("/etc/machine-id")).is_ok_and(|metadata| metadata.is_file())
    {
        rewrite(root, "/etc/machine-id", b"")?;
    }
    clean_shadow(root, epoch)
}

/// Removes what is in a folder, if there is one; keeps the folders below it when asked.
fn empty(root: &Root, folder: &Path, keep_folders: bool) -> Result<(), DebianError> {
    let is_folder =
        |path: &Path| root.symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir());
    let mut ahead = vec![folder.to_owned()];
    while let Some(folder) = ahead.pop().filter(|folder| is_folder(folder)) {
        let shown = folder.display().to_string();
        let names = root.read_dir(&folder).map_err(DebianError::root("list", &shown))?;
        for path in names.iter().map(|name| folder.join(name)) {
            if keep_folders && is_folder(&path) {
                ahead.push(path);
            } else {
                let shown = path.display().to_string();
                root.remove_all(&path).map_err(DebianError::root("remove", &shown))?;
            }
        }
    }
    Ok(())
}

/// Brings the third field of every line down to the day of `epoch`.
fn clean_shadow(root: &Root, epoch: i64) -> Result<(), DebianError> {
    let Ok(content) = root.read(Path::new(DATED)) else { return Ok(()) };
    let Ok(text) = String::from_utf8(content) else { return Ok(()) };
    let day = epoch.div_euclid(86_400);
    let clamp = |line: &str| {
        let mut fields: Vec<String> = line.split(':').map(str::to_owned).collect();
        if let Some(field) = fields.get_mut(2)
            && field.parse::<i64>().is_ok_and(|changed| changed > day)
        {
            *field = day.to_string();
        }
        fields.join(":") + "\n"
    };
    let cleaned: String = text.lines().map(clamp).collect();
    if cleaned == text { Ok(()) } else { rewrite(root, DATED, cleaned.as_bytes()) }
}

/// Writes new content in place of a file, with the same owner and mode.
fn rewrite(root: &Root, path: &str, content: &[u8]) -> Result<(), DebianError> {
    let at = Path::new(path);
    let old = root.symlink_metadata(at).map_err(DebianError::root("look at", path))?;
    database::write(root, path, content, 0o600)?;
    root.set_owner(at, old.uid, old.gid).map_err(DebianError::root("set the owner of", path))?;
    root.set_mode(at, old.mode).map_err(DebianError::root("set the mode of", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caches_dates_and_identities_go_and_the_rest_stays() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::open(folder.path()).unwrap();
        let put = |path: &str, content: &str| {
            let at = folder.path().join(path);
            std::fs::create_dir_all(at.parent().unwrap()).unwrap();
            std::fs::write(at, content).unwrap();
        };
        put("var/log/dpkg.log", "x");
        put("var/log/keep", "x");
        put("var/lib/apt/lists/partial/x", "x");
        put("tmp/a/b", "x");
        put("etc/machine-id", "abc\n");
        put("etc/shadow", "root:*:20780:0:99999:7:::\nlow:*:10:0:::\nnone:!::\n");
        std::os::unix::fs::symlink("../run/resolv.conf", folder.path().join("etc/resolv.conf"))
            .unwrap();
        clean(&root, 315_532_800).unwrap();
        let read = |path: &str| std::fs::read_to_string(folder.path().join(path)).unwrap();
        assert_eq!(read("etc/shadow"), "root:*:3652:0:99999:7:::\nlow:*:10:0:::\nnone:!::\n");
        assert_eq!((read("etc/machine-id"), read("var/log/keep")), (String::new(), "x".to_owned()));
        assert!(!root.exists(Path::new("var/log/dpkg.log")));
        assert!(root.exists(Path::new("etc/resolv.conf")));
        assert!(
            root.exists(Path::new("var/lib/apt/lists/partial")) && !root.exists(Path::new("tmp/a"))
        );
        assert!(!root.exists(Path::new("var/lib/apt/lists/partial/x")));
    }
}
