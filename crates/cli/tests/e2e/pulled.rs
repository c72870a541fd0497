//! `FROM` an image of a registry: gzip, zstd and plain layers, whiteouts, and faults on the way.

use std::io::Read;

use anyarch_oci::{
    Descriptor, DiffId, Digest, ImageConfig, ImageManifest, Platform, Tag, canonical_json,
    media_type,
};
use anyarch_testkit::{Fault, TestImage, TestRegistry};

use crate::bench::{ARCH, Bench};
use crate::needs;
use crate::root::programs;

/// A tar of these files; a path that ends in `/` is a directory.
fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o755);
        header.set_mtime(1_000_000);
        header.set_size(content.len() as u64);
        if path.ends_with('/') {
            header.set_entry_type(tar::EntryType::Directory);
        }
        archive.append_data(&mut header, path, *content).unwrap();
    }
    archive.into_inner().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    flate2::read::GzEncoder::new(bytes, flate2::Compression::fast()).read_to_end(&mut out).unwrap();
    out
}

/// An image whose layers are stored as their media types say, with whiteouts in the upper ones.
fn image() -> TestImage {
    let programs: Vec<(&str, &[u8])> =
        programs().iter().map(|(path, content)| (path.to_str().unwrap(), &content[..])).collect();
    let lowest = tar(&programs);
    let middle = tar(&[
        ("etc/", b""),
        ("etc/passwd", b"root:x:0:0::/:/bin/sh\n"),
        ("data/", b""),
        ("data/gone", b"1"),
        ("data/kept", b"2"),
        ("opaque/", b""),
        ("opaque/old", b"3"),
    ]);
    let top = tar(&[("data/.wh.gone", b""), ("opaque/.wh..wh..opq", b""), ("opaque/new", b"4")]);
    let platform: Platform = format!("linux/{ARCH}").parse().unwrap();
    let mut config = ImageConfig::new(&platform);
    config.config.env = vec!["PATH=/bin".to_owned(), "PULLED=yes".to_owned()];
    config.config.cmd = Some(vec!["/bin/sh".to_owned()]);
    config.rootfs.diff_ids =
        [&lowest, &middle, &top].map(|tar| DiffId(Digest::sha256(tar))).to_vec();
    let layers = [
        (media_type::LAYER_ZSTD, zstd::encode_all(&lowest[..], 3).unwrap()),
        (media_type::LAYER_GZIP, gzip(&middle)),
        (media_type::LAYER, top),
    ];
    let mut blobs: Vec<_> = layers
        .into_iter()
        .map(|(media_type, bytes)| (Descriptor::of(media_type, &bytes), bytes))
        .collect();
    let config = canonical_json(&config).unwrap();
    let descriptors = blobs.iter().map(|(descriptor, _)| descriptor.clone()).collect();
    let manifest = ImageManifest::new(Descriptor::of(media_type::CONFIG, &config), descriptors);
    blobs.push((manifest.config.clone(), config));
    let bytes = canonical_json(&manifest).unwrap();
    let manifest = Descriptor::of(media_type::MANIFEST, &bytes).with_platform(platform);
    TestImage { blobs, manifest, bytes }
}

/// A registry that has the image as `team/base:1`.
fn registry() -> TestRegistry {
    let registry = TestRegistry::start();
    let (image, store) = (image(), registry.store());
    let (repository, tag) = ("team/base".parse().unwrap(), "1".parse::<Tag>().unwrap());
    for (_, bytes) in &image.blobs {
        store.put_blob(bytes).unwrap();
    }
    store.put_blob(&image.bytes).unwrap();
    store.tag(&repository, &tag, &image.manifest).unwrap();
    registry
}

fn bench(registry: &TestRegistry) -> Bench {
    Bench::one(&format!(
        "FROM {}/team/base:1\nRUN echo $PULLED; ls /data /opaque; test ! -e /data/gone && echo x > /made\n",
        registry.host()
    ))
}

#[test]
fn layers_of_every_compression_and_whiteouts_needs_userns() {
    needs!("userns");
    let registry = registry();
    let bench = bench(&registry);
    let said = bench.printed_by_run();
    assert_eq!(said, "yes\n/data:\nkept\n\n/opaque:\nnew\n");
    let manifest = bench.manifest();
    let kept: Vec<_> = image().blobs[..3].iter().map(|(blob, _)| blob.digest.clone()).collect();
    let layers: Vec<_> = manifest.layers.iter().map(|layer| layer.digest.clone()).collect();
    assert_eq!(layers[..3], kept, "layers that were pulled stay as they are");
    assert_eq!(bench.layer(3), "made Regular 644 0:0 \"x\\n\"\n");
    assert_eq!(bench.config().config.cmd, Some(vec!["/bin/sh".to_owned()]));
}

#[test]
fn what_was_pulled_is_not_pulled_again_needs_userns() {
    needs!("userns");
    let registry = registry();
    let bench = bench(&registry);
    bench.build();
    registry.take_log();
    bench.build();
    for (layer, _) in &image().blobs[..3] {
        assert_eq!(registry.count("GET", &format!("/blobs/{}", layer.digest)), 0);
    }
}

#[test]
fn connection_that_breaks_is_taken_up_again_needs_userns() {
    needs!("userns");
    let registry = registry();
    let bench = bench(&registry);
    registry.fault(Fault::truncate("GET", "/blobs/", 1000).times(2));
    bench.build();
    bench.assert_clean();
}

#[test]
fn layer_of_other_content_is_refused_needs_userns() {
    needs!("userns");
    let registry = registry();
    let bench = bench(&registry);
    registry.fault(Fault::corrupt_body("GET", "/blobs/").times(100));
    let said = bench.fails(["build", "--quiet"]);
    assert!(said.ends_with("exit 1\n") && said.contains("sha256:"), "{said}");
    bench.assert_clean();
}

#[test]
fn unknown_tag_needs_userns() {
    needs!("userns");
    let registry = registry();
    let bench = bench(&registry);
    bench.replace("app/Dockerfile", "base:1", "base:2");
    let said = bench.fails(["build", "--quiet"]).replace(&registry.host(), "registry.example");
    snapbox::assert_data_eq!(
        said,
        snapbox::str![[r#"
error: failed to resolve the image registry.example/team/base:2
 --> app/Dockerfile:2:1
  |
2 | FROM registry.example/team/base:2
  | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  caused by: failed to pull registry.example/team/base:2
  caused by: registry answered 404 MANIFEST_UNKNOWN (team/base has no manifest 2) to GET /v2/team/base/manifests/2
exit 1

"#]]
    );
}
