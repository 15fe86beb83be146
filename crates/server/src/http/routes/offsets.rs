//! Consumer offsets of plain consumers.

use axum::http::StatusCode;
use galgo_wire::command::{
    ConsumerOffset, DeleteConsumerOffset, GetConsumerOffset, StoreConsumerOffset,
    StoreOffsetInLife, StoredInLife,
};
use galgo_wire::{ConsumerIdentity, PartitionId};
use utoipa_axum::routes;

use super::{Router, TopicAt, consumer, identifier, life};
use crate::http::call::Call;
use crate::http::extract::{JsonOf, PathOf, QueryOf};
use crate::http::failure::ApiFailure;
use crate::http::json::groups as json;
use crate::http::json::{JsonAnswer, NumberOrName};
use crate::http::plain::find_own;

/// Adds these routes.
pub(super) fn add(router: Router) -> Router {
    router
        .routes(routes!(get_consumer_offset, store_consumer_offset))
        .routes(routes!(store_offset_in_life, delete_consumer_offset))
}

/// Shows a stored offset.
#[utoipa::path(get, path = "/streams/{stream}/topics/{topic}/consumer-offsets",
    tag = "consumer offsets",
    params(("stream" = String, Path, description = "Id or name of the stream."),
        ("topic" = String, Path, description = "Id or name of the topic."),
        json::OffsetOf),
    responses((status = 200, body = ConsumerOffset)))]
async fn get_consumer_offset(
    call: Call,
    PathOf(path): PathOf<(String, String)>,
    QueryOf(query): QueryOf<json::OffsetOf>,
) -> Result<JsonAnswer<ConsumerOffset>, ApiFailure> {
    let TopicAt { stream, topic } = TopicAt::of(&path.0, &path.1)?;
    let command = GetConsumerOffset {
        consumer: consumer(query.consumer_id.as_deref())?,
        stream,
        topic,
        partition_id: query.partition_id.map(PartitionId::new),
    };
    Ok(JsonAnswer(call.find(command).await?))
}

/// Stores the offset of the last message that was processed.
#[utoipa::path(put, path = "/streams/{stream}/topics/{topic}/consumer-offsets",
    tag = "consumer offsets", request_body = json::StoreOffset,
    params(("stream" = String, Path, description = "Id or name of the stream."),
        ("topic" = String, Path, description = "Id or name of the topic.")),
    responses((status = 204)))]
async fn store_consumer_offset(
    call: Call,
    PathOf(path): PathOf<(String, String)>,
    JsonOf(body): JsonOf<json::StoreOffset>,
) -> Result<StatusCode, ApiFailure> {
    let TopicAt { stream, topic } = TopicAt::of(&path.0, &path.1)?;
    let consumer = match body.consumer_id {
        None => consumer(None)?,
        Some(NumberOrName::Number(number)) => ConsumerIdentity::new(number.into()),
        Some(NumberOrName::Name(name)) => consumer(Some(&name))?,
    };
    let command = StoreConsumerOffset {
        consumer,
        stream,
        topic,
        partition_id: body.partition_id.map(PartitionId::new),
        offset: body.offset.into(),
    };
    call.run(command).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Stores the offset of the last message that was processed, if the partition is still in the life it was read in.
#[utoipa::path(put, path = "/streams/{stream}/topics/{topic}/consumer-offsets/{consumer_id}",
    tag = "consumer offsets", request_body = json::StoreInLife,
    params(("stream" = String, Path, description = "Id or name of the stream."),
        ("topic" = String, Path, description = "Id or name of the topic."),
        ("consumer_id" = String, Path, description = "Number or name of the consumer.")),
    responses((status = 200, body = StoredInLife)))]
async fn store_offset_in_life(
    call: Call,
    PathOf((stream, topic, id)): PathOf<(String, String, String)>,
    JsonOf(body): JsonOf<json::StoreInLife>,
) -> Result<JsonAnswer<StoredInLife>, ApiFailure> {
    let store = StoreConsumerOffset {
        consumer: consumer(Some(&id))?,
        stream: identifier(&stream)?,
        topic: identifier(&topic)?,
        partition_id: body.partition_id.map(PartitionId::new),
        offset: body.offset.into(),
    };
    let life = life(body.life.as_deref())?;
    Ok(JsonAnswer(find_own(&call, StoreOffsetInLife { store, life }).await?))
}

/// Forgets a stored offset.
#[utoipa::path(delete, path = "/streams/{stream}/topics/{topic}/consumer-offsets/{consumer_id}",
    tag = "consumer offsets",
    params(("stream" = String, Path, description = "Id or name of the stream."),
        ("topic" = String, Path, description = "Id or name of the topic."),
        ("consumer_id" = String, Path, description = "Number or name of the consumer."),
        json::PartitionOf),
    responses((status = 204)))]
async fn delete_consumer_offset(
    call: Call,
    PathOf((stream, topic, id)): PathOf<(String, String, String)>,
    QueryOf(query): QueryOf<json::PartitionOf>,
) -> Result<StatusCode, ApiFailure> {
    let command = DeleteConsumerOffset {
        consumer: consumer(Some(&id))?,
        stream: identifier(&stream)?,
        topic: identifier(&topic)?,
        partition_id: query.partition_id.map(PartitionId::new),
    };
    call.run(command).await?;
    Ok(StatusCode::NO_CONTENT)
}
