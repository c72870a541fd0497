//! What runs again, and what does not.

use std::fs;
use std::process::Command;
use std::time::{Duration, SystemTime};

use crate::bench::Bench;
use crate::needs;

#[test]
fn second_run_does_nothing_and_says_so_needs_userns() {
    needs!("userns");
    let bench = Bench::family();
    let first = bench.run(["build"]).success();
    assert!(first.err.contains("4 steps ran"), "{}", first.err);
    let second = bench.run(["build"]).success();
    assert_eq!(second.err.lines().last(), Some("nothing to do: everything is up to date"));
    assert_eq!(second.out, first.out);
}

#[test]
fn every_step_runs_without_the_cache_and_leaves_the_same_needs_userns() {
    needs!("userns");
    let bench = Bench::family();
    let first = bench.build();
    let again = bench.run(["build", "--no-cache"]).success();
    assert!(again.err.contains("4 steps ran"), "{}", again.err);
    assert_eq!(bench.build(), first);
}

#[test]
fn touched_file_rebuilds_nothing_needs_userns() {
    needs!("userns");
    let bench = Bench::family();
    bench.build();
    let later = SystemTime::now() + Duration::from_secs(3600);
    for file in ["app/files/main", "base/rootfs/bin/sh", "ml/Dockerfile", "anyarch.toml"] {
        fs::File::options()
            .append(true)
            .open(bench.path(file))
            .unwrap()
            .set_modified(later)
            .unwrap();
    }
    assert_eq!(bench.steps_that_run(), Vec::<String>::new());
}

#[test]
fn edited_file_of_the_app_runs_the_app_tier_only_needs_userns() {
    needs!("userns");
    let bench = Bench::family();
    bench.build();
    bench.write("app/files/main", "changed\n");
    assert_eq!(bench.steps_that_run(), ["COPY files/ /app/", "RUN cat /app/main > /built"]);
    assert!(bench.layer(3).contains("\"changed\\n\""), "{}", bench.layer(3));
}

#[test]
fn file_back_as_it_was_is_found_again_needs_userns() {
    needs!("userns");
    let bench = Bench::family();
    let first = bench.build();
    bench.write("app/files/main", "changed\n");
    assert_ne!(bench.build(), first);
    bench.write("app/files/main", "main\n");
    assert_eq!(bench.steps_that_run(), Vec::<String>::new());
    assert_eq!(bench.build(), first);
}

#[test]
fn ignored_file_rebuilds_nothing_needs_userns() {
    needs!("userns");
    let bench = Bench::family();
    bench.write("app/.dockerignore", "**/*.pyc\n");
    bench.build();
    bench.write("app/files/cache.pyc", "new");
    assert_eq!(bench.steps_that_run(), Vec::<String>::new());
}

#[test]
fn other_text_with_the_same_result_leaves_everything_above_cached_needs_userns() {
    needs!("userns");
    let bench = Bench::family();
    let first = bench.build();
    bench.replace("ml/Dockerfile", "RUN echo model > /model", "RUN printf 'model\\n' > /model");
    assert_eq!(bench.steps_that_run(), ["RUN printf 'model\\n' > /model"]);
    let config = bench.config();
    assert!(
        config.history.iter().any(|entry| {
            entry.created_by.as_deref().is_some_and(|text| text.contains("printf"))
        }),
        "the history tells the new text: {config:?}"
    );
    assert_ne!(bench.build(), first, "history is part of the configuration");
}

#[test]
fn changed_tier_below_runs_what_stands_on_it_needs_userns() {
    needs!("userns");
    let bench = Bench::family();
    bench.build();
    bench.replace("ml/Dockerfile", "echo model", "echo other");
    assert_eq!(
        bench.steps_that_run(),
        ["RUN echo other > /model", "COPY files/ /app/", "RUN cat /app/main > /built"]
    );
}

#[test]
fn result_whose_layer_was_lost_is_made_again_needs_userns() {
    needs!("userns");
    let bench = Bench::family();
    let digest = bench.build();
    let layer = bench.manifest().layers[1].digest.to_string();
    fs::remove_file(bench.store().join("blobs").join(layer.replace(':', "/"))).unwrap();
    assert_eq!(bench.steps_that_run(), ["RUN echo model > /model"]);
    assert_eq!(bench.build(), digest);
}

#[test]
fn snapshots_that_were_lost_are_unpacked_from_their_layers_needs_userns() {
    needs!("userns");
    let bench = Bench::family();
    bench.build();
    drop(Command::new("chmod").args(["-R", "u+rwX"]).arg(bench.store()).status());
    fs::remove_dir_all(bench.store().join("snapshots")).unwrap();
    bench.write("app/files/main", "changed\n");
    assert_eq!(bench.steps_that_run().len(), 2);
    bench.assert_clean();
}

#[test]
fn snapshots_that_a_crash_cut_short_are_unpacked_again_needs_userns() {
    needs!("userns");
    let bench = Bench::family();
    bench.build();
    let snapshots = bench.store().join("snapshots");
    let marks = || {
        let names = fs::read_dir(&snapshots).unwrap().map(|entry| entry.unwrap().path());
        names.filter(|path| path.extension().is_some_and(|end| end == "boot")).count()
    };
    assert_eq!(marks(), 0, "what is on disk is trusted in every boot");
    let places: Vec<_> =
        fs::read_dir(&snapshots).unwrap().map(|entry| entry.unwrap().path()).collect();
    let damaged = places.iter().find(|place| place.join("model").exists()).unwrap();
    fs::write(damaged.join("model"), "").unwrap();
    fs::write(damaged.with_extension("boot"), "another boot").unwrap();
    bench.replace("app/Dockerfile", "cat /app/main", "cat /model");
    assert_eq!(bench.steps_that_run(), ["RUN cat /model > /built"]);
    assert!(bench.layer(3).contains("\"model\\n\""), "{}", bench.layer(3));
    assert_eq!(marks(), 0);
}
