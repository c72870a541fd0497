//! The fault matrix: a second release is published, and at every one of its requests something goes
//! wrong. Whatever it is, every tag has the old release or the new one, whole; and the next run ends
//! it without sending again what had arrived.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use anyarch_engine::{BuildError, Place, Published};
use anyarch_oci::{Descriptor, Digest, Manifest, RepositoryName};
use anyarch_store::Store;
use anyarch_testkit::{Fault, Logged, TestRegistry, TokenService, random_bytes};

use crate::bench::Bench;
use crate::family::family;
use crate::inside::{ACCOUNT, chain, destination, publish_built};
use crate::needs;

/// Size of the one large blob.
const LARGE: usize = 1_200_000;
/// How much of a body arrives before the registry goes down.
const HALF: usize = 700_000;
const OLD: &str = "v1.0.0";
const NEW: &str = "v1.1.0";

/// A registry with the old release, and the new one built.
struct Matrix {
    bench: Bench,
    registry: TestRegistry,
    to: Place,
    /// What every tag points to after the old release, and after the new one.
    old: BTreeMap<String, Digest>,
    new: BTreeMap<String, Digest>,
    /// Sizes of all that the new release has and the old one has not.
    missing: BTreeMap<Digest, u64>,
    /// The requests of publishing it without faults, as the registry gets them.
    requests: Vec<Logged>,
    /// Folders as they were when only the old release was published.
    saved: tempfile::TempDir,
}

impl Matrix {
    fn new() -> Matrix {
        let registry = TestRegistry::start_guarded(&TokenService::new(ACCOUNT.0, ACCOUNT.1));
        let bench = family();
        log_in(&bench, &registry.host());
        bench.write(
            "docker/Dockerfile.app",
            "ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\nARG FLAVOR TARGETARCH\nWORKDIR /app\n\
             COPY src/large ./\nCOPY src/app ./${FLAVOR}-${TARGETARCH}\n",
        );
        bench.write("src/large", random_bytes(1, LARGE));
        let to = Place {
            registry: Some(registry.host()),
            repository: "team/mcp-ragex".parse().unwrap(),
        };
        let saved = tempfile::tempdir().unwrap();
        let mut matrix = Matrix {
            bench,
            registry,
            to,
            old: BTreeMap::new(),
            new: BTreeMap::new(),
            missing: BTreeMap::new(),
            requests: Vec::new(),
            saved,
        };
        matrix.bench.run(["build", "--quiet", "all"]).success();
        matrix.publish(OLD, 1).unwrap();
        matrix.old = matrix.tags();
        let old_blobs = blobs(matrix.registry.store());
        matrix.save();
        matrix.bench.write("src/large", random_bytes(2, LARGE));
        matrix.bench.write("src/ml", "changed\n");
        matrix.bench.run(["build", "--quiet", "all"]).success();
        matrix.registry.take_log();
        matrix.publish(NEW, 1).unwrap();
        matrix.requests = requests(&matrix.registry);
        matrix.new = matrix.tags();
        matrix.missing = blobs(matrix.registry.store());
        matrix.missing.retain(|digest, _| !old_blobs.contains_key(digest));
        matrix
    }

    fn publish(&self, version: &str, attempts: u32) -> Result<Published, BuildError> {
        let destination = destination(&self.registry.host(), attempts);
        publish_built(&self.bench, &self.to, version, &destination)
    }

    fn repository(&self) -> &RepositoryName {
        &self.to.repository
    }

    fn tags(&self) -> BTreeMap<String, Digest> {
        let store = self.registry.store();
        let tags = store.tags(self.repository()).unwrap();
        let digest = |tag| store.resolve(self.repository(), tag).unwrap().unwrap().digest;
        tags.iter().map(|tag| (tag.to_string(), digest(tag))).collect()
    }

    /// Remembers the registry and what the client knows of it.
    fn save(&self) {
        copy(&self.registry.store().root().join("repositories"), &self.saved.path().join("names"));
        copy(&self.bench.store().join("publications"), &self.saved.path().join("journal"));
    }

