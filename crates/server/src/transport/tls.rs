//! TLS for whatever listens: certificates from files or made at the start, and replaced while running.
//!
//! A listener has a certificate that works from its start to its end; files that do not make
//! one are told of, and what was in force stays.
//! A handshake has a deadline, and goes on off the thread that accepts connections.

mod identity;
mod settings;

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::RootCertStore;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::server::{ServerConfig, WebPkiClientVerifier};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

pub(crate) use self::identity::SelfSigned;
use self::identity::ServerIdentity;
pub(crate) use self::settings::TlsSettings;
use crate::config::ClientCertificates;

/// Why a listener has no certificate to show, or none to check its clients with.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// No files are named and none is to be made.
    #[error("name cert_file and key_file, or turn self_signed on")]
    NoFiles,
    /// Only the certificate is named.
    #[error("cert_file is {}, but key_file is not set: name both files", cert_file.display())]
    NoKeyFile {
        /// The file with the certificate.
        cert_file: PathBuf,
    },
    /// Only the key is named.
    #[error("key_file is {}, but cert_file is not set: name both files", key_file.display())]
    NoCertFile {
        /// The file with the key.
        key_file: PathBuf,
    },
    /// A file can't be read, or is not PEM.
    #[error("{}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Certificate and key do not fit each other, or the listener.
    #[error("certificate {subject}: {reason}")]
    Refused {
        /// The file with the certificate, or that it was made.
        subject: String,
        /// What is wrong.
        reason: String,
    },
    /// No certificate could be made.
    #[error("no certificate could be made: {0}")]
    NotMade(String),
}

/// What one listener shows its clients, and asks of them.
#[derive(Debug)]
pub(crate) struct Certificates {
    settings: TlsSettings,
    self_signed: Arc<SelfSigned>,
    current: RwLock<Arc<ServerConfig>>,
}

impl Certificates {
    /// Loads or makes what `settings` ask for, and logs the certificate's fingerprint.
    ///
    /// # Errors
    /// [`TlsError`] says which file is in the way, and how.
    pub(crate) fn load(
        settings: TlsSettings,
        self_signed: &Arc<SelfSigned>,
    ) -> Result<Self, TlsError> {
        let config = server_config(&settings, self_signed)?;
        Ok(Self { settings, self_signed: Arc::clone(self_signed), current: RwLock::new(config) })
    }

    /// Reads the files again, for the handshakes from now on; true when that worked.
    pub(crate) fn reload(&self) -> bool {
        let listener = self.settings.section;
        match server_config(&self.settings, &self.self_signed) {
            Ok(config) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = config;
                true
            }
            Err(error) => {
                tracing::error!(listener, %error, "certificate not replaced: the old one stays");
                false
            }
        }
    }

    /// What is in force for handshakes that begin now.
    pub(crate) fn server_config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Makes the handshake over `stream`.
    pub(crate) async fn accept<S>(&self, stream: S, patience: Duration) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let handshake = TlsAcceptor::from(self.server_config()).accept(stream);
        timeout(patience, handshake).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }
}

/// The rules of a handshake, from the files as they are now.
fn server_config(
    settings: &TlsSettings,
    self_signed: &SelfSigned,
) -> Result<Arc<ServerConfig>, TlsError> {
    let identity = ServerIdentity::of(settings, self_signed)?;
    let refused = |reason: String| TlsError::Refused { subject: identity.source.clone(), reason };
    let provider = Arc::new(aws_lc_rs::default_provider());
    let versions: &[&rustls::SupportedProtocolVersion] =
        if settings.tls13_only { &[&rustls::version::TLS13] } else { rustls::DEFAULT_VERSIONS };
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)
        .map_err(|error| refused(error.to_string()))?;
    let builder = match &settings.client_ca_file {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let roots = authorities(path)?;
            let verifier = client_verifier(roots, provider, settings.client_certificates);
            builder.with_client_cert_verifier(
                verifier.map_err(|reason| TlsError::File { path: path.clone(), reason })?,
            )
        }
    };
    let config = builder
        .with_single_cert(identity.chain.clone(), identity.key.clone_key())
        .map_err(|error| refused(error.to_string()))?;
    let (listener, fingerprint) = (settings.section, identity.fingerprint());
    tracing::info!(listener, certificate = %identity.source, sha256 = fingerprint, "certificate in use");
    Ok(Arc::new(config))
}

fn authorities(path: &PathBuf) -> Result<RootCertStore, TlsError> {
    let bad = |reason: String| TlsError::File { path: path.clone(), reason };
    let mut roots = RootCertStore::empty();
    for certificate in
        CertificateDer::pem_file_iter(path).map_err(|error| bad(error.to_string()))?
    {
        let certificate = certificate.map_err(|error| bad(error.to_string()))?;
        roots.add(certificate).map_err(|error| bad(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(bad("no certificate in it".to_owned()));
    }
    Ok(roots)
}

fn client_verifier(
    roots: RootCertStore,
    provider: Arc<CryptoProvider>,
    demand: ClientCertificates,
) -> Result<Arc<dyn rustls::server::danger::ClientCertVerifier>, String> {
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let builder = match demand {
        ClientCertificates::Required => builder,
        ClientCertificates::Optional => builder.allow_unauthenticated(),
    };
    builder.build().map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests;
