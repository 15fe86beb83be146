//! Polled messages as JSON: as a whole when they are few, else in chunks, written as the client takes them.
//!
//! Part of INV-ANSWER-MEMORY: a piece is read and written as text only under a grant, which is held until nobody
//! holds the text any more.
//! An answer that cannot be ended as it was begun ends its connection, so that no client
//! takes its beginning for all of it.

use std::io;

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream::try_unfold;
use galgo_broker::{MessagesReply, Piece, Rest, Slice, memory_bytes};
use galgo_wire::ErrorCode;
use galgo_wire::batch::MessagesView;

use super::json::messages as json;
use crate::process_limits::memory::ANSWER_BYTES_MIN;
use crate::transport::Grant;
use crate::transport::connection::supply::Supply;

/// Most bytes of messages that are written as text at a time; a single message may have more.
pub(super) const PIECE_BYTES_MAX: u64 = 1 << 20;

/// Bytes of JSON, at most, for a byte of a stored message: small messages have large headers.
const JSON_GROWTH: u64 = 6;
const _: () = assert!(
    PIECE_BYTES_MAX * JSON_GROWTH <= ANSWER_BYTES_MIN,
    "where memory is short, a piece is written as text all the same"
);

/// The same for a single message that is larger than a piece: the bytes, and their base64.
const JSON_GROWTH_LARGE: u64 = 3;
const _: () = assert!(
    1 < JSON_GROWTH_LARGE && JSON_GROWTH_LARGE < JSON_GROWTH,
    "text is longer than what it shows, and relatively more so for small messages"
);

/// Bytes that are covered by the budget for as long as anyone holds them.
struct Granted {
    bytes: Vec<u8>,
    _grant: Grant,
}

impl AsRef<[u8]> for Granted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// The text of an answer so far, and what is to be added.
struct AnswerText {
    bytes: Vec<u8>,
    has_messages: bool,
}

/// The body of an answer.
///
/// # Errors
/// [`ErrorCode`] when already its first messages cannot be shown.
pub(super) async fn body(reply: MessagesReply, mut supply: Supply) -> Result<Body, ErrorCode> {
    let MessagesReply { header, slices, rest, .. } = reply;
    let opening = json::polled_opening(&header)?;
    let first = Piece { slices, rest };
    // Of an answer of several pieces the first may come with the others.
    let has_messages = !first.slices.is_empty();
    let text = AnswerText { bytes: opening, has_messages: false };
    let shown = show(&mut supply, text, first).await;
    let (bytes, rest) = shown.map_err(|error| {
        tracing::warn!(%error, "polled messages could not be shown");
        ErrorCode::CannotReadMessage
    })?;
    let Some(rest) = rest else { return Ok(Body::from(bytes)) };
    let rest = futures_util::stream::StreamExt::chain(
        futures_util::stream::iter([io::Result::Ok(bytes)]),
        try_unfold(
            (supply, Some(rest), has_messages),
            |(mut supply, rest, has_messages)| async move {
                let Some(rest) = rest else { return Ok(None) };
                let piece = supply.next(rest).await?;
                let text = AnswerText { bytes: Vec::new(), has_messages };
                let (bytes, rest) = show(&mut supply, text, piece).await?;
                Ok(Some((bytes, (supply, rest, true))))
            },
        ),
    );
    Ok(Body::from_stream(rest))
}

/// Adds a piece to the text of an answer, off the connection's thread: files may have to be read, and
/// megabytes to be written. What the supply holds goes over to the text.
async fn show(
    supply: &mut Supply,
    text: AnswerText,
    piece: Piece,
) -> io::Result<(Bytes, Option<Rest>)> {
    let len: u64 = piece.slices.iter().map(Slice::len).sum();
    let growth = if len > PIECE_BYTES_MAX { JSON_GROWTH_LARGE } else { JSON_GROWTH };
    let shown = len.saturating_mul(growth);
    supply.cover(shown.saturating_add(memory_bytes(&piece.slices))).await?;
    let Piece { slices, rest } = piece;
    let is_last = rest.is_none();
    let work = tokio::task::spawn_blocking(move || text.add(slices, is_last));
    let bytes = work.await.map_err(io::Error::other)??;
    supply.shrink(bytes.capacity() as u64);
    let granted = Granted { bytes, _grant: std::mem::take(&mut supply.held) };
    Ok((Bytes::from_owner(granted), rest))
}

impl AnswerText {
    /// Adds messages, and the end of the answer behind the last of them.
    fn add(self, slices: Vec<Slice>, is_last: bool) -> io::Result<Vec<u8>> {
        let Self { mut bytes, mut has_messages } = self;
        for slice in slices {
            for message in MessagesView::new(&read(slice)?) {
                let message = message.map_err(|_| io::ErrorKind::InvalidData)?;
                if std::mem::replace(&mut has_messages, true) {
                    bytes.push(b',');
                }
                json::write_polled(&message, &mut bytes)?;
            }
        }
        if is_last {
            bytes.extend_from_slice(json::POLLED_CLOSING);
        }
        Ok(bytes)
    }
}

fn read(slice: Slice) -> io::Result<Vec<u8>> {
    match slice {
        Slice::Memory(bytes) => Ok(bytes),
        Slice::File { file, position, len } => {
            let len = usize::try_from(len).map_err(|_| io::ErrorKind::InvalidData)?;
            let mut bytes = vec![0; len];
            file.read_exact_at(&mut bytes, position)?;
            Ok(bytes)
        }
    }
}