    /// Makes all as it was when only the old release was published.
    fn restore(&self) {
        self.registry.mend();
        let names = self.registry.store().root().join("repositories");
        fs::remove_dir_all(&names).unwrap();
        copy(&self.saved.path().join("names"), &names);
        let journal = self.bench.store().join("publications");
        fs::remove_dir_all(&journal).unwrap();
        copy(&self.saved.path().join("journal"), &journal);
        for digest in self.missing.keys() {
            drop(fs::remove_file(self.registry.store().blob_path(digest)));
        }
        self.registry.take_log();
    }

    /// Fails unless every tag has one of the two releases, whole, and the moving ones only follow
    /// when all those with a version are there.
    #[track_caller]
    fn demand_whole(&self, case: &str) {
        let now = self.tags();
        for (tag, old) in &self.old {
            assert!(now.contains_key(tag), "{case}: {tag} is gone, it was {old}");
        }
        let mut checked = Vec::new();
        for (tag, digest) in &now {
            let known = self.old.get(tag) == Some(digest) || self.new.get(tag) == Some(digest);
            assert!(known, "{case}: {tag} is {digest}");
            let found = self.registry.store().manifest(self.repository(), digest).unwrap().unwrap();
            self.demand_content(case, tag, &found, &mut checked);
        }
        let moved = |tag: &&String| {
            !tag.contains(NEW)
                && now.get(*tag) == self.new.get(*tag)
                && self.old.get(*tag) != self.new.get(*tag)
        };
        if self.new.keys().any(|tag| moved(&tag)) {
            let versioned = self.new.keys().filter(|tag| tag.contains(NEW));
            for tag in versioned {
                assert!(now.contains_key(tag), "{case}: a tag has moved before {tag} was set");
            }
        }
    }

    #[track_caller]
    fn demand_content(&self, case: &str, tag: &str, at: &Descriptor, checked: &mut Vec<Digest>) {
        if checked.contains(&at.digest) {
            return;
        }
        checked.push(at.digest.clone());
        let store = self.registry.store();
        let bytes = store
            .read_blob(&at.digest)
            .unwrap_or_else(|error| panic!("{case}: {} of {tag} is missing: {error}", at.digest));
        assert_eq!(bytes.len() as u64, at.size, "{case}: {} of {tag}", at.digest);
        assert_eq!(Digest::sha256(&bytes), at.digest, "{case}: {tag}");
        match at.media_type.contains("manifest") || at.media_type.contains("index") {
            false => {}
            true => match Manifest::parse(&bytes, Some(&at.media_type)).unwrap() {
                Manifest::Index(index) => {
                    for entry in &index.manifests {
                        let listed = store.manifest(self.repository(), &entry.digest).unwrap();
                        assert!(
                            listed.is_some(),
                            "{case}: {} of {tag} is not listed",
                            entry.digest
                        );
                        self.demand_content(case, tag, entry, checked);
                    }
                }
                Manifest::Image(image) => {
                    for blob in image.layers.iter().chain([&image.config]) {
                        self.demand_content(case, tag, blob, checked);
                    }
                }
            },
        }
    }

    /// Bytes of blobs and manifests that have not arrived.
    fn still_missing(&self) -> u64 {
        let store = self.registry.store();
        let absent = self.missing.iter().filter(|(digest, _)| store.blob_size(digest).is_none());
        absent.map(|(_, size)| size).sum()
    }

    /// Publishes again without faults: it must succeed, and send no more than had not arrived.
    /// True where it went on with an upload that another run had begun.
    #[track_caller]
    fn demand_end(&self, case: &str, publish: impl FnOnce()) -> bool {
        self.registry.mend();
        let missing = self.still_missing();
        self.registry.take_log();
        publish();
        assert_eq!(self.tags(), self.new, "{case}");
        self.demand_whole(case);
        let log = self.registry.take_log();
        let uploads = log.iter().filter(|entry| entry.target.contains("/blobs/uploads/"));
        let sent: u64 = uploads.map(|entry| entry.received).sum();
        assert!(sent <= missing, "{case}: {sent} bytes were sent, and {missing} were missing");
        log.iter().any(|entry| entry.method == "PATCH")
    }

