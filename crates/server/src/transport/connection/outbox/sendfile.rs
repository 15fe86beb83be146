//! Sends a range of a file over a TCP socket without bringing it into this process.

use std::io;
use std::os::fd::BorrowedFd;

use galgo_wire::index::{part, to_usize};

use rustix::fs::sendfile;
use rustix::net::{SendFlags, send as send_bytes};
use tokio::io::Interest;
use tokio::net::TcpStream;

use super::{TAKEN, Taker};

/// Most bytes handed to one call: enough for a whole answer of a usual poll, few enough that one fast
/// reader does not keep a thread from the others for more than some milliseconds.
const CALL_BYTES_MAX: u64 = 8 << 20;

/// A range of an open file.
#[derive(Debug, Clone, Copy)]
pub(super) struct SendRange<'a> {
    /// The file.
    pub(super) fd: BorrowedFd<'a>,
    /// First byte.
    pub(super) position: u64,
    /// Number of bytes.
    pub(super) len: u64,
}

/// Sends `head`, then `range`.
///
/// # Errors
/// The socket's. `UnexpectedEof` when the file ends inside the range: the peer has been promised bytes
/// that do not exist, so the connection is of no more use.
pub(super) async fn send(
    socket: &TcpStream,
    head: &[u8],
    range: SendRange<'_>,
    taker: &mut Taker,
) -> io::Result<()> {
    let mut head = head;
    while !head.is_empty() {
        // MORE keeps the few bytes of the header from leaving in a packet of their own.
        let flags = SendFlags::MORE | SendFlags::NOSIGNAL;
        let write = socket.async_io(Interest::WRITABLE, || Ok(send_bytes(socket, head, flags)?));
        let sent = taker.takes(write).await?;
        head = part(head, sent.., TAKEN);
    }
    let (mut position, mut left) = (range.position, range.len);
    while left > 0 {
        let wanted = to_usize(left.min(CALL_BYTES_MAX));
        let write = socket.async_io(Interest::WRITABLE, || {
            let mut from = position;
            let sent = sendfile(socket, range.fd, Some(&mut from), wanted)?;
            if sent == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            Ok(sent)
        });
        let sent = taker.takes(write).await? as u64;
        position += sent;
        left = left.saturating_sub(sent);
        if left > 0 {
            tokio::task::consume_budget().await;
        }
    }
    Ok(())
}
