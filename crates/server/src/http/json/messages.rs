//! Messages to be sent, and messages as a poll returns them.

use std::borrow::Cow;

use galgo_broker::MessagesHead;
use galgo_wire::batch::{BatchBuilder, BatchError, MessageHeader, MessageRef, NewMessage};
use galgo_wire::command::{LifeHeader, PollFlags, PolledHeader};
use galgo_wire::primitive::Payload as _;
use galgo_wire::{ErrorCode, PartitionId, Partitioning, PollingStrategy, Timestamp};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::headers::{Entry, HeadersIn, ShownHeaders};
use super::{Base64, base64, headers};

/// Messages to be sent.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct SendMessages {
    /// Which partition they go to.
    pub(in super::super) partitioning: PartitioningIn,
    /// The messages, at least one.
    #[schema(min_items = 1)]
    pub(in super::super) messages: Vec<MessageIn>,
}

/// How the partition is chosen.
#[derive(Debug, Deserialize, ToSchema)]
pub(in super::super) struct PartitioningIn {
    /// By the server, by the caller, or by a key.
    kind: PartitioningKind,
    /// Base64: nothing for `balanced`, four bytes (little-endian) for `partition_id`, 1 to 255 bytes
    /// for `messages_key`.
    #[serde(deserialize_with = "base64")]
    #[schema(value_type = String, example = "")]
    value: Vec<u8>,
}

/// Who chooses the partition.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(in super::super) enum PartitioningKind {
    /// The server, in turn.
    Balanced,
    /// The caller.
    PartitionId,
    /// The hash of a key.
    MessagesKey,
}

/// A message to be sent.
#[derive(Debug, Deserialize, ToSchema)]
pub(in super::super) struct MessageIn {
    /// Its id: a number, the same in digits, or a UUID; 0 or none lets the server choose one.
    #[serde(default, deserialize_with = "message_id")]
    #[schema(value_type = Option<MessageId>)]
    id: u128,
    /// Base64 of the payload, which is not empty.
    #[serde(deserialize_with = "base64")]
    #[schema(value_type = String, min_length = 4, example = "aGVsbG8=")]
    payload: Vec<u8>,
    /// A list of headers, or base64 of the encoded block.
    #[serde(default, deserialize_with = "headers::block")]
    #[schema(value_type = Option<HeadersIn>)]
    user_headers: Vec<u8>,
}

/// The id of a message: 128 bits.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only the description of the API is made of it")]
pub(in super::super) enum MessageId {
    /// As a number.
    Number(u64),
    /// In digits, as a UUID, or as 32 hexadecimal digits.
    Text(String),
}

impl PartitioningIn {
    /// As commands have it.
    pub(in super::super) fn to_wire(&self) -> Result<Partitioning, ErrorCode> {
        let chosen = match self.kind {
            PartitioningKind::Balanced => Some(Partitioning::Balanced),
            PartitioningKind::PartitionId => {
                <[u8; 4]>::try_from(self.value.as_slice()).ok().map(|bytes| {
                    Partitioning::PartitionId(PartitionId::new(u32::from_le_bytes(bytes)))
                })
            }
            PartitioningKind::MessagesKey => Partitioning::key(&self.value),
        };
        chosen.ok_or(ErrorCode::InvalidCommand)
    }
}

impl SendMessages {
    /// Collects the messages as commands have them, made at `now`.
    pub(in super::super) fn batch(&self, now: Timestamp) -> Result<BatchBuilder, ErrorCode> {
        if self.messages.is_empty() {
            return Err(ErrorCode::InvalidMessagesCount);
        }
        let mut batch = BatchBuilder::new();
        for message in &self.messages {
            let new = NewMessage {
                id: message.id,
                payload: &message.payload,
                user_headers: &message.user_headers,
                origin_timestamp: now,
            };
            batch.push(&new).map_err(|error| match error {
                BatchError::UserHeadersTooLarge { .. } => ErrorCode::TooBigUserHeaders,
                BatchError::PayloadTooLarge { .. } | BatchError::Full => {
                    ErrorCode::TooBigMessagePayload
                }
            })?;
        }
        Ok(batch)
    }

    /// Whether a message has no payload, which only this form of the protocol refuses.
    pub(in super::super) fn has_empty_payload(&self) -> bool {
        self.messages.iter().any(|message| message.payload.is_empty())
    }
}

