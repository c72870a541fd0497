//! `SecretsUsedInArgOrEnv`.

use std::ops::Range;

use super::Found;
use crate::diagnostic::Diagnostic;

/// Words, between underscores, that say that a value is secret.
const SECRET: &[&str] = &[
    "apikey",
    "auth",
    "credential",
    "credentials",
    "key",
    "passwd",
    "password",
    "pword",
    "secret",
    "token",
];

/// Words that say that it is not.
const HARMLESS: &[&str] = &["file", "public", "version"];

pub(super) fn check(keyword: &str, name: &str, span: &Range<usize>, found: &mut Found<'_>) {
    if !sounds_secret(name) {
        return;
    }
    let place = found.place(span, name);
    let message = format!("{keyword} `{name}` sounds like a secret, and stays in the image");
    found.report(
        Diagnostic::warning("SecretsUsedInArgOrEnv", place, message)
            .label("readable by everyone who has the image")
            .hint("lend it to the step that needs it: `RUN --mount=type=secret,id=NAME`"),
    );
}

fn sounds_secret(name: &str) -> bool {
    let has = |words: &[&str]| {
        name.split('_').any(|part| words.iter().any(|word| word.eq_ignore_ascii_case(part)))
    };
    has(SECRET) && !has(HARMLESS)
}

#[cfg(test)]
mod tests {
    use super::sounds_secret;

    #[test]
    fn words_between_underscores_count() {
        for name in ["TOKEN", "github_token", "SECRET_ID", "a_Key_b", "APIKEY", "DB_PASSWORD"] {
            assert!(sounds_secret(name), "{name}");
        }
        for name in [
            "PUBLIC_KEY",
            "TOKEN_FILE",
            "KEY_VERSION",
            "KEYRING",
            "MONKEY",
            "API-KEY",
            "authors",
            "PASSPHRASE",
        ] {
            assert!(!sounds_secret(name), "{name}");
        }
    }
}
