//! Cleartext OpenPGP signatures (RFC 9580, 7): an `InRelease` file to the text that a trusted key signed.
//!
//! Accepts a text when at least one good signature by a trusted, unexpired, unrevoked key covers it and no
//! trusted key's signature is bad, as gpgv and apt do together. Knows nothing of what the text means.

use std::time::SystemTime;

use pgp::composed::{CleartextSignedMessage, Deserializable, SignedPublicKey};
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{Signature, SignatureType};
use pgp::ser::Serialize as PgpSerialize;
use pgp::types::{KeyDetails, VerifyingKey};

use crate::date;

/// The public keys of the Debian archive, from the package `debian-archive-keyring` (see `keys/README.md`).
pub const DEBIAN_ARCHIVE_KEYS: &[u8] = include_bytes!("../keys/debian-archive-keyring.gpg");

/// Trusted keys.
#[derive(Debug)]
pub(crate) struct Keyring {
    keys: Vec<SignedPublicKey>,
}

/// Why a signed text is not accepted. Key ids are the last 16 digits of fingerprints.
#[derive(Debug, thiserror::Error)]
pub enum SignatureError {
    /// The keyring does not parse.
    #[error("the keyring cannot be read: {reason}")]
    Keyring {
        /// What the parser said.
        reason: String,
    },
    /// The text is not a cleartext-signed message.
    #[error("it is not a cleartext-signed message: {reason}")]
    Format {
        /// What the parser said.
        reason: String,
    },
    /// A trusted key's signature does not fit the text.
    #[error("the signature by key {key} is bad: the text was changed after it was signed")]
    Bad {
        /// Key id.
        key: String,
    },
    /// None of the signing keys is in the keyring.
    #[error("no trusted key signed it (signed by {})", list(.keys))]
    Unknown {
        /// Key ids of the signatures.
        keys: Vec<String>,
    },
    /// The trusted keys that signed it cannot be used.
    #[error("no usable signature: {}", list(.reasons))]
    Unusable {
        /// One reason a signature: expired or revoked key, weak digest, unsupported algorithm.
        reasons: Vec<String>,
    },
}

impl SignatureError {
    /// What a person can do.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            SignatureError::Keyring { .. } => {
                "give an OpenPGP keyring, binary or armored".to_owned()
            }
            SignatureError::Format { .. } => {
                "something else answered in the mirror's place (a proxy or a login page?)"
                    .to_owned()
            }
            SignatureError::Bad { .. } => {
                "the mirror, or something on the way to it, changed the index; try another mirror"
                    .to_owned()
            }
            SignatureError::Unknown { .. } => {
                "if the archive is not Debian's own, name its keyring with `signed-by`".to_owned()
            }
            SignatureError::Unusable { .. } => {
                "use a newer keyring, and check this machine's clock".to_owned()
            }
        })
    }
}

fn list(items: &[String]) -> String {
    if items.is_empty() { "nobody".to_owned() } else { items.join(", ") }
}

/// What one signature turned out to be.
enum Verdict {
    Good,
    Bad { key: String },
    UnknownKey { keys: Vec<String> },
    Unusable { reason: String },
}

impl Keyring {
    /// Reads a keyring, binary or armored.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Keyring, SignatureError> {
        let fail = |reason: String| SignatureError::Keyring { reason };
        let (keys, _) =
            SignedPublicKey::from_reader_many(bytes).map_err(|e| fail(e.to_string()))?;
        let keys: Vec<_> = keys.collect::<Result<_, _>>().map_err(|e| fail(e.to_string()))?;
        if keys.is_empty() {
            return Err(fail("it holds no key".to_owned()));
        }
        Ok(Keyring { keys })
    }

    /// The text of a signed message, in the exact form that the signatures cover (line ends as `\n`).
    pub(crate) fn verify(&self, signed: &[u8], now: SystemTime) -> Result<String, SignatureError> {
        let fail = |reason: String| SignatureError::Format { reason };
        let input = std::str::from_utf8(signed).map_err(|e| fail(e.to_string()))?;
        let (message, _) =
            CleartextSignedMessage::from_string(input).map_err(|e| fail(e.to_string()))?;
        let text = message.signed_text();
        let now = date::seconds(now);
        let (mut good, mut unknown, mut reasons) = (false, Vec::new(), Vec::new());
        for signature in message.signatures() {
            match self.judge(signature, text.as_bytes(), now) {
                Verdict::Good => good = true,
                Verdict::Bad { key } => return Err(SignatureError::Bad { key }),
                Verdict::UnknownKey { keys } => unknown.extend(keys),
                Verdict::Unusable { reason } => reasons.push(reason),
            }
        }
        if good {
            Ok(text.replace("\r\n", "\n"))
        } else if reasons.is_empty() {
            Err(SignatureError::Unknown { keys: unknown })
        } else {
            Err(SignatureError::Unusable { reasons })
        }
    }

    /// Finds the key that a signature names and checks the signature with it.
    fn judge(&self, signature: &Signature, text: &[u8], now: i64) -> Verdict {
        for certificate in &self.keys {
            let primary = &certificate.primary_key;
            if names(signature, primary) {
                return match certificate_fault(certificate, now) {
                    Some(reason) => Verdict::Unusable { reason },
                    None => check(signature, primary, text, now),
                };
            }
            let mut subkeys = certificate.public_subkeys.iter();
            if let Some(subkey) = subkeys.find(|subkey| names(signature, &subkey.key)) {
                let fault = certificate_fault(certificate, now)
                    .or_else(|| subkey_fault(&subkey.signatures, primary, &subkey.key, now));
                return match fault {
                    Some(reason) => Verdict::Unusable { reason },
                    None => check(signature, &subkey.key, text, now),
                };
            }
        }
        let ids = signature.issuer_key_id().into_iter().map(|id| id.to_string().to_uppercase());
        let mut keys: Vec<String> = ids.collect();
        if keys.is_empty() {
            keys.extend(
                signature.issuer_fingerprint().iter().map(|f| f.to_string().to_uppercase()),
            );
        }
        Verdict::UnknownKey { keys }
    }
}