/// Reads an id from its own text: numbers may be larger than most readers of JSON can tell.
fn message_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u128, D::Error> {
    let raw = Box::<RawValue>::deserialize(deserializer)?;
    let invalid = || D::Error::custom("an id is a number up to 2^128-1, its digits, or a UUID");
    if raw.get() == "null" {
        return Ok(0);
    }
    let text: Cow<'_, str> = match raw.get().starts_with('"') {
        true => Cow::Owned(serde_json::from_str::<String>(raw.get()).map_err(|_| invalid())?),
        false => Cow::Borrowed(raw.get()),
    };
    if let Ok(id) = text.parse() {
        return Ok(id);
    }
    Uuid::parse_str(&text).map(|uuid| uuid.as_u128()).map_err(|_| invalid())
}

/// What to poll.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(in super::super) struct PollQuery {
    /// The consumer, by number or name; 1 when left out.
    #[param(min_length = 1, max_length = 255, example = "1")]
    pub(in super::super) consumer_id: Option<String>,
    /// The partition; 0 when left out.
    #[param(example = 0)]
    pub(in super::super) partition_id: Option<u32>,
    /// Where to start; at an offset when left out.
    #[param(inline)]
    pub(in super::super) kind: Option<PollKind>,
    /// The offset, or the time in microseconds since the Unix epoch; 0 when left out.
    #[param(maximum = 18446744073709551615u64, example = 0)]
    pub(in super::super) value: Option<u64>,
    /// At most how many messages; 10 when left out.
    #[param(example = 10)]
    pub(in super::super) count: Option<u32>,
    /// Whether to store the offset of the last message returned.
    pub(in super::super) auto_commit: Option<bool>,
}

/// What to poll of a partition that the path names, in which of its lives.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct PollInLifeQuery {
    /// The consumer, by number or name; 1 when left out.
    #[param(min_length = 1, max_length = 255, example = "1")]
    pub(in super::super) consumer_id: Option<String>,
    /// Where to start; at an offset when left out.
    #[param(inline)]
    pub(in super::super) kind: Option<PollKind>,
    /// The offset, or the time in microseconds since the Unix epoch; 0 when left out.
    #[param(maximum = 18446744073709551615u64, example = 0)]
    pub(in super::super) value: Option<u64>,
    /// At most how many messages; 10 when left out.
    #[param(example = 10)]
    pub(in super::super) count: Option<u32>,
    /// Whether to store the offset of the last message returned.
    pub(in super::super) auto_commit: Option<bool>,
    /// The life to read in, as an answer told it; left out, whichever it is.
    pub(in super::super) life: Option<String>,
}

/// Where a poll starts.
#[derive(Debug, Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(in super::super) enum PollKind {
    /// At an offset.
    #[default]
    Offset,
    /// At the first message that is not older.
    Timestamp,
    /// At the oldest message.
    First,
    /// With the newest messages.
    Last,
    /// Behind the stored offset of the consumer.
    Next,
}

impl PollKind {
    /// As commands have it.
    pub(in super::super) fn strategy(self, value: Option<u64>) -> PollingStrategy {
        let value = value.unwrap_or(0);
        match self {
            Self::Offset => PollingStrategy::Offset(value.into()),
            Self::Timestamp => PollingStrategy::Timestamp(value.into()),
            Self::First => PollingStrategy::First,
            Self::Last => PollingStrategy::Last,
            Self::Next => PollingStrategy::Next,
        }
    }
}

/// Messages as a poll returned them.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only the description of the API is made of it")]
pub(in super::super) struct PolledMessages {
    /// The partition.
    partition_id: u32,
    /// The offset of its last message; 0 also when it is empty.
    current_offset: u64,
    /// How many messages follow.
    count: u32,
    /// The messages, in order of their offsets.
    messages: Vec<PolledMessage>,
}

/// Messages as a poll in a life of a partition returned them.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only the description of the API is made of it")]
pub(in super::super) struct PolledInLife {
    /// The partition.
    partition_id: u32,
    /// The offset of its last message; 0 also when it is empty.
    current_offset: u64,
    /// How many messages follow.
    count: u32,
    /// The life of the partition, for the next poll and for storing the offset.
    life: String,
    /// The oldest offset it keeps.
    start: u64,
    /// The offset that the next message gets.
    end: u64,
    /// Where reading goes on.
    next: u64,
    /// Whether fewer messages came than were asked for, and more follow.
    cut: bool,
    /// Whether the partition is in another life than the reader: nothing was read, and nothing stored.
    other_life: bool,
    /// The messages that come next and cannot be read, if that is so.
    #[schema(required = true)]
    damaged: Option<DamagedRange>,
    /// The messages, in order of their offsets.
    messages: Vec<PolledMessage>,
}

