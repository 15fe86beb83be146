//! The producer's side: messages collected into one SEND_MESSAGES payload.
//!
//! A payload is copied once when it is pushed and once when the batch is encoded.

use super::header::{MESSAGE_HEADER_BYTES, MessageHeader};
use crate::consumer::PartitioningRef;
use crate::id::Timestamp;
use crate::identifier::IdentifierRef;
use crate::limits::{
    INDEX_ENTRY_BYTES, MESSAGE_PAYLOAD_BYTES_MAX, SEND_METADATA_BYTES_MAX, USER_HEADERS_BYTES_MAX,
};
use crate::primitive::put_length32;

/// A message to be sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NewMessage<'a> {
    /// Its id; 0 lets the server choose one.
    pub id: u128,
    /// The payload.
    pub payload: &'a [u8],
    /// The encoded user headers.
    pub user_headers: &'a [u8],
    /// When it was made.
    pub origin_timestamp: Timestamp,
}

/// Why a message cannot be part of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// The payload is over its limit.
    #[error("a payload of {len} bytes is over the limit of {MESSAGE_PAYLOAD_BYTES_MAX}")]
    PayloadTooLarge {
        /// Bytes of the payload.
        len: usize,
    },
    /// The user headers are over their limit.
    #[error("user headers of {len} bytes are over the limit of {USER_HEADERS_BYTES_MAX}")]
    UserHeadersTooLarge {
        /// Bytes of the user headers.
        len: usize,
    },
    /// The batch would not fit a frame: send it and start another.
    #[error("the batch is full")]
    Full,
}

/// Collects messages.
#[derive(Clone, Debug, Default)]
pub struct BatchBuilder {
    indexes: Vec<u8>,
    messages: Vec<u8>,
    count: u32,
}

impl BatchBuilder {
    /// An empty batch.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty batch with room for messages of so many bytes.
    #[must_use]
    pub fn with_capacity(bytes: usize) -> Self {
        Self { messages: Vec::with_capacity(bytes), ..Self::default() }
    }

    /// Bytes `message` takes in a batch, its index entry included.
    #[must_use]
    pub fn bytes_of(message: &NewMessage<'_>) -> usize {
        INDEX_ENTRY_BYTES
            + MESSAGE_HEADER_BYTES
            + message.payload.len()
            + message.user_headers.len()
    }

    /// Adds a message behind the others.
    ///
    /// # Errors
    /// [`BatchError`]; the batch is as before.
    pub fn push(&mut self, message: &NewMessage<'_>) -> Result<(), BatchError> {
        let payload_length = u32::try_from(message.payload.len())
            .ok()
            .filter(|len| *len <= MESSAGE_PAYLOAD_BYTES_MAX)
            .ok_or(BatchError::PayloadTooLarge { len: message.payload.len() })?;
        let user_headers_length = u32::try_from(message.user_headers.len())
            .ok()
            .filter(|len| *len <= USER_HEADERS_BYTES_MAX)
            .ok_or(BatchError::UserHeadersTooLarge { len: message.user_headers.len() })?;
        // The whole payload, metadata included, has to fit the length of a frame.
        let total = self.bytes() + Self::bytes_of(message) + SEND_METADATA_BYTES_MAX + 8;
        if u32::try_from(total).is_err() {
            return Err(BatchError::Full);
        }
        let header = MessageHeader {
            id: message.id,
            origin_timestamp: message.origin_timestamp,
            user_headers_length,
            payload_length,
            ..MessageHeader::default()
        };
        self.messages.extend_from_slice(&header.to_bytes());
        self.messages.extend_from_slice(message.payload);
        self.messages.extend_from_slice(message.user_headers);
        // Offset and time are the server's to say, and it refuses an entry that says them.
        self.indexes.extend_from_slice(&[0; 4]);
        put_length32(&mut self.indexes, self.messages.len());
        self.indexes.extend_from_slice(&[0; 8]);
        self.count += 1;
        Ok(())
    }

    /// How many messages there are.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.count
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes of messages and index entries.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.indexes.len() + self.messages.len()
    }

    /// The index block and the messages, as they stand in a payload.
    #[must_use]
    pub fn parts(&self) -> (&[u8], &[u8]) {
        (&self.indexes, &self.messages)
    }

    /// Takes all messages out and keeps the memory.
    pub fn clear(&mut self) {
        self.indexes.clear();
        self.messages.clear();
        self.count = 0;
    }

    /// Appends the payload of a SEND_MESSAGES request to `out`.
    pub fn encode_send(
        &self,
        stream: IdentifierRef<'_>,
        topic: IdentifierRef<'_>,
        partitioning: PartitioningRef<'_>,
        out: &mut Vec<u8>,
    ) {
        out.reserve(4 + SEND_METADATA_BYTES_MAX + self.bytes());
        self.encode_send_head(stream, topic, partitioning, out);
        out.extend_from_slice(&self.indexes);
        out.extend_from_slice(&self.messages);
    }

    /// Appends what [`BatchBuilder::encode_send`] puts in front of [`BatchBuilder::parts`], for a
    /// caller that writes the parts without copying them.
    pub fn encode_send_head(
        &self,
        stream: IdentifierRef<'_>,
        topic: IdentifierRef<'_>,
        partitioning: PartitioningRef<'_>,
        out: &mut Vec<u8>,
    ) {
        let mut metadata = Vec::with_capacity(SEND_METADATA_BYTES_MAX);
        stream.encode(&mut metadata);
        topic.encode(&mut metadata);
        partitioning.encode(&mut metadata);
        metadata.extend_from_slice(&self.count.to_le_bytes());
        // The server refuses a longer one before it reads it.
        assert!(
            metadata.len() <= SEND_METADATA_BYTES_MAX,
            "INV-BOUND: two identifiers, a partitioning and a count are within their limit"
        );
        put_length32(out, metadata.len());
        out.extend_from_slice(&metadata);
    }
}
