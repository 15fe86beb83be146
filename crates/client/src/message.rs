//! Messages: those to be sent and those that came back.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use galgo_wire::batch::{
    HeaderError, HeaderKey, HeaderValue, MessageHeader, UserHeaders, reserved_headers,
};
use galgo_wire::id::{Life, Timestamp};
use galgo_wire::limits::{
    INDEX_ENTRY_BYTES, MESSAGE_HEADER_BYTES, MESSAGE_PAYLOAD_BYTES_MAX, USER_HEADERS_BYTES_MAX,
};

use crate::InvalidRequest;

/// A message to be sent: a payload, and if wanted an id and headers.
///
/// ```
/// use galgo::Message;
///
/// let plain = Message::new("hello");
/// let named = Message::new(vec![1, 2, 3]).id(42).header("content-type", "image/png")?;
/// # assert_eq!(plain.payload(), b"hello".as_slice());
/// # assert_eq!(named.user_headers().len(), 1);
/// # Ok::<(), galgo::InvalidRequest>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    id: u128,
    payload: Bytes,
    headers: UserHeaders,
    /// In place of the headers.
    header_block: Option<Bytes>,
    origin_timestamp: Option<Timestamp>,
}

impl Message {
    /// A message with `payload`, whose id the server chooses.
    pub fn new(payload: impl Into<Bytes>) -> Self {
        Self {
            id: 0,
            payload: payload.into(),
            headers: UserHeaders::new(),
            header_block: None,
            origin_timestamp: None,
        }
    }

    /// Sets the id; 0: the server chooses one.
    pub fn id(mut self, id: u128) -> Self {
        self.id = id;
        self
    }

    /// Sets when the message was made, in microseconds since the Unix epoch. Default: when it is sent.
    pub fn origin_timestamp(mut self, micros: u64) -> Self {
        self.origin_timestamp = Some(Timestamp::new(micros));
        self
    }

    /// Adds a header with a text key and a text value.
    ///
    /// # Errors
    /// [`InvalidRequest::Header`]: key or value does not have 1 to 255 bytes, or the key begins with `galgo.`
    /// and is none of the names that have a meaning.
    pub fn header(self, key: &str, value: &str) -> Result<Self, InvalidRequest> {
        if reserved_headers::is_unknown(key) {
            let reason = format!(
                "names that begin with {} are reserved, and {key} has no meaning yet",
                reserved_headers::PREFIX
            );
            return Err(InvalidRequest::Header { reason });
        }
        let field = |text: &str| text.parse::<HeaderValue>().map_err(InvalidRequest::from);
        let (key, value) = (field(key)?, field(value)?);
        Ok(self.typed_header(key, value))
    }

    /// Adds a header of any kind.
    pub fn typed_header(mut self, key: HeaderKey, value: HeaderValue) -> Self {
        self.headers.insert(key, value);
        self
    }

    /// Sets the bytes behind the payload as they are, as those of
    /// [`ReceivedMessage::user_headers`]: the server keeps them whatever they hold. Headers added one by one
    /// are not sent then.
    pub fn header_block(mut self, block: impl Into<Bytes>) -> Self {
        self.header_block = Some(block.into());
        self
    }

    /// The payload.
    pub fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// The headers that were added one by one.
    pub fn user_headers(&self) -> &UserHeaders {
        &self.headers
    }

    /// Id, payload and encoded headers, checked against the limits of a message.
    pub(crate) fn encode(&self) -> Result<EncodedMessage<'_>, InvalidRequest> {
        let max = MESSAGE_PAYLOAD_BYTES_MAX as usize;
        if self.payload.len() > max {
            return Err(InvalidRequest::TooLarge { what: "payload", len: self.payload.len(), max });
        }
        let headers = match &self.header_block {
            Some(block) if block.len() > USER_HEADERS_BYTES_MAX as usize => {
                return Err(HeaderError::TooLarge.into());
            }
            Some(block) => Cow::Borrowed(block.as_ref()),
            None if self.headers.is_empty() => Cow::Borrowed([].as_slice()),
            None => Cow::Owned(self.headers.to_bytes()?),
        };
        let (id, origin_timestamp) = (self.id, self.origin_timestamp);
        Ok(EncodedMessage { id, payload: &self.payload, headers, origin_timestamp })
    }
}

