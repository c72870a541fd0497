//! `kill -9` at bad moments: the next run heals and finishes with the same image.

use std::fs;
use std::time::Duration;

use crate::bench::{Bench, is_alive, wait_until};
use crate::needs;
use crate::packages;

/// The next run finishes, with this digest, and leaves nothing.
fn heals(bench: &Bench, digest: &str) {
    assert_eq!(bench.build(), digest);
    bench.assert_clean();
}

#[test]
fn in_the_middle_of_a_run_needs_userns() {
    needs!("userns");
    let text = "FROM root\nRUN echo half > /f; sleep 1.004; echo whole > /f\n";
    let digest = Bench::one(text).build();
    let bench = Bench::one(text);
    for _ in 0..3 {
        let mut child = bench.start(["build"]);
        wait_until("the step sleeps", || is_alive("1.004"));
        child.kill().unwrap();
        child.wait().unwrap();
        wait_until("the processes of the step are gone", || !is_alive("1.004"));
        assert_eq!(bench.mounts(), Vec::<String>::new());
    }
    let said = bench.run(["build"]).success();
    assert!(
        said.err.contains("removed what 1 interrupted run had left unfinished"),
        "{}",
        said.err
    );
    heals(&bench, &digest);
}

#[test]
fn in_the_middle_of_a_layer_needs_userns() {
    needs!("userns");
    let bench = Bench::one("FROM root\nCOPY large /large\n");
    bench.write("app/large", anyarch_testkit::random_bytes(7, 60_000_000));
    let whole = Bench::one("FROM root\nCOPY large /large\n");
    fs::copy(bench.path("app/large"), whole.path("app/large")).unwrap();
    let digest = whole.build();
    for least in [1_000_000, 20_000_000, 50_000_000] {
        let mut child = bench.start(["build"]);
        wait_until("the layer grows", || bench.unfinished("ingest") > least);
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(bench.mounts(), Vec::<String>::new());
        assert_eq!(bench.left_in_work().len(), 1);
    }
    heals(&bench, &digest);
}

#[test]
fn at_any_moment_needs_userns() {
    needs!("userns");
    let digest = Bench::family().build();
    let bench = Bench::family();
    let mut killed = 0;
    for milliseconds in (0..40).map(|step| step * 13) {
        let mut child = bench.start(["build"]);
        std::thread::sleep(Duration::from_millis(milliseconds % 300));
        killed += i32::from(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(bench.mounts(), Vec::<String>::new());
    }
    assert!(killed > 0, "every build ended before it could be killed");
    heals(&bench, &digest);
}

#[test]
fn in_the_middle_of_a_download_needs_userns() {
    needs!("userns");
    let (archive, whole) = packages::bench(&[packages::large()]);
    let digest = whole.build();
    archive.take_log();
    let bench = packages::bench_of(&archive);
    archive.fault("pool/large", anyarch_testkit::Answer::Stall);
    for _ in 0..2 {
        let mut child = bench.start(["build"]);
        archive.wait_for_stall();
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(bench.mounts(), Vec::<String>::new());
    }
    archive.mend();
    heals(&bench, &digest);
}
#[test]
fn a_registry_that_serves_the_store_is_no_hindrance_needs_userns() {
    needs!("userns");
    let bench = Bench::family();
    let digest = bench.build();
    let served = crate::publish::Served::start(&bench);
    bench.write("app/files/main", "changed\n");
    let mut child = bench.start(["build"]);
    std::thread::sleep(Duration::from_millis(60));
    child.kill().unwrap();
    child.wait().unwrap();
    bench.write("app/files/main", "main\n");
    assert_eq!(bench.build(), digest);
    assert_eq!(bench.left_in_work().len(), 1, "that of the registry");
    drop(served);
    bench.assert_clean();
}
