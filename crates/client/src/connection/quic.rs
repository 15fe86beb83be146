//! Links over QUIC: every request has a stream of its own, one after the other.
//!
//! Streams of a connection may arrive in any order, so the next request is written only
//! when the one before it is answered.
//! Part of INV-PIPELINE: a reply that is cut short ends the link, so that none is taken for another.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use galgo_wire::frame::{ReplyCutter, RequestHeader};
use galgo_wire::index::to_usize;
use galgo_wire::limits::{REQUEST_HEADER_BYTES, RESPONSE_HEADER_BYTES};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{
    ClientConfig, Connection, Endpoint, IdleTimeout, RecvStream, SendStream, TransportConfig,
    VarInt, WriteError,
};
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf, SimplexStream, simplex};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;

use crate::QuicOptions;
use crate::connection::link::StreamLink;
use crate::connection::tls::TlsSetupError;

/// Bytes of requests that wait for the streams before theirs.
const PIPE_BYTES: usize = 256 << 10;
/// Most bytes moved at once.
const CHUNK_BYTES: usize = 64 << 10;
/// Pause between two looks whether the last packet was written, and the longest time for it.
const GOODBYE_LOOK: Duration = Duration::from_millis(1);
const GOODBYE_MAX: Duration = Duration::from_millis(500);
const _: () = assert!(
    GOODBYE_LOOK.as_millis() * 10 <= GOODBYE_MAX.as_millis(),
    "the end is looked for often before it is given up"
);
const _: () = assert!(CHUNK_BYTES < PIPE_BYTES, "a pipe holds several chunks");

/// The configuration of connections with `options`, over `tls`.
pub(super) fn config(
    options: &QuicOptions,
    tls: rustls::ClientConfig,
) -> Result<ClientConfig, TlsSetupError> {
    let crypto = QuicClientConfig::try_from(tls)
        .map_err(|error| TlsSetupError::Certificates(error.to_string()))?;
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(options.max_concurrent_bidi_streams.into())
        .datagram_send_buffer_size(options.datagram_send_buffer_size)
        // Smaller packets are against the rules of QUIC.
        .initial_mtu(options.initial_mtu.max(1_200));
    if let Some(bytes) = options.send_window {
        transport.send_window(bytes);
    }
    if let Some(bytes) = options.receive_window {
        transport.receive_window(bytes.into());
    }
    let keep_alive = options.keep_alive_interval;
    transport.keep_alive_interval((!keep_alive.is_zero()).then_some(keep_alive));
    let idle = options.max_idle_timeout;
    let idle = (!idle.is_zero()).then(|| IdleTimeout::try_from(idle).unwrap_or(VarInt::MAX.into()));
    transport.max_idle_timeout(idle);
    let mut config = ClientConfig::new(Arc::new(crypto));
    config.transport_config(Arc::new(transport));
    Ok(config)
}

