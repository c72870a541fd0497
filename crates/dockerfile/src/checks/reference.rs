//! Whether a text can be the name of an image: `[HOST[:PORT]/]PATH[:TAG][@DIGEST]`.

/// Whether the text names an image, a stage or a base.
pub(super) fn is_reference(text: &str) -> bool {
    let (name, digest) = match text.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (text, None),
    };
    let (name, tag) = split_tag(name);
    let (host, path) = split_host(name);
    host.is_none_or(is_host)
        && !path.is_empty()
        && path.split('/').all(is_component)
        && tag.is_none_or(is_tag)
        && digest.is_none_or(is_digest)
        // 64 hex digits name an image by its id, which is no name.
        && !(host.is_none() && path.len() == 64 && path.chars().all(|c| c.is_ascii_hexdigit()))
}

/// Whether a reference of an image says which version: by a digest, or a tag other than `latest`.
pub(super) fn is_pinned(text: &str) -> bool {
    let tag = split_tag(text.split('@').next().unwrap_or_default()).1;
    text.contains('@') || tag.is_some_and(|tag| tag != "latest")
}

/// Whether a reference names its registry.
pub(super) fn has_registry(text: &str) -> bool {
    split_host(text).0.is_some()
}

fn split_tag(name: &str) -> (&str, Option<&str>) {
    match name.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (name, None),
    }
}

fn split_host(name: &str) -> (Option<&str>, &str) {
    match name.split_once('/') {
        Some((host, path))
            if host.contains(['.', ':'])
                || host == "localhost"
                || host.chars().any(|c| c.is_ascii_uppercase()) =>
        {
            (Some(host), path)
        }
        _ => (None, name),
    }
}

fn is_host(host: &str) -> bool {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !name.is_empty() && !port.contains(']') => (name, Some(port)),
        _ => (host, None),
    };
    let label = |label: &str| {
        !label.is_empty()
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let numeric = |c: char| c.is_ascii_hexdigit() || c == ':';
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    let named = match address {
        Some(address) => address.chars().all(numeric),
        None => name.split('.').all(label),
    };
    named && port.is_none_or(|port| !port.is_empty() && port.chars().all(|c| c.is_ascii_digit()))
}

/// Lower case letters and digits, with `.`, `_`, `__` or dashes between.
fn is_component(component: &str) -> bool {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let separators = component.split(fits).filter(|between| !between.is_empty());
    component.starts_with(fits)
        && component.ends_with(fits)
        && separators
            .into_iter()
            .all(|between| matches!(between, "." | "_" | "__") || between.chars().all(|c| c == '-'))
}

fn is_tag(tag: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
    tag.len() <= 128
        && tag.starts_with(fits)
        && tag.chars().all(|c| fits(c) || matches!(c, '.' | '-'))
}

fn is_digest(digest: &str) -> bool {
    digest.split_once(':').is_some_and(|(algorithm, hex)| {
        !algorithm.is_empty()
            && algorithm.chars().all(|c| c.is_ascii_alphanumeric() || "+._-".contains(c))
            && hex.len() >= 32
            && hex.chars().all(|c| c.is_ascii_hexdigit())
    })
}

#[cfg(test)]
mod tests {
    use super::{has_registry, is_pinned, is_reference};

    #[test]
    fn names_of_images() {
        let digest = format!("a@sha256:{}", "0".repeat(64));
        for good in [
            "a",
            "scratch",
            "team/app:v1.2-x",
            "r.example:5000/a/b",
            "localhost/a",
            "a__b/c--d",
            "[::1]:5000/a",
            digest.as_str(),
        ] {
            assert!(is_reference(good), "{good}");
        }
        let id = "f".repeat(64);
        for bad in
            ["", ":v1", "a:", "A", "a//b", "a/", "a:-x", "a b", "a___b", "a@sha256:0", id.as_str()]
        {
            assert!(!is_reference(bad), "{bad}");
        }
    }

    #[test]
    fn versions() {
        assert!(is_pinned("r.example/a:v1") && is_pinned("r.example:5000/a@sha256:00"));
        assert!(!is_pinned("r.example:5000/a") && !is_pinned("a:latest"));
        assert!(has_registry("r.example/a") && !has_registry("team/a"));
    }
}
