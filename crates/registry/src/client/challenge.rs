//! Reads `WWW-Authenticate` (RFC 9110, section 11.6.1; distribution's token specification).

/// What a registry demands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// Name and password with every request.
    Basic,
    /// A token from a token service.
    Bearer {
        /// URL of the token service.
        realm: String,
        /// How the token service knows this registry.
        service: Option<String>,
        /// What the token must allow, in the registry's words.
        scope: Option<String>,
    },
}

impl Challenge {
    /// The first scheme that we know among the challenges of one answer; a token goes before a
    /// password.
    pub(crate) fn parse<'a>(values: impl Iterator<Item = &'a str> + Clone) -> Option<Challenge> {
        values.clone().find_map(bearer).or_else(|| {
            values.clone().find_map(|value| scheme(value, "basic").map(|_| Challenge::Basic))
        })
    }
}

fn bearer(value: &str) -> Option<Challenge> {
    let mut parameters = scheme(value, "bearer")?;
    let (mut realm, mut service, mut scope) = (None, None, None);
    while let Some((name, text, rest)) = parameter(parameters) {
        match name.to_ascii_lowercase().as_str() {
            "realm" => realm = Some(text),
            "service" => service = Some(text),
            "scope" => scope = Some(text),
            _ => {}
        }
        parameters = rest;
    }
    Some(Challenge::Bearer { realm: realm?, service, scope })
}

fn scheme<'a>(value: &'a str, wanted: &str) -> Option<&'a str> {
    let value = value.trim();
    let (name, rest) = value.split_once(' ').unwrap_or((value, ""));
    name.eq_ignore_ascii_case(wanted).then_some(rest)
}

/// One `name=value` or `name="value"`, and what follows it.
fn parameter(text: &str) -> Option<(&str, String, &str)> {
    let text = text.trim_start_matches([',', ' ', '\t']);
    let (name, rest) = text.split_once('=')?;
    let Some(quoted) = rest.trim_start().strip_prefix('"') else {
        let end = rest.find(',').unwrap_or(rest.len());
        return Some((name.trim(), rest[..end].trim().to_owned(), &rest[end..]));
    };
    let mut content = String::new();
    let mut escaped = false;
    for (position, c) in quoted.char_indices() {
        match c {
            _ if escaped => {
                content.push(c);
                escaped = false;
            }
            '\\' => escaped = true,
            '"' => return Some((name.trim(), content, &quoted[position + 1..])),
            _ => content.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(values: &[&str]) -> Option<Challenge> {
        Challenge::parse(values.iter().copied())
    }

    #[test]
    fn bearer_with_all_parameters() {
        let value = r#"Bearer realm="https://auth.example/token",service="r.example",scope="repository:a/b:pull,push",error="x \"y\"""#;
        let wanted = Challenge::Bearer {
            realm: "https://auth.example/token".to_owned(),
            service: Some("r.example".to_owned()),
            scope: Some("repository:a/b:pull,push".to_owned()),
        };
        assert_eq!(parse(&[value]), Some(wanted));
    }

    #[test]
    fn token_goes_before_password() {
        let both = [r#"Basic realm="r""#, "bearer realm=https://a.example/t"];
        let Some(Challenge::Bearer { realm, service: None, .. }) = parse(&both) else { panic!() };
        assert_eq!(realm, "https://a.example/t");
    }

    #[test]
    fn basic_and_unknown() {
        assert_eq!(parse(&["Basic realm=\"r\""]), Some(Challenge::Basic));
        assert_eq!(
            parse(&["Negotiate", "Bearer service=\"no realm\"", "Bearer realm=\"open"]),
            None
        );
    }
}
