//! apk's database (apk-tools 2 and 3, "installed"): one text file, an empty line after each package,
//! lines of a letter, a colon and a value.

use std::path::{Path, PathBuf};

use anyarch_layer::Root;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{Listed, Package, Sum, hex, path_of};

/// Where it is, the newer place first.
const PLACES: [&str; 2] = ["/usr/lib/apk/db/installed", "/lib/apk/db/installed"];

/// Reads the database; `None` where the tree has none.
pub(super) fn read(root: &Root) -> Option<Listed> {
    let text = PLACES.iter().find_map(|place| super::read(root, Path::new(place)))?;
    Some(parse(&String::from_utf8_lossy(&text)))
}

fn parse(text: &str) -> Listed {
    let mut listed = Listed::default();
    for package in text.split("\n\n") {
        let (mut name, mut version) = (None, None);
        let mut folder = PathBuf::from("/");
        let mut file = None;
        let number = listed.packages.len();
        for (key, value) in package.lines().filter_map(|line| line.split_once(':')) {
            match key {
                "P" => name = Some(value),
                "V" => version = Some(value),
                "F" => {
                    folder = Path::new("/").join(value);
                    file = None;
                }
                "R" => file = path_of(&folder, value),
                "Z" => {
                    if let (Some(file), Some(sum)) = (file.take(), digest(value)) {
                        listed.files.insert(file, (number, sum));
                    }
                }
                _ => {}
            }
        }
        // Without a name, nothing above has a package.
        let (name, version) = (name.unwrap_or_default(), version.unwrap_or_default());
        listed.packages.push(Package { name: name.to_owned(), version: version.to_owned() });
    }
    listed.files.retain(|_, (number, _)| {
        listed.packages.get(*number).is_some_and(|package| !package.name.is_empty())
    });
    listed
}

/// `Q1` and a SHA-1 in base64, or `Q2` and a SHA-256. That of a link is of its target's name; it is
/// not asked for.
fn digest(value: &str) -> Option<Sum> {
    let bytes = |text: &str| STANDARD.decode(text).ok();
    match value.split_at_checked(2)? {
        ("Q1", rest) => bytes(rest).filter(|sum| sum.len() == 20).map(|sum| Sum::Sha1(hex(&sum))),
        ("Q2", rest) => bytes(rest).filter(|sum| sum.len() == 32).map(|sum| Sum::Sha256(hex(&sum))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INSTALLED: &str = "C:Q1abc=\nP:xz\nV:5.6.3-r0\nA:aarch64\nF:usr\nF:usr/bin\nR:xz\n\
        a:0:0:755\nZ:Q12jmj7l5rSw0yVb/vlWAYkK/YBwk=\nR:unxz\na:0:0:777\n\nP:glibc\nV:2.41-r3\n\
        F:lib\nR:libc.so.6\nZ:Q1bad\nR:ld.so\nZ:Q12jmj7l5rSw0yVb/vlWAYkK/YBwk=\n\n";

    #[test]
    fn files_have_owners_and_digests() {
        let listed = parse(INSTALLED);
        let owner = |path: &str| {
            let (number, sum) = listed.files.get(Path::new(path))?;
            Some((listed.packages[*number].name.as_str(), sum.clone()))
        };
        // SHA-1 of nothing.
        let sum = Sum::Sha1("da39a3ee5e6b4b0d3255bfef95601890afd80709".to_owned());
        assert_eq!(owner("/usr/bin/xz"), Some(("xz", sum.clone())));
        assert_eq!(owner("/lib/ld.so"), Some(("glibc", sum)));
        // A link without a digest, and a digest that is none.
        assert_eq!(owner("/usr/bin/unxz"), None);
        assert_eq!(owner("/lib/libc.so.6"), None);
        let versions: Vec<&str> = listed.packages.iter().map(|p| p.version.as_str()).collect();
        assert_eq!(versions, ["5.6.3-r0", "2.41-r3", ""]);
    }

    #[test]
    fn files_of_nobody_are_left_out() {
        assert!(parse("F:bin\nR:x\nZ:Q12jmj7l5rSw0yVb/vlWAYkK/YBwk=\n").files.is_empty());
        assert!(parse("").files.is_empty());
    }
}
