//! Opens links by whatever transport the settings name.

use std::io;
use std::sync::Arc;

use rustls::version::{TLS12, TLS13};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite;

use crate::builder::ClientBuilder;
use crate::connection::link::StreamLink;
use crate::connection::{quic, tls, websocket};
use crate::error::Loss;
use crate::error::advice::{CHECK_PORT, SPEAKS_HTTP};
use crate::{ConnectError, TlsOptions, Transport};

/// The name in the certificate a server makes for itself, which QUIC asks for by default.
const QUIC_SERVER_NAME: &str = "localhost";

/// Opens a link to the server at `address`, as the settings name it.
pub(super) async fn open(
    settings: &ClientBuilder,
    address: &str,
) -> Result<StreamLink, ConnectError> {
    let dial = Dial { settings, address };
    match settings.transport {
        Transport::Tcp => dial.tcp().await,
        Transport::Quic => dial.quic().await,
        Transport::WebSocket => dial.websocket().await,
    }
}

struct Dial<'a> {
    settings: &'a ClientBuilder,
    address: &'a str,
}

impl Dial<'_> {
    async fn tcp(&self) -> Result<StreamLink, ConnectError> {
        let stream = self.stream().await?;
        match &self.settings.tls {
            None => {
                let (reader, writer) = stream.into_split();
                Ok(StreamLink { reader: Box::new(reader), writer: Box::new(writer), goodbye: None })
            }
            Some(options) => Ok(link(self.tls(stream, options).await?)),
        }
    }

    async fn websocket(&self) -> Result<StreamLink, ConnectError> {
        let stream = self.stream().await?;
        match &self.settings.tls {
            None => self.upgrade(stream).await,
            Some(options) => self.upgrade(self.tls(stream, options).await?).await,
        }
    }

    async fn quic(&self) -> Result<StreamLink, ConnectError> {
        let open = TlsOptions::default().validate_certificate(false);
        let options = self.settings.tls.as_ref().unwrap_or(&open);
        let config = quic::config(&self.settings.quic, tls::config(options, &[&TLS13])?)?;
        let name = options.domain.as_deref().unwrap_or(QUIC_SERVER_NAME);
        let (host, port) = (&self.settings.host, self.settings.port);
        quic::open(host, port, name, &config).await.map_err(|error| match error.kind() {
            // Everything that is neither a time that ran out nor a refusal.
            io::ErrorKind::Other => self.handshake(error),
            _ => self.unreachable(error),
        })
    }

    async fn stream(&self) -> Result<TcpStream, ConnectError> {
        let (host, port) = (self.settings.host.as_str(), self.settings.port);
        let stream = TcpStream::connect((host, port)).await;
        let set = stream.and_then(|stream| {
            stream.set_nodelay(self.settings.nodelay)?;
            Ok(stream)
        });
        set.map_err(|error| self.unreachable(error))
    }

    async fn tls(
        &self,
        stream: TcpStream,
        options: &TlsOptions,
    ) -> Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static, ConnectError> {
        let config = tls::config(options, &[&TLS13, &TLS12])?;
        let name = tls::server_name(options.domain.as_deref().unwrap_or(&self.settings.host))?;
        tls::wrap(stream, config, name).await.map_err(|error| match error.kind() {
            // What TLS itself does not like; the rest is the network's.
            io::ErrorKind::InvalidData => self.handshake(error),
            _ => self.lost(error),
        })
    }

    async fn upgrade<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(
        &self,
        stream: S,
    ) -> Result<StreamLink, ConnectError> {
        let config = websocket::config(&self.settings.websocket, self.settings.reply_bytes_max);
        let opened = websocket::wrap(stream, self.address, config).await;
        let stream = opened.map_err(|error| match error {
            tungstenite::Error::Io(error) => self.lost(error),
            tungstenite::Error::Http(_) => self.not_galgo(SPEAKS_HTTP),
            _ => self.not_galgo(CHECK_PORT),
        })?;
        Ok(link(stream))
    }

    fn handshake(&self, error: io::Error) -> ConnectError {
        ConnectError::Handshake { address: self.address.into(), source: Arc::new(error) }
    }

    fn not_galgo(&self, hint: &'static str) -> ConnectError {
        ConnectError::NotGalgo { address: self.address.into(), hint }
    }

    /// Somebody answered, and went away before all was said.
    fn lost(&self, error: io::Error) -> ConnectError {
        let loss = match error.kind() {
            io::ErrorKind::UnexpectedEof => Loss::Closed,
            _ => Loss::Network(Arc::new(error)),
        };
        ConnectError::Lost { address: self.address.into(), loss }
    }

    fn unreachable(&self, error: io::Error) -> ConnectError {
        ConnectError::Unreachable { address: self.address.into(), source: Arc::new(error) }
    }
}

fn link<S: AsyncRead + AsyncWrite + Send + 'static>(stream: S) -> StreamLink {
    let (reader, writer) = tokio::io::split(stream);
    StreamLink { reader: Box::new(reader), writer: Box::new(writer), goodbye: None }
}
