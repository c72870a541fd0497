//! Media types of the image-spec and their Docker predecessors, and what kind of thing each names.

/// Image manifest (image-spec, "Image Manifest").
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Image index (image-spec, "Image Index").
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Image configuration (image-spec, "Image Configuration").
pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// Uncompressed layer.
pub const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
/// Layer compressed with gzip.
pub const LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// Layer compressed with zstd.
pub const LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
/// The empty JSON object, used where a descriptor is required and there is nothing to describe.
pub const EMPTY: &str = "application/vnd.oci.empty.v1+json";

/// Docker's image manifest, version 2 schema 2.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Docker's manifest list.
pub const DOCKER_MANIFEST_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// Docker's image configuration.
pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
/// Docker's layer compressed with gzip.
pub const DOCKER_LAYER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
/// Docker's uncompressed layer.
pub const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";

/// True for an image manifest, OCI or Docker.
pub fn is_manifest(media_type: &str) -> bool {
    matches!(media_type, MANIFEST | DOCKER_MANIFEST)
}

/// True for an image index or Docker manifest list.
pub fn is_index(media_type: &str) -> bool {
    matches!(media_type, INDEX | DOCKER_MANIFEST_LIST)
}

/// What a client that takes both kinds sends as `Accept` when it asks for a manifest.
pub const ACCEPT_MANIFESTS: &[&str] = &[INDEX, MANIFEST, DOCKER_MANIFEST_LIST, DOCKER_MANIFEST];
