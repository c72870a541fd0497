//! `anyarch images`: what the host store has, by tag.

use anyarch_oci::{Descriptor, Manifest, RepositoryName, Tag};
use anyarch_store::Store;
use serde::Serialize;

use crate::failure::Failure;
use crate::global::Global;
use crate::{output, text};

/// List the images of the local store
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only these repositories
    #[arg(value_name = "REPOSITORY")]
    repositories: Vec<String>,
    /// Give the list as JSON
    #[arg(long)]
    json: bool,
}

/// One tag.
#[derive(Serialize)]
struct Row {
    repository: String,
    tag: String,
    digest: String,
    platforms: Vec<String>,
    /// Sum of the compressed layers that the tag reaches, each counted once.
    size: u64,
}

/// Carries it out.
pub(crate) fn run(args: &Args, global: &Global) -> Result<(), Failure> {
    if !global.store_path()?.exists() {
        return print(args, &[]);
    }
    let store = global.open_store()?;
    let mut rows = Vec::new();
    for repository in store.repositories()? {
        if !args.repositories.is_empty()
            && !args.repositories.iter().any(|wanted| wanted == repository.as_str())
        {
            continue;
        }
        for tag in store.tags(&repository)? {
            // A tag that went away since it was listed is not an image any more.
            if let Some(descriptor) = store.resolve(&repository, &tag)? {
                rows.push(row(&store, &repository, &tag, &descriptor)?);
            }
        }
    }
    if let Some(unknown) =
        args.repositories.iter().find(|name| !rows.iter().any(|row| row.repository == **name))
    {
        return Err(Failure::failed(format!("the store has no images of `{unknown}`"))
            .hint("`anyarch images` lists what there is".to_owned()));
    }
    print(args, &rows)
}

fn print(args: &Args, rows: &[Row]) -> Result<(), Failure> {
    if args.json {
        return output::print_json(&rows);
    }
    let cells: Vec<[String; 5]> = rows
        .iter()
        .map(|row| {
            [
                row.repository.clone(),
                row.tag.clone(),
                row.digest.clone(),
                row.platforms.join(", "),
                text::bytes(row.size),
            ]
        })
        .collect();
    output::print(&text::table(["REPOSITORY", "TAG", "DIGEST", "PLATFORMS", "SIZE"], &cells))
}

fn row(
    store: &Store,
    repository: &RepositoryName,
    tag: &Tag,
    descriptor: &Descriptor,
) -> Result<Row, Failure> {
    let mut reached = Reached::default();
    reached.visit(store, descriptor)?;
    Ok(Row {
        repository: repository.to_string(),
        tag: tag.to_string(),
        digest: descriptor.digest.to_string(),
        platforms: reached.platforms,
        size: reached.layers.values().sum(),
    })
}

/// What a manifest or an index leads to.
#[derive(Default)]
pub(crate) struct Reached {
    /// Platforms of the images, in the order of the index.
    pub(crate) platforms: Vec<String>,
    /// Compressed sizes of the layers by digest.
    pub(crate) layers: std::collections::BTreeMap<anyarch_oci::Digest, u64>,
}

impl Reached {
    /// Follows a descriptor. Images of an index that the store does not have count as unknown.
    pub(crate) fn visit(&mut self, store: &Store, descriptor: &Descriptor) -> Result<(), Failure> {
        let bytes = store.read_blob(&descriptor.digest)?;
        let manifest = Manifest::parse(&bytes, Some(&descriptor.media_type)).map_err(|error| {
            Failure::failed(format!("failed to read manifest {}", descriptor.digest))
                .because(&error)
        })?;
        match manifest {
            Manifest::Image(image) => {
                let platform = match &descriptor.platform {
                    Some(platform) => Some(platform.to_string()),
                    None => self.platform_of(store, &image.config)?,
                };
                self.platforms.extend(platform);
                self.layers
                    .extend(image.layers.into_iter().map(|layer| (layer.digest, layer.size)));
            }
            Manifest::Index(index) => {
                for entry in &index.manifests {
                    if store.blob_size(&entry.digest).is_some() {
                        self.visit(store, entry)?;
                    } else {
                        self.platforms.extend(entry.platform.as_ref().map(ToString::to_string));
                    }
                }
            }
        }
        Ok(())
    }

    fn platform_of(&self, store: &Store, config: &Descriptor) -> Result<Option<String>, Failure> {
        if store.blob_size(&config.digest).is_none() {
            return Ok(None);
        }
        let bytes = store.read_blob(&config.digest)?;
        // Artifacts have configs of their own kind, without a platform.
        let config: Option<anyarch_oci::ImageConfig> = serde_json::from_slice(&bytes).ok();
        Ok(config.map(|config| config.platform().to_string()))
    }
}
