//! What a connection asks of the stream of bytes that carries it.

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// What carries the bytes of a connection.
pub(crate) trait Carrier: AsyncRead + AsyncWrite + Unpin + Send {
    /// The plain TCP socket that is all there is, over which files can be sent as they are.
    fn tcp(&self) -> Option<&TcpStream> {
        None
    }

    /// The TCP socket underneath, if there is one.
    fn socket(&self) -> Option<&TcpStream> {
        self.tcp()
    }
}

impl Carrier for TcpStream {
    fn tcp(&self) -> Option<&TcpStream> {
        Some(self)
    }
}

/// TLS: files go through memory, which is where they are encrypted.
impl<S: Carrier> Carrier for TlsStream<S> {
    fn socket(&self) -> Option<&TcpStream> {
        self.get_ref().0.socket()
    }
}
