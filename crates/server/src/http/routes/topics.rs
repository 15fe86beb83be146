//! Topics, partitions and segments.

use std::collections::BTreeMap;

use axum::Json;
use axum::http::StatusCode;
use galgo_wire::command::{
    AskedOptions, ConfigureTopic, CreatePartitions, CreateTopic, CreateTopicWith, DeletePartitions,
    DeleteSegments, DeleteTopic, GetTopic, GetTopicConfig, GetTopics, MaxTopicSize, MessageExpiry,
    PurgeTopic, TopicOption, UpdateTopic,
};
use galgo_wire::{ErrorCode, TopicName};

use super::{identifier, missing_as_generic, place};
use crate::http::call::Call;
use crate::http::extract::{JsonOf, PathOf, QueryOf};
use crate::http::failure::Failure;
use crate::http::json::topics as json;

/// Settings as commands have them.
struct Settings {
    name: TopicName,
    message_expiry: MessageExpiry,
    max_topic_size: MaxTopicSize,
    replication_factor: u8,
}

impl Settings {
    fn of(body: &json::TopicSettings) -> Result<Self, ErrorCode> {
        let replication_factor = match body.replication_factor {
            // 0 means 1 in frames and nothing here.
            Some(0) => return Err(ErrorCode::InvalidReplicationFactor),
            factor => factor.unwrap_or(1),
        };
        Ok(Self {
            name: TopicName::parse(&body.name).map_err(|_| ErrorCode::InvalidTopicName)?,
            message_expiry: MessageExpiry::new(body.message_expiry),
            max_topic_size: MaxTopicSize::new(body.max_topic_size),
            replication_factor,
        })
    }
}

/// Lists the topics of a stream.
#[utoipa::path(get, path = "/streams/{stream}/topics", tag = "topics",
    params(("stream" = String, Path, description = "Id or name of the stream.")),
    responses((status = 200, body = Vec<json::Topic>)))]
pub(super) async fn get_topics(
    call: Call,
    PathOf(stream): PathOf<String>,
) -> Result<Json<Vec<json::Topic>>, Failure> {
    let stream = identifier(&stream)?;
    let topics = call.run(GetTopics { stream: stream.clone() }).await?;
    // The command answers nothing for a stream that is missing, too.
    if topics.is_empty() && !call.api.hub.broker.has_stream(&stream) {
        return Err(Failure::Missing);
    }
    Ok(Json(topics.into_iter().map(json::Topic::from).collect()))
}

/// Creates a topic.
#[utoipa::path(post, path = "/streams/{stream}/topics", tag = "topics",
    request_body = json::CreateTopic,
    params(("stream" = String, Path, description = "Id or name of the stream.")),
    responses((status = 200, body = json::TopicDetails)))]
pub(super) async fn create_topic(
    call: Call,
    PathOf(stream): PathOf<String>,
    JsonOf(body): JsonOf<json::CreateTopic>,
) -> Result<Json<json::TopicDetails>, Failure> {
    let settings = Settings::of(&body.settings)?;
    let topic = CreateTopic {
        stream: identifier(&stream)?,
        partitions_count: body.partitions_count,
        compression: body.settings.compression_algorithm.into(),
        message_expiry: settings.message_expiry,
        max_topic_size: settings.max_topic_size,
        replication_factor: settings.replication_factor,
        name: settings.name,
    };
    let options = by_name(body.options);
    let created = if options.is_empty() {
        call.run(topic).await
    } else {
        let asked = AskedOptions { options, ..AskedOptions::default() };
        call.run(CreateTopicWith { topic, asked }).await
    };
    Ok(Json(created.map_err(missing_as_generic)?.into()))
}

/// Shows one topic.
#[utoipa::path(get, path = "/streams/{stream}/topics/{topic}", tag = "topics",
    params(("stream" = String, Path, description = "Id or name of the stream."),
        ("topic" = String, Path, description = "Id or name of the topic.")),
    responses((status = 200, body = json::TopicDetails)))]
pub(super) async fn get_topic(
    call: Call,
    PathOf(path): PathOf<(String, String)>,
) -> Result<Json<json::TopicDetails>, Failure> {
    let (stream, topic) = place(&path)?;
    Ok(Json(call.find(GetTopic { stream, topic }).await?.into()))
}

/// Replaces all settings of a topic.
#[utoipa::path(put, path = "/streams/{stream}/topics/{topic}", tag = "topics",
    request_body = json::TopicSettings,
    params(("stream" = String, Path, description = "Id or name of the stream."),
        ("topic" = String, Path, description = "Id or name of the topic.")),
    responses((status = 204)))]
pub(super) async fn update_topic(
    call: Call,
    PathOf(path): PathOf<(String, String)>,
    JsonOf(body): JsonOf<json::TopicSettings>,
) -> Result<StatusCode, Failure> {
    let (stream, topic) = place(&path)?;
    let settings = Settings::of(&body)?;
    let command = UpdateTopic {
        stream,
        topic,
        compression: body.compression_algorithm.into(),
        message_expiry: settings.message_expiry,
        max_topic_size: settings.max_topic_size,
        replication_factor: settings.replication_factor,
        name: settings.name,
    };
    call.run(command).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Tells all options of a topic.
#[utoipa::path(get, path = "/streams/{stream}/topics/{topic}/options", tag = "topics",
    params(("stream" = String, Path, description = "Id or name of the stream."),
        ("topic" = String, Path, description = "Id or name of the topic.")),
    responses((status = 200, body = Vec<json::TopicOption>)))]
