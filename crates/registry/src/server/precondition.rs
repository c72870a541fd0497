//! `If-Match` and `If-None-Match` (RFC 9110, section 13). An entity tag is a digest in quotes.

use anyarch_oci::Digest;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};

use super::reply::Refusal;

/// What must hold for a request to be carried out.
#[derive(Clone, Debug, Default)]
pub(super) struct Preconditions {
    matches: Option<String>,
    none_matches: Option<String>,
}

/// Why a request is not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unmet {
    /// `If-Match` named something else.
    Differs,
    /// `If-None-Match` named what is there.
    Exists,
}

impl Preconditions {
    pub(super) fn of(headers: &HeaderMap) -> Preconditions {
        let joined = |name: HeaderName| {
            let values: Vec<&str> =
                headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
            (!values.is_empty()).then(|| values.join(","))
        };
        Preconditions {
            matches: joined(header::IF_MATCH),
            none_matches: joined(header::IF_NONE_MATCH),
        }
    }

    /// Whether they hold, with what is there now.
    pub(super) fn check(&self, now: Option<&Digest>) -> Result<(), Unmet> {
        // Only `If-None-Match` takes weak tags; ours are strong.
        if self.matches.as_deref().is_some_and(|list| !names(list, now, false)) {
            return Err(Unmet::Differs);
        }
        if self.none_matches.as_deref().is_some_and(|list| names(list, now, true)) {
            return Err(Unmet::Exists);
        }
        Ok(())
    }
}

impl Unmet {
    /// The answer to a request that would have changed `what`.
    pub(super) fn refusal(self, what: &str) -> Refusal {
        let (code, words) = match self {
            Unmet::Exists => ("TAG_EXISTS", format!("{what} exists already")),
            Unmet::Differs => ("PRECONDITION_FAILED", format!("{what} is not what If-Match names")),
        };
        Refusal::new(StatusCode::PRECONDITION_FAILED, code, words)
    }
}

/// The entity tag of content.
pub(super) fn etag(digest: &Digest) -> String {
    format!("\"{digest}\"")
}

/// Whether a list of entity tags names what is there; `*` names anything.
pub(super) fn names(list: &str, now: Option<&Digest>, weak: bool) -> bool {
    let Some(now) = now else { return false };
    let own = etag(now);
    list.split(',').map(str::trim).any(|tag| {
        let tag = if weak { tag.strip_prefix("W/").unwrap_or(tag) } else { tag };
        tag == "*" || tag == own
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: HeaderName, value: &str, now: Option<&Digest>) -> Result<(), Unmet> {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().unwrap());
        Preconditions::of(&headers).check(now)
    }

    #[test]
    fn what_is_there_is_compared() {
        let (one, two) = (Digest::sha256(b"1"), Digest::sha256(b"2"));
        let list = format!("\"x\", {}", etag(&one));
        let weak = format!("W/{}", etag(&one));
        for (value, now, matches, none_matches) in [
            ("*", None, Err(Unmet::Differs), Ok(())),
            ("*", Some(&one), Ok(()), Err(Unmet::Exists)),
            (&list, Some(&one), Ok(()), Err(Unmet::Exists)),
            (&list, Some(&two), Err(Unmet::Differs), Ok(())),
            (&list, None, Err(Unmet::Differs), Ok(())),
            (&weak, Some(&one), Err(Unmet::Differs), Err(Unmet::Exists)),
        ] {
            assert_eq!(check(header::IF_MATCH, value, now), matches, "{value} {now:?}");
            assert_eq!(check(header::IF_NONE_MATCH, value, now), none_matches, "{value} {now:?}");
        }
    }
}
