//! Links over WebSocket: the binary messages of a socket, taken for a stream of bytes.
//!
//! No message is larger than the client's limit for replies, none of ours larger than
//! what every server takes.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use futures_util::{Sink, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use crate::WebSocketOptions;
use galgo_wire::limits::{LIFE_HEADER_BYTES, RESPONSE_HEADER_BYTES};

/// Largest message written; a request may take several.
const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// Room for the head of the largest reply.
const REPLY_OVERHEAD: usize = 1 << 10;
const _: () = assert!(
    REPLY_OVERHEAD > RESPONSE_HEADER_BYTES + LIFE_HEADER_BYTES,
    "a reply of the largest size fits with all that is in front of its messages"
);

/// Makes a WebSocket of `stream`; `address` is host and port.
pub(super) async fn wrap<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    address: &str,
    config: WebSocketConfig,
) -> Result<ByteStream<S>, Error> {
    let url = format!("ws://{address}/");
    let (socket, _) = client_async_with_config(url, stream, Some(config)).await?;
    Ok(ByteStream { socket, unread: Bytes::new() })
}

/// The configuration `options` ask for; limits follow from the largest reply.
pub(super) fn config(options: &WebSocketOptions, reply_bytes_max: usize) -> WebSocketConfig {
    let largest = reply_bytes_max.saturating_add(REPLY_OVERHEAD);
    let mut config = WebSocketConfig::default()
        .max_message_size(Some(options.max_message_size.unwrap_or(largest)))
        .max_frame_size(Some(options.max_frame_size.unwrap_or(largest)))
        .accept_unmasked_frames(options.accept_unmasked_frames);
    if let Some(bytes) = options.read_buffer_size {
        config = config.read_buffer_size(bytes);
    }
    if let Some(bytes) = options.write_buffer_size {
        config = config.write_buffer_size(bytes);
    }
    if let Some(bytes) = options.max_write_buffer_size {
        // The library refuses a bound that is not above what it gathers.
        config = config.max_write_buffer_size(bytes.max(config.write_buffer_size + 1));
    }
    config
}

/// A WebSocket as a stream of bytes.
pub(super) struct ByteStream<S> {
    socket: WebSocketStream<S>,
    /// What is left of the message read last.
    unread: Bytes,
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for ByteStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.unread.is_empty() {
            match ready!(Pin::new(&mut self.socket).poll_next(context)) {
                Some(Ok(Message::Binary(bytes))) => self.unread = bytes,
                // Pings are answered by the library; texts mean nothing in this protocol.
                Some(Ok(Message::Close(_))) | None => return Poll::Ready(Ok(())),
                Some(Ok(_)) => {}
                Some(Err(Error::ConnectionClosed | Error::AlreadyClosed)) => {
                    return Poll::Ready(Ok(()));
                }
                Some(Err(error)) => return Poll::Ready(Err(io_error(error))),
            }
        }
        let count = self.unread.len().min(buffer.remaining());
        buffer.put_slice(self.unread.split_at(count).0);
        self.unread.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for ByteStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut socket = Pin::new(&mut self.socket);
        ready!(socket.as_mut().poll_ready(context)).map_err(io_error)?;
        let part = bytes.get(..MESSAGE_BYTES_MAX).unwrap_or(bytes);
        let message = Message::Binary(Bytes::copy_from_slice(part));
        socket.start_send(message).map_err(io_error)?;
        Poll::Ready(Ok(part.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context).map_err(io_error)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_close(context).map_err(io_error)
    }
}

/// What went wrong, as an error of the network.
pub(super) fn io_error(error: Error) -> io::Error {
    match error {
        Error::Io(error) => error,
        Error::ConnectionClosed | Error::AlreadyClosed => io::ErrorKind::ConnectionAborted.into(),
        error => io::Error::new(io::ErrorKind::InvalidData, error),
    }
}
