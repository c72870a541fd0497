//! Which platforms a plan may list, and the right one near a wrong one.

use anyarch_oci::KNOWN_PLATFORMS as KNOWN;
use anyarch_oci::Platform;

use crate::diagnostic::nearest;

/// Platforms that images are built for.
pub(crate) fn known() -> impl Iterator<Item = Platform> {
    KNOWN.iter().filter_map(|name| name.parse().ok())
}

/// The platform that `text` names, or what is wrong and what was probably meant.
pub(crate) fn parse(text: &str) -> Result<Platform, (String, Option<String>)> {
    let parsed: Result<Platform, _> = text.parse();
    match parsed {
        Ok(platform) if platform.os != "linux" => Err((
            format!("images are built for linux, not for {}", platform.os),
            near(&format!("linux/{}", platform.architecture)),
        )),
        Ok(platform) if !known().any(|known| known.architecture == platform.architecture) => {
            Err((format!("`{}` is not a known architecture", platform.architecture), near(text)))
        }
        Ok(platform) => Ok(platform),
        Err(error) => Err((error.reason, near(text))),
    }
}

fn near(text: &str) -> Option<String> {
    let exact = |text: &str| {
        let platform: Platform = text.parse().ok()?;
        known().any(|known| known == platform).then(|| platform.to_string())
    };
    let slashed = text.replace(['-', ':', ' '], "/");
    let bare = slashed.strip_prefix("linux/").unwrap_or(&slashed);
    exact(&format!("linux/{bare}")).or_else(|| {
        let names = KNOWN.iter().filter_map(|name| name.strip_prefix("linux/"));
        nearest(bare, names).map(|name| format!("linux/{name}"))
    })
}
