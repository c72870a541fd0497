//! Writes an image to files: OCI layout, OCI archive, Docker archive (`docker load`).

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyarch_layer::archive::{Entry, EntryKind, Writer};
use anyarch_layer::copy::{self, CopyOptions};
use anyarch_layer::{Compression, LayerOptions, Root, write_layer};
use anyarch_oci::{Descriptor, ImageIndex, ImageManifest, Raw, media_type};
use anyarch_sandbox::Cancel;
use anyarch_store::Store;
use serde::Serialize;

use crate::engine::{Engine, Session};
use crate::error::{BuildError, Context};
use crate::image::BuiltImage;

/// Where to, and as what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// A directory in the OCI image layout (image-spec, "Image Layout").
    OciLayout(PathBuf),
    /// The same as one tar file.
    OciArchive(PathBuf),
    /// The tar file that `docker load` and `podman load` read.
    DockerArchive(PathBuf),
}

/// Annotation by which tools read the name of an image in a layout (image-spec, "Annotations").
pub(crate) const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// Writes images. A file or directory of that name is replaced only when the new one is complete.
///
/// # Errors
/// When a Docker archive is asked for with a layer that is not gzip or plain, or on I/O failure.
pub fn export(store: &Store, images: &[BuiltImage], output: &Output) -> Result<(), BuildError> {
    match output {
        Output::OciLayout(path) => layout(store, images, path),
        Output::OciArchive(path) => archive_file(path, |tar| oci_archive(store, images, tar)),
        Output::DockerArchive(path) => archive_file(path, |tar| docker_archive(store, images, tar)),
    }
}

/// Writes the files of images to a folder, those of several platforms to one each (`linux_amd64`).
/// They belong to whoever builds; what is in the folder already stays.
///
/// # Errors
/// On I/O failure, and where a file is in the way of a folder.
pub fn export_files(
    engine: &Engine,
    images: &[BuiltImage],
    to: &Path,
    cancel: &Cancel,
) -> Result<(), BuildError> {
    let session = Session::new(engine, 0, &|_| {}, cancel);
    for image in images {
        let folder = match images {
            [_] => to.to_owned(),
            _ => to.join(image.platform.to_string().replace('/', "_")),
        };
        let what = || format!("failed to write the files of the image to {}", folder.display());
        fs::create_dir_all(&folder).context(what)?;
        let view = session.view(&image.chain)?;
        let from = Root::open(view.target()).context(what)?;
        let to = Root::open(&folder).context(what)?.leaving_owners(true);
        // The folder is somebody's own: its mode and time stay.
        let options =
            CopyOptions { ignore_owner: true, content_only: true, ..CopyOptions::default() };
        copy::copy(&from, Path::new(""), &to, Path::new(""), &options, &mut copy::everything)
            .context(what)?;
    }
    Ok(())
}

/// Writes the files of an image as a tar archive, sorted, with times as in its layers.
///
/// # Errors
/// On I/O failure.
pub fn export_tar(
    engine: &Engine,
    image: &BuiltImage,
    out: &mut (dyn Write + Send),
    cancel: &Cancel,
) -> Result<(), BuildError> {
    let what = || "failed to write the files of the image".to_owned();
    let session = Session::new(engine, 0, &|_| {}, cancel);
    let tree = session.mount(&image.chain)?;
    let options = LayerOptions {
        // The layers have been clamped already.
        epoch: i64::from(u32::MAX),
        compression: Compression::None,
        threads: 1,
        progress: None,
    };
    write_layer(None, tree.root(), &options, out).context(what)?;
    out.flush().context(what)
}

