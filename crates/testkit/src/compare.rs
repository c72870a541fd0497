//! Says how two images differ, in words for a failed test.

use std::collections::BTreeMap;
use std::io::Read;

use anyarch_oci::{
    Descriptor, Digest, ImageManifest, ImageSource, Manifest, Reference, media_type,
};
use flate2::read::MultiGzDecoder;

/// The differences of two images (not indexes): config fields, and the entries of each layer by
/// type, mode, owner, link and content. Compression, annotations and times do not count. Empty
/// where there are none.
pub fn image_differences(
    (left, left_reference): (&dyn ImageSource, &Reference),
    (right, right_reference): (&dyn ImageSource, &Reference),
) -> Vec<String> {
    let (a, b) = (image(left, left_reference), image(right, right_reference));
    let mut differences = Vec::new();
    let config =
        |source, reference, manifest: &ImageManifest| -> BTreeMap<String, serde_json::Value> {
            serde_json::from_slice(&blob(source, reference, &manifest.config)).unwrap()
        };
    note(
        &mut differences,
        "config",
        &config(left, left_reference, &a),
        &config(right, right_reference, &b),
    );
    if a.layers.len() != b.layers.len() {
        differences.push(format!("layers: {} and {}", a.layers.len(), b.layers.len()));
    }
    for (number, (a, b)) in a.layers.iter().zip(&b.layers).enumerate() {
        let a = entries(a, &blob(left, left_reference, a));
        let b = entries(b, &blob(right, right_reference, b));
        note(&mut differences, &format!("layer {number}"), &a, &b);
    }
    differences
}

fn note<V: PartialEq + std::fmt::Debug>(
    differences: &mut Vec<String>,
    what: &str,
    a: &BTreeMap<String, V>,
    b: &BTreeMap<String, V>,
) {
    for (key, left) in a {
        match b.get(key) {
            Some(right) if left == right => {}
            Some(right) => differences.push(format!("{what}: {key}: {left:?} and {right:?}")),
            None => differences.push(format!("{what}: {key}: only left")),
        }
    }
    let only_right = b.keys().filter(|key| !a.contains_key(*key));
    differences.extend(only_right.map(|key| format!("{what}: {key}: only right")));
}

fn image(source: &dyn ImageSource, reference: &Reference) -> ImageManifest {
    let (descriptor, bytes) = source.manifest(reference).unwrap();
    match Manifest::parse(&bytes, Some(&descriptor.media_type)).unwrap() {
        Manifest::Image(image) => image,
        Manifest::Index(_) => panic!("{reference} is an index"),
    }
}

fn blob(source: &dyn ImageSource, reference: &Reference, descriptor: &Descriptor) -> Vec<u8> {
    let mut bytes = Vec::new();
    source.blob(reference, descriptor, 0).unwrap().read_to_end(&mut bytes).unwrap();
    assert_eq!(Digest::sha256(&bytes), descriptor.digest, "{reference}");
    bytes
}

/// Each entry of a layer by path, described.
fn entries(descriptor: &Descriptor, bytes: &[u8]) -> BTreeMap<String, String> {
    let tar: Box<dyn Read + '_> = match descriptor.media_type.as_str() {
        media_type::LAYER | media_type::DOCKER_LAYER => Box::new(bytes),
        media_type::LAYER_GZIP | media_type::DOCKER_LAYER_GZIP => {
            Box::new(MultiGzDecoder::new(bytes))
        }
        other => panic!("layers of type {other} are not compared yet"),
    };
    let mut archive = tar::Archive::new(tar);
    let mut entries = BTreeMap::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let header = entry.header();
        let described = format!(
            "{:?} {:o} {}:{} {:?} {}",
            header.entry_type(),
            header.mode().unwrap(),
            header.uid().unwrap(),
            header.gid().unwrap(),
            entry.link_name_bytes().map(|link| String::from_utf8_lossy(&link).into_owned()),
            Digest::sha256(&content),
        );
        entries.insert(path, described);
    }
    entries
}
