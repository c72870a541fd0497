//! Docker archives to images.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use crate::tree::Tree;

/// An image: what it says of itself, and its files.
#[derive(Debug)]
pub struct Image {
    pub config: Value,
    pub tree: Tree,
    /// For every layer whether there is anything in it.
    pub filled: Vec<bool>,
}

/// A tar file with images, as `docker save` writes it.
pub struct Archive {
    files: BTreeMap<String, Vec<u8>>,
    links: BTreeMap<String, String>,
}

impl Archive {
    pub fn open(path: &Path) -> Archive {
        let file = std::fs::File::open(path).unwrap();
        let mut archive = Archive { files: BTreeMap::new(), links: BTreeMap::new() };
        let mut tar = tar::Archive::new(std::io::BufReader::new(file));
        for entry in tar.entries().unwrap() {
            let mut entry = entry.unwrap();
            let path = entry.path().unwrap().display().to_string();
            if let Some(target) = entry.link_name().unwrap() {
                // A layer of several images is there once, and linked as `../ID/layer.tar`.
                let target = target.display().to_string().trim_start_matches("../").to_owned();
                archive.links.insert(path, target);
                continue;
            }
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            archive.files.insert(path, content);
        }
        archive
    }

    fn file(&self, path: &str) -> &[u8] {
        let path = self.links.get(path).map_or(path, String::as_str);
        self.files.get(path).unwrap_or_else(|| panic!("{path} is not in the archive"))
    }

    /// Its images, by all their names; one without a name by an empty one.
    pub fn images(&self) -> BTreeMap<String, Arc<Image>> {
        let list: Vec<Value> = serde_json::from_slice(self.file("manifest.json")).unwrap();
        let mut images = BTreeMap::new();
        for item in &list {
            let image = Arc::new(self.image(item));
            let names = item["RepoTags"].as_array().filter(|names| !names.is_empty());
            for name in names.unwrap_or(&vec![Value::Null]) {
                images.insert(name.as_str().unwrap_or_default().to_owned(), Arc::clone(&image));
            }
        }
        images
    }

    fn image(&self, item: &Value) -> Image {
        let config = serde_json::from_slice(self.file(item["Config"].as_str().unwrap())).unwrap();
        let mut tree = Tree::default();
        let layers = item["Layers"].as_array().map(Vec::as_slice).unwrap_or_default();
        let mut filled = Vec::new();
        for layer in layers {
            let bytes = self.file(layer.as_str().unwrap());
            let mut plain = Vec::new();
            if bytes.starts_with(&[0x1f, 0x8b]) {
                flate2::read::MultiGzDecoder::new(bytes).read_to_end(&mut plain).unwrap();
            } else {
                plain.extend_from_slice(bytes);
            }
            filled.push(tree.apply(&plain) > 0);
        }
        Image { config, tree, filled }
    }
}
