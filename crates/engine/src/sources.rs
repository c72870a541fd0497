//! Where packages come from: the archives that a plan names, else those of the machine.

use std::fs;
use std::path::Path;

use anyarch_debian::Source;
use anyarch_oci::Digest;
use anyarch_plan::Plan;

use crate::error::{BuildError, Context};
use crate::host::Host;

/// The sources that the machine offers for a suite: the mirror it names, else its apt sources.
pub(crate) fn machine_sources(host: &Host, suite: &str) -> Result<Vec<Source>, BuildError> {
    let sources = match &host.debian_mirror {
        Some(mirror) => {
            anyarch_debian::sources_for_mirror(mirror, None, suite, &["main".to_owned()])
        }
        None => anyarch_debian::host_sources(&host.apt_sources, suite)
            .context(|| "failed to read the apt sources of this machine".to_owned())?,
    };
    if sources.is_empty() {
        return Err(BuildError::input(format!("no source of Debian packages is known for `{suite}`")).hint(
            "name a mirror: `[sources]` with `debian = \"http://…\"` in the plan, or ANYARCH_DEBIAN_MIRROR".to_owned(),
        ));
    }
    Ok(sources)
}

/// The sources that the plan names for a suite. Keyrings are read relative to the plan's folder.
pub(crate) fn plan_sources(
    plan: &Plan,
    directory: &Path,
    suite: &str,
    components: &[String],
) -> Result<Vec<Source>, BuildError> {
    let mut sources = Vec::new();
    for named in &plan.sources.debian {
        let components = if named.components.is_empty() { components } else { &named.components };
        let mut own = if named.suites.is_empty() {
            anyarch_debian::sources_for_mirror(
                &named.uri,
                named.security.as_deref(),
                suite,
                components,
            )
        } else {
            let source = |suite: &String| Source {
                uri: named.uri.trim_end_matches('/').to_owned(),
                suite: suite.clone(),
                components: components.to_vec(),
                signed_by: None,
            };
            named.suites.iter().map(source).collect()
        };
        if let Some(path) = &named.signed_by {
            let keys = fs::read(directory.join(path)).map_err(|error| {
                BuildError::input(format!("failed to read the keyring {path}")).because(error).hint(
                    format!(
                        "line {} of the plan names it; paths are relative to the plan file",
                        plan.line(named.span.start)
                    ),
                )
            })?;
            own.iter_mut().for_each(|source| source.signed_by = Some(keys.clone()));
        }
        sources.extend(own);
    }
    Ok(sources)
}

/// What an image keeps of the plan's sources, as a text for the cache key.
pub(crate) fn kept_sources(sources: &[Source]) -> String {
    let line = |source: &Source| {
        let keys = source.signed_by.as_ref().map(|keys| Digest::sha256(keys).to_string());
        format!(
            "{} {} {} {}\n",
            source.uri,
            source.suite,
            source.components.join(","),
            keys.unwrap_or_default()
        )
    };
    sources.iter().map(line).collect()
}
