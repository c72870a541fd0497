//! `anyarch why`: every reason for which a step runs.

use serde_json::Value;

use crate::bench::Bench;
use crate::needs;

/// The steps that have to run, with the reasons for it.
fn why(bench: &Bench) -> Vec<(String, Vec<String>)> {
    let out = bench.run(["why", "--json"]).success().out;
    let steps: Vec<Value> = serde_json::from_str(&out).unwrap();
    let texts = |value: &Value| -> Vec<String> {
        value.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
    };
    let to_run = steps.iter().filter(|step| step["cached"] == false);
    to_run
        .map(|step| (step["name"].as_str().unwrap().to_owned(), texts(&step["because"])))
        .collect()
}

fn assert_why(bench: &Bench, expected: &[(&str, &[&str])]) {
    let found = why(bench);
    let found: Vec<(&str, Vec<&str>)> = found
        .iter()
        .map(|(name, because)| (name.as_str(), because.iter().map(String::as_str).collect()))
        .collect();
    let expected: Vec<(&str, Vec<&str>)> =
        expected.iter().map(|(name, because)| (*name, because.to_vec())).collect();
    assert_eq!(found, expected);
    // What it says is what happens.
    let names: Vec<&str> = expected.iter().map(|(name, _)| *name).collect();
    assert_eq!(bench.steps_that_run(), names);
}

const NEEDS_COPY: &str = "it needs `COPY files/ /app/`, which has to run";

#[test]
fn every_miss_has_its_reason_needs_userns() {
    needs!("userns");
    let bench = Bench::family();
    let first = why(&bench);
    assert_eq!(first.len(), 4);
    assert!(
        first.iter().all(|(_, because)| because == &["never built in this store"]),
        "{first:?}"
    );
    bench.build();
    assert_why(&bench, &[]);

    bench.write("app/files/main", "changed\n");
    bench.write("app/files/new", "");
    let (copy, run) = ("COPY files/ /app/", "RUN cat /app/main > /built");
    assert_why(&bench, &[(copy, &["changed: files/main; new: files/new"]), (run, &[NEEDS_COPY])]);

    std::fs::remove_file(bench.path("app/files/new")).unwrap();
    bench.replace("app/Dockerfile", run, "RUN cat /app/main > /other");
    assert_why(
        &bench,
        &[
            (copy, &["removed: files/new"]),
            (
                "RUN cat /app/main > /other",
                &["the instruction changed; it was `RUN cat /app/main > /built`", NEEDS_COPY],
            ),
        ],
    );
}

#[test]
fn arguments_settings_and_new_instructions_are_named_needs_userns() {
    needs!("userns");
    let bench = Bench::one("FROM root\nARG A=1\nRUN echo $A > /a\nRUN echo b\n");
    bench.build();
    bench.dockerfile("FROM root\nARG A=2\nRUN echo $A > /a\nRUN echo b\n");
    assert_why(
        &bench,
        &[
            ("RUN echo $A > /a", &["A changed from `1` to `2`"]),
            (
                "RUN echo b",
                &["A changed from `1` to `2`", "it needs `RUN echo $A > /a`, which has to run"],
            ),
        ],
    );
    bench.dockerfile("FROM root\nARG A=2\nRUN echo $A > /a\nCOPY x /\nUSER 7\nRUN echo b\n");
    bench.write("app/x", "");
    assert_why(
        &bench,
        &[
            ("COPY x /", &["the instruction is new"]),
            (
                "RUN echo b",
                &["the user changed from `` to `7`", "it needs `COPY x /`, which has to run"],
            ),
        ],
    );
}

#[test]
fn a_result_that_is_lost_is_said_to_be_needs_userns() {
    needs!("userns");
    let bench = Bench::one("FROM root\nRUN echo 1 > /a\n");
    bench.build();
    let layer = bench.manifest().layers.last().unwrap().digest.clone();
    std::fs::remove_file(bench.store().join("blobs/sha256").join(layer.hex())).unwrap();
    assert_why(&bench, &[("RUN echo 1 > /a", &["its result is no longer in the store"])]);
}
