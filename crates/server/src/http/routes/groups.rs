//! Consumer groups. Members join over a connection, so here groups are only managed.

use axum::Json;
use axum::http::StatusCode;
use galgo_wire::command::{
    CreateConsumerGroup, DeleteConsumerGroup, GetConsumerGroup, GetConsumerGroups,
};
use galgo_wire::{ErrorCode, GroupName};

use super::{identifier, place};
use crate::http::call::Call;
use crate::http::extract::{JsonOf, PathOf};
use crate::http::failure::Failure;
use crate::http::json::groups as json;

/// Lists the consumer groups of a topic.
#[utoipa::path(get, path = "/streams/{stream}/topics/{topic}/consumer-groups",
    tag = "consumer groups",
    params(("stream" = String, Path, description = "Id or name of the stream."),
        ("topic" = String, Path, description = "Id or name of the topic.")),
    responses((status = 200, body = Vec<json::ConsumerGroup>)))]
pub(super) async fn get_consumer_groups(
    call: Call,
    PathOf(path): PathOf<(String, String)>,
) -> Result<Json<Vec<json::ConsumerGroup>>, Failure> {
    let (stream, topic) = place(&path)?;
    let command = GetConsumerGroups { stream: stream.clone(), topic: topic.clone() };
    let groups = call.run(command).await.map_err(super::missing_as_generic)?;
    // The command answers nothing for a topic that is missing, too.
    if groups.is_empty() && !call.api.hub.broker.has_topic(&stream, &topic) {
        return Err(Failure::Missing);
    }
    Ok(Json(groups.into_iter().map(json::ConsumerGroup::from).collect()))
}

/// Creates a consumer group.
#[utoipa::path(post, path = "/streams/{stream}/topics/{topic}/consumer-groups",
    tag = "consumer groups", request_body = json::GroupName,
    params(("stream" = String, Path, description = "Id or name of the stream."),
        ("topic" = String, Path, description = "Id or name of the topic.")),
    responses((status = 201, body = json::ConsumerGroupDetails)))]
pub(super) async fn create_consumer_group(
    call: Call,
    PathOf(path): PathOf<(String, String)>,
    JsonOf(body): JsonOf<json::GroupName>,
) -> Result<(StatusCode, Json<json::ConsumerGroupDetails>), Failure> {
    let (stream, topic) = place(&path)?;
    let name = GroupName::parse(&body.name).map_err(|_| ErrorCode::InvalidConsumerGroupName)?;
    let created = call.run(CreateConsumerGroup { stream, topic, name }).await?;
    Ok((StatusCode::CREATED, Json(created.into())))
}

/// Shows one consumer group.
#[utoipa::path(get, path = "/streams/{stream}/topics/{topic}/consumer-groups/{group}",
    tag = "consumer groups",
    params(("stream" = String, Path, description = "Id or name of the stream."),
        ("topic" = String, Path, description = "Id or name of the topic."),
        ("group" = String, Path, description = "Id or name of the group.")),
    responses((status = 200, body = json::ConsumerGroupDetails)))]
pub(super) async fn get_consumer_group(
    call: Call,
    PathOf((stream, topic, group)): PathOf<(String, String, String)>,
) -> Result<Json<json::ConsumerGroupDetails>, Failure> {
    let command = GetConsumerGroup {
        stream: identifier(&stream)?,
        topic: identifier(&topic)?,
        group: identifier(&group)?,
    };
    let found = call.run(command).await?;
    Ok(Json(found.ok_or(ErrorCode::ConsumerGroupIdNotFound)?.into()))
}

/// Deletes a consumer group with its offsets.
#[utoipa::path(delete, path = "/streams/{stream}/topics/{topic}/consumer-groups/{group}",
    tag = "consumer groups",
    params(("stream" = String, Path, description = "Id or name of the stream."),
        ("topic" = String, Path, description = "Id or name of the topic."),
        ("group" = String, Path, description = "Id or name of the group.")),
    responses((status = 204)))]
pub(super) async fn delete_consumer_group(
    call: Call,
    PathOf((stream, topic, group)): PathOf<(String, String, String)>,
) -> Result<StatusCode, Failure> {
    let command = DeleteConsumerGroup {
        stream: identifier(&stream)?,
        topic: identifier(&topic)?,
        group: identifier(&group)?,
    };
    call.run(command).await?;
    Ok(StatusCode::NO_CONTENT)
}