/// Whether a signature says that `key` made it.
fn names(signature: &Signature, key: &impl KeyDetails) -> bool {
    signature.issuer_fingerprint().into_iter().any(|f| *f == key.fingerprint())
        || signature.issuer_key_id().into_iter().any(|id| *id == key.legacy_key_id())
}

fn id(key: &impl KeyDetails) -> String {
    key.legacy_key_id().to_string().to_uppercase()
}

/// Checks kind, digest, dates and the signature itself.
fn check(signature: &Signature, key: &impl VerifyingKey, text: &[u8], now: i64) -> Verdict {
    let unusable = |what: &str| Verdict::Unusable { reason: format!("{what} of key {}", id(key)) };
    if !matches!(signature.typ(), Some(SignatureType::Text | SignatureType::Binary)) {
        return unusable("not a signature over a document");
    }
    match signature.hash_alg() {
        Some(
            HashAlgorithm::Sha256
            | HashAlgorithm::Sha384
            | HashAlgorithm::Sha512
            | HashAlgorithm::Sha3_256
            | HashAlgorithm::Sha3_512,
        ) => {}
        Some(other) => {
            return unusable(&format!("weak or unsupported digest {other} in signature"));
        }
        None => return unusable("unsupported version of signature"),
    }
    if expiry(signature.created(), signature.signature_expiration_time()).is_some_and(|e| e < now) {
        return unusable("expired signature");
    }
    match signature.verify(key, text) {
        Ok(()) => Verdict::Good,
        Err(pgp::errors::Error::Unsupported { message, .. }) => {
            unusable(&format!("unsupported algorithm ({message})"))
        }
        Err(_) => Verdict::Bad { key: id(key) },
    }
}

/// Why a certificate must not be used now; self-signatures are verified before they are believed.
fn certificate_fault(certificate: &SignedPublicKey, now: i64) -> Option<String> {
    let key = &certificate.primary_key;
    let details = &certificate.details;
    if details.revocation_signatures.iter().any(|s| s.verify_key(key).is_ok()) {
        return Some(format!("key {} is revoked", id(key)));
    }
    let direct = details.direct_signatures.iter().filter(|s| s.verify_key(key).is_ok());
    let users = details.users.iter().flat_map(|user| {
        user.signatures.iter().filter(|s| {
            s.is_certification()
                && names(s, key)
                && s.verify_certification(key, pgp::types::Tag::UserId, &user.id).is_ok()
        })
    });
    let newest = direct.chain(users).max_by_key(|s| s.created().map(|t| t.as_secs()));
    let Some(newest) = newest else {
        return Some(format!("key {} has no valid self-signature", id(key)));
    };
    fault_of_life(key, newest, now)
}

/// Why a signing subkey must not be used now.
fn subkey_fault<P, S>(bindings: &[Signature], primary: &P, subkey: &S, now: i64) -> Option<String>
where
    P: VerifyingKey + PgpSerialize,
    S: VerifyingKey + PgpSerialize,
{
    let valid = || bindings.iter().filter(|s| s.verify_subkey_binding(primary, subkey).is_ok());
    if valid().any(|s| s.typ() == Some(SignatureType::SubkeyRevocation)) {
        return Some(format!("subkey {} is revoked", id(subkey)));
    }
    let newest = valid()
        .filter(|s| s.typ() == Some(SignatureType::SubkeyBinding) && s.key_flags().sign())
        .filter(|s| {
            let back = s.embedded_signature();
            back.is_some_and(|b| b.verify_primary_key_binding(subkey, primary).is_ok())
        })
        .max_by_key(|s| s.created().map(|t| t.as_secs()));
    match newest {
        None => Some(format!("subkey {} is not bound to its key for signing", id(subkey))),
        Some(binding) => fault_of_life(subkey, binding, now),
    }
}

