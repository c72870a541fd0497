//! Other programs read what is published and exported.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::bench::{Bench, signal, wait_until};
use crate::family::{DebianRegistry, family};
use crate::needs;
use crate::publish::{Served, released};

/// The output of a program that must succeed.
#[track_caller]
fn said(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn skopeo(bench: &Bench, args: &[&str]) -> String {
    said(Command::new("skopeo").args(args).current_dir(bench.around()).env("HOME", bench.around()))
}

fn podman(bench: &Bench, args: &[&str]) -> String {
    let (root, run) = (bench.around().join("podman"), bench.around().join("podman-run"));
    let mut command = Command::new("podman");
    command.arg("--root").arg(root).arg("--runroot").arg(run).args(["--storage-driver", "vfs"]);
    said(command.args(args))
}

fn inspect(bench: &Bench, image: &str) -> Value {
    let text = skopeo(bench, &["inspect", "--tls-verify=false", image]);
    serde_json::from_str(&text).unwrap()
}

#[test]
fn skopeo_copies_from_the_embedded_registry_needs_userns_and_skopeo() {
    needs!("userns", "skopeo");
    let bench = released();
    let published = bench.run(["publish", "--progress", "json"]).success().events_of("result");
    let served = Served::start(&bench);
    let image = format!("docker://{}/demo:latest", served.host);
    skopeo(&bench, &["copy", "--src-tls-verify=false", &image, "oci:copied:latest"]);
    let copied = inspect(&bench, "oci:copied:latest");
    assert_eq!(copied["Layers"].as_array().unwrap().len(), 4);
    let tags = skopeo(
        &bench,
        &["list-tags", "--tls-verify=false", &format!("docker://{}/demo", served.host)],
    );
    let tags: Value = serde_json::from_str(&tags).unwrap();
    for tag in published[0]["result"].as_array().unwrap() {
        let tag = tag["tag"].as_str().unwrap().split_once(':').unwrap().1;
        assert!(tags["Tags"].as_array().unwrap().iter().any(|known| known == tag), "{tag}: {tags}");
    }
}

#[test]
fn podman_pulls_needs_userns_and_podman() {
    needs!("userns", "podman");
    let bench = released();
    bench.run(["publish"]).success();
    let served = Served::start(&bench);
    let image = format!("{}/demo:latest", served.host);
    podman(&bench, &["pull", "--quiet", "--tls-verify=false", &image]);
    let text = podman(&bench, &["image", "inspect", &image]);
    let found: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(found[0]["Config"]["Env"][0], "PATH=/bin");
    podman(&bench, &["rmi", "--all"]);
}

/// The words by which an image of the family says which it is.
fn says(environment: &Value) -> &str {
    let words = environment.as_array().unwrap().iter().filter_map(Value::as_str);
    words.filter_map(|entry| entry.strip_prefix("IS=")).next_back().unwrap()
}

/// Pulls that each client must get right: tag, platform if one is asked for, image.
const PULLS: [(&str, Option<&str>, &str); 5] = [
    ("latest", None, "cpu/amd64:app"),
    ("latest", Some("linux/arm64"), "cpu/arm64:app"),
    ("latest-cpu", None, "cpu/amd64:app"),
    ("latest-cpu", Some("linux/arm64"), "cpu/arm64:app"),
    ("cuda-latest", None, "cuda/amd64:app"),
];

#[cfg(target_arch = "x86_64")]
#[test]
fn skopeo_gets_the_image_of_each_platform_needs_userns_and_skopeo() {
    needs!("userns", "skopeo");
    let bench = family();
    bench.run(["publish", "--quiet"]).success();
    let served = Served::start(&bench);
    for (tag, platform, wanted) in PULLS {
        let image = format!("docker://{}/mcp-ragex:{tag}", served.host);
        let arch = platform.map_or("amd64", |platform| platform.trim_start_matches("linux/"));
        let args = ["--override-arch", arch, "inspect", "--tls-verify=false", &image];
        let found: Value = serde_json::from_str(&skopeo(&bench, &args)).unwrap();
        assert_eq!(says(&found["Env"]), wanted, "{tag} {platform:?}");
        assert_eq!(found["Architecture"], arch);
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn podman_gets_the_image_of_each_platform_needs_userns_and_podman() {
    needs!("userns", "podman");
    let bench = family();
    bench.run(["publish", "--quiet"]).success();
    let served = Served::start(&bench);
    for (tag, platform, wanted) in PULLS {
        let image = format!("{}/mcp-ragex:{tag}", served.host);
        let mut pull = vec!["pull", "--quiet", "--tls-verify=false"];
        pull.extend(platform.iter().flat_map(|platform| ["--platform", *platform]));
        pull.push(&image);
        podman(&bench, &pull);
        let text = podman(&bench, &["image", "inspect", &image]);
        let found: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(says(&found[0]["Config"]["Env"]), wanted, "{tag} {platform:?}");
        podman(&bench, &["rmi", "--all", "--force"]);
    }
}

/// A program that runs in the background, ended when dropped.
struct Daemon(Child);

impl Daemon {
    /// Starts it and waits for its socket; `None`, with a message, where the program is missing.
    fn start(bench: &Bench, program: &str, args: &[&str], socket: &Path) -> Option<Daemon> {
        let mut command = Command::new(program);
        let log = fs::File::create(bench.around().join(format!("{program}.log"))).unwrap();
        command.args(args).current_dir(bench.around()).stdin(Stdio::null());
        command.stdout(log.try_clone().unwrap()).stderr(log);
        let child = match command.spawn() {
            Ok(child) => child,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                eprintln!("left out: there is no {program} on this machine");
                return None;
            }
            Err(error) => panic!("{program}: {error}"),
        };
        let daemon = Daemon(child);
        wait_until(program, || std::os::unix::net::UnixStream::connect(socket).is_ok());
        Some(daemon)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        signal(&self.0, "TERM");
        self.0.wait().unwrap();
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn docker_gets_the_image_of_each_platform_needs_root_and_docker() {
    needs!("root", "docker");
    let bench = family();
    bench.run(["publish", "--quiet"]).success();
    let served = Served::start(&bench);
    let at = |name: &str| bench.around().join(name).display().to_string();
    let host = format!("unix://{}", at("docker.sock"));
    let args = [
        &format!("--host={host}"),
        &format!("--data-root={}", at("docker")),
        &format!("--exec-root={}", at("docker-exec")),
        &format!("--pidfile={}", at("docker.pid")),
        "--storage-driver=vfs",
        "--bridge=none",
        "--iptables=false",
        "--ip6tables=false",
    ];
    let Some(_daemon) =
        Daemon::start(&bench, "dockerd", &args, &bench.around().join("docker.sock"))
    else {
        return;
    };
    let docker = |args: &[&str]| {
        said(Command::new("docker").args(["--host", &host]).args(args).env("HOME", bench.around()))
    };
    for (tag, platform, wanted) in PULLS {
        let image = format!("{}/mcp-ragex:{tag}", served.host);
        let mut pull = vec!["pull", "--quiet"];
        pull.extend(platform.iter().flat_map(|platform| ["--platform", *platform]));
        pull.push(&image);
        docker(&pull);
        let found: Value = serde_json::from_str(&docker(&["image", "inspect", &image])).unwrap();
        assert_eq!(says(&found[0]["Config"]["Env"]), wanted, "{tag} {platform:?}");
        docker(&["rmi", "--force", &image]);
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn containerd_gets_the_image_of_each_platform_needs_root_and_docker() {
    needs!("root", "docker");
    let bench = family();
    bench.run(["publish", "--quiet"]).success();
    let served = Served::start(&bench);
    let at = |name: &str| bench.around().join(name).display().to_string();
    let socket = at("containerd.sock");
    let args =
        ["--root", &at("containerd"), "--state", &at("containerd-state"), "--address", &socket];
    let Some(_daemon) =
        Daemon::start(&bench, "containerd", &args, &bench.around().join("containerd.sock"))
    else {
        return;
    };
    for (number, (tag, platform, wanted)) in PULLS.into_iter().enumerate() {
        // Each in a namespace of its own, so that what is there came with this pull.
        let space = format!("pull{number}");
        let ctr = |command: &str, more: &[&str]| {
            let mut ctr = Command::new("ctr");
            ctr.args(["--address", &socket, "--namespace", &space, "image", command]);
            said(ctr.args(more))
        };
        let image = format!("{}/mcp-ragex:{tag}", served.host);
        let platform = platform.unwrap_or("linux/amd64");
        let which = ["--snapshotter", "native", "--platform", platform, &image];
        ctr("pull", &[&["--plain-http"], &which as &[&str]].concat());
        // It holds the configurations of both amd64 images; what counts is the tree that it makes.
        let tree = at("tree");
        fs::create_dir_all(&tree).unwrap();
        ctr("mount", &[&which as &[&str], &[&tree]].concat());
        let file = wanted.trim_end_matches(":app").replace('/', "-");
        let found = bench.around().join("tree/app").join(file).exists();
        ctr("unmount", &[&tree]);
        assert!(found, "{tag} {platform}");
    }
}

#[test]
fn debians_registry_takes_a_publication_needs_userns_and_docker_registry() {
    needs!("userns", "docker_registry");
    let bench = released();
    let registry = DebianRegistry::start();
    let to = format!("{}/team/demo", registry.host());
    let first = bench.run(["publish", "--to", &to]);
    let second = bench.run(["publish", "--to", &to]);
    let (first, second) = (first.success(), second.success());
    assert_eq!(first.image_digest(), second.image_digest());
    assert!(second.err.ends_with("nothing to do: everything is up to date\n"), "{}", second.err);
}

#[test]
fn exports_are_read_by_skopeo_needs_userns_and_skopeo() {
    needs!("userns", "skopeo");
    let bench = Bench::family();
    let manifest = bench.manifest();
    let diff_ids = bench.config().rootfs.diff_ids;
    let layers: Vec<String> =
        manifest.layers.iter().map(|layer| layer.digest.to_string()).collect();
    for (output, source) in [
        ("oci:layout", "oci:work/layout"),
        ("oci-archive:image.oci.tar", "oci-archive:work/image.oci.tar"),
        ("docker-archive:image.tar", "docker-archive:work/image.tar"),
    ] {
        bench.run(["export", "cpu", "--output", output]).success();
        let found = inspect(&bench, source);
        let names = || {
            found["Layers"].as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned())
        };
        match output.starts_with("docker") {
            // An archive of Docker's holds plain layers.
            true => assert!(names().eq(diff_ids.iter().map(|id| id.0.to_string())), "{found:#}"),
            false => assert!(names().eq(layers.iter().cloned()), "{found:#}"),
        }
        assert_eq!(found["Env"][0], "PATH=/bin");
        skopeo(&bench, &["copy", source, "dir:copied"]);
        fs::remove_dir_all(bench.around().join("copied")).unwrap();
    }
}

#[test]
fn exports_are_the_same_bytes_each_time_needs_userns() {
    needs!("userns");
    let bench = Bench::family();
    for kind in ["oci-archive", "docker-archive"] {
        let file = |name: &str| {
            bench.run(["export", "cpu", "--output", &format!("{kind}:{name}")]).success();
            fs::read(bench.path(name)).unwrap()
        };
        assert!(file("one.tar") == file("two.tar"), "{kind}");
    }
}
