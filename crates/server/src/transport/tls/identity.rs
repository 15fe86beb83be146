//! A certificate with its key: read from files, or made for this start.
//!
//! A key that was made never leaves memory, so no later process shows it.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest::{SHA256, digest};
use rcgen::{CertificateParams, DnType, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::{TlsError, TlsSettings};

/// Whom a made certificate is for: clients on the same machine.
const MADE_FOR: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// A certificate, those it is signed with, and its key.
#[derive(Debug)]
pub(super) struct ServerIdentity {
    /// The certificate first.
    pub(super) chain: Vec<CertificateDer<'static>>,
    /// Its key.
    pub(super) key: PrivateKeyDer<'static>,
    /// Where it comes from, for people.
    pub(super) source: String,
}

/// The certificate made at this start, the same for all listeners that need one.
#[derive(Debug, Default)]
pub(crate) struct SelfSigned {
    made: Mutex<Option<Arc<ServerIdentity>>>,
}

impl ServerIdentity {
    /// What `settings` ask for.
    pub(super) fn of(
        settings: &TlsSettings,
        self_signed: &SelfSigned,
    ) -> Result<Arc<Self>, TlsError> {
        match (settings.cert_file.as_deref(), settings.key_file.as_deref()) {
            // A file that was named and is not there is a mistake: another certificate in its place would
            // be noticed by clients, or by nobody.
            (Some(cert_file), Some(key_file)) => Self::read(cert_file, key_file).map(Arc::new),
            (Some(cert_file), None) => Err(TlsError::NoKeyFile { cert_file: cert_file.to_owned() }),
            (None, Some(key_file)) => Err(TlsError::NoCertFile { key_file: key_file.to_owned() }),
            (None, None) if settings.self_signed => self_signed.get(),
            (None, None) => Err(TlsError::NoFiles),
        }
    }

    fn read(cert_file: &Path, key_file: &Path) -> Result<Self, TlsError> {
        let bad = |path: &Path, reason: String| TlsError::File { path: path.to_owned(), reason };
        let chain = CertificateDer::pem_file_iter(cert_file)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| bad(cert_file, error.to_string()))?;
        if chain.is_empty() {
            return Err(bad(cert_file, "no certificate in it".to_owned()));
        }
        let key = PrivateKeyDer::from_pem_file(key_file)
            .map_err(|error| bad(key_file, error.to_string()))?;
        Ok(Self { chain, key, source: cert_file.display().to_string() })
    }

    fn make() -> Result<Self, rcgen::Error> {
        // ECDSA P-256: the one kind every classic client takes over QUIC.
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::new(MADE_FOR.map(str::to_owned))?;
        params.distinguished_name.push(DnType::CommonName, "Galgo, made at the start");
        let certificate = params.self_signed(&key)?;
        Ok(Self {
            chain: vec![certificate.der().clone()],
            key: PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
            source: "made for localhost at this start".to_owned(),
        })
    }

    /// The SHA-256 of the certificate, as people compare and pin it.
    pub(super) fn fingerprint(&self) -> String {
        let Some(certificate) = self.chain.first() else { return String::new() };
        let mut text = String::new();
        for (index, byte) in digest(&SHA256, certificate).as_ref().iter().enumerate() {
            let _ = write!(text, "{}{byte:02X}", if index > 0 { ":" } else { "" });
        }
        text
    }
}

impl SelfSigned {
    fn get(&self) -> Result<Arc<ServerIdentity>, TlsError> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(identity) = &*made {
            return Ok(Arc::clone(identity));
        }
        let identity =
            ServerIdentity::make().map_err(|error| TlsError::NotMade(error.to_string()))?;
        let identity = Arc::new(identity);
        *made = Some(Arc::clone(&identity));
        Ok(identity)
    }
}
