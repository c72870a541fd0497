//! `FROM` an image of a registry whose layer was made to do harm, or is merely odd.

use std::fs;

use anyarch_oci::{
    Descriptor, DiffId, Digest, ImageConfig, ImageManifest, Platform, Tag, canonical_json,
    media_type,
};
use anyarch_testkit::TestRegistry;

use crate::bench::{ARCH, Bench, Done};
use crate::needs;

/// One entry: type, name, target of a link, content.
type Item<'a> = (u8, &'a str, &'a str, &'a str);

fn header(kind: u8, name: &str, target: &str, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    // The setters of the library refuse names that lead out.
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.as_old_mut().linkname[..target.len()].copy_from_slice(target.as_bytes());
    header.set_entry_type(tar::EntryType::new(kind));
    header.set_mode(0o755);
    header.set_mtime(1_000_000);
    header.set_uid(0);
    header.set_gid(0);
    header.set_device_major(0).unwrap();
    header.set_device_minor(0).unwrap();
    header.set_size(size);
    header.set_cksum();
    header
}

fn tar(items: &[Item<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (kind, name, target, content) in items {
        bytes.extend(header(*kind, name, target, content.len() as u64).as_bytes());
        bytes.extend(content.as_bytes());
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

/// A project that builds `FROM` an image with this one layer, whose diff ID is what it unpacks to.
struct Trap {
    bench: Bench,
    digest: String,
    // Serves as long as it lives.
    _registry: TestRegistry,
}

impl Trap {
    fn new(media_type: &str, layer: Vec<u8>, diff_id: Digest) -> Trap {
        let platform: Platform = format!("linux/{ARCH}").parse().unwrap();
        let mut config = ImageConfig::new(&platform);
        config.rootfs.diff_ids = vec![DiffId(diff_id)];
        let config = canonical_json(&config).unwrap();
        let descriptor = Descriptor::of(media_type, &layer);
        let digest = descriptor.digest.to_string();
        let manifest =
            ImageManifest::new(Descriptor::of(media_type::CONFIG, &config), vec![descriptor]);
        let manifest_bytes = canonical_json(&manifest).unwrap();
        let described =
            Descriptor::of(media_type::MANIFEST, &manifest_bytes).with_platform(platform);
        let registry = TestRegistry::start();
        for blob in [&layer, &config, &manifest_bytes] {
            registry.store().put_blob(blob).unwrap();
        }
        let (repository, tag) = ("team/trap".parse().unwrap(), "1".parse::<Tag>().unwrap());
        registry.store().tag(&repository, &tag, &described).unwrap();
        let bench = Bench::empty();
        let from = format!("FROM {}/team/trap:1\nCOPY Dockerfile /copied\n", registry.host());
        bench.write("Dockerfile", from);
        fs::create_dir(bench.around().join("canary")).unwrap();
        fs::write(bench.around().join("canary/file"), "untouched").unwrap();
        Trap { bench, digest, _registry: registry }
    }

    fn plain(items: &[Item<'_>]) -> Trap {
        let layer = tar(items);
        let diff_id = Digest::sha256(&layer);
        Trap::new(media_type::LAYER, layer, diff_id)
    }

    /// Builds; whatever comes of it, the canary is as it was and nothing is left half done.
    fn build(&self) -> Done {
        let done = self.bench.run(["build", "-t", "app", "."]);
        let canary = self.bench.around().join("canary");
        assert_eq!(fs::read_dir(&canary).unwrap().count(), 1);
        assert_eq!(fs::read_to_string(canary.join("file")).unwrap(), "untouched");
        assert!(self.bench.left_in_work().is_empty(), "{:?}", self.bench.left_in_work());
        done
    }

    /// The build fails, names the layer, and says this.
    #[track_caller]
    fn refused(&self, said: &str) {
        let done = self.build();
        assert_eq!(done.code, Some(1), "{done:?}");
        let layer = format!("failed to unpack layer {}", self.digest);
        assert!(done.err.contains(&layer) && done.err.contains(said), "{done:?}");
    }
}

#[test]
fn layers_that_lead_out_are_refused_by_layer_and_entry_needs_userns() {
    needs!("userns");
    let up = "../".repeat(20) + "canary/file";
    for (item, said) in [
        ((b'0', up.as_str(), "", "x"), format!("`{up}` names a path outside")),
        ((b'1', "h", up.as_str(), ""), format!("`{up}` names a path outside")),
        ((b'1', "h", "/canary/file", ""), "link archive entry `h`".to_owned()),
        ((b'0', ".wh...", "", ""), "`.wh...` names a path outside".to_owned()),
        ((b'V', "volume", "", ""), "in the entry `volume`: unknown type of entry".to_owned()),
    ] {
        Trap::plain(&[(b'0', "first", "", "1"), item]).refused(&said);
    }
}

#[test]
fn links_lead_nowhere_but_into_the_image_needs_userns() {
    needs!("userns");
    let bench = Bench::empty();
    let outside = bench.around().join("canary").display().to_string();
    fs::create_dir(&outside).unwrap();
    fs::write(format!("{outside}/file"), "untouched").unwrap();
    for target in [outside.as_str(), "../../../../../../../canary"] {
        let trap = Trap::plain(&[
            (b'2', "l", target, ""),
            (b'0', "l/file", "", "caught"),
            (b'0', "l/.wh.other", "", ""),
        ]);
        let done = trap.build();
        assert_eq!(done.code, Some(0), "{done:?}");
        assert_eq!(fs::read_to_string(format!("{outside}/file")).unwrap(), "untouched");
    }
}

#[test]
fn layers_that_are_not_what_their_image_says_are_refused_needs_userns() {
    needs!("userns");
    let layer = tar(&[(b'0', "a", "", "1")]);
    let trap = Trap::new(media_type::LAYER, layer.clone(), Digest::sha256(b"another"));
    trap.refused("its content has diff ID");
    let trap = Trap::new(media_type::LAYER, layer[..700].to_vec(), Digest::sha256(&layer[..700]));
    trap.refused("the archive ends in the middle of `a`");
}

#[test]
fn legal_and_odd_layers_are_built_on_needs_userns() {
    needs!("userns");
    let trap = Trap::plain(&[
        (b'5', "./", "", ""),
        (b'5', "d/", "", ""),
        (b'0', "d/a", "", "1"),
        (b'1', "d/b", "d/a", ""),
        (b'0', "d", "", "2"),
        (b'5', "d/", "", ""),
        (b'2', "d/l", "/nowhere", ""),
        (b'6', "d/pipe", "", ""),
        (b'0', "twice", "", "1"),
        (b'0', "twice", "", "2"),
    ]);
    assert_eq!(trap.build().code, Some(0));
    assert_eq!(Trap::plain(&[]).build().code, Some(0));
}

/// Devices are made by root; the error says so to others. `ANYARCH_TEST_SKIP_ROOT=1` skips.
#[test]
fn device_nodes_are_made_by_root_needs_root() {
    needs!("userns", "root");
    let trap = Trap::plain(&[(b'5', "dev/", "", ""), (b'3', "dev/zero", "", "")]);
    // Number 0:0 is overlayfs' mark for a deletion, which no layer may bring in.
    trap.refused("archive entry `dev/zero` is a device node, which cannot be made here");
}
