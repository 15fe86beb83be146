//! Sending, polling and flushing.
//!
//! An answer holds at most the configured bytes of messages, or one message that is
//! larger; the stored offset of `auto_commit` is that of its last message.
//! Messages are written as text piece by piece, as the client takes them.

use axum::body::Body;
use axum::http::{HeaderName, StatusCode, header};
use galgo_broker::{AnswerBounds, Reply};
use galgo_wire::command::{CommandCode, FlushUnsavedBuffer, PollMessages};
use galgo_wire::{ErrorCode, PartitionId, PollingStrategy, Timestamp};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::{consumer, identifier, place};
use crate::http::call::Call;
use crate::http::extract::{JsonBytes, PathOf, QueryOf};
use crate::http::failure::Failure;
use crate::http::json::messages as json;
use crate::http::polled;
use crate::transport::Grant;
use crate::transport::connection::supply::Supply;

/// Messages of a poll that does not say how many.
const COUNT_DEFAULT: u32 = 10;

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
    let code = CommandCode::SendMessages.as_u32();
    let sent = call.submit(|api, session| api.hub.broker.submit(session, code, &mut payload));
    sent.await?;
    Ok(StatusCode::CREATED)
}

/// Reads messages of a partition; never waits for new ones.
#[utoipa::path(get, path = "/streams/{stream}/topics/{topic}/messages", tag = "messages",
    params(("stream" = String, Path, description = "Id or name of the stream."),
        ("topic" = String, Path, description = "Id or name of the topic."),
        json::PollQuery),
    responses((status = 200, body = json::PolledMessages)))]
pub(super) async fn poll_messages(
    call: Call,
    PathOf(path): PathOf<(String, String)>,
    QueryOf(query): QueryOf<json::PollQuery>,
) -> Result<([(HeaderName, &'static str); 1], Body), Failure> {
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
        auto_commit: query.auto_commit.unwrap_or(false),
    };
    let bytes_max = call.api.limits.poll_bytes_max;
    let bounds = AnswerBounds { bytes_max, piece_bytes_max: polled::PIECE_BYTES_MAX };
    let mut held = Grant::default();
    let reply =
        call.submit_under(&mut held, |api, session| api.hub.broker.poll(session, &command, bounds));
    let Reply::Messages(messages) = reply.await? else { return Err(ErrorCode::Error.into()) };
    let (hub, user) = (Arc::clone(&call.api.hub), Some(call.caller.account.user));
    let body = polled::body(messages, Supply { hub, user, held }).await?;
    Ok(([(header::CONTENT_TYPE, "application/json")], body))
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

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::new(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}