    /// Tries a fault at each request that `applies` chooses; `faults` takes its number among these.
    /// `recovers` says whether the run must succeed in spite of it.
    fn try_each(
        &self,
        name: &str,
        attempts: u32,
        recovers: bool,
        applies: impl Fn(&Logged) -> bool,
        faults: impl Fn(usize) -> Vec<Fault>,
    ) -> Tally {
        let mut tally = Tally::default();
        let chosen = self.requests.iter().filter(|request| applies(request));
        for (number, request) in (1..).zip(chosen) {
            // Several requests are under way at once, so this may be one of its neighbours.
            let case = format!("{name} at request {number}: {} {}", request.method, request.target);
            self.restore();
            for fault in faults(number) {
                self.registry.fault(fault);
            }
            let outcome = self.publish(NEW, attempts);
            if let (true, Err(error)) = (recovers, &outcome) {
                panic!("{case}: {}", chain(error));
            }
            self.demand_whole(&case);
            let again = || match self.publish(NEW, 1) {
                Ok(_) => {}
                Err(error) => panic!("{case}: {}", chain(&error)),
            };
            tally.cases += 1;
            tally.succeeded += usize::from(outcome.is_ok());
            tally.resumed += usize::from(self.demand_end(&case, again));
        }
        tally.show(name);
        tally
    }
}

/// How the cases of one kind ended.
#[derive(Default)]
struct Tally {
    cases: usize,
    /// Runs that ended well in spite of the fault.
    succeeded: usize,
    /// Runs after one that failed that went on with an upload.
    resumed: usize,
}

impl Tally {
    fn show(&self, name: &str) {
        let Tally { cases, succeeded, resumed } = self;
        println!(
            "fault matrix, {name}: {cases} cases, {succeeded} without failing, {resumed} resumed by the next run"
        );
    }
}

/// The requests that came through to the registry, past the service that demands tokens.
fn requests(registry: &TestRegistry) -> Vec<Logged> {
    let through = |entry: &Logged| entry.status != 401 && !entry.target.starts_with("/token");
    registry.take_log().into_iter().filter(through).collect()
}

/// All blobs of a store with their sizes.
fn blobs(store: &Store) -> BTreeMap<Digest, u64> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(store.root().join("blobs/sha256")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let digest: Digest = format!("sha256:{name}").parse().unwrap();
        let size = store.blob_size(&digest).unwrap();
        found.insert(digest, size);
    }
    found
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to),
            false => drop(fs::copy(entry.path(), to).unwrap()),
        }
    }
}

