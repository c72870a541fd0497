//! Turns [`Trust`] into the root certificates and the TLS settings of a client.
//!
//! Loaded here rather than by the platform verifier, which refuses to start on systems without
//! certificates; those get Mozilla's roots.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};

use crate::{HttpError, Trust};

/// Where distributions keep their bundle of authorities.
const SYSTEM_BUNDLES: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/ssl/cert.pem",
];

/// TLS settings with the roots that `trust` names.
pub(crate) fn tls_config(trust: &Trust) -> Result<ClientConfig, HttpError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|source| HttpError::Setup { source: Box::new(source) })?;
    Ok(builder.with_root_certificates(roots(trust)?).with_no_client_auth())
}

fn roots(trust: &Trust) -> Result<RootCertStore, HttpError> {
    let mut roots = RootCertStore::empty();
    if trust.files.is_empty() && trust.directories.is_empty() {
        let bundle = SYSTEM_BUNDLES.iter().map(Path::new).find(|path| path.exists());
        if let Some(bundle) = bundle {
            add(&mut roots, Some(bundle), None)?;
        } else {
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
    }
    for file in trust.files.iter().chain(&trust.extra) {
        add(&mut roots, Some(file), None)?;
    }
    for directory in &trust.directories {
        add(&mut roots, None, Some(directory))?;
    }
    Ok(roots)
}

fn add(
    roots: &mut RootCertStore,
    file: Option<&Path>,
    dir: Option<&Path>,
) -> Result<(), HttpError> {
    let path = || file.or(dir).map(PathBuf::from).unwrap_or_default();
    let loaded = rustls_native_certs::load_certs_from_paths(file, dir);
    // A directory may hold a stray file; a named bundle that cannot be read is a mistake.
    if let (Some(error), Some(_)) = (loaded.errors.first(), file) {
        return Err(HttpError::Certificates { path: path(), reason: error.to_string() });
    }
    let (added, _not_parsable) = roots.add_parsable_certificates(loaded.certs);
    if added == 0 {
        let reason = "there is no usable certificate in it".to_owned();
        return Err(HttpError::Certificates { path: path(), reason });
    }
    Ok(())
}
