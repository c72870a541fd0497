//! Users and groups of an image: names in `USER` and `--chown` looked up in its passwd and group.

use std::path::Path;

use anyarch_layer::Root;

use crate::error::BuildError;

/// Who a process is, or whose a file is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Identity {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Further groups; only when the text names no group.
    pub groups: Vec<u32>,
    /// Home directory, where passwd has the user.
    pub home: Option<String>,
}

/// Looks up `USER[:GROUP]`, names or numbers, as `USER` means it: a user without a group has the
/// groups that passwd and group give; a number that passwd does not know has group 0.
pub(crate) fn process_identity(root: &Root, text: &str) -> Result<Identity, BuildError> {
    let files = Files::read(root);
    let (user, group) = split(text);
    let user = if user.is_empty() { "0" } else { user };
    let known = files.user(user);
    let (uid, own_gid, name, home) = match (known, user.parse::<u32>()) {
        (Some(known), _) => (known.uid, known.gid, Some(known.name), Some(known.home)),
        (None, Ok(uid)) => (uid, 0, None, None),
        (None, Err(_)) => return Err(unknown("user", user, "passwd")),
    };
    let (gid, groups) = match group {
        Some(group) => (files.gid(group)?, Vec::new()),
        None => (own_gid, name.map(|name| files.groups_of(&name)).unwrap_or_default()),
    };
    Ok(Identity { uid, gid, groups, home })
}

/// Looks up `USER[:GROUP]` as `--chown` means it: a user without a group has the group of the same
/// number (Dockerfile reference, "COPY --chown").
pub(crate) fn file_owner(root: &Root, text: &str) -> Result<(u32, u32), BuildError> {
    let files = Files::read(root);
    let (user, group) = split(text);
    let user = if user.is_empty() { "0" } else { user };
    let known = files.user(user);
    let (uid, own_gid) = match (user.parse::<u32>(), known) {
        (Ok(uid), _) => (uid, uid),
        (Err(_), Some(known)) => (known.uid, known.gid),
        (Err(_), None) => return Err(unknown("user", user, "passwd")),
    };
    let gid = group.map_or(Ok(own_gid), |group| files.gid(group))?;
    Ok((uid, gid))
}

fn split(text: &str) -> (&str, Option<&str>) {
    match text.split_once(':') {
        Some((user, group)) if !group.is_empty() => (user, Some(group)),
        Some((user, _)) => (user, None),
        None => (text, None),
    }
}

fn unknown(kind: &str, name: &str, file: &str) -> BuildError {
    BuildError::failed(format!("{kind} `{name}` is not in /etc/{file} of the image"))
        .hint("create it in an earlier step, or give a number".to_owned())
}

struct Files {
    passwd: String,
    group: String,
}

struct User {
    name: String,
    uid: u32,
    gid: u32,
    home: String,
}

impl Files {
    fn read(root: &Root) -> Files {
        // An image need not have them; numbers work without.
        let text = |path: &str| {
            root.read(Path::new(path))
                .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
                .unwrap_or_default()
        };
        Files { passwd: text("etc/passwd"), group: text("etc/group") }
    }

    fn user(&self, wanted: &str) -> Option<User> {
        let users = self.passwd.lines().filter_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            let [name, _, uid, gid, _, home, ..] = fields.as_slice() else { return None };
            let (uid, gid) = (uid.parse().ok()?, gid.parse().ok()?);
            Some(User { name: (*name).to_owned(), uid, gid, home: (*home).to_owned() })
        });
        let number: Option<u32> = wanted.parse().ok();
        let mut by_number = None;
        for user in users {
            if user.name == wanted {
                return Some(user);
            }
            if by_number.is_none() && Some(user.uid) == number {
                by_number = Some(user);
            }
        }
        by_number
    }

    fn gid(&self, wanted: &str) -> Result<u32, BuildError> {
        let named = self.group.lines().find_map(|line| {
            let mut fields = line.split(':');
            (fields.next() == Some(wanted)).then(|| fields.nth(1)?.parse().ok()).flatten()
        });
        named.or_else(|| wanted.parse().ok()).ok_or_else(|| unknown("group", wanted, "group"))
    }

    fn groups_of(&self, user: &str) -> Vec<u32> {
        let member_of = |line: &str| {
            let fields: Vec<&str> = line.split(':').collect();
            let [_, _, gid, members] = fields.as_slice() else { return None };
            members.split(',').any(|member| member == user).then(|| gid.parse().ok()).flatten()
        };
        self.group.lines().filter_map(member_of).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> (tempfile::TempDir, Root) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("etc")).unwrap();
        let passwd = "root:x:0:0:root:/root:/bin/sh\nann:x:1000:1001:,,,:/home/ann:/bin/sh\n1234:x:5:6::/:\n";
        std::fs::write(folder.path().join("etc/passwd"), passwd).unwrap();
        std::fs::write(
            folder.path().join("etc/group"),
            "root:x:0:\nann:x:1001:\nvideo:x:44:bob,ann\n",
        )
        .unwrap();
        let root = Root::open(folder.path()).unwrap();
        (folder, root)
    }

    #[test]
    fn process_users_are_found_by_name_and_number() {
        let (_folder, root) = root();
        let ann = process_identity(&root, "ann").unwrap();
        assert_eq!(
            (ann.uid, ann.gid, ann.groups, ann.home.as_deref()),
            (1000, 1001, vec![44], Some("/home/ann"))
        );
        let by_number = process_identity(&root, "1000").unwrap();
        assert_eq!((by_number.gid, by_number.home.as_deref()), (1001, Some("/home/ann")));
        let stranger = process_identity(&root, "77").unwrap();
        assert_eq!((stranger.uid, stranger.gid, stranger.home), (77, 0, None));
        let grouped = process_identity(&root, "ann:video").unwrap();
        assert_eq!((grouped.gid, grouped.groups), (44, vec![]));
        assert_eq!(process_identity(&root, "").unwrap().uid, 0);
        assert!(process_identity(&root, "eve").unwrap_err().message.contains("`eve`"));
    }

    #[test]
    fn file_owners_take_the_number_for_the_group() {
        let (_folder, root) = root();
        assert_eq!(file_owner(&root, "ann").unwrap(), (1000, 1001));
        assert_eq!(file_owner(&root, "55").unwrap(), (55, 55));
        assert_eq!(file_owner(&root, "55:video").unwrap(), (55, 44));
        assert!(file_owner(&root, "ann:nobody").is_err());
    }
}