/// Connects to `host`, trying each of its addresses in turn.
pub(super) async fn open(
    host: &str,
    port: u16,
    server_name: &str,
    config: &ClientConfig,
) -> io::Result<StreamLink> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in tokio::net::lookup_host((host, port)).await? {
        match connect(address, server_name, config.clone()).await {
            Ok((endpoint, connection)) => return Ok(link(endpoint, connection)),
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn connect(
    address: SocketAddr,
    server_name: &str,
    config: ClientConfig,
) -> io::Result<(Endpoint, Connection)> {
    let local: IpAddr = match address {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let endpoint = Endpoint::client(SocketAddr::new(local, 0))?;
    let connecting = endpoint.connect_with(config, address, server_name);
    let connecting = connecting.map_err(io::Error::other)?;
    let connection = tokio::select! {
        connection = connecting => connection?,
        refusal = refused(address, local) => return Err(refusal),
    };
    Ok((endpoint, connection))
}

/// Ends when the system tells that nobody listens at `address`, and never otherwise. It tells only a
/// socket that has a single peer, which the one of an endpoint has not, so an empty place took the
/// whole of the connect timeout.
async fn refused(address: SocketAddr, local: IpAddr) -> io::Error {
    let probe = async {
        let socket = UdpSocket::bind((local, 0)).await?;
        socket.connect(address).await?;
        // No packet of QUIC, so a server passes over it.
        socket.send(&[0]).await?;
        socket.recv(&mut [0]).await
    };
    match probe.await {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => error,
        _ => std::future::pending().await,
    }
}

fn link(endpoint: Endpoint, connection: Connection) -> StreamLink {
    let (requests, writer) = simplex(PIPE_BYTES);
    let (out, replies) = mpsc::channel(1);
    let goodbye = tokio::spawn(async move {
        let ended = tokio::select! {
            ended = carry(&connection, requests, &out) => ended,
            lost = connection.closed() => Err(lost.into()),
            () = out.closed() => Ok(()),
        };
        if let Err(error) = ended {
            // Nobody may be listening any longer.
            let _ = out.send(Err(error)).await;
        }
        say_goodbye(&connection).await;
        // The endpoint must live as long as the connection.
        drop(endpoint);
    });
    StreamLink {
        reader: Box::new(Replies { replies, unread: Bytes::new() }),
        writer: Box::new(writer),
        goodbye: Some(goodbye),
    }
}

/// Closes the connection, and waits until the packet that says so has been written. A server that was not
/// told keeps the session, with its memberships of groups, until its idle timeout.
async fn say_goodbye(connection: &Connection) {
    let is_over = connection.close_reason().is_some();
    let sent_before = connection.stats().udp_tx.datagrams;
    connection.close(VarInt::from_u32(0), b"");
    if is_over {
        return;
    }
    // The connection's own task writes it at its next turn, and nothing else from now on.
    let written = async {
        while connection.stats().udp_tx.datagrams == sent_before {
            tokio::time::sleep(GOODBYE_LOOK).await;
        }
        // On another thread it may have written something else just before.
        tokio::time::sleep(GOODBYE_LOOK).await;
    };
    let _ = tokio::time::timeout(GOODBYE_MAX, written).await;
}

/// Carries requests over, each on its own stream, until there are no more.
async fn carry(
    connection: &Connection,
    mut requests: tokio::io::ReadHalf<SimplexStream>,
    out: &mpsc::Sender<io::Result<Bytes>>,
) -> io::Result<()> {
    loop {
        let mut header = [0; REQUEST_HEADER_BYTES];
        requests.read_exact(&mut header).await?;
        let (mut to, mut from) = connection.open_bi().await?;
        ask(&mut requests, header, &mut to).await?;
        answer(&mut from, out).await?;
    }
}

/// Writes one request.
async fn ask(
    requests: &mut tokio::io::ReadHalf<SimplexStream>,
    header: [u8; REQUEST_HEADER_BYTES],
    to: &mut SendStream,
) -> io::Result<()> {
    let mut is_heard = write(to, &header).await?;
    // What is no header is all there is of its request; the server says what it thinks of it.
    let mut left = RequestHeader::read(header).map_or(0, |header| to_usize(header.payload_len));
    let mut buffer = BytesMut::with_capacity(left.min(CHUNK_BYTES));
    while left > 0 {
        buffer.reserve(left.min(CHUNK_BYTES));
        let mut part = requests.take(left as u64);
        let count = part.read_buf(&mut buffer).await?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        assert!(count <= left, "INV-PIPELINE: no more is taken than the rest of a request");
        left -= count;
        // What is not heard is still taken out, to get to the next request.
        is_heard = is_heard && write(to, &buffer).await?;
        buffer.clear();
    }
    // A server that has closed the stream has said what it thinks of the request.
    let _ = to.finish();
    Ok(())
}

/// Writes `bytes`; `false` when the server does not want to hear more.
async fn write(to: &mut SendStream, bytes: &[u8]) -> io::Result<bool> {
    match to.write_all(bytes).await {
        Ok(()) => Ok(true),
        Err(WriteError::Stopped(_)) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Hands the reply on a stream out as it comes.
async fn answer(from: &mut RecvStream, out: &mpsc::Sender<io::Result<Bytes>>) -> io::Result<()> {
    let mut meter = Meter::default();
    while let Some(chunk) = from.read_chunk(CHUNK_BYTES, true).await? {
        meter.count(&chunk.bytes);
        if out.send(Ok(chunk.bytes)).await.is_err() {
            return Ok(());
        }
    }
    match meter.is_whole() {
        true => Ok(()),
        false => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "a reply was cut short")),
    }
}

/// Knows whether the bytes of a stream are exactly one reply. Pure.
#[derive(Default)]
struct Meter {
    head: [u8; RESPONSE_HEADER_BYTES],
    seen: usize,
}

impl Meter {
    fn count(&mut self, bytes: &[u8]) {
        // All behind the header is counted only.
        for (to, from) in self.head.iter_mut().skip(self.seen).zip(bytes) {
            *to = *from;
        }
        self.seen += bytes.len();
    }

    fn is_whole(&self) -> bool {
        let head = self.head.get(..self.seen).unwrap_or(&self.head);
        // Whoever takes the reply apart has a limit for it.
        let cut = ReplyCutter::new(usize::MAX).cut(head);
        cut.is_ok_and(|cut| cut.whole() == self.seen)
    }
}

/// The replies of a link as a stream of bytes.
struct Replies {
    replies: mpsc::Receiver<io::Result<Bytes>>,
    unread: Bytes,
}

impl AsyncRead for Replies {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.unread.is_empty() {
            match ready!(self.replies.poll_recv(context)) {
                Some(Ok(bytes)) => self.unread = bytes,
                Some(Err(error)) => return Poll::Ready(Err(error)),
                None => return Poll::Ready(Ok(())),
            }
        }
        let count = self.unread.len().min(buffer.remaining());
        buffer.put_slice(self.unread.split_at(count).0);
        self.unread.advance(count);
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_must_hold_exactly_one_reply() {
        let whole = |parts: &[&[u8]]| {
            let mut meter = Meter::default();
            parts.iter().for_each(|part| meter.count(part));
            meter.is_whole()
        };
        assert!(whole(&[&[0; 8]]));
        assert!(whole(&[&[0, 0, 0], &[0, 2, 0, 0, 0, 1], &[2]]));
        assert!(!whole(&[]));
        assert!(!whole(&[&[0; 7]]));
        assert!(!whole(&[&[0, 0, 0, 0, 2, 0, 0, 0, 1]]));
        assert!(!whole(&[&[0; 9]]), "more than a reply");
    }
}
