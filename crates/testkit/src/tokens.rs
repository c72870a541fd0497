//! A token service (distribution's token specification) in front of a test registry.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use anyarch_registry::server::Handler;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use base64::Engine;
use url::form_urlencoded;

/// Issues tokens to one account, and demands them of every request to the registry.
#[derive(Clone)]
pub struct TokenService {
    account: Arc<(String, String)>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// Valid tokens with the scopes they allow.
    valid: HashMap<String, Vec<String>>,
    issued: Vec<Vec<String>>,
    only_get: bool,
    closed: Vec<String>,
    life: Option<u64>,
}

impl TokenService {
    /// A service that knows one account.
    pub fn new(username: &str, password: &str) -> TokenService {
        let account = Arc::new((username.to_owned(), password.to_owned()));
        TokenService { account, state: Arc::default() }
    }

    /// Makes every token issued so far worthless.
    pub fn expire_all(&self) {
        self.state.lock().unwrap().valid.clear();
    }

    /// Knows no POST from now on, as some services do; an identity token is taken for the password
    /// of `<token>`.
    pub fn only_get(&self) {
        self.state.lock().unwrap().only_get = true;
    }

    /// Gives out no token any more that is for this repository too.
    pub fn close(&self, repository: &str) {
        self.state.lock().unwrap().closed.push(format!("repository:{repository}:"));
    }

    /// What answers say that tokens are good for, in seconds, from now on.
    pub fn set_life(&self, seconds: u64) {
        self.state.lock().unwrap().life = Some(seconds);
    }

    /// The scopes of every token issued, in order.
    pub fn issued(&self) -> Vec<Vec<String>> {
        self.state.lock().unwrap().issued.clone()
    }

    /// Puts the service in front of a registry; tokens are to be had at `/token`.
    pub fn guard(&self, inner: Handler) -> Handler {
        let service = self.clone();
        Arc::new(move |request| {
            let service = service.clone();
            if request.uri().path() == "/token" {
                return Box::pin(async move { Ok(service.issue(request).await) });
            }
            match service.refuse(&request) {
                Some(response) => Box::pin(async move { Ok(response) }),
                None => inner(request),
            }
        })
    }

    /// GET with name and password, or POST with the password as refresh token.
    async fn issue(&self, request: Request) -> Response {
        let (username, password) = &*self.account;
        let pair =
            base64::engine::general_purpose::STANDARD.encode(format!("{username}:{password}"));
        let as_token =
            base64::engine::general_purpose::STANDARD.encode(format!("<token>:{password}"));
        let shown = header(&request, "authorization").unwrap_or_default();
        let by_password = shown == format!("Basic {pair}") || shown == format!("Basic {as_token}");
        let query = request.uri().query().unwrap_or_default().to_owned();
        let body = to_bytes(request.into_body(), 65_536).await.unwrap();
        let parameters: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes())
            .chain(form_urlencoded::parse(&body))
            .map(|(name, value)| (name.into_owned(), value.into_owned()))
            .collect();
        if self.state.lock().unwrap().only_get && !body.is_empty() {
            return reply(405, "{}");
        }
        let by_token = parameters.contains(&("refresh_token".to_owned(), password.clone()));
        if !by_password && !by_token {
            return reply(401, "{}");
        }
        let scopes: Vec<String> = parameters
            .iter()
            .filter(|(name, value)| name == "scope" && !value.is_empty())
            .flat_map(|(_, value)| value.split(' ').map(str::to_owned))
            .collect();
        let mut state = self.state.lock().unwrap();
        if scopes.iter().any(|scope| state.closed.iter().any(|closed| scope.starts_with(closed))) {
            return reply(403, "{}");
        }
        state.issued.push(scopes.clone());
        let token = format!("token-{}", state.issued.len());
        let answer = serde_json::json!({ "token": token, "expires_in": state.life.unwrap_or(300) })
            .to_string();
        state.valid.insert(token, scopes);
        reply(200, &answer)
    }

    /// The answer to a request without a token that allows it.
    fn refuse(&self, request: &Request) -> Option<Response> {
        let token =
            header(request, "authorization").and_then(|value| value.strip_prefix("Bearer "));
        let state = self.state.lock().unwrap();
        let scopes = token.and_then(|token| state.valid.get(token));
        if let Some(scopes) = scopes
            && needed(request).iter().all(|(repository, action)| allows(scopes, repository, action))
        {
            return None;
        }
        let host = header(request, "host").unwrap_or_default();
        let challenge = format!(r#"Bearer realm="http://{host}/token",service="{host}""#);
        let mut response =
            reply(401, r#"{"errors":[{"code":"UNAUTHORIZED","message":"no token"}]}"#);
        let value = HeaderValue::from_str(&challenge).unwrap();
        response.headers_mut().insert("www-authenticate", value);
        Some(response)
    }
}

/// Which actions on which repositories a request takes.
fn needed(request: &Request) -> Vec<(String, &'static str)> {
    let path = request.uri().path().strip_prefix("/v2/").unwrap_or_default();
    let parts = ["/blobs/", "/manifests/", "/tags/", "/referrers/"];
    let Some(end) = parts.iter().filter_map(|part| path.find(part)).min() else {
        return Vec::new();
    };
    let action = match request.method().as_str() {
        "GET" | "HEAD" => "pull",
        "DELETE" if path.contains("/manifests/") => "delete",
        _ => "push",
    };
    let mut needed = vec![(path[..end].to_owned(), action)];
    let query = request.uri().query().unwrap_or_default();
    needed.extend(
        form_urlencoded::parse(query.as_bytes())
            .filter(|(name, _)| name == "from")
            .map(|(_, from)| (from.into_owned(), "pull")),
    );
    needed
}

fn allows(scopes: &[String], repository: &str, action: &str) -> bool {
    scopes.iter().any(|scope| {
        scope.strip_prefix("repository:").and_then(|scope| scope.rsplit_once(':')).is_some_and(
            |(name, actions)| name == repository && actions.split(',').any(|a| a == action),
        )
    })
}

fn header<'a>(request: &'a Request, name: &str) -> Option<&'a str> {
    request.headers().get(name)?.to_str().ok()
}

fn reply(status: u16, body: &str) -> Response {
    let mut response = Response::new(Body::from(body.to_owned()));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response
}