pub(super) async fn get_options(
    call: Call,
    PathOf(path): PathOf<(String, String)>,
) -> Result<Json<Vec<json::TopicOption>>, Failure> {
    let (stream, topic) = place(&path)?;
    let config = call.run(GetTopicConfig { stream, topic }).await?;
    Ok(Json(config.options.into_iter().map(json::TopicOption::from).collect()))
}

/// Sets options of a topic; those that are not named stay as they are, an empty value is the server's default.
#[utoipa::path(patch, path = "/streams/{stream}/topics/{topic}/options", tag = "topics",
    request_body = json::OptionValues,
    params(("stream" = String, Path, description = "Id or name of the stream."),
        ("topic" = String, Path, description = "Id or name of the topic.")),
    responses((status = 204)))]
pub(super) async fn set_options(
    call: Call,
    PathOf(path): PathOf<(String, String)>,
    JsonOf(json::OptionValues(values)): JsonOf<json::OptionValues>,
) -> Result<StatusCode, Failure> {
    let (stream, topic) = place(&path)?;
    call.run(ConfigureTopic { stream, topic, options: by_name(values) }).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn by_name(values: BTreeMap<String, String>) -> Vec<TopicOption> {
    values.into_iter().map(|(name, value)| TopicOption { name, value }).collect()
}

/// Deletes a topic with all that is in it.
#[utoipa::path(delete, path = "/streams/{stream}/topics/{topic}", tag = "topics",
    params(("stream" = String, Path, description = "Id or name of the stream."),
        ("topic" = String, Path, description = "Id or name of the topic.")),
    responses((status = 204)))]
pub(super) async fn delete_topic(
    call: Call,
    PathOf(path): PathOf<(String, String)>,
) -> Result<StatusCode, Failure> {
    let (stream, topic) = place(&path)?;
    call.run(DeleteTopic { stream, topic }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Deletes all messages and consumer offsets of a topic.
#[utoipa::path(delete, path = "/streams/{stream}/topics/{topic}/purge", tag = "topics",
    params(("stream" = String, Path, description = "Id or name of the stream."),
        ("topic" = String, Path, description = "Id or name of the topic.")),
    responses((status = 204)))]
pub(super) async fn purge_topic(
    call: Call,
    PathOf(path): PathOf<(String, String)>,
) -> Result<StatusCode, Failure> {
    let (stream, topic) = place(&path)?;
    call.run(PurgeTopic { stream, topic }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Adds partitions behind the existing ones.
#[utoipa::path(post, path = "/streams/{stream}/topics/{topic}/partitions", tag = "partitions",
    request_body = json::PartitionsCount,
    params(("stream" = String, Path, description = "Id or name of the stream."),
        ("topic" = String, Path, description = "Id or name of the topic.")),
    responses((status = 201)))]
pub(super) async fn create_partitions(
    call: Call,
    PathOf(path): PathOf<(String, String)>,
    JsonOf(body): JsonOf<json::PartitionsCount>,
) -> Result<StatusCode, Failure> {
    let (stream, topic) = place(&path)?;
    let partitions_count = body.partitions_count;
    call.run(CreatePartitions { stream, topic, partitions_count }).await?;
    Ok(StatusCode::CREATED)
}

/// Deletes the partitions with the highest ids.
#[utoipa::path(delete, path = "/streams/{stream}/topics/{topic}/partitions", tag = "partitions",
    params(("stream" = String, Path, description = "Id or name of the stream."),
        ("topic" = String, Path, description = "Id or name of the topic."),
        json::PartitionsCount),
    responses((status = 204)))]
pub(super) async fn delete_partitions(
    call: Call,
    PathOf(path): PathOf<(String, String)>,
    QueryOf(query): QueryOf<json::PartitionsCount>,
) -> Result<StatusCode, Failure> {
    let (stream, topic) = place(&path)?;
    let partitions_count = query.partitions_count;
    call.run(DeletePartitions { stream, topic, partitions_count }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Deletes the oldest sealed segments of a partition.
#[utoipa::path(delete, path = "/streams/{stream}/topics/{topic}/partitions/{partition_id}",
    tag = "partitions",
    params(("stream" = String, Path, description = "Id or name of the stream."),
        ("topic" = String, Path, description = "Id or name of the topic."),
        ("partition_id" = u32, Path, description = "The partition."),
        json::SegmentsCount),
    responses((status = 204)))]
pub(super) async fn delete_segments(
    call: Call,
    PathOf((stream, topic, partition_id)): PathOf<(String, String, u32)>,
    QueryOf(query): QueryOf<json::SegmentsCount>,
) -> Result<StatusCode, Failure> {
    let command = DeleteSegments {
        stream: identifier(&stream)?,
        topic: identifier(&topic)?,
        partition_id: partition_id.into(),
        segments_count: query.segments_count,
    };
    call.run(command).await?;
    Ok(StatusCode::NO_CONTENT)
}
