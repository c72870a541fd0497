//! Reads where a list goes on: `Link: <URL>; rel="next"` (RFC 8288).

use url::Url;

/// The URL of the next page, resolved against the page it came with.
pub(crate) fn next(base: &Url, value: &str) -> Option<Url> {
    value.split(',').find_map(|link| {
        let (target, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
        let is_next = parameters.split(';').any(|parameter| {
            parameter.trim().split_once('=').is_some_and(|(name, value)| {
                name.eq_ignore_ascii_case("rel") && value.trim_matches('"') == "next"
            })
        });
        if is_next { base.join(target).ok() } else { None }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn next_page_may_be_relative() {
        let base = Url::parse("https://r.example/v2/a/tags/list?n=2").unwrap();
        let next = |value| super::next(&base, value).map(String::from);
        assert_eq!(
            next(r#"</v2/a/tags/list?n=2&last=b>; rel="next""#).as_deref(),
            Some("https://r.example/v2/a/tags/list?n=2&last=b")
        );
        assert_eq!(next("<https://o.example/x>; rel=next").as_deref(), Some("https://o.example/x"));
        assert_eq!(next(r#"</x>; rel="prev""#), None);
        assert_eq!(next("nonsense"), None);
    }
}
