//! A family like the example's, made of files only: foreign platforms need no emulation, and every
//! image says of itself which it is.

use std::collections::BTreeMap;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use anyarch_engine::StoreImages;
use anyarch_http::{Client, Config};
use anyarch_oci::{Digest, ImageConfig, ImageSource, Manifest, Platform, Reference, Tag};
use anyarch_registry::{Anonymous, RegistryClient, Repository};
use anyarch_store::Store;

use crate::bench::{Bench, signal, wait_until};

/// The plan; images say `IS=FLAVOR/ARCH:TIER`.
pub const PLAN: &str = r#"[project]
name = "mcp-ragex"

[flavor.cpu]
platforms = ["linux/amd64", "linux/arm64"]
tiers = [
  { name = "base", dockerfile = "docker/Dockerfile.base", build-args = { FLAVOR = "cpu" } },
  { name = "ml", dockerfile = "docker/Dockerfile.ml", build-args = { FLAVOR = "cpu" } },
  { name = "app", dockerfile = "docker/Dockerfile.app", build-args = { FLAVOR = "cpu" } },
]

[flavor.cuda]
platforms = ["linux/amd64"]
accelerator = "cuda"
tiers = [
  { name = "base", dockerfile = "docker/Dockerfile.base", build-args = { FLAVOR = "cuda" } },
  { name = "ml", dockerfile = "docker/Dockerfile.ml", build-args = { FLAVOR = "cuda" } },
  { name = "app", dockerfile = "docker/Dockerfile.app", build-args = { FLAVOR = "cuda" } },
]

[index.latest-cpu]
members = ["cpu/amd64", "cpu/arm64"]

[index.latest]
members = ["cpu/amd64", "cpu/arm64", "cuda/amd64"]
"#;

/// Two flavors, three members, three tiers.
pub fn family() -> Bench {
    let bench = Bench::empty();
    bench.write("anyarch.toml", PLAN);
    for (tier, from) in
        [("base", "FROM scratch"), ("ml", "FROM ${BASE_IMAGE}"), ("app", "FROM ${BASE_IMAGE}")]
    {
        let argument = if tier == "base" { "" } else { "ARG BASE_IMAGE\n" };
        bench.write(
            &format!("docker/Dockerfile.{tier}"),
            format!(
                "{argument}{from}\nARG FLAVOR TARGETARCH\nENV IS=${{FLAVOR}}/${{TARGETARCH}}:{tier}\n\
                 WORKDIR /{tier}\nCOPY src/{tier} ./${{FLAVOR}}-${{TARGETARCH}}\n"
            ),
        );
        bench.write(&format!("src/{tier}"), format!("{tier}\n"));
    }
    bench
}

/// What an image is, in its own words, and what an index says it runs on.
fn image(source: &dyn ImageSource, at: &Reference, platform: Option<&Platform>) -> String {
    let (descriptor, bytes) = source.manifest(at).unwrap();
    let Manifest::Image(image) = Manifest::parse(&bytes, Some(&descriptor.media_type)).unwrap()
    else {
        panic!("{at} is no image");
    };
    let mut text = Vec::new();
    let mut config = source.blob(at, &image.config, 0).unwrap();
    std::io::Read::read_to_end(&mut config, &mut text).unwrap();
    let config: ImageConfig = serde_json::from_slice(&text).unwrap();
    let is = config.config.env.iter().rev().find_map(|entry| entry.strip_prefix("IS=")).unwrap();
    let own = config.platform();
    match platform {
        None => format!("{is} ({own})"),
        Some(platform) => {
            assert_eq!(platform.to_string(), own.to_string());
            let features = platform.os_features.iter().map(|feature| format!(" with {feature}"));
            format!("{is} ({own}{})", features.collect::<String>())
        }
    }
}

