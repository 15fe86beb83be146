//! Messages: sending, polling, flushing.
//!
//! A sent batch is read, checked and stamped where it was received.

use crate::batch::MessagesView;
use crate::consumer::{ConsumerIdentity, PartitionChoice, PartitioningRef, PollingStrategy};
use crate::error_code::ErrorCode;
use crate::id::{Offset, PartitionId};
use crate::identifier::{Identifier, IdentifierRef};
use crate::index::part;
use crate::layout::{command, layout};
use crate::limits::{INDEX_ENTRY_BYTES, POLLED_HEADER_BYTES, SEND_METADATA_BYTES_MAX};
use crate::permission::{Action, Right};
use crate::primitive::{DecodeError, Payload, Reader};

command! {
    /// Reads messages of a partition; never waits.
    pub struct PollMessages -> PollReply {
        /// Who reads.
        consumer: ConsumerIdentity,
        /// The stream.
        stream: Identifier,
        /// The topic.
        topic: Identifier,
        /// The partition; none is 0 for a consumer, and for a group the member's next one.
        partition_id: Option<PartitionId> as PartitionChoice,
        /// Where to start.
        strategy: PollingStrategy,
        /// At most how many messages.
        count: u32,
        /// Whether to store the offset of the last message returned.
        auto_commit: bool,
    }
    right: |this| Right::topic(Action::PollMessages, &this.stream, &this.topic);
}

command! {
    /// Makes what was sent to a partition as durable as asked for.
    pub struct FlushUnsavedBuffer -> () {
        /// The stream.
        stream: Identifier,
        /// The topic.
        topic: Identifier,
        /// The partition.
        partition_id: PartitionId,
        /// Whether it has to survive a loss of power.
        fsync: bool,
    }
    right: |this| Right::topic(Action::SendMessages, &this.stream, &this.topic);
}

/// The front of a SEND_MESSAGES payload.
///
/// ```text
/// | metadata length u32 | stream | topic | partitioning | count u32 | count index entries | messages
/// ```
pub struct SendHeader;

/// A SEND_MESSAGES payload, taken apart in place.
#[derive(Debug, PartialEq, Eq)]
pub struct SendParts<'a> {
    /// The stream.
    pub stream: IdentifierRef<'a>,
    /// The topic.
    pub topic: IdentifierRef<'a>,
    /// How the partition is chosen.
    pub partitioning: PartitioningRef<'a>,
    /// How many messages there should be, at least 1.
    pub count: u32,
    /// An entry of 16 bytes for each message.
    pub indexes: &'a [u8],
    /// The messages, back to back; [`crate::batch::stamp`] checks them.
    pub messages: &'a mut [u8],
}

impl SendHeader {
    /// Takes `payload` apart without copying.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidCommand`] for metadata that is cut off, of the wrong length, or with a
    /// malformed partitioning; [`ErrorCode::InvalidIdentifier`] for a malformed identifier;
    /// [`ErrorCode::InvalidMessagesCount`] for no messages; [`ErrorCode::InvalidIndexesCount`] when
    /// the payload cannot hold an index entry for each message.
    pub fn parse(payload: &mut [u8]) -> Result<SendParts<'_>, ErrorCode> {
        let cut_off = ErrorCode::InvalidCommand;
        let (length, rest) = payload.split_first_chunk_mut::<4>().ok_or(cut_off)?;
        let length = usize::try_from(u32::from_le_bytes(*length)).map_err(|_| cut_off)?;
        // Before anything of it is read: it is no metadata that any client makes.
        if length > SEND_METADATA_BYTES_MAX {
            return Err(cut_off);
        }
        let (metadata, batch) = rest.split_at_mut_checked(length).ok_or(cut_off)?;

        let mut reader = Reader::new(metadata);
        let stream = IdentifierRef::read(&mut reader).map_err(identifier_error)?;
        let topic = IdentifierRef::read(&mut reader).map_err(identifier_error)?;
        let partitioning = PartitioningRef::read(&mut reader)?;
        let count = reader.u32()?;
        // The index entries begin where the length says. With bytes in between, two readers of the same payload
        // could disagree where that is.
        if !reader.is_empty() {
            return Err(cut_off);
        }
        if count == 0 {
            return Err(ErrorCode::InvalidMessagesCount);
        }
        let (indexes, messages) = usize::try_from(count)
            .ok()
            .and_then(|count| count.checked_mul(INDEX_ENTRY_BYTES))
            .and_then(|bytes| batch.split_at_mut_checked(bytes))
            .ok_or(ErrorCode::InvalidIndexesCount)?;
        Ok(SendParts { stream, topic, partitioning, count, indexes, messages })
    }
}

impl SendParts<'_> {
    /// What the caller needs.
    #[must_use]
    pub fn right(&self) -> Right<'_> {
        Right::Topic { action: Action::SendMessages, stream: self.stream, topic: self.topic }
    }
}

/// Inside SEND_MESSAGES a malformed identifier has a code of its own.
fn identifier_error(error: DecodeError) -> ErrorCode {
    match error {
        DecodeError::Truncated => ErrorCode::InvalidCommand,
        _ => ErrorCode::InvalidIdentifier,
    }
}

layout! {
    /// What is in front of polled messages, always there.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct PolledHeader {
        /// The partition.
        partition_id: PartitionId,
        /// The offset of its last message; 0 also when it is empty.
        current_offset: Offset,
        /// How many messages follow.
        count: u32,
    }
}

const _: () = assert!(
    size_of::<PartitionId>() + size_of::<Offset>() + size_of::<u32>() == POLLED_HEADER_BYTES,
    "the fields of the header are all of it"
);

impl PolledHeader {
    /// The bytes of the header.
    #[must_use]
    pub fn to_array(self) -> [u8; POLLED_HEADER_BYTES] {
        let mut bytes = [0; POLLED_HEADER_BYTES];
        bytes[..4].copy_from_slice(&self.partition_id.get().to_le_bytes());
        bytes[4..12].copy_from_slice(&self.current_offset.get().to_le_bytes());
        bytes[12..].copy_from_slice(&self.count.to_le_bytes());
        bytes
    }
}

/// Messages as a poll returned them.
#[derive(Clone, PartialEq, Eq)]
pub struct PollReply {
    header: PolledHeader,
    payload: Vec<u8>,
}

impl PollReply {
    /// Takes the payload of a response over, without copying.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidCommand`] when even the header is cut off.
    pub fn from_payload(payload: Vec<u8>) -> Result<Self, ErrorCode> {
        let header = PolledHeader::from_bytes(&payload)?;
        Ok(Self { header, payload })
    }

    /// The header.
    #[must_use]
    pub fn header(&self) -> PolledHeader {
        self.header
    }

    /// The bytes of the messages.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        part(
            &self.payload,
            POLLED_HEADER_BYTES..,
            "INV-NOT-EMPTY: the header was read of these bytes",
        )
    }

    /// The messages, in order of their offsets.
    #[must_use]
    pub fn messages(&self) -> MessagesView<'_> {
        MessagesView::new(self.bytes())
    }
}

impl std::fmt::Debug for PollReply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PollReply")
            .field("header", &self.header)
            .field("bytes", &self.bytes().len())
            .finish()
    }
}

impl Payload for PollReply {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.payload);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, ErrorCode> {
        Self::from_payload(reader.rest().to_vec())
    }
}
