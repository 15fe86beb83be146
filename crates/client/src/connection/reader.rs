//! The one reader of a connection: cuts the bytes that come into replies.
//!
//! The length of a reply is checked before room is made for it.

use std::ops::Range;
use std::sync::atomic::Ordering;

use bytes::{Buf, Bytes, BytesMut};
use galgo_wire::error_code::ErrorCode;
use galgo_wire::frame::{Cut, Garbled, ReplyCutter, ResponseHeader};
use galgo_wire::limits::{LIFE_HEADER_BYTES, RESPONSE_HEADER_BYTES};
use tokio::io::AsyncReadExt;

use crate::connection::Shared;
use crate::connection::exchange::NoReply;
use crate::connection::link::ReadHalf;
use crate::error::Loss;

/// Room made for a read when no more is known to come.
const READ_BYTES: usize = 64 << 10;
const _: () = assert!(
    READ_BYTES > 100 * (RESPONSE_HEADER_BYTES + LIFE_HEADER_BYTES),
    "many small replies are read at once"
);

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
    let cutter = ReplyCutter::new(shared.settings.reply_bytes_max);
    loop {
        match cutter.cut(buffer)? {
            Cut::Frame { header, payload } => {
                let payload = take(buffer, payload);
                shared.queue.answer(answer(header, payload)?)?;
            }
            Cut::Partial { whole } => return Ok((whole - buffer.len()).max(READ_BYTES)),
        }
    }
}

/// Takes the payload of the reply at the front out of `buffer`, and its header with it.
pub(super) fn take(buffer: &mut BytesMut, payload: Range<usize>) -> Bytes {
    buffer.advance(payload.start);
    buffer.split_to(payload.len()).freeze()
}

/// What a reply says to its request.
///
/// A server that shuts down says so unasked. That is not the answer to the oldest request,
/// whose fate it leaves open, but the end of the connection.
pub(super) fn answer(
    header: ResponseHeader,
    payload: Bytes,
) -> Result<Result<Bytes, NoReply>, Loss> {
    match header.status {
        0 => Ok(Ok(payload)),
        status if status == ErrorCode::Disconnected.as_u32() => Err(Loss::ShuttingDown),
        status => Ok(Err(NoReply::Refused(status))),
    }
}

impl From<Garbled> for Loss {
    fn from(garbled: Garbled) -> Self {
        match garbled {
            Garbled::TooLarge { len, max } => Self::ReplyTooLarge { len, max },
            Garbled::FailureWithPayload => Self::Garbled("an error reply has a payload"),
        }
    }
}