/// One line a tag: an image, or in brackets the images of an index, in its order.
pub fn shelf(tags: &[Tag], source: &dyn ImageSource, repository: &Reference) -> String {
    let mut text = String::new();
    for tag in tags {
        let at = Reference { tag: Some(tag.clone()), ..repository.clone() };
        let (descriptor, bytes) = source.manifest(&at).unwrap();
        let holds = match Manifest::parse(&bytes, Some(&descriptor.media_type)).unwrap() {
            Manifest::Image(_) => image(source, &at, None),
            Manifest::Index(index) => {
                let one = |entry: &anyarch_oci::Descriptor| {
                    image(source, &at.with_digest(entry.digest.clone()), entry.platform.as_ref())
                };
                format!("[{}]", index.manifests.iter().map(one).collect::<Vec<_>>().join(", "))
            }
        };
        text.push_str(&format!("{tag}: {holds}\n"));
    }
    text
}

/// The tags of a repository in the store of a bench, and so in its embedded registry.
pub fn in_store(bench: &Bench, repository: &str) -> String {
    let store = Store::open(&bench.store()).unwrap();
    let name: Reference = format!("embedded.example/{repository}").parse().unwrap();
    shelf(&store.tags(&name.repository).unwrap(), &StoreImages(&store), &name)
}

/// The tags of a repository in a registry: `HOST/PATH`.
pub fn in_registry(repository: &str) -> String {
    let name: Reference = repository.parse().unwrap();
    let tags: Vec<Tag> = digests(repository).into_keys().map(|tag| tag.parse().unwrap()).collect();
    shelf(&tags, &client(), &name)
}

/// What the tags of a repository in a registry point to.
pub fn digests(repository: &str) -> BTreeMap<String, Digest> {
    let name: Reference = repository.parse().unwrap();
    let tags = client().tags(&Repository::of(&name)).unwrap().unwrap_or_default();
    let digest = |tag: &Tag| {
        let at = Reference { tag: Some(tag.clone()), ..name.clone() };
        client().resolve(&at).unwrap().unwrap().digest
    };
    tags.iter().map(|tag| (tag.to_string(), digest(tag))).collect()
}

fn client() -> RegistryClient {
    RegistryClient::new(Client::new(Config::default()).unwrap(), Anonymous)
}

/// Text without what differs between runs: digests, sizes, and where the registry is.
pub fn redacted(text: &str, host: &str) -> String {
    let mut shown = text.replace(host, "registry.example");
    while let Some(at) = shown.find("sha256:") {
        let end = shown[at + 7..].find(|c: char| !c.is_ascii_hexdigit());
        let end = end.map_or(shown.len(), |end| at + 7 + end);
        shown.replace_range(at..end, "[DIGEST]");
    }
    // Short ones stand between spaces or before a `;`.
    let short = |word: &str| word.len() == 12 && word.chars().all(|c| c.is_ascii_hexdigit());
    let words = shown.split_inclusive([' ', ';', '\n']);
    words
        .map(|word| match word.char_indices().next_back() {
            Some((end, _)) if short(&word[..end]) => format!("[DIGEST]{}", &word[end..]),
            _ => word.to_owned(),
        })
        .collect()
}

/// Debian's `docker-registry` on a free port, ended when dropped.
pub struct DebianRegistry {
    child: Child,
    host: String,
    _folder: tempfile::TempDir,
}

impl DebianRegistry {
    /// Starts it with nothing in it.
    pub fn start() -> DebianRegistry {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("content");
        let config = format!(
            "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: '127.0.0.1:{port}'}}\n",
            root.display()
        );
        std::fs::write(folder.path().join("registry.yml"), config).unwrap();
        let child = Command::new("docker-registry")
            .args(["serve", "registry.yml"])
            .current_dir(folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        wait_until("the registry listens", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        DebianRegistry { child, host: format!("127.0.0.1:{port}"), _folder: folder }
    }

    /// Host and port, as in references.
    pub fn host(&self) -> &str {
        &self.host
    }
}

impl Drop for DebianRegistry {
    fn drop(&mut self) {
        signal(&self.child, "TERM");
        self.child.wait().unwrap();
    }
}
