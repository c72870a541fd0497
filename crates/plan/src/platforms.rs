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
    let aliased = |text: &str| {
        let platform: Option<Platform> = text.parse().ok();
        platform.filter(|platform| known().any(|known| known == *platform))
    };
    let slashed = text.replace(['-', '_', ':', ' '], "/");
    let candidates =
        [text.to_owned(), format!("linux/{text}"), slashed.clone(), format!("linux/{slashed}")];
    candidates
        .iter()
        .find_map(|candidate| aliased(candidate).map(|platform| platform.to_string()))
        .or_else(|| {
            candidates
                .iter()
                .find_map(|candidate| nearest(candidate, KNOWN.iter().copied()).map(str::to_owned))
        })
}
