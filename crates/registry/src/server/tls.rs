//! Certificate and key, out of two files in PEM.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use thiserror::Error;

/// How a server proves who it is. Cheap to clone.
#[derive(Clone)]
pub struct Tls(pub(super) Arc<ServerConfig>);

/// Why two files are not certificate and key.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("failed to read {what} from {}", path.display())]
    Read {
        /// Certificates or a key.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file holds something else.
    #[error("{} holds no {what} in PEM", path.display())]
    Missing {
        /// Certificates or a key.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: pem::Error,
    },
    /// They do not belong together, or are of a kind that is not supported.
    #[error("certificate {} cannot be used with key {}", certificate.display(), key.display())]
    Pair {
        /// The file of certificates.
        certificate: PathBuf,
        /// The file of the key.
        key: PathBuf,
        /// Why not.
        source: rustls::Error,
    },
}

impl TlsError {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            TlsError::Read { .. } => None,
            TlsError::Missing { what, .. } => Some(format!("a {what} is a block `-----BEGIN ...`")),
            TlsError::Pair { .. } => Some(
                "the first certificate in its file must be the server's own, made for this key; \
                 those that lead to the authority follow it"
                    .to_owned(),
            ),
        }
    }
}

impl Tls {
    /// Reads the server's certificate with those that lead to its authority, and its key.
    pub fn read(certificate: &Path, key: &Path) -> Result<Tls, TlsError> {
        let what = "certificate";
        let bytes = read(what, certificate)?;
        let missing = |source| TlsError::Missing { what, path: certificate.to_owned(), source };
        let chain: Vec<_> = CertificateDer::pem_slice_iter(&bytes)
            .collect::<Result<_, _>>()
            .and_then(|chain: Vec<_>| match chain.is_empty() {
                true => Err(pem::Error::NoItemsFound),
                false => Ok(chain),
            })
            .map_err(missing)?;
        let what = "private key";
        let private = PrivateKeyDer::from_pem_slice(&read(what, key)?)
            .map_err(|source| TlsError::Missing { what, path: key.to_owned(), source })?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, private))
            .map_err(|source| TlsError::Pair {
                certificate: certificate.to_owned(),
                key: key.to_owned(),
                source,
            })?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Tls(Arc::new(config)))
    }
}

fn read(what: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|source| TlsError::Read { what, path: path.to_owned(), source })
}
