//! Publishing: which tags, what is sent, and what a failing test holds back.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use anyarch_testkit::{Fault, TestRegistry};
use snapbox::{assert_data_eq, str};

use crate::bench::{Bench, signal};
use crate::needs;

/// `anyarch serve` over a store, ended when dropped.
pub struct Served {
    child: Child,
    /// Host and port.
    pub host: String,
}

impl Served {
    /// Serves the store of a bench on a free port.
    pub fn start(bench: &Bench) -> Served {
        let mut command = bench.command(&["serve", "--addr", "127.0.0.1:0"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let host = line.trim_end().rsplit("http://").next().unwrap().to_owned();
        Served { child, host }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        signal(&self.child, "INT");
        assert!(self.child.wait().unwrap().success());
    }
}

/// The family with a version and two flavors, the second with an accelerator.
pub fn released() -> Bench {
    let bench = Bench::family();
    bench.replace("anyarch.toml", "name = \"demo\"", "name = \"demo\"\nversion = \"v1.2.0\"");
    let plan = std::fs::read_to_string(bench.path("anyarch.toml")).unwrap();
    let (_, flavor) = plan.split_once("[flavor.cpu]").unwrap();
    let cuda = flavor.replace("tiers", "accelerator = \"cuda\"\ntiers");
    let smoke = "\nsmoke = [\"sh\", \"-c\", \"test -e /app/main\"]";
    bench.write(
        "anyarch.toml",
        format!(
            "{plan}{}\n[flavor.cuda]{cuda}{smoke}\n\n[index.latest]\nmembers = [\"cpu/{arch}\", \"cuda/{arch}\"]\n",
            smoke.trim_start(),
            arch = crate::bench::ARCH
        ),
    );
    bench
}

/// Tags and digests' equality, not the digests themselves: `tag A`, `tag B`, `tag A`.
fn tags(bench: &Bench) -> String {
    let done = bench.run(["publish", "--progress", "json"]).success();
    let result = done.events_of("result");
    let mut seen = Vec::new();
    let mut text = String::new();
    for tag in result[0]["result"].as_array().unwrap() {
        let digest = tag["digest"].as_str().unwrap().to_owned();
        let at = seen.iter().position(|known| *known == digest).unwrap_or_else(|| {
            seen.push(digest);
            seen.len() - 1
        });
        let (name, unchanged) = (tag["tag"].as_str().unwrap(), &tag["unchanged"]);
        text.push_str(&format!("{name} {} {unchanged}\n", char::from(b'A' + at as u8)));
    }
    text.replace(crate::bench::ARCH, "[ARCH]")
}

#[test]
fn embedded_registry_gets_the_tags_of_the_plan_needs_userns() {
    needs!("userns");
    let bench = released();
    assert_data_eq!(
        tags(&bench),
        str![[r#"
demo:v1.2.0-cpu-[ARCH] A false
demo:v1.2.0-cuda-[ARCH] A false
demo:v1.2.0 B false
demo:latest-cpu-[ARCH] A false
demo:cuda-[ARCH] A false
demo:cuda-latest A false
demo:latest B false

"#]]
    );
    assert_data_eq!(
        tags(&bench),
        str![[r#"
demo:v1.2.0-cpu-[ARCH] A true
demo:v1.2.0-cuda-[ARCH] A true
demo:v1.2.0 B true
demo:latest-cpu-[ARCH] A true
demo:cuda-[ARCH] A true
demo:cuda-latest A true
demo:latest B true

"#]]
    );
}

#[test]
fn second_publish_uploads_nothing_needs_userns() {
    needs!("userns");
    let bench = released();
    let registry = TestRegistry::start();
    let to = format!("{}/team/demo", registry.host());
    bench.run(["publish", "--to", &to]).success();
    registry.take_log();
    let second = bench.run(["publish", "--to", &to]).success();
    assert!(second.err.ends_with("nothing to do: everything is up to date\n"), "{}", second.err);
    let wrote: Vec<_> = registry
        .take_log()
        .into_iter()
        .filter(|entry| !matches!(entry.method.as_str(), "GET" | "HEAD"))
        .collect();
    assert_eq!(wrote, []);
}

#[test]
fn accelerated_images_come_last_and_say_so_needs_userns() {
    needs!("userns");
    let bench = released();
    let registry = TestRegistry::start();
    let to = format!("{}/team/demo", registry.host());
    bench.run(["publish", "--to", &to]).success();
    let store = registry.store();
    let tag =
        store.resolve(&"team/demo".parse().unwrap(), &"latest".parse().unwrap()).unwrap().unwrap();
    let index: serde_json::Value =
        serde_json::from_slice(&store.read_blob(&tag.digest).unwrap()).unwrap();
    let entries = index["manifests"].as_array().unwrap();
    assert_eq!(entries.len(), 2);
    assert!(entries[0]["platform"].get("os.features").is_none(), "{index:#}");
    assert_eq!(entries[1]["platform"]["os.features"][0], "cuda");
}

#[test]
fn failing_smoke_leaves_every_tag_where_it_was_needs_userns() {
    needs!("userns");
    let bench = released();
    let registry = TestRegistry::start();
    let to = format!("{}/team/demo", registry.host());
    bench.run(["publish", "--to", &to]).success();
    let repository = "team/demo".parse().unwrap();
    let all = || {
        let tags = registry.store().tags(&repository).unwrap();
        tags.iter()
            .map(|tag| {
                (
                    tag.to_string(),
                    registry.store().resolve(&repository, tag).unwrap().unwrap().digest,
                )
            })
            .collect::<Vec<_>>()
    };
    let before = all();
    bench.write("app/Dockerfile", "ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\nCOPY files/other /app/\n");
    let done = bench.run(["publish", "--to", &to, "--version", "v1.2.1"]);
    assert_eq!(done.code, Some(1), "{done:?}");
    assert_eq!(all(), before);
}

#[test]
fn another_anyarch_takes_what_is_published_needs_userns() {
    needs!("userns");
    let bench = released();
    let elsewhere = Bench::empty();
    let served = Served::start(&elsewhere);
    let to = format!("{}/team/demo", served.host);
    let first = bench.run(["publish", "--to", &to]).success();
    let second = bench.run(["publish", "--to", &to]).success();
    assert_eq!(first.image_digest(), second.image_digest());
    drop(served);
    let images = elsewhere.run(["images"]).success().out;
    assert!(images.contains("team/demo") && images.contains("v1.2.0"), "{images}");
}

#[test]
fn upload_that_breaks_off_is_tried_again_needs_userns() {
    needs!("userns");
    let bench = released();
    let registry = TestRegistry::start();
    registry.fault(Fault::drop_connection("PUT", "/blobs/uploads/", 1000));
    registry.fault(Fault::answer("PUT", "/manifests/", 503));
    let to = format!("{}/team/demo", registry.host());
    bench.run(["publish", "--to", &to]).success();
}

#[test]
fn registry_that_refuses_needs_userns() {
    needs!("userns");
    let bench = Bench::family();
    let registry = TestRegistry::start();
    let denied = Fault::answer("POST", "/blobs/uploads/", 403)
        .times(100)
        .body(r#"{"errors":[{"code":"DENIED","message":"requested access is denied"}]}"#);
    registry.fault(denied);
    let to = format!("{}/team/demo", registry.host());
    let said = bench.fails(["publish", "--quiet", "--to", &to]);
    let said = said.replace(&registry.host(), "registry.example");
    let digest = said.split("sha256:").nth(1).unwrap().split_whitespace().next().unwrap();
    assert_data_eq!(
        said.replace(digest, "[DIGEST]"),
        str![[r#"
error: failed to push sha256:[DIGEST] to registry.example/team/demo
  caused by: failed to push blob sha256:[DIGEST] to registry.example/team/demo
  caused by: registry answered 403 DENIED (requested access is denied) to POST /v2/team/demo/blobs/uploads/
  hint: log in, or check that this account may do that in this repository
exit 1

"#]]
    );
}

#[test]
fn registry_that_is_down_needs_userns() {
    needs!("userns");
    let bench = Bench::family();
    let free =
        std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let said = bench.fails(["publish", "--quiet", "--to", &format!("{free}/team/demo")]);
    let said = said.replace(&free, "registry.example").replace(crate::bench::ARCH, "[ARCH]");
    assert_data_eq!(
        said,
        str![[r#"
error: failed to look up registry.example/team/demo:latest-cpu-[ARCH]
  caused by: failed to resolve registry.example/team/demo:latest-cpu-[ARCH]
  caused by: failed to connect for http://registry.example/v2/team/demo/manifests/latest-cpu-[ARCH]
  caused by: error sending request
  caused by: client error (Connect)
  caused by: tcp connect error
  caused by: Connection refused (os error 111)
  hint: check that the server is running and that no proxy or firewall is in the way
exit 1

"#]]
    );
}