/// Gives the user of a bench the login of the account.
fn log_in(bench: &Bench, host: &str) {
    let folder = bench.around().join("home/.docker");
    fs::create_dir_all(&folder).unwrap();
    // "ada:secret"
    let config = format!(r#"{{"auths":{{"{host}":{{"auth":"YWRhOnNlY3JldA=="}}}}}}"#);
    fs::write(folder.join("config.json"), config).unwrap();
}

fn any(_: &Logged) -> bool {
    true
}

#[test]
fn lost_connections_needs_userns() {
    needs!("userns");
    let matrix = Matrix::new();
    let before = |at| vec![Fault::drop_connection("", "", 0).nth(at)];
    let after = |at| vec![Fault::lose_answer("", "").nth(at)];
    let cases = matrix.try_each("connection lost before the request", 3, true, any, before).cases
        + matrix.try_each("connection lost after the request", 3, true, any, after).cases;
    println!("fault matrix: {cases} cases of lost connections");
}

#[test]
fn refusals_for_now_needs_userns() {
    needs!("userns");
    let matrix = Matrix::new();
    let mut cases = 0;
    for status in [429, 500, 503] {
        let fault = |at| vec![Fault::answer("", "", status).header("retry-after", "0").nth(at)];
        cases += matrix.try_each(&format!("{status}"), 3, true, any, fault).cases;
    }
    println!("fault matrix: {cases} cases of refusals for now");
}

#[test]
fn expired_tokens_and_lies_needs_userns() {
    needs!("userns");
    let matrix = Matrix::new();
    let host = matrix.registry.host();
    let challenge = format!("Bearer realm=\"http://{host}/token\",service=\"{host}\"");
    let expired =
        |at| vec![Fault::answer("", "", 401).header("www-authenticate", &challenge).nth(at)];
    // A token that is refused when it is new counts as a refusal, as those of the first requests are.
    let tally = matrix.try_each("expired token", 3, false, any, expired);
    assert!(tally.succeeded * 10 >= tally.cases * 8, "{} of {}", tally.succeeded, tally.cases);
    let mut cases = tally.cases;
    let lie = |at| vec![Fault::wrong_digest_header("", "").nth(at)];
    cases += matrix.try_each("wrong digest in the answer", 3, false, any, lie).cases;
    println!("fault matrix: {cases} cases of expired tokens and lies");
}

#[test]
fn registry_that_goes_down_needs_userns() {
    needs!("userns");
    let matrix = Matrix::new();
    let down = |at| {
        vec![
            Fault::cut_off("", "", HALF).nth(at),
            Fault::drop_connection("", "", 0).nth(at + 1).times(usize::MAX),
        ]
    };
    let mut cases = matrix.try_each("registry down from there", 1, false, any, down).cases;
    // Which request comes when is not the same twice; the upload of the large blob has its digest.
    let large = matrix.missing.iter().max_by_key(|(_, size)| **size).unwrap().0.hex().to_owned();
    let upload = |request: &Logged| request.method == "PUT" && request.target.contains(&large);
    let cut = |at| vec![Fault::cut_off("PUT", &large, HALF).nth(at)];
    let tally = matrix.try_each("upload cut off", 1, false, upload, cut);
    assert!(tally.resumed > 0, "no upload was gone on with");
    cases += tally.cases;
    println!("fault matrix: {cases} cases of a registry that goes down");
}

#[test]
fn uploads_whose_state_is_told_wrongly_needs_userns() {
    needs!("userns");
    let matrix = Matrix::new();
    let upload =
        |request: &Logged| request.method == "PUT" && request.target.contains("/blobs/uploads/");
    let mut cases = 0;
    for (told, after) in ["0-49", "0-0", "0-9999999", "nonsense"]
        .into_iter()
        .flat_map(|told| [(told, 100), (told, HALF)])
    {
        let faults = |number| {
            vec![
                Fault::cut_off("PUT", "/blobs/uploads/", after).nth(number),
                Fault::set_header("GET", "/blobs/uploads/", "range", told),
            ]
        };
        let name = format!("upload cut off after {after} bytes, state {told}");
        cases += matrix.try_each(&name, 3, true, upload, faults).cases;
    }
    println!("fault matrix: {cases} cases of uploads whose state is told wrongly");
}

#[test]
fn mounts_needs_userns() {
    needs!("userns");
    let mut matrix = Matrix::new();
    // Another repository gets the new release first, so that it can be mounted from there.
    let staging = Place { repository: "staging/mcp-ragex".parse().unwrap(), ..matrix.to.clone() };
    publish_built(&matrix.bench, &staging, NEW, &destination(&matrix.registry.host(), 1)).unwrap();
    let copied = |from: &str| matrix.saved.path().join(from);
    let neighbour = matrix.registry.store().root().join("repositories/staging+mcp-ragex");
    copy(&neighbour, &copied("names/staging+mcp-ragex"));
    let own = copied("journal");
    for entry in
        fs::read_dir(matrix.bench.store().join("publications")).unwrap().map(Result::unwrap)
    {
        if !own.join(entry.file_name()).exists() {
            fs::copy(entry.path(), own.join(entry.file_name())).unwrap();
        }
    }
    let missing = std::mem::take(&mut matrix.missing);
    let client = crate::inside::client(1);
    let repository = matrix.registry.repository("team/mcp-ragex");
    let hide = |matrix: &Matrix| {
        matrix.restore();
        for digest in
            missing.keys().filter(|digest| matrix.registry.store().blob_size(digest).is_some())
        {
            // What is in the store is in every repository, unless it was deleted from it.
            // Manifests are blobs too, and stay hidden.
            drop(client.delete_blob(&repository, digest));
        }
        matrix.registry.take_log();
    };
    hide(&matrix);
    let published = matrix.publish(NEW, 1).unwrap();
    assert!(published.mounted > 0 && published.uploaded == 0, "{published:?}");
    let mounts = requests(&matrix.registry);
    let mounts = mounts.iter().filter(|request| request.target.contains("mount=")).count();
    let host = matrix.registry.host();
    let challenge = format!("Bearer realm=\"http://{host}/token\",service=\"{host}\"");
    let path = "/blobs/uploads/";
    let mut cases = 0;
    for number in 1..=mounts {
        for fault in [
            Fault::ignore_mount(path),
            Fault::ignore_mount(path).times(usize::MAX),
            Fault::drop_connection("POST", path, 0),
            Fault::lose_answer("POST", path),
            Fault::answer("POST", path, 500),
            Fault::answer("POST", path, 503),
            Fault::answer("POST", path, 404),
            Fault::answer("POST", path, 429).header("retry-after", "0"),
            Fault::answer("POST", path, 401).header("www-authenticate", &challenge),
        ] {
            let fault = fault.nth(number);
            let case = format!("{fault:?}");
            hide(&matrix);
            matrix.registry.fault(fault);
            matrix.publish(NEW, 3).unwrap_or_else(|error| panic!("{case}: {}", chain(&error)));
            matrix.demand_whole(&case);
            assert_eq!(matrix.tags(), matrix.new, "{case}");
            cases += 1;
        }
    }
    println!("fault matrix: {cases} cases of mounts");
}

impl Matrix {
    /// Kills the program at one request, and lets it be run again. True where that went on with an
    /// upload.
    fn kill_at(&self, case: &str, (stall, reached): (Fault, Receiver<()>)) -> bool {
        self.restore();
        self.registry.fault(stall);
        let to = self.to.to_string();
        let mut child = self.bench.start(["publish", "--to", &to, "--version", NEW]);
        reached.recv_timeout(Duration::from_secs(60)).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        self.demand_whole(case);
        self.demand_end(case, || {
            drop(self.bench.run(["publish", "--to", &to, "--version", NEW]).success());
        })
    }
}

#[test]
fn killed_clients_needs_userns() {
    needs!("userns");
    let matrix = Matrix::new();
    let mut tally = Tally::default();
    for (number, request) in (1..).zip(&matrix.requests) {
        let case = format!("killed at request {number}: {} {}", request.method, request.target);
        let (stall, reached) = Fault::stall("", "", HALF);
        tally.cases += 1;
        tally.resumed += usize::from(matrix.kill_at(&case, (stall.nth(number), reached)));
    }
    // One of the uploads is the large blob's; which one differs from run to run.
    for number in (1..=7).cycle().take(35) {
        if tally.resumed > 0 {
            break;
        }
        let (stall, reached) = Fault::stall("PUT", "/blobs/uploads/", HALF);
        tally.cases += 1;
        let case = format!("killed at upload {number}");
        tally.resumed += usize::from(matrix.kill_at(&case, (stall.nth(number), reached)));
    }
    tally.show("client killed");
    println!("fault matrix: {} cases of killed clients", tally.cases);
    assert!(tally.resumed > 0, "no upload was gone on with");
}
