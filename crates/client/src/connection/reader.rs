//! The one reader of a connection: cuts the bytes that come into replies.
//!
//! INV-BOUND: the length of a reply is checked before room is made for it.

use std::sync::atomic::Ordering;

use bytes::{Buf, Bytes, BytesMut};
use galgo_wire::error_code::ErrorCode;
use galgo_wire::frame::ResponseHeader;
use galgo_wire::limits::RESPONSE_HEADER_BYTES;
use tokio::io::AsyncReadExt;

use crate::connection::Shared;
use crate::connection::exchange::Failure;
use crate::connection::link::ReadHalf;
use crate::error::Loss;

/// Room made for a read when no more is known to come.
const READ_BYTES: usize = 64 << 10;

/// Reads until the connection ends; returns how it ended.
pub(super) async fn run(shared: &Shared, reader: &mut ReadHalf) -> Loss {
    let mut buffer = BytesMut::with_capacity(READ_BYTES);
    loop {
        let missing = match take_replies(shared, &mut buffer) {
            Ok(missing) => missing,
            Err(loss) => return loss,
        };
        buffer.reserve(missing);
        match reader.read_buf(&mut buffer).await {
            Ok(0) => return Loss::Closed,
            Ok(_) => shared.reads.fetch_add(1, Ordering::Relaxed),
            Err(error) => return Loss::Network(error.into()),
        };
    }
}

/// Answers every complete reply in `buffer`; returns how much room the next read should have.
fn take_replies(shared: &Shared, buffer: &mut BytesMut) -> Result<usize, Loss> {
    loop {
        let Some(head) = buffer.first_chunk::<RESPONSE_HEADER_BYTES>() else {
            return Ok(READ_BYTES);
        };
        let head = ReplyHead::parse(*head, shared.settings.reply_bytes_max)?;
        let whole = RESPONSE_HEADER_BYTES + head.len;
        if buffer.len() < whole {
            return Ok((whole - buffer.len()).max(READ_BYTES));
        }
        buffer.advance(RESPONSE_HEADER_BYTES);
        let payload = buffer.split_to(head.len).freeze();
        shared.queue.answer(head.answer(payload)?)?;
    }
}

/// The first bytes of a reply.
pub(super) struct ReplyHead {
    pub(super) status: u32,
    pub(super) len: usize,
}

impl ReplyHead {
    /// Reads a head, and refuses one that cannot be.
    pub(super) fn parse(bytes: [u8; RESPONSE_HEADER_BYTES], max: usize) -> Result<Self, Loss> {
        let ResponseHeader { status, payload_len } = ResponseHeader::read(bytes);
        let len = payload_len as usize;
        match (status, len) {
            (0, len) if len <= max => Ok(Self { status, len }),
            (0, len) => Err(Loss::ReplyTooLarge { len, max }),
            (_, 0) => Ok(Self { status, len }),
            (_, _) => Err(Loss::Garbled("an error reply has a payload")),
        }
    }

    /// What the reply says to its request.
    ///
    /// A server that shuts down says so unasked. That is not the answer to the oldest request,
    /// whose fate it leaves open, but the end of the connection.
    pub(super) fn answer(&self, payload: Bytes) -> Result<Result<Bytes, Failure>, Loss> {
        match self.status {
            0 => Ok(Ok(payload)),
            status if status == ErrorCode::Disconnected.as_u32() => Err(Loss::ShuttingDown),
            status => Ok(Err(Failure::Refused(status))),
        }
    }
}
