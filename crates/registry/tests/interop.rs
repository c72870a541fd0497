//! Against other people's programs: our client with Debian's docker-registry, and skopeo and podman
//! with our server.
//!
//! These tests need the programs of the same names. Set `ANYARCH_TEST_SKIP_DOCKER_REGISTRY=1`,
//! `ANYARCH_TEST_SKIP_SKOPEO=1` or `ANYARCH_TEST_SKIP_PODMAN=1` to leave them out.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::io::Read;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyarch_http::{Body, Method, Request};
use anyarch_oci::{NoMemory, Platform, PushedBlob};
use anyarch_registry::Repository;
use anyarch_registry::server::{Accounts, Options, RunningServer, Server, Tls};
use anyarch_store::Store;
use anyarch_testkit::{
    TestAuthority, TestImage, TestIndex, TestRegistry, image_differences, random_bytes,
};
use common::{Kept, amd64, blob, chain, client, http, push, push_as, push_from, stored, tag};
use tempfile::TempDir;

fn skipped(program: &str) -> bool {
    std::env::var_os(format!("ANYARCH_TEST_SKIP_{program}")).is_some()
}

/// Debian's registry over a folder of its own.
struct DockerRegistry {
    child: Child,
    host: String,
    _folder: TempDir,
}

impl DockerRegistry {
    fn start() -> DockerRegistry {
        let folder = tempfile::tempdir().unwrap();
        let host = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let config = folder.path().join("config.yml");
        let root = folder.path().join("data");
        let text = format!(
            "version: 0.1\nlog:\n  level: error\nstorage:\n  delete:\n    enabled: true\n  \
             filesystem:\n    rootdirectory: {}\nhttp:\n  addr: {host}\n",
            root.display()
        );
        fs::write(&config, text).unwrap();
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("docker-registry is needed");
        let registry = DockerRegistry { child, host, _folder: folder };
        let client = client();
        for _ in 0..200 {
            if client.ping(&registry.host).is_ok() {
                return registry;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("docker-registry does not answer at {}", registry.host);
    }
}

impl Drop for DockerRegistry {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[test]
fn push_and_pull_needs_docker_registry() {
    if skipped("DOCKER_REGISTRY") {
        return;
    }
    let registry = DockerRegistry::start();
    let client = client();
    let repository = Repository::new(&registry.host, "acme/app".parse().unwrap());
    let reference = |text: &str| format!("{}/{text}", registry.host).parse().unwrap();
    assert_eq!(client.tags(&repository).unwrap(), None);
    let platforms = [amd64(), Platform::new("linux", "arm64")];
    let index = TestIndex::random(1, &platforms);
    let digest = index.push(&client, &repository, &tag("latest")).unwrap();

    let latest = reference("acme/app:latest");
    assert_eq!(client.resolve(&latest).unwrap().unwrap().digest, digest);
    assert_eq!(client.manifest(&latest).unwrap().1, index.bytes);
    let (chosen, bytes) = client.manifest_for(&latest, &platforms[1]).unwrap();
    assert_eq!(bytes, index.images[1].bytes);
    let by_digest = latest.with_digest(chosen.digest);
    assert!(image_differences((&client, &by_digest), (&client, &by_digest)).is_empty());
    assert_eq!(client.tags(&repository).unwrap().unwrap(), [tag("latest")]);

    // A mount across repositories, and nothing at all the second time.
    let (layer, content) = &index.images[0].blobs[0];
    let other = Repository::new(&registry.host, "acme/other".parse().unwrap());
    let push = || {
        let from = [repository.name.clone()];
        push_as(&client, &other, layer, content, &from, &NoMemory).unwrap()
    };
    assert_eq!((push(), push()), (PushedBlob::Mounted, PushedBlob::Existed));

    // No image there has this layer, so the registry opens a session where a mount was asked for.
    let bytes = random_bytes(9, 5_000_000);
    let pushed = push_from(&client, &other, &bytes, &[&repository]).unwrap();
    assert_eq!(pushed, PushedBlob::Uploaded(5_000_000));
    let mut got = Vec::new();
    let mut content = client.pull_blob(&other, &blob(&bytes), 4_000_000).unwrap();
    std::io::copy(&mut content, &mut got).unwrap();
    assert_eq!(got, bytes[4_000_000..]);

    client.delete_manifest(&repository, &digest).unwrap();
    assert_eq!(client.resolve(&latest).unwrap(), None);
    let missing = TestImage::random(77, 1, &amd64());
    let kind = &missing.manifest.media_type;
    let error = client.push_manifest(&repository, None, kind, &missing.bytes).unwrap_err();
    assert!(chain(&error).contains("MANIFEST_BLOB_UNKNOWN"), "{}", chain(&error));
    assert_eq!(client.referrers(&repository, &digest, None).unwrap(), []);
}

/// A way to a registry that ends after so many bytes from us, for each number in turn.
fn cut_way(target: String, cuts: Vec<u64>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        let mut cuts = cuts.into_iter();
        for from in listener.incoming() {
            let (from, to) = (from.unwrap(), TcpStream::connect(&target).unwrap());
            let limit = cuts.next().unwrap_or(u64::MAX);
            let (mut answers, mut back) = (to.try_clone().unwrap(), from.try_clone().unwrap());
            std::thread::spawn(move || std::io::copy(&mut answers, &mut back));
            std::thread::spawn(move || {
                let copied = std::io::copy(&mut (&from).take(limit), &mut (&to));
                // Either end may have gone first.
                let ended = [to.shutdown(Shutdown::Both), from.shutdown(Shutdown::Both)];
                drop((copied, ended));
            });
        }
    });
    address
}

#[test]
fn broken_upload_needs_docker_registry() {
    if skipped("DOCKER_REGISTRY") {
        return;
    }
    let registry = DockerRegistry::start();
    let client = client();
    let bytes = random_bytes(10, 9_000_000);

    // This registry gives up a session of which a part of a request arrived, so all is sent anew.
    let way = cut_way(registry.host.clone(), vec![3_000_000]);
    let repository = Repository::new(&way, "acme/app".parse().unwrap());
    let pushed = push(&client, &repository, &bytes).unwrap();
    assert!(matches!(pushed, PushedBlob::Uploaded(sent) if sent > 9_000_000), "{pushed:?}");
    assert_eq!(stored(&client, &repository, &bytes), bytes);

    // A session whose last request was finished is gone on with.
    let bytes = random_bytes(11, 9_000_000);
    let repository = Repository::new(&registry.host, "acme/app".parse().unwrap());
    let begin = format!("http://{}/v2/acme/app/blobs/uploads/", registry.host);
    let opened = http().send(&Request::new(Method::Post, begin)).unwrap();
    let place = opened.header("location").unwrap();
    let first = Request::new(Method::Patch, place)
        .header("content-type", "application/octet-stream")
        .body(Body::Bytes(bytes[..5_000_000].to_vec()));
    let appended = http().send(&first).unwrap();
    assert_eq!(appended.status, 202);
    let kept = Kept(Some(appended.header("location").unwrap().to_owned()).into());
    let pushed = push_as(&client, &repository, &blob(&bytes), &bytes, &[], &kept).unwrap();
    assert_eq!(pushed, PushedBlob::Uploaded(4_000_000));
    assert_eq!(stored(&client, &repository, &bytes), bytes);
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

fn skopeo() -> Command {
    let mut skopeo = Command::new("skopeo");
    skopeo.arg("--insecure-policy");
    skopeo
}

#[test]
fn copy_in_and_out_needs_skopeo() {
    if skipped("SKOPEO") {
        return;
    }
    let registry = TestRegistry::start();
    let client = client();
    let folder = tempfile::tempdir().unwrap();
    let index = TestIndex::random(1, &[amd64(), Platform::new("linux", "arm64")]);
    index.push(&client, &registry.repository("acme/app"), &tag("v1")).unwrap();
    let source = format!("docker://{}/acme/app:v1", registry.host());
    let layout = format!("oci:{}:v1", folder.path().join("layout").display());
    let copy = ["copy", "--all", "--src-tls-verify=false", "--dest-tls-verify=false"];

    run(skopeo().args(copy).args([&source, &layout]));
    let target = format!("docker://{}/copied/app:v1", registry.host());
    run(skopeo().args(copy).args([&layout, &target]));
    let (_, bytes) = client.manifest(&registry.reference("copied/app:v1")).unwrap();
    assert_eq!(bytes, index.bytes);

    // Docker's media types, converted by skopeo on the way in.
    let docker = format!("docker://{}/docker/app:v1", registry.host());
    let convert = ["copy", "--format=v2s2", "--src-tls-verify=false", "--dest-tls-verify=false"];
    run(skopeo().args(convert).args([&source, &docker]));
    let a = registry.reference("acme/app").with_digest(index.images[0].manifest.digest.clone());
    let b = registry.reference("docker/app:v1");
    let differences = image_differences((&client, &a), (&client, &b));
    assert!(differences.is_empty(), "{differences:?}");

    let listed =
        run(skopeo().args(["list-tags", "--tls-verify=false", &docker.replace(":v1", "")]));
    assert!(listed.contains("\"v1\""), "{listed}");
    run(skopeo().args(["delete", "--tls-verify=false", &docker]));
    assert_eq!(client.resolve(&b).unwrap(), None);
}

fn podman(root: &Path) -> Command {
    let mut podman = Command::new("podman");
    podman.arg("--root").arg(root.join("root")).arg("--runroot").arg(root.join("run"));
    podman.args(["--storage-driver=vfs", "--cgroup-manager=cgroupfs"]);
    podman
}

#[test]
fn pull_and_push_needs_podman() {
    if skipped("PODMAN") {
        return;
    }
    let registry = TestRegistry::start();
    let client = client();
    let folder = tempfile::tempdir().unwrap();
    let index = TestIndex::random(1, &[Platform::host(), Platform::new("linux", "s390x")]);
    index.push(&client, &registry.repository("acme/app"), &tag("v1")).unwrap();
    let name = format!("{}/acme/app:v1", registry.host());
    run(podman(folder.path()).args(["pull", "--tls-verify=false", &name]));
    let shown = run(podman(folder.path()).args(["inspect", "--format", "{{.Config.Env}}", &name]));
    assert!(shown.contains("SEED=1"), "{shown}");

    let pushed = format!("{}/pushed/app:v2", registry.host());
    let push = ["push", "--tls-verify=false", "--remove-signatures"];
    run(podman(folder.path()).args(push).args([&name, &pushed]));
    let a = registry.reference("acme/app").with_digest(index.images[0].manifest.digest.clone());
    let b = registry.reference("pushed/app:v2");
    let differences = image_differences((&client, &a), (&client, &b));
    assert!(differences.is_empty(), "{differences:?}");
}

/// A server with TLS and an account, and a store that holds `acme/app:v1`.
struct Secured {
    authority: TestAuthority,
    server: RunningServer,
    image: TestImage,
    store: Store,
    _folder: TempDir,
}

impl Secured {
    fn start(anonymous_pull: bool) -> Secured {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let image = TestImage::random(1, 2, &Platform::host());
        for (blob, bytes) in &image.blobs {
            assert_eq!(store.put_blob(bytes).unwrap(), blob.digest);
        }
        store.put_blob(&image.bytes).unwrap();
        store.tag(&"acme/app".parse().unwrap(), &tag("v1"), &image.manifest).unwrap();
        let authority = TestAuthority::new();
        let options = Options {
            accounts: Some(Accounts::read(&authority.accounts()).unwrap()),
            anonymous_pull,
            tls: Some(Tls::read(&authority.certificate(), &authority.key()).unwrap()),
            ..Options::default()
        };
        let server = Server::bind_with("127.0.0.1:0", store.clone(), options).unwrap();
        let server = server.serve_in_background().unwrap();
        Secured { authority, server, image, store, _folder: folder }
    }

    fn has(&self, name: &str) -> bool {
        let found = self.store.resolve(&name.parse().unwrap(), &tag("v2")).unwrap();
        found.is_some_and(|found| found.digest == self.image.manifest.digest)
    }
}

fn fails(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(!output.status.success(), "{command:?} must fail");
}

#[test]
fn accounts_and_tls_needs_skopeo() {
    if skipped("SKOPEO") {
        return;
    }
    let secured = Secured::start(false);
    let host = secured.server.addr();
    let (from, to) = (format!("docker://{host}/acme/app:v1"), format!("docker://{host}/to/app:v2"));
    let trust = secured.authority.trust();
    let skopeo = |verb: &str, sides: &[&str], creds: Option<&str>| {
        let mut command = skopeo();
        command.arg(verb).env("HOME", secured.authority.folder());
        for side in sides {
            command.arg(format!("--{side}cert-dir={}", trust.display()));
            command.args(creds.map(|creds| format!("--{side}creds={creds}")));
        }
        command
    };
    for creds in [None, Some("ann:wrong"), Some("bob:secret")] {
        fails(skopeo("inspect", &[""], creds).arg(&from));
    }
    let ann = Some("ann:secret");
    run(skopeo("copy", &["src-", "dest-"], ann).args([&from, &to]));
    assert!(secured.has("to/app"));
    run(skopeo("delete", &[""], ann).arg(&to));
    assert!(!secured.has("to/app"));
}

#[test]
fn anyone_pulls_and_accounts_push_needs_skopeo() {
    if skipped("SKOPEO") {
        return;
    }
    let secured = Secured::start(true);
    let host = secured.server.addr();
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (format!("docker://{host}/acme/app:v1"), format!("docker://{host}/to/app:v2"));
    let layout = format!("oci:{}:v1", folder.path().display());
    let trust = secured.authority.trust();
    let copy = |side: &str| {
        let mut command = skopeo();
        command.arg("copy").arg(format!("--{side}-cert-dir={}", trust.display()));
        command.env("HOME", secured.authority.folder());
        command
    };
    run(copy("src").args([&from, &layout]));
    fails(copy("dest").args([&layout, &to]));
    fails(copy("src").args(["--src-creds=ann:wrong", &from, &layout]));
    run(copy("dest").args(["--dest-creds=ann:secret", &layout, &to]));
    assert!(secured.has("to/app"));
}

#[test]
fn login_pull_and_push_needs_podman() {
    if skipped("PODMAN") {
        return;
    }
    let secured = Secured::start(false);
    let host = secured.server.addr().to_string();
    let folder = tempfile::tempdir().unwrap();
    let trust = format!("--cert-dir={}", secured.authority.trust().display());
    let logins = format!("--authfile={}", folder.path().join("auth.json").display());
    let (from, to) = (format!("{host}/acme/app:v1"), format!("{host}/to/app:v2"));
    let podman = |args: &[&str]| {
        let mut command = podman(folder.path());
        command.args(args).args([&trust, &logins]);
        command
    };
    fails(podman(&["login", "--username=ann", "--password=wrong"]).arg(&host));
    run(podman(&["login", "--username=ann", "--password=secret"]).arg(&host));
    run(podman(&["pull"]).arg(&from));
    run(podman(&["push", "--remove-signatures"]).args([&from, &to]));
    let listed = secured.store.resolve(&"to/app".parse().unwrap(), &tag("v2")).unwrap();
    assert!(listed.is_some());
}
