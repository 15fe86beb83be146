//! Sending, polling and flushing.
//!
//! INV-POLL-BOUND: an answer holds at most the configured bytes of messages, or one message that is
//! larger; the stored offset of `auto_commit` is that of the last message really answered.

use axum::http::{HeaderName, StatusCode, header};
use bytes::Bytes;
use galgo_broker::{MessagesReply, Reply, Slice};
use galgo_wire::batch::{MessageRef, ViewError};
use galgo_wire::command::{
    CommandCode, FlushUnsavedBuffer, PollMessages, PolledHeader, StoreConsumerOffset,
};
use galgo_wire::primitive::Payload as _;
use galgo_wire::{ErrorCode, Offset, PartitionId, PollingStrategy, Timestamp};
use std::time::{SystemTime, UNIX_EPOCH};

use super::{consumer, identifier, place};
use crate::http::call::Call;
use crate::http::extract::{JsonBytes, PathOf, QueryOf};
use crate::http::failure::Failure;
use crate::http::json::messages as json;
use crate::transport::Grant;
use crate::transport::connection::job;

/// Messages of a poll that does not say how many.
const COUNT_DEFAULT: u32 = 10;

/// Bytes of JSON, at most, for a byte of a stored message: small messages have large headers.
const JSON_GROWTH: usize = 6;

/// The same for a message that is larger than an answer usually is: the bytes, and their base64.
const JSON_GROWTH_LARGE: usize = 3;

/// Sends messages.
#[utoipa::path(post, path = "/streams/{stream}/topics/{topic}/messages", tag = "messages",
    request_body = json::SendMessages,
    params(("stream" = String, Path, description = "Id or name of the stream."),
        ("topic" = String, Path, description = "Id or name of the topic.")),
    responses((status = 201)))]
pub(super) async fn send_messages(
    call: Call,
    PathOf(path): PathOf<(String, String)>,
    bytes: JsonBytes,
) -> Result<StatusCode, Failure> {
    let (stream, topic) = place(&path)?;
    let body: json::SendMessages = bytes.parse()?;
    if body.has_empty_payload() {
        let reason = "a message has at least one byte of payload";
        return Err(Failure::malformed(StatusCode::UNPROCESSABLE_ENTITY, reason));
    }
    let partitioning = body.partitioning.to_wire()?;
    let mut payload = Vec::new();
    body.batch(now())?.encode_send(
        stream.borrowed(),
        topic.borrowed(),
        partitioning.borrowed(),
        &mut payload,
    );
    drop(body);
    let sent = call.submit(|api, session| {
        let code = CommandCode::SendMessages;
        (code, api.hub.broker.submit(session, code.as_u32(), &mut payload))
    });
    sent.await?;
    Ok(StatusCode::CREATED)
}

