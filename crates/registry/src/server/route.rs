//! Reads the path of a request: which object of which repository.
//!
//! Repository names hold slashes, so paths are read from their end.

use anyarch_oci::{Digest, RepositoryName, Tag};
use percent_encoding::percent_decode_str;

use super::reply::Refusal;

/// The object of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Object {
    /// `/v2/`
    Base,
    /// `/v2/_catalog`
    Catalog,
    /// `/v2/NAME/tags/list`
    Tags(RepositoryName),
    /// `/v2/NAME/referrers/DIGEST`
    Referrers(RepositoryName, Digest),
    /// `/v2/NAME/manifests/REFERENCE`
    Manifest(RepositoryName, Key),
    /// `/v2/NAME/blobs/DIGEST`
    Blob(RepositoryName, Digest),
    /// `/v2/NAME/blobs/uploads/`
    Uploads(RepositoryName),
    /// `/v2/NAME/blobs/uploads/ID`
    Upload(RepositoryName, String),
}

/// What a manifest is asked for by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Tag(Tag),
    Digest(Digest),
    /// Neither; nothing can be stored under it.
    Invalid(String),
}

impl Object {
    pub(super) fn parse(path: &str) -> Result<Object, Refusal> {
        let not_found = || Refusal::unknown("UNSUPPORTED", format!("there is nothing at {path}"));
        let path = percent_decode_str(path).decode_utf8().map_err(|_| not_found())?;
        if matches!(&*path, "/v2" | "/v2/") {
            return Ok(Object::Base);
        }
        let rest = path.strip_prefix("/v2/").ok_or_else(not_found)?;
        if rest == "_catalog" {
            return Ok(Object::Catalog);
        }
        if let Some(name) = rest.strip_suffix("/tags/list") {
            return Ok(Object::Tags(repository(name)?));
        }
        if let Some(name) = rest.strip_suffix("/blobs/uploads") {
            return Ok(Object::Uploads(repository(name)?));
        }
        let (front, last) = rest.rsplit_once('/').ok_or_else(not_found)?;
        if let Some(name) = front.strip_suffix("/blobs/uploads") {
            let name = repository(name)?;
            let uploads = last.is_empty();
            return Ok(if uploads {
                Object::Uploads(name)
            } else {
                Object::Upload(name, last.to_owned())
            });
        }
        let (name, kind) = front.rsplit_once('/').ok_or_else(not_found)?;
        match kind {
            "manifests" => Ok(Object::Manifest(repository(name)?, key(last)?)),
            "blobs" => Ok(Object::Blob(repository(name)?, digest(last)?)),
            "referrers" => Ok(Object::Referrers(repository(name)?, digest(last)?)),
            _ => Err(not_found()),
        }
    }

    /// The methods that an object has, as `Allow` lists them.
    pub(super) fn methods(&self) -> &'static str {
        match self {
            Object::Base | Object::Catalog | Object::Tags(_) | Object::Referrers(..) => "GET, HEAD",
            Object::Manifest(..) => "GET, HEAD, PUT, DELETE",
            Object::Blob(..) => "GET, HEAD, DELETE",
            Object::Uploads(_) => "POST",
            Object::Upload(..) => "GET, HEAD, PATCH, PUT, DELETE",
        }
    }
}

fn repository(name: &str) -> Result<RepositoryName, Refusal> {
    name.parse().map_err(|error| Refusal::bad("NAME_INVALID", error))
}

pub(super) fn digest(text: &str) -> Result<Digest, Refusal> {
    text.parse().map_err(|error| Refusal::bad("DIGEST_INVALID", error))
}

fn key(text: &str) -> Result<Key, Refusal> {
    // A tag has no colon.
    if text.contains(':') {
        return digest(text).map(Key::Digest);
    }
    Ok(text.parse().map_or_else(|_| Key::Invalid(text.to_owned()), Key::Tag))
}

/// The parameters of a request.
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn parse(query: Option<&str>) -> Query {
        let pairs = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes());
        Query(pairs.into_owned().collect())
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex() -> String {
        format!("sha256:{}", "0a".repeat(32))
    }

    #[test]
    fn names_with_slashes_are_read_from_the_end() {
        let name: RepositoryName = "a/manifests/blobs".parse().unwrap();
        let path = format!("/v2/{name}/blobs/{}", hex());
        assert_eq!(
            Object::parse(&path).unwrap(),
            Object::Blob(name.clone(), hex().parse().unwrap())
        );
        let path = format!("/v2/{name}/manifests/{}", hex().replace(':', "%3A"));
        let key = Key::Digest(hex().parse().unwrap());
        assert_eq!(Object::parse(&path).unwrap(), Object::Manifest(name.clone(), key));
        let uploads = Object::parse("/v2/a/manifests/blobs/blobs/uploads/").unwrap();
        assert_eq!(uploads, Object::Uploads(name.clone()));
        let upload = Object::parse("/v2/a/manifests/blobs/blobs/uploads/1f").unwrap();
        assert_eq!(upload, Object::Upload(name, "1f".to_owned()));
    }

    #[test]
    fn what_is_not_there_is_refused() {
        for path in
            ["/", "/v1/", "/v2/a", "/v2/a/b", "/v2/a/blobs/x", "/v2/A/tags/list", "/v2/a/%ff/b"]
        {
            assert!(Object::parse(path).is_err(), "{path}");
        }
    }

    #[test]
    fn keys() {
        assert_eq!(key("v1").unwrap(), Key::Tag("v1".parse().unwrap()));
        assert_eq!(key(".v1").unwrap(), Key::Invalid(".v1".to_owned()));
        assert_eq!(key(&hex()).unwrap(), Key::Digest(hex().parse().unwrap()));
        assert!(key("sha256:0").is_err() && key("md5:00").is_err());
    }
}
