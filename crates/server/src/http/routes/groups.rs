//! Consumer groups. Members join over a connection, so here groups are only managed.

use axum::http::StatusCode;
use galgo_wire::command::{
    ConsumerGroup, ConsumerGroupDetails, CreateConsumerGroup, GetConsumerGroup, GetConsumerGroups,
};
use galgo_wire::{ErrorCode, GroupName};
use utoipa_axum::routes;

use super::{Router, TopicAt, identifier};
use crate::http::call::Call;
use crate::http::extract::{JsonOf, PathOf};
use crate::http::failure::ApiFailure;
use crate::http::json::JsonAnswer;
use crate::http::json::groups as json;

/// Adds these routes.
pub(super) fn add(router: Router) -> Router {
    router
        .routes(routes!(get_consumer_groups, create_consumer_group))
        .routes(routes!(get_consumer_group))
}

/// Lists the consumer groups of a topic.
#[utoipa::path(get, path = "/streams/{stream}/topics/{topic}/consumer-groups",
    tag = "consumer groups",
    params(("stream" = String, Path, description = "Id or name of the stream."),
        ("topic" = String, Path, description = "Id or name of the topic.")),
    responses((status = 200, body = Vec<ConsumerGroup>)))]
async fn get_consumer_groups(
    call: Call,
    PathOf(path): PathOf<(String, String)>,
) -> Result<JsonAnswer<Vec<ConsumerGroup>>, ApiFailure> {
    let TopicAt { stream, topic } = TopicAt::of(&path.0, &path.1)?;
    let command = GetConsumerGroups { stream: stream.clone(), topic: topic.clone() };
    let groups = call.run(command).await.map_err(super::missing_as_generic)?;
    // The command answers nothing for a topic that is missing, too.
    if groups.is_empty() && !call.api.hub.broker.has_topic(&stream, &topic) {
        return Err(ApiFailure::Missing);
    }
    Ok(JsonAnswer(groups))
}

/// Creates a consumer group.
#[utoipa::path(post, path = "/streams/{stream}/topics/{topic}/consumer-groups",
    tag = "consumer groups", request_body = json::GroupName,
    params(("stream" = String, Path, description = "Id or name of the stream."),
        ("topic" = String, Path, description = "Id or name of the topic.")),
    responses((status = 201, body = ConsumerGroupDetails)))]
async fn create_consumer_group(
    call: Call,
    PathOf(path): PathOf<(String, String)>,
    JsonOf(body): JsonOf<json::GroupName>,
) -> Result<(StatusCode, JsonAnswer<ConsumerGroupDetails>), ApiFailure> {
    let TopicAt { stream, topic } = TopicAt::of(&path.0, &path.1)?;
    let name = GroupName::parse(&body.name).map_err(|_| ErrorCode::InvalidConsumerGroupName)?;
    let created = call.run(CreateConsumerGroup { stream, topic, name }).await?;
    Ok((StatusCode::CREATED, JsonAnswer(created)))
}

/// Shows one consumer group.
#[utoipa::path(get, path = "/streams/{stream}/topics/{topic}/consumer-groups/{group}",
    tag = "consumer groups",
    params(("stream" = String, Path, description = "Id or name of the stream."),
        ("topic" = String, Path, description = "Id or name of the topic."),
        ("group" = String, Path, description = "Id or name of the group.")),
    responses((status = 200, body = ConsumerGroupDetails)))]
async fn get_consumer_group(
    call: Call,
    PathOf((stream, topic, group)): PathOf<(String, String, String)>,
) -> Result<JsonAnswer<ConsumerGroupDetails>, ApiFailure> {
    let command = GetConsumerGroup {
        stream: identifier(&stream)?,
        topic: identifier(&topic)?,
        group: identifier(&group)?,
    };
    let found = call.run(command).await?;
    Ok(JsonAnswer(found.ok_or(ErrorCode::ConsumerGroupIdNotFound)?))
}
