//! What TLS needs: whom to trust, and who the client is.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::TlsOptions;

/// Why TLS cannot be set up: the settings are at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TlsSetupError {
    /// A file cannot be read.
    #[error("cannot read {path}, which should hold {what}: {reason}", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
        /// What the operating system said.
        reason: String,
    },
    /// A file is not what it should be.
    #[error("{path} is not a PEM file with {what}: {reason}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// The domain is neither a name nor an address.
    #[error("{domain} is not a name a certificate can be for; set tls_domain")]
    Domain {
        /// The domain.
        domain: String,
    },
    /// Certificate and key do not fit, or a certificate cannot be trusted as an authority.
    #[error("the certificates cannot be used: {0}")]
    Certificates(String),
}

impl From<rustls::Error> for TlsSetupError {
    fn from(error: rustls::Error) -> Self {
        Self::Certificates(error.to_string())
    }
}

/// Makes the configuration `options` ask for; `versions`: what may be spoken.
pub(super) fn config(
    options: &TlsOptions,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> Result<ClientConfig, TlsSetupError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider.clone()).with_protocol_versions(versions)?;
    let builder = match options.validate_certificate {
        true => builder.with_root_certificates(roots(options.ca_file.as_deref())?),
        false => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate { provider })),
    };
    Ok(match &options.client_certificate {
        None => builder.with_no_client_auth(),
        Some(files) => {
            let chain = certificates(&files.cert_file)?;
            let key = PrivateKeyDer::from_pem_file(&files.key_file)
                .map_err(|error| bad_file(&files.key_file, "a private key", &error))?;
            builder.with_client_auth_cert(chain, key)?
        }
    })
}

/// The name the server's certificate must be for.
pub(super) fn server_name(domain: &str) -> Result<ServerName<'static>, TlsSetupError> {
    ServerName::try_from(domain.to_owned())
        .map_err(|_| TlsSetupError::Domain { domain: domain.into() })
}

/// Speaks TLS over `stream`.
pub(super) async fn wrap<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    config: ClientConfig,
    name: ServerName<'static>,
) -> io::Result<TlsStream<S>> {
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

fn roots(ca_file: Option<&Path>) -> Result<RootCertStore, TlsSetupError> {
    let mut roots = RootCertStore::empty();
    match ca_file {
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Some(path) => {
            for certificate in certificates(path)? {
                roots.add(certificate)?;
            }
        }
    }
    Ok(roots)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsSetupError> {
    const WHAT: &str = "certificates";
    let bad = |error| bad_file(path, WHAT, &error);
    let certificates: Vec<_> =
        CertificateDer::pem_file_iter(path).and_then(Iterator::collect).map_err(bad)?;
    match certificates.is_empty() {
        true => {
            let reason = "there is none in it".to_owned();
            Err(TlsSetupError::File { path: path.into(), what: WHAT, reason })
        }
        false => Ok(certificates),
    }
}

fn bad_file(path: &Path, what: &'static str, error: &pem::Error) -> TlsSetupError {
    let path = path.into();
    match error {
        pem::Error::Io(error) => {
            TlsSetupError::Unreadable { path, what, reason: error.to_string() }
        }
        error => TlsSetupError::File { path, what, reason: error.to_string() },
    }
}

/// Takes any certificate: whoever answers is believed.
#[derive(Debug)]
struct AnyCertificate {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
