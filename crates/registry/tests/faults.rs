//! The client against a registry that misbehaves.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Mutex;

use anyarch_http::HttpError;
use anyarch_oci::{BlobPush, NoMemory, PushedBlob};
use anyarch_registry::{Failure, RegistryClient};
use anyarch_testkit::{Fault, TestImage, TestRegistry, open_at, random_bytes};
use common::{Kept, amd64, blob, chain, client, http, push, push_as, stored, tag};

const SIZE: usize = 3_000_000;

/// Pushes a blob past `faults`; gives where its content was opened.
fn push_past(faults: Vec<Fault>) -> (PushedBlob, Vec<u64>, TestRegistry) {
    let registry = TestRegistry::start();
    for fault in faults {
        registry.fault(fault);
    }
    let (pushed, opened) = push_opened(&client(), &registry);
    (pushed, opened, registry)
}

fn push_opened(client: &RegistryClient, registry: &TestRegistry) -> (PushedBlob, Vec<u64>) {
    let bytes = random_bytes(1, SIZE);
    let repository = registry.repository("app");
    let opened = Mutex::new(Vec::new());
    let push = BlobPush {
        repository: &repository.name,
        blob: &blob(&bytes),
        mount_from: &[],
        open: &|offset| {
            opened.lock().unwrap().push(offset);
            open_at(&bytes, offset)
        },
        progress: &|_| {},
        memory: &NoMemory,
    };
    let pushed = client.push_blob(&repository.registry, &push).unwrap();
    let opened = opened.lock().unwrap().clone();
    assert_eq!(stored(client, &repository, &bytes), bytes);
    (pushed, opened)
}

/// Bytes of uploads that arrived, over all requests.
fn received(registry: &TestRegistry) -> u64 {
    registry.take_log().iter().map(|entry| entry.received).sum()
}

fn sent(pushed: PushedBlob) -> u64 {
    match pushed {
        PushedBlob::Uploaded(sent) => sent,
        other => panic!("{other:?}"),
    }
}

#[test]
fn busy_registry_is_asked_again() {
    let busy = Fault::answer("POST", "/uploads", 429).header("retry-after", "0");
    let (pushed, opened, registry) = push_past(vec![busy, Fault::answer("HEAD", "", 500)]);
    assert_eq!((pushed, opened), (PushedBlob::Uploaded(SIZE as u64), vec![0]));
    assert_eq!((registry.count("POST", ""), registry.count("PUT", "")), (2, 1));
}

#[test]
fn upload_that_is_refused_for_now_begins_anew() {
    let (_, opened, registry) =
        push_past(vec![Fault::answer("PUT", "/uploads", 503).header("retry-after", "0")]);
    assert_eq!(opened, [0, 0]);
    assert_eq!((registry.count("POST", ""), registry.count("PUT", "")), (2, 2));
}

#[test]
fn upload_of_which_nothing_arrived_begins_anew() {
    let cut = Fault::drop_connection("PUT", "/uploads", 100_000).times(2);
    let (pushed, opened, registry) = push_past(vec![cut]);
    assert!(sent(pushed) > SIZE as u64);
    assert_eq!(opened, [0, 0, 0]);
    assert_eq!(registry.count("POST", ""), 3);
}

#[test]
fn upload_that_is_cut_off_goes_on_with_the_rest() {
    let (_, opened, registry) = push_past(vec![
        Fault::cut_off("PUT", "/uploads", 1_000_000),
        Fault::cut_off("PATCH", "/uploads", 500_000),
    ]);
    assert_eq!(opened, [0, 1_000_000, 1_500_000]);
    let counts = ["POST", "PUT", "PATCH"].map(|method| registry.count(method, "/uploads"));
    assert_eq!(counts, [1, 2, 2]);
    let log = registry.take_log();
    let last = log.iter().rfind(|entry| entry.method == "PATCH").unwrap();
    assert_eq!(last.received, (SIZE - 1_500_000) as u64);
    let closing = log.iter().rfind(|entry| entry.method == "PUT").unwrap();
    assert_eq!((closing.received, closing.status), (0, 201));
}

#[test]
fn attempts_are_counted_anew_while_an_upload_advances() {
    let cuts = Fault::cut_off("PATCH", "/uploads", 100_000).times(6);
    let (_, opened, registry) = push_past(vec![Fault::cut_off("PUT", "/uploads", 100_000), cuts]);
    let wanted: Vec<u64> = (0..8).map(|number| number * 100_000).collect();
    assert_eq!(opened, wanted);
    assert_eq!(registry.count("POST", "/uploads"), 1);
}

