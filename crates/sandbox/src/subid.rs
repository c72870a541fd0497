//! Text of `/etc/subuid` or `/etc/subgid` → the ranges of one user, and ranges → a mapping.
//!
//! Reads no file (subuid(5): `name-or-uid:start:count`, one range a line).

/// Ids that a user may use in a user namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) start: u32,
    pub(crate) count: u32,
}

/// The ranges that `text` gives to a user, by name or by number, in the file's order. Lines that
/// are not ranges are passed over, as newuidmap does.
pub(crate) fn ranges(text: &str, user: Option<&str>, uid: u32) -> Vec<Range> {
    text.lines()
        .filter_map(|line| {
            let mut fields = line.trim().split(':');
            let owner = fields.next()?;
            let start: u32 = fields.next()?.parse().ok()?;
            let count: u32 = fields.next()?.parse().ok()?;
            let end = start.checked_add(count)?;
            let ours = user == Some(owner) || owner.parse() == Ok(uid);
            (fields.next().is_none() && ours && count > 0 && end > start)
                .then_some(Range { start, count })
        })
        .collect()
}

/// Arguments of newuidmap and newgidmap after the pid: `own` becomes 0, the ranges follow from 1.
pub(crate) fn mapping(own: u32, ranges: &[Range]) -> Vec<String> {
    let mut arguments = vec!["0".to_owned(), own.to_string(), "1".to_owned()];
    let mut next = 1u32;
    for range in ranges {
        let Some(after) = next.checked_add(range.count) else {
            break;
        };
        arguments.extend([next.to_string(), range.start.to_string(), range.count.to_string()]);
        next = after;
    }
    arguments
}

/// How many ids `/proc/PID/uid_map` maps.
pub(crate) fn mapped_ids(uid_map: &str) -> u64 {
    uid_map.lines().filter_map(|line| line.split_whitespace().nth(2)?.parse::<u64>().ok()).sum()
}

/// `/proc/PID/uid_map` → the map of a namespace inside of that one, in which every id keeps its
/// number.
pub(crate) fn identity(uid_map: &str) -> String {
    uid_map.lines().fold(String::new(), |out, line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        match fields[..] {
            [inside, _, count] => out + inside + " " + inside + " " + count + "\n",
            _ => out,
        }
    })
}

/// The name of a user in the text of `/etc/passwd`.
pub(crate) fn user_name(passwd: &str, uid: u32) -> Option<String> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let id: u32 = fields.nth(1)?.parse().ok()?;
        (id == uid && !name.is_empty()).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "root:10:5\nann:100000:65536\n# ann:1:1\n1000:300000:10\n\nann:7\nann:x:3\nann:4294967295:9\nann:5:0\nbob:200000:65536\nann:1:2:3\n";

    #[test]
    fn ranges_are_found_by_name_and_by_number() {
        assert_eq!(
            ranges(TEXT, Some("ann"), 1000),
            [Range { start: 100_000, count: 65_536 }, Range { start: 300_000, count: 10 }]
        );
        assert_eq!(ranges(TEXT, None, 1000), [Range { start: 300_000, count: 10 }]);
        assert_eq!(ranges(TEXT, Some("carl"), 7), []);
        assert_eq!(ranges("", Some("ann"), 1000), []);
    }

    #[test]
    fn own_id_becomes_zero_and_ranges_follow_without_a_gap() {
        let all = ranges(TEXT, Some("ann"), 1000);
        assert_eq!(mapping(1000, &all).join(" "), "0 1000 1 1 100000 65536 65537 300000 10");
        assert_eq!(mapping(1000, &[]).join(" "), "0 1000 1");
    }

    #[test]
    fn mapping_stops_before_ids_run_out() {
        let huge = Range { start: 1, count: u32::MAX - 1 };
        assert_eq!(mapping(0, &[huge, huge]).len(), 6);
    }

    #[test]
    fn ids_of_a_map_are_counted() {
        assert_eq!(
            mapped_ids("         0       1000          1\n         1     100000      65536\n"),
            65_537
        );
        assert_eq!(mapped_ids("         0          0 4294967295\n"), 4_294_967_295);
        assert_eq!(mapped_ids("nonsense"), 0);
    }

    #[test]
    fn ids_keep_their_numbers_one_namespace_further_in() {
        assert_eq!(
            identity("         0       1000          1\n         1     100000      65536\n"),
            "0 0 1\n1 1 65536\n"
        );
        assert_eq!(identity("         0          0 4294967295\n"), "0 0 4294967295\n");
        assert_eq!(identity("nonsense"), "");
    }

    #[test]
    fn names_come_from_passwd() {
        let passwd = "root:x:0:0::/root:/bin/sh\nbroken\nann:x:1000:1000::/home/ann:/bin/sh\n";
        assert_eq!(user_name(passwd, 1000).as_deref(), Some("ann"));
        assert_eq!(user_name(passwd, 5), None);
    }
}