/// Expired, or made in the future.
fn fault_of_life(key: &impl KeyDetails, signature: &Signature, now: i64) -> Option<String> {
    let ends = expiry(Some(key.created_at()), signature.key_expiration_time());
    if let Some(ends) = ends.filter(|ends| *ends < now) {
        return Some(format!("key {} expired on {}", id(key), date::display(ends)));
    }
    (i64::from(key.created_at().as_secs()) > now.saturating_add(24 * 3600))
        .then(|| format!("key {} was made in the future", id(key)))
}

/// When something ends that was made at `created` and lives for `life`; no life, or zero, is forever.
fn expiry(
    created: Option<pgp::types::Timestamp>,
    life: Option<pgp::types::Duration>,
) -> Option<i64> {
    let life = life.filter(|life| life.as_secs() != 0)?;
    Some(i64::from(created?.as_secs()).saturating_add(i64::from(life.as_secs())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyarch_testkit::debian::SigningKey;
    use std::time::Duration;

    fn keyring(key: &SigningKey) -> Keyring {
        Keyring::parse(&key.public()).unwrap()
    }

    const TEXT: &str = "Suite: test\n- dashes\nlast line\n";

    #[test]
    fn shipped_keys_are_readable() {
        let keyring = Keyring::parse(DEBIAN_ARCHIVE_KEYS).unwrap();
        assert!(keyring.keys.len() >= 6, "{}", keyring.keys.len());
        let now = date::parse("Sat, 11 Jul 2026 10:16:37 UTC").unwrap();
        let usable = keyring.keys.iter().filter(|k| certificate_fault(k, now).is_none()).count();
        assert!(usable >= 6, "{usable}");
    }

    #[test]
    fn good_signature_gives_the_text_back() {
        let key = SigningKey::new(1);
        let text = keyring(&key).verify(&key.sign(TEXT), SystemTime::now()).unwrap();
        assert_eq!(text.trim_end(), TEXT.trim_end());
    }

    #[test]
    fn changed_text_names_the_key() {
        let key = SigningKey::new(1);
        let signed = String::from_utf8(key.sign(TEXT)).unwrap().replace("last", "lost");
        let error = keyring(&key).verify(signed.as_bytes(), SystemTime::now()).unwrap_err();
        assert!(matches!(&error, SignatureError::Bad { key: id } if *id == key.id()), "{error}");
    }

    #[test]
    fn text_around_the_signed_part_is_refused() {
        let key = SigningKey::new(1);
        let signed = String::from_utf8(key.sign(TEXT)).unwrap();
        for text in
            [format!("Suite: evil\n{signed}"), format!("{signed}Suite: evil\n"), TEXT.to_owned()]
        {
            let error = keyring(&key).verify(text.as_bytes(), SystemTime::now()).unwrap_err();
            assert!(matches!(error, SignatureError::Format { .. }), "{error}");
        }
    }

    #[test]
    fn foreign_key_is_named() {
        let (key, other) = (SigningKey::new(1), SigningKey::new(2));
        let error = keyring(&other).verify(&key.sign(TEXT), SystemTime::now()).unwrap_err();
        assert!(
            matches!(&error, SignatureError::Unknown { keys } if *keys == [key.id()]),
            "{error}"
        );
    }

    #[test]
    fn expired_key_is_named_with_its_date() {
        // Made with gpg: a certifying key of 30 days, a signing subkey of 20, a signature on the second day.
        let keyring = Keyring::parse(include_bytes!("../tests/data/expiring.gpg")).unwrap();
        let signed = include_bytes!("../tests/data/expiring.InRelease");
        let on = |day: &str| {
            let seconds = date::parse(&format!("{day} 2024 00:00:00 UTC")).unwrap();
            keyring.verify(signed, SystemTime::UNIX_EPOCH + Duration::from_secs(seconds as u64))
        };
        assert!(on("3 Jan").unwrap().starts_with("Suite: test\n"));
        let error = on("25 Jan").unwrap_err().to_string();
        assert_eq!(
            error,
            "no usable signature: key F7D2A3DFBD380DC0 expired on 2024-01-21T00:00:00Z"
        );
        let error = on("1 Mar").unwrap_err().to_string();
        assert_eq!(
            error,
            "no usable signature: key 40F2306BF15134CD expired on 2024-01-31T00:00:00Z"
        );
    }

    #[test]
    fn garbage_is_no_keyring() {
        assert!(matches!(Keyring::parse(b"hello"), Err(SignatureError::Keyring { .. })));
        assert!(matches!(Keyring::parse(b""), Err(SignatureError::Keyring { .. })));
    }
}
