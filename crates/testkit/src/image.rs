//! Images of random content that is the same for the same seed.

use std::io::{self, Cursor, Read, Write};

use anyarch_oci::{
    BlobPush, Descriptor, DiffId, Digest, ImageConfig, ImageIndex, ImageManifest, NoMemory,
    Platform, Tag, canonical_json, media_type,
};
use anyarch_registry::{RegistryClient, RegistryError, Repository};
use flate2::Compression;
use flate2::write::GzEncoder;

/// An image: its blobs (layers, then config) and its manifest.
#[derive(Clone, Debug)]
pub struct TestImage {
    /// Layers, lowest first, then the config.
    pub blobs: Vec<(Descriptor, Vec<u8>)>,
    /// Descriptor of the manifest, with the platform.
    pub manifest: Descriptor,
    /// The manifest.
    pub bytes: Vec<u8>,
}

/// Several images under one index.
#[derive(Clone, Debug)]
pub struct TestIndex {
    /// The images, in the order of the index.
    pub images: Vec<TestImage>,
    /// Descriptor of the index.
    pub index: Descriptor,
    /// The index.
    pub bytes: Vec<u8>,
}

/// The content of `bytes` from an offset on.
pub fn open_at(bytes: &[u8], offset: u64) -> io::Result<Box<dyn Read + Send>> {
    let mut content = Cursor::new(bytes.to_vec());
    content.set_position(offset);
    Ok(Box::new(content))
}

/// Bytes that do not compress, the same for the same seed (SplitMix64).
pub fn random_bytes(seed: u64, count: usize) -> Vec<u8> {
    let mut state = seed;
    let mut bytes = Vec::with_capacity(count + 8);
    while bytes.len() < count {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bytes.extend_from_slice(&(word ^ (word >> 31)).to_le_bytes());
    }
    bytes.truncate(count);
    bytes
}

impl TestImage {
    /// An image of `layers` layers, each a few files of a few kilobytes.
    pub fn random(seed: u64, layers: usize, platform: &Platform) -> TestImage {
        let mut blobs = Vec::new();
        let mut config = ImageConfig::new(platform);
        config.config.env = vec!["PATH=/bin".to_owned(), format!("SEED={seed}")];
        config.config.cmd = Some(vec!["/bin/sh".to_owned()]);
        for number in 0..layers {
            let tar = random_layer(seed.wrapping_mul(31).wrapping_add(number as u64), number);
            config.rootfs.diff_ids.push(DiffId(Digest::sha256(&tar)));
            let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
            gzip.write_all(&tar).unwrap();
            let layer = gzip.finish().unwrap();
            blobs.push((Descriptor::of(media_type::LAYER_GZIP, &layer), layer));
        }
        let config = canonical_json(&config).unwrap();
        let layers = blobs.iter().map(|(descriptor, _)| descriptor.clone()).collect();
        let manifest = ImageManifest::new(Descriptor::of(media_type::CONFIG, &config), layers);
        blobs.push((manifest.config.clone(), config));
        let bytes = canonical_json(&manifest).unwrap();
        let manifest = Descriptor::of(media_type::MANIFEST, &bytes).with_platform(platform.clone());
        TestImage { blobs, manifest, bytes }
    }

    /// Pushes the blobs and the manifest, under a tag where one is given.
    pub fn push(
        &self,
        client: &RegistryClient,
        repository: &Repository,
        tag: Option<&Tag>,
    ) -> Result<Digest, RegistryError> {
        for (descriptor, bytes) in &self.blobs {
            let push = BlobPush {
                repository: &repository.name,
                blob: descriptor,
                mount_from: &[],
                open: &|offset| open_at(bytes, offset),
                progress: &|_| {},
                memory: &NoMemory,
            };
            client.push_blob(&repository.registry, &push)?;
        }
        client.push_manifest(repository, tag, &self.manifest.media_type, &self.bytes)
    }
}

impl TestIndex {
    /// An index of one random image per platform, in this order.
    pub fn random(seed: u64, platforms: &[Platform]) -> TestIndex {
        let images: Vec<TestImage> = platforms
            .iter()
            .zip(seed..)
            .map(|(platform, seed)| TestImage::random(seed, 2, platform))
            .collect();
        let entries = images.iter().map(|image| image.manifest.clone()).collect();
        let bytes = canonical_json(&ImageIndex::new(entries)).unwrap();
        TestIndex { images, index: Descriptor::of(media_type::INDEX, &bytes), bytes }
    }

    /// Pushes the images by digest, then the index under a tag.
    pub fn push(
        &self,
        client: &RegistryClient,
        repository: &Repository,
        tag: &Tag,
    ) -> Result<Digest, RegistryError> {
        for image in &self.images {
            image.push(client, repository, None)?;
        }
        client.push_manifest(repository, Some(tag), &self.index.media_type, &self.bytes)
    }
}

fn random_layer(seed: u64, number: usize) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut add = |path: String, kind: tar::EntryType, content: &[u8]| {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(kind);
        header.set_size(content.len() as u64);
        header.set_mode(if kind.is_dir() { 0o755 } else { 0o644 });
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        tar.append_data(&mut header, path, content).unwrap();
    };
    add(format!("layer{number}/"), tar::EntryType::Directory, &[]);
    for file in 0..3_u64 {
        let size = 1000 + (seed.wrapping_mul(7) % 5000) as usize;
        let content = random_bytes(seed.wrapping_add(file), size);
        add(format!("layer{number}/file{file}"), tar::EntryType::Regular, &content);
    }
    let finished: io::Result<Vec<u8>> = tar.into_inner();
    finished.unwrap()
}