/// Messages that cannot be read.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only the description of the API is made of it")]
pub(in super::super) struct DamagedRange {
    /// The first of them.
    from: u64,
    /// The first one that can be read again.
    to: u64,
}

#[derive(Serialize)]
struct Polled<'a> {
    header: Header,
    payload: Base64<'a>,
    user_headers: ShownHeaders<'a>,
}

/// The header of a message.
#[derive(Serialize, ToSchema)]
struct Header {
    /// XXH3-64 of the rest of the message as it is stored.
    checksum: u64,
    /// The id, up to 2^128-1.
    #[schema(value_type = f64, minimum = 0)]
    id: u128,
    /// Its position in the partition.
    offset: u64,
    /// When the server took it, in microseconds since the Unix epoch.
    timestamp: u64,
    /// When its producer made it.
    origin_timestamp: u64,
    /// Bytes of the user headers as they are stored.
    user_headers_length: u32,
    /// Bytes of the payload.
    payload_length: u32,
    /// Always 0.
    reserved: u64,
}

/// A message as a poll returned it.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only the description of the API is made of it")]
pub(in super::super) struct PolledMessage {
    header: Header,
    /// Base64 of the payload.
    payload: String,
    /// Entries, or base64 of the encoded block when it cannot be read.
    user_headers: HeadersOut,
}

/// User headers of a stored message.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only the description of the API is made of it")]
pub(in super::super) enum HeadersOut {
    /// Entries.
    Entries(Vec<Entry>),
    /// Base64 of the encoded block.
    Block(String),
}

/// The text of an answer in front of its first message.
///
/// # Errors
/// When the header is none.
pub(in super::super) fn polled_opening(head: &MessagesHead) -> Result<Vec<u8>, ErrorCode> {
    let PolledHeader { partition_id, current_offset, count } = PolledHeader::from_bytes(head)?;
    let polled = format!(
        "{{\"partition_id\":{partition_id},\"current_offset\":{current_offset},\"count\":{count},"
    );
    let in_life = match head {
        MessagesHead::Plain(_) => String::new(),
        MessagesHead::InLife(bytes) => in_life(LifeHeader::from_bytes(bytes)?),
    };
    Ok(format!("{polled}{in_life}\"messages\":[").into_bytes())
}

fn in_life(header: LifeHeader) -> String {
    let LifeHeader { life, start, end, next, damaged_from, damaged_to, flags, .. } = header;
    let (cut, other) = (flags.contains(PollFlags::CUT), flags.contains(PollFlags::OTHER_LIFE));
    let damaged = match flags.contains(PollFlags::DAMAGED) {
        true => format!("{{\"from\":{damaged_from},\"to\":{damaged_to}}}"),
        false => "null".to_owned(),
    };
    format!(
        "\"life\":\"{life}\",\"start\":{start},\"end\":{end},\"next\":{next},\
         \"cut\":{cut},\"other_life\":{other},\"damaged\":{damaged},"
    )
}

/// The text of [`PolledMessages`] behind the last message.
pub(in super::super) const POLLED_CLOSING: &[u8] = b"]}";

/// Adds the text of a message.
pub(in super::super) fn write_polled(
    message: &MessageRef<'_>,
    text: &mut Vec<u8>,
) -> serde_json::Result<()> {
    serde_json::to_writer(text, &Polled::from(message))
}

impl<'a> From<&MessageRef<'a>> for Polled<'a> {
    fn from(message: &MessageRef<'a>) -> Self {
        Self {
            header: message.header.into(),
            payload: Base64(message.payload),
            user_headers: ShownHeaders(message.user_headers),
        }
    }
}

impl From<MessageHeader> for Header {
    fn from(header: MessageHeader) -> Self {
        Self {
            checksum: header.checksum,
            id: header.id,
            offset: header.offset.get(),
            timestamp: header.timestamp.get(),
            origin_timestamp: header.origin_timestamp.get(),
            user_headers_length: header.user_headers_length,
            payload_length: header.payload_length,
            reserved: header.reserved,
        }
    }
}
