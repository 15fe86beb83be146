//! Stored messages, read where they lie.
//!
//! Part of INV-TAIL: nothing at or behind the first invalid message is part of a valid prefix.

use super::header::{MESSAGE_HEADER_BYTES, MessageHeader, checksum};
use crate::id::{Offset, Timestamp};
use crate::index::part;

/// Why bytes are not a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ViewError {
    /// The bytes end inside the message.
    #[error("a message of {needed} bytes ends after {present}")]
    Incomplete {
        /// Bytes of the message as far as is known: of its header, or of all of it.
        needed: usize,
        /// Bytes that are there.
        present: usize,
    },
    /// A length in the header is over its limit.
    #[error("a message header has a length over its limit")]
    Length,
}

/// A message where it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageRef<'a> {
    /// The header.
    pub header: MessageHeader,
    /// The payload.
    pub payload: &'a [u8],
    /// The encoded user headers.
    pub user_headers: &'a [u8],
    /// The whole message.
    pub bytes: &'a [u8],
}

impl<'a> MessageRef<'a> {
    /// Reads the message at the front of `bytes`; its checksum is not looked at.
    ///
    /// # Errors
    /// [`ViewError`].
    pub fn read(bytes: &'a [u8]) -> Result<Self, ViewError> {
        let present = bytes.len();
        let Some((head, body)) = bytes.split_first_chunk::<MESSAGE_HEADER_BYTES>() else {
            return Err(ViewError::Incomplete { needed: MESSAGE_HEADER_BYTES, present });
        };
        let header = MessageHeader::from_bytes(head);
        if !header.lengths_fit() {
            return Err(ViewError::Length);
        }
        let needed = header.message_bytes().ok_or(ViewError::Length)?;
        let incomplete = ViewError::Incomplete { needed, present };
        let bytes = bytes.get(..needed).ok_or(incomplete)?;
        let (payload, tail) =
            body.split_at_checked(header.payload_length as usize).ok_or(incomplete)?;
        let user_headers = tail.get(..header.user_headers_length as usize).ok_or(incomplete)?;
        Ok(Self { header, payload, user_headers, bytes })
    }

    /// Whether the bytes are those the checksum was taken of.
    #[must_use]
    pub fn verify(&self) -> bool {
        checksum(self.bytes) == self.header.checksum
    }
}

/// The messages of a byte range, in order; it ends at the end of the bytes or after an error.
#[derive(Clone, Debug)]
pub struct MessagesView<'a> {
    rest: &'a [u8],
}

impl<'a> MessagesView<'a> {
    /// The messages that lie back to back in `bytes`.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The bytes behind the last message returned.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

impl<'a> Iterator for MessagesView<'a> {
    type Item = Result<MessageRef<'a>, ViewError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let message = MessageRef::read(self.rest);
        self.rest = match &message {
            Ok(message) => part(
                self.rest,
                message.bytes.len()..,
                "INV-NOT-EMPTY: a message lies in what it was read from",
            ),
            // INV-TAIL: where one message is no message, nobody can tell where the next begins.
            Err(_) => &[],
        };
        Some(message)
    }
}

/// Why a valid prefix ends where it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// All bytes are valid messages.
    End,
    /// The bytes end inside the next message.
    Incomplete {
        /// Bytes of it as far as is known.
        needed: usize,
    },
    /// The next bytes are no message: a length over its limit, or a checksum that is wrong.
    Damaged,
    /// The next message is whole, but is not the one that belongs there: its offset does not
    /// follow, or its timestamp is older.
    Misplaced,
}

/// The front part of some bytes that are messages in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ValidPrefix {
    /// How many bytes.
    pub bytes: usize,
    /// How many messages.
    pub count: u32,
    /// The offset behind the last message.
    pub next_offset: Offset,
    /// The timestamp of the last message, or what came in if there is none.
    pub last_timestamp: Timestamp,
    /// Why it ends.
    pub stop: Stop,
}

/// Finds how far `bytes` are messages with right checksums, consecutive offsets from
/// `first_offset` on, and timestamps that do not decrease.
#[must_use]
pub fn first_invalid(bytes: &[u8], first_offset: Offset) -> ValidPrefix {
    first_invalid_after(bytes, first_offset, Timestamp::ZERO)
}

/// As [`first_invalid`], for bytes that follow a message of time `not_before`.
#[must_use]
pub fn first_invalid_after(
    bytes: &[u8],
    first_offset: Offset,
    not_before: Timestamp,
) -> ValidPrefix {
    let mut prefix = ValidPrefix {
        bytes: 0,
        count: 0,
        next_offset: first_offset,
        last_timestamp: not_before,
        stop: Stop::End,
    };
    for message in MessagesView::new(bytes) {
        let message = match message {
            Ok(message) => message,
            Err(ViewError::Incomplete { needed, .. }) => {
                prefix.stop = Stop::Incomplete { needed };
                break;
            }
            Err(ViewError::Length) => {
                prefix.stop = Stop::Damaged;
                break;
            }
        };
        if !message.verify() {
            prefix.stop = Stop::Damaged;
            break;
        }
        let header = message.header;
        let follows =
            header.offset == prefix.next_offset && header.timestamp >= prefix.last_timestamp;
        // A message that is whole and is not the next one is what a recycled file held before, or a write that
        // went elsewhere: served, it would stand at an offset that is another message's.
        let (true, Some(next)) = (follows, header.offset.plus(1)) else {
            prefix.stop = Stop::Misplaced;
            break;
        };
        prefix.bytes += message.bytes.len();
        prefix.count = prefix.count.saturating_add(1);
        prefix.next_offset = next;
        prefix.last_timestamp = header.timestamp;
    }
    prefix
}
