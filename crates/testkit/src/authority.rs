//! What a server with TLS and accounts needs: an authority, a certificate of its, and a password.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use tempfile::TempDir;

/// A line of `htpasswd -B` for the name `ann` and the password `secret`, at the lowest cost.
pub const ANN: &str = "ann:$2y$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW\n";

/// An authority that nobody knows, and files for a server at the loopback address that it trusts.
pub struct TestAuthority {
    folder: TempDir,
}

impl TestAuthority {
    /// A new one, with other keys than any before.
    pub fn new() -> TestAuthority {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let authority = params.self_signed(&key).unwrap();
        let issuer = Issuer::new(params, key);

        let key = KeyPair::generate().unwrap();
        let names = ["127.0.0.1".to_owned(), "localhost".to_owned()];
        let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();

        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: String| fs::write(folder.path().join(name), text).unwrap();
        fs::create_dir(folder.path().join("trust")).unwrap();
        write("trust/ca.crt", authority.pem());
        write("server.crt", certificate.pem());
        write("server.key", key.serialize_pem());
        write("htpasswd", ANN.to_owned());
        TestAuthority { folder }
    }

    /// The folder of the files.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A folder with the authority's certificate alone, as skopeo and podman take it
    /// (`--cert-dir`).
    pub fn trust(&self) -> PathBuf {
        self.folder.path().join("trust")
    }

    /// The authority's own certificate, for clients.
    pub fn authority(&self) -> PathBuf {
        self.folder.path().join("trust/ca.crt")
    }

    /// The server's certificate.
    pub fn certificate(&self) -> PathBuf {
        self.folder.path().join("server.crt")
    }

    /// The server's key.
    pub fn key(&self) -> PathBuf {
        self.folder.path().join("server.key")
    }

    /// Accounts: [`ANN`] alone.
    pub fn accounts(&self) -> PathBuf {
        self.folder.path().join("htpasswd")
    }
}

impl Default for TestAuthority {
    fn default() -> TestAuthority {
        TestAuthority::new()
    }
}
