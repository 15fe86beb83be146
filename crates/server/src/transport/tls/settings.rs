//! What the configuration says about the certificate of one listener.

use std::path::PathBuf;

use crate::config::{ClientCertificates, HttpTls, QuicCertificate, TcpTls, WebSocketTls};

/// Where the certificate of one listener comes from, and what its clients have to show.
#[derive(Debug, Clone)]
pub(crate) struct TlsSettings {
    /// The section of the configuration, for messages.
    pub(crate) section: &'static str,
    /// Whether a certificate is made when no file is named.
    pub(crate) self_signed: bool,
    /// Whether the listener speaks nothing older than TLS 1.3.
    pub(crate) tls13_only: bool,
    /// The certificate and those it is signed with.
    pub(crate) cert_file: Option<PathBuf>,
    /// Its key.
    pub(crate) key_file: Option<PathBuf>,
    /// Who signs client certificates.
    pub(crate) client_ca_file: Option<PathBuf>,
    /// Whether a client must have one.
    pub(crate) client_certificates: ClientCertificates,
}

macro_rules! settings_of {
    ($Section:ty, $name:literal, $quic:literal) => {
        impl From<&$Section> for TlsSettings {
            fn from(section: &$Section) -> Self {
                Self {
                    section: $name,
                    self_signed: section.self_signed,
                    tls13_only: $quic,
                    cert_file: section.cert_file.0.clone(),
                    key_file: section.key_file.0.clone(),
                    client_ca_file: section.client_ca_file.0.clone(),
                    client_certificates: section.client_certificates,
                }
            }
        }
    };
}

settings_of!(TcpTls, "tcp.tls", false);
settings_of!(WebSocketTls, "websocket.tls", false);
settings_of!(HttpTls, "http.tls", false);
settings_of!(QuicCertificate, "quic.certificate", true);
