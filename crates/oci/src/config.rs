//! Image configuration (image-spec, "OCI Image Configuration"), with Docker's extensions that
//! Dockerfiles can set (`Healthcheck`, `OnBuild`, `Shell`) kept as named fields.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{DiffId, Platform};

/// What an image is: platform, layers by diff ID, defaults for running it, history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ImageConfig {
    /// GOARCH of the binaries.
    pub architecture: String,
    /// Variant of the architecture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// GOOS of the binaries.
    pub os: String,
    /// Version of the operating system.
    #[serde(rename = "os.version", default, skip_serializing_if = "Option::is_none")]
    pub os_version: Option<String>,
    /// Mandatory features of the operating system.
    #[serde(rename = "os.features", default, skip_serializing_if = "Vec::is_empty")]
    pub os_features: Vec<String>,
    /// RFC 3339 time of creation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// Who made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// Defaults for a container.
    #[serde(default)]
    pub config: ContainerConfig,
    /// The layers.
    pub rootfs: RootFs,
    /// How each layer came about, lowest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<History>,
    /// Fields that this version of the specification does not name.
    #[serde(flatten)]
    pub extra: BTreeMap<String, serde_json::Value>,
}

/// Defaults for a container run from the image (image-spec, `config`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ContainerConfig {
    /// User (and group) of the process: names or numbers.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// Ports as `PORT/PROTOCOL`.
    #[serde(
        default,
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "null_is_empty"
    )]
    pub exposed_ports: BTreeMap<String, Empty>,
    /// Environment as `NAME=VALUE`.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_empty")]
    pub env: Vec<String>,
    /// Start of the command line; `cmd` follows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Vec<String>>,
    /// Default arguments, or the command where there is no entrypoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cmd: Option<Vec<String>>,
    /// Health check (Docker).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    /// True where `cmd` is one already escaped string (Windows).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub args_escaped: bool,
    /// Directories that a container keeps outside its root.
    #[serde(
        default,
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "null_is_empty"
    )]
    pub volumes: BTreeMap<String, Empty>,
    /// Working directory of the process.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub working_dir: String,
    /// Dockerfile instructions for images built from this one (Docker).
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_empty")]
    pub on_build: Vec<String>,
    /// Free-form labels.
    #[serde(
        default,
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "null_is_empty"
    )]
    pub labels: BTreeMap<String, String>,
    /// Signal that asks the process to end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
    /// Shell for the shell forms of instructions (Docker).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shell: Option<Vec<String>>,
    /// Fields that this version of the specification does not name.
    #[serde(flatten)]
    pub extra: BTreeMap<String, serde_json::Value>,
}

/// The empty JSON object, the value of set-like maps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Empty {}

/// A container health check (Docker image specification 1.2); durations in nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Healthcheck {
    /// `["NONE"]`, `["CMD", …]` or `["CMD-SHELL", text]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub test: Vec<String>,
    /// Time between checks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<i64>,
    /// Time after which a check has failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<i64>,
    /// Time to start in, in which failures do not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_period: Option<i64>,
    /// Time between checks while starting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_interval: Option<i64>,
    /// Failures in a row that make a container unhealthy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retries: Option<i64>,
    /// Fields that Docker does not name yet.
    #[serde(flatten)]
    pub extra: BTreeMap<String, serde_json::Value>,
}

/// The layers of an image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RootFs {
    /// Always `layers`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Digests of the uncompressed layers, lowest first.
    #[serde(deserialize_with = "null_is_empty")]
    pub diff_ids: Vec<DiffId>,
}

/// How one layer, or an instruction that made none, came about.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct History {
    /// RFC 3339 time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// The instruction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// Who.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// The builder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// True where the instruction made no layer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub empty_layer: bool,
    /// Fields that this version of the specification does not name.
    #[serde(flatten)]
    pub extra: BTreeMap<String, serde_json::Value>,
}

impl ImageConfig {
    /// A configuration without layers for `platform`.
    pub fn new(platform: &Platform) -> ImageConfig {
        ImageConfig {
            architecture: platform.architecture.clone(),
            variant: platform.variant.clone(),
            os: platform.os.clone(),
            os_version: platform.os_version.clone(),
            os_features: platform.os_features.clone(),
            created: None,
            author: None,
            config: ContainerConfig::default(),
            rootfs: RootFs { kind: "layers".to_owned(), diff_ids: Vec::new() },
            history: Vec::new(),
            extra: BTreeMap::new(),
        }
    }

    /// The platform that the configuration names.
    pub fn platform(&self) -> Platform {
        Platform {
            architecture: self.architecture.clone(),
            os: self.os.clone(),
            os_version: self.os_version.clone(),
            os_features: self.os_features.clone(),
            variant: self.variant.clone(),
        }
    }
}

impl ContainerConfig {
    /// The value of an environment variable.
    pub fn env(&self, name: &str) -> Option<&str> {
        self.env
            .iter()
            .filter_map(|entry| entry.split_once('='))
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value)
    }

    /// Sets an environment variable, in place where it was set before.
    pub fn set_env(&mut self, name: &str, value: &str) {
        let entry = format!("{name}={value}");
        let same = |old: &&mut String| old.split_once('=').is_some_and(|(key, _)| key == name);
        match self.env.iter_mut().find(same) {
            Some(old) => *old = entry,
            None => self.env.push(entry),
        }
    }
}

/// Go writes empty lists and maps as `null`; both mean empty.
fn null_is_empty<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docker_fields_and_unknown_fields_survive() {
        let text = r#"{"architecture":"amd64","os":"linux","os.version":"1","config":{"Env":["A=b"],"Healthcheck":{"Test":["CMD","x"],"Interval":5},"OnBuild":["RUN x"],"Shell":["/bin/sh"],"Unknown":{"z":1,"a":2}},"rootfs":{"type":"layers","diff_ids":[]},"moby.buildkit":"x"}"#;
        let config: ImageConfig = serde_json::from_str(text).unwrap();
        let again: serde_json::Value = serde_json::to_value(&config).unwrap();
        let first: serde_json::Value = serde_json::from_str(text).unwrap();
        assert_eq!(again, first);
        assert_eq!(config.config.env("A"), Some("b"));
    }

    #[test]
    fn go_nulls_read_as_empty() {
        let text = r#"{"architecture":"amd64","os":"linux","config":{"Env":null,"Volumes":null,"Labels":null,"OnBuild":null,"Entrypoint":null},"rootfs":{"type":"layers","diff_ids":null}}"#;
        let config: ImageConfig = serde_json::from_str(text).unwrap();
        assert!(config.config.env.is_empty() && config.rootfs.diff_ids.is_empty());
    }

    #[test]
    fn setting_a_variable_again_keeps_its_place() {
        let mut config = ContainerConfig::default();
        config.set_env("A", "1");
        config.set_env("B", "2");
        config.set_env("A", "3");
        assert_eq!(config.env, ["A=3", "B=2"]);
    }
}
