//! Frames of the protocol in binary WebSocket messages, both ways a stream of bytes.
//!
//! The handshake is the library's; frames are taken apart here, so that the payload of a large message
//! goes straight to the buffer it is handled in, however large its frames are.
//!
//! A ping is answered and a close frame returned while nothing else is being written.

mod frame;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod reader;
mod writer;

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::accept_hdr_async_with_config;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use self::reader::{FrameReader, Read};
use self::writer::FrameWriter;
use crate::transport::connection::Carrier;
use crate::transport::pages::Pages;

/// What a client is told that finds no place.
pub(crate) const REFUSAL: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// Buffers of the library, which are gone when the handshake is done.
const HANDSHAKE_BUFFER_BYTES: usize = 4 << 10;

/// Close code of an orderly end.
const GOING: u16 = 1000;

/// A connection after its handshake.
#[derive(Debug)]
pub(crate) struct WebSocket<S> {
    stream: S,
    reader: FrameReader,
    writer: FrameWriter,
    ended: bool,
}

/// Makes the handshake over `stream`, for any path, with a page that may talk to this server.
#[expect(clippy::result_large_err, reason = "the library takes the answer itself for an error")]
pub(crate) async fn accept<S>(
    stream: S,
    pages: &Pages,
    patience: Duration,
) -> io::Result<WebSocket<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let config = WebSocketConfig::default()
        .read_buffer_size(HANDSHAKE_BUFFER_BYTES)
        .write_buffer_size(HANDSHAKE_BUFFER_BYTES);
    let mut stranger = None;
    let check = |request: &Request, response: Response| match pages
        .check(request.version(), request.headers())
    {
        Ok(()) => Ok(response),
        Err(refusal) => {
            let mut answer = ErrorResponse::new(Some(refusal.to_string()));
            *answer.status_mut() = refusal.status();
            stranger = Some(refusal);
            Err(answer)
        }
    };
    let shaken = accept_hdr_async_with_config(stream, check, Some(config));
    let shaken = timeout(patience, shaken).await;
    let shaken = shaken.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?;
    if let Some(refusal) = stranger {
        return Err(io::Error::other(refusal));
    }
    // A client must wait for the answer to its handshake, so the library has read nothing past it.
    let stream = shaken.map_err(io::Error::other)?.into_inner();
    Ok(WebSocket {
        stream,
        reader: FrameReader::new(),
        writer: FrameWriter::default(),
        ended: false,
    })
}

impl<S: Carrier> Carrier for WebSocket<S> {
    fn socket(&self) -> Option<&TcpStream> {
        self.stream.socket()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    /// Tries to write what is staged; a client that does not take it now gets it later.
    fn drain_some(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if self.writer.has_staged()
            && let Poll::Ready(drained) = self.writer.poll_drain(&mut self.stream, cx)
        {
            drained?;
            let _ = Pin::new(&mut self.stream).poll_flush(cx)?;
        }
        Ok(())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for WebSocket<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            this.drain_some(cx)?;
            if this.ended || buf.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            match ready!(this.reader.poll(&mut this.stream, cx, buf))? {
                Read::Filled => return Poll::Ready(Ok(())),
                Read::End => this.ended = true,
                Read::Ping(payload) => this.writer.pong(&payload),
                Read::Close(payload) => {
                    // It closes with the client's code, if that gave one.
                    this.writer.close(payload.first_chunk::<2>().map_or(&[][..], |code| code));
                    this.ended = true;
                }
                Read::Violation(violation) => {
                    this.writer.close(&(violation as u16).to_be_bytes());
                    this.ended = true;
                    this.drain_some(cx)?;
                    let reason = format!("WebSocket: {violation:?}");
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, reason)));
                }
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for WebSocket<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.writer.poll_write(&mut this.stream, cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let first = parts.iter().find(|part| !part.is_empty());
        self.poll_write(cx, first.map_or(&[], |part| part))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.writer.poll_drain(&mut this.stream, cx))?;
        Pin::new(&mut this.stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.writer.close(&GOING.to_be_bytes());
        ready!(this.writer.poll_drain(&mut this.stream, cx))?;
        Pin::new(&mut this.stream).poll_shutdown(cx)
    }
}