#[test]
fn another_process_goes_on_where_one_was_killed() {
    let registry = TestRegistry::start();
    let (repository, bytes) = (registry.repository("app"), random_bytes(1, SIZE));
    let kept = Kept::default();
    let push =
        |client: &RegistryClient| push_as(client, &repository, &blob(&bytes), &bytes, &[], &kept);
    registry.fault(Fault::cut_off("PUT", "/uploads", 2_000_000));
    registry.fault(Fault::answer("GET", "/uploads", 500).times(9));
    push(&client()).unwrap_err();
    assert!(kept.0.lock().unwrap().as_ref().unwrap().contains("/v2/app/blobs/uploads/"));
    registry.take_log();

    // More than the faults are for.
    for _ in 0..9 {
        http().get(&format!("http://{}/v2/app/blobs/uploads/x", registry.host()), 0, &[]).ok();
    }
    registry.take_log();
    assert_eq!(push(&client()).unwrap(), PushedBlob::Uploaded(1_000_000));
    assert_eq!((registry.count("POST", ""), received(&registry)), (0, 1_000_000));
    assert_eq!(*kept.0.lock().unwrap(), None);
    assert_eq!(stored(&client(), &repository, &bytes), bytes);
}

#[test]
fn kept_place_that_is_gone_or_elsewhere_is_forgotten() {
    let registry = TestRegistry::start();
    let repository = registry.repository("app");
    let elsewhere = TestRegistry::start();
    for (seed, place) in [
        (1, format!("http://{}/v2/app/blobs/uploads/gone", registry.host())),
        (2, format!("http://{}/v2/app/blobs/uploads/x", elsewhere.host())),
        (3, "not a place".to_owned()),
    ] {
        let bytes = random_bytes(seed, 1000);
        let kept = Kept(Some(place).into());
        let pushed = push_as(&client(), &repository, &blob(&bytes), &bytes, &[], &kept);
        assert_eq!(pushed.unwrap(), PushedBlob::Uploaded(1000));
        assert_eq!(*kept.0.lock().unwrap(), None);
    }
    assert!(elsewhere.take_log().is_empty());
}

#[test]
fn session_that_may_have_a_byte_or_none_begins_anew() {
    let (_, opened, registry) = push_past(vec![Fault::cut_off("PUT", "/uploads", 1)]);
    assert_eq!(opened, [0, 0]);
    assert_eq!((registry.count("POST", ""), registry.count("PATCH", "")), (2, 0));
}

#[test]
fn registry_that_knows_less_than_it_has_is_believed() {
    let short = Fault::set_header("GET", "/uploads", "range", "0-499999");
    let (_, opened, registry) =
        push_past(vec![Fault::cut_off("PUT", "/uploads", 1_000_000), short]);
    // It refuses the chunk, as it should have told: so no more chunks.
    assert_eq!(opened, [0, 500_000, 0]);
    assert_eq!(registry.count("POST", ""), 2);
}

#[test]
fn refused_chunks_are_not_tried_again_at_that_registry() {
    for status in [404, 405, 413, 416] {
        let (_, opened, registry) = push_past(vec![
            Fault::cut_off("PUT", "/uploads", 1_000_000).times(1),
            Fault::answer("PATCH", "/uploads", status).times(9),
        ]);
        assert_eq!(opened, [0, 1_000_000, 0], "{status}");
        assert_eq!((registry.count("POST", ""), registry.count("PATCH", "")), (2, 1), "{status}");
    }
    let registry = TestRegistry::start();
    let (client, repository) = (client(), registry.repository("app"));
    registry.fault(Fault::answer("PATCH", "/uploads", 405).times(9));
    for seed in [1, 2] {
        registry.fault(Fault::cut_off("PUT", "/uploads", 1000));
        push(&client, &repository, &random_bytes(seed, 100_000)).unwrap();
    }
    assert_eq!((registry.count("PATCH", ""), registry.count("GET", "/uploads")), (1, 1));
}

#[test]
fn chunks_are_small_where_large_ones_are_refused() {
    let registry = TestRegistry::start();
    let (client, repository) = (client(), registry.repository("app"));
    let bytes = random_bytes(4, 11_000_000);
    registry.fault(Fault::cut_off("PUT", "/uploads", 1_000_000));
    registry.fault(Fault::limit_body("PATCH", "/uploads", 4 << 20, 416));
    // As ECR answers.
    registry.fault(Fault::set_status("PATCH", "/uploads", 201).times(9));
    push(&client, &repository, &bytes).unwrap();
    let chunks: Vec<u64> = registry
        .take_log()
        .iter()
        .filter(|entry| entry.method == "PATCH" && entry.status != 416)
        .map(|entry| entry.received)
        .collect();
    assert_eq!(chunks, [4 << 20, 4 << 20, 10_000_000 - (8 << 20)]);
    assert_eq!(stored(&client, &repository, &bytes), bytes);
}

