//! Topics, partitions and segments.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use galgo_wire::command::{
    AskedOptions, ConfigureTopic, CreatePartitions, CreateTopic, CreateTopicWith, GetTopicSettings,
    GetTopics, MaxTopicSize, MessageExpiry, Topic, TopicDetails, TopicOption, TopicSettings,
    UpdateTopic, UpdateTopicWith,
};
use galgo_wire::options::OptionChoices;
use galgo_wire::{ErrorCode, TopicName};
use utoipa_axum::routes;

use super::{Router, TopicAt, identifier, missing_as_generic};
use crate::http::call::Call;
use crate::http::extract::{JsonOf, PathOf};
use crate::http::failure::ApiFailure;
use crate::http::json::JsonAnswer;
use crate::http::json::topics as json;
use crate::http::plain::find_own;

/// Adds these routes.
pub(super) fn add(router: Router) -> Router {
    router
        .routes(routes!(get_topics, create_topic))
        .routes(routes!(update_topic))
        .routes(routes!(set_options))
        .routes(routes!(create_partitions))
}

/// Settings as commands have them.
struct TopicChange {
    name: TopicName,
    message_expiry: MessageExpiry,
    max_topic_size: MaxTopicSize,
    replication_factor: u8,
}

impl TopicChange {
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
    responses((status = 200, body = Vec<Topic>)))]
async fn get_topics(
    call: Call,
    PathOf(stream): PathOf<String>,
) -> Result<JsonAnswer<Vec<Topic>>, ApiFailure> {
    let stream = identifier(&stream)?;
    let topics = call.run(GetTopics { stream: stream.clone() }).await?;
    // The command answers nothing for a stream that is missing, too.
    if topics.is_empty() && !call.api.hub.broker.has_stream(&stream) {
        return Err(ApiFailure::Missing);
    }
    Ok(JsonAnswer(topics))
}

/// Creates a topic.
#[utoipa::path(post, path = "/streams/{stream}/topics", tag = "topics",
    request_body = json::CreateTopic,
    params(("stream" = String, Path, description = "Id or name of the stream.")),
    responses((status = 200, body = TopicDetails)))]
async fn create_topic(
    call: Call,
    PathOf(stream): PathOf<String>,
    JsonOf(body): JsonOf<json::CreateTopic>,
) -> Result<JsonAnswer<TopicDetails>, ApiFailure> {
    let settings = TopicChange::of(&body.settings)?;
    let topic = CreateTopic {
        stream: identifier(&stream)?,
        partitions_count: body.partitions_count,
        compression: body.settings.compression_algorithm,
        message_expiry: settings.message_expiry,
        max_topic_size: settings.max_topic_size,
        replication_factor: settings.replication_factor,
        name: settings.name,
    };
    let asked = by_name(body.settings.options);
    let created = if asked.is_empty() {
        call.run(topic).await
    } else {
        let asked = AskedOptions { options: asked.clone(), ..AskedOptions::default() };
        call.run(CreateTopicWith { topic, asked }).await
    };
    let created = created.map_err(|failure| missing_as_generic(named(failure, &asked)));
    Ok(JsonAnswer(created?))
}

/// Replaces all settings of a topic.
#[utoipa::path(put, path = "/streams/{stream}/topics/{topic}", tag = "topics",
    request_body = json::TopicSettings,
    params(("stream" = String, Path, description = "Id or name of the stream."),
        ("topic" = String, Path, description = "Id or name of the topic.")),
    responses((status = 204)))]
async fn update_topic(
    call: Call,
    PathOf(path): PathOf<(String, String)>,
    JsonOf(body): JsonOf<json::TopicSettings>,
) -> Result<StatusCode, ApiFailure> {
    let TopicAt { stream, topic } = TopicAt::of(&path.0, &path.1)?;
    let settings = TopicChange::of(&body)?;
    let update = UpdateTopic {
        stream,
        topic,
        compression: body.compression_algorithm,
        message_expiry: settings.message_expiry,
        max_topic_size: settings.max_topic_size,
        replication_factor: settings.replication_factor,
        name: settings.name,
    };
    let options = by_name(body.options);
    if options.is_empty() {
        call.run(update).await?;
    } else {
        // As without options, what is not named stays as it is; the command would take it back to the default.
        let (stream, topic) = (update.stream.clone(), update.topic.clone());
        let stands = call.run(GetTopicSettings { stream, topic }).await?.unwrap_or_default();
        let TopicSettings { durability, deduplication, .. } = stands;
        let asked = AskedOptions { durability, deduplication, options: options.clone() };
        let updated = call.run(UpdateTopicWith { topic: update, asked }).await;
        updated.map_err(|failure| named(failure, &options))?;
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Sets options of a topic; those that are not named stay as they are, an empty value is the server's default.
#[utoipa::path(patch, path = "/streams/{stream}/topics/{topic}/options", tag = "topics",
    request_body = json::OptionValues,
    params(("stream" = String, Path, description = "Id or name of the stream."),
        ("topic" = String, Path, description = "Id or name of the topic.")),
    responses((status = 204)))]
async fn set_options(
    call: Call,
    PathOf(path): PathOf<(String, String)>,
    JsonOf(json::OptionValues(values)): JsonOf<json::OptionValues>,
) -> Result<StatusCode, ApiFailure> {
    let TopicAt { stream, topic } = TopicAt::of(&path.0, &path.1)?;
    let options = by_name(values);
    let set = find_own(&call, ConfigureTopic { stream, topic, options: options.clone() }).await;
    set.map_err(|failure| named(failure, &options))?;
    Ok(StatusCode::NO_CONTENT)
}

/// What the broker refused for an option says which one it is, and what it takes.
fn named(failure: ApiFailure, options: &[TopicOption]) -> ApiFailure {
    match (failure, OptionChoices::default().with(options)) {
        (ApiFailure::Code(code), Err(error)) => ApiFailure::About(
            code,
            format!(
                "{error}; `GET /streams/{{stream}}/topics/{{topic}}/options` lists all options of a topic"
            ),
        ),
        (other, _) => other,
    }
}

fn by_name(values: BTreeMap<String, String>) -> Vec<TopicOption> {
    values.into_iter().map(|(name, value)| TopicOption { name, value }).collect()
}

/// Adds partitions behind the existing ones.
#[utoipa::path(post, path = "/streams/{stream}/topics/{topic}/partitions", tag = "partitions",
    request_body = json::PartitionsCount,
    params(("stream" = String, Path, description = "Id or name of the stream."),
        ("topic" = String, Path, description = "Id or name of the topic.")),
    responses((status = 201)))]
async fn create_partitions(
    call: Call,
    PathOf(path): PathOf<(String, String)>,
    JsonOf(body): JsonOf<json::PartitionsCount>,
) -> Result<StatusCode, ApiFailure> {
    let TopicAt { stream, topic } = TopicAt::of(&path.0, &path.1)?;
    let partitions_count = body.partitions_count;
    call.run(CreatePartitions { stream, topic, partitions_count }).await?;
    Ok(StatusCode::CREATED)
}