/// Name and content of the files of a layout that are not blobs.
fn layout_files(images: &[BuiltImage]) -> Result<[(&'static str, Vec<u8>); 2], BuildError> {
    let entries = images.iter().map(|image| {
        let mut entry = image.descriptor().with_platform(image.platform.clone());
        if let Some(tag) = image.tags.first().and_then(|tag| tag.rsplit_once(':')) {
            entry.annotations.insert(REF_NAME.to_owned(), tag.1.to_owned());
        }
        entry
    });
    let index = Raw::encode(ImageIndex::new(entries.collect()))
        .context(|| "failed to write index.json".to_owned())?;
    Ok([
        ("oci-layout", b"{\"imageLayoutVersion\":\"1.0.0\"}".to_vec()),
        ("index.json", index.bytes),
    ])
}

/// Every blob of the images, each once, sorted.
fn blobs(images: &[BuiltImage]) -> Vec<Descriptor> {
    let mut all: Vec<Descriptor> = images
        .iter()
        .flat_map(|image| {
            let manifest: &ImageManifest = &image.manifest.value;
            manifest.layers.iter().cloned().chain([manifest.config.clone(), image.descriptor()])
        })
        .collect();
    all.sort_by(|a, b| a.digest.cmp(&b.digest));
    all.dedup_by(|a, b| a.digest == b.digest);
    all
}

fn layout(store: &Store, images: &[BuiltImage], path: &Path) -> Result<(), BuildError> {
    let what = || format!("failed to write the layout {}", path.display());
    for blob in blobs(images) {
        let folder = path.join("blobs").join(blob.digest.algorithm().name());
        fs::create_dir_all(&folder).context(what)?;
        let target = folder.join(blob.digest.hex());
        if fs::metadata(&target).is_ok_and(|metadata| metadata.len() == blob.size) {
            continue;
        }
        let temporary = folder.join(format!(".{}.part", blob.digest.hex()));
        let mut from = open(store, &blob)?;
        let mut to = File::create(&temporary).context(what)?;
        io::copy(&mut from, &mut to).context(what)?;
        fs::rename(&temporary, &target).context(what)?;
    }
    for (name, bytes) in layout_files(images)? {
        let temporary = path.join(format!(".{name}.part"));
        fs::write(&temporary, bytes).context(what)?;
        fs::rename(&temporary, path.join(name)).context(what)?;
    }
    Ok(())
}

fn open(store: &Store, blob: &Descriptor) -> Result<File, BuildError> {
    let what = || format!("failed to read blob {}", blob.digest);
    let found = store.blob(&blob.digest).context(what)?;
    Ok(found
        .ok_or_else(|| {
            BuildError::failed(what())
                .because(anyarch_store::StoreError::Missing(blob.digest.clone()))
        })?
        .file)
}

/// A tar file under construction.
type Tar = Writer<io::BufWriter<File>>;

fn add(tar: &mut Tar, name: &str, size: u64, content: &mut dyn io::Read) -> Result<(), BuildError> {
    let entry = Entry { size, ..Entry::new(name, EntryKind::File) };
    tar.append(&entry, content).context(|| format!("failed to add {name}"))
}

/// Writes a tar file beside its place, then moves it there.
fn archive_file(
    path: &Path,
    fill: impl FnOnce(&mut Tar) -> Result<(), BuildError>,
) -> Result<(), BuildError> {
    let what = || format!("failed to write {}", path.display());
    let folder =
        path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let temporary = tempfile::NamedTempFile::new_in(folder).context(what)?;
    let mut tar = Writer::new(io::BufWriter::new(temporary.reopen().context(what)?));
    fill(&mut tar)?;
    tar.finish().context(what)?.flush().context(what)?;
    temporary.persist(path).map_err(|error| error.error).context(what)?;
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).context(what)
}

fn add_blob(store: &Store, tar: &mut Tar, name: &str, blob: &Descriptor) -> Result<(), BuildError> {
    add(tar, name, blob.size, &mut open(store, blob)?)
}

fn oci_archive(store: &Store, images: &[BuiltImage], tar: &mut Tar) -> Result<(), BuildError> {
    for (name, bytes) in layout_files(images)? {
        add(tar, name, bytes.len() as u64, &mut bytes.as_slice())?;
    }
    for blob in blobs(images) {
        let name = format!("blobs/{}/{}", blob.digest.algorithm().name(), blob.digest.hex());
        add_blob(store, tar, &name, &blob)?;
    }
    Ok(())
}

/// An entry of a Docker archive's `manifest.json` (Docker image specification 1.2).
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct DockerEntry {
    config: String,
    repo_tags: Vec<String>,
    layers: Vec<String>,
}

fn docker_archive(store: &Store, images: &[BuiltImage], tar: &mut Tar) -> Result<(), BuildError> {
    let mut entries = Vec::new();
    let mut added = std::collections::BTreeSet::new();
    for image in images {
        let manifest = &image.manifest.value;
        let config = format!("{}.json", manifest.config.digest.hex());
        let mut layers = Vec::new();
        for layer in &manifest.layers {
            if layer.media_type == media_type::LAYER_ZSTD {
                return Err(BuildError::input("a Docker archive cannot hold zstd layers")
                    .hint("export an OCI archive instead (oci-archive:FILE)".to_owned()));
            }
            let name = format!("{}.tar.gz", layer.digest.hex());
            if added.insert(name.clone()) {
                add_blob(store, tar, &name, layer)?;
            }
            layers.push(name);
        }
        if added.insert(config.clone()) {
            add_blob(store, tar, &config, &manifest.config)?;
        }
        entries.push(DockerEntry { config, repo_tags: image.tags.clone(), layers });
    }
    let bytes = anyarch_oci::canonical_json(&entries)
        .context(|| "failed to write manifest.json".to_owned())?;
    add(tar, "manifest.json", bytes.len() as u64, &mut bytes.as_slice())
}
