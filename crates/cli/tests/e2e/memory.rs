//! A large tier goes through the program without being held in memory.

use std::fs;
use std::process::{Child, Stdio};

use anyarch_testkit::TestRegistry;

use crate::bench::Bench;
use crate::needs;

/// Peak of a process's memory in bytes: as long as it runs, the high-water mark that its system
/// keeps.
fn peak(mut child: Child) -> u64 {
    let path = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    while child.try_wait().unwrap().is_none() {
        let status = fs::read_to_string(&path).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        peak = peak.max(kilobytes.unwrap_or_default() * 1024);
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert!(child.wait().unwrap().success());
    peak
}

#[test]
fn large_tier_is_built_and_pushed_in_little_memory_needs_userns() {
    needs!("userns");
    let bench = Bench::one(
        "FROM root\nRUN head -c 200000000 /dev/urandom > /noise && yes text | head -c 150000000 > /text \
         && head -c 50000000 /dev/zero > /zeros && mkdir /many \
         && i=0; while test $i -lt 2000; do echo $i > /many/$i; i=$((i+1)); done\n",
    );
    let start = |args: &[&str]| {
        let mut command = bench.command(args);
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    let built = peak(start(&["build"]));
    let registry = TestRegistry::start();
    let pushed = peak(start(&["publish", "--to", &format!("{}/team/demo", registry.host())]));
    eprintln!("peak memory: build {} MB, publish {} MB", built / 1_000_000, pushed / 1_000_000);
    assert!(bench.manifest().layers[1].size > 200_000_000);
    for peak in [built, pushed] {
        assert!((1..200_000_000).contains(&peak), "{peak} bytes");
    }
}
