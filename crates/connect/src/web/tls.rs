//! Whom a request over HTTPS trusts, and who it says it is.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use crate::failure::Failure;

/// Files of TLS.
#[derive(Clone, Debug, Default)]
pub(crate) struct TlsFiles {
    /// Authorities; without it those that browsers trust.
    pub(crate) ca: Option<std::path::PathBuf>,
    /// The client's own certificate and its key.
    pub(crate) identity: Option<(std::path::PathBuf, std::path::PathBuf)>,
}

/// What the files say.
///
/// # Errors
/// [`Failure::Refused`] that names the file that is not what it should be.
pub(crate) fn client_config(files: &TlsFiles) -> Result<ClientConfig, Failure> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable("TLS", &error.to_string()))?;
    let mut roots = RootCertStore::empty();
    match &files.ca {
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Some(path) => {
            for certificate in certificates(path)? {
                roots.add(certificate).map_err(|error| not_that(path, &error.to_string()))?;
            }
        }
    }
    let builder = builder.with_root_certificates(roots);
    let Some((certificate, key)) = &files.identity else {
        return Ok(builder.with_no_client_auth());
    };
    let chain = certificates(certificate)?;
    let secret =
        PrivateKeyDer::from_pem_file(key).map_err(|error| not_that(key, &error.to_string()))?;
    builder
        .with_client_auth_cert(chain, secret)
        .map_err(|error| not_that(certificate, &error.to_string()))
}

/// The certificates in a file; at least one.
pub(crate) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    let certificates = read.map_err(|error| not_that(path, &error.to_string()))?;
    match certificates.is_empty() {
        true => Err(not_that(path, "there is no certificate in it")),
        false => Ok(certificates),
    }
}

fn not_that(path: &Path, reason: &str) -> Failure {
    unusable(&path.display().to_string(), reason)
}

pub(crate) fn unusable(what: &str, reason: &str) -> Failure {
    Failure::refused(
        format!("{what} cannot be used for TLS: {reason}"),
        "name PEM files in ca_file, cert_file and key_file",
    )
}
