//! How much processor time the processes of a run take, by looking at them now and then.
//!
//! The kernel keeps the sums of a process only until its parent has waited for it, and a build
//! step's processes are waited for by each other. So what is known of one is what the last look
//! showed: never too much, and nothing of those that came and went between two looks.

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

/// Time between two looks.
pub(crate) const INTERVAL: Duration = Duration::from_millis(20);

/// One process of a run, as it was last seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Process number, as the processes of the run see it.
    pub pid: u32,
    /// Name of its program, at most 15 bytes (`comm` in proc(5)).
    pub name: String,
    /// Processor time since it was started as this program, in user and kernel mode.
    pub time: Duration,
}

/// Looks at the processes below one.
pub(crate) struct Sampler {
    /// Pid 1 of the run, as this program sees it.
    top: i32,
    /// Clock ticks a second, the unit of proc(5).
    ticks: u64,
    seen: HashMap<(i32, u64), Seen>,
    done: Vec<Usage>,
}

struct Seen {
    pid: u32,
    name: String,
    /// Ticks when the program of this name was first seen, and last.
    first: u64,
    last: u64,
}

impl Sampler {
    pub(crate) fn new(top: i32) -> Sampler {
        // SAFETY: sysconf takes a number and touches no memory.
        let ticks = u64::try_from(unsafe { libc::sysconf(libc::_SC_CLK_TCK) }).unwrap_or(100);
        Sampler { top, ticks: ticks.max(1), seen: HashMap::new(), done: Vec::new() }
    }

    /// Looks at every process there is now.
    pub(crate) fn look(&mut self) {
        let mut ahead = vec![self.top];
        while let Some(pid) = ahead.pop() {
            let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
            let children = children.unwrap_or_default();
            ahead.extend(children.split_whitespace().filter_map(|pid| pid.parse::<i32>().ok()));
            if pid != self.top {
                self.look_at(pid);
            }
        }
    }

    fn look_at(&mut self, pid: i32) {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let Some((name, used, started)) = parse_stat(&stat) else { return };
        if let Some(seen) = self.seen.get_mut(&(pid, started)) {
            if seen.name == name {
                seen.last = used;
                return;
            }
            // It has become another program.
            let before = std::mem::replace(&mut seen.name, name.to_owned());
            let time = ticks(seen.last - seen.first, self.ticks);
            self.done.push(Usage { pid: seen.pid, name: before, time });
            (seen.first, seen.last) = (seen.last, used);
            return;
        }
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let Some(inner) = inner_pid(&status) else { return };
        let seen = Seen { pid: inner, name: name.to_owned(), first: 0, last: used };
        self.seen.insert((pid, started), seen);
    }

    /// What was seen.
    pub(crate) fn finish(mut self) -> Vec<Usage> {
        let per_second = self.ticks;
        self.done.extend(self.seen.into_values().map(|seen| Usage {
            pid: seen.pid,
            name: seen.name,
            time: ticks(seen.last.saturating_sub(seen.first), per_second),
        }));
        self.done
    }
}

fn ticks(count: u64, per_second: u64) -> Duration {
    Duration::from_millis(count * 1000 / per_second)
}

/// Name, processor time in ticks, and start of a process (proc(5), `/proc/pid/stat`).
fn parse_stat(text: &str) -> Option<(&str, u64, u64)> {
    // The name may hold anything, brackets and spaces too.
    let (before, after) = text.rsplit_once(')')?;
    let (_, name) = before.split_once('(')?;
    let fields: Vec<&str> = after.split_whitespace().collect();
    let number = |field: usize| fields.get(field)?.parse::<u64>().ok();
    Some((name, number(11)? + number(12)?, number(19)?))
}

/// The number of a process in its own pid namespace (proc(5), `NSpid`).
fn inner_pid(status: &str) -> Option<u32> {
    let line = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
    line.split_whitespace().next_back()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_brackets_and_spaces_are_read() {
        let text = "77 (a) b (c)) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0 1 0 9000 1 2";
        assert_eq!(parse_stat(text), Some(("a) b (c)", 300, 9000)));
        assert_eq!(parse_stat("77 (x"), None);
        assert_eq!(parse_stat("77 (x) S 1"), None);
    }

    #[test]
    fn the_innermost_number_counts() {
        assert_eq!(inner_pid("Name:\tx\nNSpid:\t4242\t17\t4\n"), Some(4));
        assert_eq!(inner_pid("NSpid:\t4242\n"), Some(4242));
        assert_eq!(inner_pid("Pid:\t1\n"), None);
    }

    #[test]
    fn a_child_that_works_is_seen() {
        let mut child =
            std::process::Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap();
        let own = i32::try_from(std::process::id()).unwrap();
        let mut sampler = Sampler::new(own);
        let found = (0..500).any(|_| {
            std::thread::sleep(INTERVAL);
            // The thread that started it is the one whose child it is.
            sampler.look_at(i32::try_from(child.id()).unwrap());
            sampler.seen.values().any(|seen| seen.last > 3)
        });
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(found);
        let usage = sampler.finish();
        assert!(usage.iter().any(|usage| usage.time >= Duration::from_millis(30)), "{usage:?}");
    }
}
