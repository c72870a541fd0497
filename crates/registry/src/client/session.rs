//! An upload session of a registry: where it goes on, and how much the registry has of it
//! (distribution-spec, "Pushing a blob in chunks").

use anyarch_http::Response;
use url::Url;

use super::error::Failure;

/// An upload that a registry has begun to take.
#[derive(Debug)]
pub(super) struct Session {
    /// Where it goes on.
    pub(super) url: Url,
    /// How many bytes the registry has.
    pub(super) at: u64,
    /// True where that must be asked: something broke off, or another process began it.
    pub(super) unsure: bool,
    /// True once it has been gone on with after a part.
    pub(super) resumed: bool,
    /// The least that a chunk other than the last may have (`OCI-Chunk-Min-Length`).
    pub(super) least: u64,
}

impl Session {
    /// The session that a registry opens with this answer.
    pub(super) fn opened(response: &Response) -> Result<Session, Failure> {
        let value = response
            .header("location")
            .ok_or_else(|| Failure::Protocol("an upload session has no Location".to_owned()))?;
        let url = continue_at(&response.url, value)?;
        let mut session = Session { url, at: 0, unsure: false, resumed: false, least: 0 };
        session.note_least(response);
        Ok(session)
    }

    /// The session at a place that was kept.
    pub(super) fn kept(url: Url) -> Session {
        Session { url, at: 0, unsure: true, resumed: false, least: 0 }
    }

    /// Follows the registry to where it wants the upload to go on.
    pub(super) fn moved(&mut self, response: &Response) -> Result<(), Failure> {
        if let Some(value) = response.header("location") {
            self.url = continue_at(&response.url, value)?;
        }
        self.note_least(response);
        Ok(())
    }

    fn note_least(&mut self, response: &Response) {
        let least = response.header("oci-chunk-min-length");
        if let Some(least) = least.and_then(|text| text.trim().parse().ok()) {
            self.least = least;
        }
    }
}

/// How many bytes a registry has by its `Range: FIRST-LAST`, which some write as `bytes=…`. `0-0`
/// stands for nothing as well as for one byte.
pub(super) fn end_of_range(response: &Response) -> Option<u64> {
    read_range(response.header("range")?)
}

fn read_range(value: &str) -> Option<u64> {
    let spec = value.trim().trim_start_matches("bytes").trim_start_matches([' ', '=']);
    let (_first, last) = spec.split_once('-')?;
    let last = last.split('/').next().unwrap_or(last);
    last.trim().parse::<u64>().ok()?.checked_add(1)
}

/// Reads a location, which may be relative to the request. A registry behind a proxy may take itself
/// to be reached without TLS; where we reached it with TLS, we go on with TLS.
fn continue_at(request: &str, location: &str) -> Result<Url, Failure> {
    join(request, location).map_err(|reason| {
        // Without the query, which may hold a signature.
        let shown = location.split('?').next().unwrap_or_default();
        Failure::Protocol(format!("Location `{shown}` of an upload session: {reason}"))
    })
}

fn join(request: &str, location: &str) -> Result<Url, String> {
    let base = Url::parse(request).map_err(|error| error.to_string())?;
    let mut url = base.join(location).map_err(|error| error.to_string())?;
    if base.scheme() == "https" && url.scheme() == "http" {
        let moved = base.host() != url.host()
            || url.set_scheme("https").is_err()
            || url.set_port(base.port()).is_err();
        if moved {
            return Err("it leads from https to http".to_owned());
        }
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uploads_go_on_over_tls() {
        let at = |request, location| join(request, location).map(String::from);
        let begun = "https://r.example:444/v2/a/blobs/uploads/";
        assert_eq!(at(begun, "/u?s=1").unwrap(), "https://r.example:444/u?s=1");
        assert_eq!(at(begun, "http://r.example/u").unwrap(), "https://r.example:444/u");
        assert_eq!(at(begun, "https://other.example/u").unwrap(), "https://other.example/u");
        assert!(at(begun, "http://other.example/u").is_err());
        assert_eq!(at("http://localhost/v2/", "http://o.example/u").unwrap(), "http://o.example/u");
        let error = continue_at(begun, "http://o.example/u?secret").unwrap_err().to_string();
        assert!(!error.contains("secret"), "{error}");
    }

    #[test]
    fn ranges_of_what_is_there() {
        for (value, wanted) in [
            ("0-99", Some(100)),
            ("bytes=0-99", Some(100)),
            ("bytes 0-99/*", Some(100)),
            ("0-0", Some(1)),
            ("-", None),
            ("99", None),
        ] {
            assert_eq!(read_range(value), wanted, "{value}");
        }
    }
}
