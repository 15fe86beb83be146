//! Sending, polling and flushing.
//!
//! An answer holds at most the configured bytes of messages, or one message that is
//! larger; the stored offset of `auto_commit` is that of its last message.
//! Messages are written as text piece by piece, as the client takes them.

use axum::body::Body;
use axum::http::{HeaderName, StatusCode, header};
use galgo_broker::{AnswerBounds, Outcome, Reply, Session};
use galgo_wire::command::{
    Command as _, CommandCode, FlushUnsavedBuffer, PollInLife, PollMessages, SendReply,
    SendWithHeader,
};
use galgo_wire::measure::micros;
use galgo_wire::{Action, ErrorCode, PartitionId, Right, Timestamp};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use utoipa_axum::routes;

use super::{Router, TopicAt, consumer, identifier, life};
use crate::http::Api;
use crate::http::call::Call;
use crate::http::extract::{JsonBytes, PathOf, QueryOf};
use crate::http::failure::ApiFailure;
use crate::http::json::JsonAnswer;
use crate::http::json::messages as json;
use crate::http::polled;
use crate::transport::Grant;
use crate::transport::connection::supply::Supply;

/// Adds these routes.
pub(super) fn add(router: Router) -> Router {
    router
        .routes(routes!(poll_messages, send_messages))
        .routes(routes!(poll_in_life))
        .routes(routes!(send_batch))
        .routes(routes!(flush_unsaved_buffer))
}

/// Messages of a poll that does not say how many.
const COUNT_DEFAULT: u32 = 10;

/// Sends messages.
#[utoipa::path(post, path = "/streams/{stream}/topics/{topic}/messages", tag = "messages",
    request_body = json::SendMessages,
    params(("stream" = String, Path, description = "Id or name of the stream."),
        ("topic" = String, Path, description = "Id or name of the topic.")),
    responses((status = 201)))]
async fn send_messages(
    call: Call,
    PathOf(path): PathOf<(String, String)>,
    bytes: JsonBytes,
) -> Result<StatusCode, ApiFailure> {
    let mut payload = Vec::new();
    encode_send(&TopicAt::of(&path.0, &path.1)?, &bytes, &mut payload)?;
    drop(bytes);
    let code = CommandCode::SendMessages.as_u32();
    let sent = call.submit(|api, session| api.hub.broker.submit(session, code, &mut payload));
    sent.await?;
    Ok(StatusCode::CREATED)
}

/// Sends messages, and tells what became of them: in which partition they are, and from which offset on.
#[utoipa::path(post, path = "/streams/{stream}/topics/{topic}/batches", tag = "messages",
    request_body = json::SendMessages,
    params(("stream" = String, Path, description = "Id or name of the stream."),
        ("topic" = String, Path, description = "Id or name of the topic.")),
    responses((status = 201, body = SendReply)))]
async fn send_batch(
    call: Call,
    PathOf(path): PathOf<(String, String)>,
    bytes: JsonBytes,
) -> Result<(StatusCode, JsonAnswer<SendReply>), ApiFailure> {
    let topic = TopicAt::of(&path.0, &path.1)?;
    let mut payload = Vec::new();
    // Chains belong to a connection, so that no batch over HTTP is part of one.
    SendWithHeader::encode(None, &mut payload);
    encode_send(&topic, &bytes, &mut payload)?;
    drop(bytes);
    let code = CommandCode::SendWith.as_u32();
    let sent = call.submit(|api, session| api.hub.broker.submit(session, code, &mut payload));
    let sent = sent.await.map_err(|code| {
        let right = Right::topic(Action::SendMessages, &topic.stream, &topic.topic);
        ApiFailure::from(code).about(&call.api.hub.broker, &right)
    });
    let Reply::Sent(reply) = sent? else { return Err(ErrorCode::Error.into()) };
    Ok((StatusCode::CREATED, JsonAnswer(reply)))
}

/// Adds what both kinds of sends have: the messages of a body, and where they go.
fn encode_send(
    TopicAt { stream, topic }: &TopicAt,
    bytes: &JsonBytes,
    payload: &mut Vec<u8>,
) -> Result<(), ApiFailure> {
    let body: json::SendMessages = bytes.parse()?;
    if body.has_empty_payload() {
        let reason = "a message has at least one byte of payload";
        return Err(ApiFailure::malformed(StatusCode::UNPROCESSABLE_ENTITY, reason));
    }
    let partitioning = body.partitioning.to_wire()?;
    let batch = body.batch(now())?;
    batch.encode_send(stream.borrowed(), topic.borrowed(), partitioning.borrowed(), payload);
    Ok(())
}

