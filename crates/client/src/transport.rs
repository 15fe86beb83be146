//! What carries a connection, and the settings of each carrier.

use std::path::PathBuf;
use std::time::Duration;

/// What carries a connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Transport {
    /// TCP, with or without TLS.
    #[default]
    Tcp,
    /// QUIC, which is always encrypted.
    Quic,
    /// WebSocket, with or without TLS.
    WebSocket,
}

impl Transport {
    /// The port servers listen on when not told otherwise.
    pub fn default_port(self) -> u16 {
        match self {
            Self::Tcp => 8090,
            Self::Quic => 8080,
            Self::WebSocket => 8092,
        }
    }

    /// Its name in texts.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Quic => "QUIC",
            Self::WebSocket => "WebSocket",
        }
    }
}

/// How the two ends of a connection prove who they are.
///
/// Files are read on every connect, so that renewed certificates are taken up by a reconnect.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsOptions {
    /// The name the server's certificate must be for; `None`: the host, for QUIC `localhost`.
    pub domain: Option<String>,
    /// PEM file with the authorities to trust; `None`: those browsers trust.
    pub ca_file: Option<PathBuf>,
    /// Whether the server's certificate is checked. Without the check anybody between client and
    /// server can read and change everything.
    pub validate_certificate: bool,
    /// PEM files with the client's own certificate chain and its key, for servers that ask for one.
    pub client_certificate: Option<ClientCertificate>,
}

/// Files of a client certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// PEM file with the certificate chain.
    pub cert_file: PathBuf,
    /// PEM file with the private key.
    pub key_file: PathBuf,
}

impl Default for TlsOptions {
    fn default() -> Self {
        Self { domain: None, ca_file: None, validate_certificate: true, client_certificate: None }
    }
}

impl TlsOptions {
    /// Sets the name the server's certificate must be for.
    pub fn domain(mut self, domain: impl Into<String>) -> Self {
        self.domain = Some(domain.into());
        self
    }

    /// Trusts the authorities in this PEM file, and no others.
    pub fn ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.ca_file = Some(path.into());
        self
    }

    /// Sets whether the server's certificate is checked.
    pub fn validate_certificate(mut self, validate: bool) -> Self {
        self.validate_certificate = validate;
        self
    }

    /// Shows the server this certificate.
    pub fn client_certificate(
        mut self,
        cert_file: impl Into<PathBuf>,
        key_file: impl Into<PathBuf>,
    ) -> Self {
        let (cert_file, key_file) = (cert_file.into(), key_file.into());
        self.client_certificate = Some(ClientCertificate { cert_file, key_file });
        self
    }
}

/// Settings of QUIC connections; what is `None` is left to the QUIC library.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct QuicOptions {
    /// Streams the server may open.
    pub max_concurrent_bidi_streams: u32,
    /// Bytes of datagrams that may wait; the protocol sends none.
    pub datagram_send_buffer_size: usize,
    /// Bytes of the first packets.
    pub initial_mtu: u16,
    /// Bytes that may be sent and not acknowledged.
    pub send_window: Option<u64>,
    /// Bytes the server may send before they are read.
    pub receive_window: Option<u32>,
    /// Time between two signs of life; zero: none are sent.
    pub keep_alive_interval: Duration,
    /// Silence after which the connection is lost; zero: never.
    pub max_idle_timeout: Duration,
}

impl Default for QuicOptions {
    fn default() -> Self {
        Self {
            max_concurrent_bidi_streams: 10_000,
            datagram_send_buffer_size: 100_000,
            initial_mtu: 1_200,
            send_window: None,
            receive_window: None,
            keep_alive_interval: Duration::from_secs(5),
            max_idle_timeout: Duration::from_secs(10),
        }
    }
}

/// Settings of WebSocket connections; what is `None` is left to the WebSocket library, or follows
/// from the largest reply.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WebSocketOptions {
    /// Bytes of the buffer for reading.
    pub read_buffer_size: Option<usize>,
    /// Bytes that are gathered before they are written.
    pub write_buffer_size: Option<usize>,
    /// Bytes that may wait to be written.
    pub max_write_buffer_size: Option<usize>,
    /// Largest message taken from the server.
    pub max_message_size: Option<usize>,
    /// Largest frame taken from the server.
    pub max_frame_size: Option<usize>,
    /// Whether masked frames of a server, which are against the rules, are let pass.
    pub accept_unmasked_frames: bool,
}
