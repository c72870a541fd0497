//! A repository's Dockerfiles → the text of a plan, with a comment wherever it guessed.
//!
//! The text passes [`crate::read`]. Finding and reading the Dockerfiles is the caller's.

mod guess;

use guess::{Chain, Link, guess};

/// What a repository holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Path (relative, with `/`) and text of each Dockerfile.
    pub dockerfiles: Vec<(String, String)>,
    /// Name of the repository, such as that of its folder.
    pub repository_name: String,
    /// Where its images go, `HOST/PATH`, when known.
    pub repository: Option<String>,
}

/// The text of a plan that builds the Dockerfiles of `found`.
///
/// By convention of names: folders and suffixes such as `cpu`, `cuda` and `arm64` are flavors and
/// platforms, the other words are tiers, chained where a Dockerfile says `ARG BASE_IMAGE`.
pub fn plan_text(found: &Found) -> String {
    let guessed = guess(&found.dockerfiles);
    let mut out =
        String::from("# Written by `anyarch init`. See `anyarch plan` for what comes of it.\n\n");
    project(&mut out, found);
    for chain in &guessed.chains {
        flavor(&mut out, chain);
    }
    for path in &guessed.unused {
        out.push_str(&format!("# not used: {}\n", one_line(path)));
    }
    if guessed.chains.is_empty() {
        out.push_str("# guessed: no Dockerfile was found; write one and name it here\n");
        let link = Link { tier: "app".to_owned(), path: "Dockerfile".to_owned() };
        flavor(&mut out, &Chain::new("cpu", vec![link]));
    }
    indexes(&mut out, &guessed.chains);
    out
}

fn project(out: &mut String, found: &Found) {
    let name = repository_name(&found.repository_name);
    out.push_str("[project]\n");
    if name != found.repository_name {
        out.push_str("# guessed: made to fit, repositories are lower case\n");
    }
    out.push_str(&format!("name = {}\n", quoted(&name)));
    let known = found.repository.as_deref().filter(|repository| {
        repository.parse::<anyarch_oci::Reference>().is_ok_and(|reference| {
            reference.registry.is_some() && reference.tag.is_none() && reference.digest.is_none()
        })
    });
    match known {
        Some(repository) => out.push_str(&format!("repository = {}\n", quoted(repository))),
        None => out.push_str(&format!(
            "# repository = \"registry.example/user/{name}\"  # where `publish` goes\n"
        )),
    }
    out.push_str("version = \"git\"\n\n");
}

fn flavor(out: &mut String, chain: &Chain) {
    out.push_str(&format!("[flavor.{}]\n", key(&chain.flavor)));
    for remark in &chain.remarks {
        out.push_str(&format!("# guessed: {}\n", one_line(remark)));
    }
    let platforms: Vec<String> =
        chain.platforms().iter().map(|platform| quoted(platform)).collect();
    out.push_str(&format!("platforms = [{}]\n", platforms.join(", ")));
    if let Some(accelerator) = &chain.accelerator {
        out.push_str(&format!("accelerator = {}\n", quoted(accelerator)));
    }
    out.push_str("tiers = [\n");
    for link in &chain.links {
        let (name, dockerfile) = (quoted(&link.tier), quoted(&link.path));
        out.push_str(&format!("  {{ name = {name}, dockerfile = {dockerfile} }},\n"));
    }
    out.push_str("]\n# smoke = [\"my-program\", \"--version\"]  # must succeed before an image is published\n\n");
    for (platform, links) in &chain.overrides {
        out.push_str(&format!("[flavor.{}.on.{}.tier]\n", key(&chain.flavor), quoted(platform)));
        for link in links {
            let (name, dockerfile) = (key(&link.tier), quoted(&link.path));
            out.push_str(&format!("{name}.dockerfile = {dockerfile}\n"));
        }
        out.push('\n');
    }
}

/// `latest-F` for each flavor without an accelerator; `latest` for the first of them and all with one.
fn indexes(out: &mut String, chains: &[Chain]) {
    let members = |chain: &Chain| quoted(&format!("{}/*", chain.flavor));
    let plain: Vec<&Chain> = chains.iter().filter(|chain| chain.accelerator.is_none()).collect();
    for chain in &plain {
        let name = key(&format!("latest-{}", chain.flavor));
        out.push_str(&format!("[index.{name}]\nmembers = [{}]\n\n", members(chain)));
    }
    let Some(first) = plain.first() else { return };
    let special = chains.iter().filter(|chain| chain.accelerator.is_some());
    let all: Vec<String> = std::iter::once(*first).chain(special).map(members).collect();
    if plain.len() > 1 {
        let remark = "a plain pull of `latest` gets the first flavor";
        out.push_str(&format!("# guessed: {remark}\n"));
    }
    out.push_str(&format!("[index.latest]\nmembers = [{}]\n", all.join(", ")));
}

/// The nearest name of a repository: lower case, other characters as `-`.
fn repository_name(text: &str) -> String {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let mut name = String::new();
    for c in text.to_lowercase().chars() {
        if fits(c) {
            name.push(c);
        } else if !name.is_empty() && !name.ends_with('-') {
            name.push('-');
        }
    }
    let name = name.trim_matches('-');
    let name: String = name.chars().take(100).collect();
    if text.parse::<anyarch_oci::RepositoryName>().is_ok() {
        text.to_owned()
    } else if name.is_empty() {
        "app".to_owned()
    } else {
        name.trim_matches('-').to_owned()
    }
}

/// A TOML basic string.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.push_str(&format!("\\u{:04X}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// A TOML key, bare where it can be.
fn key(text: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if !text.is_empty() && text.chars().all(bare) { text.to_owned() } else { quoted(text) }
}

fn one_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}
