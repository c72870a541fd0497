//! Named contexts, contexts and sources of the network, and what becomes of the files of an image.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::bench::{Bench, wait_until};
use crate::language::serve;
use crate::needs;

/// A folder without a plan.
fn bench(dockerfile: &str) -> Bench {
    let bench = Bench::empty();
    bench.write("Dockerfile", dockerfile);
    bench.write("main", "main");
    bench
}

/// The files below a folder, sorted, with what is in them.
fn files(folder: &Path) -> Vec<(String, String)> {
    fn walk(root: &Path, folder: &Path, found: &mut Vec<(String, String)>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(root, &path, found);
            } else {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                found.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    let mut found = Vec::new();
    walk(folder, folder, &mut found);
    found.sort();
    found
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
}

const TWO_STAGES: &str = "FROM scratch AS first\nCOPY main /stage\nFROM scratch\n\
                          COPY --from=lib . /lib/\nCOPY --from=first / /first/\n";

#[test]
fn names_mean_folders_and_images_and_go_before_stages_needs_userns() {
    needs!("userns");
    let bench = bench(TWO_STAGES);
    bench.write("lib/a", "a");
    bench.write("lib/ignored", "");
    bench.write("lib/.dockerignore", "ignored\n.dockerignore\n");
    bench.run(["build", "--build-context", "LIB=lib", "-o", "out", "."]).success();
    assert_eq!(files(&bench.path("out")), pairs(&[("first/stage", "main"), ("lib/a", "a")]));

    // The same name for an image in a layout, and for one in the store.
    bench.write("Other", "FROM scratch\nCOPY lib/a /other\n");
    let layout = "type=oci-layout,dest=layout";
    bench.run(["build", "-f", "Other", "-t", "other:v1", "-o", layout, "."]).success();
    for source in [
        "first=oci-layout://layout",
        "first=oci-layout://layout:v1",
        "first=docker-image://other:v1",
    ] {
        fs::remove_dir_all(bench.path("out")).unwrap();
        bench
            .run([
                "build",
                "--build-context",
                "lib=lib",
                "--build-context",
                source,
                "-o",
                "out",
                ".",
            ])
            .success();
        let expected = pairs(&[("first/other", "a"), ("lib/a", "a")]);
        assert_eq!(files(&bench.path("out")), expected, "{source}");
    }
    for (source, said) in [
        ("first=oci-layout://layout:v2", "has no such image"),
        ("first=oci-layout://lib", "expected a folder in the OCI image layout"),
        ("first=nowhere", "is not a folder"),
        ("first=ftp://x", "is no kind of context"),
        ("first=target:x", "for plans only"),
    ] {
        let lib = "lib=lib";
        let args = ["build", "--build-context", lib, "--build-context", source, "-t", "x", "."];
        let error = bench.fails(args);
        assert!(error.contains(said), "{source}: {error}");
    }
    let error = bench.fails(["build", "--build-context", "scratchy=lib", "-f", "Bad", "."]);
    assert!(error.contains("there is no Dockerfile"), "{error}");
    bench.write("Bad", "FROM lib\n");
    let error = bench.fails(["build", "--build-context", "lib=lib", "-f", "Bad", "."]);
    assert!(error.contains("COPY --from=lib . /"), "{error}");
}

#[test]
fn a_layout_that_lies_is_refused_needs_userns() {
    needs!("userns");
    let bench = bench("FROM image\nCOPY main /\n");
    bench.write("Other", "FROM scratch\nCOPY main /other\n");
    bench.run(["build", "-f", "Other", "-o", "type=oci-layout,dest=layout", "."]).success();
    let blobs = bench.path("layout/blobs/sha256");
    for blob in fs::read_dir(&blobs).unwrap() {
        let path = blob.unwrap().path();
        let honest = fs::read(&path).unwrap();
        let mut lying = honest.clone();
        *lying.last_mut().unwrap() ^= 1;
        fs::write(&path, lying).unwrap();
        let store = bench.path("other-store");
        let store = store.to_str().unwrap();
        let error = bench.fails([
            "--store",
            store,
            "build",
            "--build-context",
            "image=oci-layout://layout",
            ".",
        ]);
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(error.contains(name), "{error}");
        fs::write(&path, honest).unwrap();
    }
}

#[test]
fn a_tier_takes_files_from_another_of_the_same_platform_needs_userns() {
    needs!("userns");
    let bench = Bench::empty();
    bench.write(
        "anyarch.toml",
        r#"
[project]
name = "demo"

[flavor.web]
platforms = ["linux/amd64", "linux/arm64"]
tiers = [{ name = "run", dockerfile = "App", contexts = { tool = "target:kit", files = "files" } }]

[flavor.kit]
platforms = ["linux/amd64", "linux/arm64"]
tiers = [{ name = "run", dockerfile = "Tool" }]
"#,
    );
    bench.write("App", "FROM scratch\nCOPY --from=tool /tool /tool\nCOPY --from=files f /\n");
    bench.write("Tool", "FROM scratch\nARG TARGETARCH\nCOPY $TARGETARCH /tool\n");
    bench.write("files/f", "");
    bench.write("amd64", "amd64");
    bench.write("arm64", "arm64");
    bench.run(["build", "web/arm64"]).success();
    let images = bench.run(["images"]).success().out;
    assert!(images.contains("web-arm64-dev") && !images.contains("kit"), "{images}");
    // Of both platforms; the last one is looked at.
    assert!(bench.layer(0).contains("\"arm64\""), "{}", bench.layer(0));
    bench.replace(
        "anyarch.toml",
        "dockerfile = \"Tool\"",
        "dockerfile = \"Tool\", contexts = { a = \"target:web\" }",
    );
    let error = bench.fails(["build", "web/arm64"]);
    assert!(error.contains("takes a context from itself"), "{error}");
    bench.replace("anyarch.toml", "target:web", "target:wb");
    let error = bench.fails(["build", "web/arm64"]);
    assert!(error.contains("`wb` is no target") && error.contains("line 11"), "{error}");
}

/// A server of one repository with the tags `v1` and `v2`; ended when dropped.
struct Repository {
    daemon: Child,
    url: String,
    commits: Vec<String>,
}

impl Repository {
    fn start(bench: &Bench) -> Repository {
        let folder = bench.around().join("served/repo.git");
        fs::create_dir_all(folder.join("sub")).unwrap();
        let git = |args: &[&str]| {
            let output = Command::new("git")
                .args(["-c", "user.name=a", "-c", "user.email=a@example"])
                .args(args)
                .current_dir(&folder)
                .env("HOME", bench.around())
                .output()
                .unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).unwrap().trim().to_owned()
        };
        git(&["init", "--quiet", "--initial-branch=main"]);
        fs::write(folder.join("Dockerfile"), "FROM scratch\nCOPY sub/ /\n").unwrap();
        fs::write(folder.join("sub/Dockerfile"), "FROM scratch\nCOPY file /only\n").unwrap();
        let mut commits = Vec::new();
        for version in ["v1", "v2"] {
            fs::write(folder.join("sub/file"), version).unwrap();
            git(&["add", "."]);
            git(&["commit", "--quiet", "--message", version]);
            git(&["tag", version]);
            commits.push(git(&["rev-parse", "HEAD"]));
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let daemon = Command::new("git")
            .args(["daemon", "--export-all", "--reuseaddr", "--listen=127.0.0.1"])
            .arg(format!("--port={port}"))
            .arg(format!("--base-path={}", bench.around().join("served").display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        wait_until("git daemon", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        Repository { daemon, url: format!("git://127.0.0.1:{port}/repo.git"), commits }
    }
}

impl Drop for Repository {
    fn drop(&mut self) {
        self.daemon.kill().ok();
        self.daemon.wait().ok();
    }
}

#[test]
fn repositories_are_sources_and_contexts_needs_userns() {
    needs!("userns");
    let bench = bench("");
    let repository = Repository::start(&bench);
    let (url, commits) = (&repository.url, &repository.commits);
    bench.write(
        "Dockerfile",
        format!(
            "FROM scratch\nADD {url}#v1:sub /v1\nADD --keep-git-dir=true {url} /v2/\n\
             ADD --checksum={} {url}#v1 /checked/\n",
            &commits[0][..12]
        ),
    );
    bench.run(["build", "-o", "out", "."]).success();
    let out = bench.path("out");
    let read = |path: &str| fs::read_to_string(out.join(path)).unwrap();
    assert_eq!(
        [read("v1/file"), read("v2/sub/file"), read("checked/sub/file")],
        ["v1", "v2", "v1"]
    );
    assert!(read("v2/.git/HEAD").contains(&commits[1]));
    assert!(!out.join("v1/.git").exists() && !out.join("checked/.git").exists());
    let again = bench.run(["build", "-o", "out2", "."]).success();
    assert!(again.err.ends_with("nothing to do: everything is up to date\n"), "{}", again.err);

    bench.write("Dockerfile", format!("FROM scratch\nADD --checksum=1234567 {url}#v1 /\n"));
    let error = bench.fails(["build", "-t", "x", "."]);
    assert!(error.contains("is not the commit demanded") && error.contains(&commits[0]), "{error}");
    bench.write("Dockerfile", format!("FROM scratch\nADD {url}#v3 /\n"));
    let error = bench.fails(["build", "-t", "x", "."]);
    assert!(
        error.contains("it has no branch or tag `v3`") && error.contains("Dockerfile:2"),
        "{error}"
    );

    for (fragment, expected) in [
        ("", pairs(&[("Dockerfile", "FROM scratch\nCOPY file /only\n"), ("file", "v2")])),
        ("#v1:sub", pairs(&[("only", "v1")])),
    ] {
        let context = format!("{url}{fragment}");
        let to: PathBuf = bench.path("built");
        bench.run(["build", "-o", "built", &context]).success();
        assert_eq!(files(&to), expected, "{context}");
        fs::remove_dir_all(&to).unwrap();
    }
    let named = format!("lib={url}#v1:sub");
    bench.write("Dockerfile", "FROM scratch\nCOPY --from=lib file /\n");
    bench.run(["build", "--build-context", &named, "-o", "built", "."]).success();
    assert_eq!(files(&bench.path("built")), pairs(&[("file", "v1")]));
}

#[test]
fn archives_and_dockerfiles_of_the_web_are_contexts_needs_userns() {
    needs!("userns");
    let bench = bench("FROM scratch\nCOPY main /from-web\n");
    let archive = Command::new("tar").args(["-cz", "."]).current_dir(bench.path(".")).output();
    let address = serve(archive.unwrap().stdout);
    bench.run(["build", "-o", "out", &format!("{address}/context.tar.gz")]).success();
    assert_eq!(files(&bench.path("out")), pairs(&[("from-web", "main")]));
    let address = serve(b"FROM scratch\nCOPY <<E /here\nx\nE\n".to_vec());
    bench.run(["build", "-o", "out2", &format!("{address}/Dockerfile")]).success();
    assert_eq!(files(&bench.path("out2")), pairs(&[("here", "x\n")]));
    let named = format!("main={address}/Dockerfile");
    let error = bench.fails(["build", "--build-context", &named, "."]);
    assert!(error.contains("is not a tar archive"), "{error}");
}

#[test]
fn files_of_an_image_become_a_folder_or_an_archive_needs_userns() {
    needs!("userns");
    let bench =
        bench("FROM scratch\nARG TARGETARCH\nCOPY main /a/$TARGETARCH\nCOPY --chmod=700 main /b\n");
    let platforms = "linux/amd64,linux/arm64";
    bench.run(["build", "--platform", platforms, "-o", "type=local,dest=out", "."]).success();
    let expected = [
        ("linux_amd64/a/amd64", "main"),
        ("linux_amd64/b", "main"),
        ("linux_arm64/a/arm64", "main"),
        ("linux_arm64/b", "main"),
    ];
    assert_eq!(files(&bench.path("out")), pairs(&expected));
    let error = bench.fails(["build", "--platform", platforms, "-o", "type=tar,dest=x.tar", "."]);
    assert!(error.contains("one archive holds the files of one platform"), "{error}");

    bench.run(["build", "--platform", "linux/arm64", "-o", "type=tar,dest=x.tar", "."]).success();
    let list = |path: &Path| {
        let listed = Command::new("tar").arg("-tvf").arg(path).env("TZ", "UTC").output().unwrap();
        String::from_utf8(listed.stdout).unwrap()
    };
    let listed = list(&bench.path("x.tar"));
    let names: Vec<&str> = listed.lines().map(|line| line.rsplit(' ').next().unwrap()).collect();
    assert_eq!(names, ["a/", "a/arm64", "b"], "{listed}");
    assert!(listed.contains("-rwx------ 0/0"), "{listed}");
    let mut command = bench.command(&["build", "--platform", "linux/arm64", "-o", "-", "."]);
    let output = command.output().unwrap();
    assert_eq!(output.stdout, fs::read(bench.path("x.tar")).unwrap());
}

#[test]
fn stages_and_tiers_run_anew_by_name_needs_userns() {
    needs!("userns");
    let bench = bench("FROM scratch AS one\nCOPY main /1\nFROM scratch\nCOPY --from=one /1 /2\n");
    bench.run(["build", "-t", "x", "."]).success();
    let ran = |name: &str| {
        let done =
            bench.run(["build", "-t", "x", "--no-cache-filter", name, "--progress", "json", "."]);
        done.success().steps_that_ran()
    };
    assert_eq!(ran("one"), ["COPY main /1"]);
    assert_eq!(ran("none"), Vec::<String>::new());
    let family = Bench::family();
    family.build();
    let done = family.run(["build", "--no-cache-filter", "app", "--progress", "json"]).success();
    assert_eq!(done.steps_that_ran(), ["COPY files/ /app/", "RUN cat /app/main > /built"]);
}
