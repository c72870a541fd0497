//! Other programs read what is published and exported.

use std::fs;
use std::net::TcpListener;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::bench::{Bench, signal, wait_until};
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
    let podman = |args: &[&str]| {
        let (root, run) = (bench.around().join("podman"), bench.around().join("podman-run"));
        let mut command = Command::new("podman");
        command.arg("--root").arg(root).arg("--runroot").arg(run).args(["--storage-driver", "vfs"]);
        said(command.args(args))
    };
    podman(&["pull", "--quiet", "--tls-verify=false", &image]);
    let text = podman(&["image", "inspect", &image]);
    let found: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(found[0]["Config"]["Env"][0], "PATH=/bin");
    podman(&["rmi", "--all"]);
}

#[test]
fn debians_registry_takes_a_publication_needs_userns_and_docker_registry() {
    needs!("userns", "docker_registry");
    let bench = released();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let folder = bench.around().join("registry");
    let config = format!(
        "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: '127.0.0.1:{port}'}}\n",
        folder.display()
    );
    fs::write(bench.around().join("registry.yml"), config).unwrap();
    let mut child = Command::new("docker-registry")
        .args(["serve", "registry.yml"])
        .current_dir(bench.around())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_until("the registry listens", || {
        std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
    });
    let to = format!("127.0.0.1:{port}/team/demo");
    let first = bench.run(["publish", "--to", &to]);
    let second = bench.run(["publish", "--to", &to]);
    signal(&child, "TERM");
    child.wait().unwrap();
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
