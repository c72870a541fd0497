//! Certificates that the machine trusts and an image does not: lent to steps, never recorded.
//!
//! Networks that intercept TLS put a certificate into the machine's trust store; programs of a step
//! would refuse every connection without it.

use std::collections::BTreeSet;
use std::path::Path;

use anyarch_layer::Root;

/// Where a step finds the bundle: outside of the tree.
pub(crate) const BUNDLE_PATH: &str = "/dev/.anyarch/ca.crt";

/// What names the bundle to the programs that fetch.
pub(crate) const VARIABLES: &[&str] = &[
    "SSL_CERT_FILE",
    "PIP_CERT",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "NODE_EXTRA_CA_CERTS",
    "GIT_SSL_CAINFO",
    "CARGO_HTTP_CAINFO",
];

/// Whether a bundle has a certificate that the tree's own bundle lacks.
pub(crate) fn adds_to(bundle: &[u8], tree: &Root) -> bool {
    let own = tree.read(Path::new("etc/ssl/certs/ca-certificates.crt")).unwrap_or_default();
    let own = certificates(&own);
    certificates(bundle).iter().any(|certificate| !own.contains(certificate))
}

/// The bodies of a PEM file's certificates.
fn certificates(pem: &[u8]) -> BTreeSet<String> {
    let text = String::from_utf8_lossy(pem);
    text.split("-----BEGIN CERTIFICATE-----")
        .skip(1)
        .filter_map(|rest| rest.split_once("-----END CERTIFICATE-----"))
        .map(|(body, _)| body.split_whitespace().collect())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_is_lent_only_when_it_has_something_more() {
        let pem = |body: &str| {
            format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n")
        };
        let folder = tempfile::tempdir().unwrap();
        let root = Root::open(folder.path()).unwrap();
        assert!(adds_to(pem("AA").as_bytes(), &root), "the tree has none");
        std::fs::create_dir_all(folder.path().join("etc/ssl/certs")).unwrap();
        std::fs::write(
            folder.path().join("etc/ssl/certs/ca-certificates.crt"),
            pem("A\nA") + &pem("BB"),
        )
        .unwrap();
        assert!(!adds_to(pem("AA").as_bytes(), &root));
        assert!(adds_to((pem("AA") + &pem("CC")).as_bytes(), &root));
    }
}
