//! Decides who may do what: everything with an account, pulling without one where that is allowed.

use axum::http::{HeaderMap, Method, StatusCode, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::accounts::Accounts;
use super::options::Options;
use super::reply::Refusal;
use super::route::Object;

const CHALLENGE: &str = "Basic realm=\"anyarch\", charset=\"UTF-8\"";

/// Who may come in.
#[derive(Clone, Default)]
pub(super) struct Guard {
    accounts: Option<Accounts>,
    anonymous_pull: bool,
}

impl Guard {
    pub(super) fn new(options: &Options) -> Guard {
        Guard { accounts: options.accounts.clone(), anonymous_pull: options.anonymous_pull }
    }

    /// Refuses who must not do this. `object` is `None` where the path names nothing.
    pub(super) async fn check(
        &self,
        method: &Method,
        object: Option<&Object>,
        headers: &HeaderMap,
    ) -> Result<(), Refusal> {
        let Some(accounts) = &self.accounts else { return Ok(()) };
        let refused = |words: &str| {
            Err(Refusal::new(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", words)
                .with(header::WWW_AUTHENTICATE, CHALLENGE))
        };
        match credentials(headers) {
            Ok(Some((name, password))) => match accounts.admit(&name, &password).await {
                true => Ok(()),
                false => refused("name or password is wrong"),
            },
            Ok(None) if self.anonymous_pull && pulls(method, object) => Ok(()),
            Ok(None) => refused("a name and a password are needed"),
            Err(()) => refused("only basic authentication is understood"),
        }
    }
}

/// Whether this is a part of pulling. The base is none: clients learn there how to log in.
fn pulls(method: &Method, object: Option<&Object>) -> bool {
    let reads = matches!(*method, Method::GET | Method::HEAD);
    reads && !matches!(object, Some(Object::Base | Object::Uploads(_) | Object::Upload(..)))
}

/// Name and password. Some clients send two empty ones where they have none.
fn credentials(headers: &HeaderMap) -> Result<Option<(String, String)>, ()> {
    let Some(value) = headers.get(header::AUTHORIZATION) else { return Ok(None) };
    let (scheme, rest) = value.to_str().map_err(drop)?.split_once(' ').ok_or(())?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return Err(());
    }
    let decoded = STANDARD.decode(rest.trim()).map_err(drop)?;
    let text = String::from_utf8(decoded).map_err(drop)?;
    let (name, password) = text.split_once(':').ok_or(())?;
    let is_empty = name.is_empty() && password.is_empty();
    Ok((!is_empty).then(|| (name.to_owned(), password.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &str) -> Result<Option<(String, String)>, ()> {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, value.parse().unwrap());
        credentials(&headers)
    }

    #[test]
    fn credentials_are_read() {
        let basic = |text: &str| format!("basic {}", STANDARD.encode(text));
        let pair = |name: &str, password: &str| Ok(Some((name.to_owned(), password.to_owned())));
        assert_eq!(read(&basic("ann:a:b")), pair("ann", "a:b"));
        assert_eq!(read(&basic("ann:")), pair("ann", ""));
        assert_eq!(read(&basic(":")), Ok(None));
        for other in ["Bearer x", "Basic", "Basic ?", &basic("ann")] {
            assert_eq!(read(other), Err(()), "{other}");
        }
    }
}