/// Reads messages of a partition; never waits for new ones.
#[utoipa::path(get, path = "/streams/{stream}/topics/{topic}/messages", tag = "messages",
    params(("stream" = String, Path, description = "Id or name of the stream."),
        ("topic" = String, Path, description = "Id or name of the topic."),
        json::PollQuery),
    responses((status = 200, body = json::PolledMessages<'_>)))]
pub(super) async fn poll_messages(
    call: Call,
    PathOf(path): PathOf<(String, String)>,
    QueryOf(query): QueryOf<json::PollQuery>,
) -> Result<([(HeaderName, &'static str); 1], Bytes), Failure> {
    let (stream, topic) = place(&path)?;
    let value = query.value.unwrap_or(0);
    let command = PollMessages {
        consumer: consumer(query.consumer_id.as_deref())?,
        stream,
        topic,
        partition_id: query.partition_id.map(PartitionId::new),
        strategy: match query.kind.unwrap_or(json::PollKind::Offset) {
            json::PollKind::Offset => PollingStrategy::Offset(value.into()),
            json::PollKind::Timestamp => PollingStrategy::Timestamp(value.into()),
            json::PollKind::First => PollingStrategy::First,
            json::PollKind::Last => PollingStrategy::Last,
            json::PollKind::Next => PollingStrategy::Next,
        },
        count: query.count.unwrap_or(COUNT_DEFAULT),
        // Stored below, when it is known which messages fit the answer.
        auto_commit: false,
    };
    let request = command.clone().into();
    let mut held = Grant::default();
    let polled = call.submit_under(&mut held, |api, session| {
        (CommandCode::PollMessages, api.hub.broker.submit_request(session, request))
    });
    let Reply::Messages(messages) = polled.await? else { return Err(ErrorCode::Error.into()) };
    let answer = render(&call, messages, held).await?;
    if let (Some(offset), Some(true)) = (answer.last, query.auto_commit) {
        let PollMessages { consumer, stream, topic, .. } = command;
        let partition_id = Some(answer.partition_id);
        call.run(StoreConsumerOffset { consumer, stream, topic, partition_id, offset }).await?;
    }
    Ok(([(header::CONTENT_TYPE, "application/json")], answer.json))
}

/// Makes what was sent to a partition as durable as asked for.
#[utoipa::path(get,
    path = "/streams/{stream}/topics/{topic}/messages/flush/{partition_id}/{fsync}",
    tag = "messages",
    params(("stream" = String, Path, description = "Id or name of the stream."),
        ("topic" = String, Path, description = "Id or name of the topic."),
        ("partition_id" = u32, Path, description = "The partition."),
        ("fsync" = bool, Path, description = "Whether it has to survive a loss of power.")),
    responses((status = 200)))]
pub(super) async fn flush_unsaved_buffer(
    call: Call,
    PathOf((stream, topic, partition_id, fsync)): PathOf<(String, String, u32, String)>,
) -> Result<StatusCode, Failure> {
    // Classic clients write `fsync=true` where the route has a plain `true`.
    let fsync = fsync.strip_prefix("fsync=").unwrap_or(&fsync).parse().map_err(|_| {
        Failure::malformed(StatusCode::BAD_REQUEST, "the last part is `true` or `false`")
    })?;
    let command = FlushUnsavedBuffer {
        stream: identifier(&stream)?,
        topic: identifier(&topic)?,
        partition_id: partition_id.into(),
        fsync,
    };
    call.run(command).await?;
    Ok(StatusCode::OK)
}

/// An answer to a poll.
struct Answer {
    json: Bytes,
    partition_id: PartitionId,
    /// The offset of the last message in it.
    last: Option<Offset>,
}

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

/// Reads the messages that fit and shows them, off the connection's thread: files may have to be read,
/// and megabytes to be written as text.
///
/// `grant` covers what the reply has in memory, and grows by what showing it takes: whoever holds memory
/// for answers waits for no other memory.
async fn render(call: &Call, reply: MessagesReply, grant: Grant) -> Result<Answer, Failure> {
    let (mut reply, mut max) = (reply, call.api.limits.poll_bytes_max);
    let (mut grant, mut growth) = (grant, JSON_GROWTH);
    let user = Some(call.caller.account.user);
    loop {
        let expected = usize::try_from(reply.len).unwrap_or(usize::MAX).min(max);
        let shown = expected.saturating_mul(growth) as u64;
        let needed = shown.saturating_add(reply.memory_bytes());
        if !job::cover(&call.api.hub, user, needed, &mut grant).await {
            return Err(ErrorCode::Disconnected.into());
        }
        let work = tokio::task::spawn_blocking(move || show(reply, max, grant));
        match work.await.map_err(|_| ErrorCode::Error)?? {
            Shown::Whole { partition_id, last, json, mut held } => {
                call.api.hub.answers.allowance(user).shrink(&mut held, json.capacity());
                let json = Bytes::from_owner(Granted { bytes: json, _grant: held });
                return Ok(Answer { json, partition_id, last });
            }
            Shown::TooSmall(back, needed, held) => {
                (reply, max, grant, growth) = (back, needed, held, JSON_GROWTH_LARGE);
            }
        }
    }
}

/// What came of showing messages.
enum Shown {
    /// An answer, as JSON.
    Whole { partition_id: PartitionId, last: Option<Offset>, json: Vec<u8>, held: Grant },
    /// The first message takes this many bytes, as far as could be told.
    TooSmall(MessagesReply, usize, Grant),
}

/// Shows the messages in the first `max` bytes, which `grant` covers.
fn show(reply: MessagesReply, max: usize, grant: Grant) -> Result<Shown, ErrorCode> {
    let header = PolledHeader::from_bytes(&reply.header)?;
    let bytes = read(&reply, max)?;
    if let Err(ViewError::Incomplete { needed, .. }) = MessageRef::read(&bytes)
        && (bytes.len() as u64) < reply.len
        && needed > max
    {
        return Ok(Shown::TooSmall(reply, needed, grant));
    }
    let messages = whole_messages(&bytes);
    let shown = json::PolledMessages::new(header, &messages);
    Ok(Shown::Whole {
        partition_id: header.partition_id,
        last: messages.last().map(|message| message.header.offset),
        json: serde_json::to_vec(&shown).map_err(|_| ErrorCode::Error)?,
        held: grant,
    })
}

fn read(reply: &MessagesReply, max: usize) -> Result<Vec<u8>, ErrorCode> {
    let len = usize::try_from(reply.len).unwrap_or(usize::MAX).min(max);
    let mut bytes = Vec::with_capacity(len);
    for slice in &reply.slices {
        let left = len - bytes.len();
        match slice {
            Slice::Memory(part) => {
                bytes.extend_from_slice(part.get(..left).unwrap_or(part));
            }
            Slice::File { file, position, len } => {
                let from = bytes.len();
                let take = usize::try_from(*len).unwrap_or(usize::MAX).min(left);
                bytes.resize(from + take, 0);
                let Some(room) = bytes.get_mut(from..) else { break };
                file.read_exact_at(room, *position).map_err(|error| {
                    tracing::warn!(%error, "polled messages could not be read");
                    ErrorCode::CannotReadMessage
                })?;
            }
        }
    }
    Ok(bytes)
}

fn whole_messages(mut bytes: &[u8]) -> Vec<MessageRef<'_>> {
    let mut messages = Vec::new();
    while let Ok(message) = MessageRef::read(bytes) {
        bytes = bytes.get(message.bytes.len()..).unwrap_or_default();
        messages.push(message);
    }
    messages
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::new(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}