#[test]
fn least_length_of_chunks_is_heeded() {
    let registry = TestRegistry::start();
    let (client, repository) = (client(), registry.repository("app"));
    registry.fault(Fault::cut_off("PUT", "/uploads", 1_000_000));
    registry.fault(Fault::limit_body("PATCH", "/uploads", 6_000_000, 413));
    registry.fault(Fault::set_header("POST", "/uploads", "oci-chunk-min-length", "5000000"));
    push(&client, &repository, &random_bytes(4, 11_000_000)).unwrap();
    let log = registry.take_log();
    let chunks = log.iter().filter(|entry| entry.method == "PATCH" && entry.status == 202);
    let chunks: Vec<u64> = chunks.map(|entry| entry.received).collect();
    assert_eq!(chunks, [5_000_000, 5_000_000]);
}

#[test]
fn registry_that_kept_only_the_last_chunk_gets_everything_at_once() {
    let registry = TestRegistry::start();
    let client = client();
    registry.fault(Fault::cut_off("PUT", "/uploads", 1_000_000));
    let lost = Fault::answer("PUT", "/uploads", 400)
        .body(r#"{"errors":[{"code":"DIGEST_INVALID","message":"not that"}]}"#);
    registry.fault(lost.nth(2));
    let (_, opened) = push_opened(&client, &registry);
    assert_eq!(opened, [0, 1_000_000, 0]);
    // It is remembered.
    registry.fault(Fault::cut_off("PUT", "/uploads", 1_000_000));
    let bytes = random_bytes(2, SIZE);
    registry.take_log();
    push(&client, &registry.repository("app"), &bytes).unwrap();
    assert_eq!((registry.count("PATCH", ""), registry.count("PUT", "")), (0, 2));
}

#[test]
fn answer_that_got_lost_is_no_reason_to_send_again() {
    let registry = TestRegistry::start();
    let (client, repository) = (client(), registry.repository("app"));
    let bytes = random_bytes(5, 100_000);
    registry.fault(Fault::lose_answer("PUT", "/uploads"));
    let pushed = push(&client, &repository, &bytes).unwrap();
    assert_eq!((pushed, received(&registry)), (PushedBlob::Uploaded(100_000), 100_000));
}

#[test]
fn lost_session_begins_anew() {
    let lost = Fault::answer("PUT", "/uploads", 404)
        .body(r#"{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN","message":"gone"}]}"#);
    let (_, opened, registry) = push_past(vec![lost]);
    assert_eq!(opened, [0, 0]);
    assert_eq!(registry.count("POST", ""), 2);
}

#[test]
fn registry_that_takes_something_else_is_caught() {
    let registry = TestRegistry::start();
    registry.fault(Fault::wrong_digest_header("PUT", "/uploads"));
    let error = push(&client(), &registry.repository("app"), &random_bytes(6, 1000)).unwrap_err();
    assert!(matches!(error.source, Failure::Mismatch { .. }), "{error:?}");
}

#[test]
fn manifests_are_put_again_when_a_registry_is_busy() {
    let registry = TestRegistry::start();
    registry.fault(Fault::answer("PUT", "/manifests/", 429).header("retry-after", "0"));
    registry.fault(Fault::drop_connection("PUT", "/manifests/", 0).nth(2));
    let image = TestImage::random(1, 1, &amd64());
    image.push(&client(), &registry.repository("app"), Some(&tag("v1"))).unwrap();
    assert_eq!(registry.count("PUT", "/manifests/"), 3);
}

#[test]
fn upload_gives_up_with_the_cause() {
    let registry = TestRegistry::start();
    registry.fault(Fault::drop_connection("PUT", "/uploads", 10).times(9));
    let (bytes, repository) = (random_bytes(1, SIZE), registry.repository("app"));
    let error = push(&client(), &repository, &bytes).unwrap_err();
    assert!(matches!(error.source, Failure::Http(HttpError::Interrupted { .. })), "{error:?}");
    assert_eq!(registry.count("PUT", ""), 3);
    let head = format!("failed to push blob {} to {repository}", blob(&bytes).digest);
    assert!(chain(&error).starts_with(&head), "{}", chain(&error));
}

#[test]
fn denied_push_says_who_and_what() {
    let registry = TestRegistry::start();
    registry.fault(
        Fault::answer("POST", "/uploads", 403)
            .body(r#"{"errors":[{"code":"DENIED","message":"read only"}]}"#),
    );
    let (bytes, repository) = (random_bytes(1, 10), registry.repository("acme/app"));
    let error = push(&client(), &repository, &bytes).unwrap_err();
    let words = chain(&error);
    let cause = "registry answered 403 DENIED (read only) to POST /v2/acme/app/blobs/uploads/";
    assert!(words.ends_with(cause), "{words}");
    assert!(error.hint().is_some());
}

#[test]
fn truncated_download_goes_on_by_range() {
    let registry = TestRegistry::start();
    let (client, repository) = (client(), registry.repository("app"));
    let bytes = random_bytes(2, 1_000_000);
    push(&client, &repository, &bytes).unwrap();
    // More cuts than attempts: what arrives resets the count.
    registry.fault(Fault::truncate("GET", "/blobs/", 200_000).times(4));
    registry.take_log();
    let mut got = Vec::new();
    client.fetch_blob(&repository, &blob(&bytes), &mut got, &|_| {}).unwrap();
    assert_eq!(got, bytes);
    let ranges: Vec<_> = registry.take_log().into_iter().map(|entry| entry.range).collect();
    let wanted = [None, Some(200_000), Some(400_000), Some(600_000), Some(800_000)];
    assert_eq!(ranges, wanted.map(|from: Option<u32>| from.map(|from| format!("bytes={from}-"))));
}

#[test]
fn download_that_never_advances_gives_up() {
    let registry = TestRegistry::start();
    let (client, repository) = (client(), registry.repository("app"));
    let bytes = random_bytes(2, 1000);
    push(&client, &repository, &bytes).unwrap();
    registry.fault(Fault::truncate("GET", "/blobs/", 0).times(100));
    let error =
        client.fetch_blob(&repository, &blob(&bytes), &mut Vec::new(), &|_| {}).unwrap_err();
    assert!(matches!(error.source, Failure::Http(HttpError::Interrupted { .. })), "{error:?}");
    assert_eq!(registry.count("GET", "/blobs/"), 3);
}

#[test]
fn lies_about_digests_are_refused() {
    let registry = TestRegistry::start();
    let (client, repository) = (client(), registry.repository("app"));
    let image = TestImage::random(6, 1, &amd64());
    let digest = image.push(&client, &repository, Some(&tag("v1"))).unwrap();
    let by_tag = registry.reference("app:v1");
    let by_digest = by_tag.with_digest(digest);
    let mismatch = |failure: &Failure| matches!(failure, Failure::Mismatch { .. });

    registry.fault(Fault::wrong_digest_header("GET", "/manifests/v1"));
    assert!(mismatch(&client.manifest(&by_tag).unwrap_err().source));
    registry.fault(Fault::corrupt_body("GET", "/manifests/sha256"));
    assert!(mismatch(&client.manifest(&by_digest).unwrap_err().source));
    registry.fault(Fault::wrong_digest_header("HEAD", "/manifests/sha256"));
    assert!(mismatch(&client.resolve(&by_digest).unwrap_err().source));
    registry.fault(Fault::wrong_digest_header("PUT", "/manifests/"));
    let pushed = client.push_manifest(&repository, None, &image.manifest.media_type, &image.bytes);
    assert!(mismatch(&pushed.unwrap_err().source));
    registry.fault(Fault::corrupt_body("GET", "/blobs/"));
    let fetched = client.fetch_blob(&repository, &image.blobs[0].0, &mut Vec::new(), &|_| {});
    assert!(mismatch(&fetched.unwrap_err().source));
}

#[test]
fn blob_of_another_size_is_refused() {
    let registry = TestRegistry::start();
    let (client, repository) = (client(), registry.repository("app"));
    let bytes = random_bytes(3, 100);
    push(&client, &repository, &bytes).unwrap();
    let mut wrong = blob(&bytes);
    wrong.size = 99;
    let size = |failure: &Failure| matches!(failure, Failure::Size { expected: 99, actual: 100 });
    let fetched = client.fetch_blob(&repository, &wrong, &mut Vec::new(), &|_| {});
    assert!(size(&fetched.unwrap_err().source));
    let pushed = push_as(&client, &repository, &wrong, &bytes, &[], &NoMemory);
    assert!(size(&pushed.unwrap_err().source));
}
