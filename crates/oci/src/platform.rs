//! Platforms (image-spec, "Image Index": `platform`): `os/architecture[/variant]`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The system that an image runs on, with Go's names for operating systems and architectures.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Platform {
    /// GOARCH: `amd64`, `arm64`, …
    pub architecture: String,
    /// GOOS: `linux`, …
    pub os: String,
    /// Version of the operating system (Windows).
    #[serde(rename = "os.version", default, skip_serializing_if = "Option::is_none")]
    pub os_version: Option<String>,
    /// Mandatory features of the operating system.
    #[serde(rename = "os.features", default, skip_serializing_if = "Vec::is_empty")]
    pub os_features: Vec<String>,
    /// Variant of the architecture: `v7` of `arm`, …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

/// Why a text is not a platform.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("`{text}` is not a platform: {reason}")]
pub struct PlatformError {
    /// What was given.
    pub text: String,
    /// What is wrong with it.
    pub reason: String,
}

/// Linux architectures with a name in the image-spec, as `os/architecture[/variant]`.
pub const KNOWN: &[&str] = &[
    "linux/amd64",
    "linux/arm64",
    "linux/arm/v7",
    "linux/arm/v6",
    "linux/386",
    "linux/riscv64",
    "linux/ppc64le",
    "linux/s390x",
    "linux/loong64",
    "linux/mips64le",
];

impl Platform {
    /// A platform without variant, version or features.
    pub fn new(os: &str, architecture: &str) -> Platform {
        Platform {
            architecture: architecture.to_owned(),
            os: os.to_owned(),
            os_version: None,
            os_features: Vec::new(),
            variant: None,
        }
    }

    /// The platform of the machine that this program was compiled for.
    pub fn host() -> Platform {
        let (architecture, variant) = match std::env::consts::ARCH {
            "x86_64" => ("amd64", None),
            "aarch64" => ("arm64", None),
            "x86" => ("386", None),
            "arm" => ("arm", Some("v7")),
            "powerpc64" => ("ppc64le", None),
            other => (other, None),
        };
        let mut platform = Platform::new(std::env::consts::OS, architecture);
        platform.variant = variant.map(str::to_owned);
        platform
    }

    /// Architecture and variant without a separator, as in tags and target names: `arm64`, `armv7`.
    pub fn short_arch(&self) -> String {
        format!("{}{}", self.architecture, self.variant.as_deref().unwrap_or(""))
    }

    /// Whether content for `self` runs where `wanted` is asked for; see [`Platform::fit`].
    pub fn satisfies(&self, wanted: &Platform) -> bool {
        self.fit(wanted).is_some()
    }

    /// How well content for `self` suits a machine that is `wanted`: 0 where it is made for it,
    /// more the older the variant is; `None` where it does not run there.
    ///
    /// As containerd decides for one platform, after normalisation (`arm64` is `arm64/v8`, `arm` is
    /// `arm/v7`): `arm/v7` runs `v6` and `v5` too, `amd64/v3` runs `v2` and plain `amd64`, and
    /// `arm64/v9` runs `v8`. Another architecture is never taken instead, although some machines
    /// could (386 on amd64): images of a family are for the platform that was asked for.
    pub fn fit(&self, wanted: &Platform) -> Option<usize> {
        let (have, want) = (self.normalized(), wanted.normalized());
        if have.os != want.os
            || have.architecture != want.architecture
            || (want.os_version.is_some() && have.os_version != want.os_version)
        {
            return None;
        }
        if have.variant == want.variant {
            return Some(0);
        }
        let least = match want.architecture.as_str() {
            "amd64" => 1,
            "arm" => 5,
            "arm64" => 8,
            _ => return None,
        };
        let (have, want) = (have.level(least)?, want.level(least)?);
        if have < least || have > want { None } else { usize::try_from(want - have).ok() }
    }

    /// The number in a variant such as `v7`; `without` where there is no variant.
    fn level(&self, without: u32) -> Option<u32> {
        match &self.variant {
            None => Some(without),
            Some(variant) => variant.strip_prefix('v')?.parse().ok(),
        }
    }

