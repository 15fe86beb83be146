//! The routes, one handler each, in files by noun.
//!
//! A handler says what its route is called and what it answers when all goes well; what can go wrong is
//! the same for all and is added by [`super::openapi`].

mod groups;
mod messages;
mod offsets;
mod streams;
mod system;
mod tokens;
mod topics;
mod users;

use std::sync::Arc;

use axum::http::StatusCode;
use galgo_wire::{ErrorCode, Identifier};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Api;
use super::failure::Failure;
use super::openapi;

/// Every route, and the description made of the same definitions.
pub(super) fn all() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::with_openapi(openapi::head())
        .routes(routes!(system::root))
        .routes(routes!(system::ping))
        .routes(routes!(system::live))
        .routes(routes!(system::ready))
        .routes(routes!(system::metrics))
        .routes(routes!(system::description))
        .routes(routes!(system::get_stats))
        .routes(routes!(system::get_cluster_metadata))
        .routes(routes!(system::get_clients))
        .routes(routes!(system::get_client))
        .routes(routes!(system::create_snapshot))
        .routes(routes!(users::login_user))
        .routes(routes!(users::refresh_token))
        .routes(routes!(users::logout_user))
        .routes(routes!(users::get_users, users::create_user))
        .routes(routes!(users::get_user, users::update_user, users::delete_user))
        .routes(routes!(users::update_permissions))
        .routes(routes!(users::change_password))
        .routes(routes!(users::reset_password))
        .routes(routes!(tokens::get_tokens, tokens::create_token))
        .routes(routes!(tokens::login_with_token))
        .routes(routes!(tokens::delete_token))
        .routes(routes!(streams::get_streams, streams::create_stream))
        .routes(routes!(streams::get_stream, streams::update_stream, streams::delete_stream))
        .routes(routes!(streams::purge_stream))
        .routes(routes!(topics::get_topics, topics::create_topic))
        .routes(routes!(topics::get_topic, topics::update_topic, topics::delete_topic))
        .routes(routes!(topics::get_options, topics::set_options))
        .routes(routes!(topics::purge_topic))
        .routes(routes!(topics::create_partitions, topics::delete_partitions))
        .routes(routes!(topics::delete_segments))
        .routes(routes!(messages::poll_messages, messages::send_messages))
        .routes(routes!(messages::flush_unsaved_buffer))
        .routes(routes!(groups::get_consumer_groups, groups::create_consumer_group))
        .routes(routes!(groups::get_consumer_group, groups::delete_consumer_group))
        .routes(routes!(offsets::get_consumer_offset, offsets::store_consumer_offset))
        .routes(routes!(offsets::delete_consumer_offset))
}

/// Nothing is known by this path.
pub(super) async fn unknown() -> StatusCode {
    StatusCode::NOT_FOUND
}

/// What a path calls something: a number, or a name.
fn identifier(text: &str) -> Result<Identifier, Failure> {
    text.parse().map_err(|_| Failure::Code(ErrorCode::InvalidIdentifier))
}

/// A stream and one of its topics, as a path calls them.
fn place((stream, topic): &(String, String)) -> Result<(Identifier, Identifier), Failure> {
    Ok((identifier(stream)?, identifier(topic)?))
}

/// The consumer a request is about; 1 when it says nothing.
fn consumer(text: Option<&str>) -> Result<galgo_wire::Consumer, Failure> {
    let id = text.map_or(Ok(Identifier::Numeric(1)), identifier)?;
    Ok(galgo_wire::Consumer::new(id))
}

/// Where the stream or topic of a path may be missing, the answer has no code of its own.
fn missing_as_generic(failure: Failure) -> Failure {
    match failure {
        Failure::Code(ErrorCode::StreamIdNotFound | ErrorCode::TopicIdNotFound) => Failure::Missing,
        other => other,
    }
}