/// Reads messages of a partition; never waits for new ones.
#[utoipa::path(get, path = "/streams/{stream}/topics/{topic}/messages", tag = "messages",
    params(("stream" = String, Path, description = "Id or name of the stream."),
        ("topic" = String, Path, description = "Id or name of the topic."),
        json::PollQuery),
    responses((status = 200, body = json::PolledMessages)))]
async fn poll_messages(
    call: Call,
    PathOf(path): PathOf<(String, String)>,
    QueryOf(query): QueryOf<json::PollQuery>,
) -> Result<([(HeaderName, &'static str); 1], Body), ApiFailure> {
    let command = poll(TopicAt::of(&path.0, &path.1)?, &query)?;
    polled(&call, |api, session, bounds| api.hub.broker.poll(session, &command, bounds)).await
}

/// Reads messages of a partition in one of its lives, and tells how far it reaches; never waits for new ones.
#[utoipa::path(get, path = "/streams/{stream}/topics/{topic}/partitions/{partition_id}/messages",
    tag = "messages",
    params(("stream" = String, Path, description = "Id or name of the stream."),
        ("topic" = String, Path, description = "Id or name of the topic."),
        ("partition_id" = u32, Path, description = "The partition."),
        json::PollInLifeQuery),
    responses((status = 200, body = json::PolledInLife)))]
async fn poll_in_life(
    call: Call,
    PathOf((stream, topic, partition_id)): PathOf<(String, String, u32)>,
    QueryOf(query): QueryOf<json::PollInLifeQuery>,
) -> Result<([(HeaderName, &'static str); 1], Body), ApiFailure> {
    let json::PollInLifeQuery { consumer_id, kind, value, count, auto_commit, life: of } = query;
    let partition_id = Some(partition_id);
    let query = json::PollQuery { consumer_id, partition_id, kind, value, count, auto_commit };
    let poll = poll(TopicAt::of(&stream, &topic)?, &query)?;
    let life = life(of.as_deref())?;
    let command = PollInLife { poll, wait: 0, count_min: 1, life, reserved: 0 };
    let polled = polled(&call, |api, session, bounds| {
        api.hub.broker.poll_in_life(session, &command, bounds)
    });
    polled.await.map_err(|failure| failure.about(&call.api.hub.broker, &command.right()))
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
async fn flush_unsaved_buffer(
    call: Call,
    PathOf((stream, topic, partition_id, fsync)): PathOf<(String, String, u32, String)>,
) -> Result<StatusCode, ApiFailure> {
    // Classic clients write `fsync=true` where the route has a plain `true`.
    let fsync = fsync.strip_prefix("fsync=").unwrap_or(&fsync).parse().map_err(|_| {
        ApiFailure::malformed(StatusCode::BAD_REQUEST, "the last part is `true` or `false`")
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

/// The poll that a query asks for.
fn poll(at: TopicAt, query: &json::PollQuery) -> Result<PollMessages, ApiFailure> {
    let TopicAt { stream, topic } = at;
    Ok(PollMessages {
        consumer: consumer(query.consumer_id.as_deref())?,
        stream,
        topic,
        partition_id: query.partition_id.map(PartitionId::new),
        strategy: query.kind.unwrap_or_default().strategy(query.value),
        count: query.count.unwrap_or(COUNT_DEFAULT),
        auto_commit: query.auto_commit.unwrap_or(false),
    })
}

/// Runs a poll, and shows what it brings.
async fn polled(
    call: &Call,
    poll: impl FnOnce(&Api, &mut Session, AnswerBounds) -> Outcome,
) -> Result<([(HeaderName, &'static str); 1], Body), ApiFailure> {
    let bytes_max = call.api.limits.poll_bytes_max;
    let bounds = AnswerBounds { bytes_max, piece_bytes_max: polled::PIECE_BYTES_MAX };
    let mut held = Grant::default();
    let reply = call.submit_under(&mut held, |api, session| poll(api, session, bounds));
    let Reply::Messages(messages) = reply.await? else { return Err(ErrorCode::Error.into()) };
    let (hub, user) = (Arc::clone(&call.api.hub), Some(call.caller.account.user));
    let body = polled::body(messages, Supply { hub, user, held }).await?;
    Ok(([(header::CONTENT_TYPE, "application/json")], body))
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::new(micros(since))
}
