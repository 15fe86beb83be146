//! TLS to a PostgreSQL: asked for in front of everything else.

use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::trouble::PgError;

/// Speaks TLS over a connection on which the server has agreed to it. `ca_file`: whom to trust, instead of the public
/// authorities. Not `verified`: whoever answers is believed, as `psql` does with `sslmode=require`.
///
/// # Errors
/// The certificate is not trusted, or the file is none of certificates.
pub(crate) async fn wrap(
    stream: TcpStream,
    host: &str,
    verified: bool,
    ca_file: Option<&Path>,
) -> Result<TlsStream<TcpStream>, PgError> {
    let config = config(verified || ca_file.is_some(), ca_file)?;
    let name = ServerName::try_from(host.to_owned()).map_err(|_| PgError::Setup {
        reason: format!("{host} is not a name a certificate can be for"),
        advice: "name the host in url as its certificate does".to_owned(),
    })?;
    let connected = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
    connected.map_err(|error| match error.get_ref().is_some_and(|it| it.is::<rustls::Error>()) {
        true => PgError::Setup {
            reason: format!("TLS: {error}"),
            advice:
                "name the server's authority with ca_file, and the host as its certificate does"
                    .to_owned(),
        },
        false => error.into(),
    })
}

fn config(verified: bool, ca_file: Option<&Path>) -> Result<ClientConfig, PgError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| setup(error.to_string()))?;
    let builder = match verified {
        true => builder.with_root_certificates(roots(ca_file)?),
        false => {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Unverified { provider }))
        }
    };
    Ok(builder.with_no_client_auth())
}

fn roots(ca_file: Option<&Path>) -> Result<RootCertStore, PgError> {
    let mut roots = RootCertStore::empty();
    let Some(path) = ca_file else {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        return Ok(roots);
    };
    let bad = |error: &dyn std::fmt::Display| {
        setup(format!("{} is not a PEM file with certificates: {error}", path.display()))
    };
    let certificates: Vec<_> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| bad(&error))?;
    if certificates.is_empty() {
        return Err(bad(&"there is none in it"));
    }
    for certificate in certificates {
        roots.add(certificate).map_err(|error| bad(&error))?;
    }
    Ok(roots)
}

fn setup(reason: String) -> PgError {
    PgError::Setup { reason, advice: "look at ca_file".to_owned() }
}

/// Takes any certificate.
#[derive(Debug)]
struct Unverified {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Unverified {
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
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