/// A message that keeps its limits.
pub(crate) struct EncodedMessage<'a> {
    pub(crate) id: u128,
    pub(crate) payload: &'a [u8],
    pub(crate) headers: Cow<'a, [u8]>,
    /// When it was made, if that is not now.
    pub(crate) origin_timestamp: Option<Timestamp>,
}

impl EncodedMessage<'_> {
    /// Bytes it takes in a batch.
    pub(crate) fn len(&self) -> usize {
        INDEX_ENTRY_BYTES + MESSAGE_HEADER_BYTES + self.payload.len() + self.headers.len()
    }
}

impl From<HeaderError> for InvalidRequest {
    fn from(error: HeaderError) -> Self {
        match error {
            HeaderError::TooLarge => Self::TooLarge {
                what: "user headers",
                len: USER_HEADERS_BYTES_MAX as usize + 1,
                max: USER_HEADERS_BYTES_MAX as usize,
            },
            error => Self::Header { reason: error.to_string() },
        }
    }
}

/// A message that was read.
///
/// Payload and headers share the memory of the reply the message came in; keep a copy of the payload
/// when few messages are kept for long.
#[derive(Clone, PartialEq, Eq)]
pub struct ReceivedMessage {
    partition: u32,
    life: Life,
    header: MessageHeader,
    payload: Bytes,
    user_headers: Bytes,
}

impl ReceivedMessage {
    pub(crate) fn new(
        partition: u32,
        life: Life,
        header: MessageHeader,
        payload: Bytes,
        user_headers: Bytes,
    ) -> Self {
        Self { partition, life, header, payload, user_headers }
    }

    /// The partition it is in.
    pub fn partition(&self) -> u32 {
        self.partition
    }

    /// The life of the partition it comes from, see [`PolledMessages::life`](crate::PolledMessages::life);
    /// unknown when the server does not tell.
    pub fn life(&self) -> Life {
        self.life
    }

    /// Its place in the partition, counted from 0.
    pub fn offset(&self) -> u64 {
        self.header.offset.get()
    }

    /// When the server took it, in microseconds since the Unix epoch.
    pub fn timestamp(&self) -> u64 {
        self.header.timestamp.get()
    }

    /// When its sender made it, by the sender's clock, in microseconds since the Unix epoch.
    pub fn origin_timestamp(&self) -> u64 {
        self.header.origin_timestamp.get()
    }

    /// Its id.
    pub fn id(&self) -> u128 {
        self.header.id
    }

    /// The checksum the server gave it.
    pub fn checksum(&self) -> u64 {
        self.header.checksum
    }

    /// The payload.
    pub fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// The payload, taken out.
    pub fn into_payload(self) -> Bytes {
        self.payload
    }

    /// The headers, decoded on each call; most programs need them of few messages only.
    ///
    /// # Errors
    /// [`HeaderError`]: another client sent bytes that are no headers.
    pub fn headers(&self) -> Result<UserHeaders, HeaderError> {
        match self.user_headers.is_empty() {
            true => Ok(UserHeaders::new()),
            false => UserHeaders::from_bytes(&self.user_headers),
        }
    }

    /// The headers as they were sent.
    pub fn user_headers(&self) -> &Bytes {
        &self.user_headers
    }
}

impl fmt::Debug for ReceivedMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReceivedMessage")
            .field("partition", &self.partition)
            .field("offset", &self.offset())
            .field("id", &self.id())
            .field("timestamp", &self.timestamp())
            .field("payload", &self.payload)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_names_are_for_what_they_mean() {
        for name in ["galgo.key", "galgo.ttl", "galgo.dead.offset", "galgolike", "key"] {
            Message::new("x").header(name, "value").unwrap();
        }
        let refused = Message::new("x").header("galgo.keys", "value").unwrap_err();
        assert!(refused.to_string().contains("galgo.keys has no meaning yet"), "{refused}");
    }
}