    /// Aliases replaced by the names of the image-spec, default variants removed or filled in.
    pub fn normalized(&self) -> Platform {
        let mut platform = self.clone();
        platform.os = platform.os.to_ascii_lowercase();
        let architecture = platform.architecture.to_ascii_lowercase();
        let variant =
            platform.variant.take().map(|v| v.to_ascii_lowercase()).filter(|v| !v.is_empty());
        let (architecture, variant): (&str, Option<String>) = match (architecture.as_str(), variant)
        {
            ("x86_64" | "x86-64" | "amd64", Some(v)) if v == "v1" => ("amd64", None),
            ("x86_64" | "x86-64" | "amd64", v) => ("amd64", v),
            ("i386" | "i486" | "i586" | "i686" | "386", _) => ("386", None),
            ("aarch64" | "arm64", Some(v)) if v == "8" || v == "v8" => ("arm64", None),
            ("aarch64" | "arm64", v) => ("arm64", v),
            ("armhf", _) => ("arm", Some("v7".to_owned())),
            ("armel", _) => ("arm", Some("v6".to_owned())),
            ("arm", None) => ("arm", Some("v7".to_owned())),
            ("arm", Some(v)) if !v.starts_with('v') => ("arm", Some(format!("v{v}"))),
            (other, v) => {
                platform.architecture = other.to_owned();
                platform.variant = v;
                return platform;
            }
        };
        platform.architecture = architecture.to_owned();
        platform.variant = variant;
        platform
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Platform {
    type Err = PlatformError;

    /// Reads `OS/ARCHITECTURE[/VARIANT]` and normalises aliases (`linux/aarch64` → `linux/arm64`).
    fn from_str(text: &str) -> Result<Platform, PlatformError> {
        let bad = |reason: &str| PlatformError { text: text.to_owned(), reason: reason.to_owned() };
        let parts: Vec<&str> = text.split('/').collect();
        let well_formed = parts.iter().all(|part| {
            !part.is_empty()
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        });
        let (os, architecture, variant) = match parts.as_slice() {
            [os, architecture] if well_formed => (os, architecture, None),
            [os, architecture, variant] if well_formed => (os, architecture, Some(variant)),
            _ => return Err(bad("expected OS/ARCHITECTURE or OS/ARCHITECTURE/VARIANT")),
        };
        let mut platform = Platform::new(os, architecture);
        platform.variant = variant.map(|v| (*v).to_owned());
        Ok(platform.normalized())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aliases_are_normalised() {
        for (text, normal) in [
            ("linux/arm64", "linux/arm64"),
            ("linux/aarch64", "linux/arm64"),
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/x86_64", "linux/amd64"),
            ("linux/arm", "linux/arm/v7"),
            ("linux/arm/v6", "linux/arm/v6"),
            ("linux/riscv64", "linux/riscv64"),
        ] {
            assert_eq!(text.parse::<Platform>().unwrap().to_string(), normal);
        }
        assert!("arm64".parse::<Platform>().is_err());
        assert!("linux//v8".parse::<Platform>().is_err());
    }

    #[test]
    fn older_variants_run_on_newer_machines() {
        let fit = |have: &str, wanted: &str| {
            have.parse::<Platform>().unwrap().fit(&wanted.parse().unwrap())
        };
        for (have, wanted, expected) in [
            ("linux/arm64/v8", "linux/arm64", Some(0)),
            ("linux/arm64", "linux/arm64/v9", Some(1)),
            ("linux/arm64/v9", "linux/arm64", None),
            ("linux/arm/v7", "linux/arm", Some(0)),
            ("linux/arm/v6", "linux/arm/v7", Some(1)),
            ("linux/arm/v5", "linux/arm/v7", Some(2)),
            ("linux/arm/v7", "linux/arm/v6", None),
            ("linux/amd64", "linux/amd64/v3", Some(2)),
            ("linux/amd64/v2", "linux/amd64/v3", Some(1)),
            ("linux/amd64/v2", "linux/amd64", None),
            ("linux/386", "linux/amd64", None),
            ("linux/arm/v7", "linux/arm64", None),
            ("unknown/unknown", "linux/amd64", None),
            ("linux/riscv64/rva23", "linux/riscv64", None),
        ] {
            assert_eq!(fit(have, wanted), expected, "{have} on {wanted}");
        }
        let windows = Platform {
            os_version: Some("10.0.17763.1".to_owned()),
            ..Platform::new("windows", "amd64")
        };
        assert_eq!(windows.fit(&Platform::new("windows", "amd64")), Some(0));
        assert_eq!(Platform::new("windows", "amd64").fit(&windows), None);
    }

    #[test]
    fn short_arch_joins_the_variant() {
        assert_eq!("linux/arm/v7".parse::<Platform>().unwrap().short_arch(), "armv7");
    }

    #[test]
    fn known_platforms_parse_to_themselves() {
        for text in KNOWN {
            assert_eq!(&text.parse::<Platform>().unwrap().to_string(), text);
        }
    }
}
